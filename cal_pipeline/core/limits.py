"""Limits of quality checks, read from a file with sections for some data."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.declared import (
    PATTERN,
    FileProperty,
    Number,
    Row,
    Table,
    Tables,
    Text,
    ValueKind,
    interval,
    make_table,
    matches_pattern,
    read_declared,
)

_LIMIT = Number(finite=False, as_written=True)


OneOrMore = float | tuple[float, ...]
"""Limit of a check of one value, or the limits of a check of several, one each."""


class QualityLimitsError(CalibrationError):
    """The file with the limits cannot be used."""


@dataclass(frozen=True)
class Limit:
    """Limits beyond which a figure is questionable or fails.

    Parameters
    ----------
    explanation : str
        Meaning of the check.
    questionable, fail : float or None
        Upper limits: a larger figure is questionable, or fails.
    questionable_below, fail_below : float or None
        Lower limits: a smaller figure is questionable, or fails.

    Notes
    -----
    A check of several values has a tuple of limits, one for each, and crosses them where each value
    crosses its own.
    """

    explanation: Annotated[str, Text()]
    questionable: Annotated[OneOrMore | None, _LIMIT] = None
    fail: Annotated[OneOrMore | None, _LIMIT] = None
    questionable_below: Annotated[OneOrMore | None, _LIMIT] = None
    fail_below: Annotated[OneOrMore | None, _LIMIT] = None

    def severity(self, *values: NDArray[Any]) -> NDArray[np.int64]:
        """Grade the value, or the values, of each element: 0 within limits or NaN, 1 questionable, 2 fail."""
        numbers = [np.asarray(item, np.float64) for item in values]
        result = np.zeros(numbers[0].shape, np.int64)
        for severity in (1, 2):
            for limits, crosses in zip(self.bounds(severity), (np.greater, np.less), strict=True):
                if limits is not None:
                    crossed = map(crosses, numbers, _as_tuple(limits))
                    result[functools.reduce(np.logical_and, crossed)] = severity
        return result

    def bounds(self, severity: int) -> tuple[OneOrMore | None, OneOrMore | None]:
        """Return the upper and the lower limits of a severity."""
        if severity == 1:
            return self.questionable, self.questionable_below
        return self.fail, self.fail_below

    def crossed(self, severity: int) -> list[float]:
        """Return the finite limits of a severity."""
        pair = [_as_tuple(limits) for limits in self.bounds(severity) if limits is not None]
        return [number for limits in pair for number in limits if math.isfinite(number)]


NO_LIMIT = Limit("")
"""Limit that nothing crosses."""


def grade_all(limits: Sequence[Limit], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Grade the values of many checks of one value each at once, as :meth:`Limit.severity` does for one.

    Parameters
    ----------
    limits : sequence of Limit
        Limits of each check.
    values : ndarray, shape (N, ...)
        Value of each check and element.

    Returns
    -------
    ndarray of int, shape of `values`

    Examples
    --------
    >>> limits = [Limit("too large", questionable=1.0, fail=2.0), Limit("too small", questionable_below=0.5)]
    >>> grade_all(limits, np.array([[1.5, 3.0], [1.5, 0.0]])).tolist()
    [[1, 2], [0, 1]]
    """
    result = np.zeros(values.shape, np.int64)
    axes = tuple(range(1, values.ndim))
    for severity in (1, 2):
        above, below = zip(*(limit.bounds(severity) for limit in limits), strict=True)
        for bounds, crosses in ((above, np.greater), (below, np.less)):
            # No limit is NaN, which nothing crosses.
            column = np.array([math.nan if bound is None else _as_tuple(bound)[0] for bound in bounds], np.float64)
            result[crosses(values, np.expand_dims(column, axes))] = severity
    return result


def _as_tuple(limits: OneOrMore) -> tuple[float, ...]:
    return limits if isinstance(limits, tuple) else (limits,)


@dataclass(frozen=True)
class Limits:
    """Limits for some data.

    Parameters
    ----------
    checks : dict
        Limit of each check by its name.
    file : str
        Name of the limits file.
    sha256 : str
        SHA-256 digest of the file.
    """

    checks: dict[str, Limit]
    file: str
    sha256: str


