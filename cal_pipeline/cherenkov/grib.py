"""Meteorological tables in GRIB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from astropy.time import Time
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.extras import import_extra

Array = NDArray[np.float64]

_COLUMNS = {
    "t": ("Temperature", "K"),
    "z": ("Geopotential", "m2 / s2"),
    "gh": ("Geopotential Height", "m"),
    "r": ("Relative humidity", "%"),
}
"""Columns with their units, by the short name of a parameter in GRIB."""

_LEVELS = {"isobaricInhPa": 1.0, "isobaricInPa": 0.01}
"""Factors from the value of a level to hPa, by the type of level."""

_Key = tuple[str, float, bytes]
"""Time, pressure and grid of a field."""


def read_grib(path: Path) -> Table:
    """Read the levels of pressure of a GRIB file as a meteorological table.

    Parameters
    ----------
    path : Path
        File of edition 1 or 2.

    Returns
    -------
    Table
        A row a time, point and level: ``Latitude``, ``Longitude`` [deg], ``Timestamp`` (UTC), ``Pressure``
        [hPa] and the columns of the parameters that the file holds; values that it lacks are masked.

    Raises
    ------
    ConfigurationError
        If the extra ``grib`` is not installed.
    CorruptedInputError
        If the file cannot be read, or holds no levels of pressure.
    """
    eccodes = import_extra("eccodes")
    fields: dict[_Key, dict[str, Array]] = {}
    try:
        with open(path, "rb") as file:
            for message in _iterate(eccodes, file):
                _read_message(eccodes, message, fields)
    except (OSError, eccodes.CodesInternalError) as error:
        raise CorruptedInputError(f"meteorological table {path} cannot be read as GRIB: {error}") from error
    if not fields:
        raise CorruptedInputError(
            f"meteorological table {path} holds no levels of pressure with any of the parameters {', '.join(_COLUMNS)}"
        )
    return _make_table(fields)


def _iterate(eccodes: Any, file: Any) -> Iterator[Any]:
    while (message := eccodes.codes_grib_new_from_file(file)) is not None:
        try:
            yield message
        finally:
            eccodes.codes_release(message)


def _read_message(eccodes: Any, message: Any, fields: dict[_Key, dict[str, Array]]) -> None:
    """Add the field of a message, which holds one parameter at one level and time, to the others."""
    name, kind = (eccodes.codes_get(message, key) for key in ("shortName", "typeOfLevel"))
    if name not in _COLUMNS or kind not in _LEVELS:
        return
    date, clock = (eccodes.codes_get(message, key, int) for key in ("validityDate", "validityTime"))
    time = f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}T{clock // 100:02d}:{clock % 100:02d}:00"
    pressure = _LEVELS[kind] * eccodes.codes_get(message, "level", float)
    values = eccodes.codes_get_array(message, "values")
    values = np.where(values == eccodes.codes_get(message, "missingValue", float), np.nan, values)
    # Points are stored to 1e-6 deg, and come back with the error of single precision.
    points = np.round([eccodes.codes_get_array(message, key) for key in ("latitudes", "longitudes")], 6)
    fields.setdefault((time, pressure, points.tobytes()), {})[name] = values


def _make_table(fields: dict[_Key, dict[str, Array]]) -> Table:
    """Make the table of fields; a point where all parameters are missing has no row."""
    held = [short for short in _COLUMNS if any(short in values for values in fields.values())]
    parts = []
    for (time, pressure, points), values in fields.items():
        latitude, longitude = np.frombuffer(points).reshape(2, -1)
        part = Table({"Latitude": latitude, "Longitude": longitude})
        part["Pressure"] = pressure
        part["Timestamp"] = np.datetime64(time, "ms")
        for short in held:
            part[short] = values.get(short, np.full(latitude.size, np.nan))
        is_empty = np.all([np.isnan(part[short]) for short in held], axis=0)
        parts.append(part[~is_empty])
    table = vstack(parts)
    table["Timestamp"] = Time(np.asarray(table["Timestamp"]), scale="utc")
    for name, unit in (("Latitude", "deg"), ("Longitude", "deg"), ("Pressure", "hPa")):
        table[name].unit = unit
    for short in held:
        name, unit = _COLUMNS[short]
        table[short] = np.ma.masked_invalid(table[short])
        table[short].unit = unit
        table.rename_column(short, name)
    return table
