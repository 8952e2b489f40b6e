"""Tables in HDF5 files, as ctapipe writes them.

PyTables reads the files: those of ctapipe are compressed with blosc, for which other libraries need plugins. Tables of
this package are plain compound datasets, compressed with gzip, with the same attributes for units and times.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Column, Table
from astropy.time import Time

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, StorageError
from cal_pipeline.cherenkov.extras import import_extra
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.files.replace import replace_file

TAI_EPOCH_MJD = 40587
"""Modified Julian date of 1970-01-01, from which integer times count their seconds (of TAI)."""

SECONDS_PER_DAY = 86400
QUARTERS_PER_SECOND = 4_000_000_000

PROVENANCE = "provenance_"
"""Beginning of the names of root attributes with the provenance; the rest is the tool."""

_ATTRIBUTE_LIMIT = 50_000
"""Largest attribute, in bytes; HDF5 takes 64 KiB."""

_OWN_ATTRIBUTE = re.compile(r"(CTA)?FIELD_\d+_|^(CLASS|TITLE|VERSION|NROWS|FILTERS|FLAVOR|PYTABLES_FORMAT_VERSION)$")
"""Attributes of the format, which are no metadata of a table."""

_TELESCOPE = re.compile(r"tel_(\d+)$")


def read_table(path: str | Path, node: str, columns: Sequence[str] | None = None) -> Table:
    """Read a table of an HDF5 file.

    Times, be they integers or floats, become MJD (TAI) as floats; see :func:`read_times`.

    Parameters
    ----------
    path : str or Path
        The file.
    node : str
        Path of the table in it.
    columns : sequence of str, optional
        Columns to return, which must be there; all by default.

    Returns
    -------
    Table
        The table, with units, and with simple attributes as ``meta``.

    Raises
    ------
    MissingInputError
        If the file or the table is not there.
    CorruptedInputError
        If the file is no HDF5 file or damaged, `node` is no table, or a column is missing.

    Examples
    --------
    >>> write_tables(Path("night/array.h5"), {"/layout": Table({"tel_id": [1, 2]})}, "example", {})
    >>> list(read_table("night/array.h5", "/layout")["tel_id"])
    [np.int64(1), np.int64(2)]
    """
    tables = import_extra("tables")
    with _open(path) as file:
        table = _find_node(file, path, node, (tables.Table,), "table")
        values = table.read()
        attributes = table._v_attrs
        names = values.dtype.names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise CorruptedInputError(
                f"{path}: table {node} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
                + ", ".join(names)
            )
        read = Table(meta=_read_meta(attributes))
        for name in columns or names:
            where = f"{path}: column {name} of table {node}"
            index = names.index(name)
            timed = _attribute(attributes, index, "TRANSFORM") == "time" or name.startswith("time")
            read[name] = _make_column(values[name], index, attributes, timed, where)
    return read


def read_array(path: str | Path, node: str) -> npt.NDArray[Any]:
    """Read an array of an HDF5 file.

    Parameters
    ----------
    path : str or Path
        The file.
    node : str
        Path of the array in it.

    Returns
    -------
    array

    Raises
    ------
    MissingInputError
        If the file or the array is not there.
    CorruptedInputError
        If the file is no HDF5 file or damaged, or `node` is no array of numbers.
    """
    tables = import_extra("tables")
    with _open(path) as file:
        found = _find_node(file, path, node, (tables.Array,), "array")
        values = np.asarray(found.read())
    if values.dtype.kind not in "biuf":
        raise CorruptedInputError(f"{path}: array {node} holds {values.dtype}; expected numbers")
    return values


def read_times(values: npt.ArrayLike, where: str = "times") -> npt.NDArray[np.float64]:
    """Convert times, in either form that HDF5 files have, to MJD (TAI).

    Parameters
    ----------
    values : array-like
        Floats of shape (n,), MJD (TAI); or integers of shape (n, 2), TAI seconds since 1970-01-01T00:00 TAI and
        quarter nanoseconds.
    where : str
        Name of the column, for messages.

    Returns
    -------
    array of float64, shape (n,)
        MJD (TAI), to the precision of a float of that size: 0.4 µs.

    Raises
    ------
    CorruptedInputError
        If the values have another form, or the fraction is no fraction of a second.

    Examples
    --------
    >>> read_times(np.array([[86400, 2_000_000_000]], dtype=np.uint32)) * 86400 % 86400
    array([0.5])
    """
    times = np.asarray(values)
    if times.ndim == 1 and times.dtype.kind == "f":
        return times.astype(np.float64)
    if times.ndim != 2 or times.shape[1] != 2 or times.dtype.kind not in "iu":
        raise CorruptedInputError(
            f"{where} of type {times.dtype}, shape {times.shape}; expected floats (MJD TAI) or pairs of integers"
        )
    seconds, quarters = times.astype(np.int64).T
    if np.any(quarters >= QUARTERS_PER_SECOND):
        raise CorruptedInputError(f"{where}: {quarters.max()} quarter nanoseconds; expected less than a second")
    days, rest = np.divmod(seconds, SECONDS_PER_DAY)
    # Whole days first: the fraction of a day keeps its own precision up to the last sum.
    return np.asarray(TAI_EPOCH_MJD + days + (rest + quarters / QUARTERS_PER_SECOND) / SECONDS_PER_DAY, dtype=float)


def take_numbers(table: Table, name: str, where: str) -> npt.NDArray[np.float64]:
    """Take a column of numbers of a table, as floats.

    Parameters
    ----------
    table : Table
        The table.
    name : str
        Name of the column.
    where : str
        Origin of the table, for messages.

    Raises
    ------
    CorruptedInputError
        If the column holds no numbers.

    Examples
    --------
    >>> take_numbers(Table({"n": [1, 2]}), "n", "table")
    array([1., 2.])
    """
    values = np.asarray(table[name])
    if values.dtype.kind not in "biuf":
        raise CorruptedInputError(f"{where}: column {name} holds {values.dtype}; expected numbers")
    return values.astype(np.float64)


def list_tables(path: str | Path, group: str) -> dict[str, str]:
    """List the tables of a group.

    Parameters
    ----------
    path : str or Path
        HDF5 file.
    group : str
        Path of the group in it.

    Returns
    -------
    dict of str to str
        Paths of the tables by their names, sorted; empty if there is no such group.

    Raises
    ------
    MissingInputError, CorruptedInputError
        If the file is not there or no HDF5 file.
    """
    tables = import_extra("tables")
    with _open(path) as file:
        if group not in file or not isinstance(file.get_node(group), tables.Group):
            return {}
        found = file.iter_nodes(group, classname="Table")
        return {node._v_name: node._v_pathname for node in sorted(found, key=lambda node: str(node._v_name))}


def list_telescopes(path: str | Path, group: str) -> dict[int, str]:
    """List the tables ``tel_NNN`` of a group by the number of the telescope.

    Parameters
    ----------
    path : str or Path
        HDF5 file.
    group : str
        Path of the group in it.

    Returns
    -------
    dict of int to str
        Paths of the tables, in the order of the numbers; empty if there is no such group.

    Raises
    ------
    MissingInputError, CorruptedInputError
        If the file is not there or no HDF5 file.
    """
    found = ((_TELESCOPE.match(name), node) for name, node in list_tables(path, group).items())
    return dict(sorted((int(match[1]), node) for match, node in found if match))


def has_table(path: str | Path, node: str) -> bool:
    """Tell if a file has a table.

    Raises
    ------
    MissingInputError, CorruptedInputError
        If the file is not there or no HDF5 file.
    """
    tables = import_extra("tables")
    with _open(path) as file:
        return node in file and isinstance(file.get_node(node), tables.Table)


def read_attributes(path: str | Path, node: str = "/") -> dict[str, Any]:
    """Read the simple attributes (texts, numbers, short arrays of them) of a node, the root by default.

    Raises
    ------
    MissingInputError
        If the file or the node is not there.
    CorruptedInputError
        If it is no HDF5 file.
    """
    with _open(path) as file:
        if node not in file:
            raise MissingInputError(f"{path}: {node} is not there")
        return _read_meta(file.get_node(node)._v_attrs)


def write_tables(
    path: Path,
    tables: Mapping[str, Table],
    tool: str,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
    base: Path | None = None,
    fresh: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write tables to an HDF5 file, completely or not at all.

    The file is copied, extended, and renamed: a reader sees the old file or the new one.

    Parameters
    ----------
    path : Path
        The file; if it exists, the tables are added to it.
    tables : mapping of str to Table
        Tables by their paths in the file. Units and descriptions of columns are written as attributes, times
        (:class:`astropy.time.Time`) as MJD (TAI), simple values of ``meta`` as attributes of the table.
    tool : str
        Command that makes them.
    provenance : mapping
        Provenance, written as JSON to the root attribute ``provenance_<tool>``; see
        :func:`cal_pipeline.core.records.record_product`.
    overwrite : bool
        Replace tables of these paths.
    base : Path, optional
        File to copy first instead of `path`.
    fresh : bool
        Begin with an empty file, even if `path` exists; then it needs `overwrite`.
    attributes : mapping, optional
        Further attributes of the root.

    Raises
    ------
    OutputExistsError
        If one of the tables exists, unless `overwrite`; with the exit status of storage.
    StorageError
        If the file cannot be written.
    MissingInputError, CorruptedInputError
        If the file to be copied is not there or no HDF5 file.
    """
    target = path.resolve()
    source = None if fresh else base or (target if target.exists() else None)
    if fresh and target.exists() and not overwrite:
        raise _existing(f"product {path} exists; give overwrite=True to replace it")
    if source is not None:
        refuse_existing_tables(source, tables, overwrite)
    with replace_file(target) as unfinished:
        if source is not None:
            shutil.copyfile(source, unfinished)
        with _open(unfinished, "a", str(path)) as file:
            for node, table in tables.items():
                _write_table(file, node, table)
            _write_provenance(file, tool, provenance)
            for name, value in (attributes or {}).items():
                file.root._v_attrs[name] = value
        if target.exists():
            shutil.copymode(target, unfinished)


