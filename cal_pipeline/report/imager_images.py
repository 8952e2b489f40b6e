"""Figures of images: values with a stretch by quantiles, flags by bit, medians of rows and columns."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.core.text import format_count
from cal_pipeline.imager.dq import DQ, EVENTS
from cal_pipeline.imager.ramp_source import read_whole
from cal_pipeline.report.page.arrays import Envelope, Raster
from cal_pipeline.report.page.blocks import Axis, Block, Curve, Panel, curves, figure, image, note, table

Floats = NDArray[np.float64]

MOST_PIXELS = 2**20
"""Pixels of an image that are kept at most; larger images are reduced to them at once."""

QUANTILES = (0.005, 0.998)
"""Quantiles of the values at the ends of a colour scale."""

COLOURS = ("#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725")
"""Colours of a scale, from dark to bright, of equal steps to the eye (viridis)."""

CLASSES = ("no flag", "reference pixel", "another flag", "jump", "saturated", "not used")
"""Classes of pixels in the map of flags, in the order of their weight."""

_CLASS_COLOURS = ("#e9edf2", "#b9c3cf", "#7fb2e5", "#f2a93b", "#e5533a", "#5b1a4b")

READ_ERRORS = (CalibrationError, OSError, ValueError, TypeError, RuntimeError)
"""Errors of an array that is missing or damaged."""


class ImageArrays:
    """Arrays of an image in a store: those that are missing or damaged are noted.

    Parameters
    ----------
    root : StorePath
        The store.
    record : ObservationRecord
        Record of the image.

    Attributes
    ----------
    problems : dict
        Arrays that could not be read, with the reason.
    units : str
        Unit of the values, as the store has it.
    """

    def __init__(self, root: StorePath, record: ObservationRecord) -> None:
        self._root, self.record = root, record
        self.problems: dict[str, str] = {}
        reader = self.open("data")
        self.units = "" if reader is None else str(reader.attributes.get("units") or "")

    def has(self, name: str) -> bool:
        """Tell whether the store has an array."""
        return self._root.exists(f"{self.record.path}/{name}/zarr.json")

    def open(self, name: str) -> ArrayReader | None:
        """Open an array; None, with a note of the problem, if that is not possible."""
        try:
            return open_reader(self._root, f"{self.record.path}/{name}")
        except READ_ERRORS as error:
            self.problems[name] = str(error)
            return None

    def read(self, name: str) -> NDArray[Any] | None:
        """Read an image; None, with a note of the problem, if that is not possible."""
        reader = self.open(name)
        if reader is None:
            return None
        try:
            if reader.ndim != 2 or 0 in reader.shape:
                raise ValueError(f"shape {reader.shape}, expected rows and columns")
            values = read_whole(reader)
            if values.dtype.kind not in ("u" if name == "dq" else "fiu"):
                raise ValueError(f"type {values.dtype}, expected {'flags (uint32)' if name == 'dq' else 'numbers'}")
        except READ_ERRORS as error:
            self.problems[name] = str(error)
            return None
        return values


def stretch_scale(limits: tuple[float, float], level: float, width: float, steps: int = 33) -> list[list[Any]]:
    """Make a colour scale that is linear within the noise and logarithmic above it.

    Parameters
    ----------
    limits : tuple of float
        Values at the ends of the scale.
    level, width : float
        Median of the values and their scatter: the scale follows arcsinh((value - level) / width).
    steps : int
        Number of colours.

    Returns
    -------
    list of [float, str]
        Positions between 0 and 1, ascending, with colours.

    Examples
    --------
    >>> scale = stretch_scale((0.0, 100.0), 0.0, 1.0)
    >>> scale[0], scale[-1], round(scale[16][0], 2)
    ([0.0, '#440154'], [1.0, '#fde725'], 0.07)
    """
    low, high = limits
    if not (width > 0.0 and high > low):
        return [[k / (len(COLOURS) - 1), colour] for k, colour in enumerate(COLOURS)]
    first, last = (math.asinh((value - level) / width) for value in limits)
    scale = []
    for k in range(steps):
        share = k / (steps - 1)
        value = level + width * math.sinh(first + share * (last - first))
        scale.append([min(max((value - low) / (high - low), 0.0), 1.0), _mix(share)])
    scale[0][0], scale[-1][0] = 0.0, 1.0
    return scale


def _mix(share: float) -> str:
    """Mix the colour at a share of the way from dark to bright."""
    place = share * (len(COLOURS) - 1)
    left = min(int(place), len(COLOURS) - 2)
    pairs = zip(*(bytes.fromhex(COLOURS[k][1:]) for k in (left, left + 1)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - left)):02x}" for a, b in pairs)


def shrink(raster: Raster) -> Raster:
    """Reduce an image until it has at most :data:`MOST_PIXELS`.

    Examples
    --------
    >>> shrink(Raster(np.zeros((2048, 1024), np.float32))).values.shape
    (1024, 1024)
    """
    while raster.values.size > MOST_PIXELS:
        raster = raster.halved()
    return raster


def draw_image(
    values: NDArray[Any] | None,
    label: str,
    title: str,
    what: str,
    reduction: Literal["mean", "max"] = "mean",
    weight: float = 1.0,
    stretched: bool = True,
) -> Block:
    """Draw an image; say so where there is none.

    Parameters
    ----------
    values : ndarray, shape (y, x), or None
        The image; None where it could not be read.
    label : str
        Quantity and unit.
    title : str
        Title.
    what : str
        Sentence that says what is seen.
    reduction : {"mean", "max"}
        Value that stands for a block of pixels, where the image is larger than its share of the report.
    weight : float
        Share of the budget, relative to others.
    stretched : bool
        Whether the scale is logarithmic above the noise.
    """
    if values is None:
        return note(f"{title}: the array cannot be read.", "warning")
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return note(f"{title}: no pixel has a value.", "warning")
    low, high = (float(value) for value in np.quantile(finite, QUANTILES))
    level = float(np.median(finite))
    width = 1.4826 * float(np.median(np.abs(finite - level)))
    scale = stretch_scale((low, high), level, 2.0 * width) if stretched else stretch_scale((low, high), 0.0, 0.0)
    colours = "linear within the noise, logarithmic above it" if stretched else "linear"
    ends = f"from the {100 * QUANTILES[0]:g} % to the {100 * QUANTILES[1]:g} % quantile"
    noun = {"mean": "means", "max": "largest values"}[reduction]
    caption = (
        f"{what} Colours: {colours}, {ends}. A point shows a pixel, or in large images the {noun} of a block of pixels."
    )
    n_rows, n_columns = values.shape
    axes = Axis("x [pixel, from 0]", 0, n_columns - 1), Axis("y [pixel, from 0]", 0, n_rows - 1)
    raster = shrink(Raster(values, reduction, weight))
    return image(raster, *axes, label, title, caption, 460, scale, (low, high), is_square=True)


def classify(dq: NDArray[Any]) -> NDArray[np.int32]:
    """Sort pixels by the weightiest of their flags.

    Parameters
    ----------
    dq : ndarray of uint32
        Flags.

    Returns
    -------
    ndarray of int32
        Index in :data:`CLASSES`.

    Examples
    --------
    >>> [CLASSES[k] for k in classify(np.array([0, 4, 4 | 1, 1 << 31 | 1, 1 << 11], np.uint32))]
    ['no flag', 'jump', 'not used', 'reference pixel', 'another flag']
    """

    def has(flag: DQ) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (dq & np.uint32(flag)) != 0
        return found

    # Pixels without light are not used either, which would hide what happened to the others.
    choices = [has(DQ.REFERENCE_PIXEL), has(DQ.DO_NOT_USE), has(DQ.SATURATED), has(DQ.JUMP_DET), dq != 0]
    return np.select(choices, [1, 5, 4, 3, 2], 0).astype(np.int32)


def draw_flags(dq: NDArray[Any] | None) -> list[Block]:
    """Draw the map of the flags, and list their bits.

    Parameters
    ----------
    dq : ndarray of uint32, shape (y, x), or None
        Flags; None where they could not be read.
    """
    if dq is None:
        return [note("The flags cannot be read.", "warning")]
    if not dq.any():
        return [note("No pixel is flagged.", "good"), list_bits(dq)]
    count = len(CLASSES)
    scale: list[list[Any]] = []
    for k, colour in enumerate(_CLASS_COLOURS):
        scale += [[k / count, colour], [(k + 1) / count, colour]]
    n_rows, n_columns = dq.shape
    axes = Axis("x [pixel, from 0]", 0, n_columns - 1), Axis("y [pixel, from 0]", 0, n_rows - 1)
    caption = (
        "The weightiest flag of each pixel. A point shows a pixel, or in large images the weightiest flag of a block "
        "of pixels: a single one stays visible."
    )
    raster = shrink(Raster(classify(dq), "max"))
    drawn = image(raster, *axes, "", "Flags", caption, 460, scale, (-0.5, count - 0.5), is_square=True)
    bar = {"tickvals": list(range(count)), "ticktext": list(CLASSES)}
    drawn["traces"][0]["colorbar"] = bar
    return [drawn, list_bits(dq)]


def list_bits(dq: NDArray[Any]) -> Block:
    """List the flags that pixels have, with their number and share."""
    rows = []
    for flag in DQ:
        number = int(np.count_nonzero(dq & np.uint32(flag)))
        if number:
            kind = "event" if np.uint32(flag) & EVENTS else "lasting"
            bit = int(flag).bit_length() - 1
            rows.append([bit, str(flag.name), kind, number, float(f"{100.0 * number / dq.size:.3g}")])
    caption = "Flags by bit; events belong to this exposure, lasting ones to the detector or its reference files."
    return table(["bit", "flag", "kind", "pixels", "share [%]"], rows, caption)


def draw_profiles(values: NDArray[Any] | None, dq: NDArray[Any] | None, label: str) -> Block:
    """Draw medians of columns and rows over the pixels that may be used.

    Parameters
    ----------
    values : ndarray, shape (y, x), or None
        The image.
    dq : ndarray of uint32, shape (y, x), or None
        Flags; all pixels count where they are not known.
    label : str
        Quantity and unit.
    """
    if values is None:
        return note("Medians of columns and rows are not known.", "warning")
    known = np.isfinite(values)
    if dq is not None and dq.shape == values.shape:
        known &= (dq & np.uint32(DQ.DO_NOT_USE)) == 0
    kept = np.where(known, values, np.float32(np.nan))
    panels = []
    for axis, name in ((0, "column"), (1, "row")):
        medians = _medians(kept, axis)
        caption = f"Medians of each {name}: steps at the edges of amplifiers, and stripes, stand out."
        curve = Curve(f"median of the {name}", Envelope.of(medians))
        end = Axis(f"{name} [pixel, from 0]", 0, len(medians) - 1)
        panels.append(curves([Panel(label, [curve])], [end], f"Median by {name}", caption, 260))
    return {"block": "columns", "blocks": panels}


def _medians(values: NDArray[Any], axis: int) -> Floats:
    """Compute medians of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=axis)
    number = np.isfinite(ordered).sum(axis=axis)
    middle = [np.maximum(index, 0) for index in ((number - 1) // 2, number // 2)]
    low, high = (np.take_along_axis(ordered, np.expand_dims(k, axis), axis).squeeze(axis) for k in middle)
    return np.where(number > 0, 0.5 * (low.astype(np.float64) + high), np.nan)


def draw_histogram(values: NDArray[Any] | None, dq: NDArray[Any] | None, label: str) -> Block:
    """Draw the histogram of the values of pixels that may be used, around their median."""
    if values is None:
        return note("The histogram is not known.", "warning")
    known = np.isfinite(values)
    if dq is not None and dq.shape == values.shape:
        known &= (dq & np.uint32(DQ.DO_NOT_USE)) == 0
    finite = values[known].astype(np.float64)
    if not finite.size:
        return note("No pixel may be used.", "warning")
    level = float(np.median(finite))
    # The core, whose shape tells of the noise; stars would stretch the axis.
    reach = 8.0 * 1.4826 * float(np.median(np.abs(finite - level))) or max(float(np.ptp(finite)), 1.0)
    counts, edges = np.histogram(finite, bins=120, range=(level - reach, level + reach))
    trace = {
        "type": "bar", "x": (0.5 * (edges[1:] + edges[:-1])).tolist(), "width": float(edges[1] - edges[0]),
        "y": [int(count) or None for count in counts], "showlegend": False, "marker": {"color": "@1"},
    }  # fmt: skip
    layout = {"xaxis": {"title": {"text": label}}, "yaxis": {"title": {"text": "pixels"}, "type": "log"}, "bargap": 0}
    beyond = format_count(int(finite.size - counts.sum()), "pixel")
    caption = f"Pixels that may be used, up to 8 times their scatter (1.4826 MAD) from the median; {beyond} lie beyond."
    return figure([trace], layout, "Histogram", caption, 260)
