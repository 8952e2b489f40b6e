"""Loops over samples, compiled: what NumPy would need many passes over memory and the interpreter's lock for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers at its first call; threads run it beside each other.

    What was compiled is kept for the next run beside the source, or in the user's cache where that cannot be written
    (``NUMBA_CACHE_DIR`` names another place); where there is no folder for it, every run compiles anew. Arithmetic is
    as it is written: nothing is reordered, and a division by zero gives what IEEE 754 says.
    """
    settings = {"nogil": True, "error_model": "numpy", "fastmath": False}
    try:
        made = numba.njit(**settings, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        made = numba.njit(**settings)(function)
    return cast(Function, made)


def rows(values: NDArray[Any], shape: tuple[int, ...] | None = None, shared: bool = False) -> NDArray[Any]:
    """An array (C, R, A) in Fortran order as (R·A, C), a row for each pixel; copied if it is in another order.

    One that is the same for all receivers, (C, 1, A), becomes (A, C). Compiled loops do not look where an array ends:
    `shape` is the (C, R, A) that it must have, or, where it is `shared` by pixels, (C, 1, A) or (C, 1, 1).

    Raises
    ------
    ValueError
        If it has another shape.
    """
    if shape is not None and values.shape != shape:
        n_channels, _, n_arrays = shape
        others = [(n_channels, 1, n_arrays), (n_channels, 1, 1)] if shared else []
        if values.shape not in others:
            raise ValueError(f"an array has shape {values.shape}, expected {' or '.join(map(str, [shape, *others]))}")
    return np.asfortranarray(values).reshape(len(values), -1, order="F").T


def rows_to_fill(out: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The same of an array that results are put into, which must be in Fortran order.

    Raises
    ------
    ValueError
        If it is not, or has another shape.
    """
    if not out.flags.f_contiguous:
        raise ValueError(f"the array to put results into, of shape {out.shape}, is not in Fortran order")
    return rows(out, shape)


def of_pixels(values: NDArray[Any], pixels: tuple[int, ...]) -> NDArray[Any]:
    """Rows (R·A, C) as an array (C, R, A) in Fortran order, a view."""
    return values.T.reshape(-1, *pixels, order="F")


def by_channel(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A copy of an array of shape (C, R, A) as (C, R·A) in C order, as the pixels of counts lie.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    values = rows(values, shape)
    # Which row is the next neighbour of a pixel is looked up: divisions would take longer than the copy.
    order = np.arange(len(values)).reshape(shape[1:], order="F").ravel()
    return _turned(values, order)


@compiled
def _turned(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of pixels (P, C) as (C, P), the pixels in another order."""
    n_pixels, n_channels = values.shape
    turned = np.empty((n_channels, n_pixels), values.dtype)
    for c in range(n_channels):
        for p in range(n_pixels):
            turned[c, p] = values[order[p], c]
    return turned
