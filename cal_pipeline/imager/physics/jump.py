"""Jumps in ramps: hits by cosmic rays, from steps fitted along with the rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.ramp_noise import compute_difference_noise, prepare_ramps
from cal_pipeline.imager.physics.reads import ReadTimes

Floats = NDArray[np.float64]
Noise = tuple[Floats, ...]
"""Fields of :class:`.DifferenceNoise`."""

_LANES = 64
"""Pixels that are searched side by side: loops over them use several at once of the processor's lanes."""

_JUMP = np.uint8(DQ.JUMP_DET)


def flag_jumps(
    data: NDArray[np.floating[Any]],
    groupdq: NDArray[np.uint8],
    pixeldq: NDArray[np.uint32],
    gain: NDArray[Any],
    read_noise: NDArray[Any],
    times: ReadTimes,
    threshold: float = 4.0,
) -> NDArray[np.uint8]:
    """Flag the groups before which a ramp jumps.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Linear counts [adu].
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups. A difference is left out if either of its groups is SATURATED or
        DO_NOT_USE, or the second is JUMP_DET.
    pixeldq : ndarray of uint32, shape (y, x)
        Flags of the pixels; DO_NOT_USE and REFERENCE_PIXEL are not searched.
    gain : ndarray, shape (y, x)
        Gain [e/adu]; pixels where it is not positive are not searched.
    read_noise : ndarray, shape (y, x)
        Noise of one read [e rms]; pixels where it is not positive are not searched.
    times : ReadTimes
        Times of the G groups.
    threshold : float
        Height of a jump over its error from which it is one.

    Returns
    -------
    ndarray of uint8, shape (I, G, y, x)
        `groupdq` with JUMP_DET.

    Raises
    ------
    LayoutError
        If the arrays have different numbers of groups or pixels, or there are less than two groups.

    Notes
    -----
    In each difference d_i of two groups a step is fitted along with the rate. With the covariance C
    of the differences, at the median rate, and their intervals X, its height over its error is
    z_i = (Q d)_i/√Q_ii, Q = C⁻¹ - C⁻¹ X Xᵀ C⁻¹/(Xᵀ C⁻¹ X). While at least three differences are
    usable, the one whose z is farthest from 0 is struck out if that distance exceeds the threshold, and the
    rest is searched anew. A hit during the reads of a group enters both of its differences. Neighbours that
    share a group of several reads with a difference struck out are therefore flagged as well.

    C⁻¹ is never formed: its diagonal is 1/(D_i + E_i - C_ii), with the pivots D of the elimination
    from the first row and E of that from the last.

    References
    ----------
    Meurant 1992, SIAM J. Matrix Anal. Appl. 13, 707: inverses of tridiagonal matrices.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> one, pixeldq = np.ones((1, 1)), np.zeros((1, 1), np.uint32)
    >>> ramp = np.array([10.0, 20.0, 30.0, 540.0, 550.0]).reshape(1, 5, 1, 1)
    >>> times = compute_read_times([[1], [2], [3], [4], [5]], 5.0)
    >>> flag_jumps(ramp, np.zeros(ramp.shape, np.uint8), pixeldq, one, 9.0 * one, times).ravel()
    array([0, 0, 0, 4, 0], dtype=uint8)
    """
    ramps = prepare_ramps(data, groupdq, pixeldq, gain, read_noise, times)
    flagged = np.array(groupdq, order="C")
    _flag_pixels(
        *ramps,
        tuple(compute_difference_noise(times)),
        times.n_reads > 1,
        threshold,
        flagged.reshape(ramps.data.shape),
    )
    return flagged


