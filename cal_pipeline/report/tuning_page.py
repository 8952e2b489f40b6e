"""Page of a tuning: combinations of parameters with their figures against the current parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.tuning import FIGURES, TuningRow
from cal_pipeline.report.page.blocks import Block, badge, columns, facts, figure, note, section, table, tabs
from cal_pipeline.report.page.document import ReportDocument
from cal_pipeline.report.tuning_table import (
    SHOWN,
    TuningResults,
    format_checks,
    format_figure,
    format_value,
    list_parts,
    name_columns,
    name_part,
    name_row,
    select_part,
)

_COLOURS = {"pass": "@pass", "questionable": "@questionable", "fail": "@fail"}
"""Colours of the points of a figure, by verdict."""

_MANY_ROWS = 8
"""Number of rows from which on a table has a field to search in."""


def write_tuning_page(tuning: TuningResults, path: Path) -> None:
    """Write the page of a tuning; it replaces an older file.

    Parameters
    ----------
    tuning : TuningResults
        The results.
    path : Path
        The file.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    parts = list_parts(tuning.all_rows)
    scans = format_count(len({scan for scan, _ in parts}), "scan")
    subtitle = f"{format_count(len(tuning.rows), 'combination')} of {scans}"
    with ReportDocument(path, f"Tuning of {tuning.session}", subtitle, of=tuning.session, overwrite=True) as report:
        report.add_overview(list(_list_blocks(tuning, parts)))


def _list_blocks(tuning: TuningResults, parts: Sequence[tuple[int, str]]) -> list[Block]:
    """List the blocks of the page: current parameters, failures, table and figures, each scan."""
    blocks = [section("Current parameters", _describe_current(tuning))]
    failures = [
        note(f"row {name_row(row)}, scan {scan.scan} failed in step {scan.failed_in}: {scan.message}", "bad")
        for row in tuning.all_rows
        for scan in row.failures
    ]
    if failures:
        blocks.append(section("Failures", *failures))
    several = len(parts) > 1
    title = f"Combinations, medians of {format_count(len(parts), 'scan')}" if several else "Combinations"
    blocks.append(section(title, _make_tables(tuning, None), *_draw(tuning, parts)))
    if several:
        contents = {name_part(*part): [_make_tables(tuning, part)] for part in parts}
        blocks.append(section("Scan by scan", tabs(contents)))
    return blocks


def _describe_current(tuning: TuningResults) -> Block:
    """Describe the current values of the varied parameters, and the results with them."""
    current = tuning.current
    where = "no combination equals them" if current.number is None else f"row {current.number} of the table"
    values = {f"steps.{label}": format_value(value) for label, value in current.parameters.items()}
    figures = {_head(name): format_figure(current, name) for name in SHOWN}
    left = facts({**values, "where": where, "time of all combinations": f"{tuning.seconds:.1f} s"})
    right = facts(
        {**figures, "verdict": badge(current.verdict), "checks not passed": " ".join(current.checks) or "none"}
    )
    return columns(left, right)


def _make_tables(tuning: TuningResults, part: tuple[int, str] | None) -> Block:
    """Make the tables of the rows of one scan, or of medians: values, and differences from the current parameters."""
    current = select_part(tuning.current, part)
    rows = [select_part(row, part) for row in tuning.all_rows]
    first, filters = ["row", *name_columns(tuning.varied), "verdict"], len(rows) > _MANY_ROWS
    titles = [*first, *map(_head, SHOWN), "time [s]"]
    contents = {
        "Values": (
            [*titles, "checks not passed"],
            [_list_values(tuning, row) for row in rows],
            "Medians of the pixels; * marks the current parameters. Time: steps and pass over the samples.",
        ),
        "Against the current parameters": (
            titles,
            [_list_changes(tuning, row, current) for row in rows],
            "Value minus that with the current parameters (*).",
        ),
        "Checks": (
            [*first, "not passed", "against the current parameters"],
            [_list_checks(tuning, row, current) for row in rows],
            "Against the current parameters: + not passed any more, - passed now, = the same.",
        ),
    }
    return tabs({label: [table(*content, filters=filters)] for label, content in contents.items()})


def _head(name: str) -> str:
    """Return the heading of a figure with its unit."""
    return f"{FIGURES[name].heading} [{FIGURES[name].unit}]".removesuffix(" []")


