"""Parts of the overview of a product as text: unfinished run, properties, table of results, failures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

from cal_pipeline.core.store.product import INTERRUPTED, RUNNING, Key, ProductKind
from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.core.text import elide_middle, format_ranges, make_printable

WIDTH = 100
"""Longest line [characters]."""

TERMINAL = 80
"""Longest line of a table that is wrapped [characters]."""

UNKNOWN = "-"
"""In place of a value that is not known."""

_MOST_FAILURES = 20

_GAP, _NARROWEST = 2, 8
"""Blanks between columns, and the width below which none is narrowed [characters]."""

Row = TypeVar("Row")


def format_unfinished_run(run: Mapping[str, Any] | None, state: str, kind: ProductKind) -> Iterator[str]:
    """Say that the run which writes a product has not ended, or ended early.

    Parameters
    ----------
    run : mapping or None
        Record of the run.
    state : str
        Its state; that of a run whose process is gone is not the recorded one.
    kind : ProductKind
        Kind of the product.
    """
    if state not in (RUNNING, INTERRUPTED):
        return
    record = as_mapping(run)
    counts = as_mapping(record.get(kind.plural))
    is_gone = record.get("state") != state
    # The record of a run that was killed may be older than its last observations.
    asked = counts.get("asked")
    done = f"{asked} {kind.plural} asked for" if is_gone else f"{counts.get('done')} of {asked} done"
    process = f"process {record.get('pid')}{', which is gone,' if is_gone else ''}"
    where = f"{process} on host {record.get('host')}, started {record.get('started')}"
    yield f"    {'run':11}{state}: {make_printable(done)}"
    yield f"    {'':11}{make_printable(where)}"


def format_properties(
    rows: Sequence[Row], properties: Mapping[str, Callable[[Row], str]], key_of: Callable[[Row], Key]
) -> Iterator[str]:
    """Format common properties of observations, with the observations of each value if they differ.

    Parameters
    ----------
    rows : sequence
        Observations or parts of them.
    properties : mapping
        Functions that return a property of a row, by its name.
    key_of : callable
        Function that returns the number or name of the observation of a row.
    """
    for name, value_of in properties.items():
        found: dict[str, list[Key]] = {}
        for row in rows:
            found.setdefault(value_of(row) or UNKNOWN, []).append(key_of(row))
        for value, keys in found.items():
            where = f"  [{elide_middle(format_ranges(sorted(set(keys))), 40)}]" if len(found) > 1 else ""
            yield f"    {name:11}{elide_middle(make_printable(value), WIDTH - 15 - len(where))}{where}"


def format_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int | None = WIDTH) -> list[str]:
    """Align the cells of a table, the last column as it is; no line without rows.

    Parameters
    ----------
    titles : tuple of str
        Titles of the columns.
    rows : sequence of tuple of str
        Cells of the rows.
    width : int, optional
        Longest line [characters]; lines are whole with None.
    """
    if not rows:
        return []
    table = [titles, *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(titles) - 1)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in table]
    return lines if width is None else [elide_middle(line, width) for line in lines]


def wrap_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int | None = TERMINAL) -> list[str]:
    """Align the cells of a table, those that are too long on several lines; no line without rows.

    Parameters
    ----------
    titles : tuple of str
        Titles of the columns.
    rows : sequence of tuple of str
        Cells of the rows.
    width : int, optional
        Longest line [characters]; cells are whole with None.

    Examples
    --------
    >>> wrap_table(("file", "reason"), [("a.fits", "no number of a scan is in its header")], 30)
    ['file    reason', 'a.fits  no number of a scan is', '        in its header']
    """
    if not rows:
        return []
    table = [titles, *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(titles))]
    if width is not None:
        words = [max((len(word) for row in table for word in row[k].split()), default=0) for k in range(len(titles))]
        room = width - _GAP * (len(titles) - 1)
        # Words are cut, names of files among them, only where the table fits in no other way.
        widths = _narrow(_narrow(widths, words, room), [_NARROWEST] * len(titles), room)
    return [line for row in table for line in _wrap_row(row, widths)]


def _narrow(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Narrow the widest columns until they fit into a room, but none below its least width."""
    found = list(widths)
    while sum(found) > room and (wide := [k for k, low in enumerate(least) if found[k] > low]):
        found[max(wide, key=lambda k: found[k])] -= 1
    return found


def _wrap_row(row: tuple[str, ...], widths: Sequence[int]) -> Iterator[str]:
    cells = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells, fillvalue=""):
        padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
        yield (" " * _GAP).join(padded).rstrip()


def format_verdict(verdict: str, checks: Sequence[str]) -> str:
    """Format a verdict with the checks that were not passed.

    Examples
    --------
    >>> format_verdict("questionable", ["jump_fraction"]), format_verdict("", [])
    ('questionable: jump_fraction', '-')
    """
    return make_printable(": ".join(filter(None, [verdict or UNKNOWN, ", ".join(checks)])))


def format_failures(failures: Sequence[Mapping[str, Any]], kind: ProductKind) -> Iterator[str]:
    """Format the failures of a run, each with step and message; only the first of many."""
    for failure in failures[:_MOST_FAILURES]:
        reason = f"{failure.get('error_class')}: {failure.get('message')}"
        number = failure.get(kind.number_key)
        text = make_printable(f"{kind.noun} {number} failed in step {failure.get('step')}: {reason}")
        yield from textwrap.wrap(text, WIDTH, subsequent_indent="    ")
    if len(failures) > _MOST_FAILURES:
        yield f"and {len(failures) - _MOST_FAILURES} more failed; see failures.json in the store"