@compiled
def _flag_pixels(
    data: NDArray[Any],
    usable: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    gain: Floats,
    read_noise: Floats,
    noise: Noise,
    several: NDArray[np.bool_],
    threshold: float,
    flagged: NDArray[np.uint8],
) -> None:
    """Search all pixels, and those in which a jump was found again, until none is found."""
    n_integrations, n_differences = usable.shape[:2]
    differences = np.empty((n_differences, _LANES))
    used = np.empty((n_differences, _LANES))
    variance = np.ones(_LANES)
    number = np.empty(_LANES, np.int64)
    memory = _make_memory(n_differences)
    for i in range(n_integrations):
        pixels = np.flatnonzero(fitted)
        while len(pixels):
            n_found = 0
            for start in range(0, len(pixels), _LANES):
                lanes = pixels[start : start + _LANES]
                used[:] = differences[:] = 0.0
                number[:] = 0
                for k in range(len(lanes)):
                    p = lanes[k]
                    variance[k] = read_noise[p] ** 2
                    for g in range(n_differences):
                        rise = gain[p] * (float(data[i, g + 1, p]) - float(data[i, g, p]))
                        if usable[i, g, p] and np.isfinite(rise):
                            differences[g, k], used[g, k] = rise, 1.0
                            number[k] += 1
                where = _largest_steps(differences, used, number, variance, noise, threshold, memory)
                for k in range(len(lanes)):
                    if where[k] >= 0:
                        p = lanes[k]
                        usable[i, where[k], p] = False
                        _flag_found(where[k], several, flagged[i], p)
                        pixels[n_found] = p  # no later one than that of this lane
                        n_found += 1
            pixels = pixels[:n_found]


@compiled
def _flag_found(g: int, several: NDArray[np.bool_], flagged: NDArray[np.uint8], p: int) -> None:
    """Flag the second group of a difference that jumps, and of those that share several reads with it."""
    flagged[g + 1, p] |= _JUMP
    if g > 0 and several[g]:
        flagged[g, p] |= _JUMP
    if g + 2 < len(flagged) and several[g + 1]:
        flagged[g + 2, p] |= _JUMP


@compiled
def _make_memory(n_differences: int) -> Any:
    """Make arrays to work in; of one array each, or loops that write one and read another are not vectorized."""
    shape = (n_differences, _LANES)
    rows = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    lanes = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    sums = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    return rows, lanes, sums, np.zeros(_LANES, np.int64)


