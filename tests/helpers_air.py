"""Air whose profile is known in closed form, and the nights of the real meteorological tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

from cal_pipeline.cherenkov.meteo import MeteoSelection, MeteoTable
from cal_pipeline.cherenkov.physics.atmosphere import GRID, ReferenceAtmosphere
from cal_pipeline.cherenkov.physics.levels import LevelProfile

BOLTZMANN = 1.380649e-23
MOLECULE = 28.9644e-3 / 6.02214076e23
"""Mean mass of a molecule of dry air [kg]."""

CO2 = 419.3125
"""Concentration of CO2 with which the expected values of the real nights were made [ppm]."""

FOUR_POINTS = [(latitude, longitude) for latitude in (28.75, 29.0) for longitude in (-18.0, -17.75)]

NIGHTS = {
    "gdas_2023-07-10": ("meteo_gdas_2023-07-10_north", ["2023-07-10T00:00"], [(29.0, -18.0)]),
    "era5_2023-07-10": (
        "meteo_era5_2023-07-10_north",
        np.arange("2023-07-09T22", "2023-07-10T05", dtype="datetime64[h]"),
        FOUR_POINTS,
    ),
    "era5_2022-07-01": (
        "meteo_era5_2022-07-01_north_9points",
        np.arange("2022-06-30T22", "2022-07-01T05", dtype="datetime64[h]"),
        FOUR_POINTS,
    ),
}
"""File, times and points, by the names of the expected values."""


def select_night(shared: Path, name: str, rule: str = "cubic") -> MeteoSelection:
    """Average the levels of a real night."""
    file, times, points = NIGHTS[name]
    return MeteoTable.read(shared / f"{file}.ecsv").select(np.array(times, dtype="datetime64[s]"), points, rule)


def read_columns(path: Path) -> list[np.ndarray]:
    """Read the columns of a table of numbers."""
    table = Table.read(path, format="ascii.ecsv")
    return [np.asarray(table[name], dtype=float) for name in table.colnames]


def read_reference(shared: Path, season: str) -> ReferenceAtmosphere:
    """Read a real reference atmosphere."""
    return ReferenceAtmosphere(*read_columns(shared / f"reference_atmosphere_north_{season}.ecsv"))


def make_isothermal(temperature: float, gravity: float = 9.80665, surface: float = 1000.0):
    """Return the pressure [hPa] of dry isothermal air in constant gravity as a function of altitude [m]."""
    scale = BOLTZMANN * temperature / (MOLECULE * gravity)
    return lambda altitude: surface * np.exp(-np.asarray(altitude, dtype=float) / scale)


def make_levels(altitude, pressure, temperature, humidity=0.0, rule: str = "cubic") -> LevelProfile:
    """Make levels, with the density of an ideal gas."""
    altitude = np.asarray(altitude, dtype=float)
    temperature, humidity = temperature + 0.0 * altitude, humidity + 0.0 * altitude
    density = 1e-6 * 100.0 * pressure / (BOLTZMANN * temperature)
    return LevelProfile(altitude, np.asarray(pressure), density, temperature, humidity, rule=rule)


def make_reference(temperature: float = 250.0, water: float = 0.0, altitude=GRID) -> ReferenceAtmosphere:
    """Make a reference of isothermal air at altitudes [km]; columns that no formula reads hold row numbers."""
    rows = np.arange(altitude.size, dtype=float)
    return ReferenceAtmosphere(
        altitude=altitude,
        density=rows,
        thickness=100.0 + rows,
        refractivity=200.0 + rows,
        temperature=np.full(altitude.size, temperature),
        pressure=make_isothermal(temperature)(1e3 * altitude),
        water=np.full(altitude.size, water),
    )
