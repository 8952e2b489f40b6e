"""Keys of the rows of FITS files: columns of tables, and keywords of headers where there is no such column."""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cal_pipeline.core.text import format_count, list_few, make_printable
from cal_pipeline.heterodyne.ingest.columns import Column, code_texts
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.fits_tables import (
    TableField,
    TableLayout,
    check_axes,
    count_channels,
    read_field,
)
from cal_pipeline.heterodyne.ingest.headers import HeaderUnit, Word, read_headers
from cal_pipeline.heterodyne.ingest.rows import Integers

_FEW = 9
"""Number of axes from which on a message does not list them."""


@dataclass(frozen=True)
class Request:
    """Rows and keys that are wanted of a file.

    Parameters
    ----------
    reader : {"table", "image"}
        Kind of the HDUs.
    hdu : str or int
        Name of the HDUs, or number of the one.
    data : str
        Column of the counts; empty for images.
    keys : tuple of str
        Keys, but those of the name of the file.
    file_name : re.Pattern or None
        Regular expression with named groups on the name of the file.
    """

    reader: str
    hdu: str | int
    data: str
    keys: tuple[str, ...]
    file_name: re.Pattern[str] | None = None

    @property
    def groups(self) -> Mapping[str, int]:
        """Named groups of the regular expression."""
        return self.file_name.groupindex if self.file_name else {}

    def means(self, key: str, column: str) -> bool:
        """Tell whether a key means a column, whose name may have other capitals unless it is a named group."""
        return key == column or key not in self.groups


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows of an HDU.

    Parameters
    ----------
    hdu : int
        Index of the HDU.
    rows : int
        Number of rows.
    n_dumps, n_channels : int or ndarray, shape (N,)
        Shape of the counts of a row.
    words : mapping of str to str, float, int or bool
        Values by key that are the same in all rows.
    columns : mapping of str to Column
        Values by key that have a column.
    fault : str
        Reason why its counts cannot be used; empty without one.
    lost : str
        Message about rows of which no key can be read; empty without any.
    """

    hdu: int
    rows: int
    n_dumps: int | Integers
    n_channels: int | Integers
    words: Mapping[str, Word]
    columns: Mapping[str, Column] = field(default_factory=dict)
    fault: str = ""
    lost: str = ""


def read_segments(path: str, request: Request) -> list[Segment]:
    """Read the keys of all rows of a file, but not their counts.

    Parameters
    ----------
    path : str
        FITS file.
    request : Request
        Rows and keys that are wanted.

    Returns
    -------
    list of Segment
        One for each HDU. A file that is not as asked for gives one row with a fault and the keys that
        could be read.
    """
    named = match_file_name(path, request.file_name)
    if not _is_unicode(path):
        fault = f"{make_printable(path)}: the name is no UTF-8, expected a name that can be recorded"
        return [_make_faulty(fault, 0, None, None, named, request)]
    primary: HeaderUnit | None = None
    segments: list[Segment] = []
    names: list[str] = []
    try:
        for unit in read_headers(path):
            primary = primary or unit
            names.append(unit.name)
            if unit.index == request.hdu or (unit.name and unit.name.upper() == str(request.hdu).upper()):
                segments.append(_read_unit(path, unit, primary, named, request))
            if unit.index == request.hdu:
                break
    except FitsFileError as error:
        return [*segments, _make_faulty(str(error), len(names), None, primary, named, request)]
    if not segments:
        return [
            _make_faulty(
                f"{make_printable(path)}: {_describe_lack(request.hdu, names)}", 0, None, primary, named, request
            )
        ]
    return segments


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def match_file_name(path: str, pattern: re.Pattern[str] | None) -> dict[str, str]:
    r"""Return the named groups of a pattern in the name of a file; empty if it does not match.

    Examples
    --------
    >>> match_file_name("/data/131_PX07.fits", re.compile(r"(?P<scan>\d+)_PX(?P<pixel>\d+)"))
    {'scan': '131', 'pixel': '07'}
    """
    found = pattern.match(Path(path).name) if pattern else None
    return {name: text for name, text in found.groupdict().items() if text is not None} if found else {}


def _describe_lack(hdu: str | int, names: Sequence[str]) -> str:
    listed = list_few([f"{index} {name!r}" if name and index else str(index) for index, name in enumerate(names)])
    near = difflib.get_close_matches(str(hdu), [name for name in names if name], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no HDU {hdu!r}, found HDU {listed}{hint}"


def _read_unit(path: str, unit: HeaderUnit, primary: HeaderUnit, named: Mapping[str, str], request: Request) -> Segment:
    if unit.fault:
        return _make_faulty(
            f"{make_printable(path)}: HDU {unit.index}: {unit.fault}", unit.index, unit, primary, named, request
        )
    kind = str(unit.get("XTENSION") or "IMAGE").strip()
    if request.reader == "image":
        return _read_image(path, unit, kind, _read_words(request, unit, primary, named))
    if kind != "BINTABLE":
        fault = f"{make_printable(path)}: HDU {unit.index} is of type {kind!r}, expected 'BINTABLE'"
        return _make_faulty(fault, unit.index, unit, primary, named, request)
    return _read_table(path, unit, primary, named, request)


def _read_words(
    request: Request, unit: HeaderUnit | None, primary: HeaderUnit | None, named: Mapping[str, str]
) -> dict[str, Word]:
    words: dict[str, Word] = {}
    headers = [header for header in (unit, primary if primary is not unit else None) if header is not None]
    for key in request.keys:
        value: Word | None = named.get(key)
        for header in headers:
            # A group such as "scan" of a name that does not match is not the keyword SCAN.
            if value is None and (key.isupper() or key not in request.groups):
                value = header.get(key)
        if value is not None:
            words[key] = value
    return words


def _make_faulty(
    fault: str,
    hdu: int,
    unit: HeaderUnit | None,
    primary: HeaderUnit | None,
    named: Mapping[str, str],
    request: Request,
) -> Segment:
    return Segment(hdu, 1, 0, 0, _read_words(request, unit, primary, named), fault=fault)


def _read_image(path: str, unit: HeaderUnit, kind: str, words: Mapping[str, Word]) -> Segment:
    compressed = kind == "BINTABLE" and unit.get("ZIMAGE") is True
    axis = "ZNAXIS" if compressed else "NAXIS"
    lengths = [unit.whole(f"{axis}{index + 1}") for index in range(unit.whole(axis))]
    place = f"{make_printable(path)}: HDU {unit.index}"
    if (kind != "IMAGE" and not compressed) or not lengths or 0 in lengths or any(n != 1 for n in lengths[2:]):
        axes = f"axes {lengths}" if len(lengths) < _FEW else f"{len(lengths)} axes"
        fault = f"{place} is {kind} of {axes}, expected an image of [channels] or [channels, dumps]"
        return Segment(unit.index, 1, 0, 0, words, fault=fault)
    fault = _describe_truncation(place, unit)
    return Segment(unit.index, 1, lengths[1] if len(lengths) > 1 else 1, lengths[0], words, fault=fault)


def _describe_truncation(place: str, unit: HeaderUnit) -> str:
    if not unit.lacks:
        return ""
    found = max(unit.data_bytes - unit.lacks, 0)
    return f"{place} is truncated: found {found} bytes of data, expected {unit.data_bytes}"


def _read_table(
    path: str, unit: HeaderUnit, primary: HeaderUnit, named: Mapping[str, str], request: Request
) -> Segment:
    place = f"{make_printable(path)}: HDU {unit.index}" + (f" ({make_printable(unit.name)})" if unit.name else "")
    try:
        layout = TableLayout(unit)
        wanted = {key: item for key in request.keys if (item := layout.find(key)) and request.means(key, item.name)}
        data = layout.find(request.data)
        dims = layout.find(f"TDIM{data.index + 1}") if data else None
        heap = data if data and data.is_heap else None
        asked = {item.index: item for item in (*wanted.values(), dims, heap) if item is not None}
        raw = layout.read(path, list(asked.values()))
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        return _make_faulty(f"{place} cannot be read: {error}", unit.index, unit, primary, named, request)
    rows = len(next(iter(raw.values()))) if raw else layout.count_rows()
    columns, faults = _read_columns(wanted, raw)
    channels: int | Integers = 0
    if data is None:
        faults.append(_describe_missing_data(request.data, layout))
    else:
        channels = count_channels(data, raw.get(data.index))
        faults += [check_axes(data, text) for text in _list_dims(unit, data, dims, raw)]
    expected = unit.whole("NAXIS2")
    if unit.file_bytes is None and rows < expected:
        faults.append(f"truncated: found {rows} rows, expected {expected}")
    faults = [_describe_truncation(place, unit), *(f"{place}: {fault}" for fault in faults if fault)]
    fault = "; ".join(filter(None, faults))
    if fault and not rows:
        return _make_faulty(fault, unit.index, unit, primary, named, request)
    words = {key: word for key, word in _read_words(request, unit, primary, named).items() if key not in columns}
    lost = f"{place} is truncated: {format_count(expected - rows, 'row')} of unknown scans cannot be read"
    return Segment(unit.index, rows, 1, channels, words, columns, fault, lost if rows < expected else "")


def _read_columns(
    wanted: Mapping[str, TableField], raw: Mapping[int, NDArray[Any]]
) -> tuple[dict[str, Column], list[str]]:
    columns, faults = {}, []
    for key, item in wanted.items():
        try:
            columns[key] = read_field(item, raw[item.index])
        except ValueError as error:
            faults.append(str(error))
    return columns, faults


def _describe_missing_data(data: str, layout: TableLayout) -> str:
    near = difflib.get_close_matches(data, [item.name for item in layout.fields], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no column {data!r} with the counts{hint}"


def _list_dims(
    unit: HeaderUnit, data: TableField, dims: TableField | None, raw: Mapping[int, NDArray[Any]]
) -> tuple[str, ...]:
    """List the distinct axes that keyword or column say for the counts of a row."""
    if dims is None:
        return (str(unit.get(f"TDIM{data.index + 1}") or ""),)
    return code_texts(raw[dims.index])[1] or ("",)
