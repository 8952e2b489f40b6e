"""Pages of cameras, muon rings and pairs of telescopes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.hdf5 import SECONDS_PER_DAY
from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.text import make_printable
from cal_pipeline.report.cherenkov_air import attempt
from cal_pipeline.report.cherenkov_files import Night, NightFile, take_column
from cal_pipeline.report.page.arrays import Envelope
from cal_pipeline.report.page.blocks import (
    Axis,
    Block,
    Curve,
    Panel,
    columns,
    curves,
    facts,
    figure,
    note,
    section,
    table,
    tiles,
)

Floats = NDArray[np.float64]

MJD_EPOCH = np.datetime64("1858-11-17T00:00:00", "ms")

CHANNELS = ("high gain", "low gain")
"""Channels of a camera by their number."""

_QUANTITIES = (
    ("pedestal_offset", "counts", "Pedestal [counts per sample]"),
    ("counts", "counts", "Gain: counts per photoelectron (1 / factor)"),
    ("time_shift", "samples", "Time of the pulse, relative to the median pixel [samples]"),
)
"""Coefficients that are drawn: key, unit, title."""


def describe_camera(file: NightFile, tel_id: int) -> list[Block]:
    """Make the blocks on the camera of a telescope.

    Parameters
    ----------
    file : NightFile
        File with its coefficients.
    tel_id : int
        Number of the telescope.

    Raises
    ------
    CalibrationError
        If the table cannot be read, or its columns do not fit together.
    """
    rows = file.read(file.nodes["cameras"][tel_id])
    cubes = {name: _cube(rows, name) for name in ("factor", "pedestal_offset", "time_shift")}
    outliers, borrowed = (_cube(rows, name) > 0 for name in ("outlier_mask", "extrapolated_channel_mask"))
    factor = cubes["factor"]
    if any(cube.shape != factor.shape for cube in (*cubes.values(), outliers)):
        raise StoreError("the coefficients have different shapes; expected [interval, channel, pixel] of each")
    with np.errstate(divide="ignore", invalid="ignore"):
        cubes["counts"] = np.where(factor > 0, 1.0 / factor, np.nan)
    shown = {name: np.where(outliers, np.nan, cube) for name, cube in cubes.items()}
    valid = np.asarray(rows["is_valid"]).astype(bool)
    start, end = (take_column(rows, name) for name in ("time", "time_end"))
    n_intervals, n_channels, n_pixels = factor.shape
    blocks = [
        tiles(
            {
                "Intervals": (str(n_intervals), f"{int(valid.sum())} valid"),
                "Pixels": (str(n_pixels), f"{n_channels} channel{'s' * (n_channels != 1)}"),
                "Outliers": (_percent(outliers), "pixels without valid coefficients, of all intervals and channels"),
                "Borrowed": (_percent(borrowed), "coefficients of the other channel"),
            }
        )
    ]
    if not valid.all():
        few = int(np.count_nonzero(~valid))
        blocks.append(note(f"{few} of {n_intervals} intervals are not valid: too many pixels are outliers.", "warning"))
    by_pixel = [
        _draw_by_pixel(shown[name], label, title) for name, label, title in _QUANTITIES
    ]  # fmt: skip
    histograms = [_draw_spread(shown[name], label, title) for name, label, title in _QUANTITIES[:2]]
    return [
        *blocks,
        section("Pedestals and gains", columns(*histograms), *by_pixel, intro="Outliers are left out."),
        section("In time", _draw_in_time(shown, start, end), _list_intervals(rows, outliers, valid, start, end)),
    ]


def _cube(rows: Table, name: str) -> Floats:
    """Read a column [interval, channel, pixel]."""
    values = take_column(rows, name)
    if values.ndim != 3:
        raise StoreError(f"column {name} has the shape {values.shape}; expected [interval, channel, pixel]")
    return values


def _percent(mask: NDArray[np.bool_]) -> str | None:
    return f"{100 * mask.mean():.2f} %" if mask.size else None


def name_channel(number: int, count: int) -> str:
    """Name a channel of a camera.

    Examples
    --------
    >>> name_channel(0, 2), name_channel(0, 1)
    ('high gain', 'channel 0')
    """
    return CHANNELS[number] if count == len(CHANNELS) else f"channel {number}"


def median_over(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Compute medians of what is known; NaN where nothing is.

    Examples
    --------
    >>> median_over(np.array([[1.0, np.nan], [3.0, np.nan]]), 0)
    array([ 2., nan])
    """
    masked = np.ma.median(np.ma.masked_invalid(values), axis=axis)  # type: ignore[no-untyped-call]
    return np.ma.filled(np.ma.atleast_1d(masked).astype(float), np.nan)


