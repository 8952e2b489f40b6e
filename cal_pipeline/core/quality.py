"""Quality of an observation: figures that a family declares, and verdicts on them.

An observation has elements, such as detectors. A figure is one number for each element. A check
compares figures, or values derived from them, with limits. A value that is not known passes no
check: the check is then not made, or, if it is required, the element is questionable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.limits import NO_LIMIT, Limit, Limits, grade_all
from cal_pipeline.core.run.threads import map_in_threads

Values = NDArray[Any]
Measured = Values | Mapping[str, Values]
"""Values of a figure by element; a mapping of such for a figure with parts, the total first."""

PASS, QUESTIONABLE, FAIL = "pass", "questionable", "fail"
SEVERITIES = (PASS, QUESTIONABLE, FAIL)
"""Verdicts, the worst last."""

TOTAL = ""
"""Key of the total in a figure with parts."""

NOT_KNOWN = "not known"
"""Explanation of a verdict on a required value that is not known."""


def name_verdict(verdict: Mapping[str, Any]) -> str:
    """Return the name of the check of a verdict, and whether it is one on what is not known.

    Examples
    --------
    >>> name_verdict({"name": "noise_ratio", "explanation": NOT_KNOWN})
    'noise_ratio (not known)'
    """
    name = str(verdict.get("name"))
    return f"{name} ({NOT_KNOWN})" if verdict.get("explanation") == NOT_KNOWN else name


@dataclass(frozen=True)
class Parts:
    """Parts of a figure, such as the fractions of samples with each flag.

    Parameters
    ----------
    reduced : str
        Name of the reduced parts in the record.
    meanings : dict
        Descriptions of the parts that have a column in the table of a product, by part.
    """

    reduced: str
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """Quality figure: one number for each element.

    Parameters
    ----------
    name : str
        Name in the record.
    meaning : str
        Description.
    compute : callable
        Function of the data, and of the figures in `of`, that returns the values by element; None
        if unknown. With parts, a mapping of the total (`TOTAL`) and the parts.
    unit : str
        Unit.
    reduce : {"median", "mean", "any", "all"}
        Reduction of all elements to one number.
    reduced : str
        Name of that number; by default `name`, with ``_median`` after it for a median.
    of : tuple of str
        Figures that this one is computed from.
    checked : bool
        Whether limits apply to the figure as it is.
    required : bool
        Whether an element of which the checked figure is not known is questionable.
    in_table : bool
        Whether the figure has a column in the table of a product.
    parts : Parts or None
        Parts of the figure.
    """

    name: str
    meaning: str
    compute: Callable[..., Measured | None]
    unit: str = ""
    reduce: Literal["median", "mean", "any", "all"] = "median"
    reduced: str = ""
    of: tuple[str, ...] = ()
    checked: bool = False
    required: bool = False
    in_table: bool = True
    parts: Parts | None = None

    @property
    def reduced_name(self) -> str:
        """Name of the reduced figure."""
        return self.reduced or (f"{self.name}_median" if self.reduce == "median" else self.name)

    def part_name(self, part: str) -> str:
        """Return the name of a part in the record of an element."""
        return self.name if part == TOTAL else f"{self.name}_{part}"


@dataclass(frozen=True)
class Check:
    """Check of what follows from figures.

    Parameters
    ----------
    name : str
        Name of the check.
    of : tuple of str
        Figures; the check is made if all are known.
    derive : callable or None
        Function of their values that returns the values to check. Without it the figures are
        checked as they are, each against a limit of its own; all of them must cross theirs.
    excludes : bool
        Whether elements for which the values are true are judged by no other check.
    required : bool
        Whether an element of which a figure is not known is questionable.
    """

    name: str
    of: tuple[str, ...]
    derive: Callable[..., Values] | None = None
    excludes: bool = False
    required: bool = False

    def values(self, figures: Mapping[str, Values]) -> tuple[Values, ...] | None:
        """Return the values to check, from figures by name; None if a figure is not known."""
        if not all(name in figures for name in self.of):
            return None
        of = tuple(figures[name] for name in self.of)
        return of if self.derive is None else (self.derive(*of),)


@dataclass(frozen=True, eq=False)
class QualityScheme:
    """Figures of a family of instruments, and their checks.

    Parameters
    ----------
    figures : tuple of Figure
        Figures in the order of the record.
    derived_checks : tuple of Check
        Checks of what follows from figures, in the order of the record; they come after those of
        figures as they are.
    elements : str
        Plural noun for the elements, as in the record.
    """

    figures: tuple[Figure, ...]
    derived_checks: tuple[Check, ...] = ()
    elements: str = "elements"

    @cached_property
    def checks(self) -> tuple[str, ...]:
        """Names of all checks; each can have limits."""
        return tuple(check.name for check in self._all_checks)

    @cached_property
    def several(self) -> dict[str, tuple[str, ...]]:
        """Names of the figures of each check of several, which has a limit for each."""
        return {check.name: check.of for check in self._all_checks if check.derive is None and len(check.of) > 1}

    @cached_property
    def _all_checks(self) -> tuple[Check, ...]:
        of_figures = (Check(f.name, (f.name,), required=f.required) for f in self.figures if f.checked)
        return (*of_figures, *self.derived_checks)

    def measure(self, *data: Any, samples: int = 0) -> dict[str, Measured]:
        """Compute the figures of an observation.

        Parameters
        ----------
        *data
            Arguments of the functions of the figures.
        samples : int
            Number of samples in the data; threads share the work on many.

        Returns
        -------
        dict
            Values by figure; what is unknown is left out.
        """
        direct = [figure for figure in self.figures if not figure.of]
        computed = map_in_threads(lambda figure: figure.compute(*data), direct, samples)
        found = {figure.name: values for figure, values in zip(direct, computed, strict=True) if values is not None}
        for figure in self.figures:
            if figure.of and all(name in found for name in figure.of):
                values = figure.compute(*data, *(found[name] for name in figure.of))
                if values is not None:
                    found[figure.name] = values
        return found

    def judge(self, measured: Mapping[str, Measured], elements: NDArray[np.str_], limits: Limits) -> dict[str, Any]:
        """Make the record of figures and verdicts of an observation.

        Parameters
        ----------
        measured : dict
            Values by figure, in the shape of `elements`.
        elements : ndarray of str
            Ids of the elements.
        limits : Limits
            Limits for the checks.

        Returns
        -------
        dict
            Ready for JSON, None for what is not known. Reduced figures; ``verdict``, the worst of
            all; ``verdicts``, one for each check that some element does not pass, with these
            ``elements`` and, of them, the ``failing_elements`` and the ``unknown_elements``;
            ``checks``, all that were made; ``unknown``, those that were not, since the value of no
            element is known; ``thresholds``, where the limits are from; ``elements``, figures by
            element. The noun for elements is that of the scheme.

        Notes
        -----
        A check fails when it fails in more than half of the elements; when it fails in fewer, it is
        questionable, and the elements are named. Elements that a check excludes are judged by no
        other. An element whose value is not known is questionable if the check is required; else
        the check leaves it out.
        """
        figures = {name: values[TOTAL] if isinstance(values, Mapping) else values for name, values in measured.items()}
        verdicts, made, unknown = self._check(figures, elements, limits)
        worst = max((SEVERITIES.index(verdict["verdict"]) for verdict in verdicts), default=0)
        return {
            **self._reduce(measured),
            "verdict": SEVERITIES[worst],
            "verdicts": verdicts,
            "checks": sorted(made),
            "unknown": sorted(unknown),
            "thresholds": {"file": limits.file, "sha256": limits.sha256},
            self.elements: self._by_element(measured, elements),
        }

    def _check(
        self, figures: Mapping[str, Values], elements: NDArray[np.str_], limits: Limits
    ) -> tuple[list[dict[str, Any]], list[str], list[str]]:
        """Make all checks; return the verdicts, and the names of the checks that were made and that were not."""
        checks = [check for check in self._all_checks if check.name in limits.checks]
        if not checks:
            return [], [], []
        none = np.zeros(elements.shape, np.bool_)
        of_others = ~self._excluded(figures, none)
        values = [check.values(figures) or (np.full(elements.shape, np.nan),) for check in checks]
        graded = _grade(values, [limits.checks[check.name] for check in checks])
        judged = np.array([~none if check.excludes else of_others for check in checks])
        required = np.array([check.required for check in checks])
        is_made = required | _any_element(graded.known & judged)
        severity = graded.severity * judged  # 0 where a value is not known
        lacking = judged & ~graded.known & required.reshape(-1, *none.ndim * (1,))
        is_passed = ~_any_element((severity > 0) | lacking)
        verdicts = [
            self._make_verdict(checks[i], values[i], limits.checks[checks[i].name], elements, *of_check)
            for i, of_check in enumerate(zip(severity, lacking, judged, strict=True))
            if is_made[i] and not is_passed[i]
        ]
        names = np.array([check.name for check in checks])
        return verdicts, names[is_made].tolist(), names[~is_made].tolist()

    def _excluded(self, figures: Mapping[str, Values], none: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Find the elements that a check excludes from all others."""
        found = [check.values(figures) for check in self.derived_checks if check.excludes]
        return np.asarray(np.any([none, *(values[0] for values in found if values is not None)], axis=0))

    def _make_verdict(
        self,
        check: Check,
        values: tuple[Values, ...],
        limit: Limit,
        elements: NDArray[np.str_],
        severity: NDArray[np.int64],
        lacking: NDArray[np.bool_],
        judged: NDArray[np.bool_],
    ) -> dict[str, Any]:
        """Make the verdict on one check that is not passed."""
        worst = int(severity.max()) or 1
        crossing = severity == worst
        verdict = FAIL if worst == 2 and 2 * crossing.sum() > max(int(judged.sum()), 1) else QUESTIONABLE
        return {
            "name": check.name,
            "verdict": verdict,
            "value": _worst_value(values, crossing, limit.crossed(worst)),
            "limit": limit.crossed(worst),
            self.elements: elements[(severity > 0) | lacking].tolist(),
            f"failing_{self.elements}": elements[severity == 2].tolist(),
            f"unknown_{self.elements}": elements[lacking].tolist(),
            "explanation": limit.explanation if crossing.any() else NOT_KNOWN,
        }

    def _reduce(self, measured: Mapping[str, Measured]) -> dict[str, Any]:
        """Reduce each figure to one number for all elements."""
        result: dict[str, Any] = {}
        for figure in self.figures:
            if figure.name not in measured:
                continue
            reduce, values = _REDUCTIONS[figure.reduce], measured[figure.name]
            if not isinstance(values, Mapping):
                result[figure.reduced_name] = reduce(values)
                continue
            result[figure.reduced_name] = reduce(values[TOTAL])
            if figure.parts is not None:
                result[figure.parts.reduced] = {part: reduce(values[part]) for part in values if part != TOTAL}
        return result

    def _by_element(self, measured: Mapping[str, Measured], elements: NDArray[np.str_]) -> dict[str, dict[str, Any]]:
        """List the figures of each element; those with parts only where they are known."""
        names = [figure.name for figure in self.figures if figure.parts is None]
        unknown = [None] * elements.size
        columns: dict[str, list[Any]] = dict.fromkeys(names, unknown)
        for figure in self.figures:
            values = measured.get(figure.name)
            if isinstance(values, Mapping):
                columns |= {figure.part_name(part): _plain(of_part) for part, of_part in values.items()}
            elif values is not None:
                columns[figure.name] = _plain(values)
        rows = zip(*columns.values(), strict=True)
        return {
            element: dict(zip(columns, row, strict=True))
            for element, row in zip(elements.ravel().tolist(), rows, strict=True)
        }