def refuse_existing_tables(path: Path, nodes: Sequence[str] | Mapping[str, Any], overwrite: bool) -> None:
    """Refuse to write tables that exist.

    Parameters
    ----------
    path : Path
        HDF5 file.
    nodes : iterable of str
        Paths of tables in it.
    overwrite : bool
        Replace existing tables.

    Raises
    ------
    OutputExistsError
        If one of them exists, unless `overwrite`; with the exit status of storage.
    """
    with _open(path) as file:
        there = [node for node in nodes if node in file]
    if there and not overwrite:
        raise _existing(f"{path}: table {there[0]} exists; give overwrite=True to replace it")


def _existing(message: str) -> OutputExistsError:
    error = OutputExistsError(message)
    error.exit_status = StorageError.exit_status
    return error


@contextmanager
def _open(path: str | Path, mode: str = "r", name: str | None = None) -> Iterator[Any]:
    """Open a file with PyTables; its errors become those of this package."""
    tables = import_extra("tables")
    path, name = Path(path), name or str(path)
    if mode == "r" and not path.is_file():
        raise MissingInputError(f"{name} is {'a folder' if path.is_dir() else 'not there'}; expected an HDF5 file")
    if path.exists() and not _is_hdf5(path, name):
        raise CorruptedInputError(f"{name} is no HDF5 file")
    kind = CorruptedInputError if mode == "r" else StorageError
    with ExitStack() as stack, _graded(name, kind):
        stack.enter_context(_without_pickles())
        stack.enter_context(warnings.catch_warnings())
        # Names such as provenance_calibpipe-init-db are not those of Python variables, which is of no use here.
        warnings.simplefilter("ignore", tables.NaturalNameWarning)
        # Nodes that PyTables cannot read do no harm, unless they are asked for.
        warnings.filterwarnings("ignore", "problems loading leaf", UserWarning)
        yield stack.enter_context(tables.open_file(str(path), mode))


