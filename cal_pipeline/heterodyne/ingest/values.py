"""Values of fields of L0 from the keys of rows: every form that a profile may give one in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cal_pipeline.heterodyne.ingest.columns import (
    Column,
    Mask,
    empty_column,
    is_one_of,
    make_column,
    parse_numbers,
)
from cal_pipeline.heterodyne.ingest.dates import parse_dates
from cal_pipeline.heterodyne.ingest.rows import Floats
from cal_pipeline.heterodyne.ingest.units import IDENTITY, Conversion

_NAN = ("nan", "+nan", "-nan")


class KeySource(Protocol):
    """Rows whose keys are asked for."""

    missing: tuple[float, ...]
    mean_frequency: Floats | None

    def __len__(self) -> int: ...

    def column(self, key: str) -> Column:
        """Return the values of a key in all rows."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers of N rows, with their change from dump to dump where they have one.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Numbers (of the first dump); NaN where not there.
    ramps : ndarray, shape (N,), or None
        Change from dump to dump; NaN in rows without one. None: no row has one.
    """

    values: Floats
    ramps: Floats | None = None


class Value(Protocol):
    """Value of a field."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that it is made of."""

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the numbers of all rows."""

    def find_column(self, rows: KeySource) -> Column:
        """Return numbers or texts of all rows."""

    def find_texts(self, rows: KeySource) -> Mask:
        """Find the rows in which a text is in the place of a number."""


@dataclass(frozen=True)
class KeyValue:
    """Value of a key, converted.

    Parameters
    ----------
    key : str
        The key.
    conversion : Conversion
        Conversion to the unit of L0.
    plus : float
        Number that is added, in the unit of L0.
    minus : str
        Key whose number is subtracted; empty for none.
    missing : tuple of float or str
        Recorded values that mean that there is none.
    range : tuple of float, or None
        Lowest and highest number, in the unit of L0.
    is_time : bool
        Whether texts are dates.
    """

    key: str
    conversion: Conversion = IDENTITY
    plus: float = 0.0
    minus: str = ""
    missing: tuple[float | str, ...] = ()
    range: tuple[float, float] | None = None
    is_time: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Its key, and the one that is subtracted."""
        return (self.key, self.minus) if self.minus else (self.key,)

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the converted numbers."""
        column = self._recorded(rows)
        numbers = self.conversion.apply(column.numbers if self.is_time else column.as_numbers())
        if self.is_time:
            numbers = np.where(column.codes >= 0, column.map_texts(parse_dates), numbers)
        if self.plus:
            numbers = numbers + self.plus
        if self.minus:
            numbers = numbers - drop_missing(rows.column(self.minus), rows.missing).as_numbers()
        if self.range:
            low, high = self.range
            numbers = np.where((numbers >= low) & (numbers <= high), numbers, math.nan)
        return Numbers(np.where(np.isfinite(numbers), numbers, math.nan))

    def find_column(self, rows: KeySource) -> Column:
        """Return what is recorded, or the converted numbers."""
        if self.conversion.is_identity and not (self.plus or self.minus or self.range):
            return self._recorded(rows)
        return column_of(self.find_numbers(rows).values)

    def find_texts(self, rows: KeySource) -> Mask:
        """Find the rows whose key, or the one that is subtracted, is a text but no number."""
        found = _is_text(self._recorded(rows), parse_dates if self.is_time else parse_numbers)
        return found | _is_text(rows.column(self.minus), parse_numbers) if self.minus else found

    def _recorded(self, rows: KeySource) -> Column:
        return drop_missing(rows.column(self.key), (*rows.missing, *self.missing))


@dataclass(frozen=True)
class Constant:
    """Constant.

    Parameters
    ----------
    value : float or str
        Number or text.
    is_time : bool
        Whether a text is a date.
    """

    value: float | str
    is_time: bool = False
    keys: tuple[str, ...] = ()

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the number, once for each row."""
        number = self.value
        if isinstance(number, str):
            number = float((parse_dates if self.is_time else parse_numbers)((number,))[0])
        return Numbers(np.full(len(rows), number, np.float64))

    def find_column(self, rows: KeySource) -> Column:
        """Return the constant, once for each row."""
        return make_column([self.value]).take(np.zeros(len(rows), np.int64))

    def find_texts(self, rows: KeySource) -> Mask:
        """Find no row."""
        return np.zeros(len(rows), np.bool_)


