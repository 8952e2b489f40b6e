"""Reference model of the atmosphere, as a configuration and its files describe one for the database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.atmosphere_tables import PROFILE_COLUMNS, get_column, read_co2
from cal_pipeline.cherenkov.configuration import refuse_unknown
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError
from cal_pipeline.cherenkov.observatory import find_alias, read_version
from cal_pipeline.cherenkov.products import read_ecsv

Array = NDArray[np.float64]

Rows = dict[str, dict[str, Any]]
"""A row of each table of the database, by the names of table and column."""

_MODEL_KEYS = ("version", "start", "stop", "current", "season", "name_Observatory", "version_Observatory")
_META_KEYS = ("data_assimilation_system", "dataset", "description", "data_path")
_FILE_KEYS = ("rayleigh_extinction_data_path", "macobac_data_path", "molecular_density_data_path")
_SECTION_KEYS = ("atmospheric_model", "molecular_atmospheric_profile", *_FILE_KEYS)
_OPTIONAL = ("start", "stop", "data_assimilation_system", "dataset", "description")

_WAVELENGTH = re.compile(r"(\d+(?:\.\d*)?(?:e[-+]?\d+)?) ?nm")


def read_model(section: Mapping[str, Any]) -> Rows:
    """Read a reference model.

    Parameters
    ----------
    section : mapping
        ``atmospheric_model`` {version, start, stop, current, season, name_Observatory, version_Observatory},
        ``molecular_atmospheric_profile`` {data_assimilation_system, dataset, description, data_path},
        ``rayleigh_extinction_data_path``, ``macobac_data_path`` and ``molecular_density_data_path``. Paths are relative
        to the current folder.

    Returns
    -------
    dict
        A row of each table of the model, by the names of table and column.

    Raises
    ------
    ConfigurationError
        If a key is unknown or missing, or a value of no use.
    MissingInputError
        If a file is not there.
    CorruptedInputError
        If a file lacks a column, has another unit or infinite values, or the season of the density is not the model's.
    """
    _check_keys(section, _SECTION_KEYS, "model")
    model = _read_model_row(section["atmospheric_model"])
    meta = section["molecular_atmospheric_profile"]
    _check_keys(meta, _META_KEYS, "molecular_atmospheric_profile")
    origin = {key: None if meta.get(key) is None else str(meta[key]) for key in _META_KEYS if key != "data_path"}
    contents: Rows = {
        "MolecularAtmosphericProfileMeta": origin,
        "MolecularAtmosphericProfile": read_profile_row(meta["data_path"]),
        "RayleighExtinction": read_extinction_row(section["rayleigh_extinction_data_path"]),
        "MACOBAC": read_macobac_row(section["macobac_data_path"]),
        "MolecularDensity": read_density_row(section["molecular_density_data_path"], model["season"]),
    }
    rows = {name: {"version": model["version"], **content} for name, content in contents.items()}
    return {"AtmosphericModel": model, **rows}


def list_files(section: Mapping[str, Any]) -> list[str]:
    """List the files of a section that :func:`read_model` has read."""
    return [str(section["molecular_atmospheric_profile"]["data_path"]), *(str(section[key]) for key in _FILE_KEYS)]


def _check_keys(values: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{where}: found {values!r}; expected keys {', '.join(keys)}")
    for key in values:
        refuse_unknown(str(key), keys, "key", where)
    missing = [key for key in keys if values.get(key) is None and key not in _OPTIONAL]
    if missing:
        raise ConfigurationError(f"{where} lacks {', '.join(missing)}; expected {', '.join(keys)}")


def _read_model_row(values: Any) -> dict[str, Any]:
    where = "atmospheric_model"
    _check_keys(values, _MODEL_KEYS, where)
    if not isinstance(values["current"], bool):
        raise ConfigurationError(f"{where}: current is {values['current']!r}; expected true or false")
    start, stop = (_read_date(values.get(key), f"{where}: {key}") for key in ("start", "stop"))
    if start and stop and stop < start:
        raise ConfigurationError(f"{where}: stop {stop} comes before start {start}")
    return {
        "version": read_version(values["version"], where),
        "start": start,
        "stop": stop,
        "current": values["current"],
        "season": find_alias(str(values["season"]), where),
        "name_Observatory": str(values["name_Observatory"]).upper(),
        "version_Observatory": read_version(values["version_Observatory"], f"{where}, version_Observatory"),
    }


def _read_date(value: Any, where: str) -> date | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError as error:
        raise ConfigurationError(f"{where} is {value!r}; expected a date such as 2023-09-28") from error


def read_profile_row(path: str | Path) -> dict[str, Any]:
    """Read the atmospheric profile of a model.

    Parameters
    ----------
    path : str or Path
        ECSV file with the columns :data:`.PROFILE_COLUMNS`.

    Returns
    -------
    dict of str to ndarray, shape (altitudes,)
        Values by column; NaN where they are unknown.

    Raises
    ------
    MissingInputError
        If the file is not there.
    CorruptedInputError
        If it lacks a column, or altitudes do not rise.
    """
    name = f"atmospheric profile {path}"
    table = read_ecsv(path, "atmospheric profile")
    row = {column: _get_column(table, column, unit, name) for column, unit in PROFILE_COLUMNS.values()}
    altitude = row["altitude"]
    if altitude.size < 4 or not (np.diff(altitude) > 0.0).all():
        raise CorruptedInputError(f"{name}: {altitude.size} altitudes; expected 4 or more in ascending order")
    return row


def read_extinction_row(path: str | Path) -> dict[str, Any]:
    """Read the extinction of a model.

    Parameters
    ----------
    path : str or Path
        ECSV file with ``altitude_min``, ``altitude_max`` [km] and a column a wavelength, such as ``200.0 nm``.

    Returns
    -------
    dict of str to ndarray
        ``wavelength`` [nm] of shape (wavelengths,), ``altitude`` [km] of shape (bins, 2), ``AOD`` of shape (bins,
        wavelengths).

    Raises
    ------
    MissingInputError
        If the file is not there.
    CorruptedInputError
        If it lacks a column, holds others, or a bin has no height.
    """
    name = f"extinction profile {path}"
    table = read_ecsv(path, "extinction profile")
    edges = [_get_column(table, column, "km", name) for column in ("altitude_min", "altitude_max")]
    columns = [column for column in table.colnames if column not in ("altitude_min", "altitude_max")]
    found = {column: _WAVELENGTH.fullmatch(column) for column in columns}
    others = [column for column, match in found.items() if match is None]
    if others or not columns:
        raise CorruptedInputError(
            f"{name} holds {', '.join(others) or 'no wavelength'}; expected columns such as '200.0 nm' beside altitudes"
        )
    wavelength = np.array([float(match[1]) for match in found.values() if match])
    altitude = np.column_stack(edges)
    if not len(table) or not (altitude[:, 0] < altitude[:, 1]).all() or np.unique(wavelength).size < wavelength.size:
        raise CorruptedInputError(
            f"{name}: {len(table)} bins of {wavelength.size} wavelengths; expected altitude_min below altitude_max in "
            "each bin, and each wavelength once"
        )
    depth = np.column_stack([_get_column(table, column, "", name) for column in columns])
    return {"wavelength": wavelength, "altitude": altitude, "AOD": depth}


def read_macobac_row(path: str | Path) -> dict[str, Any]:
    """Read the concentration of CO2 of a model.

    Parameters
    ----------
    path : str or Path
        Product of ``calibpipe-calculate-macobac``.

    Returns
    -------
    dict
        ``co2_concentration`` [ppm] and ``estimation_date``.

    Raises
    ------
    MissingInputError
        If the file is not there.
    CorruptedInputError
        If it lacks a column, or has another number of rows than one.
    """
    concentration = read_co2(Path(path))
    table = read_ecsv(path, "CO2 table")
    text = str(table["estimation_date"][0]) if "estimation_date" in table.colnames else "missing"
    try:
        estimated = date.fromisoformat(text[:10])
    except ValueError as error:
        raise CorruptedInputError(f"CO2 table {path}: estimation_date is {text}; expected an ISO date") from error
    return {"co2_concentration": concentration, "estimation_date": estimated}


def read_density_row(path: str | Path, season: str) -> dict[str, Any]:
    """Read the density of a model at 15 km.

    Parameters
    ----------
    path : str or Path
        ECSV file of one row with ``season`` and ``density`` [1/cm3].
    season : str
        Season of the model.

    Returns
    -------
    dict
        ``season`` and ``density``.

    Raises
    ------
    MissingInputError
        If the file is not there.
    CorruptedInputError
        If it lacks a column, or its season is another one.
    """
    name = f"density {path}"
    table = read_ecsv(path, "density")
    density = get_column(table, "density", "1 / cm3", name)
    if "season" not in table.colnames or density.size != 1 or not density[0] > 0.0:
        raise CorruptedInputError(
            f"{name}: {density.size} rows of {', '.join(table.colnames)}; expected one of season and density > 0"
        )
    given = str(table["season"][0])
    try:
        alias = find_alias(given, name)
    except ConfigurationError as error:
        raise CorruptedInputError(str(error)) from error
    if alias != season:
        raise CorruptedInputError(f"{name}: season is {given} ({alias}); expected the model's, {season}")
    return {"season": alias, "density": float(density[0])}


def _get_column(table: Table, column: str, unit: str, name: str) -> Array:
    """Return a column in a unit; values may be unknown (NaN), not infinite."""
    if column not in table.colnames or column.startswith("altitude"):
        return get_column(table, column, unit, name)
    try:
        given = np.ma.filled(np.ma.asarray(getattr(table[column], "value", table[column])).astype(float), np.nan)
    except (TypeError, ValueError) as error:
        raise CorruptedInputError(f"{name}: column {column} holds no numbers") from error
    unknown = np.isnan(given)
    known = Table({column: np.where(unknown, 0.0, given)})
    known[column].unit = table[column].unit
    values = get_column(known, column, unit, name)
    values[unknown] = np.nan
    return values
