"""Columns of binary tables, read without the column of the counts."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.columns import Column, code_texts
from cal_pipeline.heterodyne.ingest.headers import HeaderUnit
from cal_pipeline.heterodyne.ingest.rows import Integers

_SLAB = 2**24
"""Bytes of a compressed table that are decompressed at a time."""

_MOST_ROWS = 2**31
"""Number of rows that no compressed table has."""

_MOST_FIELDS = 999
"""Largest number of columns of a table in FITS."""

_FORM = re.compile(r"(\d{0,18})([LXBIJKAEDCMPQ])")


_MAPPED_BYTES = 16 << 20
"""Part of a table that is mapped to memory at a time [bytes]."""


@dataclass(frozen=True)
class TableField:
    """Column of a binary table.

    Parameters
    ----------
    index : int
        Number of the column, from 0.
    name : str
        Its name.
    kind : str
        Letter of its format (``TFORM``).
    stored : numpy.dtype
        Type of its bytes in a row.
    offset : int
        Place in a row [bytes].
    null : int or None
        Integer that means nothing (``TNULL``).
    scale, zero : float
        Factor and offset of stored numbers (``TSCAL``, ``TZERO``).
    """

    index: int
    name: str
    kind: str
    stored: np.dtype[Any]
    offset: int
    null: int | None = None
    scale: float = 1.0
    zero: float = 0.0

    @property
    def is_heap(self) -> bool:
        """Tell whether rows hold the length and place of an array in the heap."""
        return self.kind in "PQ"

    @property
    def axes(self) -> tuple[int, ...]:
        """Shape of the value of a row; empty for one number or text."""
        shape = self.stored.shape
        return () if prod(shape) == 1 and not self.is_heap else shape


class TableLayout:
    """Columns of a binary table, as its header says.

    Parameters
    ----------
    unit : HeaderUnit
        The header.

    Raises
    ------
    ValueError
        If the header does not describe a table.
    """

    def __init__(self, unit: HeaderUnit) -> None:
        self.unit = unit
        self.fields = _read_fields(unit)
        self._by_name = {item.name.upper(): item for item in reversed(self.fields)}

    def find(self, name: str) -> TableField | None:
        """Find a column by its name, in any case of letters."""
        return self._by_name.get(name.upper())

    def count_rows(self) -> int:
        """Count the rows that are whole in the file, or that there should be in one that is compressed."""
        width, number = self.unit.whole("NAXIS1"), self.unit.whole("NAXIS2")
        if not width:
            return 0
        if self.unit.file_bytes is None:
            return min(number, _MOST_ROWS)
        return max(min(number, (self.unit.file_bytes - self.unit.data_start) // width), 0)

    def read(self, path: str, fields: Sequence[TableField]) -> dict[int, NDArray[Any]]:
        """Read some columns as stored.

        Parameters
        ----------
        path : str
            The file.
        fields : sequence of TableField
            Columns.

        Returns
        -------
        dict of int to ndarray
            Rows by the number of the column; fewer where the file is truncated.

        Raises
        ------
        OSError, EOFError
            If the file cannot be read.
        """
        width = self.unit.whole("NAXIS1")
        dtype = np.dtype(
            {
                "names": [str(item.index) for item in fields],
                "formats": [item.stored for item in fields],
                "offsets": [item.offset for item in fields],
                "itemsize": width,
            }
        )
        number = self.count_rows()
        if not fields:
            return {}
        if self.unit.file_bytes is None:
            return self._decompress(path, fields, dtype, number)
        if not number:
            return {item.index: np.empty((0, *item.stored.shape), item.stored.base) for item in fields}
        found = {item.index: np.empty((number, *item.stored.shape), item.stored.base) for item in fields}
        step = max(_MAPPED_BYTES // width, 1)
        for first in range(0, number, step):
            # Pages stay in memory as long as they are mapped, those of the counts between the columns too.
            there = (min(step, number - first),)
            rows = np.memmap(path, dtype, "r", self.unit.data_start + first * width, there)
            for item in fields:
                found[item.index][first : first + there[0]] = rows[str(item.index)]
        return found

    def _decompress(
        self, path: str, fields: Sequence[TableField], dtype: np.dtype[Any], number: int
    ) -> dict[int, NDArray[Any]]:
        """Read some columns of a compressed file, some megabytes at a time."""
        parts: dict[int, list[NDArray[Any]]] = {
            item.index: [np.empty((0, *item.stored.shape), item.stored.base)] for item in fields
        }
        step = max(_SLAB // dtype.itemsize, 1)
        with gzip.open(path) as file:
            file.seek(self.unit.data_start)
            for first in range(0, number, step):
                # A header may say more rows than there are.
                content = file.read(min(step, number - first) * dtype.itemsize)
                rows = np.frombuffer(content, dtype, len(content) // dtype.itemsize)
                if not len(rows):
                    break
                for item in fields:
                    parts[item.index].append(np.array(rows[str(item.index)]))
        return {index: np.concatenate(found) for index, found in parts.items()}


def _read_fields(unit: HeaderUnit) -> tuple[TableField, ...]:
    # astropy would take ten milliseconds a table, and warns and fails in many ways where a header is damaged.
    number = unit.get("TFIELDS")
    if not isinstance(number, int) or not 0 <= number <= _MOST_FIELDS:
        raise ValueError(f"TFIELDS is {number!r}, expected a whole number from 0 to {_MOST_FIELDS}")
    forms = [_read_form(unit, index + 1) for index in range(number)]
    widths = [_find_width(kind, repeat) for repeat, kind in forms]
    if sum(widths) != unit.whole("NAXIS1"):
        raise ValueError(f"rows have {unit.whole('NAXIS1')} bytes (NAXIS1), expected {sum(widths)} as TFORMn say")
    fields, offset = [], 0
    for index, ((repeat, kind), width) in enumerate(zip(forms, widths, strict=True)):
        if width:
            place, stored = index + 1, _find_type(kind, repeat)
            null = unit.get(f"TNULL{place}")
            fields.append(
                TableField(
                    index,
                    str(unit.get(f"TTYPE{place}") or ""),
                    kind,
                    stored,
                    offset,
                    null if isinstance(null, int) else None,
                    _read_number(unit, f"TSCAL{place}", 1.0),
                    _read_number(unit, f"TZERO{place}", 0.0),
                )
            )
        offset += width
    return tuple(fields)


def _read_form(unit: HeaderUnit, place: int) -> tuple[int, str]:
    form = unit.get(f"TFORM{place}")
    found = _FORM.match(form) if isinstance(form, str) else None
    if not found:
        raise ValueError(f"TFORM{place} is {form!r}, expected a format such as '1D'")
    return int(found[1] or 1), found[2]


def _read_number(unit: HeaderUnit, keyword: str, default: float) -> float:
    value = unit.get(keyword)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{keyword} is {value!r}, expected a number")
    return float(value)


_WIDTHS = {"L": 1, "A": 1, "B": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_TYPES = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}


def _find_width(kind: str, repeat: int) -> int:
    """Find the number of bytes of a column in a row."""
    return -(-repeat // 8) if kind == "X" else repeat * _WIDTHS[kind]


def _find_type(kind: str, repeat: int) -> np.dtype[Any]:
    """Find the type of the bytes of a column in a row."""
    if kind == "A":
        return np.dtype(f"S{repeat}")
    if kind in "PQ":
        return np.dtype((">i4" if kind == "P" else ">i8", (2 * repeat,)))
    if kind == "X":
        return np.dtype(("u1", (-(-repeat // 8),)))
    base = "S1" if kind == "L" else _TYPES[kind]
    return np.dtype(base) if repeat == 1 else np.dtype((base, (repeat,)))


def read_field(item: TableField, raw: NDArray[Any]) -> Column:
    """Make the values of a column of what is stored.

    Parameters
    ----------
    item : TableField
        The column, of one text or number a row.
    raw : ndarray, shape (N,)
        Rows as stored.

    Returns
    -------
    Column

    Raises
    ------
    ValueError
        If its rows hold several numbers, or no numbers.
    """
    if item.axes or item.kind in "CMXPQ":
        raise ValueError(
            f"column {item.name!r} has format {item.kind!r} and shape {item.axes}, expected one value a row"
        )
    if item.kind in "AL":
        codes, texts = code_texts(np.ascontiguousarray(raw))
        return Column(np.full(len(raw), math.nan), codes, texts)
    numbers = raw.reshape(len(raw)).astype(np.float64)
    if item.null is not None:
        numbers[raw.reshape(len(raw)) == item.null] = math.nan
    if item.scale != 1.0 or item.zero != 0.0:
        numbers = numbers * item.scale + item.zero
    return Column(numbers, np.full(len(raw), -1, np.int64))


def count_channels(item: TableField, raw: NDArray[Any] | None) -> int | Integers:
    """Count the channels of the counts of a row, or of each row for counts in the heap."""
    if item.is_heap and raw is not None:
        return raw[:, 0].astype(np.int64)
    return prod(item.stored.shape)


def check_axes(item: TableField, text: str) -> str:
    """Describe the fault of counts with several axes; empty where there is one.

    Parameters
    ----------
    item : TableField
        Column of the counts.
    text : str
        Its ``TDIM``, such as ``"(1024,1,1,1)"``; may be empty.

    Returns
    -------
    str
    """
    axes = [int(length) for length in re.findall(r"\d+", text)]
    if sum(length != 1 for length in axes) > 1:
        return f"column {item.name!r} has axes {tuple(axes)} (TDIM{item.index + 1}), expected one of channels"
    if item.kind not in "BIJKEDPQ":
        return f"column {item.name!r} has format {item.kind!r}, expected numbers"
    return ""
