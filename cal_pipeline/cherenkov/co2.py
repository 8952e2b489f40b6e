"""Mean concentration of CO2 from the monthly record of the Scripps Institution of Oceanography."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, TooFewEventsError

_COLUMN = 4
_MISSING = -99.99
_RANGE = (200.0, 1000.0)
"""Concentrations [ppm] for which the refractive index of air is known."""

MONTHS = 12
"""Months that are averaged: the seasons cancel."""

_OLDEST = 3
"""Age of the last month [months] from which on a warning is due."""


@dataclass(frozen=True)
class MonthlyValue:
    """Concentration of one month.

    Attributes
    ----------
    year, month : int
        Month.
    concentration : float
        Mole fraction of CO2 in dry air [ppm].
    """

    year: int
    month: int
    concentration: float

    @property
    def index(self) -> int:
        """Number of months since the year 0."""
        return 12 * self.year + self.month - 1

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


def find_record(path: Path) -> Path:
    """Find the file of a record: the path, or the only CSV file in a folder.

    Parameters
    ----------
    path : Path
        File or folder.

    Raises
    ------
    MissingInputError
        If a folder holds none.
    CorruptedInputError
        If it holds several.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.csv"))
    if not found:
        raise MissingInputError(f"folder {path} holds no CO2 record; expected one *.csv file")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise CorruptedInputError(f"folder {path} holds {len(found)} CSV files ({names}); expected one CO2 record")
    return found[0]


def read_record(path: Path) -> list[MonthlyValue]:
    """Read the monthly values of a record; months without one are left out.

    Parameters
    ----------
    path : Path
        Monthly in-situ record as published by the Scripps CO2 Program: lines in quotes are comments, lines
        of headers follow, then year, month, two dates and the concentration [ppm], -99.99 where it is missing.

    Returns
    -------
    list of MonthlyValue
        In order of time.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If a line has another form, a month is there twice, or a value is out of range.
    """
    try:
        lines = path.read_text(encoding="latin-1").split("\n")
    except OSError as error:
        raise MissingInputError(f"CO2 record {path} cannot be read: {error.strerror}") from error
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith('"')]
    # The headers have no year.
    months = list(dropwhile(lambda item: not item[1].partition(",")[0].strip().isdigit(), numbered))
    if not months:
        raise CorruptedInputError(f"CO2 record {path} has no line that begins with a year")
    values: dict[int, MonthlyValue] = {}
    for number, line in months:
        value = _read_line(path, number, line)
        if value is None:
            continue
        if value.index in values:
            raise CorruptedInputError(f"CO2 record {path}, line {number}: month {value} is there twice")
        values[value.index] = value
    return [values[index] for index in sorted(values)]


def _read_line(path: Path, number: int, line: str) -> MonthlyValue | None:
    cells = next(csv.reader([line], skipinitialspace=True))
    try:
        value = MonthlyValue(int(cells[0]), int(cells[1]), float(cells[_COLUMN]))
    except (ValueError, IndexError) as error:
        raise CorruptedInputError(
            f"CO2 record {path}, line {number}: found {line.strip()!r}; expected year, month, two dates and ppm"
        ) from error
    if not 1 <= value.month <= 12:
        raise CorruptedInputError(f"CO2 record {path}, line {number}: month {value.month}; expected 1 to 12")
    if value.concentration == _MISSING:
        return None
    if not _RANGE[0] <= value.concentration <= _RANGE[1]:
        raise CorruptedInputError(
            f"CO2 record {path}, line {number}: {value.concentration:g} ppm; "
            f"expected {_RANGE[0]:g} to {_RANGE[1]:g} ppm, or {_MISSING} for none"
        )
    return value


def select_last_year(values: Sequence[MonthlyValue], year: int, month: int) -> tuple[list[MonthlyValue], list[str]]:
    """Select the last twelve values of months that have ended by a month.

    Parameters
    ----------
    values : sequence of MonthlyValue
        Record, in order of time.
    year, month : int
        Month of the estimate, which has not ended.

    Returns
    -------
    selected : list of MonthlyValue
        Twelve months.
    warnings : list of str
        Gaps, and an old record.

    Raises
    ------
    TooFewEventsError
        If there are fewer.

    Examples
    --------
    >>> record = [MonthlyValue(2022 + i // 12, 1 + i % 12, 410.0 + i) for i in range(24)]
    >>> selected, warnings = select_last_year(record, 2023, 7)
    >>> print(selected[0], selected[-1], warnings)
    2022-07 2023-06 []
    """
    now = 12 * year + month - 1
    ended = [value for value in values if value.index < now]
    if len(ended) < MONTHS:
        raise TooFewEventsError(
            f"{len(ended)} months with a concentration of CO2 before {year:04d}-{month:02d}; expected {MONTHS} or more"
        )
    selected, warnings = ended[-MONTHS:], []
    if selected[-1].index - selected[0].index != MONTHS - 1:
        warnings.append(
            f"the last {MONTHS} months of CO2 are not consecutive: they reach from {selected[0]} to {selected[-1]}"
        )
    if now - 1 - selected[-1].index >= _OLDEST:
        warnings.append(f"the last month of CO2, {selected[-1]}, is older than {_OLDEST} months")
    return selected, warnings
