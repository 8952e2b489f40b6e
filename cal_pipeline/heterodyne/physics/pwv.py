"""Precipitable water vapour (PWV) from the OFFs: a weighted, robust fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.robust import normal_sums, tune
from cal_pipeline.heterodyne.physics.sharing import Mapper, one_by_one
from cal_pipeline.heterodyne.physics.sky import ModelledSky
from cal_pipeline.heterodyne.physics.sky_observation import LoadView, SkyObservation, SkyView

Floats = NDArray[np.float64]

MAX_STEPS = 50
"""Largest number of steps of a fit, without robust weights and with them each."""

CONVERGED = 1e-6
"""Relative step below which a fit counts as converged."""

FIXED_POINT = 1e-11
"""Relative distance from the fixed point below which the iteration ends.

Small enough that the result is the fixed point itself, not a stage of the iteration.
"""
_START = 1e-3
"""Relative accuracy of the PWV that the robust steps start from."""

_GRID_BLOCK = 512
_GRID_CHANNELS = 128
"""Number of channels used on the initial grid, enough to find a start."""


@dataclass(frozen=True)
class PwvSearch:
    """Bounds and starting grid of a PWV fit.

    Parameters
    ----------
    bounds : tuple of float
        Smallest and largest PWV [mm], both above zero.
    grid_steps : int
        Points of the logarithmic grid the fit starts from.
    robust : bool
        Whether outliers lose their weight.

    Examples
    --------
    >>> PwvSearch(bounds=(0.001, 10.0)).grid_steps
    100
    """

    bounds: tuple[float, float]
    grid_steps: int = 100
    robust: bool = True


@dataclass(frozen=True)
class PwvSolution:
    """PWV found by a fit.

    Parameters
    ----------
    pwv : ndarray, shape (1, 1) or (R, A)
        Precipitable water vapour [mm].
    converged : ndarray of bool, shape of `pwv`
        Whether the last step was below 1e-6 of PWV.

    Examples
    --------
    >>> PwvSolution(np.array([[0.5]]), np.array([[True]])).pwv.item()
    0.5
    """

    pwv: Floats
    converged: NDArray[np.bool_]


def solve_pwv(
    observations: Sequence[SkyObservation], search: PwvSearch, per_pixel: bool = False, each: Mapper = one_by_one
) -> PwvSolution:
    """Find the water above the telescope from the sky of one or several OFFs.

    Parameters
    ----------
    observations : sequence of SkyObservation
        Bands that are fitted together; one where the pixels are fitted on their own.
    search : PwvSearch
        Bounds, grid and weights.
    per_pixel : bool
        Fit one PWV per pixel instead of one for all.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    PwvSolution

    Raises
    ------
    ValueError
        For several bands whose pixels are to be fitted on their own.

    Notes
    -----
    Solves Σ w W S' r = 0 with r = (OFF - HOT - gamma S_model)/gamma_smooth, S' = dS_model/dPWV,
    W = 1/(sigma_rad² + sigma_mod²) and Tukey's biweight w, by Gauss-Newton steps with w and W taken anew
    at each PWV. On the starting grid w = 1 and sigma is sigma_rad, so that the minimum is not drawn to
    where the model is least certain; a stride over the channels is enough there, because the result does
    not depend on the start. The robust steps start where those with w = 1 come to rest.

    S' is taken with the smoothed gain: with the gain of the channel itself the sum Σ W S' r would be
    quadratic in the noise of the loads, whose expectation (1 - a) var(COLD) - a var(HOT) biases PWV by as
    much as its error in channels of some 10 kHz.

    After two shrinking steps the fixed point is extrapolated from them (secant), which needs about
    half the steps of Gauss-Newton alone.

    References
    ----------
    Beaton & Tukey 1974, Technometrics 16, 147: the biweight; Holland & Welsch 1977, Commun. Stat. A 6,
    813: iteratively reweighted least squares.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, below 0.5 mm of water:

    >>> solution = solve_pwv([observation], PwvSearch(bounds=(0.01, 10.0)))
    >>> f"{solution.pwv.item():.6f} mm", solution.converged.item()
    ('0.500000 mm', True)
    """
    if per_pixel and len(observations) != 1:
        raise ValueError(f"pixels of {len(observations)} bands cannot be fitted on their own together")
    grid = np.geomspace(*search.bounds, search.grid_steps)
    pwv = _best_of_grid(observations, grid, per_pixel, each)
    step_by = partial(_step, observations, per_pixel=per_pixel, each=each)
    accuracy = _START if search.robust else FIXED_POINT
    solution = _come_to_rest(partial(step_by, robust=False), pwv, search.bounds, accuracy)
    if search.robust:
        solution = _come_to_rest(partial(step_by, robust=True), solution.pwv, search.bounds, FIXED_POINT)
    return solution


def _come_to_rest(step_at: partial[Floats], pwv: Floats, bounds: tuple[float, float], accuracy: float) -> PwvSolution:
    """Repeat a step until PWV rests, to a relative accuracy."""
    relative = np.zeros(pwv.shape)
    before: tuple[Floats, Floats] | None = None
    for _ in range(MAX_STEPS):
        step = step_at(pwv)
        updated = np.clip(pwv + _extrapolated(step, pwv, before), *bounds)
        last, relative = relative, np.abs(updated - pwv) / updated
        before, pwv = (pwv, step), updated
        # The steps shrink at least by the same factor again, so that this is more than what is left.
        shrinking = np.divide(relative, last, out=np.ones(pwv.shape), where=relative < last)
        if (relative * shrinking < accuracy).all():
            break
    return PwvSolution(pwv, relative < CONVERGED)


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


def _step(observations: Sequence[SkyObservation], pwv: Floats, per_pixel: bool, robust: bool, each: Mapper) -> Floats:
    """Compute a Gauss-Newton step, of the shape of `pwv` [mm]."""

    def sum_one(off: tuple[SkyObservation, SkyView]) -> Floats:
        observation, view = off
        samples, modelled = observation.samples(view), ModelledSky(view.direction, pwv).of(observation.pixels)
        return normal_sums(samples, modelled, tune(samples, modelled, robust))

    offs = [(observation, view) for observation in observations for view in observation.sky]
    numerator, denominator = np.zeros(pwv.shape), np.zeros(pwv.shape)
    # Summed in the order of the OFFs, so that the result does not depend on the threads.
    for sums in each(sum_one, offs):
        numerator += _over_pixels(sums[0], pwv.shape, per_pixel)
        denominator += _over_pixels(sums[1], pwv.shape, per_pixel)
    return np.divide(numerator, denominator, out=np.zeros(pwv.shape), where=denominator > 0.0)


def _over_pixels(values: Floats, shape: tuple[int, ...], per_pixel: bool) -> Floats:
    """Bring sums of each pixel, (P,), into the shape of a PWV; add them up for a common PWV."""
    return values.reshape(shape, order="F") if per_pixel else values.sum().reshape(shape)


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
        for array, model in enumerate(view.direction.on_grid(grid, part)):
            chi2[..., array] += model**2 @ square[..., array] - 2.0 * (model @ linear[..., array])
    return chi2
