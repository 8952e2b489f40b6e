"""Differences between the records of two products: their making and their results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cal_pipeline.core.store.product import Key
from cal_pipeline.core.store.records import ObservationRecord, as_mapping

ABSENT = "-"
"""In place of a value that a store did not record."""

Fact = tuple[str, str]
"""Category and name of what was recorded."""

Describe = Callable[[ObservationRecord], dict[Fact, str]]
"""Function that describes what was recorded once an observation or part."""

Figures = Mapping[str, tuple[str, str]]
"""Results that are compared as numbers, by their name: key in the record and unit."""


@dataclass(frozen=True)
class FactDifference:
    """Fact that two stores recorded differently, with the parts of observations concerned.

    Parameters
    ----------
    category : str
        Such as ``"engine"``, ``"parameters"``, ``"origins"``, ``"verdicts"``, and those of a family.
    name : str
        Name of the compared item, such as a parameter.
    first, second : str
        Its values, each with its origin in the case of a parameter.
    parts : tuple of str
        Observations and their parts that share this difference.
    """

    category: str
    name: str
    first: str
    second: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class NumberDifference:
    """Result that differs: one number for an observation, or for a part of one.

    Parameters
    ----------
    name, unit : str
        Name and unit of the number.
    values : tuple of (str, float or None, float or None)
        Observation and part, value in the first and in the second store; the largest relative
        difference first.
    """

    name: str
    unit: str
    values: tuple[tuple[str, float | None, float | None], ...]


@dataclass(frozen=True)
class RecordDifferences:
    """Differences in the records of two stores.

    Parameters
    ----------
    n_parts : int
        Observations (or parts of them) that both stores have.
    only_first, only_second : tuple of int
        Observations that only one of the stores has.
    failures : tuple of dict
        Failures of observations that are in one store and failed in the other.
    facts : tuple of FactDifference
        Differences of recorded facts.
    numbers : tuple of NumberDifference
        Results that differ.
    """

    n_parts: int
    only_first: tuple[int, ...] = ()
    only_second: tuple[int, ...] = ()
    failures: tuple[Mapping[str, Any], ...] = ()
    facts: tuple[FactDifference, ...] = ()
    numbers: tuple[NumberDifference, ...] = field(default=())


def describe_record(record: ObservationRecord) -> dict[Fact, str]:
    """Describe what every product records of an observation, by category and name."""
    return {
        ("engine", "version"): describe_text(record.provenance.get("engine_version")),
        (record.kind.noun, "steps done"): describe_steps(record),
        ("reference files", "limits of quality"): describe_limits(record),
        ("verdicts", "verdict"): describe_verdict(record),
    }


@dataclass(frozen=True)
class RecordFormat:
    """Records of a family's product: which of them are compared, and how.

    Parameters
    ----------
    describe : callable
        Function that describes what was recorded once, by category and name.
    figures : mapping
        Results that are compared as numbers: name in quality figures or attributes, and unit.
    title : str
        Title of these results.
    compared : str
        List of what is compared, for the message that there is no difference.
    """

    describe: Describe = describe_record
    figures: Figures = field(default_factory=dict)
    title: str = "results"
    compared: str = "parameters, reference files, results and verdicts"


USUAL = RecordFormat()
"""Records that every product has."""


def describe_steps(record: ObservationRecord) -> str:
    """List the steps that were done."""
    steps = as_mapping(record.attributes.get("cal_step"))
    return ", ".join(str(name) for name, state in steps.items() if state == "COMPLETE") or ABSENT


def describe_limits(record: ObservationRecord) -> str:
    """Identify the file of quality limits."""
    limits = as_mapping(record.quality.get("thresholds"))
    return describe_file(limits.get("file"), limits.get("sha256"))


def describe_verdict(record: ObservationRecord) -> str:
    """Give the verdict with the checks that were not passed."""
    return record.verdict + (f" ({', '.join(record.checks)})" if record.checks else "") or ABSENT


def describe_file(name: Any, sha256: Any) -> str:
    """Format a reference file with the start of its checksum, which identifies the file."""
    if name is None and sha256 is None:
        return ABSENT
    return f"{name} (sha256 {str(sha256)[:12]})"


def describe_value(value: Any) -> str:
    """Format a value of any type: text as it is, others as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_text(value: Any) -> str:
    """Format a value that may be absent."""
    return ABSENT if value is None else str(value)


