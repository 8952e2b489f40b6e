"""Rayleigh scattering by air (Bates 1984, Tomasi et al. 2005)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.cherenkov.physics.altitude import compute_number_density
from cal_pipeline.cherenkov.physics.moist_air import compute_refractivity, compute_saturation_pressure

Array = NDArray[np.float64]

_VACUUM = 1e-30
"""Pressure [hPa] that stands for 0."""


def compute_king_factor(wavelength: ArrayLike, co2: ArrayLike, water_fraction: ArrayLike) -> Array:
    """Compute the King factor of air, which the anisotropy of its molecules brings into scattering.

    Parameters
    ----------
    wavelength : array_like
        Wavelength [nm].
    co2 : array_like
        Concentration of CO2 [ppm].
    water_fraction : array_like
        Partial pressure of water over pressure.

    Returns
    -------
    ndarray
        Factor above 1.

    References
    ----------
    Bates D. R., 1984, Planet. Space Sci. 32, 785; Tomasi C. et al., 2005, Appl. Opt. 44, 3320.

    Examples
    --------
    >>> print(f"{compute_king_factor(500.0, 400.0, 0.0):.4f}")
    1.0494
    """
    s = (1e3 / np.asarray(wavelength, dtype=float)) ** 2
    carbon, water = 1e-6 * np.asarray(co2, dtype=float), np.asarray(water_fraction, dtype=float)
    weighted = (
        0.78084 * (1.034 + 3.17e-4 * s)
        + 0.20946 * (1.096 + 1.385e-3 * s + 1.448e-4 * s**2)
        + 0.00934
        + 1.15 * carbon
        + 1.001 * water
    )
    factor: Array = weighted / (0.78084 + 0.20946 + 0.00934 + carbon + water)
    return factor


def compute_cross_section(
    wavelength: ArrayLike, pressure: ArrayLike, temperature: ArrayLike, humidity: ArrayLike, co2: ArrayLike
) -> Array:
    """Compute the cross section of a molecule of moist air for Rayleigh scattering.

    Arguments broadcast against each other.

    Parameters
    ----------
    wavelength : array_like
        Wavelength [nm].
    pressure : array_like
        Pressure [hPa].
    temperature : array_like
        Temperature [K].
    humidity : array_like
        Relative humidity (a fraction).
    co2 : array_like
        Concentration of CO2 [ppm].

    Returns
    -------
    ndarray
        Cross section [cm2].

    Raises
    ------
    CorruptedInputError
        If a value is outside of the range in which the formulas hold.

    References
    ----------
    Tomasi C. et al., 2005, Appl. Opt. 44, 3320.

    Examples
    --------
    >>> print(f"{compute_cross_section(500.0, 1013.25, 288.0, 0.5, 400.0):.3e}")
    6.644e-27
    """
    # In a vacuum the cross section has a limit, but its formula is 0/0.
    pressure = np.where(np.asarray(pressure) == 0.0, _VACUUM, pressure)
    refractivity = compute_refractivity(wavelength, pressure, temperature, humidity, co2)
    # (n² - 1)/(n² + 2) from n - 1: the difference of n² and 1 would lose digits in thin air.
    excess = refractivity * (refractivity + 2.0)
    water = np.asarray(humidity) * compute_saturation_pressure(temperature) / pressure
    king = compute_king_factor(wavelength, co2, water)
    centimetres = 1e-7 * np.asarray(wavelength, dtype=float)
    density = compute_number_density(pressure, temperature)
    section: Array = 24.0 * np.pi**3 * (excess / (centimetres**2 * density * (excess + 3.0))) ** 2 * king
    return section


def compute_extinction_coefficient(
    wavelength: ArrayLike, pressure: ArrayLike, temperature: ArrayLike, humidity: ArrayLike, co2: ArrayLike
) -> Array:
    """Compute the extinction coefficient of moist air by Rayleigh scattering.

    Parameters
    ----------
    wavelength, pressure, temperature, humidity, co2 : array_like
        As in :func:`compute_cross_section`.

    Returns
    -------
    ndarray
        Coefficient [1/km].

    Examples
    --------
    >>> print(f"{compute_extinction_coefficient(500.0, 1013.25, 288.0, 0.5, 400.0):.6f}")
    0.016931
    """
    section = compute_cross_section(wavelength, pressure, temperature, humidity, co2)
    coefficient: Array = 1e5 * compute_number_density(pressure, temperature) * section
    return coefficient
