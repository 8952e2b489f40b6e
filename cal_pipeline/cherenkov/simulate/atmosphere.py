"""Made-up inputs of the atmosphere tools: a night at an observatory that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from astropy.time import Time
from numpy.typing import NDArray

from cal_pipeline.cherenkov.products import PROVENANCE, refuse_existing, write_ecsv
from cal_pipeline.cherenkov.simulate.air import (
    MOLAR_MASS,
    STANDARD_GRAVITY,
    AirColumn,
    Climate,
    compute_cross_section,
)
from cal_pipeline.core.files.replace import replace_file

Floats = NDArray[np.float64]

LATITUDE, LONGITUDE, ELEVATION = 28.9, -17.4, 2.23
"""Place of the observatory [deg, deg, km]."""

NIGHT = datetime(2023, 7, 10)
"""Time within the night [UTC]."""

CLIMATES = {
    "summer": Climate(temperature=297.0, pressure=1016.0, lapse_rate=5.75, tropopause=16.5),
    "intermediate": Climate(temperature=293.5, pressure=1018.0, lapse_rate=5.65, tropopause=15.5),
    "winter": Climate(temperature=290.0, pressure=1020.0, lapse_rate=5.6, tropopause=14.5),
}
"""Mean air of the seasons."""

GDAS_LEVELS = (10, 20, 50, 70, *range(100, 901, 50), 925, 950, 975, 1000)
"""Pressures of the analysis [hPa]; the gap between 20 and 50 hPa is that of real tables."""

ERA5_LEVELS = (
    *(1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 125, 150, 175, 200, 225, 250, 300, 350, 400, 450, 500, 550, 600, 650),
    *(700, 750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000),
)
"""Pressures of the reanalysis [hPa]."""

ERA5_POINTS = ((28.75, -17.5), (28.75, -17.25), (29.0, -17.5), (29.0, -17.25))
GDAS_POINTS = ((29.0, -17.0),)
"""Grid points around the observatory: latitude, longitude [deg]."""

PROFILE_GRID = (*range(31), *range(32, 51, 2), *range(55, 121, 5))
"""Altitudes of a reference model [km]."""

EDGES = (2.1, 2.2, 2.3, 2.4, 2.6, 2.8, 3.1, 3.5, 4, 4.5, 5, 5.5, *range(6, 46), *range(50, 121, 5))
"""Edges of the altitude bins of an extinction [km]."""

WAVELENGTHS = range(200, 701, 25)
"""Wavelengths of an extinction [nm]."""

DENSITY_ALTITUDE = 15.0
"""Altitude whose density tells the seasons apart [km]."""

FIRST_YEAR = 2015
"""First year of the record of carbon dioxide."""


@dataclass(frozen=True)
class Weather:
    """Air of a night, which changes with the hour and the place.

    Attributes
    ----------
    mean : Climate
        Mean air.
    trend : float
        Change of the temperature at sea level [K/h].
    slope : float
        Change of the pressure at sea level with the latitude [hPa/deg].
    phase : float
        Phase of the gravity wave at the time :data:`NIGHT` [rad].

    Examples
    --------
    >>> weather = Weather.draw(np.random.default_rng(1))
    >>> column = weather.column(hour=2, latitude=29.0, longitude=-17.5)
    >>> bool(4.3e18 < column.number_density(15.0) < 4.8e18)
    True
    """

    mean: Climate
    trend: float
    slope: float
    phase: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Weather:
        """Draw the weather of a summer night."""
        summer = CLIMATES["summer"]
        mean = replace(
            summer,
            temperature=summer.temperature + generator.uniform(-0.5, 0.5),
            pressure=summer.pressure + generator.uniform(-0.5, 0.5),
            tropopause=summer.tropopause + generator.uniform(-0.1, 0.1),
            wave_amplitude=generator.uniform(0.4, 0.8),
        )
        return cls(
            mean, generator.uniform(-0.15, -0.05), generator.uniform(-0.6, 0.6), generator.uniform(0.0, 2 * np.pi)
        )

    def column(self, hour: float, latitude: float, longitude: float) -> AirColumn:
        """Make the column of air over a place.

        Parameters
        ----------
        hour : float
            Hours since :data:`NIGHT`.
        latitude, longitude : float
            Place [deg].
        """
        tide = 0.5 * np.cos(2 * np.pi * (hour + longitude / 15) / 12)
        climate = replace(
            self.mean,
            temperature=self.mean.temperature + self.trend * hour + 0.3 * (longitude - LONGITUDE),
            pressure=self.mean.pressure + tide + self.slope * (latitude - LATITUDE),
            wave_phase=self.phase + 0.6 * hour + 4.0 * (longitude - LONGITUDE),
        )
        return AirColumn(climate, latitude)


def make_meteo_rows(column: AirColumn, levels: Iterable[float]) -> Table:
    """Make the rows of a meteorological table for one time and place.

    Parameters
    ----------
    column : AirColumn
        The air.
    levels : iterable of float
        Pressures [hPa].

    Returns
    -------
    Table
        Pressure [hPa], Temperature [K], Relative humidity [%], Geopotential [m2/s2].

    Examples
    --------
    >>> rows = make_meteo_rows(AirColumn(Climate(), 29.0), (500.0, 850.0))
    >>> (rows["Geopotential"] / 9806.65).round(2).tolist()
    [5.78, 1.53]
    """
    pressure = np.array(list(levels), float)
    altitude = column.altitude_of(pressure)
    rows = Table({"Pressure": pressure * u.hPa, "Temperature": column.temperature(altitude) * u.K}, copy=False)
    rows["Relative humidity"] = 100 * column.humidity(altitude) * u.percent
    rows["Geopotential"] = column.height_of(pressure) * 1e3 * STANDARD_GRAVITY * u.m**2 / u.s**2
    return rows


def make_meteo_table(
    weather: Weather, hours: Iterable[int], points: Iterable[tuple[float, float]], levels: Iterable[float]
) -> Table:
    """Make a meteorological table.

    Parameters
    ----------
    weather : Weather
        The air.
    hours : iterable of int
        Times, as hours since :data:`NIGHT`.
    points : iterable of (float, float)
        Latitude and longitude of the places [deg].
    levels : iterable of float
        Pressures [hPa].

    Returns
    -------
    Table
        Latitude, Longitude [deg], Timestamp (ISO text, UTC), then as :func:`make_meteo_rows`.
    """
    levels, points, parts = tuple(levels), tuple(points), []
    for hour in hours:
        for latitude, longitude in points:
            rows = make_meteo_rows(weather.column(hour, latitude, longitude), levels)
            rows.add_column(np.full(len(rows), latitude) * u.deg, name="Latitude", index=0)
            rows.add_column(np.full(len(rows), longitude) * u.deg, name="Longitude", index=1)
            stamp = (NIGHT + timedelta(hours=hour)).isoformat()
            rows.add_column(np.full(len(rows), stamp), name="Timestamp", index=2)
            parts.append(rows)
    return vstack(parts)


def make_gdas_table(weather: Weather) -> Table:
    """Make a table as from the GDAS analysis: one place, every six hours, heights in geopotential metres."""
    table = make_meteo_table(weather, range(-6, 13, 6), GDAS_POINTS, GDAS_LEVELS)
    height = table["Geopotential"] / STANDARD_GRAVITY
    table["Geopotential Height"] = np.asarray(height)
    # No unit of astropy, but that of real tables.
    table["Geopotential Height"].unit = u.Unit("gpm", parse_strict="silent")
    table.remove_column("Geopotential")
    return table


def make_era5_table(weather: Weather) -> Table:
    """Make a table as from the ERA5 reanalysis: four places, every hour, times as astropy writes them."""
    table = make_meteo_table(weather, range(-4, 8), ERA5_POINTS, ERA5_LEVELS)
    table["Timestamp"] = Time(table["Timestamp"], scale="utc")
    return table


def make_reference_profile(column: AirColumn) -> Table:
    """Make the profile of a reference model.

    Parameters
    ----------
    column : AirColumn
        The air.

    Returns
    -------
    Table
        Columns of the published reference atmospheres.
    """
    altitude = np.array(PROFILE_GRID, float)
    temperature, pressure = column.temperature(altitude), column.pressure(altitude)
    # (n - 1) at 350 nm scales with P/T; 2.861e-4 holds at 1013.25 hPa and 288.15 K.
    refractivity = 2.861e-4 * (pressure / 1013.25) * (288.15 / temperature)
    density = pressure * 100 * MOLAR_MASS / (8.314462618 * temperature) * 1e-3
    return Table(
        {
            "altitude": altitude * u.km,
            "atmospheric_density": density * u.g / u.cm**3,
            "atmospheric_thickness": 10 * pressure / STANDARD_GRAVITY * u.g / u.cm**2,
            "refractive_index_m_1": refractivity,
            "temperature": temperature * u.K,
            "pressure": pressure * u.hPa,
            "partial_water_pressure": column.vapour_fraction(altitude),
        },
        copy=False,
    )


def make_reference_extinction(column: AirColumn) -> Table:
    """Make the Rayleigh extinction of a reference model.

    Parameters
    ----------
    column : AirColumn
        The air.

    Returns
    -------
    Table
        `altitude_max`, `altitude_min` [km], and a column of optical depths from the observatory per wavelength.
    """
    edges = np.array([ELEVATION, *(edge for edge in EDGES if edge > ELEVATION)])
    table = Table({"altitude_max": edges[1:] * u.km, "altitude_min": edges[:-1] * u.km}, copy=False)
    molecules = column.column_density(ELEVATION, edges[1:])
    for wavelength in WAVELENGTHS:
        table[f"{wavelength:.1f} nm"] = compute_cross_section(wavelength) * molecules
    return table


def make_reference_density(season: str, column: AirColumn) -> Table:
    """Make the density of a reference model at 15 km."""
    density = [float(column.number_density(DENSITY_ALTITUDE))]
    return Table({"season": [season], "density": density / u.cm**3}, copy=False)


def make_truth(weather: Weather) -> Table:
    """Make the mean air of the night, from 22 to 4 hours UTC over the four points of the reanalysis.

    Returns
    -------
    Table
        `altitude` [km], `temperature` [K], `pressure` [hPa], `number density` [1/cm3].
    """
    altitude = np.arange(0.0, 46.0)
    columns = [weather.column(hour, *point) for hour in range(-2, 5) for point in ERA5_POINTS]
    return Table(
        {
            "altitude": altitude * u.km,
            "temperature": np.mean([column.temperature(altitude) for column in columns], axis=0) * u.K,
            "pressure": np.mean([column.pressure(altitude) for column in columns], axis=0) * u.hPa,
            "number density": np.mean([column.number_density(altitude) for column in columns], axis=0) / u.cm**3,
        },
        copy=False,
    )


def make_co2_record(generator: np.random.Generator) -> str:
    """Make a monthly record of carbon dioxide, up to the month before :data:`NIGHT`.

    Parameters
    ----------
    generator : Generator
        Source of the scatter.

    Returns
    -------
    str
        Text in the format of the Scripps programme; months without a value, one of them within the
        record, have -99.99.

    Examples
    --------
    >>> make_co2_record(np.random.default_rng(1)).splitlines()[-7].split(",")[:2]
    ['2023', ' 06']
    """
    lines = [
        '" Made-up record, in the format of the Scripps CO2 programme: monthly means of CO2 in ppm,"',
        '" years and months in columns 1 and 2, CO2 in column 5; missing values are -99.99"',
        "  Yr, Mn,    Date,      Date,     CO2",
        "    ,   ,   Excel,          ,   [ppm]",
    ]
    for year in range(FIRST_YEAR, NIGHT.year + 1):
        for month in range(1, 13):
            fraction = year + (month - 0.5) / 12
            value = 400.0 + 2.4 * (fraction - FIRST_YEAR) + 3.2 * np.sin(2 * np.pi * (fraction - 0.12))
            value += generator.normal(0.0, 0.2)
            known = (year, month) < (NIGHT.year, NIGHT.month) and (year, month) != (2019, 4)
            excel = (datetime(year, month, 15) - datetime(1899, 12, 30)).days
            lines.append(f"{year}, {month:02d}, {excel:7d}, {fraction:10.4f}, {value if known else -99.99:7.2f}")
    return "\n".join(lines) + "\n"


def make_macobac() -> Table:
    """Make the concentration of carbon dioxide that the reference models are made for."""
    table = Table({"co2_concentration": [418.5], "estimation_date": ["2023-01-15"], "version": ["0.0.0"]})
    table["co2_concentration"].unit = u.Unit("ppm", parse_strict="silent")
    return table


@dataclass(frozen=True)
class TextFile:
    """File of plain text."""

    text: str

    def write(self, path: Path, overwrite: bool) -> None:
        """Write the file, completely or not at all."""
        refuse_existing(path, overwrite)
        with replace_file(path) as unfinished:
            unfinished.write_text(self.text, encoding="utf-8")


def make_files(seed: int) -> dict[str, Table | TextFile]:
    """Make all tables and records of a night.

    Parameters
    ----------
    seed : int
        Seed of all random numbers.

    Returns
    -------
    dict of str to Table or TextFile
        By the path in the folder of the night.
    """
    generator = np.random.default_rng(seed)
    weather = Weather.draw(generator)
    files: dict[str, Table | TextFile] = {
        "meteo_gdas.ecsv": make_gdas_table(weather),
        "meteo_era5.ecsv": make_era5_table(weather),
        "monthly_in_situ_co2.csv": TextFile(make_co2_record(generator)),
        "truth.ecsv": make_truth(weather),
        "models/macobac.ecsv": make_macobac(),
    }
    for season, climate in CLIMATES.items():
        column = AirColumn(climate, LATITUDE)
        files[f"models/profile_{season}.ecsv"] = make_reference_profile(column)
        files[f"models/extinction_{season}.ecsv"] = make_reference_extinction(column)
        files[f"models/density_{season}.ecsv"] = make_reference_density(season, column)
    return files


def write_files(
    files: dict[str, Table | TextFile], folder: Path, provenance: dict[str, object], overwrite: bool
) -> None:
    """Write the files of a night.

    Raises
    ------
    OutputExistsError
        If one exists, unless `overwrite`; nothing is written then.
    """
    for name in files:
        refuse_existing(folder / name, overwrite)
    for name, content in files.items():
        if isinstance(content, TextFile):
            content.write(folder / name, overwrite)
        else:
            content.meta[PROVENANCE] = provenance
            write_ecsv(content, folder / name, overwrite)
