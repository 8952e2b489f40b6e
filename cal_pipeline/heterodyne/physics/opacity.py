"""Zenith opacity of the atmosphere from tabulated coefficients, and what it leaves of a signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def airmass(elevation: ArrayLike) -> Floats:
    """Compute the airmass of a plane-parallel atmosphere.

    Parameters
    ----------
    elevation : array_like
        Elevation above the horizon [rad].

    Returns
    -------
    ndarray of float64
        1/sin(elevation), with the shape of `elevation`.

    Examples
    --------
    >>> airmass(np.deg2rad([90.0, 30.0])).round(6).tolist()
    [1.0, 2.0]
    """
    return np.asarray(1.0 / np.sin(np.asarray(elevation, np.float64)))


def zenith_opacity(b: ArrayLike, c: ArrayLike, pwv: ArrayLike) -> Floats:
    """Compute the zenith opacity of wet and dry air.

    Parameters
    ----------
    b : array_like
        Wet opacity per unit of precipitable water vapour [Np/mm].
    c : array_like
        Dry opacity [Np].
    pwv : array_like
        Precipitable water vapour [mm]; the three are broadcast against each other.

    Returns
    -------
    ndarray of float64
        tau0 = b·PWV + c [Np].

    References
    ----------
    Pardo, Cernicharo & Serabyn 2001, IEEE Trans. Antennas Propag. 49, 1683: the model that the shipped
    tables of b and c are made with.

    Examples
    --------
    >>> zenith_opacity(0.5, 0.25, [0.0, 1.0]).tolist()  # without water the dry air is left
    [0.25, 0.75]
    """
    wet = np.asarray(np.asarray(b, np.float64) * np.asarray(pwv, np.float64))
    dry = np.asarray(c, np.float64)
    whole = wet.shape == np.broadcast_shapes(wet.shape, dry.shape)
    return np.asarray(np.add(wet, dry, out=wet if whole else None))


def transmission(tau0: ArrayLike, airmass: ArrayLike) -> Floats:
    """Compute the share of a signal from outside the atmosphere that reaches the telescope.

    Parameters
    ----------
    tau0 : array_like
        Zenith opacity [Np].
    airmass : array_like
        Airmass, broadcast against `tau0`.

    Returns
    -------
    ndarray of float64
        t_r = exp(-airmass·tau0), between 0 and 1.

    Examples
    --------
    An opacity of ln 2 takes half of a signal at the zenith, and three quarters at 30° elevation:

    >>> transmission(np.log(2.0), airmass(np.deg2rad([90.0, 30.0]))).round(6).tolist()
    [0.5, 0.25]
    """
    return np.asarray(np.exp(-np.asarray(airmass, np.float64) * np.asarray(tau0, np.float64)))


def interpolate_coefficients(
    frequency: Floats,
    pressure: Floats,
    coefficients: NDArray[np.floating],
    nu: ArrayLike,
    p: float,
) -> Floats:
    """Interpolate an opacity coefficient in frequency and in pressure.

    At each of the two neighbouring pressures the coefficient is linear in frequency; between them
    its logarithm is linear in the logarithm of the pressure, or, where one of the two is 0, the
    coefficient itself is. That follows a power law in pressure exactly, and line wings and continua
    are close to one.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies of the table, ascending [Hz].
    pressure : ndarray, shape (P,)
        Pressures of the table, ascending, P >= 1 [Pa].
    coefficients : ndarray, shape (P, F)
        Coefficient, 0 or above; wet [Np/mm] or dry [Np].
    nu : array_like
        Frequencies asked for, of any shape [Hz]; the caller has checked that they lie within the
        table.
    p : float
        Pressure asked for [Pa], likewise.

    Returns
    -------
    ndarray of float64
        The coefficient at `nu` and `p`, with the shape of `nu` and the unit of `coefficients`.

    Examples
    --------
    >>> table = np.array([[1.0, 3.0], [4.0, 12.0]])  # linear in nu, proportional to p squared
    >>> interpolate_coefficients(np.array([1.0, 2.0]), np.array([1.0, 2.0]), table, [1.5], 1.5).round(6)
    array([4.5])
    """
    nu = np.asarray(nu, np.float64)
    if nu.size == 0:
        return np.empty(nu.shape)
    first = max(int(np.searchsorted(frequency, nu.min(), side="right")) - 1, 0)
    last = int(np.searchsorted(frequency, nu.max(), side="left")) + 1
    grid = frequency[first:last]

    def at_pressure(index: int) -> Floats:
        return np.asarray(np.interp(nu, grid, coefficients[index, first:last]))

    above = int(np.searchsorted(pressure, p))
    if above == 0 or above == len(pressure) or pressure[above] == p:
        return at_pressure(min(above, len(pressure) - 1))
    weight = float(np.log(p / pressure[above - 1]) / np.log(pressure[above] / pressure[above - 1]))
    return _between_pressures(at_pressure(above - 1), at_pressure(above), weight)


def _between_pressures(low: Floats, high: Floats, weight: float) -> Floats:
    """Interpolate from `low` to `high` by `weight`: geometric, or arithmetic if either is 0."""
    positive = (low > 0.0) & (high > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        geometric = np.exp((1.0 - weight) * np.log(low) + weight * np.log(high))
    return np.where(positive, geometric, (1.0 - weight) * low + weight * high)
