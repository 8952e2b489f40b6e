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

_JUMP = np.uint8(DQ.JUMP_DET)
_FEW = 32
"""Number of rates up to which sorting by insertion is faster."""


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
    usable, the one with the largest |z| is struck out if that exceeds the threshold, and the rest is
    searched anew. A hit during the reads of a group enters both of its differences. Neighbours that
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
    """Flag the jumps of each pixel and integration."""
    n_integrations, n_differences, n_pixels = usable.shape
    differences = np.empty(n_differences)
    used = np.empty(n_differences, np.bool_)
    found = np.empty(n_differences, np.bool_)
    memory = np.empty((5, n_differences))
    for p in range(n_pixels):
        if not fitted[p]:
            continue
        for i in range(n_integrations):
            for g in range(n_differences):
                rise = gain[p] * (float(data[i, g + 1, p]) - float(data[i, g, p]))
                differences[g] = rise
                used[g] = usable[i, g, p] and np.isfinite(rise)
            if _find_jumps(differences, used, found, read_noise[p] ** 2, noise, threshold, memory):
                _flag_found(found, several, flagged, i, p)


@compiled
def _flag_found(
    found: NDArray[np.bool_], several: NDArray[np.bool_], flagged: NDArray[np.uint8], i: int, p: int
) -> None:
    """Flag the second group of differences that jump, and of those that share several reads with them."""
    n_differences = len(found)
    for g in range(n_differences):
        if found[g]:
            flagged[i, g + 1, p] |= _JUMP
            if g > 0 and several[g]:
                flagged[i, g, p] |= _JUMP
            if g + 1 < n_differences and several[g + 1]:
                flagged[i, g + 2, p] |= _JUMP


@compiled
def _find_jumps(
    differences: Floats,
    used: NDArray[np.bool_],
    found: NDArray[np.bool_],
    variance: float,
    noise: Noise,
    threshold: float,
    memory: Floats,
) -> bool:
    """Strike out the largest jump while there is one; return whether there was any."""
    n_used = 0
    for g in range(len(used)):
        found[g] = False
        n_used += used[g]
    any_found = False
    while n_used >= 3:
        rate = max(_median_rate(differences, used, noise[0], memory[0]), 0.0)
        g = _largest_step(differences, used, rate, variance, noise, threshold, memory)
        if g < 0:
            break
        used[g] = False
        found[g] = any_found = True
        n_used -= 1
    return any_found


@compiled
def _median_rate(differences: Floats, used: NDArray[np.bool_], interval: Floats, rates: Floats) -> float:
    """Compute the median of the rates of usable differences."""
    n = 0
    for g in range(len(used)):
        if used[g]:
            rates[n] = differences[g] / interval[g]
            n += 1
    if n > _FEW:
        return float(np.median(rates[:n]))
    for k in range(1, n):
        rate, j = rates[k], k
        while j > 0 and rates[j - 1] > rate:
            rates[j] = rates[j - 1]
            j -= 1
        rates[j] = rate
    return float(0.5 * (rates[(n - 1) // 2] + rates[n // 2]))


@compiled
def _largest_step(
    differences: Floats,
    used: NDArray[np.bool_],
    rate: float,
    variance: float,
    noise: Noise,
    threshold: float,
    memory: Floats,
) -> int:
    """Find the difference with the largest step above the threshold; -1 without any."""
    interval, read_variance, read_covariance, photon_variance, photon_covariance = noise
    pivots, factors, of_interval, of_difference, diagonal = memory
    covariance, inverse, x, d = 0.0, 0.0, 0.0, 0.0
    for g in range(len(used)):  # C = L D Lᵀ; L⁻¹ of the two sides over D
        if not used[g]:
            covariance = 0.0
            continue
        factor = covariance * inverse
        pivots[g] = variance * read_variance[g] + rate * photon_variance[g] - factor * covariance
        inverse = 1.0 / pivots[g]
        x = interval[g] - factor * x
        d = differences[g] - factor * d
        factors[g], of_interval[g], of_difference[g] = factor, x * inverse, d * inverse
        covariance = variance * read_covariance[g] + rate * photon_covariance[g]
    norm, fitted = _substitute_back(used, rate, variance, noise, memory)
    largest, where = threshold * threshold, -1
    for g in range(len(used)):
        if used[g]:
            height = of_difference[g] - of_interval[g] * fitted
            information = diagonal[g] - of_interval[g] ** 2 / norm
            # What rounding leaves of nothing is no error to divide by.
            if information > 1e-9 * diagonal[g] and height * height > largest * information:
                largest, where = height * height / information, g
    return where


@compiled
def _substitute_back(
    used: NDArray[np.bool_], rate: float, variance: float, noise: Noise, memory: Floats
) -> tuple[float, float]:
    """Complete C⁻¹ X, C⁻¹ d and the diagonal of C⁻¹; return Xᵀ C⁻¹ X and the rate."""
    interval, read_variance, read_covariance, photon_variance, photon_covariance = noise
    pivots, factors, of_interval, of_difference, diagonal = memory
    norm, total = 0.0, 0.0
    factor, x, d, inverse = 0.0, 0.0, 0.0, 0.0
    for g in range(len(used) - 1, -1, -1):
        if not used[g]:
            factor = x = d = inverse = 0.0
            continue
        x = of_interval[g] - factor * x
        d = of_difference[g] - factor * d
        of_interval[g], of_difference[g] = x, d
        norm += interval[g] * x
        total += interval[g] * d
        # Elimination from the last row: the pivot of this one, and the diagonal of C⁻¹ from both.
        covariance = variance * read_covariance[g] + rate * photon_covariance[g]
        less = covariance * covariance * inverse
        inverse = 1.0 / (variance * read_variance[g] + rate * photon_variance[g] - less)
        diagonal[g] = 1.0 / (pivots[g] - less)
        factor = factors[g]
    return norm, total / norm
