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
    (``NUMBA_CACHE_DIR`` names another place); where neither can, every run compiles anew. Arithmetic is as it is
    written: nothing is reordered, and a division by zero gives what IEEE 754 says.
    """
    settings = {"nogil": True, "error_model": "numpy", "fastmath": False}
    try:
        made = numba.njit(**settings, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        made = numba.njit(**settings)(function)
    return cast(Function, made)


def rows(values: NDArray[Any]) -> NDArray[Any]:
    """An array (C, R, A) in Fortran order as (R·A, C), a row for each pixel; copied if it is in another order.

    One that is the same for all receivers, (C, 1, A), becomes (A, C).
    """
    return np.asfortranarray(values).reshape(len(values), -1, order="F").T


def of_pixels(values: NDArray[Any], pixels: tuple[int, ...]) -> NDArray[Any]:
    """Rows (R·A, C) as an array (C, R, A) in Fortran order, a view."""
    return values.T.reshape(-1, *pixels, order="F")


def by_channel(values: NDArray[Any]) -> NDArray[Any]:
    """An array (C, R, A) as (C, R·A) in C order, as the pixels of counts lie; a compiled copy of such short rows."""
    return _turned(rows(values), values.shape[1])


@compiled
def _turned(values: NDArray[Any], n_receivers: int) -> NDArray[Any]:
    """Rows of pixels (R·A, C), receivers first, as (C, R·A), arrays first."""
    n_pixels, n_channels = values.shape
    n_arrays = n_pixels // n_receivers
    turned = np.empty((n_channels, n_pixels), values.dtype)
    for c in range(n_channels):
        for p in range(n_pixels):
            turned[c, p] = values[p // n_arrays + n_receivers * (p % n_arrays), c]
    return turned
