"""Plots of all scans of a session over time: water vapour, system temperature, fit of the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.text import format_count, make_printable
from cal_pipeline.heterodyne.scan_plots import label_axis

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.units import Quantity
    from matplotlib.axes import Axes

_COLOURS = {"pass": "C0", "questionable": "C1", "fail": "C3"}
_OTHER = "0.5"
_MARKERS = "osD^v<>P"
"""Markers of the bands of divided scans."""


def plot_pwv(table: QTable, axes: Axes | None = None) -> Axes:
    """Plot the water vapour of scans over time, with its total error.

    Parameters
    ----------
    table : astropy.table.QTable
        Table of scans.
    axes : matplotlib.axes.Axes, optional
        Axes to draw on; new ones if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    return _plot_series(table, "pwv", "PWV", axes, table["pwv_err"])


def plot_t_sys(table: QTable, axes: Axes | None = None) -> Axes:
    """Plot the system temperature of scans over time; parameters are those of :func:`plot_pwv`."""
    return _plot_series(table, "t_sys", "$T_{sys}$, DSB", axes)


def plot_sky(table: QTable, axes: Axes | None = None) -> Axes:
    """Plot the misfit of the sky of scans over time; parameters are those of :func:`plot_pwv`."""
    return _plot_series(table, "sky_misfit", "rms of sky, observed - fit", axes)


def _plot_series(table: QTable, column: str, name: str, axes: Axes | None, errors: Quantity | None = None) -> Axes:
    """Plot a column over time, coloured by verdict, with a marker for each band."""
    from matplotlib import pyplot as plt
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if axes is None:
        _, axes = plt.subplots(layout="constrained", figsize=(7.5, 4.0))
    values, time = table[column], _to_dates(table["mjd"].value)
    known = np.isfinite(values.value) & ~np.isnat(time)
    bands, verdicts = (np.asarray(table[key]) for key in ("band", "verdict"))
    for number, band in enumerate(dict.fromkeys(bands[known].tolist())):
        for verdict in dict.fromkeys(verdicts[known & (bands == band)].tolist()):
            chosen = known & (bands == band) & (verdicts == verdict)
            _draw_points(
                axes,
                time[chosen],
                values[chosen],
                None if errors is None else errors[chosen],
                {
                    "marker": _MARKERS[number % len(_MARKERS)],
                    "color": _COLOURS.get(verdict, _OTHER),
                    "label": make_printable(" ".join(filter(None, [band, verdict or "no verdict"]))),
                },
            )
    absent = len(set(table["scan"].tolist())) - len(set(table["scan"][known].tolist()))
    title = format_count(len(set(table["scan"][known].tolist())), "scan")
    axes.set_title(f"{title}, {absent} without a value" if absent else title)
    axes.set_xlabel("time (UTC)")
    axes.set_ylabel(label_axis(name, values.unit))
    axes.grid(alpha=0.3)
    if known.any():
        axes.legend(fontsize="small")
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return axes


def _draw_points(
    axes: Axes, time: NDArray[Any], values: Quantity, errors: Quantity | None, style: dict[str, Any]
) -> None:
    # An error that is not known leaves the point without a bar.
    bars = None if errors is None else np.nan_to_num(errors.value, nan=0.0) * errors.unit
    axes.errorbar(time, values.value, None if bars is None else bars.to_value(values.unit), ls="", ms=5, **style)


def _to_dates(mjd: NDArray[np.float64]) -> NDArray[Any]:
    """Convert modified Julian dates to times; NaN to no time."""
    known = np.isfinite(mjd)
    milliseconds = np.where(known, np.where(known, mjd, 0.0) * 86_400e3, 0.0).round().astype("timedelta64[ms]")
    dates = np.datetime64("1858-11-17T00:00:00", "ms") + milliseconds
    return np.where(known, dates, np.datetime64("NaT", "ms"))
