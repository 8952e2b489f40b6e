"""Means, medians and running means that pass over what is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMOOTHING_WIDTH = 129
"""Channels in the running mean that weights are taken from."""


def sum_of_valid(counts: Floats, axis: int | tuple[int, ...]) -> tuple[Floats, NDArray[np.int64]]:
    """Sum and number of the finite values along `axis`."""
    total = _sum(counts, axis)
    if np.isfinite(total).all():
        size = counts.size // max(total.size, 1)
        return total, np.full(total.shape, size, np.int64)
    valid = np.isfinite(counts)
    return np.where(valid, counts, 0.0).sum(axis=axis), valid.sum(axis=axis)


def _sum(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Sum along `axis`; over the dumps (axis 1) as a product, where NumPy's own sum goes in steps of a few pixels."""
    if axis == 1 and values.ndim > 2 and values.flags.c_contiguous:
        ones = np.ones(values.shape[1])
        flat = values.reshape(*values.shape[:2], -1)
        return np.asarray(np.matmul(ones, flat).reshape(values.shape[0], *values.shape[2:]))
    return np.asarray(values.sum(axis=axis))


def mean_from_sum(total: Floats, number: NDArray[np.int64]) -> Floats:
    """Mean of `number` values that sum to `total`; NaN where there is none."""
    mean = np.full_like(total, np.nan, np.float64)
    np.divide(total, number, out=mean, where=number > 0)
    return mean


def median_of_finite(values: NDArray[np.floating[Any]], axis: int | tuple[int, ...]) -> Floats:
    """Median of the finite values along `axis`; NaN where there is none."""
    axes = (axis,) if isinstance(axis, int) else axis
    last = np.moveaxis(values, axes, range(-len(axes), 0))
    flat = last.reshape(*last.shape[: last.ndim - len(axes)], -1)
    finite = np.isfinite(flat)
    number = finite.sum(axis=-1)
    if not flat.shape[-1]:
        return np.full(number.shape, np.nan)
    # What is not finite is sorted to the end.
    ordered = np.sort(np.where(finite, flat, np.nan), axis=-1)
    middle = np.stack([np.maximum(number - 1, 0) // 2, np.maximum(number, 1) // 2], axis=-1)
    middle = np.minimum(middle, flat.shape[-1] - 1)
    return np.asarray(np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1, dtype=np.float64))


def running_mean(values: Floats, width: int = SMOOTHING_WIDTH) -> Floats:
    """Normalised, NaN-aware running mean along the first axis.

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

    Examples
    --------
    >>> running_mean(np.array([1.0, 2.0, np.nan, 4.0]), 3)
    array([1.5, 1.5, 3. , 4. ])
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"width of the running mean is {width}, expected an odd number of channels")
    n_channels = values.shape[0]
    valid = np.isfinite(values)
    number = valid.sum(axis=0)
    # Prefix sums of deviations from the mean: of the counts themselves they would lose digits.
    offset = np.where(valid, values, 0.0).sum(axis=0) / np.maximum(number, 1)
    deviation = np.where(valid, values - offset, 0.0)
    half = width // 2
    first = np.maximum(np.arange(n_channels) - half, 0)
    last = np.minimum(np.arange(n_channels) + half + 1, n_channels)

    def window_sum(terms: NDArray[np.generic]) -> NDArray[np.generic]:
        prefix = np.zeros((n_channels + 1, *terms.shape[1:]), terms.dtype, order="F")
        np.cumsum(terms, axis=0, out=prefix[1:])
        total = np.empty_like(terms)
        inner = slice(half, max(n_channels - half, half))
        np.subtract(prefix[width : n_channels + 1], prefix[: max(n_channels + 1 - width, 0)], out=total[inner])
        for edge in (slice(0, min(half, n_channels)), slice(max(n_channels - half, half), n_channels)):
            total[edge] = prefix[last[edge]] - prefix[first[edge]]
        return total

    total = np.asarray(window_sum(deviation), np.float64)
    if valid.all():
        mean = total / (last - first).reshape(-1, *(1,) * (values.ndim - 1))
    else:
        mean = mean_from_sum(total, np.asarray(window_sum(valid.astype(np.int64)), np.int64))
    return np.asarray(mean + offset)
