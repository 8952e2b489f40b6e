"""Profile of a night's atmosphere on the grid of air shower simulations."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.altitude import STANDARD_GRAVITY
from cal_pipeline.cherenkov.physics.levels import LevelProfile
from cal_pipeline.cherenkov.physics.moist_air import compute_refractivity, compute_saturation_pressure

Array = NDArray[np.float64]

GRID = np.concatenate([np.arange(31.0), np.arange(32.0, 51.0, 2.0), np.arange(55.0, 121.0, 5.0)])
"""Altitudes of profiles [km]."""

PROFILE_WAVELENGTH = 350.0
"""Wavelength of the refractive index in profiles [nm]."""

_AVOGADRO, _MOLAR_MASS = 6.02214076e23, 28.9644


@dataclass(frozen=True)
class ReferenceAtmosphere:
    """Profile that fills in above and below the data.

    Attributes
    ----------
    altitude : ndarray, shape (levels,)
        Altitude [km], ascending.
    density : ndarray, shape (levels,)
        Density [g/cm3].
    thickness : ndarray, shape (levels,)
        Column above [g/cm2].
    refractivity : ndarray, shape (levels,)
        Refractive index less 1.
    temperature : ndarray, shape (levels,)
        Temperature [K].
    pressure : ndarray, shape (levels,)
        Pressure [hPa].
    water : ndarray, shape (levels,)
        Partial pressure of water over pressure.
    """

    altitude: Array
    density: Array
    thickness: Array
    refractivity: Array
    temperature: Array
    pressure: Array
    water: Array

    @property
    def humidity(self) -> Array:
        """Relative humidity (a fraction) at the levels."""
        return compute_humidity(self.water, self.pressure, self.temperature)

    def covers(self, altitude: Array) -> NDArray[np.bool_]:
        """Tell which altitudes [km] lie within the levels."""
        inside: NDArray[np.bool_] = (altitude >= self.altitude[0]) & (altitude <= self.altitude[-1])
        return inside

    def interpolate(self, altitude: Array) -> tuple[Array, Array, Array]:
        """Interpolate pressure, temperature and humidity by not-a-knot cubic splines.

        Parameters
        ----------
        altitude : ndarray
            Altitude [km].

        Returns
        -------
        pressure, temperature, humidity : ndarray
            Pressure [hPa], by its logarithm; temperature [K]; relative humidity (a fraction), by the ratio of the
            partial pressure of water and pressure. NaN outside.

        Raises
        ------
        CorruptedInputError
            If a pressure is not above 0.
        """
        if not (self.pressure > 0.0).all():
            low = self.altitude[~(self.pressure > 0.0)][0]
            raise CorruptedInputError(f"pressure of the reference atmosphere at {low:g} km is not above 0 hPa")
        pressure = np.exp(CubicSpline(self.altitude, np.log(self.pressure), extrapolate=False)(altitude))
        temperature = CubicSpline(self.altitude, self.temperature, extrapolate=False)(altitude)
        water = np.maximum(CubicSpline(self.altitude, self.water, extrapolate=False)(altitude), 0.0)
        return pressure, temperature, compute_humidity(water, pressure, temperature)


def compute_humidity(water: Array, pressure: Array, temperature: Array) -> Array:
    """Compute relative humidity (a fraction) from the partial pressure of water over pressure.

    Parameters
    ----------
    water : ndarray
        Partial pressure of water over pressure.
    pressure : ndarray
        Pressure [hPa].
    temperature : ndarray
        Temperature [K].
    """
    humidity: Array = water * pressure / compute_saturation_pressure(temperature)
    return humidity


def compute_profile(levels: LevelProfile, reference: ReferenceAtmosphere, co2: float) -> ReferenceAtmosphere:
    """Compute the profile of a night; a reference atmosphere fills in where the data end.

    The altitudes of :data:`GRID` nearest to the lowest and to the highest level are floor and ceiling. Altitudes of the
    grid strictly between are computed from the levels; rows of the reference at or below the floor, and at or above
    the ceiling, are taken as they stand.

    Parameters
    ----------
    levels : LevelProfile
        The data.
    reference : ReferenceAtmosphere
        Reference, on altitudes of its own.
    co2 : float
        Concentration of CO2 [ppm].

    Returns
    -------
    ReferenceAtmosphere
        Profile, from the lowest altitude up.

    Raises
    ------
    CorruptedInputError
        If a value is outside of the range in which the formulas of air hold.
    """
    grid = GRID
    floor, ceiling = (grid[np.argmin(np.abs(grid - end))] for end in levels.altitude[[0, -1]] / 1e3)
    altitude = grid[(grid > floor) & (grid < ceiling)]
    pressure, temperature, humidity, density = (
        levels.interpolate(name, 1e3 * altitude) for name in ("pressure", "temperature", "humidity", "density")
    )
    inner = ReferenceAtmosphere(
        altitude=altitude,
        density=density * _MOLAR_MASS / _AVOGADRO,
        thickness=10.0 * pressure / STANDARD_GRAVITY,
        refractivity=compute_refractivity(PROFILE_WAVELENGTH, pressure, temperature, humidity, co2),
        temperature=temperature,
        pressure=pressure,
        water=humidity * compute_saturation_pressure(temperature) / pressure,
    )
    below, above = reference.altitude <= floor, reference.altitude >= ceiling
    joined = {}
    for field in fields(ReferenceAtmosphere):
        outer, between = getattr(reference, field.name), getattr(inner, field.name)
        joined[field.name] = np.concatenate([outer[below], between, outer[above]])
    return ReferenceAtmosphere(**joined)