def _is_hdf5(path: Path, name: str) -> bool:
    tables = import_extra("tables")
    with open(path, "rb"):
        pass
    with _graded(name, CorruptedInputError):
        return bool(tables.is_hdf5_file(str(path)))


@contextmanager
def _graded(name: str, kind: type[CorruptedInputError] | type[StorageError]) -> Iterator[None]:
    tables = import_extra("tables")
    try:
        yield
    except tables.HDF5ExtError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        locked = any("unable to lock" in line for line in lines)
        reason = "it is open for writing elsewhere" if locked else lines[-1] if lines else "damaged"
        raise (StorageError if locked else kind)(f"HDF5 file {name}: {reason}") from error


@contextmanager
def _without_pickles() -> Iterator[None]:
    """Keep PyTables from running code: it unpickles attributes that look like a pickle."""
    attributeset = import_extra("tables.attributeset")

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("pickled attributes are not read")

    # PyTables gives the bytes of an attribute that it cannot unpickle.
    before, attributeset.pickle = attributeset.pickle, SimpleNamespace(loads=refuse, dumps=refuse)
    try:
        yield
    finally:
        attributeset.pickle = before


def _find_node(file: Any, path: str | Path, node: str, kinds: tuple[type, ...], noun: str) -> Any:
    if node not in file:
        raise MissingInputError(f"{path}: {noun} {node} is not there")
    found = file.get_node(node)
    if not isinstance(found, kinds):
        raise CorruptedInputError(f"{path}: {node} is of the kind {type(found).__name__.lower()}; expected {noun}")
    return found


