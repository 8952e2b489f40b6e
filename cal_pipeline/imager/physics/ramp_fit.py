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

_LANES = 64
"""Pixels that are fitted side by side: loops over them use several at once of the processor's lanes."""

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
    each = n_integrations if n_integrations > 1 else 0
    values = np.full((1 + each, 4, ramps.fitted.size), np.nan, np.float32)
    chi2, n_used = np.zeros(values[:, 0].shape), np.zeros(values[:, 0].shape, np.int32)
    _fit_pixels(*ramps, tuple(compute_difference_noise(times)), values, chi2, n_used)
    lasting = pixeldq | np.where(find_without_gain(gain, read_noise), np.uint32(DQ.NO_GAIN_VALUE), np.uint32(0))
    events = np.bitwise_or.reduce(groupdq, axis=1) & np.uint8(EVENTS)
    values, chi2, n_used = (array.reshape(*array.shape[:-1], *shape) for array in (values, chi2, n_used))
    integrations = _collect(values[1:], chi2[1:], n_used[1:], lasting | events) if each else None
    return _collect(values[0], chi2[0], n_used[0], lasting | np.bitwise_or.reduce(events, axis=0), integrations)


def _collect(
    values: NDArray[np.float32],
    chi2: Floats,
    n_used: NDArray[np.int32],
    dq: NDArray[np.uint32],
    integrations: RampFit | None = None,
) -> RampFit:
    """Name the results of the compiled loop, and leave χ² to pixels whose ramps are complete."""
    # Counts, gains or noise near the largest numbers leave values that float32 does not hold.
    is_lost = (n_used == 0) | ~np.isfinite(values).all(axis=-3)
    values = np.where(np.expand_dims(is_lost, -3), np.float32(np.nan), values)
    dq = dq | np.where(is_lost, np.uint32(DQ.DO_NOT_USE), np.uint32(0))
    counted = ((dq & _CUT_SHORT) == 0) & (n_used > 1)
    rate, err, var_poisson, var_rnoise = np.moveaxis(values, -3, 0)
    return RampFit(
        rate=rate,
        err=err,
        var_poisson=var_poisson,
        var_rnoise=var_rnoise,
        dq=dq,
        chi2=np.where(counted, chi2, 0.0),
        n_free=np.where(counted, n_used - 1, 0).astype(np.int32),
        integrations=integrations,
    )


@compiled
def _fit_pixels(
    data: NDArray[Any],
    usable: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    gain: Floats,
    read_noise: Floats,
    noise: Noise,
    values: NDArray[np.float32],
    chi2: Floats,
    n_used: NDArray[np.int32],
) -> None:
    """Fit all pixels: their integrations together first, then each that there is a place for."""
    n_integrations, n_differences, n_pixels = usable.shape
    differences = np.empty((n_integrations, n_differences, _LANES))
    used = np.empty((n_integrations, n_differences, _LANES))
    variance = np.ones(_LANES)
    memory = _make_memory(n_differences)
    for start in range(0, n_pixels, _LANES):
        n_lanes = min(_LANES, n_pixels - start)
        used[:] = 0.0
        differences[:] = 0.0
        for k in range(n_lanes):
            variance[k] = read_noise[start + k] ** 2 if fitted[start + k] else 1.0
        for i in range(n_integrations):
            for g in range(n_differences):
                for k in range(n_lanes):
                    p = start + k
                    rise = gain[p] * (float(data[i, g + 1, p]) - float(data[i, g, p]))
                    if fitted[p] and usable[i, g, p] and np.isfinite(rise):
                        differences[i, g, k], used[i, g, k] = rise, 1.0
        for fit in range(len(values)):
            integrations = (0, n_integrations) if fit == 0 else (fit - 1, fit)
            _fit_lanes(differences, used, integrations, variance, noise, memory)
            _write_lanes(variance, memory, values[fit, :, start:], chi2[fit, start:], n_used[fit, start:])


@compiled
def _make_memory(n_differences: int) -> Any:
    """Make arrays to work in; of one array each, or loops that write one and read another are not vectorized."""
    rows = np.zeros((n_differences, _LANES)), np.zeros((n_differences, _LANES)), np.zeros((n_differences, _LANES))
    lanes = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    sums = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    fits = np.zeros(_LANES), np.zeros(_LANES, np.int64), np.zeros(_LANES, np.bool_)
    return rows, lanes, sums, fits


@compiled
def _fit_lanes(
    differences: Floats, used: Floats, integrations: tuple[int, int], variance: Floats, noise: Noise, memory: Any
) -> None:
    """Iterate the rates of 64 pixels to their fixed points.

    A difference that is not used is 0, as are its interval and its covariances: a segment of its own
    that adds nothing to the sums.
    """
    rate, number, done = memory[3]
    numerator, denominator = memory[2][:2]
    unfinished = 0
    for k in range(_LANES):
        total, time, number[k] = 0.0, 0.0, 0
        for i in range(integrations[0], integrations[1]):
            for g in range(used.shape[1]):
                total += differences[i, g, k]
                time += noise[0][g] * used[i, g, k]
                number[k] += int(used[i, g, k])
        rate[k] = total / time if number[k] > 0 else 0.0
        done[k] = number[k] == 0
        unfinished += number[k] > 0
    for _ in range(_PASSES):
        if unfinished == 0:
            break
        _normal_sums(differences, used, integrations, rate, variance, noise, memory)
        for k in range(_LANES):
            # A rate that has converged stays, or it would depend on the pixels beside it.
            if not done[k]:
                before, rate[k] = rate[k], numerator[k] / denominator[k]
                # The error is denominator^(-1/2).
                done[k] = (rate[k] - before) ** 2 * denominator[k] < _TOLERANCE**2
                unfinished -= done[k]
    _quadratic_forms(differences, used, integrations, rate, variance, noise, memory)


