"""Differences in what two L1 stores recorded of how they were made, and of what came out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cal_pipeline.core.store.recorded import RecordedBand

ABSENT = "-"
"""In place of a value that a store did not record."""

NUMBERS = {
    "PWV": ("pwv_mm_median", "mm"),
    "T_rec SSB": ("t_rec_ssb_median_K", "K"),
    "T_sys DSB": ("t_sys_median_K", "K"),
}
"""Results that are compared as numbers: medians over the pixels of a band, and their units."""


@dataclass(frozen=True)
class FactDifference:
    """One thing that two stores recorded differently, and of which bands.

    Parameters
    ----------
    category : str
        ``"engine"``, ``"parameters"``, ``"origins"``, ``"reference files"``, ``"loads"``,
        ``"scan"``, ``"verdicts"``.
    name : str
        Name of the compared item, such as a parameter.
    first, second : str
        Its values, each with its origin in the case of a parameter.
    bands : tuple of str
        Scans and bands that share this difference.
    """

    category: str
    name: str
    first: str
    second: str
    bands: tuple[str, ...]


@dataclass(frozen=True)
class NumberDifference:
    """Result that differs: a median over the pixels.

    Parameters
    ----------
    name, unit : str
        Name and unit of the number.
    values : tuple of (str, float or None, float or None)
        Scan and band, value in the first and in the second store; the largest relative difference
        first.
    """

    name: str
    unit: str
    values: tuple[tuple[str, float | None, float | None], ...]


@dataclass(frozen=True)
class RecordDifferences:
    """Differences in the records of two stores.

    Parameters
    ----------
    n_bands : int
        Scans (or bands of scans) that both stores have.
    only_first, only_second : tuple of int
        Scans that only one of the stores has.
    failures : tuple of dict
        Failures of scans that are in one store and failed in the other.
    facts : tuple of FactDifference
        What was recorded differently.
    numbers : tuple of NumberDifference
        Results that differ.
    """

    n_bands: int
    only_first: tuple[int, ...] = ()
    only_second: tuple[int, ...] = ()
    failures: tuple[Mapping[str, Any], ...] = ()
    facts: tuple[FactDifference, ...] = ()
    numbers: tuple[NumberDifference, ...] = field(default=())


def compare_records(
    first: Sequence[RecordedBand],
    second: Sequence[RecordedBand],
    failures: Sequence[Sequence[Mapping[str, Any]]] = ((), ()),
    scans: Sequence[int] | None = None,
    origins: bool = True,
) -> RecordDifferences:
    """Compare the records of two stores.

    Parameters
    ----------
    first, second : sequence of RecordedBand
        Records of the stores.
    failures : pair of sequences of dict
        Their failures.
    scans : sequence of int, optional
        Only the failures of these scans.
    origins : bool
        Whether it is a difference that a parameter of the same value came from elsewhere.

    Returns
    -------
    RecordDifferences
    """
    by_path = [{record.path: record for record in records} for records in (first, second)]
    pairs = [(by_path[0][path], by_path[1][path]) for path in by_path[0] if path in by_path[1]]
    held = [{record.scan for record in records} for records in (first, second)]
    lost = [f for f in failures[0] if f.get("scan_number") in held[1] - held[0]]
    lost += [f for f in failures[1] if f.get("scan_number") in held[0] - held[1]]
    return RecordDifferences(
        len(pairs),
        tuple(sorted(held[0] - held[1])),
        tuple(sorted(held[1] - held[0])),
        tuple(f for f in lost if scans is None or f.get("scan_number") in scans),
        tuple(_facts(pairs, origins)),
        tuple(_numbers(pairs)),
    )


def _facts(pairs: Sequence[tuple[RecordedBand, RecordedBand]], origins: bool) -> Iterator[FactDifference]:
    """Yield differences other than in numbers, merged if several bands share them."""
    shared: dict[tuple[str, str, str, str], list[str]] = {}
    for one, two in pairs:
        for category, name, a, b in _facts_of_band(one, two):
            if a != b and (origins or category != "origins"):
                shared.setdefault((category, name, a, b), []).append(one.label)
    for (category, name, a, b), bands in shared.items():
        yield FactDifference(category, name, a, b, tuple(bands))


def _facts_of_band(one: RecordedBand, two: RecordedBand) -> Iterator[tuple[str, str, str, str]]:
    """Category, name and both values of everything that is compared; equal or not."""
    described = [_described(record) for record in (one, two)]
    for key in described[0]:
        yield *key, described[0][key], described[1][key]
    parameters = [record.parameters for record in (one, two)]
    for name in dict.fromkeys([*parameters[0], *parameters[1]]):
        values = [_value(found[name]) if name in found else ABSENT for found in parameters]
        sources = [record.origin(name) for record in (one, two)]
        if values[0] == values[1]:
            yield "origins", name, sources[0], sources[1]
        else:
            a, b = (v if v == ABSENT else f"{v} ({s})" for v, s in zip(values, sources, strict=True))
            yield "parameters", name, a, b


def _described(record: RecordedBand) -> dict[tuple[str, str], str]:
    """Everything that was recorded once a band, by category and name."""
    provenance, quality = record.provenance, record.quality
    limits = quality.get("thresholds")
    limits = limits if isinstance(limits, Mapping) else {}
    verdict = record.verdict + (f" ({', '.join(record.checks)})" if record.checks else "")
    return {
        ("engine", "version"): _text(provenance.get("engine_version")),
        ("input", "L0 session"): _text(provenance.get("l0_store")),
        ("scan", "source"): _text(record.attributes.get("source")),
        ("scan", "observing mode"): _text(record.attributes.get("mode")),
        ("scan", "forward efficiency"): _value(provenance.get("forward_efficiency")),
        ("scan", "steps done"): _steps_done(record),
        ("reference files", "atmosphere table"): _file(provenance.get("atm_file"), provenance.get("atm_sha256")),
        ("reference files", "telescope profile"): _file(
            provenance.get("telescope_profile"), provenance.get("telescope_sha256")
        ),
        ("reference files", "limits of quality"): _file(limits.get("file"), limits.get("sha256")),
        ("loads", "scan of the loads"): record.loads or ABSENT,
        ("verdicts", "verdict"): verdict or ABSENT,
    }


def _steps_done(record: RecordedBand) -> str:
    steps = record.attributes.get("cal_step")
    done = [str(name) for name, state in steps.items() if state == "COMPLETE"] if isinstance(steps, Mapping) else []
    return ", ".join(done) or ABSENT


def _file(name: Any, sha256: Any) -> str:
    """Format a reference file with the start of its checksum, which identifies the file."""
    if name is None and sha256 is None:
        return ABSENT
    return f"{name} (sha256 {str(sha256)[:12]})"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    return ABSENT if value is None else str(value)


def _numbers(pairs: Sequence[tuple[RecordedBand, RecordedBand]]) -> Iterator[NumberDifference]:
    for name, (figure, unit) in NUMBERS.items():
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
