"""Values of a key in all rows: numbers and texts side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.rows import Floats, Integers, Texts

Mask = NDArray[np.bool_]

_EXACT = 2.0**53


@dataclass(frozen=True, eq=False)
class Column:
    """Values of a key in N rows, each of which is a number, a text, or not there.

    Parameters
    ----------
    numbers : ndarray, shape (N,)
        Numbers; NaN for a text and where there is nothing.
    codes : ndarray of int, shape (N,)
        Index into `texts`; -1 for a number and where there is nothing.
    texts : tuple of str
        Distinct texts, none of them empty.

    Examples
    --------
    >>> column = make_column([1, " M82 ", "", 2.5, True])
    >>> column.as_texts().tolist()
    ['1', 'M82', '', '2.5', 'T']
    """

    numbers: Floats
    codes: Integers
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def there(self) -> Mask:
        """Rows that have a value, shape (N,)."""
        return (self.codes >= 0) | ~np.isnan(self.numbers)

    @cached_property
    def labels(self) -> tuple[Integers, tuple[str, ...]]:
        """Distinct values as texts, and their index in each row; -1 where there is none."""
        numeric = np.flatnonzero(~np.isnan(self.numbers))
        if not numeric.size:
            return self.codes, self.texts
        distinct, places = np.unique(self.numbers[numeric], return_inverse=True)
        codes = self.codes.copy()
        codes[numeric] = len(self.texts) + places
        return codes, (*self.texts, *map(format_number, distinct.tolist()))

    def take(self, rows: Integers) -> Column:
        """Return the values of some rows."""
        return Column(self.numbers[rows], self.codes[rows], self.texts)

    def drop(self, rows: Mask) -> Column:
        """Return the values without those of some rows, shape (N,)."""
        if not rows.any():
            return self
        return Column(np.where(rows, np.nan, self.numbers), np.where(rows, -1, self.codes), self.texts)

    def fill(self, other: Column) -> Column:
        """Return the values with those of another column where there is nothing."""
        empty = ~self.there
        texts = tuple(dict.fromkeys(self.texts + other.texts))
        places = np.array([*map(texts.index, other.texts), -1], np.int64)
        codes = np.where(empty, places[other.codes], self.codes)
        return Column(np.where(empty, other.numbers, self.numbers), codes, texts)

    def map_texts(self, read: Callable[[Sequence[str]], Floats]) -> Floats:
        """Return the numbers, and for texts the numbers that a function makes of them; shape (N,)."""
        if not self.texts:
            return self.numbers
        known = np.append(read(self.texts), math.nan)
        return np.where(self.codes >= 0, known[self.codes], self.numbers)

    def as_numbers(self) -> Floats:
        """Return the numbers, and texts that are numbers; NaN for others, shape (N,)."""
        return self.map_texts(parse_numbers)

    def as_texts(self) -> Texts:
        """Return the values as texts, empty where there is none; shape (N,)."""
        codes, labels = self.labels
        return np.array([*labels, ""], dtype=object)[codes]

    def label(self, row: int) -> str:
        """Return the value of a row as text for a message."""
        codes, labels = self.labels
        code = int(codes[row])
        if code < 0:
            return ""
        return repr(labels[code]) if self.codes[row] >= 0 else labels[code]


def format_number(number: float) -> str:
    """Write a number without a decimal point where it is whole.

    Examples
    --------
    >>> format_number(131.0), format_number(2.5)
    ('131', '2.5')
    """
    return str(int(number)) if number.is_integer() and abs(number) < _EXACT else repr(number)


def parse_numbers(texts: Sequence[str]) -> Floats:
    """Read numbers from texts; NaN for other texts.

    Examples
    --------
    >>> parse_numbers(["07", "M82"]).tolist()
    [7.0, nan]
    """
    return np.array([_parse_number(text) for text in texts], np.float64)


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def make_column(values: Sequence[object]) -> Column:
    """Make a column of single values.

    Parameters
    ----------
    values : sequence of length N
        Numbers, texts, truth values (``"T"`` and ``"F"``), or None.

    Returns
    -------
    Column
    """
    numbers = np.full(len(values), np.nan)
    codes = np.full(len(values), -1, np.int64)
    known: dict[str, int] = {}
    for row, value in enumerate(values):
        if isinstance(value, bool):
            value = "T" if value else "F"
        if isinstance(value, str):
            text = value.strip()
            codes[row] = known.setdefault(text, len(known)) if text else -1
        elif value is not None:
            numbers[row] = value
    return Column(numbers, codes, tuple(known))


def empty_column(length: int) -> Column:
    """Make a column without any value."""
    return Column(np.full(length, np.nan), np.full(length, -1, np.int64))


def code_texts(raw: NDArray[np.bytes_]) -> tuple[Integers, tuple[str, ...]]:
    """Find the distinct texts of rows.

    Parameters
    ----------
    raw : ndarray of bytes, shape (N,)
        Texts as stored, padded with blanks or zeros.

    Returns
    -------
    codes : ndarray of int, shape (N,)
        Index into the texts; -1 for one that is empty.
    texts : tuple of str
        Distinct texts, stripped.

    Examples
    --------
    >>> codes, texts = code_texts(np.array([b"ON  ", b"", b"OFF ", b"ON"]))
    >>> codes.tolist(), texts
    ([1, -1, 0, 1], ('OFF', 'ON'))
    """
    if not len(raw):
        return np.empty(0, np.int64), ()
    # Rows often repeat the text of the row before: sorting the first of each run is enough.
    heads = np.flatnonzero(np.append(True, raw[1:] != raw[:-1]))
    distinct, places = np.unique(raw[heads], return_inverse=True)
    texts = [text.decode("latin-1").replace("\0", " ").strip() for text in distinct.tolist()]
    kept = tuple(dict.fromkeys(text for text in texts if text))
    index = {text: code for code, text in enumerate(kept)}
    codes = np.array([index.get(text, -1) for text in texts], np.int64)[places]
    return np.repeat(codes, np.diff(np.append(heads, len(raw)))), kept


def join_columns(parts: Sequence[Column]) -> Column:
    """Join the rows of columns one after the other."""
    if len(parts) == 1:
        return parts[0]
    known: dict[str, int] = {}
    codes = []
    for part in parts:
        places = np.array([*(known.setdefault(text, len(known)) for text in part.texts), -1], np.int64)
        codes.append(places[part.codes])
    numbers = np.concatenate([part.numbers for part in parts]) if parts else np.empty(0)
    return Column(numbers, np.concatenate(codes) if codes else np.empty(0, np.int64), tuple(known))


def match_column(column: Column, wanted: Sequence[str | float]) -> Mask:
    """Find the rows whose value is one of those wanted.

    Parameters
    ----------
    column : Column
        Values of N rows.
    wanted : sequence of str or float
        Numbers, or patterns in which ``*`` stands for any text, ``?`` for any character and ``[…]`` for any of
        those in it.

    Returns
    -------
    ndarray of bool, shape (N,)
        False where there is no value.

    Examples
    --------
    >>> match_column(make_column(["Nod:NONE", "Track", None, 2]), ["Nod*", 2.0]).tolist()
    [True, False, False, True]
    """
    codes, labels = column.labels
    patterns = [item for item in wanted if isinstance(item, str)]
    numbers = [item for item in wanted if not isinstance(item, str)]
    fits = [any(fnmatchcase(label, pattern) for pattern in patterns) for label in labels]
    found: Mask = np.array([*fits, False], np.bool_)[codes]
    return found | is_one_of(column.as_numbers(), numbers) if numbers else found


def is_one_of(numbers: Floats, wanted: Sequence[float]) -> Mask:
    """Find numbers that are one of those wanted, also as rounded to 32 bits; shape (N,).

    Examples
    --------
    >>> is_one_of(np.array([99.9, float(np.float32(99.9)), 1.0]), [99.9]).tolist()
    [True, True, False]
    """
    # A column of 32 bits holds 99.9 as 99.9000015.
    with np.errstate(over="ignore"):
        rounded = np.array(wanted, np.float32).astype(np.float64)
    return np.isin(numbers, [*wanted, *rounded])


def combine_columns(columns: Sequence[Column], length: int) -> tuple[Integers, Integers]:
    """Number the distinct combinations of the values of several columns.

    Parameters
    ----------
    columns : sequence of Column
        Columns of N rows each.
    length : int
        N.

    Returns
    -------
    combination : ndarray of int, shape (N,)
        Number of the combination in each row.
    first : ndarray of int
        First row of each combination.
    """
    combination, first = np.zeros(length, np.int64), np.zeros(min(length, 1), np.int64)
    for column in columns:
        codes, labels = column.labels
        merged = combination * (len(labels) + 1) + codes + 1
        _, first, combination = np.unique(merged, return_index=True, return_inverse=True)
    return combination, first
