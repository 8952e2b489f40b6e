"""Meteorological tables in GRIB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.extras import import_extra

_COLUMNS = {
    "t": ("Temperature", "K"),
    "z": ("Geopotential", "m2 / s2"),
    "gh": ("Geopotential Height", "m"),
    "r": ("Relative humidity", "%"),
}
"""Columns with their units, by the short name of a parameter in GRIB."""

_LEVELS = "isobaricInhPa"


def read_grib(path: Path) -> Table:
    """Read the levels of pressure of a GRIB file as a meteorological table.

    Parameters
    ----------
    path : Path
        File of edition 1 or 2.

    Returns
    -------
    Table
        A row a time, point and level: ``Latitude``, ``Longitude`` [deg], ``Timestamp`` (ISO text, UTC), ``Pressure``
        [hPa] and the columns of the parameters that the file holds; values that it lacks are masked.

    Raises
    ------
    ConfigurationError
        If the extra ``grib`` is not installed.
    CorruptedInputError
        If the file cannot be read, or holds no levels of pressure.
    """
    eccodes = import_extra("eccodes")
    rows: dict[tuple[str, float, float, float], dict[str, float]] = {}
    try:
        with open(path, "rb") as file:
            for message in _iterate(eccodes, file):
                _read_message(eccodes, message, rows)
    except (OSError, eccodes.CodesInternalError) as error:
        raise CorruptedInputError(f"meteorological table {path} cannot be read as GRIB: {error}") from error
    if not rows:
        raise CorruptedInputError(
            f"meteorological table {path} holds no levels of pressure with any of the parameters {', '.join(_COLUMNS)}"
        )
    return _make_table(rows)


def _iterate(eccodes: Any, file: Any) -> Iterator[Any]:
    while (message := eccodes.codes_grib_new_from_file(file)) is not None:
        try:
            yield message
        finally:
            eccodes.codes_release(message)


def _read_message(eccodes: Any, message: Any, rows: dict[tuple[str, float, float, float], dict[str, float]]) -> None:
    """Add the values of a message, which holds one parameter at one level and time, to the rows."""
    name = eccodes.codes_get(message, "shortName")
    if name not in _COLUMNS or eccodes.codes_get(message, "typeOfLevel") != _LEVELS:
        return
    date, clock = (eccodes.codes_get(message, key, int) for key in ("validityDate", "validityTime"))
    time = f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}T{clock // 100:02d}:{clock % 100:02d}:00"
    level = float(eccodes.codes_get(message, "level"))
    latitudes, longitudes, values = (
        eccodes.codes_get_array(message, key) for key in ("latitudes", "longitudes", "values")
    )
    absent = eccodes.codes_get(message, "missingValue", float)
    for latitude, longitude, value in zip(latitudes, longitudes, values, strict=True):
        if value != absent:
            # Points are stored to 1e-6 deg, and come back with the error of single precision.
            point = (round(float(latitude), 6), round(float(longitude), 6))
            rows.setdefault((time, *point, level), {})[name] = float(value)


def _make_table(rows: dict[tuple[str, float, float, float], dict[str, float]]) -> Table:
    time, latitude, longitude, pressure = zip(*rows, strict=True)
    table = Table({"Latitude": latitude, "Longitude": longitude, "Timestamp": time, "Pressure": pressure})
    for name, unit in (("Latitude", "deg"), ("Longitude", "deg"), ("Pressure", "hPa")):
        table[name].unit = unit
    for short, (name, unit) in _COLUMNS.items():
        values = np.array([row.get(short, np.nan) for row in rows.values()])
        if np.isfinite(values).any():
            table[name] = np.ma.masked_invalid(values)
            table[name].unit = unit
    return table
