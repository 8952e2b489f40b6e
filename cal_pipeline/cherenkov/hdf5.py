"""Tables in HDF5 files, in the way of ctapipe."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, StorageError
from cal_pipeline.cherenkov.extras import import_extra
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.files.replace import replace_file

_UNIT = "CTAFIELD_{}_UNIT"
"""Attribute with the unit of a column, by its number."""

_EPOCH = 40587
"""Modified Julian day of 1970-01-01."""

_DAY = 86400


def convert_times(values: Any) -> NDArray[np.float64]:
    """Convert the times of an HDF5 column to Modified Julian days in TAI.

    Parameters
    ----------
    values : ndarray, shape (rows,) of float64, or (rows, 2) of uint32
        Modified Julian days (TAI); or seconds since 1970-01-01T00 (TAI) and quarters of a nanosecond.

    Returns
    -------
    ndarray, shape (rows,)
        Modified Julian days (TAI), to half a microsecond.

    Raises
    ------
    CorruptedInputError
        If the column is neither.

    Examples
    --------
    >>> convert_times(np.array([[86_400, 0], [129_600, 0]], dtype=np.uint32))
    array([40588. , 40588.5])
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "ui":
        seconds, quarters = array.astype(np.int64).T
        # The day is exact: only the fraction of the day is rounded.
        days: NDArray[np.float64] = _EPOCH + seconds // _DAY + (seconds % _DAY + quarters * 0.25e-9) / _DAY
        return days
    if array.ndim == 1 and array.dtype.kind == "f":
        return array.astype(np.float64)
    raise CorruptedInputError(
        f"times of type {array.dtype} and shape {array.shape}; expected float64 days, or pairs of uint32"
    )


