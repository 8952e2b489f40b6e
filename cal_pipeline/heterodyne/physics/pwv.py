"""Precipitable water vapour (PWV) from the OFFs: a weighted fit with propagated errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.compiled import compiled, rows
from cal_pipeline.heterodyne.physics.sharing import Mapper, groups_of_rows, one_by_one
from cal_pipeline.heterodyne.physics.sky import ModelledSky
from cal_pipeline.heterodyne.physics.sky_observation import LoadView, SkyObservation, SkyView

Floats = NDArray[np.float64]

MAX_STEPS = 50
CONVERGED = 1e-6
"""Relative step below which a fit counts as converged."""
FIXED_POINT = 1e-11
"""Relative distance from the fixed point below which the iteration ends.

Small enough that the result is the fixed point itself, not a stage of the iteration.
"""
_GRID_BLOCK = 512
_GRID_CHANNELS = 512
"""Number of channels used on the initial grid, enough to find a start."""


@dataclass(frozen=True)
class PwvFit:
    """Result of a fit.

    Arrays have shape () for one PWV per scan, (R, A) per pixel, or (R, A, S) per ON-OFF pair.

    Parameters
    ----------
    pwv : ndarray
        Precipitable water vapour [mm].
    error : ndarray
        Statistical 1-sigma error of PWV; NaN if the data do not constrain PWV [mm].
    error_model : ndarray
        Error of PWV due to the error of the opacity model [mm].
    chi2 : ndarray
        Chi² over N - 1; NaN where fewer than two samples were fitted.
    n_samples : ndarray of int
        Number N of samples fitted.
    at_bound : ndarray of bool
        Whether the fit ended at a bound.
    converged : ndarray of bool
        Whether the last step was below 1e-6 of PWV.

    Examples
    --------
    The fit of the `observation` of the example of :class:`.SkyObservation`:

    >>> fit = fit_pwv([observation], bounds=(0.01, 10.0), grid_steps=50)
    >>> round(float(fit.pwv), 6), int(fit.n_samples), bool(fit.converged), bool(fit.at_bound)
    (0.5, 2, True, False)
    """

    pwv: Floats
    error: Floats
    error_model: Floats
    chi2: Floats
    n_samples: NDArray[np.int64]
    at_bound: NDArray[np.bool_]
    converged: NDArray[np.bool_]


def fit_pwv(
    observations: Sequence[SkyObservation],
    bounds: tuple[float, float],
    grid_steps: int,
    per_pixel: bool = False,
    each: Mapper = one_by_one,
) -> PwvFit:
    """Fit the water above the telescope to the sky of one or several OFFs.

    Parameters
    ----------
    observations : sequence of SkyObservation
        Bands that are fitted together; one where the pixels are fitted on their own.
    bounds : tuple of float
        Smallest and largest PWV [mm], both above zero.
    grid_steps : int
        Points of the logarithmic grid the fit starts from.
    per_pixel : bool
        Fit one PWV per pixel instead of one for all.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    PwvFit
        PWV is NaN where there is nothing to fit.

    Raises
    ------
    ValueError
        For several bands whose pixels are to be fitted on their own.

    Notes
    -----
    Minimises Σ [(OFF - HOT - gamma S_model)/gamma_smooth]²/sigma² with
    sigma² = sigma_rad² + sigma_mod² frozen at the current PWV within a Gauss-Newton step. On the
    starting grid sigma is sigma_rad, so that the minimum is not drawn to where the model is least
    certain. A stride over the channels is enough there, because the result does not depend on the
    start.

    The derivative J of the model is taken with the smoothed gain, that is J = dS_model/dPWV: with
    the gain of the channel itself the sum Σ W J r would be quadratic in the noise of the loads,
    whose expectation (1 - a) var(COLD) - a var(HOT) biases PWV by as much as its error in channels
    of some 10 kHz.

    After two shrinking steps the fixed point is extrapolated from them (secant), which needs about
    half the steps of Gauss-Newton alone.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, below 0.5 mm of water:

    >>> fit = fit_pwv([observation], bounds=(0.01, 10.0), grid_steps=50)
    >>> f"{fit.pwv:.4f} ± {fit.error:.4f} mm"
    '0.5000 ± 0.0014 mm'
    >>> fit_pwv([observation], bounds=(1.0, 10.0), grid_steps=50).at_bound.item()
    True
    """
    if per_pixel and len(observations) != 1:
        raise ValueError(f"pixels of {len(observations)} bands cannot be fitted on their own together")
    shape = observations[0].pixels if per_pixel else (1, 1)
    pwv = _best_of_grid(observations, np.geomspace(*bounds, grid_steps), per_pixel, each)
    relative = np.zeros(shape)
    before: tuple[Floats, Floats] | None = None
    for _ in range(MAX_STEPS):
        numerator, denominator = _normal_equation(observations, pwv, per_pixel, each)
        step = np.divide(numerator, denominator, out=np.zeros(shape), where=denominator > 0.0)
        updated = np.clip(pwv + _extrapolated(step, pwv, before), *bounds)
        last, relative = relative, np.abs(updated - pwv) / updated
        before, pwv = (pwv, step), updated
        # The steps shrink at least by the same factor again, so that this is more than what is left.
        shrinking = np.divide(relative, last, out=np.ones(shape), where=relative < last)
        if (relative * shrinking < FIXED_POINT).all():
            break
    error, error_model, chi2, n_samples = fit_quality(observations, pwv, per_pixel, each)
    fitted = n_samples > 0
    fit = PwvFit(
        pwv=np.where(fitted, pwv, np.nan),
        error=error,
        error_model=error_model,
        chi2=chi2,
        n_samples=n_samples,
        at_bound=fitted & ((pwv <= bounds[0]) | (pwv >= bounds[1])),
        converged=fitted & (relative < CONVERGED),
    )
    return fit if per_pixel else _one_for_all(fit)


def evaluate_pwv(observations: Sequence[SkyObservation], pwv: float) -> PwvFit:
    """Compute chi² of a PWV that is given.

    Parameters
    ----------
    observations : sequence of SkyObservation
        Bands that share the PWV.
    pwv : float
        Precipitable water vapour [mm].

    Returns
    -------
    PwvFit
        `pwv` with its chi²; the errors are NaN.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, with the true PWV and one 0.01 mm too
    high, which is 7 times the error of a fit:

    >>> [f"{evaluate_pwv([observation], pwv).chi2:.0f}" for pwv in (0.5, 0.51)]
    ['0', '51']
    """
    given = np.full((1, 1), pwv)
    _, _, chi2, n_samples = fit_quality(observations, given, per_pixel=False)
    unknown, no = np.full((1, 1), np.nan), np.zeros((1, 1), np.bool_)
    return _one_for_all(PwvFit(given, unknown, unknown, chi2, n_samples, at_bound=no, converged=~no))


def _one_for_all(fit: PwvFit) -> PwvFit:
    """Reshape the arrays of a fit of one PWV from (1, 1) to ()."""
    return PwvFit(**{f.name: getattr(fit, f.name).reshape(()) for f in fields(fit)})


def _extrapolated(step: Floats, pwv: Floats, before: tuple[Floats, Floats] | None) -> Floats:
    """Extrapolate a step to its zero by the secant through this step and the last one.

    The plain step is kept unless it is below half of the last one and the secant at most doubles
    it.
    """
    if before is None:
        return step
    moved, change = pwv - before[0], step - before[1]
    shrinks = (np.abs(step) < 0.5 * np.abs(before[1])) & (change != 0.0)
    secant = np.divide(-step * moved, change, out=step.copy(), where=shrinks)
    return np.where(np.abs(secant) <= 2.0 * np.abs(step), secant, step)


def _normal_equation(
    observations: Sequence[SkyObservation],
    pwv: Floats,
    per_pixel: bool,
    each: Mapper,
) -> tuple[Floats, Floats]:
    """Compute Σ W J r and Σ W J² of a Gauss-Newton step, each of the shape of `pwv`."""

    def sum_one(off: tuple[SkyObservation, SkyView]) -> Floats:
        observation, view = off
        modelled = ModelledSky(view.direction, pwv).of(observation.pixels)
        return _normal_sums(_fitted(observation, view), modelled)

    offs = [(observation, view) for observation in observations for view in observation.sky]
    numerator, denominator = np.zeros(pwv.shape), np.zeros(pwv.shape)
    # Summed in the order of the OFFs, so that the result does not depend on the threads.
    for sums in each(sum_one, offs):
        numerator += _over_pixels(sums[0], pwv.shape, per_pixel)
        denominator += _over_pixels(sums[1], pwv.shape, per_pixel)
    return numerator, denominator


def _over_pixels(values: Floats, shape: tuple[int, ...], per_pixel: bool) -> Floats:
    """Bring sums of each pixel, (P,), into the shape of a PWV; add them up for a common PWV."""
    return values.reshape(shape, order="F") if per_pixel else values.sum().reshape(shape)


def _fitted(observation: SkyObservation, view: SkyView, chosen: slice = slice(None)) -> tuple[Any, ...]:
    """Collect the inputs of the compiled sums from an OFF and the loads, for some pixels."""
    loads = observation.loads
    samples = (rows(values)[chosen] for values in (view.step, view.variance, loads.gain_ratio))
    return *samples, loads.t_hot_input, observation.model_error


@compiled
def _normal_sums(fitted: tuple[Any, ...], modelled: tuple[Any, ...]) -> Floats:
    """Compute Σ W J r and Σ W J² of the pixels of an OFF, (2, P)."""
    step, variance, gain_ratio, t_hot_input, model_error = fitted
    temperature, slope, opacity_error, row = modelled
    n_pixels, n_channels = step.shape
    sums = np.zeros((2, n_pixels))
    for p in range(n_pixels):
        q = row[p]
        numerator, denominator = 0.0, 0.0
        for c in range(n_channels):
            residual = step[p, c] - gain_ratio[p, c] * (temperature[q, c] - t_hot_input[c])
            weighted = slope[q, c] / (variance[p, c] + (model_error * opacity_error[q, c]) ** 2)
            numerator += weighted * residual
            denominator += weighted * slope[q, c]
        sums[0, p], sums[1, p] = numerator, denominator
    return sums


def _best_of_grid(
    observations: Sequence[SkyObservation],
    grid: Floats,
    per_pixel: bool,
    each: Mapper,
) -> Floats:
    """Find the grid point with the least chi², shape (1, 1) or (R, A).

    Up to a constant, chi² of all points and pixels at once is Σ (g²/v) M² - 2 (g d/v) M, a matrix
    product over the channels; M is the modelled step from the hot load, d the observed one.
    """
    chi2 = _chi2_on_grid(observations, grid, per_pixel, _GRID_CHANNELS, each)
    if not chi2.any(axis=0).all():
        # Some pixel has no usable channel in the strided subset.
        chi2 = _chi2_on_grid(observations, grid, per_pixel, None, each)
    return np.asarray(grid[np.argmin(chi2, axis=0)])


def _chi2_on_grid(
    observations: Sequence[SkyObservation],
    grid: Floats,
    per_pixel: bool,
    n_wanted: int | None,
    each: Mapper,
) -> Floats:
    """Compute chi² on the grid up to a constant, shape (G, 1, 1) or (G, R, A).

    Use about `n_wanted` channels of each band; None for all.
    """
    total: Floats | float = 0.0
    for observation in observations:
        loads = observation.loads
        n_channels, n_receivers, n_arrays = loads.gain_ratio.shape
        stride = max(n_channels // n_wanted, 1) if n_wanted else 1
        shape = (len(grid), n_receivers if per_pixel else 1, n_arrays)
        sum_one = partial(_chi2_of_off, loads, grid, shape, stride)
        chi2 = np.zeros(shape)
        for one in each(sum_one, observation.sky):
            chi2 += one
        total = total + (chi2 if per_pixel else chi2.sum(axis=2, keepdims=True))
    return np.asarray(total)


def _chi2_of_off(loads: LoadView, grid: Floats, shape: tuple[int, int, int], stride: int, view: SkyView) -> Floats:
    """Compute the contribution of an OFF to chi² on the grid, shape (G, 1 or R, A)."""
    chi2 = np.zeros(shape)
    for first in range(0, len(view.step), _GRID_BLOCK * stride):
        part = slice(first, first + _GRID_BLOCK * stride, stride)
        weight = loads.gain_ratio[part] / view.variance[part]
        linear, square = weight * view.step[part], weight * loads.gain_ratio[part]
        if shape[1] == 1:
            linear, square = linear.sum(axis=1, keepdims=True), square.sum(axis=1, keepdims=True)
        step = view.direction.on_grid(grid, part) - loads.t_hot_input[part]
        for array, model in enumerate(step):
            chi2[..., array] += model**2 @ square[..., array] - 2.0 * (model @ linear[..., array])
    return chi2


def fit_quality(
    observations: Sequence[SkyObservation],
    pwv: Floats,
    per_pixel: bool,
    each: Mapper = one_by_one,
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Compute the errors and the reduced chi² at a PWV.

    Parameters
    ----------
    observations, per_pixel, each
        As in :func:`fit_pwv`.
    pwv : ndarray, shape (1, 1) or (R, A)
        PWV to evaluate at [mm].

    Returns
    -------
    error, error_model : ndarray, shape of `pwv`
        Statistical and model error of PWV [mm].
    chi2 : ndarray
        Chi² over N - 1.
    n_samples : ndarray of int
        N.

    Notes
    -----
    The estimator answers to a change dr of the samples with dPWV = Σ W J dr / Σ W J². The noise of
    an OFF is its own; the noise of HOT (dr = -a dHOT/gamma) and of COLD (dr = -(1 - a) dCOLD/gamma)
    is common to all OFFs of a band and so summed over them before squaring; the error of the
    opacity is common to everything.

    Examples
    --------
    The statistical error falls with the root of the number of samples; here two channels of the
    `observation` of the example of :class:`.SkyObservation`, once and twice:

    >>> pwv = np.array([[0.5]])
    >>> once, twice = (fit_quality(bands, pwv, per_pixel=False)[0] for bands in ([observation], 2 * [observation]))
    >>> (once / twice).round(4).item()
    1.4142
    """
    total = np.zeros((5, *pwv.shape))
    for observation in observations:
        skies = each(lambda view: ModelledSky(view.direction, pwv), observation.sky)
        groups = groups_of_rows(int(np.prod(observation.pixels)), len(observation.loads.gain_ratio))
        found = each(partial(_errors_of_pixels, observation, skies), groups)
        for sums, into in zip(np.concatenate(found, axis=1), total, strict=True):
            into += _over_pixels(sums, pwv.shape, per_pixel)
    curvature, noise, model, chi2, number = total
    n_samples = number.astype(np.int64)
    constrained = curvature > 0.0
    nothing = np.full(pwv.shape, np.nan)
    error = np.divide(np.sqrt(noise), curvature, out=nothing.copy(), where=constrained)
    error_model = np.divide(model, curvature, out=nothing.copy(), where=constrained)
    chi2 = np.divide(chi2, n_samples - 1, out=nothing.copy(), where=n_samples > 1)
    return error, error_model, chi2, n_samples