class _Graded(NamedTuple):
    """Severities of all checks, and whether the values of an element are known, (N, ...)."""

    severity: NDArray[np.int64]
    known: NDArray[np.bool_]


def _grade(values: Sequence[tuple[Values, ...]], limits: Sequence[Limit]) -> _Graded:
    """Grade the values of all checks.

    NumPy takes as long for the few elements of one check as for those of all.
    """
    first = np.array([of[0] for of in values], np.float64)
    known = ~np.isnan(first)
    # A check of several values has as many limits, also where none of them is known.
    is_lone = _any_element(known) & np.array([len(of) == 1 for of in values])
    severity = grade_all([limit if lone else NO_LIMIT for limit, lone in zip(limits, is_lone, strict=True)], first)
    for i, of in enumerate(values):
        if len(of) > 1:
            severity[i] = limits[i].severity(*of)
            for item in of[1:]:
                known[i] &= ~np.isnan(item)
    return _Graded(severity, known)


def _any_element(of_checks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for each check whether something, (N, ...), is true of any element."""
    return np.asarray(of_checks.reshape(len(of_checks), -1).any(axis=1))


def _worst_value(values: tuple[Values, ...], crossing: NDArray[np.bool_], limits: list[float]) -> Any:
    """Return the value, or the list of values, of the element that is farthest from the limits; None without any."""
    if not crossing.any():
        return None
    shown = [np.asarray(item, np.float64)[crossing] for item in values]
    typical = np.median(limits) if len(shown) == 1 else limits[0]
    worst = int(np.argmax(np.abs(shown[0] - typical)))
    found = [_finite(float(item[worst])) for item in shown]
    return found[0] if len(found) == 1 else found


def _plain(values: Values) -> list[Any]:
    """List the values of all elements, None for what is not finite."""
    return [_finite(value) for value in np.ravel(values).tolist()]


def _finite(value: Any) -> Any:
    """Return a finite number, or None."""
    return value if math.isfinite(value) else None


def _median(values: Values) -> float | None:
    """Return the median of the finite values; None without any."""
    # Of some tens of elements this takes a fifth of the time of NumPy's median.
    finite = sorted(value for value in np.asarray(values, np.float64).ravel().tolist() if math.isfinite(value))
    half = len(finite) // 2
    return (finite[(len(finite) - 1) // 2] + finite[half]) / 2.0 if finite else None


_REDUCTIONS: dict[str, Callable[[Values], Any]] = {
    "median": _median,
    "mean": lambda values: _finite(float(np.mean(values))),
    "any": lambda values: bool(values.any()),
    "all": lambda values: bool(values.all()),
}
