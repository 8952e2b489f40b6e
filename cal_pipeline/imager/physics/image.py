"""Calibrated images as the functions of this room take and return them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.imager.dq import DQ

Floats = NDArray[np.float32]
Flags = NDArray[np.uint32]
Mask = NDArray[np.bool_]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

MEDIAN_ERROR = 1.2533
"""Standard error of the median of many normal deviates over that of their mean, sqrt(pi/2)."""


class Image(NamedTuple):
    """Image with errors, variances and data quality; [y,x], or [I,y,x] for integrations.

    Attributes
    ----------
    data, err : ndarray of float32
        Rate or flux of each pixel and its standard error [e/s, or uJy after flux calibration].
    var_poisson, var_rnoise, var_flat : ndarray of float32
        Variances of photon noise, read noise and flat field, in the squared unit of `data`. Dark
        and background add to `err` only.
    dq : ndarray of uint32
        Data quality, bits of :class:`.DQ`.
    """

    data: Floats
    err: Floats
    var_poisson: Floats
    var_rnoise: Floats
    var_flat: Floats
    dq: Flags


def make_image(
    data: ArrayLike,
    err: ArrayLike,
    dq: ArrayLike | None = None,
    var_poisson: ArrayLike | None = None,
    var_rnoise: ArrayLike | None = None,
    var_flat: ArrayLike | None = None,
) -> Image:
    """Make an image of arrays; variances and data quality not given are zero.

    Parameters
    ----------
    data, err : array_like
        Values and their standard errors.
    dq : array_like or None
        Data quality.
    var_poisson, var_rnoise, var_flat : array_like or None
        Variances.

    Examples
    --------
    >>> make_image([[1.0, 2.0]], [[0.1, 0.2]]).dq
    array([[0, 0]], dtype=uint32)
    """
    values = np.asarray(data, np.float32)

    def fill(array: ArrayLike | None, dtype: type[np.generic]) -> NDArray[Any]:
        return np.zeros(values.shape, dtype) if array is None else np.asarray(array, dtype)

    return Image(
        values,
        np.asarray(err, np.float32),
        fill(var_poisson, np.float32),
        fill(var_rnoise, np.float32),
        fill(var_flat, np.float32),
        fill(dq, np.uint32),
    )


def find_good(data: NDArray[Any], err: NDArray[Any], dq: NDArray[Any]) -> Mask:
    """Find the good pixels: data and error finite, and not DO_NOT_USE.

    Parameters
    ----------
    data, err : ndarray
        Values and their standard errors.
    dq : ndarray
        Data quality.

    Returns
    -------
    ndarray of bool, shape of `data`

    Examples
    --------
    >>> find_good(np.array([1.0, np.nan, 1.0]), np.ones(3), np.array([2048, 0, 1]))
    array([ True, False, False])
    """
    return np.asarray(np.isfinite(data) & np.isfinite(err) & (np.asarray(dq) & DQ.DO_NOT_USE == 0))


def drop_variances(image: Image) -> Image:
    """Return an image whose variances are zeros without memory, for combinations that need none.

    Examples
    --------
    >>> drop_variances(make_image([1.0], [2.0], var_flat=[3.0])).var_flat
    array([0.], dtype=float32)
    """
    zeros = np.broadcast_to(np.float32(0), image.data.shape)
    return image._replace(var_poisson=zeros, var_rnoise=zeros, var_flat=zeros)


def cut_image(image: Image, rows: slice, columns: slice) -> Image:
    """Cut a rectangle out of an image.

    Parameters
    ----------
    image : Image, shape (y, x) or (I, y, x)
        Image.
    rows, columns : slice
        Rows and columns.

    Returns
    -------
    Image
        Views of the arrays of `image`.

    Examples
    --------
    >>> cut_image(make_image(np.ones((4, 2)), np.ones((4, 2))), slice(1, 4), slice(0, 1)).data.shape
    (3, 1)
    """
    return Image._make(array[..., rows, columns] for array in image)


def add_errors(err: NDArray[Any], other: NDArray[Any], factor: float = 1.0) -> Floats:
    """Add independent errors in quadrature, in double precision.

    Parameters
    ----------
    err, other : ndarray
        Standard errors, broadcast against each other.
    factor : float
        Factor of `other`.

    Returns
    -------
    ndarray of float32
        sqrt(err² + factor² other²).

    Examples
    --------
    >>> add_errors(np.array([3.0]), np.array([2.0]), 2.0)
    array([5.], dtype=float32)
    """
    return np.hypot(np.asarray(err, np.float64), factor * np.asarray(other, np.float64)).astype(np.float32)