def _errors_of_pixels(observation: SkyObservation, skies: Sequence[ModelledSky], chosen: slice) -> Floats:
    """Compute sums for the errors, (5, P): curvature, noise, model error, chi², samples."""
    loads = observation.loads
    hot_variance, cold_variance = (rows(v)[chosen] for v in (loads.hot_variance, loads.cold_variance))
    from_hot, from_cold = (np.zeros_like(hot_variance) for _ in range(2))
    sums = np.zeros((5, len(hot_variance)))
    for sky, view in zip(skies, observation.sky, strict=True):
        noise_of_off = tuple(rows(values)[chosen] for values in (view.level, view.off_variance))
        modelled = sky.of(observation.pixels, chosen)
        _add_errors(_fitted(observation, view, chosen), modelled, noise_of_off, (from_hot, from_cold), sums)
    _add_noise_of_loads((from_hot, from_cold), (hot_variance, cold_variance), sums[1])
    return sums


@compiled
def _add_errors(
    fitted: tuple[Any, ...],
    modelled: tuple[Any, ...],
    noise_of_off: tuple[Any, ...],
    responses: tuple[Any, ...],
    sums: Floats,
) -> None:
    """Add an OFF to the sums (5, P) and to the responses of PWV to noise of the loads (P, C)."""
    step, variance, gain_ratio, t_hot_input, model_error = fitted
    temperature, slope, opacity_error, row = modelled
    level, off_variance = noise_of_off
    from_hot, from_cold = responses
    n_pixels, n_channels = step.shape
    for p in range(n_pixels):
        q = row[p]
        curvature, noise, model, chi2, number = 0.0, 0.0, 0.0, 0.0, 0.0
        for c in range(n_channels):
            residual = step[p, c] - gain_ratio[p, c] * (temperature[q, c] - t_hot_input[c])
            sigma_model = model_error * opacity_error[q, c]
            total = variance[p, c] + sigma_model**2
            weighted = slope[q, c] / total
            from_hot[p, c] += weighted * level[p, c]
            from_cold[p, c] += weighted * (1.0 - level[p, c])
            curvature += weighted * slope[q, c]
            noise += weighted * weighted * off_variance[p, c]
            model += weighted * sigma_model
            chi2 += residual * residual / total
            number += np.isfinite(variance[p, c])
        sums[0, p] += curvature
        sums[1, p] += noise
        sums[2, p] += model
        sums[3, p] += chi2
        sums[4, p] += number


@compiled
def _add_noise_of_loads(responses: tuple[Any, ...], variances: tuple[Any, ...], sums: Floats) -> None:
    """Add what the noise of HOT and COLD does to PWV, from (P, C), to sums (P,)."""
    (from_hot, from_cold), (hot_variance, cold_variance) = responses, variances
    n_pixels, n_channels = from_hot.shape
    for p in range(n_pixels):
        for c in range(n_channels):
            sums[p] += from_hot[p, c] ** 2 * hot_variance[p, c] + from_cold[p, c] ** 2 * cold_variance[p, c]
