"""Counts as files store them, turned into those of L0: swapped, rounded, transposed in one pass."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled

Mask = NDArray[np.bool_]

LOWEST, HIGHEST = -(2.0**31), 2.0**31 - 1.0
"""Integers of 32 bits; the lowest marks a missing count."""

_MISSING = -(2**31)
_MUST_SWAP = sys.byteorder == "little"
_N_COLUMNS, _N_CHANNELS = 16, 64
"""Size of the tiles: a line of the cache of the output is 16 columns."""


def round_counts(stored: NDArray[Any], present: Mask, first: int, out: NDArray[np.int32]) -> tuple[int, int] | None:
    """Round counts half to even, and put them beside each other channel by channel.

    Parameters
    ----------
    stored : ndarray of big-endian f4, f8 or i4, shape (columns, c)
        Counts of each dump of each pixel; NaN and the i32 minimum are missing.
    present : ndarray of bool, shape (columns,)
        True for columns that are filled; others are left as they are.
    first : int
        First channel to be converted.
    out : ndarray of i32, shape (channels, columns)
        Takes the counts, the i32 minimum where missing.

    Returns
    -------
    tuple of int, or None
        Column and channel, from `first` on, of a count that i32 cannot hold; None if there is none.

    Examples
    --------
    >>> import numpy as np
    >>> out = np.zeros((3, 2), np.int32)
    >>> counts = np.array([[0.5, 1.5, np.nan], [2.5, -0.5, 7.0]], ">f4")
    >>> round_counts(counts, np.array([True, True]), 0, out)
    >>> out.tolist()
    [[0, 2], [2, 0], [-2147483648, 7]]
    """
    words, like = _view(stored)
    found = _round(words, like, present, first, out, _MUST_SWAP)
    return None if found < 0 else (int(found) // out.shape[0], int(found) % out.shape[0])


def copy_counts(
    stored: NDArray[Any], present: Mask, first: int, out: NDArray[np.float32]
) -> tuple[tuple[int, int] | None, int, int]:
    """Put counts beside each other channel by channel, as floats.

    Parameters
    ----------
    stored, present, first
        As for :func:`round_counts`.
    out : ndarray of f4, shape (channels, columns)
        Takes the counts, NaN where missing or infinite. The i32 minimum is missing in floats too: L0 reads
        it as what an integer marked.

    Returns
    -------
    beyond : tuple of int, or None
        Column and channel, from `first` on, of a count beyond the largest f4; None if there is none.
    n_inexact, n_infinite : int
        Numbers of counts that f4 does not hold exactly, and of infinite ones.

    Examples
    --------
    >>> import numpy as np
    >>> out = np.zeros((2, 1), np.float32)
    >>> copy_counts(np.array([[16777217.0, np.inf]], ">f8"), np.array([True]), 0, out)
    (None, 1, 1)
    >>> out.ravel().tolist()
    [16777216.0, nan]
    """
    words, like = _view(stored)
    found, n_inexact, n_infinite = _copy(words, like, present, first, out, _MUST_SWAP)
    beyond = None if found < 0 else (int(found) // out.shape[0], int(found) % out.shape[0])
    return beyond, int(n_inexact), int(n_infinite)


def _view(stored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """View numbers as words of 4 bytes; an empty array tells the compiler their type."""
    return stored.view(np.uint32), np.empty(0, stored.dtype.newbyteorder("="))


@compiled
def _swap(word: Any) -> Any:
    """Reverse the bytes of a word; the compiler knows this form."""
    low = ((word & np.uint32(0xFF)) << np.uint32(24)) | ((word & np.uint32(0xFF00)) << np.uint32(8))
    return low | ((word >> np.uint32(8)) & np.uint32(0xFF00)) | (word >> np.uint32(24))


@compiled
def _take(words: Any, first: int, number: int, size: int, must_swap: bool, native: Any) -> None:
    """Copy numbers of `size` words each, from the number `first` on, in the byte order of this machine."""
    start, n_words = first * size, number * size
    if not must_swap:
        native[:n_words] = words[start : start + n_words]
    elif size == 1:
        for i in range(n_words):
            native[i] = _swap(words[start + i])
    else:
        for i in range(number):
            native[2 * i + 1] = _swap(words[start + 2 * i])
            native[2 * i] = _swap(words[start + 2 * i + 1])


@compiled
def _put(tile: Any, present: Any, column: int, n_columns: int, channel: int, n_channels: int, out: Any) -> None:
    """Transpose a tile into its place."""
    for c in range(n_channels):
        for j in range(n_columns):
            if present[column + j]:
                out[channel + c, column + j] = tile[j, c]


@compiled
def _round(words: Any, like: Any, present: Any, first: int, out: Any, must_swap: bool) -> Any:
    """Round counts; return column·channels + channel of one that i32 cannot hold, else -1."""
    n_channels, n_columns = out.shape
    size = like.itemsize // 4
    native = np.empty(_N_CHANNELS * size, np.uint32)
    values = native.view(like.dtype)
    tile = np.empty((_N_COLUMNS, _N_CHANNELS), np.int32)
    for c0 in range(0, n_channels, _N_CHANNELS):
        nc = min(_N_CHANNELS, n_channels - c0)
        for j0 in range(0, n_columns, _N_COLUMNS):
            nj = min(_N_COLUMNS, n_columns - j0)
            for j in range(nj):
                if not present[j0 + j]:
                    continue
                _take(words[j0 + j], first + c0, nc, size, must_swap, native)
                beyond = 0
                for c in range(nc):
                    rounded = np.rint(np.float64(values[c]))
                    beyond += (rounded < LOWEST) | (rounded > HIGHEST)
                    tile[j, c] = np.int32(rounded) if rounded == rounded else _MISSING
                if beyond:
                    for c in range(nc):
                        rounded = np.rint(np.float64(values[c]))
                        if rounded < LOWEST or rounded > HIGHEST:
                            return (j0 + j) * n_channels + c0 + c
            _put(tile, present, j0, nj, c0, nc, out)
    return -1


@compiled
def _copy(words: Any, like: Any, present: Any, first: int, out: Any, must_swap: bool) -> tuple[int, int, int]:
    """Convert counts to float32; see :func:`copy_counts`."""
    n_channels, n_columns = out.shape
    size = like.itemsize // 4
    native = np.empty(_N_CHANNELS * size, np.uint32)
    values = native.view(like.dtype)
    tile = np.empty((_N_COLUMNS, _N_CHANNELS), np.float32)
    n_inexact = n_infinite = 0
    for c0 in range(0, n_channels, _N_CHANNELS):
        nc = min(_N_CHANNELS, n_channels - c0)
        for j0 in range(0, n_columns, _N_COLUMNS):
            nj = min(_N_COLUMNS, n_columns - j0)
            for j in range(nj):
                if not present[j0 + j]:
                    continue
                _take(words[j0 + j], first + c0, nc, size, must_swap, native)
                for c in range(nc):
                    count = np.float64(values[c])
                    short = np.float32(count)
                    if np.isinf(short):
                        if not np.isinf(count):
                            return (j0 + j) * n_channels + c0 + c, n_inexact, n_infinite
                        n_infinite += 1
                        short = np.float32(np.nan)
                    elif count == LOWEST:
                        short = np.float32(np.nan)
                    n_inexact += count == count and np.float64(short) == short and np.float64(short) != count
                    tile[j, c] = short
            _put(tile, present, j0, nj, c0, nc, out)
    return -1, n_inexact, n_infinite
