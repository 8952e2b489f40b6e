"""Saturation: groups with clipped reads, from the raw counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.reads import ReadTimes, check_ramp

_SATURATED = np.uint8(DQ.SATURATED)
_FLOOR = np.uint8(DQ.AD_FLOOR | DQ.DO_NOT_USE)


def find_unchecked(threshold: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Find the pixels without a saturation level.

    Parameters
    ----------
    threshold : ndarray, shape (y, x)
        Saturation level [adu].

    Returns
    -------
    ndarray of bool, shape (y, x)
        True where the level is not finite or not positive: those pixels are not checked.

    Examples
    --------
    >>> find_unchecked(np.array([60000.0, 0.0, np.nan]))
    array([False,  True,  True])
    """
    return np.asarray(~(np.isfinite(threshold) & (threshold > 0)))


def flag_saturation(
    data: NDArray[Any],
    groupdq: NDArray[np.uint8],
    threshold: NDArray[np.floating[Any]],
    times: ReadTimes,
) -> NDArray[np.uint8]:
    """Flag saturated groups, and groups at the floor of the converter.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Raw counts [adu].
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups.
    threshold : ndarray, shape (y, x)
        Saturation level [adu]; a pixel is not checked where it is not finite or not positive.
    times : ReadTimes
        Times of the G groups.

    Returns
    -------
    ndarray of uint8, shape (I, G, y, x)
        `groupdq` with SATURATED, and with AD_FLOOR and DO_NOT_USE where data <= 0.

    Raises
    ------
    LayoutError
        If data, flags and times have different numbers of groups or pixels.

    Notes
    -----
    A mean of reads hides a clipped last read. A group of several reads is therefore flagged also if
    the next group reaches the level, or if the straight line through the two groups before reaches
    it by the time of the last read. These rules look at counts alone; then all groups after a
    flagged one are flagged, as no charge leaves a pixel before the reset.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> counts = np.array([100.0, 400.0, 690.0, 700.0, 650.0]).reshape(1, 5, 1, 1)
    >>> times = compute_read_times([[1], [2], [3], [4], [5]], 1.0)
    >>> flag_saturation(counts, np.zeros(counts.shape, np.uint8), np.array([[700.0]]), times).ravel()
    array([0, 0, 0, 2, 2], dtype=uint8)
    """
    check_ramp(data, groupdq, times)
    flagged = np.array(groupdq, np.uint8, order="C")
    reach = np.zeros(times.n_groups)
    mean = times.mean
    reach[2:] = (times.last[2:] - mean[1:-1]) / (mean[1:-1] - mean[:-2])
    # Nothing compares with NaN, not even infinite counts.
    level = np.where(find_unchecked(threshold), np.nan, threshold).astype(np.float64)
    level = np.ascontiguousarray(np.broadcast_to(level, data.shape[2:]))
    _flag_saturation(np.ascontiguousarray(data), level, times.n_reads > 1, reach, flagged)
    return flagged


@compiled
def _flag_saturation(
    data: NDArray[Any],
    level: NDArray[np.float64],
    several: NDArray[np.bool_],
    reach: NDArray[np.float64],
    flagged: NDArray[np.uint8],
) -> None:
    """Set the flags of groups, each integration [G, y, x] by rows, which lie together in memory."""
    n_integrations, n_groups, n_rows, n_columns = data.shape
    for i in range(n_integrations):
        for y in range(n_rows):
            for g in range(n_groups):
                for x in range(n_columns):
                    found = float(data[i, g, y, x])
                    clipped = found >= level[y, x]
                    if several[g] and g + 1 < n_groups:
                        clipped |= data[i, g + 1, y, x] >= level[y, x]
                    if several[g] and g >= 2:
                        before = float(data[i, g - 1, y, x])
                        rise = before - float(data[i, g - 2, y, x])
                        clipped |= before + rise * reach[g] >= level[y, x]
                    if g > 0:
                        clipped |= (flagged[i, g - 1, y, x] & _SATURATED) != 0
                    if clipped:
                        flagged[i, g, y, x] |= _SATURATED
                    if found <= 0.0:
                        flagged[i, g, y, x] |= _FLOOR