@compiled
def _write_lanes(
    variance: Floats, memory: Any, values: NDArray[np.float32], chi2: Floats, n_used: NDArray[np.int32]
) -> None:
    """Write rates, errors, variances, χ² and numbers of differences of the pixels that have any."""
    rate, number, _ = memory[3]
    by_reads, by_photons, norm, squares = memory[2]
    for k in range(min(_LANES, len(n_used))):
        if number[k] > 0:
            var_rnoise = variance[k] * by_reads[k] / norm[k] ** 2
            var_poisson = max(rate[k], 0.0) * by_photons[k] / norm[k] ** 2
            values[0, k], values[1, k] = rate[k], np.sqrt(var_rnoise + var_poisson)
            values[2, k], values[3, k] = var_poisson, var_rnoise
            chi2[k], n_used[k] = squares[k], number[k]


@compiled
def _eliminate(
    used: Floats,
    g: int,
    rate: Floats,
    variance: Floats,
    noise: Noise,
    covariance: Floats,
    inverse: Floats,
    factor: Floats,
) -> None:
    """Eliminate the covariance with the difference before: C = L D Lᵀ, factors of L and inverses of D.

    One array is written in each loop: with more, the compiler does not find that they do not overlap.
    """
    a, b, c, d = noise[1][g], noise[3][g], noise[2][g], noise[4][g]
    for k in range(_LANES):
        factor[k] = covariance[k] * inverse[k]
    for k in range(_LANES):
        lit = rate[k] if rate[k] > 0.0 else 0.0
        inverse[k] = 1.0 / (variance[k] * a + lit * b - factor[k] * covariance[k])
    if g + 1 < len(used):
        here, after = used[g], used[g + 1]
        for k in range(_LANES):
            lit = rate[k] if rate[k] > 0.0 else 0.0
            covariance[k] = (variance[k] * c + lit * d) * here[k] * after[k]


@compiled
def _normal_sums(
    differences: Floats,
    used: Floats,
    integrations: tuple[int, int],
    rate: Floats,
    variance: Floats,
    noise: Noise,
    memory: Any,
) -> None:
    """Compute Xᵀ C⁻¹ d and Xᵀ C⁻¹ X: sums of products of L⁻¹ X and L⁻¹ d over D."""
    covariance, inverse, factor, x, d = memory[1]
    numerator, denominator = memory[2][:2]
    _clear(numerator)
    _clear(denominator)
    for i in range(integrations[0], integrations[1]):
        _clear(covariance)
        _clear(inverse)
        _clear(x)
        _clear(d)
        for g in range(used.shape[1]):
            interval, difference, use = noise[0][g], differences[i, g], used[i, g]
            _eliminate(used[i], g, rate, variance, noise, covariance, inverse, factor)
            for k in range(_LANES):
                x[k] = interval * use[k] - factor[k] * x[k]
            for k in range(_LANES):
                d[k] = difference[k] - factor[k] * d[k]
            for k in range(_LANES):
                numerator[k] += x[k] * d[k] * inverse[k]
            for k in range(_LANES):
                denominator[k] += x[k] * x[k] * inverse[k]


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
def _quadratic_forms(
    differences: Floats,
    used: Floats,
    integrations: tuple[int, int],
    rate: Floats,
    variance: Floats,
    noise: Noise,
    memory: Any,
) -> None:
    """Compute the products of C⁻¹ X with the parts of C by reads and photons, Xᵀ C⁻¹ X, and χ²."""
    factors, inverses, reduced = memory[0]
    covariance, inverse, factor, x, residual = memory[1]
    by_reads, by_photons, norm, squares = memory[2]
    _clear(by_reads)
    _clear(by_photons)
    _clear(norm)
    _clear(squares)
    for i in range(integrations[0], integrations[1]):
        _clear(covariance)
        _clear(inverse)
        _clear(x)
        _clear(residual)
        for g in range(used.shape[1]):
            interval, difference, use = noise[0][g], differences[i, g], used[i, g]
            _eliminate(used[i], g, rate, variance, noise, covariance, inverse, factor)
            for k in range(_LANES):
                x[k] = interval * use[k] - factor[k] * x[k]
            for k in range(_LANES):
                residual[k] = (difference[k] - rate[k] * interval * use[k]) - factor[k] * residual[k]
            for k in range(_LANES):
                squares[k] += residual[k] * residual[k] * inverse[k]
            for k in range(_LANES):
                norm[k] += x[k] * x[k] * inverse[k]
            _copy(factor, factors[g])
            _copy(inverse, inverses[g])
            _copy(x, reduced[g])
        _add_forms(noise, memory)


@compiled
def _add_forms(noise: Noise, memory: Any) -> None:
    """Substitute back, which gives C⁻¹ X of an integration, and add its products with the parts of C."""
    factors, inverses, reduced = memory[0]
    weight, after, factor = memory[1][:3]
    by_reads, by_photons = memory[2][:2]
    _clear(after)
    _clear(factor)
    for g in range(len(factors) - 1, -1, -1):
        a, b, c, d = noise[1][g], noise[2][g], noise[3][g], noise[4][g]
        x, inverse = reduced[g], inverses[g]
        for k in range(_LANES):
            weight[k] = x[k] * inverse[k] - factor[k] * after[k]
        for k in range(_LANES):
            by_reads[k] += weight[k] * (weight[k] * a + 2.0 * after[k] * b)
        for k in range(_LANES):
            by_photons[k] += weight[k] * (weight[k] * c + 2.0 * after[k] * d)
        _copy(weight, after)
        _copy(factors[g], factor)
