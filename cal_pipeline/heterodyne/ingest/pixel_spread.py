"""Numbers in which pixels of a subscan differ, though L0 has one for all."""

from __future__ import annotations

import numpy as np

from cal_pipeline.heterodyne.ingest.frequency_axes import find_edges, find_image_edges
from cal_pipeline.heterodyne.ingest.groups import GroupGrid
from cal_pipeline.heterodyne.ingest.rows import Floats, RowTable
from cal_pipeline.heterodyne.phases import COLD, HOT

_LOADS = {"thot": HOT, "tcold": COLD}
"""Temperatures of loads and the phases in which they count."""

_KELVIN = 1.0
"""Difference of the temperatures of a load up to which their mean is as good as a thermometer [K]."""

_EXPOSURE = 0.02
"""Relative difference of exposures up to which the noise is that of one."""


def describe_axes(grid: GroupGrid, rows: RowTable) -> list[str]:
    """Describe pixels with another frequency axis than the first pixel, whose axis is that of the subscan.

    Parameters
    ----------
    grid : GroupGrid
        Rows of the group on its axes.
    rows : RowTable
        The table.

    Returns
    -------
    list of str
        A warning for each sideband in which the first or last channel of any pixel is off by more than half a
        channel.
    """
    at = grid.first_rows
    half = 0.5 * np.abs(rows.values["freq_res"][at])
    warnings = []
    for words, find in (("frequencies", find_edges), ("frequencies of the image sideband", find_image_edges)):
        apart = np.zeros(grid.exists.shape, dtype=np.bool_)
        edges, expected = (find(rows, index, grid.n_channels) for index in (grid.by_pixel, at))
        for edge, own in zip(edges, expected, strict=True):
            apart |= np.abs(edge - own) > half
        apart &= grid.exists
        if not apart.any():
            continue
        _, pixel, subscan = (int(place[0]) for place in np.nonzero(apart))
        warnings.append(
            f"{grid.name}: {words} of {grid.band.name_pixel(pixel)} are off those of"
            f" {grid.band.name_pixel(int(grid.first_pixel[subscan]))} by more than half a channel"
            f" (subscan {subscan}): those of the first pixel are taken"
        )
    # The image is off wherever the signal is.
    return warnings[:1]


def describe_spread(grid: GroupGrid, rows: RowTable) -> list[str]:
    """Describe temperatures of loads and exposures in which pixels or dumps of a subscan differ.

    Parameters
    ----------
    grid : GroupGrid
        Rows of the group on its axes.
    rows : RowTable
        The table.

    Returns
    -------
    list of str
        A warning for each number, with the subscan of the largest difference. Temperatures of loads may differ by
        1 K, exposures by 2 %.
    """
    warnings = []
    phases = np.array(grid.phases)
    for name, counting in _LOADS.items() if grid.name == "calibration" else ():
        low, high = _find_extremes(grid, rows.values[name])
        spread = np.where(np.isin(phases, counting), high - low, np.nan)
        if (spread > _KELVIN).any():
            subscan = int(np.nanargmax(spread))
            warnings.append(
                f"{grid.name}: {name} is {low[subscan]:.4g} to {high[subscan]:.4g} K in the pixels of subscan {subscan}"
                f" ({grid.phases[subscan]}), expected one load for all: the mean is taken"
            )
    low, high = _find_extremes(grid, rows.values["exptime"])
    spread = high - low * (1.0 + _EXPOSURE)
    if (spread > 0.0).any():
        subscan = int(np.nanargmax(spread))
        warnings.append(
            f"{grid.name}: exposures of subscan {subscan} ({grid.phases[subscan]}) are {low[subscan]:.4g} to"
            f" {high[subscan]:.4g} s, expected one for all pixels and dumps: that of the first pixel is taken, the"
            " noise of others is another"
        )
    return warnings


def _find_extremes(grid: GroupGrid, values: Floats) -> tuple[Floats, Floats]:
    """Find the lowest and the highest number of each subscan, NaN where there is none; (S,) each."""
    found = np.where(grid.exists, values[grid.by_pixel], np.nan).reshape(-1, len(grid.phases))
    return np.asarray(np.fmin.reduce(found)), np.asarray(np.fmax.reduce(found))
