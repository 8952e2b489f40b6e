"""The table of docs/reliability.md: kinds of fault, tried, and what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .corpus import Judged
from .runs import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- table of tests/faults: begin -->", "<!-- table of tests/faults: end -->"

PARTS = {
    "kills": "Killed",
    "disk": "Disks",
    "corpus": "Damaged inputs",
    "collisions": "Paths and runs",
    "network": "Remote stores",
    "strangers": "Files of strangers",
}
"""Headings of the parts."""


@dataclass
class Row:
    """Row of the table.

    Parameters
    ----------
    part, kind : str
        The part, and the kind of fault.
    tried, lost, wrong, silent, hand : int
        Number of cases, and of those in which a finished scan was lost, a scan was wrong, something went without a
        word, and the next run needed a hand.
    skipped : set of str
        Why cases could not be tried.
    """

    part: str
    kind: str
    tried: int = 0
    lost: int = 0
    wrong: int = 0
    silent: int = 0
    hand: int = 0
    skipped: set[str] = field(default_factory=set)

    @property
    def bad(self) -> bool:
        """Tell whether any case is not as it should be."""
        return bool(self.lost or self.wrong or self.silent or self.hand)


def count_outcomes(part: str, outcomes: Iterable[Outcome]) -> list[Row]:
    """Count outcomes by their kind."""
    rows: dict[str, Row] = {}
    for outcome in outcomes:
        row = rows.setdefault(outcome.kind, Row(part, outcome.kind))
        if outcome.skipped:
            row.skipped.add(outcome.skipped)
            continue
        row.tried += 1
        for name in ("lost", "wrong", "silent", "hand"):
            setattr(row, name, getattr(row, name) + bool(getattr(outcome, name)))
    return list(rows.values())


COLUMN_OF = {
    "lost": "lost",
    "wrong": "wrong",
    "silent": "silent",
    "other": "silent",
    "message": "silent",
    "raw": "silent",
    "crash": "hand",
    "hang": "hand",
}
"""Column of each outcome of a damaged input that is not allowed; a poor message counts as silence."""


def count_damages(judged: Iterable[Judged]) -> list[Row]:
    """Count damaged inputs by their kind."""
    rows: dict[str, Row] = {}
    for one in judged:
        row = rows.setdefault(one.kind, Row("corpus", one.kind))
        row.tried += 1
        if one.bad:
            column = COLUMN_OF[one.outcome]
            setattr(row, column, getattr(row, column) + 1)
    return list(rows.values())


def as_markdown(rows: list[Row]) -> str:
    """Write the table."""
    lines = [
        "| kind of fault | tried | scans lost | scans wrong | silent | needed a hand |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for part, heading in PARTS.items():
        mine = [row for row in rows if row.part == part]
        if not mine:
            continue
        lines.append(f"| **{heading}** | " + " | ".join(f"**{n}**" for n in _sums(mine)) + " |")
        lines += [
            f"| {row.kind} | {row.tried} | {row.lost} | {row.wrong} | {row.silent} | {row.hand} |" for row in mine
        ]
    lines.append("| **all** | " + " | ".join(f"**{n}**" for n in _sums(rows)) + " |")
    return "\n".join(lines)


def _sums(rows: list[Row]) -> list[int]:
    return [sum(getattr(row, name) for row in rows) for name in ("tried", "lost", "wrong", "silent", "hand")]


def write_table(rows: list[Row]) -> None:
    """Put the table into the page; kinds of fault that were not tried keep the rows that they had."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    run = {(row.part, row.kind) for row in rows}
    kept = [row for row in read_table(old) if (row.part, row.kind) not in run]
    ordered = sorted([*rows, *kept], key=lambda row: (list(PARTS).index(row.part), row.kind))
    PAGE.write_text(f"{before}{BEGIN}\n\n{as_markdown(ordered)}\n\n{END}{after}")


def read_table(text: str | None = None) -> list[Row]:
    """Read the rows of the table in the page."""
    text = PAGE.read_text().split(BEGIN)[1].split(END)[0] if text is None else text
    part, rows = "", []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if heading := re.fullmatch(r"\*\*(.*)\*\*", cells[0]):
            part = next((key for key, name in PARTS.items() if name == heading[1]), "")
        elif part and len(cells) == 6 and cells[1].isdecimal():
            rows.append(Row(part, cells[0], *map(int, cells[1:])))
    return rows
