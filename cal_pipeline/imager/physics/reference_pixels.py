"""Reference pixels: offsets of the amplifiers, read by read, from pixels that see no light."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.dq import DQ

_REFERENCE = np.uint32(DQ.REFERENCE_PIXEL)
_UNUSABLE = np.uint32(DQ.REFERENCE_PIXEL | DQ.BAD_REF_PIXEL)


def assign_amplifiers(n_columns: int, amplifiers: int = 1) -> NDArray[np.int64]:
    """Assign the columns of an array to its amplifiers.

    Parameters
    ----------
    n_columns : int
        Number nx of columns.
    amplifiers : int
        Number of amplifiers, each of which reads one vertical stripe.

    Returns
    -------
    ndarray of int, shape (x,)
        Amplifier of each column x, x·amplifiers // nx.

    Examples
    --------
    >>> assign_amplifiers(8, 4)
    array([0, 0, 1, 1, 2, 2, 3, 3])
    """
    return np.arange(n_columns) * amplifiers // n_columns


def find_reference_rows(pixeldq: NDArray[np.uint32]) -> tuple[slice, slice]:
    """Find the first and last rows of an array that hold nothing but reference pixels.

    Parameters
    ----------
    pixeldq : ndarray of uint32, shape (y, x)
        Flags of the pixels of all rows.

    Returns
    -------
    first, last : slice
        Rows from the first on and rows up to the last; of no length without any. If all rows are
        reference rows they are in `first`.

    Examples
    --------
    >>> pixeldq = np.full((6, 3), DQ.REFERENCE_PIXEL, np.uint32)
    >>> pixeldq[2:5, 1] = 0
    >>> find_reference_rows(pixeldq)
    (slice(0, 2, None), slice(5, 6, None))
    """
    lit = np.flatnonzero(((pixeldq & _REFERENCE) == 0).any(axis=1))
    n_rows = len(pixeldq)
    if not lit.size:
        return slice(0, n_rows), slice(n_rows, n_rows)
    return slice(0, int(lit[0])), slice(int(lit[-1]) + 1, n_rows)


def average_reference_pixels(
    data: NDArray[np.floating[Any]], pixeldq: NDArray[np.uint32], amplifier: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Average the reference pixels of each amplifier.

    Parameters
    ----------
    data : ndarray, shape (I, G, r, x)
        Counts of the r rows that :func:`find_reference_rows` finds [adu].
    pixeldq : ndarray of uint32, shape (r, x)
        Flags of these pixels; REFERENCE_PIXELs without BAD_REF_PIXEL are averaged.
    amplifier : ndarray of int, shape (x,)
        Amplifier of each column, from :func:`assign_amplifiers`.

    Returns
    -------
    ndarray, shape (I, G, amplifiers)
        Mean of the finite counts of each integration, group and amplifier [adu]; NaN without any.

    Examples
    --------
    >>> counts = np.array([[[[1.0, 3.0, 10.0, 99.0]]]])
    >>> pixeldq = np.full((1, 4), DQ.REFERENCE_PIXEL, np.uint32)
    >>> pixeldq[0, 3] |= DQ.BAD_REF_PIXEL
    >>> average_reference_pixels(counts, pixeldq, np.array([0, 0, 1, 1]))
    array([[[ 2., 10.]]])
    """
    usable = (pixeldq & _UNUSABLE) == _REFERENCE
    n_amplifiers = int(amplifier.max()) + 1
    means = np.full((*data.shape[:2], n_amplifiers), np.nan)
    for a in range(n_amplifiers):
        read = data[..., usable & (amplifier == a)].astype(np.float64)
        finite = np.isfinite(read)
        number = finite.sum(axis=-1)
        total = np.where(finite, read, 0.0).sum(axis=-1)
        np.divide(total, number, out=means[..., a], where=number > 0)
    return means


def subtract_reference(
    data: NDArray[np.floating[Any]], means: NDArray[np.float64], amplifier: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    """Subtract the mean of the reference pixels of each amplifier.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Counts [adu].
    means : ndarray, shape (I, G, amplifiers)
        Means from :func:`average_reference_pixels`; an amplifier whose mean is NaN stays as it is.
    amplifier : ndarray of int, shape (x,)
        Amplifier of each column, from :func:`assign_amplifiers`.

    Returns
    -------
    ndarray, shape (I, G, y, x)
        Counts without the offsets of the amplifiers, in the type of `data` [adu].

    Examples
    --------
    >>> counts = np.array([[[[5.0, 5.0, 5.0, 5.0]]]])
    >>> subtract_reference(counts, np.array([[[2.0, np.nan]]]), np.array([0, 0, 1, 1])).ravel()
    array([3., 3., 5., 5.])
    """
    offsets = np.nan_to_num(means, nan=0.0)[..., amplifier]
    return np.asarray(data - offsets[:, :, np.newaxis, :].astype(data.dtype))
