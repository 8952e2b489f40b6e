"""Rates of ramps: generalised least squares on the differences between neighbouring groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.imager.dq import DQ, EVENTS
from cal_pipeline.imager.physics.ramp_noise import compute_difference_noise, find_without_gain, prepare_ramps
from cal_pipeline.imager.physics.reads import ReadTimes

Floats = NDArray[np.float64]
Noise = tuple[Floats, ...]
"""Fields of :class:`.DifferenceNoise`."""

_PASSES = 20
_TOLERANCE = 1e-4
"""Change of the rate over its error at which the iteration has converged."""

_CUT_SHORT = np.uint32(DQ.SATURATED | DQ.JUMP_DET | DQ.DO_NOT_USE)


@dataclass(frozen=True, eq=False)
class RampFit:
    """Rates of pixels, from all integrations or from each.

    Attributes
    ----------
    rate, err, var_poisson, var_rnoise : ndarray of float32, shape (y, x) or (I, y, x)
        Rate and its error [e/s], and the variances of photons and reads that add up to the error's
        square [e²/s²]; NaN in pixels that are not fitted.
    dq : ndarray of uint32, shape (y, x) or (I, y, x)
        Flags of pixels with the events of their groups.
    chi2 : ndarray, shape (y, x) or (I, y, x)
        χ² of the fit; 0 in pixels that are not fitted, or DO_NOT_USE, JUMP_DET or SATURATED.
    n_free : ndarray of int32, shape (y, x) or (I, y, x)
        Degrees of freedom, the number of usable differences less one; 0 where `chi2` is 0.
    integrations : RampFit or None
        Fits of each of several integrations; None for a single one.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> one, pixeldq = np.ones((1, 1)), np.zeros((1, 1), np.uint32)
    >>> ramp = np.array([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1)
    >>> times = compute_read_times([[1], [2], [3]], 5.0)
    >>> fit = fit_ramps(ramp, np.zeros(ramp.shape, np.uint8), pixeldq, one, one, times)
    >>> fit.rate.item(), fit.n_free.item(), fit.integrations
    (2.0, 1, None)
    """

    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    var_poisson: NDArray[np.float32]
    var_rnoise: NDArray[np.float32]
    dq: NDArray[np.uint32]
    chi2: Floats
    n_free: NDArray[np.int32]
    integrations: RampFit | None = None


def fit_ramps(
    data: NDArray[np.floating[Any]],
    groupdq: NDArray[np.uint8],
    pixeldq: NDArray[np.uint32],
    gain: NDArray[Any],
    read_noise: NDArray[Any],
    times: ReadTimes,
) -> RampFit:
    """Fit the rate of each pixel to its ramps.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Linear counts [adu].
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups. A difference is left out if either of its groups is SATURATED or
        DO_NOT_USE, or the second is JUMP_DET.
    pixeldq : ndarray of uint32, shape (y, x)
        Flags of the pixels; DO_NOT_USE and REFERENCE_PIXEL are not fitted.
    gain : ndarray, shape (y, x)
        Gain [e/adu].
    read_noise : ndarray, shape (y, x)
        Noise of one read [e rms].
    times : ReadTimes
        Times of the G groups.

    Returns
    -------
    RampFit
        One fit to all integrations, with a fit to each if there are several. Pixels without a usable
        difference are NaN and DO_NOT_USE; those whose gain or read noise is not positive are
        NO_GAIN_VALUE, too.

    Raises
    ------
    LayoutError
        If the arrays have different numbers of groups or pixels, or there are less than two groups.

    Notes
    -----
    The rate r minimises (d - r X)ᵀ C⁻¹ (d - r X), d being the differences in electrons, X their
    intervals and C their covariance (:func:`.compute_difference_noise`) at the rate max(r, 0), found by
    iteration to the fixed point. Differences left out are struck from C, so that independent segments
    remain. With the weights w = C⁻¹ X/(Xᵀ C⁻¹ X) the variances are quadratic forms of the two parts of C.

    A mean of the integrations' rates, weighted by their errors, would be low: where noise made the
    rate low, the error is low as well. Hence one fit to all differences.

    References
    ----------
    Brandt 2024, PASP 136, 045004.

    Examples
    --------
    A hit between the third and the fourth read, which is flagged, leaves two segments:

    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> one, pixeldq = np.ones((1, 1)), np.zeros((1, 1), np.uint32)
    >>> ramp = np.array([10.0, 20.0, 30.0, 540.0, 550.0]).reshape(1, 5, 1, 1)
    >>> groupdq = np.array([0, 0, 0, 4, 0], np.uint8).reshape(1, 5, 1, 1)
    >>> times = compute_read_times([[1], [2], [3], [4], [5]], 5.0)
    >>> fit = fit_ramps(ramp, groupdq, pixeldq, one, 3.0 * one, times)
    >>> round(fit.rate.item(), 6), DQ(fit.dq.item())
    (2.0, <DQ.JUMP_DET: 4>)
    """
    ramps = prepare_ramps(data, groupdq, pixeldq, gain, read_noise, times)
    n_integrations, _, *shape = data.shape
    together = _Results(1, ramps.fitted.size)
    apart = _Results(n_integrations if n_integrations > 1 else 0, ramps.fitted.size)
    _fit_pixels(
        *ramps,
        tuple(compute_difference_noise(times)),
        (together.values, together.chi2, together.n_used),
        (apart.values, apart.chi2, apart.n_used),
    )
    lasting = pixeldq | np.where(find_without_gain(gain, read_noise), np.uint32(DQ.NO_GAIN_VALUE), np.uint32(0))
    events = np.bitwise_or.reduce(groupdq, axis=1) & np.uint8(EVENTS)
    each = apart.finish((n_integrations, *shape), lasting | events) if n_integrations > 1 else None
    return together.finish(tuple(shape), lasting | np.bitwise_or.reduce(events, axis=0), each)


class _Results:
    """Arrays that the compiled loop fills, for k fits of each of P pixels."""

    def __init__(self, k: int, n_pixels: int) -> None:
        self.values = np.full((4, k, n_pixels), np.nan, np.float32)
        self.chi2 = np.zeros((k, n_pixels))
        self.n_used = np.zeros((k, n_pixels), np.int32)

    def finish(self, shape: tuple[int, ...], dq: NDArray[np.uint32], each: RampFit | None = None) -> RampFit:
        """Shape the arrays as images, and leave χ² to pixels whose ramps are complete."""
        n_used = self.n_used.reshape(shape)
        dq = dq | np.where(n_used == 0, np.uint32(DQ.DO_NOT_USE), np.uint32(0))
        counted = ((dq & _CUT_SHORT) == 0) & (n_used > 1)
        rate, err, var_poisson, var_rnoise = self.values.reshape(4, *shape)
        return RampFit(
            rate=rate,
            err=err,
            var_poisson=var_poisson,
            var_rnoise=var_rnoise,
            dq=dq,
            chi2=np.where(counted, self.chi2.reshape(shape), 0.0),
            n_free=np.where(counted, n_used - 1, 0).astype(np.int32),
            integrations=each,
        )


@compiled
def _fit_pixels(
    data: NDArray[Any],
    usable: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    gain: Floats,
    read_noise: Floats,
    noise: Noise,
    together: Any,
    apart: Any,
) -> None:
    """Fit each pixel: all integrations together, and those apart that there is a place for."""
    n_integrations, n_differences, n_pixels = usable.shape
    differences = np.empty((n_integrations, n_differences))
    used = np.empty((n_integrations, n_differences), np.bool_)
    memory = np.empty((3, n_differences))
    for p in range(n_pixels):
        if not fitted[p]:
            continue
        for i in range(n_integrations):
            for g in range(n_differences):
                rise = gain[p] * (float(data[i, g + 1, p]) - float(data[i, g, p]))
                differences[i, g] = rise
                used[i, g] = usable[i, g, p] and np.isfinite(rise)
        variance = read_noise[p] * read_noise[p]
        _fit_pixel(differences, used, variance, noise, memory, together, 0, p)
        for i in range(apart[1].shape[0]):
            _fit_pixel(differences[i : i + 1], used[i : i + 1], variance, noise, memory, apart, i, p)


@compiled
def _fit_pixel(
    differences: Floats,
    used: NDArray[np.bool_],
    variance: float,
    noise: Noise,
    memory: Floats,
    results: Any,
    k: int,
    p: int,
) -> None:
    """Iterate the rate to its fixed point, and write it with variances, χ² and number of differences."""
    values, chi2, n_used = results
    total, time, number = 0.0, 0.0, 0
    for i in range(used.shape[0]):
        for g in range(used.shape[1]):
            if used[i, g]:
                total += differences[i, g]
                time += noise[0][g]
                number += 1
    n_used[k, p] = number
    if number == 0:
        return
    rate = total / time
    for _ in range(_PASSES):
        before = rate
        numerator, denominator = _normal_sums(differences, used, max(rate, 0.0), variance, noise)
        rate = numerator / denominator
        # The error is denominator^(-1/2).
        if (rate - before) ** 2 * denominator < _TOLERANCE**2:
            break
    by_reads, by_photons, squares = _quadratic_forms(differences, used, rate, variance, noise, memory)
    values[0, k, p] = rate
    values[1, k, p] = np.sqrt(by_reads + by_photons)
    values[2, k, p] = by_photons
    values[3, k, p] = by_reads
    chi2[k, p] = squares


@compiled
def _normal_sums(
    differences: Floats, used: NDArray[np.bool_], rate: float, variance: float, noise: Noise
) -> tuple[float, float]:
    """Compute Xᵀ C⁻¹ d and Xᵀ C⁻¹ X, with C = L D Lᵀ: sums of products of L⁻¹ X and L⁻¹ d over D."""
    interval, read_variance, read_covariance, photon_variance, photon_covariance = noise
    numerator, denominator = 0.0, 0.0
    for i in range(used.shape[0]):
        covariance, inverse, x, d = 0.0, 0.0, 0.0, 0.0
        for g in range(used.shape[1]):
            if not used[i, g]:
                covariance = 0.0  # the next one begins a segment
                continue
            factor = covariance * inverse
            inverse = 1.0 / (variance * read_variance[g] + rate * photon_variance[g] - factor * covariance)
            x = interval[g] - factor * x
            d = differences[i, g] - factor * d
            numerator += x * d * inverse
            denominator += x * x * inverse
            covariance = variance * read_covariance[g] + rate * photon_covariance[g]
    return numerator, denominator


@compiled
def _quadratic_forms(
    differences: Floats, used: NDArray[np.bool_], rate: float, variance: float, noise: Noise, memory: Floats
) -> tuple[float, float, float]:
    """Compute the variances of a rate by reads and by photons, and χ², at the fixed point."""
    interval, read_variance, read_covariance, photon_variance, photon_covariance = noise
    factors, inverses, reduced = memory
    lit = max(rate, 0.0)
    by_reads, by_photons, norm, squares = 0.0, 0.0, 0.0, 0.0
    n_differences = used.shape[1]
    for i in range(used.shape[0]):
        covariance, inverse, x, residual = 0.0, 0.0, 0.0, 0.0
        for g in range(n_differences):
            if not used[i, g]:
                covariance = 0.0
                continue
            factor = covariance * inverse
            inverse = 1.0 / (variance * read_variance[g] + lit * photon_variance[g] - factor * covariance)
            x = interval[g] - factor * x
            residual = differences[i, g] - rate * interval[g] - factor * residual
            squares += residual * residual * inverse
            norm += x * x * inverse
            covariance = variance * read_covariance[g] + lit * photon_covariance[g]
            factors[g], inverses[g], reduced[g] = factor, inverse, x
        after, factor = 0.0, 0.0
        for g in range(n_differences - 1, -1, -1):
            if not used[i, g]:
                after = factor = 0.0
                continue
            weight = reduced[g] * inverses[g] - factor * after
            by_reads += weight * (weight * read_variance[g] + 2.0 * after * read_covariance[g])
            by_photons += weight * (weight * photon_variance[g] + 2.0 * after * photon_covariance[g])
            after, factor = weight, factors[g]
    return variance * by_reads / norm**2, lit * by_photons / norm**2, squares