@dataclass(frozen=True)
class Sum:
    """Sum of values; not there where one of them is not.

    Parameters
    ----------
    parts : tuple of Value
        The values.
    """

    parts: tuple[Value, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all parts."""
        return _join_keys(self.parts)

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the sums."""
        found = [part.find_numbers(rows) for part in self.parts]
        values = found[0].values
        for part in found[1:]:
            values = values + part.values
        return Numbers(values, _add_ramps([part.ramps for part in found if part.ramps is not None]))

    def find_column(self, rows: KeySource) -> Column:
        """Return the sums."""
        return column_of(self.find_numbers(rows).values)

    def find_texts(self, rows: KeySource) -> Mask:
        """Find the rows one of whose parts is a text."""
        return _any_text(self.parts, rows)


@dataclass(frozen=True)
class Ramp:
    """Value that grows from dump to dump; not there where one of both is not.

    Parameters
    ----------
    base : Value
        Value at the first dump.
    ramp : Value
        Change from one dump to the next.
    """

    base: Value
    ramp: Value

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of both."""
        return _join_keys((self.base, self.ramp))

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the values at the first dump and their changes."""
        base, ramp = self.base.find_numbers(rows), self.ramp.find_numbers(rows).values
        both = np.isfinite(base.values) & np.isfinite(ramp)
        ramps = ramp if base.ramps is None else ramp + np.nan_to_num(base.ramps)
        return Numbers(np.where(both, base.values, math.nan), np.where(both, ramps, math.nan))

    def find_column(self, rows: KeySource) -> Column:
        """Return the values at the first dump."""
        return column_of(self.find_numbers(rows).values)

    def find_texts(self, rows: KeySource) -> Mask:
        """Find the rows whose base or ramp is a text."""
        return _any_text((self.base, self.ramp), rows)


@dataclass(frozen=True)
class LinearInFrequency:
    """Value T0 + slope·(nu - nu0) at the mean sky frequency nu of the channels of a row.

    Parameters
    ----------
    intercept : float
        T0, in the unit of L0.
    slope : float
        Change per GHz.
    origin : float
        nu0 [Hz].
    """

    intercept: float
    slope: float
    origin: float
    keys: tuple[str, ...] = ()

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the values."""
        assert rows.mean_frequency is not None
        return Numbers(self.intercept + self.slope * ((rows.mean_frequency - self.origin) / 1e9))

    def find_column(self, rows: KeySource) -> Column:
        """Return the values."""
        return column_of(self.find_numbers(rows).values)

    def find_texts(self, rows: KeySource) -> Mask:
        """Find no row."""
        return np.zeros(len(rows), np.bool_)


@dataclass(frozen=True)
class Translation:
    """Value by the text of a key; not there for other texts.

    Parameters
    ----------
    key : str
        The key.
    table : mapping of str to float or str
        Values by text.
    is_time : bool
        Whether texts are dates.
    """

    key: str
    table: Mapping[str, float | str]
    is_time: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The key."""
        return (self.key,)

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the numbers."""
        column = self.find_column(rows)
        return Numbers(column.map_texts(parse_dates) if self.is_time else column.as_numbers())

    def find_column(self, rows: KeySource) -> Column:
        """Return the translations."""
        codes, labels = drop_missing(rows.column(self.key), rows.missing).labels
        # An index of -1, where there is nothing, meets the None at the end.
        return make_column([*(self.table.get(label) for label in labels), None]).take(codes)

    def find_texts(self, rows: KeySource) -> Mask:
        """Find no row: other texts have no translation."""
        return np.zeros(len(rows), np.bool_)


@dataclass(frozen=True)
class FirstOf:
    """First value that is there.

    Parameters
    ----------
    choices : tuple of Value
        The values.
    """

    choices: tuple[Value, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all choices."""
        return _join_keys(self.choices)

    def find_numbers(self, rows: KeySource) -> Numbers:
        """Return the first numbers that are there."""
        values, ramps = np.full(len(rows), math.nan), np.full(len(rows), math.nan)
        for choice in self.choices:
            found = choice.find_numbers(rows)
            taken = np.isnan(values) & ~np.isnan(found.values)
            values = np.where(taken, found.values, values)
            if found.ramps is not None:
                ramps = np.where(taken, found.ramps, ramps)
        return Numbers(values, None if np.isnan(ramps).all() else ramps)

    def find_column(self, rows: KeySource) -> Column:
        """Return the first values that are there."""
        column = empty_column(len(rows))
        for choice in self.choices:
            column = column.fill(choice.find_column(rows))
        return column

    def find_texts(self, rows: KeySource) -> Mask:
        """Find the rows one of whose choices is a text."""
        return _any_text(self.choices, rows)


def _is_text(column: Column, parse: Callable[[Sequence[str]], Floats]) -> Mask:
    """Find rows with a text that cannot be read as a number; NaN in letters can."""
    wrong = np.isnan(parse(column.texts)) & ~np.isin(np.char.lower(np.array(column.texts, str)), _NAN)
    return np.append(wrong, False)[column.codes]


def _any_text(values: Sequence[Value], rows: KeySource) -> Mask:
    found: Mask = np.zeros(len(rows), np.bool_)
    for value in values:
        found = found | value.find_texts(rows)
    return found


def column_of(numbers: Floats) -> Column:
    """Make a column of numbers."""
    return Column(numbers, np.full(len(numbers), -1, np.int64))


def drop_missing(column: Column, missing: Sequence[float | str]) -> Column:
    """Leave out the values that mean that there is none."""
    if not missing:
        return column
    numbers = [item for item in missing if not isinstance(item, str)]
    absent: Mask = is_one_of(column.numbers, numbers)
    if column.texts:
        wanted = {float(item) for item in numbers}
        fits = [text in missing or float(parse_numbers((text,))[0]) in wanted for text in column.texts]
        absent = absent | np.array([*fits, False], np.bool_)[column.codes]
    return column.drop(absent)


def _add_ramps(ramps: Sequence[Floats]) -> Floats | None:
    if not ramps:
        return None
    total = ramps[0]
    for ramp in ramps[1:]:
        total = np.where(np.isnan(total), ramp, total + np.nan_to_num(ramp))
    return total


def _join_keys(values: Sequence[Value]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for value in values for key in value.keys))
