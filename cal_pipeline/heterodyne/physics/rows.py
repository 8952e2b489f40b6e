"""Arrays of pixels as rows of channels, as compiled loops take them, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled


def rows(values: NDArray[Any], shape: tuple[int, ...] | None = None, shared: bool = False) -> NDArray[Any]:
    """View an array as one row per pixel, as compiled loops take it.

    Parameters
    ----------
    values : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Array; one in Fortran order is viewed, one of another order is copied.
    shape : tuple of int, optional
        Required shape (C, R, A), since compiled loops do not check bounds; any if not given.
    shared : bool
        Accept arrays that pixels share, (C, 1, A) or (C, 1, 1), as well.

    Returns
    -------
    ndarray, shape (R·A, C), (A, C) or (1, C)
        Rows of channels; the receivers of an array are neighbours.

    Raises
    ------
    ValueError
        If the array has another shape.

    Examples
    --------
    >>> counts = np.zeros((4096, 7, 2), order="F")
    >>> rows(counts).shape, np.shares_memory(rows(counts), counts)
    ((14, 4096), True)
    >>> rows(np.zeros((4096, 1, 2)), counts.shape, shared=True).shape  # common to all receivers
    (2, 4096)
    """
    if shape is not None and values.shape != shape:
        n_channels, _, n_arrays = shape
        others = [(n_channels, 1, n_arrays), (n_channels, 1, 1)] if shared else []
        if values.shape not in others:
            raise ValueError(f"an array has shape {values.shape}, expected {' or '.join(map(str, [shape, *others]))}")
    return np.asfortranarray(values).reshape(len(values), -1, order="F").T


def rows_to_fill(out: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """View an output array as one row per pixel.

    Parameters
    ----------
    out : ndarray, shape (C, R, A)
        Output array, in Fortran order.
    shape : tuple of int
        Required shape (C, R, A).

    Returns
    -------
    ndarray, shape (R·A, C)
        View of `out`.

    Raises
    ------
    ValueError
        If the array is not in Fortran order, or has another shape.

    Examples
    --------
    >>> out = np.zeros((2, 1, 1), order="F")
    >>> rows_to_fill(out, (2, 1, 1))[0] = [10.0, 20.0]
    >>> out.ravel().tolist()
    [10.0, 20.0]
    """
    if not out.flags.f_contiguous:
        raise ValueError(f"the array to put results into, of shape {out.shape}, is not in Fortran order")
    return rows(out, shape)


def unpack_rows(values: NDArray[Any], pixels: tuple[int, ...]) -> NDArray[Any]:
    """View rows of pixels as an array of pixels, the inverse of :func:`rows`.

    Parameters
    ----------
    values : ndarray, shape (R·A, C)
        Rows.
    pixels : tuple of int
        Number of receivers and of arrays (R, A).

    Returns
    -------
    ndarray, shape (C, R, A)
        View in Fortran order.

    Examples
    --------
    >>> spectra = np.random.default_rng(1).normal(size=(5, 2, 3))
    >>> bool((unpack_rows(rows(spectra), (2, 3)) == spectra).all())
    True
    """
    return values.T.reshape(-1, *pixels, order="F")


def by_channel(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Copy an array to the pixel order of counts.

    Parameters
    ----------
    values : ndarray, shape (C, R, A)
        Array, in any order.
    shape : tuple of int
        Required shape (C, R, A).

    Returns
    -------
    ndarray, shape (C, R·A)
        Copy in C order: the arrays of a receiver are neighbours.

    Raises
    ------
    ValueError
        If it has another shape.

    Examples
    --------
    >>> by_channel(np.arange(8.0).reshape(2, 2, 2, order="F"), (2, 2, 2)).tolist()
    [[0.0, 4.0, 2.0, 6.0], [1.0, 5.0, 3.0, 7.0]]
    """
    values = rows(values, shape)
    # The row of each pixel is looked up: divisions in the loop would take longer than the copy.
    order = np.arange(len(values)).reshape(shape[1:], order="F").ravel()
    return _turned(values, order)


@compiled
def _turned(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Transpose rows of pixels (P, C) to (C, P), with the pixels reordered."""
    n_pixels, n_channels = values.shape
    turned = np.empty((n_channels, n_pixels), values.dtype)
    for c in range(n_channels):
        for p in range(n_pixels):
            turned[c, p] = values[order[p], c]
    return turned