@dataclass(frozen=True)
class Section:
    """Section of a file of limits, for some data only.

    Parameters
    ----------
    patterns : dict
        Pattern of the data by key, with ``*`` for any text; what is left out suits all data.
    interval : tuple of float, or None
        Lowest and highest number that describes the data; None for any.
    settings : dict
        Settings of each check that the section changes.
    """

    patterns: Mapping[str, str]
    interval: tuple[float, float] | None
    settings: Mapping[str, Mapping[str, Any]]

    def suits(self, described: Mapping[str, str | None], number: float) -> bool:
        """Tell whether the section is meant for such data."""
        if self.interval is not None and not self.interval[0] <= number <= self.interval[1]:
            return False
        return all(matches_pattern(described.get(key), pattern) for key, pattern in self.patterns.items())


@dataclass(frozen=True)
class QualityLimits:
    """All that a file of limits holds.

    Parameters
    ----------
    default : dict
        Settings of each check.
    sections : tuple of Section
        Settings for some data only; later sections win.
    file : str
        Name of the file.
    sha256 : str
        SHA-256 digest of the file.
    """

    default: Mapping[str, Mapping[str, Any]]
    sections: tuple[Section, ...]
    file: str
    sha256: str

    def for_data(self, described: Mapping[str, str | None], number: float = math.nan) -> Limits:
        """Limits for some data.

        Parameters
        ----------
        described : dict
            Description of the data by key; what is not recorded only suits ``*``.
        number : float
            Number that the intervals of the sections are compared with.

        Returns
        -------
        Limits
            Checks without settings are not made.
        """
        checks = dict(self.default)
        for section in self.sections:
            if section.suits(described, number):
                for name, settings in section.settings.items():
                    checks[name] = {**checks.get(name, {}), **settings}
        return Limits(
            {name: Limit(**settings) for name, settings in checks.items() if settings}, self.file, self.sha256
        )


@dataclass(frozen=True, eq=False)
class LimitsTable:
    """Keys of a file of limits.

    Parameters
    ----------
    checks : tuple of str
        Names of the checks.
    patterns : tuple of str
        Keys that describe the data; a section may have a pattern for each.
    interval, unit : str
        Key of an interval for a number that describes the data, and its unit; empty for none.
    several : dict
        Names of the values of each check of several, which has a list of limits, one for each.
    """

    checks: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    interval: str = ""
    unit: str = ""
    several: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, path: Path | str) -> QualityLimits:
        """Read a file of limits, once as long as it does not change.

        Parameters
        ----------
        path : path
            TOML file.

        Returns
        -------
        QualityLimits

        Raises
        ------
        QualityLimitsError
            If it cannot be read or holds what is not known.
        """
        return read_declared(path, self._declaration, QualityLimitsError)

    @cached_property
    def _declaration(self) -> Table[QualityLimits]:
        checks: dict[str, ValueKind] = {name: self._declare_limits(name) for name in self.checks}
        selectors: dict[str, ValueKind] = dict.fromkeys(self.patterns, PATTERN)
        if self.interval:
            selectors[self.interval] = interval(Number(unit=self.unit, finite=False))
        section = Table(selectors | checks, self._make_section)
        keys: dict[str, ValueKind] = {"default": Table(checks, dict), "section": Tables(section)}
        return Table(keys, _make_limits, facts={"file": FileProperty("name"), "sha256": FileProperty("sha256")})

    def _declare_limits(self, check: str) -> ValueKind:
        keys = make_table(Limit).keys
        if check in self.several:
            limits = Row(self.several[check], _LIMIT)
            keys = {key: limits if kind is _LIMIT else kind for key, kind in keys.items()}
        return Table(keys, dict)

    def _make_section(self, **entries: Any) -> Section:
        return Section(
            patterns={key: entries[key] for key in self.patterns if key in entries},
            interval=entries.get(self.interval),
            settings={name: entries[name] for name in self.checks if name in entries},
        )


def _make_limits(
    file: str, sha256: str, default: Mapping[str, Mapping[str, Any]] | None = None, section: tuple[Section, ...] = ()
) -> QualityLimits:
    """Require an explanation of each check, in the default or in the section that adds it."""
    default = default or {}
    _require_explanations("default", default, ())
    for index, entry in enumerate(section):
        _require_explanations(f"section[{index}]", entry.settings, default)
    return QualityLimits(default, section, file, sha256)


def _require_explanations(where: str, checks: Mapping[str, Mapping[str, Any]], explained: Collection[str]) -> None:
    for name, settings in checks.items():
        if name not in explained and "explanation" not in settings:
            raise ValueError(f"{where}.{name} lacks an explanation")