def _read_meta(attributes: Any) -> dict[str, Any]:
    """Read attributes that are texts, numbers or short arrays of them."""
    read: dict[str, Any] = {}
    for name in attributes._v_attrnames:
        if not _OWN_ATTRIBUTE.search(name):
            value = attributes[name]
            if isinstance(value, str | int | float | np.bool_ | np.integer | np.floating | np.ndarray):
                read[name] = value.item() if isinstance(value, np.generic) else value
    return read


def _attribute(attributes: Any, index: int, name: str) -> str:
    full = f"CTAFIELD_{index}_{name}"
    if full not in attributes:
        return ""
    value = attributes[full]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _make_column(values: npt.NDArray[Any], index: int, attributes: Any, timed: bool, where: str) -> Column:
    if (transform := _attribute(attributes, index, "TRANSFORM")) == "fixed_point":
        # Taken as they stand, they would be off by the factor of their scale.
        raise CorruptedInputError(f"{where} has the transform {transform!r}; expected plain numbers")
    description = _attribute(attributes, index, "DESC") or None
    # Other columns may be named so too, such as time_shift [channel, pixel].
    if timed and (
        (values.ndim == 1 and values.dtype.kind == "f") or (values.shape[1:] == (2,) and values.dtype == "u4")
    ):
        scale = _attribute(attributes, index, "TIME_SCALE") or "tai"
        form = _attribute(attributes, index, "TIME_FORMAT")
        return Column(_read_scaled(values, scale, form, where), description=description)
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptedInputError(f"{where}: {error.object!r} is no UTF-8 text") from error
    return Column(values, unit=_attribute(attributes, index, "UNIT") or None, description=description)