@contextmanager
def _open(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open a file; what the library raises becomes an error that names it."""
    tables = import_extra("tables")
    try:
        with warnings.catch_warnings():
            # Columns such as "200.0 nm" are no names of Python.
            warnings.simplefilter("ignore", tables.NaturalNameWarning)
            with tables.open_file(str(path), mode) as file:
                yield file
    except (tables.HDF5ExtError, OSError, tables.NoSuchNodeError) as error:
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
        raise CorruptedInputError(f"HDF5 file {path} cannot be read: {lines[-1] if lines else error!r}") from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise MissingInputError(f"HDF5 file {path} is {'a folder' if path.is_dir() else 'not there'}; expected a file")


def list_tables(path: str | Path, group: str = "/") -> dict[str, str]:
    """List the tables of a group.

    Parameters
    ----------
    path : str or Path
        The file.
    group : str
        Path of the group.

    Returns
    -------
    dict of str to str
        Path of each table by its name, in alphabetical order; empty if there is no such group.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If it is no HDF5 file.
    """
    path = Path(path)
    _check_file(path)
    with _open(path) as file:
        if group not in file:
            return {}
        nodes = file.list_nodes(group, "Table")
        return {node._v_name: node._v_pathname for node in sorted(nodes, key=lambda node: str(node._v_name))}


def has_table(path: str | Path, node: str) -> bool:
    """Tell whether a file has a table.

    Parameters
    ----------
    path : str or Path
        The file.
    node : str
        Path of the table.
    """
    path = Path(path)
    _check_file(path)
    with _open(path) as file:
        return bool(node in file and _is_table(file, node))


def _is_table(file: Any, node: str) -> bool:
    return bool(isinstance(file.get_node(node), import_extra("tables").Table))


def read_table(path: str | Path, node: str) -> Table:
    """Read a table.

    Parameters
    ----------
    path : str or Path
        The file.
    node : str
        Path of the table, such as ``"/configuration/instrument/subarray/layout"``.

    Returns
    -------
    Table
        Columns with their units; text as str. Times are as stored, see :func:`convert_times`.

    Raises
    ------
    MissingInputError
        If there is no such file or table.
    CorruptedInputError
        If it cannot be read.
    """
    path = Path(path)
    _check_file(path)
    with _open(path) as file:
        if node not in file:
            raise MissingInputError(f"HDF5 file {path} has no table {node}")
        if not _is_table(file, node):
            raise CorruptedInputError(f"HDF5 file {path}: {node} is no table")
        stored = file.get_node(node)
        rows = stored.read()
        attributes = {name: stored.attrs[name] for name in stored.attrs._f_list("user")}
    table = Table()
    for number, name in enumerate(rows.dtype.names):
        values = rows[name]
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        table[name] = values
        unit = attributes.get(_UNIT.format(number))
        if unit is not None and str(unit):
            table[name].unit = str(unit)
    return table


def read_attribute(path: str | Path, name: str) -> Any:
    """Read an attribute of the root of a file; None if there is none.

    Parameters
    ----------
    path : str or Path
        The file.
    name : str
        Name of the attribute.
    """
    path = Path(path)
    _check_file(path)
    with _open(path) as file:
        attributes = file.root._v_attrs
        return attributes[name] if name in attributes._f_list("user") else None


def write_tables(
    path: str | Path,
    tables: Mapping[str, Table],
    tool: str,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
    base: str | Path | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Add tables to a file, or make it: completely or not at all.

    A copy of the file is extended, and replaces it.

    Parameters
    ----------
    path : str or Path
        The file; missing folders are made.
    tables : mapping of str to Table
        Tables by their paths.
    tool : str
        Name of the tool, for the attribute ``provenance_<tool>`` of the root.
    provenance : mapping
        Provenance, ready for JSON.
    overwrite : bool
        Replace tables that exist.
    base : str or Path, optional
        File to extend; `path` itself, where it exists, if not given.
    attributes : mapping, optional
        Further attributes of the root.

    Raises
    ------
    OutputExistsError
        If a table exists, unless `overwrite`; with the exit status of storage.
    StorageError
        If the file cannot be written.
    CorruptedInputError
        If the file to be extended is no HDF5 file.
    """
    path = Path(path)
    start = Path(base) if base is not None else path if path.exists() else None
    if start is not None:
        refuse_tables(start, tables, overwrite)
    with replace_file(path) as unfinished:
        if start is not None:
            shutil.copyfile(start, unfinished)
        with _open(unfinished, "a" if start is not None else "w") as file:
            for node, table in tables.items():
                _write_table(file, node, table)
            values = {f"provenance_{tool}": json.dumps(provenance), **(attributes or {})}
            for name, value in values.items():
                # Text as bytes of UTF-8 would be a pickle otherwise.
                file.root._v_attrs[name] = np.str_(value) if isinstance(value, str) else value


def refuse_tables(path: str | Path, nodes: Mapping[str, Any] | list[str], overwrite: bool) -> None:
    """Refuse to write tables that a file has.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist.
    nodes : iterable of str
        Paths of the tables.
    overwrite : bool
        Whether they may be replaced.

    Raises
    ------
    OutputExistsError
        With the exit status of storage.
    """
    path = Path(path)
    if path.is_dir():
        raise StorageError(f"product {path} is a folder; expected a file or nothing there")
    if overwrite or not path.exists():
        return
    for node in nodes:
        if has_table(path, node):
            error = OutputExistsError(f"{path} has a table {node}; give overwrite=True to replace it")
            error.exit_status = StorageError.exit_status
            raise error


def _write_table(file: Any, node: str, table: Table) -> None:
    tables = import_extra("tables")
    group, _, name = node.rpartition("/")
    if node in file:
        file.remove_node(node, recursive=True)
    rows = _make_rows(table)
    filters = tables.Filters(complevel=4, complib="zlib", shuffle=True)
    stored = file.create_table(group or "/", name, obj=rows, filters=filters, createparents=True)
    for number, column in enumerate(table.colnames):
        unit = table[column].unit
        if unit is not None and str(unit):
            stored.attrs[_UNIT.format(number)] = np.str_(unit.to_string() if hasattr(unit, "to_string") else unit)
    for key, value in table.meta.items():
        stored.attrs[key] = np.str_(value) if isinstance(value, str) else value


def _make_rows(table: Table) -> NDArray[np.void]:
    """Make a structured array; text becomes UTF-8."""
    columns = {}
    for name in table.colnames:
        values = np.asarray(getattr(table[name], "value", table[name]))
        columns[name] = np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values
    # HDF5 has no text of length 0.
    columns = {
        name: values.astype("S1") if values.dtype.kind == "S" and values.dtype.itemsize == 0 else values
        for name, values in columns.items()
    }
    dtype = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    rows: NDArray[np.void] = np.zeros(len(table), dtype=dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows
