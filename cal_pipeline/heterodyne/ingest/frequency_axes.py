"""Frequency axes of rows."""

from __future__ import annotations

import numpy as np

from cal_pipeline.heterodyne.ingest.rows import Floats, Integers, RowTable
from cal_pipeline.heterodyne.load_axes import Axis


def find_edges(rows: RowTable, index: Integers, n_channels: int) -> tuple[Floats, Floats]:
    """Find the sky frequencies of the first and the last channel of rows, in the signal sideband [Hz].

    Parameters
    ----------
    rows : RowTable
        The table.
    index : ndarray
        The rows.
    n_channels : int
        Number of channels (C).

    Returns
    -------
    first, last : ndarray, shape of `index`
    """
    width = rows.values["freq_res"][index]
    reference = rows.values["signal_freq"][index] + rows.values["freq_off"][index]
    first = reference - rows.values["ref_channel"][index] * width
    return first, first + (n_channels - 1) * width


def find_image_edges(rows: RowTable, index: Integers, n_channels: int) -> tuple[Floats, Floats]:
    """Find the sky frequencies of the first and the last channel of rows, in the image sideband [Hz].

    Parameters
    ----------
    rows, index, n_channels
        As for :func:`find_edges`.

    Returns
    -------
    first, last : ndarray, shape of `index`
    """
    width = rows.values["freq_res"][index]
    reference = rows.values["image_freq"][index] - rows.values["freq_off"][index]
    first = reference + rows.values["ref_channel"][index] * width
    return first, first - (n_channels - 1) * width


def find_axes(rows: RowTable, index: Integers) -> dict[str, Axis]:
    """Find the frequency axis of the first row of each band."""
    # The first row of a band is the last that a dict of them in reverse takes.
    first = dict(zip(rows.band[index[::-1]].tolist(), index[::-1].tolist(), strict=True))
    axes = {}
    for band, row in first.items():
        start, end = find_edges(rows, np.array([row]), int(rows.n_channels[row]))
        axes[str(band)] = (float(start[0]), float(end[0]), float(rows.values["freq_res"][row]))
    return axes