def _read_scaled(values: npt.NDArray[Any], scale: str, form: str, where: str) -> npt.NDArray[np.float64]:
    """Read times of any scale and format that the attributes of a column name."""
    if values.ndim == 2 or (scale == "tai" and form in ("", "mjd")):
        return read_times(values, where)
    try:
        return np.asarray(Time(values, format=form or "mjd", scale=scale).tai.mjd, dtype=float)
    except ValueError as error:
        raise CorruptedInputError(f"{where}: times of format {form!r}, scale {scale!r}: {error}") from error


def _write_table(file: Any, node: str, table: Table) -> None:
    tables = import_extra("tables")
    group, _, name = node.rpartition("/")
    arrays = {column: _make_array(table[column]) for column in table.colnames}
    dtype = [(column, array.dtype, array.shape[1:]) for column, array in arrays.items()]
    values = np.zeros(len(table), dtype=dtype)
    for column, array in arrays.items():
        values[column] = array
    if node in file:
        file.remove_node(node, recursive=True)
    filters = tables.Filters(complevel=4, complib="zlib", shuffle=True)
    written = file.create_table(group or "/", name, obj=values, filters=filters, createparents=True)
    for index, column in enumerate(table.colnames):
        for key, text in _describe_column(table[column], column).items():
            written._v_attrs[f"CTAFIELD_{index}_{key}"] = text
    for key, value in table.meta.items():
        if isinstance(value, str | int | float):
            written._v_attrs[key] = value


def _make_array(column: Any) -> npt.NDArray[Any]:
    """Make the array of a column as it is stored: texts as UTF-8, times as MJD (TAI), missing floats as NaN."""
    if isinstance(column, Time):
        return np.asarray(column.tai.mjd, dtype=float)
    if isinstance(column, np.ma.MaskedArray):
        column = column.filled(np.nan) if column.dtype.kind == "f" else column
        if np.any(np.ma.getmaskarray(column)):
            raise TypeError(f"column {column.name} of type {column.dtype} has missing values, which HDF5 cannot hold")
    array = np.asarray(getattr(column, "value", column))
    if array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    if array.dtype.kind == "S" and not array.dtype.itemsize:
        array = array.astype("S1")
    return array


def _describe_column(column: Any, name: str) -> dict[str, str]:
    described = {"NAME": name}
    if column.info.description:
        described["DESC"] = str(column.info.description)
    if isinstance(column, Time):
        return described | {"TRANSFORM": "time", "TIME_SCALE": "tai", "TIME_FORMAT": "mjd"}
    if column.unit is not None and str(column.unit):
        described |= {"TRANSFORM": "quantity", "UNIT": column.unit.to_string("vounit")}
    elif column.dtype.kind in "US":
        described |= {"TRANSFORM": "string", "MAXLEN": str(max(_make_array(column).dtype.itemsize, 1))}
    return described


def _write_provenance(file: Any, tool: str, provenance: Mapping[str, Any]) -> None:
    """Write the provenance to attributes of the root; a long list of inputs to attributes of its own."""
    attributes, name, record = file.root._v_attrs, PROVENANCE + tool, dict(provenance)
    for old in [key for key in attributes._v_attrnamesuser if key == name or key.startswith(f"{name}_inputs_")]:
        del attributes[old]
    if len(json.dumps(record)) > _ATTRIBUTE_LIMIT:
        parts = list(_split(record.get("inputs", []), lambda part: len(json.dumps(part)) > _ATTRIBUTE_LIMIT))
        names = [f"{name}_inputs_{number}" for number in range(len(parts))]
        for key, part in zip(names, parts, strict=True):
            attributes[key] = json.dumps(part)
        record["inputs"] = {"attributes": names}
    attributes[name] = json.dumps(record)


def _split(values: list[Any], too_long: Callable[[list[Any]], bool]) -> Iterator[list[Any]]:
    """Split a list in halves until no part is too long."""
    if len(values) > 1 and too_long(values):
        half = len(values) // 2
        yield from _split(values[:half], too_long)
        yield from _split(values[half:], too_long)
    else:
        yield values