@compiled
def _median_rates(
    differences: Floats, used: Floats, number: NDArray[np.int64], interval: Floats, rates: Floats, median: Floats
) -> None:
    """Compute the median rate of each pixel's usable differences, at least 0."""
    lowest = n_differences = len(used)
    for g in range(n_differences):
        difference, use, rate, per_second = differences[g], used[g], rates[g], 1.0 / interval[g]
        for k in range(_LANES):
            # Infinite ones come last in the order.
            rate[k] = difference[k] * per_second if use[k] > 0.0 else np.inf
    for k in range(_LANES):
        if number[k] > 0:
            lowest = min(lowest, (number[k] - 1) // 2)
    # Bubbles: what is below the median need not be in order.
    for last in range(n_differences - 1, max(lowest, 1) - 1, -1):
        for g in range(last):
            _sort_pair(rates[g], rates[g + 1])
    for k in range(_LANES):
        n = number[k]
        middle = 0.5 * (rates[(n - 1) // 2, k] + rates[n // 2, k]) if n > 0 else 0.0
        median[k] = max(middle, 0.0)


@compiled
def _sort_pair(first: Floats, second: Floats) -> None:
    """Exchange the numbers of two rows that are not in order."""
    for k in range(_LANES):
        a, b = first[k], second[k]
        first[k] = a if a < b else b
        second[k] = b if a < b else a


@compiled
def _largest_steps(
    differences: Floats,
    used: Floats,
    number: NDArray[np.int64],
    variance: Floats,
    noise: Noise,
    threshold: float,
    memory: Any,
) -> NDArray[np.int64]:
    """Find each pixel's difference with the largest step above the threshold; -1 without any."""
    of_interval, of_difference, diagonal = memory[0][2:]
    norm, fitted, rate = memory[2]
    largest, height, information = memory[1][:3]
    where: NDArray[np.int64] = memory[3]
    _median_rates(differences, used, number, noise[0], diagonal, rate)
    _eliminate(differences, used, rate, variance, noise, memory)
    _substitute_back(used, rate, variance, noise, memory)
    largest[:] = threshold * threshold
    where[:] = -1
    for k in range(_LANES):
        fitted[k] = fitted[k] / norm[k]
    for g in range(len(used)):
        x, d, inverse = of_interval[g], of_difference[g], diagonal[g]
        for k in range(_LANES):
            height[k] = d[k] - x[k] * fitted[k]
        for k in range(_LANES):
            information[k] = inverse[k] - x[k] * x[k] / norm[k]
        for k in range(_LANES):
            # What rounding leaves of nothing is no error to divide by.
            if height[k] ** 2 > largest[k] * information[k] and information[k] > 1e-9 * inverse[k]:
                largest[k] = height[k] ** 2 / information[k]
                where[k] = g
    for k in range(_LANES):
        if number[k] < 3:
            where[k] = -1
    return where


@compiled
def _eliminate(differences: Floats, used: Floats, rate: Floats, variance: Floats, noise: Noise, memory: Any) -> None:
    """Eliminate from the first row, C = L D Lᵀ: factors of L, pivots of D, and L⁻¹ X and L⁻¹ d over D.

    A difference that is not used is 0, as are its interval and its covariances: a segment of its own.
    One array is written in each loop: with more, the compiler does not find that they do not overlap.
    """
    pivots, factors, of_interval, of_difference, _ = memory[0]
    covariance, inverse, factor, x, d = memory[1]
    _clear(covariance)
    _clear(inverse)
    _clear(x)
    _clear(d)
    for g in range(len(used)):
        a, b, interval = noise[1][g], noise[3][g], noise[0][g]
        difference, use, pivot = differences[g], used[g], pivots[g]
        for k in range(_LANES):
            factor[k] = covariance[k] * inverse[k]
        for k in range(_LANES):
            pivot[k] = variance[k] * a + rate[k] * b - factor[k] * covariance[k]
        for k in range(_LANES):
            inverse[k] = 1.0 / pivot[k]
        for k in range(_LANES):
            x[k] = interval * use[k] - factor[k] * x[k]
        for k in range(_LANES):
            d[k] = difference[k] - factor[k] * d[k]
        kept, over, other = factors[g], of_interval[g], of_difference[g]
        _copy(factor, kept)
        for k in range(_LANES):
            over[k] = x[k] * inverse[k]
        for k in range(_LANES):
            other[k] = d[k] * inverse[k]
        _covariance_with_next(g, used, rate, variance, noise, covariance)


@compiled
def _clear(values: Floats) -> None:
    """Set numbers to 0; loops are compiled ten times as fast as assignments to slices."""
    for k in range(_LANES):
        values[k] = 0.0


@compiled
def _copy(values: Floats, out: Floats) -> None:
    """Copy numbers."""
    for k in range(_LANES):
        out[k] = values[k]


@compiled
def _covariance_with_next(
    g: int, used: Floats, rate: Floats, variance: Floats, noise: Noise, covariance: Floats
) -> None:
    """Compute the covariance of a difference with the next; 0 unless both are used."""
    a, b = noise[2][g], noise[4][g]
    here, after = used[g], used[min(g + 1, len(used) - 1)]
    for k in range(_LANES):
        covariance[k] = (variance[k] * a + rate[k] * b) * here[k] * after[k]


@compiled
def _substitute_back(used: Floats, rate: Floats, variance: Floats, noise: Noise, memory: Any) -> None:
    """Complete C⁻¹ X, C⁻¹ d and the diagonal of C⁻¹, with Xᵀ C⁻¹ X and Xᵀ C⁻¹ d."""
    pivots, factors, of_interval, of_difference, diagonal = memory[0]
    covariance, inverse, less, x, d = memory[1]
    norm, total = memory[2][:2]
    _clear(inverse)
    _clear(x)
    _clear(d)
    _clear(norm)
    _clear(total)
    n_differences = len(used)
    for g in range(n_differences - 1, -1, -1):
        a, b, interval = noise[1][g], noise[3][g], noise[0][g]
        factor, over, other = factors[min(g + 1, n_differences - 1)], of_interval[g], of_difference[g]
        pivot, inverse_diagonal = pivots[g], diagonal[g]
        for k in range(_LANES):
            x[k] = over[k] - factor[k] * x[k]
        for k in range(_LANES):
            d[k] = other[k] - factor[k] * d[k]
        _copy(x, over)
        _copy(d, other)
        for k in range(_LANES):
            norm[k] += interval * x[k]
        for k in range(_LANES):
            total[k] += interval * d[k]
        # Elimination from the last row: the pivot of this one, and the diagonal of C⁻¹ from both.
        _covariance_with_next(g, used, rate, variance, noise, covariance)
        for k in range(_LANES):
            less[k] = covariance[k] * covariance[k] * inverse[k]
        for k in range(_LANES):
            inverse[k] = 1.0 / (variance[k] * a + rate[k] * b - less[k])
        for k in range(_LANES):
            inverse_diagonal[k] = 1.0 / (pivot[k] - less[k])
