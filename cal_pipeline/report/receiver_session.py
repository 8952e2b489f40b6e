"""Overview of the scans of an L1 store: what ran, what came out, and what to look at first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from cal_pipeline.core.store.product import FINISHED
from cal_pipeline.core.store.records import DEFAULT, as_mapping
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.report.page.blocks import (
    Block,
    badge,
    columns,
    details,
    facts,
    figure,
    link,
    note,
    section,
    table,
    tiles,
)
from cal_pipeline.report.page.payload import Markup
from cal_pipeline.report.receiver_scan import list_scans, show_terms
from cal_pipeline.report.receiver_summary import BandSummary, list_parameters, rank, with_error

VERDICTS = ("fail", "questionable", "pass", "")
"""Verdicts, the worst first; empty where none is known."""

_COLOURS = {"pass": "@pass", "questionable": "@questionable", "fail": "@fail", "": "@unknown"}
_SYMBOLS = {"pass": "circle", "questionable": "diamond", "fail": "x", "": "square-open"}

_FIRST = 25
"""Rows of a table that are shown at first."""


def describe_session(
    product: CalibratedSession, summaries: Sequence[BandSummary], unreadable: Mapping[Any, str], numbers: Sequence[int]
) -> list[Block]:
    """Make the overview.

    Parameters
    ----------
    product : CalibratedSession
        The store.
    summaries : sequence of BandSummary
        Summaries of all bands that could be read.
    unreadable : mapping
        Why a scan could not be read, by its number.
    numbers : sequence of int
        Scans of the report.

    Returns
    -------
    list of Block
    """
    failures = [failure for failure in product.failures if failure.get("scan_number") not in set(numbers)]
    return [
        _show_tiles(product, summaries, numbers, failures),
        *_show_failures(failures, unreadable),
        *_show_run_state(product),
        _show_timeline(summaries),
        _show_warnings(summaries, len(unreadable)),
        _list_all(summaries, unreadable),
        _show_water(summaries),
        *_show_arrays(summaries),
        _show_scale(summaries),
        _show_timing(product, summaries),
        _show_record(product, summaries),
    ]


def _show_tiles(
    product: CalibratedSession, summaries: Sequence[BandSummary], numbers: Sequence[int], failures: Sequence[Any]
) -> Block:
    scans = defaultdict(list)
    for summary in summaries:
        scans[summary.number].append(summary)
    worst = [max((one.verdict for one in some), key=rank) for some in scans.values()]
    counts = ", ".join(
        f"{worst.count(verdict)} {verdict or 'not known'}" for verdict in VERDICTS if worst.count(verdict)
    )
    failed = f"{len(failures)} failed" if failures else ""
    # The bands of a scan are taken at the same time.
    seconds = [max(known) for some in scans.values() if (known := [one.t_int for one in some if one.t_int is not None])]
    bands: dict[str, list[BandSummary]] = defaultdict(list)
    for summary in summaries:
        bands[summary.band].append(summary)
    of = "median" if len(bands) < 2 else f"medians of {', '.join(name or 'scans without bands' for name in bands)}"
    return tiles(
        {
            "Scans": (str(len(numbers)), "; ".join(filter(None, [failed, counts])) or "none"),
            "PWV": (_median_text([one.pwv for one in summaries], "mm", 3), "median"),
            "T_sys": (_medians_of_bands(bands, lambda one: one.record.figure("t_sys_median_K"), "K", 0), f"DSB, {of}"),
            "T_rec": (
                _medians_of_bands(bands, lambda one: one.record.figure("t_rec_dsb_median_K"), "K", 0),
                f"DSB, {of}",
            ),
            "Scale error": (_medians_of_bands(bands, lambda one: _percent(one, "scale_error_median"), "%", 1), of),
            "On source": (f"{sum(seconds) / 60:.1f} min" if seconds else None, "integration time of all scans"),
        }
    )


def _percent(summary: BandSummary, name: str) -> float | None:
    value = summary.record.figure(name)
    return None if value is None else 100.0 * value


def _median_text(values: Sequence[float | None], unit: str, decimals: int) -> str | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return f"{np.median(known):.{decimals}f} {unit}" if known else None


def _medians_of_bands(
    bands: Mapping[str, Sequence[BandSummary]],
    figure_of: Callable[[BandSummary], float | None],
    unit: str,
    decimals: int,
) -> str | None:
    """Write the median of each band; bands are of different receivers."""
    found = [_median_text([figure_of(one) for one in some], unit, decimals) for some in bands.values()]
    return " / ".join(text or "not known" for text in found) if any(found) else None


def _show_failures(failures: Sequence[Mapping[str, Any]], unreadable: Mapping[Any, str]) -> list[Block]:
    """Show the scans that failed, with their messages, and those that could not be read."""
    rows: list[list[Any]] = [
        [failure.get("scan_number"), failure.get("step"), failure.get("error_class"), failure.get("message")]
        for failure in failures
    ]
    rows += [
        [link(number, f"scan-{number}"), "report", "the scan in the store cannot be read", reason]
        for number, reason in unreadable.items()
    ]
    if not rows:
        return []
    title = f"{format_count(len(rows), 'scan')} without result"
    return [section(title, table(["scan", "step", "error", "message"], rows, first=_FIRST))]


def _show_run_state(product: CalibratedSession) -> list[Block]:
    """Say that the run has not ended, or ended early."""
    state = product.run_state
    if state == FINISHED:
        return []
    if not state:
        return [note("The store has no record of the run that wrote it (run.json).", "info")]
    counts = as_mapping(as_mapping(product.run).get("scans"))
    asked = counts.get("asked")
    return [
        note(
            f"The run is {state}: {counts.get('done')} of {asked} scans were done when this report was made.", "warning"
        )
    ]


def _show_timeline(summaries: Sequence[BandSummary]) -> Block:
    """Show when each scan was taken, in which mode, and its verdict."""
    timed = [summary for summary in summaries if summary.start is not None]
    if not timed:
        return section("Timeline", note("The times of the scans are not known.", "warning"))
    traces = []
    for verdict in VERDICTS:
        some = [summary for summary in timed if summary.verdict == verdict]
        if not some:
            continue
        name = verdict or "not known"
        ends = [time for one in some for time in (str(one.start), str(one.end), None)]
        rows = [row for one in some for row in (_name_row(one), _name_row(one), None)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": ends,
                "y": rows,
                "hoverinfo": "skip",
                "showlegend": False,
                "line": {"width": 9, "color": _COLOURS[verdict]},
                "opacity": 0.35,
                "connectgaps": False,
            }
        )
        traces.append(
            _marks(some, [str(_middle(one)) for one in some], [_name_row(one) for one in some], verdict, name)
        )
    layout = {
        "xaxis": {"type": "date", "title": {"text": "UTC"}},
        "yaxis": {"type": "category"},
        "showlegend": True,
        "legend": {"y": 1.02, "yanchor": "bottom"},
        "margin": {"t": 36},
    }
    rows_count = len({_name_row(summary) for summary in timed})
    caption = (
        "Each mark is a scan, from its first to its last ON; choose one to open its page. Failed scans, and those "
        "whose times are not known, are left out."
    )
    return section(
        "Timeline", figure(traces, layout, caption=caption, height=170 + 34 * rows_count, links="customdata")
    )


def _name_row(summary: BandSummary) -> str:
    """Name the row of a timeline: mode, and band where there are several."""
    return " ".join(filter(None, [summary.text("mode") or "not known", summary.band]))


def _middle(summary: BandSummary) -> np.datetime64:
    assert summary.start is not None
    assert summary.end is not None
    return summary.start + (summary.end - summary.start) / 2


def _marks(some: Sequence[BandSummary], x: Sequence[Any], y: Sequence[Any], verdict: str, name: str) -> Block:
    """Make the marks of scans of one verdict, which open their pages."""
    texts = [f"scan {one.label}, {one.text('source') or 'source not known'}: {name}" for one in some]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "name": name,
        "text": texts,
        "customdata": [one.page for one in some],
        "marker": {
            "color": _COLOURS[verdict],
            "symbol": _SYMBOLS[verdict],
            "size": 10,
            "line": {"width": 1, "color": "@surface"},
        },
        "hovertemplate": Markup("%{text}<br>%{x}, %{y}<extra></extra>"),
    }


def _show_warnings(summaries: Sequence[BandSummary], n_unreadable: int) -> Block:
    """List the checks that were not passed: failed ones first, then by the number of scans."""
    found: dict[tuple[str, str], list[tuple[BandSummary, Any]]] = defaultdict(list)
    for summary in summaries:
        for warned in summary.warnings:
            found[warned.verdict, warned.name].append((summary, warned))
    unknown = sum(1 for summary in summaries if not summary.verdict)
    blocks: list[Block] = []
    if unknown:
        bands = format_count(unknown, "scan or band", "scans or bands")
        blocks.append(note(f"No verdict is recorded for {bands}; that is no pass.", "warning"))
    if n_unreadable:
        scans = format_count(n_unreadable, "scan")
        blocks.append(note(f"The verdict on {scans} cannot be read; that is no pass.", "warning"))
    if not found:
        if not unknown and summaries:
            which = "The other scans" if n_unreadable else "All scans"
            blocks.append(note(f"{which} pass all checks that were made.", "good"))
        return section("Quality warnings", *(blocks or [note("There is no scan to judge.", "info")]))
    ordered = sorted(found.items(), key=lambda item: (-rank(item[0][0]), -len(item[1]), item[0][1]))
    rows = [
        [
            badge(verdict),
            name,
            len(some),
            list_scans(list({summary.number for summary, _ in some})),
            link(f"scan {some[0][0].number}", some[0][0].page),
            next((w.explanation for _, w in some if w.explanation), None),
        ]
        for (verdict, name), some in ordered
    ]
    titles = ["verdict", "check", "number", "scans", "first", "explanation"]
    return section("Quality warnings", *blocks, table(titles, rows, first=_FIRST))


def _list_all(summaries: Sequence[BandSummary], unreadable: Mapping[Any, str]) -> Block:
    """List all scans with links to their pages."""
    rows: list[list[Any]] = []
    for one in summaries:
        sys, rec = one.record.figure("t_sys_median_K"), one.record.figure("t_rec_dsb_median_K")
        scale, start = _percent(one, "scale_error_median"), one.start
        rows.append(
            [
                link(one.label, one.page),
                badge(one.verdict),
                one.text("source"),
                one.text("mode"),
                None if start is None else str(start)[:19].replace("T", " "),
                len(one.pixels) or None,
                with_error(one.pwv, one.pwv_total),
                None if sys is None else round(sys),
                None if rec is None else round(rec),
                None if scale is None else round(scale, 1),
                " ".join(one.record.checks) or "none",
            ]
        )
    rows += [[link(number, f"scan-{number}"), badge("")] + [None] * 8 + ["cannot be read"] for number in unreadable]
    titles = [
        "scan",
        "verdict",
        "source",
        "mode",
        "start (UTC)",
        "pixels",
        "PWV [mm]",
        "T_sys [K]",
        "T_rec [K]",
        "scale [%]",
        "checks not passed",
    ]
    return section("Scans", table(titles, rows, filters=True, first=_FIRST))


def _show_water(summaries: Sequence[BandSummary]) -> Block:
    """Show the water vapour in time with its total error, and the temperatures."""
    timed = [one for one in summaries if one.start is not None]
    with_pwv = [one for one in timed if one.pwv is not None]
    blocks: list[Block] = []
    if with_pwv:
        traces: list[Block] = []
        for verdict in VERDICTS:
            some = [one for one in with_pwv if one.verdict == verdict]
            if some:
                errors = [one.pwv_total for one in some]
                mark = _marks(
                    some,
                    [str(_middle(one)) for one in some],
                    [one.pwv for one in some],
                    verdict,
                    verdict or "not known",
                )
                mark["error_y"] = {
                    "type": "data",
                    "array": errors,
                    "color": _COLOURS[verdict],
                    "thickness": 1.3,
                    "width": 3,
                }
                mark["text"] = [f"scan {one.label}: PWV {with_error(one.pwv, one.pwv_total)} mm" for one in some]
                mark["hovertemplate"] = Markup("%{text}<extra></extra>")
                traces.append(mark)
        layout = {"xaxis": {"type": "date", "title": {"text": "UTC"}}, "yaxis": {"title": {"text": "PWV [mm]"}}}
        caption = "Bars: total error, statistical and of the opacity model; without a bar the error is not known."
        blocks.append(figure(traces, layout, "PWV", caption, 320, links="customdata"))
    else:
        blocks.append(note("No scan has a time and a water vapour.", "warning"))
    lines = []
    for label, name, colour in (("T_sys", "t_sys_median_K", "@1"), ("T_rec", "t_rec_dsb_median_K", "@2")):
        some = [one for one in timed if one.record.figure(name) is not None]
        lines.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": [str(_middle(one)) for one in some],
                "y": [one.record.figure(name) for one in some],
                "marker": {"color": colour, "size": 7},
                "customdata": [one.page for one in some],
                "text": [f"scan {one.label}: {label}" for one in some],
                "hovertemplate": Markup("%{text} %{y:.0f} K<extra></extra>"),
            }
        )
    layout = {
        "xaxis": {"type": "date", "title": {"text": "UTC"}},
        "yaxis": {"title": {"text": "T [K]"}},
        "showlegend": True,
        "legend": {"y": 1.02, "yanchor": "bottom"},
        "margin": {"t": 36},
    }
    if any(trace["x"] for trace in lines):
        caption = "Medians of each scan or band, double sideband."
        blocks.append(figure(lines, layout, "System and receiver temperature", caption, 320, links="customdata"))
    return section("Water vapour and temperatures", columns(*blocks))


def _show_arrays(summaries: Sequence[BandSummary]) -> list[Block]:
    """Show system and receiver temperatures of the pixels, on the footprint of each array."""
    layouts: dict[tuple[Any, ...], list[BandSummary]] = defaultdict(list)
    for one in summaries:
        if one.pixels:
            layouts[one.text("frontend"), one.band, one.pixels].append(one)
    blocks: list[Block] = []
    for (frontend, band, pixels), some in layouts.items():
        name = " ".join(filter(None, [frontend, band])) or "Array"
        caption = f"Medians over {format_count(len(some), 'scan')}, double sideband."
        t_sys, t_rec = (_median_of(np.stack(values)) for values in ([s.t_sys for s in some], [s.t_rec for s in some]))
        figures = [
            _draw_footprint(values, pixels, some, f"{name}: {label}", caption)
            for label, values in (("T_sys", t_sys), ("T_rec", t_rec))
        ]
        blocks.append(columns(*figures))
    return [section("Pixels of the array", *blocks)] if blocks else []


def _median_of(values: Any) -> Any:
    """Compute medians of finite values along the first axis; NaN without any."""
    known = np.isfinite(values)
    return np.array(
        [np.median(column[mask]) if mask.any() else np.nan for column, mask in zip(values.T, known.T, strict=True)]
    )


def _draw_footprint(values: Any, pixels: Sequence[str], some: Sequence[BandSummary], title: str, caption: str) -> Block:
    """Draw values of the pixels at their offsets, or in a line where these are not known."""
    if not np.isfinite(values).any():
        return note(f"{title} of the pixels is not known.", "warning")
    offsets = next((one.offsets for one in some if one.offsets is not None), None)
    placed = offsets is not None and len(offsets[0]) > 1
    texts = [
        f"{name}: {value:.0f} K" if np.isfinite(value) else f"{name}: not known"
        for name, value in zip(pixels, values, strict=True)
    ]
    marker: Block = {
        "size": 30 if len(pixels) <= 20 else 20,
        "color": values,
        "colorscale": "Viridis",
        "showscale": True,
        "colorbar": {"title": {"text": "K", "side": "right"}},
        "line": {"width": 1, "color": "@line"},
    }
    trace = {
        "type": "scatter",
        "mode": "markers",
        "marker": marker,
        "text": texts,
        "hovertemplate": Markup("%{text}<extra></extra>"),
    }
    if placed and offsets is not None:
        lon, lat = (3600.0 * (axis - np.mean(axis)) for axis in offsets)
        trace |= {"x": lon, "y": lat}
        layout: Block = {
            "xaxis": {"title": {"text": "longitude offset [arcsec]"}, "autorange": "reversed", "constrain": "domain"},
            "yaxis": {"title": {"text": "latitude offset [arcsec]"}, "scaleanchor": "x", "constrain": "domain"},
        }
    else:
        trace |= {"x": list(pixels), "y": values}
        marker |= {"size": 12, "showscale": False}
        layout = {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": "T [K]"}}}
        caption += " The offsets of the pixels are not known: they stand in a line."
    return figure([trace], layout, title, caption, 360)


def _show_scale(summaries: Sequence[BandSummary]) -> Block:
    """Show the error of the scale in time, and its parts."""
    some = [one for one in summaries if one.start is not None and _percent(one, "scale_error_median") is not None]
    blocks: list[Block] = []
    traces = [
        _marks(
            found,
            [str(_middle(one)) for one in found],
            [_percent(one, "scale_error_median") for one in found],
            verdict,
            verdict or "not known",
        )
        for verdict in VERDICTS
        if (found := [one for one in some if one.verdict == verdict])
    ]
    if traces:
        layout = {
            "xaxis": {"type": "date", "title": {"text": "UTC"}},
            "yaxis": {"title": {"text": "scale error [%]"}, "rangemode": "tozero"},
        }
        blocks.append(
            figure(
                traces,
                layout,
                caption="Relative 1-sigma error of the scale of T_A*, median of each scan.",
                height=300,
                links="customdata",
            )
        )
    else:
        blocks.append(note("The error of the scale is not known.", "warning"))
    return section("Error of the calibration scale", columns(*blocks, *show_terms(summaries)))


def _show_timing(product: CalibratedSession, summaries: Sequence[BandSummary]) -> Block:
    """Show how long the run took."""
    run = as_mapping(product.run)
    began, ended = _read_time(run.get("started")), _read_time(run.get("ended"))
    made = sorted(time for one in summaries if (time := _read_time(one.record.provenance.get("time"))) is not None)
    seconds = None if began is None or ended is None else (ended - began).total_seconds()
    done = as_mapping(run.get("scans")).get("done")
    rate = f"{seconds / done:.2f} s" if seconds is not None and isinstance(done, int) and done else None
    listed = {
        "run began": run.get("started"),
        "run ended": run.get("ended"),
        "duration": None if seconds is None else f"{seconds:.0f} s",
        "time for each scan done": rate,
        "first result": str(made[0]) if made else None,
        "last result": str(made[-1]) if made else None,
    }
    return section("Timing", facts(listed))


def _read_time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _show_record(product: CalibratedSession, summaries: Sequence[BandSummary]) -> Block:
    """Show the record of the run, versions, and parameters that are no defaults."""
    run, found = as_mapping(product.run), defaultdict(list)
    for one in summaries:
        for name, (value, origin) in list_parameters(one.record).items():
            if origin != DEFAULT:
                found[name, "not set" if value is None else str(value), origin].append(one.number)
    rows = [[*key, list_scans(list(set(numbers)))] for key, numbers in sorted(found.items())]
    counts = as_mapping(run.get("scans"))
    listed = {
        "store": str(product.path),
        "state of the run": product.run_state or None,
        "scans asked for": counts.get("asked"),
        "done": counts.get("done"),
        "failed": counts.get("failed"),
        "host": run.get("host"),
        "digest of the parameters": run.get("parameters_sha256"),
        "engine": _join(one.record.provenance.get("engine_version") for one in summaries),
        "session": _join(one.record.provenance.get("l0_store") for one in summaries),
        "atmosphere table": _join(one.record.provenance.get("atm_file") for one in summaries),
        "telescope profile": _join(one.record.provenance.get("telescope_profile") for one in summaries),
    }
    titles = ["parameter", "value", "where it came from", "scans"]
    known = any(one.record.parameters for one in summaries)
    unchanged = note("All parameters are defaults." if known else "The parameters are not recorded.", "info")
    changed = table(titles, rows, first=_FIRST) if rows else unchanged
    return section(
        "Run and parameters", facts(listed), details("Parameters that are no defaults", changed, is_open=True)
    )


def _join(values: Any) -> str | None:
    """Join the different known values."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None)) or None
