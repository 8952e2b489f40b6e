"""Means, medians and running means that pass over what is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows

Floats = NDArray[np.float64]

SMOOTHING_WIDTH = 129
"""Channels in the running mean that weights are taken from."""

_LONG_ROW = 2048
"""Values whose median takes less time row by row, without those that are not finite, than by sorting all rows."""


def sum_of_valid(counts: NDArray[Any], axis: int) -> tuple[Floats, NDArray[np.int64]]:
    """Sum the finite values along an axis, and count them.

    Parameters
    ----------
    counts : ndarray
        Values, integers or floats, of any shape.
    axis : int
        Axis to sum along.

    Returns
    -------
    total : ndarray of float64, shape of `counts` without `axis`
        Sums, in the unit of `counts`; of integers exact up to 2⁵³.
    number : ndarray of int, shape of `total`
        Number of finite values; may be read-only.

    Examples
    --------
    >>> total, number = sum_of_valid(np.array([[1.0, np.nan, 3.0]]), axis=1)
    >>> total.tolist(), number.tolist()
    ([4.0], [2])
    """
    axis %= counts.ndim
    if counts.flags.f_contiguous and not counts.flags.c_contiguous:
        # The transpose lies in C order, so that nothing is copied.
        total, number = sum_of_valid(counts.T, counts.ndim - 1 - axis)
        return total.T, number.T
    before, after = counts.shape[:axis], counts.shape[axis + 1 :]
    size = counts.shape[axis]
    flat = np.ascontiguousarray(counts).reshape(int(np.prod(before)), size, int(np.prod(after)))
    # The axes before vary fastest in the result, like channels in all arrays of results.
    turned = _sum_in_middle(flat).reshape(*after, *before)
    total = np.moveaxis(turned, range(len(after)), range(-len(after), 0))
    if np.isfinite(total).all():
        return total, np.broadcast_to(np.int64(size), total.shape)
    valid = np.isfinite(counts)
    return np.where(valid, counts, 0.0).sum(axis=axis, dtype=np.float64), valid.sum(axis=axis)


@compiled
def _sum_in_middle(values: NDArray[Any]) -> Floats:
    """Sum (I, N, K) along its middle axis, into (K, I)."""
    n_before, n_values, n_after = values.shape
    sums = np.empty((n_after, n_before))
    for i in range(n_before):
        for k in range(n_after):
            total = 0.0
            for n in range(n_values):
                total += values[i, n, k]
            sums[k, i] = total
    return sums


def mean_from_sum(total: Floats, number: NDArray[np.integer[Any]]) -> Floats:
    """Compute the mean of values from their sum and number.

    Parameters
    ----------
    total : ndarray
        Sums.
    number : ndarray of int, shape of `total`
        Number of values in each sum.

    Returns
    -------
    ndarray, shape of `total`
        Means; NaN without any value.

    Examples
    --------
    >>> mean_from_sum(np.array([4.0, 0.0]), np.array([2, 0])).tolist()
    [2.0, nan]
    """
    mean = np.full_like(total, np.nan, np.float64)
    np.divide(total, number, out=mean, where=number > 0)
    return mean


def median_of_finite(values: NDArray[np.floating[Any]], axis: int | tuple[int, ...]) -> Floats:
    """Compute the median of the finite values along one or several axes.

    Parameters
    ----------
    values : ndarray
        Values.
    axis : int or tuple of int
        Axes to reduce.

    Returns
    -------
    ndarray of float64, shape of `values` without `axis`
        Medians; NaN without any finite value.

    Examples
    --------
    >>> float(median_of_finite(np.array([1.0, np.nan, 2.0, np.inf, 9.0]), axis=0))
    2.0
    """
    flat = _flatten_axes(values, axis)
    if not flat.shape[-1]:
        return np.full(flat.shape[:-1], np.nan)
    finite = np.isfinite(flat)
    if finite.all():
        return _middle(flat)
    number = finite.sum(axis=-1)
    if flat.shape[-1] >= _LONG_ROW:
        median = np.full(number.shape, np.nan)
        for row in zip(*np.nonzero(number), strict=True):
            median[row] = _middle(flat[row][finite[row]])
        return median
    # NaN is sorted to the end, so that the two middle ones of the finite values are counted from the start.
    ordered = np.sort(np.where(finite, flat, np.nan), axis=-1)
    middle = np.stack([np.maximum(number - 1, 0) // 2, np.maximum(number, 1) // 2], axis=-1)
    middle = np.minimum(middle, flat.shape[-1] - 1)
    return np.asarray(np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1, dtype=np.float64))


def _flatten_axes(values: NDArray[Any], axis: int | tuple[int, ...]) -> NDArray[Any]:
    """Make one axis, the last one, of one or several axes."""
    if isinstance(axis, int) and axis in (-1, values.ndim - 1):
        return values
    axes = (axis,) if isinstance(axis, int) else axis
    last = np.moveaxis(values, axes, range(-len(axes), 0))
    return last.reshape(*last.shape[: last.ndim - len(axes)], -1)


def _middle(values: NDArray[np.floating[Any]]) -> Floats:
    """Compute the median along the last axis, of finite values.

    NumPy finds one element in a fraction of the time that two take.
    """
    half = values.shape[-1] // 2
    parted = np.partition(values, half, axis=-1)
    upper = parted[..., half]
    lower = upper if values.shape[-1] % 2 else parted[..., :half].max(axis=-1)
    return np.asarray(np.add(lower, upper, dtype=np.float64) / 2.0)


def running_mean(values: Floats, width: int = SMOOTHING_WIDTH) -> Floats:
    """Compute a running mean along the first axis that leaves out what is not finite.

    Parameters
    ----------
    values : ndarray, shape (C, ...)
        Values; those that are not finite do not count.
    width : int
        Odd number of channels in the window, which is cut off at the ends of the band.

    Returns
    -------
    ndarray, shape (C, ...)
        Mean of the finite values within ``width // 2`` channels; NaN where there is none.

    Raises
    ------
    ValueError
        If `width` is even or below 1.

    Examples
    --------
    >>> running_mean(np.array([1.0, 2.0, np.nan, 4.0]), 3).tolist()
    [1.5, 1.5, 3.0, 4.0]
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"width of the running mean is {width}, expected an odd number of channels")
    smooth = _running_mean(rows(values.astype(np.float64, copy=False)), width // 2)
    return np.asarray(unpack_rows(smooth, values.shape[1:]))


@compiled
def _running_mean(values: Floats, half: int) -> Floats:
    """Running mean of rows (P, C) over `half` channels to either side."""
    n_rows, n_channels = values.shape
    mean = np.empty((n_rows, n_channels))
    # Prefix sums of deviations from the mean: of the counts themselves they would lose digits.
    total, number = np.zeros(n_channels + 1), np.zeros(n_channels + 1, np.int64)
    for p in range(n_rows):
        offset, n_finite = 0.0, 0
        for c in range(n_channels):
            if np.isfinite(values[p, c]):
                offset += values[p, c]
                n_finite += 1
        offset /= max(n_finite, 1)
        for c in range(n_channels):
            finite = np.isfinite(values[p, c])
            total[c + 1] = total[c] + (values[p, c] - offset if finite else 0.0)
            number[c + 1] = number[c] + finite
        for c in range(n_channels):
            first, last = max(c - half, 0), min(c + half + 1, n_channels)
            mean[p, c] = offset + (total[last] - total[first]) / (number[last] - number[first])
    return mean
