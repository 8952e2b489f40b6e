"""Pictures of the imager: a mosaic on the sky, and measured against true fluxes of stars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from cal_pipeline.core.text import format_count, make_printable
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.mosaics import MosaicModel

Floats = NDArray[np.float64]

_UNITS = {"electron / s": "e/s", "uJy": "µJy"}
"""Units as they stand at a colour bar."""

_TICK_DISTANCE = 0.06
"""Smallest distance of the ticks of a colour bar, as a fraction of its length."""


def plot_mosaic(mosaic: MosaicModel, path: str | Path, frame: ImageModel | None = None) -> None:
    """Draw a mosaic on the sky, and beside it one of its exposures.

    Parameters
    ----------
    mosaic : MosaicModel
        The mosaic.
    path : str or Path
        Picture to write.
    frame : ImageModel, optional
        An exposure, drawn on the left.
    """
    figure = Figure(figsize=(12 if frame is not None else 6.6, 5.6), layout="constrained")
    columns = 1 if frame is None else 2
    if frame is not None:
        title = f"exposure {frame.number}, {_plain(frame.meta.get('exp_type'))}: rate"
        _draw(figure, figure.add_subplot(1, columns, 1, projection=WCS(frame.meta["wcs"])), frame, title)
    target, name = (_plain(mosaic.meta.get(key)) for key in ("target", "filter"))
    of = format_count(len(mosaic.meta["members"]), "exposure")
    title = f"{target}, {name}: mosaic of {of}"
    _draw(figure, figure.add_subplot(1, columns, columns, projection=WCS(mosaic.meta["wcs"])), mosaic, title)
    figure.savefig(path, dpi=110)


def _draw(figure: Figure, axes: Any, image: ImageModel, title: str) -> None:
    """Draw an image with a scale that shows its noise and its stars."""
    values = image.data[np.isfinite(image.data)].astype(np.float64)
    level = np.median(values)
    width = 3.0 * 1.4826 * np.median(np.abs(values - level))
    top = max(float(np.quantile(values, 0.9995)), level + 2.0 * width)
    # Linear within the noise, logarithmic above it.
    functions = (lambda x: np.arcsinh((x - level) / width), lambda x: level + width * np.sinh(x))
    scale = FuncNorm(functions, vmin=level - width, vmax=top)
    axes.set_facecolor("0.75")
    picture = axes.imshow(image.data, origin="lower", norm=scale, cmap="inferno", interpolation="nearest")
    axes.set_title(title)
    for coordinate, name in zip(axes.coords, ("right ascension", "declination"), strict=True):
        coordinate.set_axislabel(name)
        coordinate.set_ticks(number=5)
        coordinate.set_separator(":")
        coordinate.set_ticklabel(exclude_overlapping=True)
    axes.grid(color="white", alpha=0.25, lw=0.6)
    unit = _UNITS.get(image.units, image.units)
    ticks = _choose_ticks(scale)
    bar = figure.colorbar(
        picture, ax=axes, label=f"flux per pixel [{unit}]", ticks=ticks, format="{x:g}", pad=0.03, shrink=0.85
    )
    bar.ax.minorticks_off()


def _choose_ticks(scale: FuncNorm) -> list[float]:
    """Choose round values that lie apart on a scale, from the top down."""
    assert scale.vmin is not None
    assert scale.vmax is not None
    sizes = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
    candidates = [value for value in (*sizes, 0.0, *(-size for size in sizes)) if scale.vmin <= value <= scale.vmax]
    ticks: list[float] = []
    for value in sorted(candidates, reverse=True):
        if not ticks or scale(ticks[-1]) - scale(value) > _TICK_DISTANCE:
            ticks.append(value)
    return ticks


def plot_stars(
    true: Floats,
    measured: Floats,
    err: Floats,
    path: str | Path,
    title: str = "",
    apart: Mapping[str, NDArray[np.bool_]] | None = None,
) -> None:
    """Draw the deviation of measured from true fluxes against the true ones.

    Parameters
    ----------
    true, measured, err : ndarray, shape (stars,)
        True and measured fluxes and the errors of the measured ones [µJy].
    path : str or Path
        Picture to write.
    title : str
        Title.
    apart : mapping of str to ndarray of bool, optional
        Stars to draw in another colour, by label.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes: Axes = figure.subplots()
    percent = 100.0 / true
    axes.axhspan(-1.0, 1.0, color="C2", alpha=0.15, lw=0, label="1 %")
    groups = dict(apart or {})
    others = np.logical_or.reduce([np.zeros(true.shape, bool), *groups.values()])
    for colour, (label, chosen) in enumerate({"measured": ~others, **groups}.items()):
        off, bar = ((measured - true) * percent)[chosen], (err * percent)[chosen]
        axes.errorbar(true[chosen], off, bar, fmt="o", ms=3.5, lw=1.0, color=f"C{colour}", label=label)
    axes.axhline(0.0, color="C3", lw=1.3, ls="--", label="truth")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("true flux [µJy]")
    axes.set_ylabel("measured - true [%]")
    axes.set_title(_plain(title))
    axes.legend(loc="best")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _plain(name: object) -> str:
    """Escape a name for a figure, in which dollar signs would start a formula."""
    return make_printable(name).replace("$", r"\$")
