"""Map of a scan: strength of the line along the tracks of the pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.text import format_count
from cal_pipeline.report.page.arrays import Column, Points
from cal_pipeline.report.page.blocks import Block, figure, section
from cal_pipeline.report.page.payload import Markup
from cal_pipeline.report.receiver_band import BandArrays
from cal_pipeline.report.receiver_samples import ScanSamples, find_line, measure_strength
from cal_pipeline.report.receiver_summary import BandSummary

Floats = NDArray[np.float64]

_UNITS = ((0.1, 3600.0, "arcsec"), (3.0, 60.0, "arcmin"), (np.inf, 1.0, "deg"))
"""Extent of a map up to which a unit is used [deg], its number in a degree, its name."""


def show_map(arrays: BandArrays, samples: ScanSamples, summary: BandSummary) -> Iterator[Block]:
    """Show the strength of the line along the tracks of the pixels, where positions are known."""
    track = _read_track(arrays, samples)
    if track is None:
        return
    line, is_line = find_line(samples)
    strength = measure_strength(samples, line)
    extent = max(float(np.ptp(axis[np.isfinite(axis)])) if np.isfinite(axis).any() else 0.0 for axis in track)
    _, factor, unit = next(found for found in _UNITS if extent < found[0])
    points = Points(np.stack([axis * factor for axis in track] + [strength]).reshape(3, -1, strength.shape[-1]))
    finite = strength[np.isfinite(strength)]
    low, high = np.percentile(finite, [1, 99]).tolist() if finite.size else (0.0, 1.0)
    frame = summary.text("coord_frame")
    where = "offset" if frame is None else f"offset ({frame})"
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if len(arrays.pixels) == 1 else "markers",
        "x": Column(points, 0),
        "y": Column(points, 1),
        "line": {"color": "@line", "width": 1},
        "marker": {
            "color": Column(points, 2),
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": high,
            "size": 7,
            "colorbar": {"title": {"text": "T_A* [K]", "side": "right"}},
            "showscale": True,
        },
        "hovertemplate": Markup("%{x:.1f}, %{y:.1f}<br>%{marker.color:.3g} K<extra></extra>"),
    }
    layout = {
        "xaxis": {"title": {"text": f"longitude {where} [{unit}]"}, "autorange": "reversed", "constrain": "domain"},
        "yaxis": {"title": {"text": f"latitude {where} [{unit}]"}, "scaleanchor": "x", "constrain": "domain"},
    }
    # A large session has fewer points, to keep to the size of its file.
    caption = f"All pixels; {format_count(samples.per_group, 'dump')} a point, or more. " + _say_window(
        arrays, samples, line, is_line
    )
    yield section("Map", figure([trace], layout, caption=caption, height=520))


def _say_window(arrays: BandArrays, samples: ScanSamples, line: slice, is_line: bool) -> str:
    """Say which channels the strength is the mean of."""
    if not is_line or arrays.frequency is None:
        return "Colour: mean T_A* of all channels, as no line is seen in the average."
    channels = [line.start * samples.per_bin, min(line.stop * samples.per_bin, len(arrays.frequency)) - 1]
    low, high = sorted((arrays.frequency[channels] * 1e-9).tolist())
    window = f"{low:.4f} to {high:.4f} GHz"
    return f"Colour: mean T_A* from {window}, the strongest line, less the median of the other channels."


def _read_track(arrays: BandArrays, samples: ScanSamples) -> tuple[Floats, Floats] | None:
    """Read the positions of all pixels (P, S, groups), means over the dumps of a group [deg]."""
    _, n_pixels, n_ons, n_groups = samples.strength.shape
    found = []
    for track, offset in (("otf_lon", "pixel_offset_lon"), ("otf_lat", "pixel_offset_lat")):
        if not (arrays.has(track) or arrays.has(offset)):
            return None
        total = np.zeros((n_pixels, n_ons, n_groups))
        if arrays.has(track):
            values = arrays.read(track)
            if values is None or values.ndim != 2 or values.shape[1] != n_ons:
                return None
            starts = np.arange(0, len(values), samples.per_group)
            total += (np.add.reduceat(values, starts, axis=0) / np.diff(np.append(starts, len(values)))[:, None]).T[
                None
            ]
        if arrays.has(offset):
            of_pixel = arrays.read(offset)
            if of_pixel is None or of_pixel.size != n_pixels * n_ons:
                return None
            total += of_pixel.reshape(n_pixels, n_ons)[..., None]
        found.append(total)
    return found[0], found[1]
