"""Subcommand ``calibrate check``: damage and contradictions in a session, a visit or a product."""

from __future__ import annotations

import json

from cal_pipeline.cli.commands import CommandParser, show
from cal_pipeline.cli.families import add_selection, find_family, read_selection
from cal_pipeline.core.store.check import CheckReport
from cal_pipeline.core.text import format_count, make_printable


def check(arguments: list[str]) -> int:
    """Run ``calibrate check``.

    Parameters
    ----------
    arguments : list of str
        Arguments of the subcommand.

    Returns
    -------
    int
        0 for a whole store, 1 for a damaged one.
    """
    parser = CommandParser(
        prog="calibrate check",
        description="Check an L0 session, an L1 store or a store of an imager: read every chunk and hold arrays, "
        "attributes, flags and records against the format. Each fault is one line. Status 0: the store is whole; 1: "
        "it is damaged.",
    )
    parser.add_argument("store", help="session or store (folder, ZIP file or URL)")
    add_selection(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    family = find_family(given.store)
    report = family.check(given.store, read_selection(given, family))
    show(json.dumps(_as_mapping(report), indent=2, allow_nan=False) if given.json else _format(report))
    return report.status


def _format(report: CheckReport) -> str:
    faults = format_count(len(report.findings), "fault") if report.findings else "no fault"
    seen = ", ".join(
        format_count(number, noun)
        for number, noun in (
            (report.n_observations, report.noun),
            (report.n_arrays, "array"),
            (report.n_chunks, "chunk"),
        )
    )
    last = make_printable(f"{report.store}: {report.kind}, {seen}: {faults}")
    notes = [f"note: {note}" for note in report.notes]
    return "\n".join([*map(str, report.findings), *notes, last])


def _as_mapping(report: CheckReport) -> dict[str, object]:
    """Return the report ready for JSON."""
    return {
        "store": report.store,
        "kind": report.kind,
        "whole": not report.findings,
        f"{report.noun}s": report.n_observations,
        "arrays": report.n_arrays,
        "chunks": report.n_chunks,
        "findings": [finding.describe(report.noun) for finding in report.findings],
        "notes": [note.describe(report.noun) for note in report.notes],
    }