def _draw_by_pixel(cube: Floats, label: str, title: str) -> Block:
    """Draw the medians over the intervals against the number of the pixel, a panel a channel."""
    medians = median_over(cube, 0)
    count = len(medians)
    panels = [
        Panel(f"{name_channel(k, count)} [{label}]", [Curve("median", Envelope.of(medians[k]))]) for k in range(count)
    ]
    axis = Axis("pixel", 0, max(cube.shape[2] - 1, 1))
    caption = "Medians over the intervals; where pixels are many, the range of each group of neighbours."
    return curves(panels, [axis], title, caption, 130 + 140 * count)


def _draw_spread(cube: Floats, label: str, title: str) -> Block:
    """Draw histograms over the pixels, of the medians over the intervals."""
    medians = median_over(cube, 0)
    traces = []
    for k, values in enumerate(medians):
        finite = values[np.isfinite(values)]
        if finite.size:
            counts, edges = np.histogram(finite, bins=min(60, max(10, finite.size // 8)))
            middle = 0.5 * (edges[1:] + edges[:-1])
            look = {"color": f"@{k + 1}", "shape": "hvh", "width": 1.6}
            traces.append({"type": "scatter", "mode": "lines", "name": name_channel(k, len(medians)), "x": middle,
                           "y": counts, "line": look})  # fmt: skip
    if not traces:
        return note(f"{title}: no pixel has a value.", "warning")
    # Gains of the channels differ by more than a factor of ten.
    x = {"title": {"text": label}} | ({"type": "log", "dtick": 1} if title.startswith("Gain") else {})
    layout = {"xaxis": x, "yaxis": {"title": {"text": "pixels"}}, "showlegend": len(traces) > 1}
    return figure(traces, layout, title, "Of all pixels, medians over the intervals.", 280)


def _draw_in_time(shown: dict[str, Floats], start: Floats, end: Floats) -> Block:
    """Draw medians over the pixels in time, relative to their mean."""
    times = convert_times(0.5 * (start + end))
    traces = []
    for name, title in (("pedestal_offset", "pedestal"), ("counts", "gain")):
        medians = median_over(shown[name], 2)
        for k in range(medians.shape[1]):
            values = medians[:, k]
            mean = np.nanmean(values) if np.isfinite(values).any() else np.nan
            percent = 100 * (values / mean - 1) if mean else np.full_like(values, np.nan)
            dash, colour = ("solid", "dash")[k % 2], "@1" if name == "pedestal_offset" else "@2"
            traces.append({"type": "scatter", "mode": "lines+markers", "x": times, "y": percent,
                           "name": f"{title}, {name_channel(k, medians.shape[1])}",
                           "line": {"color": colour, "dash": dash}})  # fmt: skip
    layout = {
        "xaxis": {"type": "date", "title": {"text": "TAI"}}, "yaxis": {"title": {"text": "change [%]"}},
        "showlegend": True, "legend": {"y": 1.02, "yanchor": "bottom"}, "margin": {"t": 60},
    }  # fmt: skip
    return figure(traces, layout, "Changes", "Medians over the pixels, relative to the mean of the intervals.", 320)


def _list_intervals(
    rows: Table, outliers: NDArray[np.bool_], valid: NDArray[np.bool_], start: Floats, end: Floats
) -> Block:
    count = outliers.shape[1]
    titles = ["start (TAI)", "length [s]", "valid", *(f"outliers, {name_channel(k, count)}" for k in range(count))]
    times = convert_times(start)
    listed = [
        [
            times[k], round(SECONDS_PER_DAY * float(end[k] - start[k]), 1), "yes" if valid[k] else "no",
            *(int(number) for number in outliers[k].sum(axis=-1)),
        ]
        for k in range(len(rows))
    ]  # fmt: skip
    return table(titles, listed, "Intervals", first=25)


def convert_times(mjd: Floats) -> list[str | None]:
    """Write times in MJD as text; None for those that are not known.

    Examples
    --------
    >>> convert_times(np.array([60000.5, np.nan]))
    ['2023-02-25 12:00:00.000', None]
    """
    written: list[str | None] = []
    for value in mjd:
        known = np.isfinite(value) and abs(value) < 1e6
        moment = MJD_EPOCH + np.timedelta64(round(value * 86_400e3), "ms") if known else None
        written.append(None if moment is None else str(moment).replace("T", " "))
    return written


def describe_muons(night: Night) -> list[Block]:
    """Make the blocks on the throughputs that muon rings give.

    Parameters
    ----------
    night : Night
        Its files.
    """
    return [attempt(f"Throughput, {file.path.name}", partial(_show_muons, file)) for file in night.find_all("muons")]


def _show_muons(file: NightFile) -> Block:
    """Show the throughputs of all telescopes of a file in time."""
    traces, listed = [], []
    for number, (tel_id, node) in enumerate(file.nodes["muons"].items()):
        rows = file.read(node)
        mean, sem, count = (take_column(rows, name) for name in ("mean", "sem", "n_events"))
        middle = 0.5 * (take_column(rows, "time_start") + take_column(rows, "time_end"))
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": f"telescope {tel_id}", "x": convert_times(middle),
                "y": mean, "error_y": {"type": "data", "array": np.nan_to_num(sem)},
                "line": {"color": f"@{number % 8 + 1}", "width": 1.4},
            }
        )  # fmt: skip
        known = np.isfinite(mean) & np.isfinite(sem) & (sem > 0)
        weight = 1.0 / np.square(sem[known])
        average = float(np.sum(weight * mean[known]) / np.sum(weight)) if known.any() else None
        error = float(1.0 / np.sqrt(np.sum(weight))) if known.any() else None
        free = int(known.sum()) - 1
        chi2 = None if average is None or free < 1 else float(np.sum(weight * np.square(mean[known] - average)) / free)
        listed.append(
            [tel_id, len(rows), int(np.nansum(count)), average and round(average, 5), error and round(error, 5),
             None if chi2 is None else round(chi2, 2)]
        )  # fmt: skip
    titles = ["telescope", "chunks", "rings", "throughput", "error", "chi² of constancy"]
    caption = "Mean of each chunk of rings, with the error of the mean."
    layout = {"xaxis": {"type": "date", "title": {"text": "TAI"}}, "yaxis": {"title": {"text": "throughput"}},
              "showlegend": True}  # fmt: skip
    remark = (
        "Means over the chunks, weighted by their errors; chi² per degree of freedom is 1 for a constant throughput."
    )
    drawn = figure(traces, layout, "Throughput in time", caption, 340)
    return section(f"Throughput, {file.path.name}", drawn, table(titles, listed, remark))


def describe_pairs(night: Night) -> list[Block]:
    """Make the blocks on pairs of telescopes: asymmetries, throughputs, factors between types.

    Parameters
    ----------
    night : Night
        Its files.
    """
    planned = [("Throughputs", file, partial(_show_throughputs, file)) for file in night.find_all("throughputs")]
    planned += [("Factors between types", file, partial(_show_factors, file)) for file in night.find_all("factors")]
    planned += [
        ("Asymmetries of pairs", file, partial(_show_asymmetries, file, node))
        for file in night.find_all("asymmetries")
        for node in file.nodes["asymmetries"]
    ]
    return [attempt(f"{title}, {file.path.name}", show) for title, file, show in planned]


def _texts(rows: Table, name: str) -> list[str]:
    if name not in rows.colnames:
        raise StoreError(f"column {name} is missing; the table has {', '.join(rows.colnames)}")
    return [make_printable(value) for value in rows[name]]


def _draw_values(names: Sequence[str], kinds: Sequence[str], values: Floats, errors: Floats, label: str) -> Block:
    """Draw values with errors by name, in the colour of their type."""
    traces = []
    for number, kind in enumerate(dict.fromkeys(kinds)):
        chosen = [k for k, other in enumerate(kinds) if other == kind]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": kind, "x": [names[k] for k in chosen],
                "y": [float(values[k]) for k in chosen], "marker": {"color": f"@{number % 8 + 1}", "size": 8},
                "error_y": {"type": "data", "array": [float(np.nan_to_num(errors[k])) for k in chosen]},
            }
        )  # fmt: skip
    layout = {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": label}}, "showlegend": True}
    return figure(traces, layout, "", "", 320)


def _show_throughputs(file: NightFile) -> Block:
    """Show the throughputs within each type, and those that factors between types have scaled."""
    rows = file.read(str(file.nodes["throughputs"]))
    kinds, value, error = _texts(rows, "tel_type"), take_column(rows, "value"), take_column(rows, "error")
    names = [f"{kind} {int(number)}" for kind, number in zip(kinds, take_column(rows, "tel_id"), strict=True)]
    pairs = take_column(rows, "n_pairs")
    shown = [_draw_values(names, kinds, value, error, "relative throughput")]
    titles = ["telescope", "type", "pairs", "throughput", "error"]
    listed = [
        [names[k], kinds[k], _number(pairs[k], 0), _number(value[k]), _number(error[k])] for k in range(len(names))
    ]
    if file.nodes.get("scaled"):
        scaled = file.read(str(file.nodes["scaled"]))
        columns_of = [take_column(scaled, name) for name in ("tel_id", "value", "error")]
        by_number = {number: (factor, err) for number, factor, err in zip(*columns_of, strict=True)}
        titles += ["scaled to the reference type", "error of it"]
        for row, number in zip(listed, take_column(rows, "tel_id"), strict=True):
            found = by_number.get(number, (np.nan, np.nan))
            row += [_number(found[0]), _number(found[1])]
    return section(f"Throughputs, {file.path.name}", *shown, table(titles, listed))


def _number(value: Any, digits: int = 5) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _show_factors(file: NightFile) -> Block:
    rows = file.read(str(file.nodes["factors"]))
    kinds, references = _texts(rows, "tel_type"), _texts(rows, "tel_ref")
    names = ("scaling_factor", "scaling_factor_uncertainty", "n_events", "n_ratios")
    values = [take_column(rows, name) for name in names]
    listed = [
        [kinds[k], references[k], _number(values[0][k]), _number(values[1][k]), *(_number(v[k], 0) for v in values[2:])]
        for k in range(len(rows))
    ]
    titles = ["type", "reference type", "factor", "error", "events", "ratios"]
    if not listed:
        return section(f"Factors between types, {file.path.name}", note("No type has a factor.", "warning"))
    return section(f"Factors between types, {file.path.name}", table(titles, listed))


def _show_asymmetries(file: NightFile, node: str) -> Block:
    """Show the mean asymmetry of each pair of telescopes."""
    rows, column = file.read(node), node.split("/")[1]
    kinds, values = _texts(rows, "tel_type"), take_column(rows, column)
    first, second = (take_column(rows, f"tel_id_{k}") for k in (1, 2))
    by_pair: dict[tuple[str, int, int], list[float]] = {}
    for kind, one, other, value in zip(kinds, first, second, values, strict=True):
        by_pair.setdefault((kind, int(one), int(other)), []).append(float(value))
    pairs = sorted(by_pair)
    means = np.array([np.mean(by_pair[pair]) for pair in pairs])
    counts = [len(by_pair[pair]) for pair in pairs]
    errors = np.array(
        [np.std(by_pair[p], ddof=1) / np.sqrt(n) if n > 1 else np.nan for p, n in zip(pairs, counts, strict=True)]
    )
    names = [f"{kind} {one}-{other}" for kind, one, other in pairs]
    drawn = _draw_values(names, [pair[0] for pair in pairs], means, errors, "mean asymmetry")
    listed = [[names[k], counts[k], _number(means[k]), _number(errors[k])] for k in range(len(pairs))]
    listing = table(["pair", "events", "mean asymmetry", "error of the mean"], listed, first=25)
    title = f"Asymmetries of pairs, {file.path.name}"
    what = "energies" if column == "energy_asymmetry" else "images"
    intro = f"{what.capitalize()} of two telescopes of a type in common events: their difference over their sum."
    return section(
        title, drawn if pairs else note("There is no pair.", "warning"), listing, facts({"table": node}), intro=intro
    )