def compare_records(
    first: Sequence[ObservationRecord],
    second: Sequence[ObservationRecord],
    failures: Sequence[Sequence[Mapping[str, Any]]] = ((), ()),
    numbers: Sequence[Key] | None = None,
    origins: bool = True,
    form: RecordFormat = USUAL,
) -> RecordDifferences:
    """Compare the records of two stores.

    Parameters
    ----------
    first, second : sequence of ObservationRecord
        Records of the stores.
    failures : pair of sequences of dict
        Their failures.
    numbers : sequence of int, optional
        Only the failures of these observations.
    origins : bool
        Whether it is a difference that a parameter of the same value came from elsewhere.
    form : RecordFormat
        Records of the family.

    Returns
    -------
    RecordDifferences
    """
    by_path = [{record.path: record for record in records} for records in (first, second)]
    pairs = [(by_path[0][path], by_path[1][path]) for path in by_path[0] if path in by_path[1]]
    held = [{record.number for record in records} for records in (first, second)]
    keys = {record.kind.number_key for record in (*first, *second)}

    def number_of(failure: Mapping[str, Any]) -> Any:
        return next((failure[key] for key in keys if key in failure), None)

    lost = [f for f in failures[0] if number_of(f) in held[1] - held[0]]
    lost += [f for f in failures[1] if number_of(f) in held[0] - held[1]]
    return RecordDifferences(
        len(pairs),
        tuple(sorted(held[0] - held[1])),
        tuple(sorted(held[1] - held[0])),
        tuple(f for f in lost if numbers is None or number_of(f) in numbers),
        tuple(_find_facts(pairs, origins, form.describe)),
        tuple(_find_numbers(pairs, form.figures)),
    )


def _find_facts(
    pairs: Sequence[tuple[ObservationRecord, ObservationRecord]], origins: bool, describe: Describe
) -> Iterator[FactDifference]:
    """Yield differences other than in numbers, merged if several parts share them."""
    shared: dict[tuple[str, str, str, str], list[str]] = {}
    for one, two in pairs:
        for category, name, a, b in _facts_of(one, two, describe):
            if a != b and (origins or category != "origins"):
                shared.setdefault((category, name, a, b), []).append(one.label)
    for (category, name, a, b), parts in shared.items():
        yield FactDifference(category, name, a, b, tuple(parts))


def _facts_of(
    one: ObservationRecord, two: ObservationRecord, describe: Describe
) -> Iterator[tuple[str, str, str, str]]:
    """Category, name and both values of everything that is compared; equal or not."""
    described = [describe(record) for record in (one, two)]
    for key in dict.fromkeys([*described[0], *described[1]]):
        yield *key, described[0].get(key, ABSENT), described[1].get(key, ABSENT)
    parameters = [record.parameters for record in (one, two)]
    for name in dict.fromkeys([*parameters[0], *parameters[1]]):
        values = [describe_value(found[name]) if name in found else ABSENT for found in parameters]
        sources = [record.origin(name) for record in (one, two)]
        if values[0] == values[1]:
            yield "origins", name, sources[0], sources[1]
        else:
            a, b = (v if v == ABSENT else f"{v} ({s})" for v, s in zip(values, sources, strict=True))
            yield "parameters", name, a, b


def _find_numbers(
    pairs: Sequence[tuple[ObservationRecord, ObservationRecord]], figures: Figures
) -> Iterator[NumberDifference]:
    for name, (figure, unit) in figures.items():
        found = [(one.label, one.figure(figure), two.figure(figure)) for one, two in pairs]
        differing = [item for item in found if item[1] != item[2]]
        if differing:
            yield NumberDifference(
                name, unit, tuple(sorted(differing, key=lambda item: relative_change(item[1], item[2]), reverse=True))
            )


def relative_change(first: float | None, second: float | None) -> float:
    """Return |second - first| over |first|; infinite where one is not known or the first is 0."""
    if first == second:
        return 0.0
    if first is None or second is None or first == 0.0:
        return float("inf")
    return abs(second - first) / abs(first)
