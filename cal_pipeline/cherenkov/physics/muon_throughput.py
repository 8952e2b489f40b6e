"""Optical throughput of a telescope from images of muon rings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClippedStatistics:
    """Statistics of values after sigma clipping.

    Attributes
    ----------
    mean, median, std, sem : float
        Mean, median, standard deviation (of the population), and standard error of the mean.
    n_events : int
        Number of values that were kept.
    """

    mean: float
    median: float
    std: float
    sem: float
    n_events: int


def _merge_rest(n: int, size: int) -> list[tuple[int, int]]:
    full = _skip_rest(n, size)
    return [*full[:-1], (full[-1][0], n)]


def _overlap_rest(n: int, size: int) -> list[tuple[int, int]]:
    return _skip_rest(n, size) + ([(n - size, n)] if n % size else [])


def _truncate_rest(n: int, size: int) -> list[tuple[int, int]]:
    return _skip_rest(n, size) + ([(n - n % size, n)] if n % size else [])


def _skip_rest(n: int, size: int) -> list[tuple[int, int]]:
    return [(start, start + size) for start in range(0, n - size + 1, size)]


LAST_CHUNK_POLICIES: dict[str, Callable[[int, int], list[tuple[int, int]]]] = {
    "merge": _merge_rest,
    "overlap": _overlap_rest,
    "truncate": _truncate_rest,
    "skip": _skip_rest,
}
"""Policies for the rows after the last full chunk: they join it, overlap with it, are a smaller chunk, or are left."""


def split_chunks(n: int, size: int, policy: str = "merge") -> list[tuple[int, int]]:
    """Split rows into chunks.

    Parameters
    ----------
    n : int
        Number of rows.
    size : int
        Rows of a chunk.
    policy : {"merge", "overlap", "truncate", "skip"}
        Use of the rows after the last full chunk: they join it, make a chunk with the last `size` rows, a smaller
        chunk, or none.

    Returns
    -------
    list of (int, int)
        First row and row after the last of each chunk; empty if there are fewer rows than a chunk has.

    Examples
    --------
    >>> split_chunks(24, 10), split_chunks(24, 10, "overlap")
    ([(0, 10), (10, 24)], [(0, 10), (10, 20), (14, 24)])
    >>> split_chunks(24, 10, "truncate"), split_chunks(24, 10, "skip")
    ([(0, 10), (10, 20), (20, 24)], [(0, 10), (10, 20)])
    """
    return LAST_CHUNK_POLICIES[policy](n, size) if n >= size else []


def clip_values(values: Array, max_sigma: float = 3.0, iterations: int = 5) -> Array:
    """Clip values that deviate from the mean, repeatedly.

    Parameters
    ----------
    values : array of float, shape (n,)
        Finite values.
    max_sigma : float
        Largest deviation, in standard deviations.
    iterations : int
        Most repetitions; 0 clips nothing.

    Returns
    -------
    array of float, shape (m,)
        Values that are kept, in their order.

    Examples
    --------
    >>> clip_values(np.array([1.0] * 20 + [2.0])).tolist() == [1.0] * 20
    True
    """
    for _ in range(iterations):
        kept = values[np.abs(values - values.mean()) <= max_sigma * values.std()]
        # Rounding of the mean of equal values may otherwise clip them all.
        if len(kept) in (0, len(values)):
            break
        values = kept
    return values


def summarise_throughput(values: Array, max_sigma: float = 3.0, iterations: int = 5) -> ClippedStatistics:
    """Summarise the optical throughputs of a chunk of muon rings.

    Parameters
    ----------
    values : array of float, shape (n,)
        Optical throughputs, finite.
    max_sigma : float
        Largest deviation from the mean, in standard deviations.
    iterations : int
        Most repetitions of the clipping; 0 clips nothing.

    Returns
    -------
    ClippedStatistics

    Notes
    -----
    Of a normal distribution, clipping at three standard deviations takes off 1.3 % of the standard deviation.

    Examples
    --------
    >>> summary = summarise_throughput(np.array([0.19, 0.21, 0.19, 0.21]))
    >>> round(summary.mean, 6), round(summary.std, 6), round(summary.sem, 6), summary.n_events
    (0.2, 0.01, 0.005, 4)
    """
    kept = clip_values(values, max_sigma, iterations)
    std = float(kept.std())
    return ClippedStatistics(float(kept.mean()), float(np.median(kept)), std, std / math.sqrt(len(kept)), len(kept))