def _list_parameters(tuning: TuningResults, row: TuningRow) -> list[Any]:
    """List number, parameters and verdict of a row."""
    return [name_row(row), *(format_value(row.parameters[one.label]) for one in tuning.varied), badge(row.verdict)]


def _list_values(tuning: TuningResults, row: TuningRow) -> list[Any]:
    """List the cells of a row of values."""
    figures: list[Any] = []
    for name in SHOWN:
        value = row.figures[name]
        if value is not None:
            figures.append(format_figure(row, name) if name == "pwv_mm" else float(f"{value:.4g}"))
        else:
            figures.append(None)
    if not any(scan.bands for scan in row.scans):
        return [*_list_parameters(tuning, row), *figures, None, None]
    seconds = round(row.figures["seconds"] or 0.0, 2)
    return [*_list_parameters(tuning, row), *figures, seconds, len(row.checks)]


def _list_changes(tuning: TuningResults, row: TuningRow, current: TuningRow) -> list[Any]:
    """List the cells of a row of differences."""
    changes = row.subtract(current)
    return [*_list_parameters(tuning, row), *(_round(changes[name]) for name in (*SHOWN, "seconds"))]


def _list_checks(tuning: TuningResults, row: TuningRow, current: TuningRow) -> list[Any]:
    """List the cells of a row of checks."""
    known = bool(row.verdict)
    against = "current" if row.is_current else format_checks(row, current) or None
    return [*_list_parameters(tuning, row), (" ".join(row.checks) or "none") if known else None, against]


def _round(change: float | None) -> float | None:
    """Round a difference to two digits; a column of numbers can be sorted."""
    return None if change is None else float(f"{change:.2g}")


def _draw(tuning: TuningResults, parts: Sequence[tuple[int, str]]) -> list[Block]:
    """Draw each figure over the rows: medians with those of single scans behind them."""
    rows = [row for row in tuning.rows if any(scan.bands for scan in row.scans)]
    if not rows:
        return []
    figures = [_draw_figure(tuning, rows, name, parts if len(parts) > 1 else ()) for name in SHOWN]
    pairs = zip(figures[::2], figures[1::2], strict=True)
    return [columns(*pair) for pair in pairs]


def _draw_figure(
    tuning: TuningResults, rows: Sequence[TuningRow], name: str, parts: Sequence[tuple[int, str]]
) -> Block:
    """Draw a figure over the rows, its value with the current parameters as a line."""
    numbers = [str(row.number) for row in rows]
    labels = [_label(tuning, row) for row in rows]
    traces: list[dict[str, Any]] = []
    for part in parts:
        values = [select_part(row, part).figures[name] for row in rows]
        traces.append(
            {"type": "scatter", "mode": "markers", "x": numbers, "y": values, "name": name_part(*part),
             "marker": {"color": "@muted", "size": 5, "opacity": 0.6}, "text": labels}
        )  # fmt: skip
    main: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "x": numbers, "y": [row.figures[name] for row in rows],
        "marker": {"color": [_COLOURS.get(row.verdict, "@unknown") for row in rows], "size": 11},
        "name": "median" if parts else FIGURES[name].heading, "text": labels,
    }  # fmt: skip
    if name == "pwv_mm":
        errors = [row.figures["pwv_total_err_mm"] for row in rows]
        main["error_y"] = {"type": "data", "array": [error or 0.0 for error in errors], "color": "@muted"}
    traces.append(main)
    current = tuning.current.figures[name]
    if current is not None:
        traces.append(
            {"type": "scatter", "mode": "lines", "x": [numbers[0], numbers[-1]], "y": [current, current],
             "line": {"color": "@accent", "dash": "dot", "width": 1}, "name": "current", "hoverinfo": "skip"}
        )  # fmt: skip
    title = _head(name)
    layout = {"xaxis": {"title": {"text": "row"}, "type": "category"}, "yaxis": {"title": {"text": title}},
              "showlegend": False}  # fmt: skip
    meaning = FIGURES[name].meaning
    caption = f"{meaning[0].upper()}{meaning[1:]}. Colour: verdict; dotted line: current parameters."
    return figure(traces, layout, title, caption, 280)


def _label(tuning: TuningResults, row: TuningRow) -> str:
    """Label a point by the values of the row."""
    pairs = zip(name_columns(tuning.varied), row.parameters.values(), strict=True)
    return ", ".join(f"{name} = {format_value(value)}" for name, value in pairs)
