"""Inversion of the returns of an elastic LIDAR (Fernald)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_trapezoid

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.atmosphere import ReferenceAtmosphere
from cal_pipeline.cherenkov.physics.rayleigh import compute_extinction_coefficient

Array = NDArray[np.float64]

MOLECULAR_RATIO = 8.0 * np.pi / 3.0
"""Ratio of extinction and backscatter of molecules, without depolarisation [sr]."""


def compute_altitude(distance: ArrayLike, zenith_angle: float, station_altitude: float) -> Array:
    """Compute the altitude of points along a straight beam.

    Parameters
    ----------
    distance : array_like
        Distance from the station [m].
    zenith_angle : float
        Zenith angle of the beam [deg].
    station_altitude : float
        Altitude of the station [km].

    Returns
    -------
    ndarray
        Altitude [m].

    Examples
    --------
    >>> compute_altitude([0.0, 2000.0], 60.0, 2.2).round(6)
    array([2200., 3200.])
    """
    altitude: Array = 1e3 * station_altitude + np.asarray(distance, dtype=float) * np.cos(np.radians(zenith_angle))
    return altitude


def compute_molecular_backscatter(
    altitude: ArrayLike, atmosphere: ReferenceAtmosphere, wavelength: float, co2: float
) -> Array:
    """Compute the backscatter coefficient of the molecules of a profile.

    Parameters
    ----------
    altitude : array_like
        Altitude [m].
    atmosphere : ReferenceAtmosphere
        Profile of the air.
    wavelength : float
        Wavelength [nm].
    co2 : float
        Concentration of CO2 [ppm].

    Returns
    -------
    ndarray
        Coefficient [1/(m sr)].

    Raises
    ------
    CorruptedInputError
        If an altitude is outside of the profile, or a value is outside of the range in which the
        formulas of air hold.
    """
    kilometres = np.asarray(altitude, dtype=float) / 1e3
    lowest, highest = atmosphere.altitude[[0, -1]]
    is_outside = ~((kilometres >= lowest) & (kilometres <= highest))
    if is_outside.any():
        raise CorruptedInputError(
            f"altitude {kilometres[is_outside][0]:g} km is not in the profile; expected {lowest:g} to {highest:g} km"
        )
    pressure, temperature, humidity = atmosphere.interpolate(kilometres)
    extinction = compute_extinction_coefficient(wavelength, pressure, temperature, humidity, co2) / 1e3
    return extinction / MOLECULAR_RATIO


def invert_returns(
    distance: ArrayLike,
    signal: ArrayLike,
    molecular: ArrayLike,
    reference: int,
    lidar_ratio: float,
    reference_backscatter: float = 0.0,
) -> Array:
    """Invert the returns of an elastic LIDAR for the backscatter of the aerosols.

    Integrals are trapezia on the grid of the distances.

    Parameters
    ----------
    distance : array_like, shape (bins,)
        Distance from the station, ascending [m].
    signal : array_like, shape (bins,)
        Return without background, in any unit.
    molecular : array_like, shape (bins,)
        Backscatter coefficient of the molecules [1/(m sr)].
    reference : int
        Index of the distance at which the aerosols are known.
    lidar_ratio : float
        Ratio of extinction and backscatter of the aerosols [sr].
    reference_backscatter : float
        Backscatter coefficient of the aerosols at the reference [1/(m sr)].

    Returns
    -------
    ndarray, shape (bins,)
        Backscatter coefficient of the aerosols [1/(m sr)]; NaN where the equation has no positive
        solution, and at all distances beyond the first such one behind the reference.

    Raises
    ------
    ValueError
        If the signal at the reference is not above 0.

    References
    ----------
    Fernald F. G., 1984, Appl. Opt. 23, 652; Klett J. D., 1985, Appl. Opt. 24, 1638.

    Examples
    --------
    Returns of pure air have no aerosols:

    >>> distance, molecular = np.arange(100.0, 5000.0, 10.0), 5e-6
    >>> signal = np.exp(-2 * MOLECULAR_RATIO * molecular * distance) / distance**2
    >>> aerosols = invert_returns(distance, signal, np.full(distance.size, molecular), 400, 50.0)
    >>> bool(np.all(np.abs(aerosols) < 1e-3 * molecular))
    True
    """
    distance, molecular = np.asarray(distance, dtype=float), np.asarray(molecular, dtype=float)
    corrected = np.asarray(signal, dtype=float) * distance**2
    if not corrected[reference] > 0:
        raise ValueError(f"signal {corrected[reference] / distance[reference] ** 2:g} at the reference; expected > 0")
    optical = _integrate_from(reference, molecular, distance)
    weighted = corrected * np.exp(-2.0 * (lidar_ratio - MOLECULAR_RATIO) * optical)
    boundary = corrected[reference] / (reference_backscatter + molecular[reference])
    balance = boundary - 2.0 * lidar_ratio * _integrate_from(reference, weighted, distance)
    # Beyond the reference the balance falls to a pole, behind which the formula gives numbers without meaning.
    lost = ~(balance > 0)
    lost[reference:] = np.logical_or.accumulate(lost[reference:])
    total = np.divide(weighted, balance, out=np.full(balance.size, np.nan), where=~lost)
    aerosols: Array = total - molecular
    return aerosols


def _integrate_from(reference: int, values: Array, distance: Array) -> Array:
    integral = cumulative_trapezoid(values, distance, initial=0.0)
    relative: Array = integral - integral[reference]
    return relative


def compute_vertical_depth(distance: ArrayLike, extinction: ArrayLike, zenith_angle: float) -> Array:
    """Compute the vertical optical depth from the station up.

    Between the station and the first distance, the extinction is taken as that of the first distance.

    Parameters
    ----------
    distance : array_like, shape (bins,)
        Distance from the station, ascending [m].
    extinction : array_like, shape (bins,)
        Extinction coefficient [1/m].
    zenith_angle : float
        Zenith angle of the beam [deg].

    Returns
    -------
    ndarray, shape (bins,)
        Optical depth.

    Examples
    --------
    >>> compute_vertical_depth([100.0, 200.0, 300.0], [1e-4, 1e-4, 1e-4], 60.0).round(6)
    array([0.005, 0.01 , 0.015])
    """
    distance, extinction = np.asarray(distance, dtype=float), np.asarray(extinction, dtype=float)
    slant = cumulative_trapezoid(extinction, distance, initial=0.0) + distance[0] * extinction[0]
    depth: Array = slant * np.cos(np.radians(zenith_angle))
    return depth
