"""Frequency axes of rows, and what is tuned alike."""

from __future__ import annotations

import numpy as np

from cal_pipeline.heterodyne.ingest.rows import Floats, Integers, RowTable

Axis = tuple[float, float, float]
"""Sky frequencies of the first and the last channel, and distance of two channels [Hz]; NaN where not known."""

_BAND_SHIFT = 0.1
"""Shift of a band, over its width, up to which its loads are its own."""

_DOPPLER_SHIFT = 1e-3
"""The same over its frequency: narrow bands shift by more than their width between two sources."""

_WIDTH = 0.01
"""Relative difference of the distance of channels up to which it is the same."""


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
    bands, first = np.unique(rows.band[index], return_index=True)
    axes = {}
    for band, row in zip(bands.tolist(), index[first].tolist(), strict=True):
        start, end = find_edges(rows, np.array([row]), int(rows.n_channels[row]))
        axes[str(band)] = (float(start[0]), float(end[0]), float(rows.values["freq_res"][row]))
    return axes


def are_tuned_alike(one: Axis, other: Axis) -> bool:
    """Tell whether loads on one frequency axis calibrate another.

    Parameters
    ----------
    one, other : tuple of float
        Sky frequencies of the first and the last channel, and distance of two channels [Hz].

    Returns
    -------
    bool
        False if the ends are apart by more than a tenth of the band and a thousandth of the frequency, which the
        Doppler shift between two sources does not reach, or if the distances of channels differ. What is not
        known is alike.

    Examples
    --------
    >>> band = (87.0e9, 88.0e9, 1e6)
    >>> are_tuned_alike(band, (87.02e9, 88.02e9, 1e6)), are_tuned_alike(band, (89.0e9, 90.0e9, 1e6))
    (True, False)
    """
    width = max(abs(one[1] - one[0]), abs(other[1] - other[0]))
    reach = max(_BAND_SHIFT * width, _DOPPLER_SHIFT * abs(one[0]))
    # Comparisons with NaN are false.
    apart = abs(one[0] - other[0]) > reach or abs(one[1] - other[1]) > reach
    return not (apart or abs(one[2] - other[2]) > _WIDTH * abs(one[2]))
