"""Columns of made-up air: layers of temperature and humidity in hydrostatic balance.

The formulas differ from those of :mod:`cal_pipeline.cherenkov.physics` on purpose (gravity after List, vapour pressure
after Bolton, Rayleigh cross section after Bucholtz): a simulator that shared them could not find their faults.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import R, k
from scipy.integrate import cumulative_trapezoid

Floats = NDArray[np.float64]

STANDARD_GRAVITY = 9.80665
"""Gravity that geopotential heights refer to [m/s2]."""

MOLAR_MASS = 0.0289647
"""Molar mass of dry air [kg/mol]."""

VAPOUR_DEFICIT = 0.378
"""One less the ratio of the molar masses of water vapour and dry air."""

TOP = 125.0
"""Geopotential height up to which a column is known [km]."""

STEP = 0.025
"""Spacing of the grid on which a column is integrated [km]."""

_SLOPES: tuple[tuple[float, float], ...] = ((20.0, 1.0), (32.0, 2.4), (47.0, -1.8), (86.0, 2.0), (100.0, 9.5))
"""Height [km] above which the temperature has a slope [K/km], above the tropopause."""

_BLEND = 1.2
"""Width of the transition between two slopes [km]."""


def compute_altitude(height: ArrayLike, latitude: float) -> Floats:
    """Compute the altitude of a geopotential height.

    Parameters
    ----------
    height : array_like
        Geopotential height [km].
    latitude : float
        Latitude [deg].

    Returns
    -------
    ndarray
        Altitude above the sea [km].

    References
    ----------
    R. J. List, Smithsonian Meteorological Tables, 1951; M. J. Mahoney, 2001, for the ellipsoid WGS-84.

    Examples
    --------
    >>> float(compute_altitude(30.0, 45.0).round(3))
    30.144
    """
    gravity, radius = _describe_gravity(latitude)
    height = np.asarray(height, float)
    altitude: Floats = radius * height / (gravity / STANDARD_GRAVITY * radius - height)
    return altitude


def compute_height(altitude: ArrayLike, latitude: float) -> Floats:
    """Compute the geopotential height of an altitude; inverse of :func:`compute_altitude`.

    Parameters
    ----------
    altitude : array_like
        Altitude above the sea [km].
    latitude : float
        Latitude [deg].

    Returns
    -------
    ndarray
        Geopotential height [km].

    Examples
    --------
    >>> float(compute_height(compute_altitude(30.0, 45.0), 45.0).round(9))
    30.0
    """
    gravity, radius = _describe_gravity(latitude)
    altitude = np.asarray(altitude, float)
    height: Floats = gravity / STANDARD_GRAVITY * radius * altitude / (radius + altitude)
    return height


def _describe_gravity(latitude: float) -> tuple[float, float]:
    """Return gravity at sea level [m/s2] and the radius [km] of its decrease with altitude."""
    sine, twice = np.sin(np.radians(latitude)) ** 2, np.cos(2 * np.radians(latitude))
    gravity = 9.7803253359 * (1 + 0.00193185265241 * sine) / np.sqrt(1 - 0.00669437999013 * sine)
    decrease = 3.085462e-6 + 2.27e-9 * twice - 2e-12 * np.cos(4 * np.radians(latitude))
    return float(gravity), float(2 * gravity / decrease / 1e3)


def compute_vapour_pressure(temperature: ArrayLike) -> Floats:
    """Compute the saturation pressure of water vapour over water.

    Parameters
    ----------
    temperature : array_like
        Temperature [K].

    Returns
    -------
    ndarray
        Pressure [hPa].

    References
    ----------
    D. Bolton, Mon. Weather Rev. 108, 1046 (1980), eq. 10.

    Examples
    --------
    >>> float(compute_vapour_pressure(273.15))
    6.112
    """
    celsius = np.asarray(temperature, float) - 273.15
    pressure: Floats = 6.112 * np.exp(17.67 * celsius / np.maximum(celsius + 243.5, 1.0))
    return pressure


def compute_cross_section(wavelength: ArrayLike) -> Floats:
    """Compute the Rayleigh cross section of a molecule of dry air.

    Parameters
    ----------
    wavelength : array_like
        Wavelength, at least 200 [nm].

    Returns
    -------
    ndarray
        Cross section [cm2].

    References
    ----------
    A. Bucholtz, Appl. Opt. 34, 2765 (1995), eq. 8 with the constants of its table 3.

    Examples
    --------
    >>> f"{float(compute_cross_section(550.0)):.2e}"
    '4.51e-27'
    """
    microns = np.asarray(wavelength, float) / 1e3
    short = 3.01577e-28 * microns ** -(3.55212 + 1.35579 * microns + 0.11563 / microns)
    long = 4.01061e-28 * microns ** -(3.99668 + 1.10298e-3 * microns + 2.71393e-2 / microns)
    section: Floats = np.where(microns <= 0.5, short, long)
    return section


@dataclass(frozen=True)
class Climate:
    """Layers of a column of air.

    Attributes
    ----------
    temperature : float
        Temperature at sea level [K].
    pressure : float
        Pressure at sea level [hPa].
    lapse_rate : float
        Decrease of the temperature up to the tropopause [K/km].
    tropopause : float
        Geopotential height of the tropopause [km].
    humidity : float
        Relative humidity of the moist layer at the ground, as a fraction.
    moist_layer : float
        Geopotential height of the top of the moist layer [km].
    wave_amplitude, wave_phase : float
        Amplitude [K] and phase [rad] of a gravity wave in the temperature.
    """

    temperature: float = 295.0
    pressure: float = 1016.0
    lapse_rate: float = 5.8
    tropopause: float = 16.0
    humidity: float = 0.7
    moist_layer: float = 1.6
    wave_amplitude: float = 0.0
    wave_phase: float = 0.0


@dataclass(frozen=True)
class AirColumn:
    """Column of moist air in hydrostatic balance.

    Attributes
    ----------
    climate : Climate
        Layers.
    latitude : float
        Latitude [deg].

    Examples
    --------
    >>> column = AirColumn(Climate(pressure=1013.25), latitude=29.0)
    >>> float(column.pressure(0.0).round(2))
    1013.25
    >>> bool(column.number_density(15.0) < column.number_density(14.0))
    True
    """

    climate: Climate
    latitude: float

    def temperature(self, altitude: ArrayLike) -> Floats:
        """Compute the temperature [K] at an altitude [km]."""
        return self._temperature(compute_height(altitude, self.latitude))

    def humidity(self, altitude: ArrayLike) -> Floats:
        """Compute the relative humidity, as a fraction, at an altitude [km]."""
        return self._humidity(compute_height(altitude, self.latitude))

    def pressure(self, altitude: ArrayLike) -> Floats:
        """Compute the pressure [hPa] at an altitude [km]."""
        height = compute_height(altitude, self.latitude)
        pressure: Floats = np.exp(np.interp(height, self._heights, self._log_pressure))
        return pressure

    def vapour_fraction(self, altitude: ArrayLike) -> Floats:
        """Compute the part of the pressure that water vapour has at an altitude [km]."""
        return self._vapour_fraction(compute_height(altitude, self.latitude), self.pressure(altitude))

    def number_density(self, altitude: ArrayLike) -> Floats:
        """Compute the number of molecules per volume [1/cm3] at an altitude [km]."""
        density: Floats = self.pressure(altitude) * 100 / (k * self.temperature(altitude)) * 1e-6
        return density

    def height_of(self, pressure: ArrayLike) -> Floats:
        """Compute the geopotential height [km] of a pressure [hPa]."""
        logarithm = np.log(np.asarray(pressure, float))
        height: Floats = np.interp(-logarithm, -self._log_pressure, self._heights)
        return height

    def altitude_of(self, pressure: ArrayLike) -> Floats:
        """Compute the altitude [km] of a pressure [hPa]."""
        return compute_altitude(self.height_of(pressure), self.latitude)

    def column_density(self, lowest: float, altitude: Floats) -> Floats:
        """Compute the number of molecules per area [1/cm2] between two altitudes [km]."""
        grid = np.arange(0.0, TOP - 2.5, STEP)
        column = cumulative_trapezoid(self.number_density(grid), dx=STEP * 1e5, initial=0.0)
        above: Floats = np.interp(altitude, grid, column) - np.interp(lowest, grid, column)
        return above

    @cached_property
    def _heights(self) -> Floats:
        # Begins below the sea: a level of 1000 hPa may lie there.
        return np.arange(-1.0, TOP, STEP)

    @cached_property
    def _log_pressure(self) -> Floats:
        """Logarithm of the pressure on the grid; the vapour makes the air lighter by what a dry column tells."""
        temperature = self._temperature(self._heights)
        logarithm = self._balance(temperature)
        vapour = self._vapour_fraction(self._heights, np.exp(logarithm))
        return self._balance(temperature / (1 - VAPOUR_DEFICIT * vapour))

    def _balance(self, temperature: Floats) -> Floats:
        decrease = MOLAR_MASS * STANDARD_GRAVITY / (R * temperature)
        logarithm = -cumulative_trapezoid(decrease, dx=STEP * 1e3, initial=0.0)
        balanced: Floats = np.log(self.climate.pressure) + logarithm - np.interp(0.0, self._heights, logarithm)
        return balanced

    def _temperature(self, height: Floats) -> Floats:
        climate = self.climate
        temperature = climate.temperature - climate.lapse_rate * height
        slope = -climate.lapse_rate
        for above, next_slope in ((climate.tropopause, 0.3), *_SLOPES):
            change, bend = next_slope - slope, (height - above) / _BLEND
            temperature = temperature + change * _BLEND * np.logaddexp(0.0, bend)
            slope = next_slope
        wave = climate.wave_amplitude * np.sin(2 * np.pi * height / 6.0 + climate.wave_phase)
        result: Floats = temperature + wave * np.clip(height / 5.0, 0.0, 1.0)
        return result

    def _humidity(self, height: Floats) -> Floats:
        climate = self.climate
        moist = climate.humidity / (1 + np.exp((height - climate.moist_layer) / 0.2))
        cirrus = 0.3 * np.exp(-(((height - 9.0) / 1.5) ** 2))
        dry = 0.15 / (1 + np.exp((height - climate.tropopause + 3.0) / 0.8))
        humidity: Floats = np.clip(moist + cirrus + dry, 0.0, 1.0)
        return humidity

    def _vapour_fraction(self, height: Floats, pressure: Floats) -> Floats:
        fraction: Floats = self._humidity(height) * compute_vapour_pressure(self._temperature(height)) / pressure
        return fraction
