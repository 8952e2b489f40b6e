"""Times of the reads that the groups of a ramp are means of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReadTimes:
    """Times of the reads of each group, from the reset.

    Attributes
    ----------
    n_reads : ndarray of int, shape (G,)
        Number n of reads that a group is the mean of.
    mean : ndarray, shape (G,)
        Mean time T of the reads [s].
    tau : ndarray, shape (G,)
        Variance of the mean of the reads over that of one electron per second [s]: photons that
        arrive at a rate r give it a variance of r tau.
    last : ndarray, shape (G,)
        Time of the last read [s].

    Examples
    --------
    >>> times = ReadTimes(np.array([1, 2]), np.array([1.0, 2.5]), np.array([1.0, 2.25]), np.array([1.0, 3.0]))
    >>> times.n_groups
    2
    """

    n_reads: NDArray[np.int64]
    mean: Floats
    tau: Floats
    last: Floats

    @property
    def n_groups(self) -> int:
        """Number G of groups."""
        return len(self.n_reads)


def compute_read_times(read_pattern: Sequence[Sequence[int]], frame_time: float) -> ReadTimes:
    """Compute the times of the groups of a ramp.

    Parameters
    ----------
    read_pattern : sequence of sequence of int
        Numbers of the reads in each of the G groups; the first read after the reset is 1.
    frame_time : float
        Time between two reads [s]; read k is taken k·frame_time after the reset.

    Returns
    -------
    ReadTimes
        Number of reads, mean time, tau and last time of each group.

    Raises
    ------
    LayoutError
        If a group has no read, reads do not grow, or `frame_time` is not positive.

    Notes
    -----
    Electrons that have arrived by two times t and t' share those up to the earlier one, r min(t, t').
    Summed over all pairs of n reads, and divided by n², that is r tau with
    tau = Σ_k (2(n - k) - 1) t_k/n², k = 0 … n - 1 in the order of time.

    References
    ----------
    Brandt 2024, PASP 136, 045004.

    Examples
    --------
    >>> times = compute_read_times([[1], [2, 3]], 10.0)
    >>> times.mean.tolist(), times.tau.tolist(), times.last.tolist()
    ([10.0, 25.0], [10.0, 22.5], [10.0, 30.0])
    """
    if not (np.isfinite(frame_time) and frame_time > 0):
        raise LayoutError(f"frame_time is {frame_time!r}, expected a positive number of seconds")
    groups = [_check_group(g, group) for g, group in enumerate(read_pattern)]
    for g in range(1, len(groups)):
        if groups[g][0] <= groups[g - 1][-1]:
            raise LayoutError(
                f"read_pattern: group {g} begins with read {groups[g][0]}, expected one after "
                f"{groups[g - 1][-1]}, the last of the group before"
            )
    n_reads = np.array([len(group) for group in groups], np.int64)
    times = [frame_time * group for group in groups]
    weights = [(2.0 * np.arange(n, 0, -1) - 1.0) / n**2 for n in n_reads]
    return ReadTimes(
        n_reads=n_reads,
        mean=np.array([read.mean() for read in times]),
        tau=np.array([weight @ read for weight, read in zip(weights, times, strict=True)]),
        last=np.array([read[-1] for read in times]),
    )


def _check_group(g: int, reads: Any) -> NDArray[np.int64]:
    """Check the reads of a group: integers from 1 that grow."""
    found = np.asarray(reads)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
        raise LayoutError(f"read_pattern: group {g} is {reads!r}, expected a list of numbers of reads")
    if found[0] < 1 or (np.diff(found.astype(np.int64)) <= 0).any():
        raise LayoutError(f"read_pattern: group {g} has the reads {found.tolist()}, expected growing ones from 1")
    return found.astype(np.int64)


def check_ramp(data: NDArray[Any], groupdq: NDArray[np.uint8], times: ReadTimes) -> None:
    """Check that data, flags and times are those of one ramp, since compiled loops check no bounds.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Counts.
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups.
    times : ReadTimes
        Times of the G groups.

    Raises
    ------
    LayoutError
        If the numbers of axes, groups or pixels differ.

    Examples
    --------
    >>> times = compute_read_times([[1], [2]], 10.0)
    >>> check_ramp(np.zeros((1, 2, 4, 4)), np.zeros((1, 2, 4, 4), np.uint8), times)
    """
    if data.ndim != 4 or data.shape[1] != times.n_groups:
        raise LayoutError(f"data: shape {data.shape}, expected (integration, {times.n_groups} groups, y, x)")
    if groupdq.shape != data.shape or groupdq.dtype != np.uint8:
        raise LayoutError(f"groupdq: {groupdq.dtype} of shape {groupdq.shape}, expected uint8 of shape {data.shape}")
