"""Refractive index of moist air (Ciddor 1996), with its density (Davis 1992)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.cherenkov.physics.limits import check_range

Array = NDArray[np.float64]

_R = 8.31451
"""Molar gas constant [J/(mol K)], as in the formulas' fits."""

_WATER = 0.018015
"""Molar mass of water [kg/mol]."""


def compute_saturation_pressure(temperature: ArrayLike) -> Array:
    """Compute the pressure of saturated vapour over liquid water, by Goff and Gratch at and below 0 °C.

    Parameters
    ----------
    temperature : array_like
        Temperature [K].

    Returns
    -------
    ndarray
        Pressure [hPa].

    Notes
    -----
    Goff and Gratch put the freezing point at 273.16 K: their pressure is 0.14 % below that of Davis at 0 °C, a step of
    2e-6 in n - 1 of saturated air at 500 hPa.

    References
    ----------
    Davis R. S., 1992, Metrologia 29, 67; Goff J. A. and Gratch S., 1946, Trans. Am. Soc. Heat. Vent. Eng. 52, 95.

    Examples
    --------
    >>> compute_saturation_pressure([253.15, 293.15]).round(2)
    array([ 1.25, 23.39])
    """
    kelvin = np.asarray(temperature, dtype=float)
    warm = np.exp(1.2378847e-5 * kelvin**2 - 1.9121316e-2 * kelvin + 33.93711047 - 6343.1645 / kelvin) / 100.0
    ratio = 373.16 / kelvin
    cold = (
        -7.90298 * (ratio - 1.0)
        + 5.02808 * np.log10(ratio)
        - 1.3816e-7 * (10.0 ** (11.344 * (1.0 - 1.0 / ratio)) - 1.0)
        + 8.1328e-3 * (10.0 ** (-3.49149 * (ratio - 1.0)) - 1.0)
        + np.log10(1013.246)
    )
    pressure: Array = np.where(kelvin > 273.15, warm, 10.0**cold)
    return pressure


def compute_water_fraction(pressure: ArrayLike, temperature: ArrayLike, humidity: ArrayLike) -> Array:
    """Compute the molar fraction of water vapour, with the enhancement factor of moist air (Davis 1992).

    Parameters
    ----------
    pressure : array_like
        Pressure [hPa].
    temperature : array_like
        Temperature [K].
    humidity : array_like
        Relative humidity (a fraction).

    Returns
    -------
    ndarray
        Molar fraction.
    """
    pressure, celsius = np.asarray(pressure, dtype=float), np.asarray(temperature, dtype=float) - 273.15
    enhancement = 1.00062 + 3.14e-8 * 100.0 * pressure + 5.6e-7 * celsius**2
    fraction: Array = enhancement * np.asarray(humidity) * compute_saturation_pressure(temperature) / pressure
    return fraction


def compute_compressibility(pressure: ArrayLike, temperature: ArrayLike, water_fraction: ArrayLike) -> Array:
    """Compute the compressibility factor of moist air (Davis 1992).

    Parameters
    ----------
    pressure : array_like
        Pressure [Pa].
    temperature : array_like
        Temperature [K].
    water_fraction : array_like
        Molar fraction of water vapour.

    Returns
    -------
    ndarray
        Factor; 1 for an ideal gas.

    Examples
    --------
    >>> float(compute_compressibility(0.0, 300.0, 0.0))
    1.0
    """
    kelvin, x = np.asarray(temperature, dtype=float), np.asarray(water_fraction, dtype=float)
    celsius = kelvin - 273.15
    ratio = np.asarray(pressure, dtype=float) / kelvin
    first = (
        1.58123e-6
        - 2.9331e-8 * celsius
        + 1.1043e-10 * celsius**2
        + (5.707e-6 - 2.051e-8 * celsius) * x
        + (1.9898e-4 - 2.376e-6 * celsius) * x**2
    )
    factor: Array = 1.0 - ratio * first + ratio**2 * (1.83e-11 - 0.765e-8 * x**2)
    return factor


def _compute_densities(pressure: Array, temperature: Array, x: Array, co2: Array) -> tuple[Array, Array]:
    """Compute the densities [kg/m3] of the dry and the wet part of air at a pressure [Pa]."""
    dry = 1e-3 * (28.9635 + 12.011e-6 * (co2 - 400.0))
    moles = pressure / (compute_compressibility(pressure, temperature, x) * _R * temperature)
    return moles * dry * (1.0 - x), moles * _WATER * x


def compute_refractivity(
    wavelength: ArrayLike, pressure: ArrayLike, temperature: ArrayLike, humidity: ArrayLike, co2: ArrayLike
) -> Array:
    """Compute n - 1 of moist air.

    Arguments broadcast against each other.

    Parameters
    ----------
    wavelength : array_like
        Wavelength in vacuum [nm].
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
        Refractive index less 1.

    Raises
    ------
    CorruptedInputError
        If a value is outside of the range in which the formulas hold.

    References
    ----------
    Ciddor P. E., 1996, Appl. Opt. 35, 1566.

    Examples
    --------
    Dry air at 20 °C and 1000 hPa, of 450 ppm, in the line of a helium-neon laser:

    >>> print(f"{compute_refractivity(633.0, 1000.0, 293.15, 0.0, 450.0):.7f}")
    0.0002682
    """
    for quantity, values in (
        ("wavelength", wavelength),
        ("pressure", pressure),
        ("temperature", temperature),
        ("CO2 concentration", co2),
    ):
        check_range(quantity, values)
    pressure, temperature = np.asarray(pressure, dtype=float), np.asarray(temperature, dtype=float)
    co2 = np.asarray(co2, dtype=float)
    s = (1e3 / np.asarray(wavelength, dtype=float)) ** 2
    with np.errstate(invalid="ignore"):
        x = np.where(pressure > 0.0, compute_water_fraction(np.maximum(pressure, 1e-300), temperature, humidity), 0.0)
    standard = 1e-8 * (5792105.0 / (238.0185 - s) + 167917.0 / (57.362 - s)) * (1.0 + 0.534e-6 * (co2 - 450.0))
    vapour = 1.022e-8 * (295.235 + 2.6422 * s - 0.032380 * s**2 + 0.004028 * s**3)
    rho_dry, rho_wet = _compute_densities(100.0 * pressure, temperature, x, co2)
    rho_standard, _ = _compute_densities(np.asarray(101325.0), np.asarray(288.15), np.asarray(0.0), co2)
    _, rho_vapour = _compute_densities(np.asarray(1333.0), np.asarray(293.15), np.asarray(1.0), co2)
    refractivity: Array = standard * rho_dry / rho_standard + vapour * rho_wet / rho_vapour
    return refractivity
