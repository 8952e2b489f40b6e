"""Precipitable water vapour from the sky seen in the OFFs: a weighted fit with propagated errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.physics.averages import running_mean
from cal_pipeline.physics.loads import LoadMeans, LoadSolution, receiver_temperature
from cal_pipeline.physics.planck import Sidebands
from cal_pipeline.physics.sky import Opacity, SkyDirection, Surroundings

Floats = NDArray[np.float64]

MAX_STEPS = 50
CONVERGED = 1e-6
"""Relative step below which a fit counts as converged."""
FIXED_POINT = 1e-11
"""Relative distance from the fixed point at which the iteration ends: that is the result, not where it was left."""
_GRID_BLOCK = 512
_GRID_CHANNELS = 512
"""Channels that the start of a fit is looked for in: it needs no more."""
_CACHED_SAMPLES = 2**17


Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Calls a function on every item of a sequence."""


def one_by_one(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call a function on every item, one after the other."""
    return [function(item) for item in items]


@dataclass(frozen=True)
class SkyModel:
    """The single-layer sky in front of one receiver.

    Parameters
    ----------
    sidebands : Sidebands
        Frequencies and weights of the sidebands.
    opacity : Opacity
        Opacity of the atmosphere against PWV.
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.
    model_error : float
        Fractional error of the opacity.
    """

    sidebands: Sidebands
    opacity: Opacity
    forward_efficiency: Floats
    model_error: float

    def towards(self, airmass: float, surroundings: Surroundings) -> SkyDirection:
        """The sky at an airmass, ready to be evaluated for any amount of water."""
        return SkyDirection.look(self.sidebands, self.opacity, airmass, surroundings, self.forward_efficiency)

    def temperature(self, pwv: float | Floats, airmass: float, surroundings: Surroundings) -> Floats:
        """Input temperature of the sky, shape (C, 1 or R, A) [K]."""
        return self.towards(airmass, surroundings).temperature(np.atleast_2d(pwv))


@dataclass(frozen=True)
class SkyView:
    """One OFF as the fit sees it: counts against the hot load, in kelvin through the smoothed gain.

    Parameters
    ----------
    step : ndarray, shape (C, R, A)
        (OFF - HOT)/gamma_smooth, 0 where unusable [K].
    variance : ndarray, shape (C, R, A)
        Its radiometric variance, infinite where unusable [K²].
    level : ndarray, shape (C, R, A)
        a = (OFF - COLD)/(HOT - COLD) of the smoothed counts, 0 where unusable.
    off_variance : ndarray, shape (C, R, A)
        Part of `variance` that is this OFF's own [K²].
    airmass : float
        Airmass.
    surroundings : Surroundings
        Temperatures of atmosphere and spillover.
    """

    step: Floats
    variance: Floats
    level: Floats
    off_variance: Floats
    airmass: float
    surroundings: Surroundings


@dataclass(frozen=True)
class LoadView:
    """The loads as the fit sees them.

    Parameters
    ----------
    gain_ratio : ndarray, shape (C, R, A)
        gamma/gamma_smooth, 0 where unusable.
    hot_variance, cold_variance : ndarray, shape (C, R, A)
        Radiometric variances of the load means on the double-sideband scale [K²].
    t_hot_input : ndarray, shape (C,)
        Input temperature of the hot load [K].
    """

    gain_ratio: Floats
    hot_variance: Floats
    cold_variance: Floats
    t_hot_input: Floats


@dataclass(frozen=True)
class Observation:
    """All that a band of a scan tells about the water above the telescope.

    Parameters
    ----------
    model : SkyModel
        The sky to fit.
    loads : LoadView
        The loads, common to all OFFs.
    sky : sequence of SkyView
        The OFFs.
    """

    model: SkyModel
    loads: LoadView
    sky: Sequence[SkyView]

    @property
    def pixels(self) -> tuple[int, int]:
        """Number of receivers and of arrays (R, A)."""
        _, n_receivers, n_arrays = self.loads.gain_ratio.shape
        return n_receivers, n_arrays

    def directions(self, each: Mapper = one_by_one) -> list[SkyDirection]:
        """The modelled sky towards each OFF, ready to be evaluated for any amount of water."""
        return each(lambda view: self.model.towards(view.airmass, view.surroundings), self.sky)

    def alone(self, off: int) -> Observation:
        """The same with one of the OFFs only."""
        return Observation(self.model, self.loads, [self.sky[off]])


@dataclass(frozen=True)
class PwvFit:
    """Result of a fit; each array has shape () for one PWV a scan, (R, A) for one a pixel, (R, A, S) for one a pair.

    Parameters
    ----------
    pwv : ndarray
        Precipitable water vapour [mm].
    error : ndarray
        Its statistical 1-sigma error; NaN where the data do not constrain it [mm].
    error_model : ndarray
        What the error of the opacity model does to it [mm].
    chi2 : ndarray
        Chi² over N - 1; NaN where fewer than two samples were fitted.
    n_samples : ndarray of int
        Number N of samples fitted.
    at_bound : ndarray of bool
        Whether the fit ended at a bound.
    converged : ndarray of bool
        Whether the last step was below 1e-6 of PWV.
    """

    pwv: Floats
    error: Floats
    error_model: Floats
    chi2: Floats
    n_samples: NDArray[np.int64]
    at_bound: NDArray[np.bool_]
    converged: NDArray[np.bool_]


def view_sky(
    off: Sequence[Floats],
    off_time: Sequence[Floats],
    airmass: Sequence[float],
    surroundings: Sequence[Surroundings],
    means: LoadMeans,
    loads: LoadSolution,
    channel_width: float,
    each: Mapper = one_by_one,
) -> tuple[LoadView, list[SkyView]]:
    """Prepare OFFs and loads for the fit.

    Parameters
    ----------
    off : sequence of ndarray, shape (C, R, A)
        Mean counts of each OFF [ct].
    off_time : sequence of ndarray, shape (C, R, A)
        Integration time in them [s].
    airmass, surroundings : sequence
        Airmass and surroundings of each OFF.
    means, loads : LoadMeans, LoadSolution
        The loads.
    channel_width : float
        Noise bandwidth B of a channel [Hz].
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use threads.

    Returns
    -------
    loads : LoadView
    sky : list of SkyView

    Notes
    -----
    sigma_rad² = [T_off²/t_off + a² T_hot²/t_hot + (1 - a)² T_cold²/t_cold]/B, all of it from counts smoothed
    along the channels, so that the noise of a channel does not choose its own weight. The step stays linear
    in the counts: division by a noisy gain biases PWV by tens of percent in narrow channels.
    """
    hot, cold = running_mean(means.hot), running_mean(means.cold)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = (hot - cold) / (loads.t_hot_input - loads.t_cold_input)[:, None, None]
        t_rec = receiver_temperature(hot, cold, loads.t_hot_input, loads.t_cold_input)
        hot_variance = (t_rec + loads.t_hot_input[:, None, None]) ** 2 / (channel_width * means.hot_time)
        cold_variance = (t_rec + loads.t_cold_input[:, None, None]) ** 2 / (channel_width * means.cold_time)
        gain_ratio = loads.gamma / gain
    loads_usable = ~loads.bad_channel & np.isfinite(gain_ratio) & (gain > 0.0)
    loads_usable &= np.isfinite(hot_variance) & np.isfinite(cold_variance)

    def look(off: tuple[Floats, Floats, float, Surroundings]) -> SkyView:
        counts, time, path, around = off
        smooth = running_mean(counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = (counts - means.hot) / gain
            level = (smooth - cold) / (hot - cold)
            off_variance = (smooth / gain) ** 2 / (channel_width * time)
            variance = off_variance + level**2 * hot_variance + (1.0 - level) ** 2 * cold_variance
        usable = loads_usable & np.isfinite(step) & np.isfinite(variance) & (variance > 0.0)
        return SkyView(
            step=np.where(usable, step, 0.0),
            variance=np.where(usable, variance, np.inf),
            level=np.where(usable, level, 0.0),
            off_variance=np.where(usable, off_variance, 0.0),
            airmass=path,
            surroundings=around,
        )

    sky = each(look, list(zip(off, off_time, airmass, surroundings, strict=True)))
    view = LoadView(
        gain_ratio=np.where(loads_usable, gain_ratio, 0.0),
        hot_variance=np.where(loads_usable, hot_variance, 0.0),
        cold_variance=np.where(loads_usable, cold_variance, 0.0),
        t_hot_input=loads.t_hot_input,
    )
    return view, sky


def fit_pwv(
    observations: Sequence[Observation],
    bounds: tuple[float, float],
    grid_steps: int,
    per_pixel: bool = False,
    each: Mapper = one_by_one,
) -> PwvFit:
    """Fit the water above the telescope to the sky of one or several OFFs.

    Parameters
    ----------
    observations : sequence of Observation
        Bands that are fitted together; one where the pixels are fitted on their own.
    bounds : tuple of float
        Smallest and largest PWV [mm], both above zero.
    grid_steps : int
        Points of the logarithmic grid the fit starts from.
    per_pixel : bool
        Fit one PWV per pixel instead of one for all.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use threads.

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
    Minimises Σ [(OFF - HOT - gamma S_model)/gamma_smooth]²/sigma² with sigma² = sigma_rad² + sigma_mod² frozen
    at the current PWV within a Gauss-Newton step. On the starting grid sigma is sigma_rad, so that the
    minimum is not drawn to where the model is least certain, and every so many channels will do: the result does not
    depend on the start.

    The derivative J of the model is taken with the smoothed gain, that is J = dS_model/dPWV: with the gain of
    the channel itself the sum Σ W J r would be quadratic in the noise of the loads, whose expectation
    (1 - a) var(COLD) - a var(HOT) biases PWV by as much as its error in channels of some 10 kHz.

    Where two steps in a row shrink, the fixed point is extrapolated from them (secant), which needs about half
    the steps of Gauss-Newton alone.
    """
    if per_pixel and len(observations) != 1:
        raise ValueError(f"pixels of {len(observations)} bands cannot be fitted on their own together")
    shape = observations[0].pixels if per_pixel else (1, 1)
    directions = [o.directions(each) for o in observations]
    pwv = _best_of_grid(observations, directions, np.geomspace(*bounds, grid_steps), per_pixel, each)
    relative = np.zeros(shape)
    before: tuple[Floats, Floats] | None = None
    for _ in range(MAX_STEPS):
        numerator, denominator = _normal_equation(observations, directions, pwv, per_pixel, each)
        step = np.divide(numerator, denominator, out=np.zeros(shape), where=denominator > 0.0)
        updated = np.clip(pwv + _extrapolated(step, pwv, before), *bounds)
        last, relative = relative, np.abs(updated - pwv) / updated
        before, pwv = (pwv, step), updated
        # The steps shrink at least by the same factor again, so that this is more than what is left.
        shrinking = np.divide(relative, last, out=np.ones(shape), where=relative < last)
        if (relative * shrinking < FIXED_POINT).all():
            break
    error, error_model, chi2, n_samples = fit_quality(observations, directions, pwv, per_pixel, each)
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


def evaluate_pwv(observations: Sequence[Observation], pwv: float) -> PwvFit:
    """Chi² of a PWV that is given [mm], in the form of a fit whose errors are NaN."""
    given = np.full((1, 1), pwv)
    directions = [o.directions() for o in observations]
    _, _, chi2, n_samples = fit_quality(observations, directions, given, per_pixel=False)
    unknown, no = np.full((1, 1), np.nan), np.zeros((1, 1), np.bool_)
    return _one_for_all(PwvFit(given, unknown, unknown, chi2, n_samples, at_bound=no, converged=~no))


def _one_for_all(fit: PwvFit) -> PwvFit:
    """A fit of one PWV, its arrays of shape (1, 1), with arrays of shape ()."""
    return PwvFit(**{f.name: getattr(fit, f.name).reshape(()) for f in fields(fit)})


def _extrapolated(step: Floats, pwv: Floats, before: tuple[Floats, Floats] | None) -> Floats:
    """The step to where the step would vanish, by the secant through this one and the last, where that is safe."""
    if before is None:
        return step
    moved, change = pwv - before[0], step - before[1]
    shrinks = (np.abs(step) < 0.5 * np.abs(before[1])) & (change != 0.0)
    secant = np.divide(-step * moved, change, out=step.copy(), where=shrinks)
    return np.where(np.abs(secant) <= 2.0 * np.abs(step), secant, step)


def _parts(n_channels: int, pixels: tuple[int, int]) -> Iterator[slice]:
    """Ranges of channels whose arrays stay in the processor's cache."""
    length = max(_CACHED_SAMPLES // (pixels[0] * pixels[1]), 1)
    for first in range(0, n_channels, length):
        yield slice(first, first + length)


def _normal_equation(
    observations: Sequence[Observation],
    directions: Sequence[Sequence[SkyDirection]],
    pwv: Floats,
    per_pixel: bool,
    each: Mapper,
) -> tuple[Floats, Floats]:
    """Σ W J r and Σ W J² of a Gauss-Newton step, each of the shape of `pwv`."""
    axes = 0 if per_pixel else None

    def of_one(off: tuple[Observation, SkyDirection, SkyView]) -> tuple[Floats, Floats]:
        observation, direction, view = off
        numerator, denominator = np.zeros(pwv.shape), np.zeros(pwv.shape)
        sky = _Evaluated(direction, pwv, per_pixel)
        for part in _parts(len(view.step), observation.pixels):
            slope, _, weight, residual = _at(sky, view, observation.loads, observation.model.model_error, part)
            np.divide(1.0, weight, out=weight)
            weight *= slope
            residual *= weight
            weight *= slope
            numerator += residual.sum(axis=axes)
            denominator += weight.sum(axis=axes)
        return numerator, denominator

    offs = [
        (observation, direction, view)
        for observation, towards in zip(observations, directions, strict=True)
        for direction, view in zip(towards, observation.sky, strict=True)
    ]
    numerator, denominator = np.zeros(pwv.shape), np.zeros(pwv.shape)
    # Summed in the order of the OFFs, so that the result does not depend on the threads.
    for one in each(of_one, offs):
        numerator += one[0]
        denominator += one[1]
    return numerator, denominator


class _Evaluated:
    """The sky in one direction at some water; evaluated at once where it is the same for all pixels."""

    def __init__(self, direction: SkyDirection, pwv: Floats, per_pixel: bool) -> None:
        self._direction, self._pwv = direction, pwv
        self._whole = None if per_pixel else direction.evaluate(pwv)

    def of(self, part: slice) -> tuple[Floats, Floats, Floats]:
        """Temperature [K], slope [K/mm] and error for a relative error of the opacity of 1 [K] of some channels."""
        if self._whole is None:
            return self._direction.evaluate(self._pwv, part)
        temperature, slope, error = self._whole
        return temperature[part], slope[part], error[part]


def _at(
    sky: _Evaluated, view: SkyView, loads: LoadView, model_error: float, part: slice
) -> tuple[Floats, Floats, Floats, Floats]:
    """Slope [K/mm], model error [K], total variance [K²] and residual [K] of some channels of an OFF."""
    temperature, slope, opacity_error = sky.of(part)
    sigma_model = model_error * opacity_error
    residual = loads.gain_ratio[part] * (temperature - loads.t_hot_input[part, None, None])
    np.subtract(view.step[part], residual, out=residual)
    return slope, sigma_model, view.variance[part] + sigma_model**2, residual


def _best_of_grid(
    observations: Sequence[Observation],
    directions: Sequence[Sequence[SkyDirection]],
    grid: Floats,
    per_pixel: bool,
    each: Mapper,
) -> Floats:
    """Point of the grid with the least chi², shape (1, 1) or (R, A).

    Up to a constant, chi² of all points and pixels at once is Σ (g²/v) M² - 2 (g d/v) M, a matrix product
    over the channels; M is the modelled step from the hot load, d the observed one.
    """
    chi2 = _chi2_on_grid(observations, directions, grid, per_pixel, _GRID_CHANNELS, each)
    if not chi2.any(axis=0).all():
        # Some pixel has no usable channel among those few.
        chi2 = _chi2_on_grid(observations, directions, grid, per_pixel, None, each)
    return np.asarray(grid[np.argmin(chi2, axis=0)])


def _chi2_on_grid(
    observations: Sequence[Observation],
    directions: Sequence[Sequence[SkyDirection]],
    grid: Floats,
    per_pixel: bool,
    n_wanted: int | None,
    each: Mapper,
) -> Floats:
    """Chi² up to a constant, shape (G, 1, 1) or (G, R, A), of about `n_wanted` channels of each band, or of all."""
    total: Floats | float = 0.0
    for observation, towards in zip(observations, directions, strict=True):
        loads = observation.loads
        n_channels, n_receivers, n_arrays = loads.gain_ratio.shape
        stride = max(n_channels // n_wanted, 1) if n_wanted else 1
        shape = (len(grid), n_receivers if per_pixel else 1, n_arrays)
        of_one = partial(_chi2_of_off, loads, grid, shape, stride)
        chi2 = np.zeros(shape)
        for one in each(of_one, list(zip(towards, observation.sky, strict=True))):
            chi2 += one
        total = total + (chi2 if per_pixel else chi2.sum(axis=2, keepdims=True))
    return np.asarray(total)


def _chi2_of_off(
    loads: LoadView, grid: Floats, shape: tuple[int, int, int], stride: int, off: tuple[SkyDirection, SkyView]
) -> Floats:
    """What an OFF adds to the chi² on the grid, (G, 1 or R, A)."""
    direction, view = off
    chi2 = np.zeros(shape)
    for first in range(0, len(view.step), _GRID_BLOCK * stride):
        part = slice(first, first + _GRID_BLOCK * stride, stride)
        weight = loads.gain_ratio[part] / view.variance[part]
        linear, square = weight * view.step[part], weight * loads.gain_ratio[part]
        if shape[1] == 1:
            linear, square = linear.sum(axis=1, keepdims=True), square.sum(axis=1, keepdims=True)
        step = direction.on_grid(grid, part) - loads.t_hot_input[part]
        for array, model in enumerate(step):
            chi2[..., array] += model**2 @ square[..., array] - 2.0 * (model @ linear[..., array])
    return chi2


def fit_quality(
    observations: Sequence[Observation],
    directions: Sequence[Sequence[SkyDirection]],
    pwv: Floats,
    per_pixel: bool,
    each: Mapper = one_by_one,
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Errors and reduced chi² at a PWV.

    Parameters
    ----------
    observations, per_pixel, each
        As in :func:`fit_pwv`.
    directions : sequence of sequence of SkyDirection
        The sky of each OFF of each band.
    pwv : ndarray, shape (1, 1) or (R, A)
        Where to evaluate them [mm].

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
    The estimator answers to a change dr of the samples with dPWV = Σ W J dr / Σ W J². The noise of an OFF is
    its own; the noise of HOT (dr = -a dHOT/gamma) and of COLD (dr = -(1 - a) dCOLD/gamma) is common to all
    OFFs of a band and so summed over them before squaring; the error of the opacity is common to everything.
    """
    axes = 0 if per_pixel else None
    sums = {name: np.zeros(pwv.shape) for name in ("curvature", "noise", "model", "chi2")}
    n_samples = np.zeros(pwv.shape, np.int64)
    for observation, towards in zip(observations, directions, strict=True):
        skies = each(lambda direction: _Evaluated(direction, pwv, per_pixel), towards)
        parts = list(_parts(len(observation.loads.gain_ratio), observation.pixels))
        of_part = partial(_quality_sums, observation, skies, axes)
        # Summed in the order of the parts, so that the result does not depend on the threads.
        for found, number in each(of_part, parts):
            n_samples += number
            for name, value in found.items():
                sums[name] += value
    constrained = sums["curvature"] > 0.0
    nothing = np.full(pwv.shape, np.nan)
    error = np.divide(np.sqrt(sums["noise"]), sums["curvature"], out=nothing.copy(), where=constrained)
    error_model = np.divide(sums["model"], sums["curvature"], out=nothing.copy(), where=constrained)
    chi2 = np.divide(sums["chi2"], n_samples - 1, out=nothing.copy(), where=n_samples > 1)
    return error, error_model, chi2, n_samples


def _quality_sums(
    observation: Observation, skies: Sequence[_Evaluated], axes: int | None, part: slice
) -> tuple[dict[str, Any], Any]:
    """What some channels add to the sums that the errors are made of, and their number of samples."""
    loads, model_error = observation.loads, observation.model.model_error
    sums: dict[str, Any] = dict.fromkeys(("curvature", "noise", "model", "chi2"), 0.0)
    n_samples: Any = 0
    from_hot, from_all = (np.zeros_like(loads.gain_ratio[part]) for _ in range(2))
    for sky, view in zip(skies, observation.sky, strict=True):
        slope, sigma_model, variance, residual = _at(sky, view, loads, model_error, part)
        np.divide(1.0, variance, out=variance)
        residual *= residual
        residual *= variance
        sums["chi2"] += residual.sum(axis=axes)
        weighted = np.multiply(slope, variance, out=variance)
        from_all += weighted
        np.multiply(weighted, view.level[part], out=residual)
        from_hot += residual
        np.multiply(weighted, slope, out=residual)
        sums["curvature"] += residual.sum(axis=axes)
        np.multiply(weighted, sigma_model, out=residual)
        sums["model"] += residual.sum(axis=axes)
        weighted *= weighted
        weighted *= view.off_variance[part]
        sums["noise"] += weighted.sum(axis=axes)
        n_samples += np.isfinite(view.variance[part]).sum(axis=axes)
    from_cold = from_all - from_hot
    common = from_hot**2 * loads.hot_variance[part] + from_cold**2 * loads.cold_variance[part]
    sums["noise"] += common.sum(axis=axes)
    return sums, n_samples
