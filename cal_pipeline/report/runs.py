"""Blocks on a run that reports of several families have: verdicts, failures, times, parameters, files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.quality import SEVERITIES
from cal_pipeline.core.store.product import FINISHED, Product
from cal_pipeline.core.store.records import DEFAULT, ObservationRecord, as_mapping
from cal_pipeline.core.text import format_count, format_ranges
from cal_pipeline.report.page.blocks import Block, badge, details, facts, link, note, section, table
from cal_pipeline.report.page.payload import Markup

VERDICTS = (*reversed(SEVERITIES), "")
"""Verdicts, the worst first; empty where none is known."""

_COLOURS = {"pass": "@pass", "questionable": "@questionable", "fail": "@fail"}
_SYMBOLS = {"pass": "circle", "questionable": "diamond", "fail": "x"}

FIRST = 25
"""Rows of a table that are shown at first."""


class Mark(NamedTuple):
    """Mark of an observation in a figure, which opens its page.

    Parameters
    ----------
    page : str
        Address of the page.
    label : str
        What the observation is, such as ``"exposure 15, FIELD"``.
    verdict : str
        Verdict; empty where it is not known.
    x, y : object
        Coordinates.
    """

    page: str
    label: str
    verdict: str
    x: Any
    y: Any


def draw_marks(marks: Sequence[Mark]) -> list[Block]:
    """Make the traces of marks, one for each verdict.

    Examples
    --------
    >>> [trace["name"] for trace in draw_marks([Mark("exposure-1", "exposure 1", "", "2026-11-01", 1.0)])]
    ['not known']
    """
    traces = []
    for verdict in VERDICTS:
        some = [mark for mark in marks if (mark.verdict if mark.verdict in SEVERITIES else "") == verdict]
        if not some:
            continue
        name = verdict or "not known"
        look = {"color": _COLOURS.get(verdict, "@unknown"), "symbol": _SYMBOLS.get(verdict, "square-open")}
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": name, "x": [mark.x for mark in some],
                "y": [mark.y for mark in some], "text": [f"{mark.label}: {name}" for mark in some],
                "customdata": [mark.page for mark in some],
                "marker": look | {"size": 10, "line": {"width": 1, "color": "@surface"}},
                "hovertemplate": Markup("%{text}<br>%{x}, %{y}<extra></extra>"),
            }
        )  # fmt: skip
    return traces


def count_verdicts(verdicts: Sequence[str]) -> str:
    """Count verdicts in words.

    Examples
    --------
    >>> count_verdicts(["pass", "", "pass"])
    '2 pass, 1 not known'
    """
    known = [verdict if verdict in SEVERITIES else "" for verdict in verdicts]
    found = [f"{known.count(verdict)} {verdict or 'not known'}" for verdict in VERDICTS if verdict in known]
    return ", ".join(found) or "none"


def list_failures(
    product: Product, unreadable: Mapping[Any, tuple[str, str]], shown: Sequence[Any] = ()
) -> list[Block]:
    """List the observations that failed, with their messages, and those that could not be read.

    Parameters
    ----------
    product : Product
        The product.
    unreadable : mapping
        Page and reason for each observation that could not be read.
    shown : sequence
        Observations of the report, whose older failures no longer count.

    Returns
    -------
    list of Block
        Empty if there are none.
    """
    kind, present = product.kind, set(shown)
    rows: list[list[Any]] = [
        [failure.get(kind.number_key), failure.get("step"), failure.get("error_class"), failure.get("message")]
        for failure in product.failures
        if failure.get(kind.number_key) not in present
    ]
    rows += [
        [link(key, page), "report", f"the {kind.noun} in the store cannot be read", reason]
        for key, (page, reason) in unreadable.items()
    ]
    if not rows:
        return []
    title = f"{format_count(len(rows), kind.noun)} without result"
    return [section(title, table([kind.noun, "step", "error", "message"], rows, first=FIRST))]


def describe_state(product: Product) -> list[Block]:
    """Say that the run has not ended, or ended early; nothing of a finished run."""
    if product.run_state == FINISHED:
        return []
    if not product.run_state:
        return [note("The store has no record of the run that wrote it (run.json).", "info")]
    kind = product.kind
    counts = as_mapping(as_mapping(product.run).get(kind.plural))
    done, asked = (counts.get(name) for name in ("done", "asked"))
    known = "how many were done is not known" if done is None else f"{done} of {asked} {kind.plural} were done"
    return [note(f"The run is {product.run_state}: {known} when this report was made.", "warning")]


def describe_run(product: Product, records: Sequence[ObservationRecord]) -> Block:
    """Show how long a run took, its record, and the parameters that are no defaults."""
    run = as_mapping(product.run)
    began, ended = read_time(run.get("started")), read_time(run.get("ended"))
    seconds = None if began is None or ended is None else (ended - began).total_seconds()
    counts = as_mapping(run.get(product.kind.plural))
    done = counts.get("done")
    each = f"{seconds / done:.2f} s" if seconds is not None and isinstance(done, int) and done else None
    listed = {
        "store": str(product.path),
        "state of the run": product.run_state or None,
        "run began": run.get("started"),
        "run ended": run.get("ended"),
        "duration": None if seconds is None else f"{seconds:.0f} s",
        f"time for each {product.kind.noun}": each,
        f"{product.kind.plural} asked for": counts.get("asked"),
        "done": done,
        "failed": counts.get("failed"),
        "host": run.get("host"),
        "engine": join_known(record.provenance.get("engine_version") for record in records),
        "made from": join_known(record.provenance.get("input") for record in records),
        "digest of the parameters": run.get("parameters_sha256"),
    }
    changed = _list_changed(records)
    return section(
        "Run and parameters", facts(listed), details("Parameters that are no defaults", changed, is_open=True)
    )


def _list_changed(records: Sequence[ObservationRecord]) -> Block:
    """List the parameters that are no defaults, with the observations that they were used for."""
    found = defaultdict(list)
    for record in records:
        for name, (value, origin) in list_parameters(record).items():
            if origin != DEFAULT:
                found[name, show_value(value), origin].append(record.number)
    if not found:
        known = any(record.parameters for record in records)
        return note("All parameters are defaults.") if known else note("The parameters are not recorded.", "warning")
    noun = records[0].kind.plural
    rows = [[*key, list_numbers(numbers)] for key, numbers in sorted(found.items())]
    return table(["parameter", "value", "where it came from", noun], rows, first=FIRST)


def describe_parameters(record: ObservationRecord, left_out: Sequence[str] = ()) -> Block:
    """Show the parameters of an observation with their origins, its steps, provenance and other attributes.

    Parameters
    ----------
    record : ObservationRecord
        Record of the observation.
    left_out : sequence of str
        Attributes that are shown elsewhere.
    """
    rows = [[name, show_value(value), origin] for name, (value, origin) in list_parameters(record).items()]
    hidden = {"parameters", "parameter_origins", "input_provenance"}
    provenance = {name: show_value(value) for name, value in record.provenance.items() if name not in hidden}
    steps = as_mapping(record.attributes.get("cal_step"))
    elsewhere = {"provenance", "qa", "cal_step", *left_out}
    others = {name: show_value(value) for name, value in record.attributes.items() if name not in elsewhere}
    shown = table(["parameter", "value", "where it came from"], rows, filters=True, first=12)
    return section(
        "Parameters and provenance",
        shown if rows else note("The parameters are not recorded.", "warning"),
        details("Steps", facts({name: str(state).lower() for name, state in steps.items()})),
        details("Provenance", facts(provenance)),
        details(f"Attributes of the {record.kind.noun}", facts(others)),
        intro="Parameters that are no defaults come first.",
    )


def list_parameters(record: ObservationRecord) -> dict[str, tuple[Any, str]]:
    """List the parameters of an observation with their origins, those that are no defaults first."""
    listed = {name: (value, record.origin(name)) for name, value in record.parameters.items()}
    return dict(sorted(listed.items(), key=lambda item: (item[1][1] == DEFAULT, item[0])))


def list_checks(records: Sequence[ObservationRecord], pages: Mapping[Any, str]) -> Block:
    """List the checks that were not passed, failed ones first, then by the number of observations.

    Parameters
    ----------
    records : sequence of ObservationRecord
        Records of the observations.
    pages : mapping
        Pages by number.
    """
    found: dict[tuple[str, str], list[tuple[Any, str]]] = defaultdict(list)
    for record in records:
        for verdict in read_verdicts(record):
            key = str(verdict.get("verdict") or ""), str(verdict.get("name"))
            found[key].append((record.number, str(verdict.get("explanation") or "")))
    unknown = sum(1 for record in records if not record.verdict)
    blocks: list[Block] = []
    if unknown and records:
        of = format_count(unknown, records[0].kind.noun)
        blocks.append(note(f"No verdict is recorded for {of}; that is no pass.", "warning"))
    elif not found and records:
        blocks.append(note(f"All {records[0].kind.plural} pass all checks that were made.", "good"))
    order = {verdict: place for place, verdict in enumerate(VERDICTS)}
    ordered = sorted(found.items(), key=lambda item: (order.get(item[0][0], -1), -len(item[1]), item[0][1]))
    rows = [
        [
            badge(verdict), name, len(some), list_numbers([number for number, _ in some]),
            link(str(some[0][0]), pages[some[0][0]]), next((why for _, why in some if why), None),
        ]
        for (verdict, name), some in ordered
    ]  # fmt: skip
    if rows:
        noun = records[0].kind.plural
        blocks.append(table(["verdict", "check", "number", noun, "first", "explanation"], rows, first=FIRST))
    return section("Quality warnings", *(blocks or [note("There is nothing to judge.")]))


def read_verdicts(record: ObservationRecord) -> list[Mapping[str, Any]]:
    """Return what is recorded of the checks that were not passed."""
    found = record.quality.get("verdicts")
    return [as_mapping(item) for item in found] if isinstance(found, list) else []


def list_reference_files(records: Sequence[ObservationRecord]) -> Block:
    """List the reference files that results were made with, each with the observations that it was used for."""
    found = defaultdict(list)
    for record in records:
        files = record.provenance.get("reference_files")
        for entry in map(as_mapping, files if isinstance(files, list) else []):
            key = tuple(None if entry.get(name) is None else str(entry[name]) for name in ("type", "file", "sha256"))
            found[key, _origin_of(record, key[0])].append(record.number)
    if not found:
        return note("No reference file is recorded.", "info")
    several = len(records) > 1
    titles = ["type", "file", "chosen by", "start of SHA-256", *([records[0].kind.plural] if several else [])]
    rows = [
        [key[0], key[1], origin, key[2] and key[2][:12], *([list_numbers(numbers)] if several else [])]
        for (key, origin), numbers in sorted(found.items(), key=lambda item: tuple(map(str, item[0][0])))
    ]
    return table(titles, rows)


def _origin_of(record: ObservationRecord, reftype: str | None) -> str:
    """Tell what chose a reference file: a parameter ``override_<type>``, or the data."""
    for name, value in record.parameters.items():
        if name.rpartition(".")[2] == f"override_{reftype}" and value:
            return f"{name} ({record.origin(name)})"
    return "the data"


def list_numbers(numbers: Sequence[Any], most: int = 60) -> str:
    """List observations in short for a cell.

    Examples
    --------
    >>> list_numbers([3, 1, 2, 3]), list_numbers(["FIELD_H", "FIELD_K"])
    ('1:3', 'FIELD_H, FIELD_K')
    """
    if all(isinstance(number, int) for number in numbers):
        text = format_ranges(sorted(set(numbers)))
    else:
        text = ", ".join(dict.fromkeys(map(str, numbers)))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def show_value(value: Any) -> Any:
    """Convert a value for a cell: numbers stay, nothing is "not set", mappings and lists become text.

    Examples
    --------
    >>> show_value(None), show_value(1.5), show_value([1, 2]), show_value({"a": None})
    ('not set', 1.5, '1, 2', 'a: not set')
    """
    value = make_json_ready(value)
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {show_value(item)}" for name, item in value.items()) or "empty"
    if isinstance(value, list):
        return ", ".join(str(show_value(item)) for item in value) or "empty"
    return value


def join_known(values: Any) -> str | None:
    """Join the different known values.

    Examples
    --------
    >>> join_known(["0.1", None, "0.1", "0.2"]), join_known([None])
    ('0.1, 0.2', None)
    """
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None)) or None


def read_time(value: Any) -> datetime | None:
    """Read a time of a record; None where it is none.

    Examples
    --------
    >>> read_time("2026-11-30T02:15:00+00:00").hour, read_time("soon")
    (2, None)
    """
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
