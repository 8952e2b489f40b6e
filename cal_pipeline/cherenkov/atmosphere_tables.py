"""Tables of the atmosphere: density profile, atmospheric profile, extinction, CO2."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import QTable, Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.atmosphere import ReferenceAtmosphere
from cal_pipeline.cherenkov.physics.levels import LevelProfile
from cal_pipeline.cherenkov.products import read_ecsv

Array = NDArray[np.float64]

PROFILE_COLUMNS = {
    "altitude": ("altitude", "km"),
    "density": ("atmospheric_density", "g / cm3"),
    "thickness": ("atmospheric_thickness", "g / cm2"),
    "refractivity": ("refractive_index_m_1", ""),
    "temperature": ("temperature", "K"),
    "pressure": ("pressure", "hPa"),
    "water": ("partial_water_pressure", ""),
}
"""Columns of an atmospheric profile with their units, by the attributes of :class:`.ReferenceAtmosphere`."""

REFERENCE_ALTITUDE = 15_000.0
"""Altitude [m] at which densities of nights and reference models are compared."""


def make_steps(first: float, last: float, step: float) -> Array:
    """Make values in equal steps, the last included if a whole number of steps reaches it.

    Parameters
    ----------
    first, last : float
        Limits.
    step : float
        Step, above 0.

    Returns
    -------
    ndarray
        Ascending; none is above `last`.

    Examples
    --------
    >>> make_steps(200.0, 211.0, 3.0)
    array([200., 203., 206., 209.])
    """
    # A millionth of a step more: rounding must not lose the last value.
    return first + step * np.arange(np.floor((last - first) / step + 1e-6) + 1.0)


def make_density_table(profile: LevelProfile, altitude_max: float, altitude_step: float) -> Table:
    """Make the table of a density profile.

    Parameters
    ----------
    profile : LevelProfile
        Levels of the night.
    altitude_max, altitude_step : float
        Last altitude and step [m]; the first is 0.

    Returns
    -------
    Table
        ``altitude`` [m], ``number density`` [1/cm3], which is NaN outside of the levels.
    """
    altitude = make_steps(0.0, altitude_max, altitude_step)
    table = Table({"altitude": altitude, "number density": profile.interpolate("density", altitude)})
    table["altitude"].unit, table["number density"].unit = "m", "1 / cm3"
    return table


def compute_density_15km(profile: LevelProfile, name: str) -> float:
    """Compute the number density at 15 km.

    Parameters
    ----------
    profile : LevelProfile
        Levels of the night.
    name : str
        Table of the levels, for the message.

    Returns
    -------
    float
        Number density [1/cm3].

    Raises
    ------
    CorruptedInputError
        If the levels do not reach 15 km.
    """
    if not profile.covers(REFERENCE_ALTITUDE):
        low, high = profile.altitude[[0, -1]]
        raise CorruptedInputError(f"{name}: the levels reach from {low:.0f} to {high:.0f} m; expected 15000 m within")
    return float(profile.interpolate("density", REFERENCE_ALTITUDE))


def read_profile_table(table: Table, name: str) -> ReferenceAtmosphere:
    """Take the columns of a table as an atmospheric profile.

    Parameters
    ----------
    table : Table
        Columns as in :data:`PROFILE_COLUMNS`.
    name : str
        Origin of the table, for messages.

    Raises
    ------
    CorruptedInputError
        If a column is missing, in another unit or not finite, or altitudes do not rise.
    """
    columns = {field: get_column(table, column, unit, name) for field, (column, unit) in PROFILE_COLUMNS.items()}
    if len(table) < 4 or not (np.diff(columns["altitude"]) > 0.0).all():
        raise CorruptedInputError(f"{name}: {len(table)} altitudes; expected 4 or more in ascending order")
    return ReferenceAtmosphere(**columns)


def get_column(table: Table, column: str, unit: str, name: str) -> Array:
    """Return a column of finite numbers in a unit.

    Parameters
    ----------
    table : Table
        The table.
    column, unit : str
        Name of the column, and unit to return it in; a column without a unit has it already.
    name : str
        Origin of the table, for messages.

    Raises
    ------
    CorruptedInputError
        If the column is missing, in another unit, no numbers, or not finite.
    """
    if column not in table.colnames:
        raise CorruptedInputError(f"{name} lacks the column {column}; it has {', '.join(table.colnames)}")
    given = table[column]
    try:
        values = np.ma.filled(np.ma.asarray(getattr(given, "value", given)).astype(float), np.nan)
        if given.unit is not None and str(given.unit):
            values = values * units.Unit(given.unit).to(units.Unit(unit))
    except (TypeError, ValueError) as error:
        expected = unit or "numbers without a unit"
        raise CorruptedInputError(f"{name}: column {column} is in {given.unit!s}; expected {expected}") from error
    if not np.isfinite(values).all():
        raise CorruptedInputError(f"{name}: column {column} holds values that are not finite")
    return values


def make_profile_table(profile: ReferenceAtmosphere) -> Table:
    """Make the table of an atmospheric profile.

    Parameters
    ----------
    profile : ReferenceAtmosphere
        The profile.

    Returns
    -------
    Table
        Columns as in :data:`PROFILE_COLUMNS`.
    """
    table = Table()
    for field in fields(profile):
        column, unit = PROFILE_COLUMNS[field.name]
        table[column] = getattr(profile, field.name)
        if unit:
            table[column].unit = unit
    return table


def make_extinction_table(edges: Array, wavelengths: Array, depth: Array) -> Table:
    """Make the table of an extinction profile.

    Parameters
    ----------
    edges : ndarray, shape (bins + 1,)
        Edges of the altitude bins [km].
    wavelengths : ndarray, shape (wavelengths,)
        Wavelengths [nm].
    depth : ndarray, shape (bins, wavelengths)
        Optical depth from the lowest edge to the upper edge of each bin.

    Returns
    -------
    Table
        ``altitude_max``, ``altitude_min`` [km], and a column a wavelength such as ``200.0 nm``.
    """
    # One decimal, or as many as the wavelength has: a name must not be that of another wavelength.
    names = [f"{round(float(wavelength), 6)} nm" for wavelength in wavelengths]
    table = Table([edges[1:], edges[:-1], *depth.T], names=["altitude_max", "altitude_min", *names])
    table["altitude_max"].unit = table["altitude_min"].unit = "km"
    return table


def read_co2(path: Path) -> float:
    """Read the concentration of CO2 from the product of ``calibpipe-calculate-macobac``.

    Parameters
    ----------
    path : Path
        ECSV file of one row; the column may be plain or a quantity.

    Returns
    -------
    float
        Concentration [ppm].

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If it has another number of rows or no concentration.
    """
    table = read_ecsv(path, "CO2 table")
    if len(table) != 1:
        raise CorruptedInputError(f"CO2 table {path} has {len(table)} rows; expected 1")
    return float(_as_ppm(table, path)[0])


def _as_ppm(table: Any, path: Path) -> Array:
    """Return the concentrations; ppm is a word where astropy's unit of it is not enabled."""
    column = "co2_concentration"
    if column in table.colnames and str(table[column].unit) == "ppm":
        table = QTable(table) if isinstance(table, QTable) else Table(table, copy=True)
        table[column] = np.asarray(getattr(table[column], "value", table[column]), dtype=float)
    return get_column(table, column, "", f"CO2 table {path}")
