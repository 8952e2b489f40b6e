"""Outliers of resampled images: trails, hits and ghosts in one of several."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.imager.physics.image import Floats, Mask

FEWEST_VALUES = 3
"""Values without which a median does not tell which of them is the outlier."""


class OutlierLimits(NamedTuple):
    """Distance from the median beyond which a value is an outlier, see :func:`find_outliers`.

    Attributes
    ----------
    sigma : float
        In errors of the value.
    gradient : float
        In largest differences of the median to its neighbours; both are added.
    """

    sigma: float = 5.0
    gradient: float = 1.0


def find_outliers(data: NDArray[Any], err: NDArray[Any], sigma: float = 5.0, gradient: float = 1.0) -> Mask:
    """Find the values that are far from the median of all images.

    Where three or more images have a value, one is an outlier if it is further from the median than
    `sigma` of its errors plus `gradient` times the largest difference of the median to that of
    its four neighbours, of those where three or more images have a value, too.

    Parameters
    ----------
    data, err : ndarray, shape (k, y, x)
        Values of k images on one grid and their standard errors; NaN where there is none.
    sigma : float
        Distance in errors.
    gradient : float
        Distance in differences between neighbours. Without it the cores of stars would go, which
        differ between dithers by how they are sampled.

    Returns
    -------
    ndarray of bool, shape (k, y, x)
        True for outliers.

    Examples
    --------
    >>> data = np.array([[[1.0, 1.0, 1.0]], [[1.0, 9.0, 1.0]], [[1.0, 1.0, 1.0]]])
    >>> find_outliers(data, np.ones((3, 1, 3)))[:, 0, 1].tolist()
    [False, True, False]
    """
    values, errors = np.ascontiguousarray(data, np.float32), np.ascontiguousarray(err, np.float32)
    median, number = _find_medians(values, errors)
    return _find_far(values, errors, median, number, sigma, gradient)


@compiled
def _find_medians(data: Floats, err: Floats) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return median and number of the values (k, y, x); the median is NaN without any."""
    n_images, n_rows, n_columns = data.shape
    median = np.full((n_rows, n_columns), np.nan)
    number = np.zeros((n_rows, n_columns), np.int64)
    sample = np.empty(n_images)
    for y in range(n_rows):
        for x in range(n_columns):
            n = 0
            for k in range(n_images):
                if np.isfinite(data[k, y, x]) and np.isfinite(err[k, y, x]):
                    value = data[k, y, x]
                    j = n  # insertion: images are few
                    while j > 0 and sample[j - 1] > value:
                        sample[j] = sample[j - 1]
                        j -= 1
                    sample[j] = value
                    n += 1
            number[y, x] = n
            if n > 0:
                median[y, x] = 0.5 * (sample[(n - 1) // 2] + sample[n // 2])
    return median, number


@compiled
def _find_far(
    data: Floats,
    err: Floats,
    median: NDArray[np.float64],
    number: NDArray[np.int64],
    sigma: float,
    gradient: float,
) -> Mask:
    """Find the values (k, y, x) far from the medians (y, x)."""
    n_images, n_rows, n_columns = data.shape
    found = np.zeros(data.shape, np.bool_)
    for y in range(n_rows):
        for x in range(n_columns):
            if number[y, x] < FEWEST_VALUES:
                continue
            steepest = 0.0
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                i, j = y + dy, x + dx
                if 0 <= i < n_rows and 0 <= j < n_columns and number[i, j] >= FEWEST_VALUES:
                    steepest = max(steepest, abs(median[i, j] - median[y, x]))
            for k in range(n_images):
                # False for NaN
                found[k, y, x] = abs(data[k, y, x] - median[y, x]) > sigma * err[k, y, x] + gradient * steepest
    return found
