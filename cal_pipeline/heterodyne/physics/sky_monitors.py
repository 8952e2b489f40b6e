"""What the sky at the OFFs tells beyond the water vapour: misfits, and changes from OFF to OFF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows
from cal_pipeline.heterodyne.physics.sharing import Mapper, one_by_one
from cal_pipeline.heterodyne.physics.sky import ModelledSky
from cal_pipeline.heterodyne.physics.sky_match import SkyMatch
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK = 64
"""Channels in a block of :func:`sky_misfit`."""

_FEWEST = BLOCK // 2
_PARAMETERS = 2


@dataclass(frozen=True)
class SkyMonitors:
    """Quality figures of the sky fit.

    Parameters
    ----------
    misfit_sigma, misfit_kelvin : ndarray, shape (R, A)
        From :func:`sky_misfit`; the latter [K].
    off_minus_off : ndarray, shape (R, A)
        From :func:`off_minus_off`.
    off_scatter, pwv_pixel_spread : ndarray, shape (R, A)
        From :func:`scatter_of_pwv`.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> found = SkyMonitors(8.0 * one, 0.1 * one, off_minus_off=one, off_scatter=one, pwv_pixel_spread=one)
    >>> found.misfit_kelvin.item()
    0.1
    """

    misfit_sigma: Floats
    misfit_kelvin: Floats
    off_minus_off: Floats
    off_scatter: Floats
    pwv_pixel_spread: Floats

    def without(self, *names: str) -> SkyMonitors:
        """Return the figures with some that are not known.

        Parameters
        ----------
        *names : str
            Names of the fields that become NaN.

        Examples
        --------
        >>> one = np.ones((1, 1))
        >>> SkyMonitors(one, one, one, one, one).without("off_scatter").off_scatter.item()
        nan
        """
        return replace(self, **{name: np.full(getattr(self, name).shape, np.nan) for name in names})


def monitor_sky(
    observation: SkyObservation,
    skies: Sequence[ModelledSky],
    pwv: Floats,
    residual: Floats,
    match: SkyMatch,
    opacity_per_mm: float,
    each: Mapper = one_by_one,
) -> SkyMonitors:
    """Compare the OFFs of a band with the fitted sky, and with each other.

    Parameters
    ----------
    observation : SkyObservation
        The band.
    skies : sequence of ModelledSky
        Fitted sky at each OFF.
    pwv : ndarray, shape (O, 1, 1) or (O, R, A)
        Its PWV; NaN where none was fitted, as for an OFF without an ON [mm].
    residual : ndarray, shape (C, R, A)
        Sky observed minus fitted, mean over the OFFs [K].
    match : SkyMatch
        Agreement of the OFFs with the fitted sky.
    opacity_per_mm : float
        Opacity that a mm of water vapour adds towards the ONs, see :func:`scatter_of_pwv` [Np/mm].
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    SkyMonitors

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, twice. Its two channels are not enough
    for a block, and not more than what is fitted to the difference:

    >>> from dataclasses import replace
    >>> from cal_pipeline.heterodyne.physics.sky_match import match_sky
    >>> twice = replace(observation, sky=2 * observation.sky)
    >>> skies = [ModelledSky(view.direction, np.full((1, 1), 0.5)) for view in twice.sky]
    >>> pwv = np.full((2, 1, 1), 0.5)
    >>> found = monitor_sky(twice, skies, pwv, np.zeros((2, 1, 1)), match_sky(twice, pwv), 1.2)
    >>> found.off_minus_off.item(), found.off_scatter.item()
    (nan, 0.0)
    """
    views, loads, pixels = observation.sky, observation.loads, observation.pixels

    def slope(k: int) -> Floats:
        _, slopes, *_, row = skies[k].of(pixels)
        return unpack_rows(slopes, pixels if len(slopes) == len(row) else (1, pixels[1]))

    several = len(views) > 1
    change = off_minus_off(
        [view.step for view in views],
        [view.off_variance for view in views],
        each(slope, range(len(views))) if several else [views[0].step],
        each(lambda view: loads.power(view.level), views) if several else [views[0].level],
        match.used,
        each,
    )
    misfit = sky_misfit(residual, _variance_of_mean(observation, np.isfinite(pwv)), match.used)
    return SkyMonitors(*misfit, change, *scatter_of_pwv(replace(match, pwv=pwv), opacity_per_mm))


def scatter_of_pwv(match: SkyMatch, opacity_per_mm: float) -> tuple[Floats, Floats]:
    """Compute how far the water vapour differs from OFF to OFF and from pixel to pixel, as opacity.

    Parameters
    ----------
    match : SkyMatch
        Agreement of the OFFs with the sky of the fitted PWV.
    opacity_per_mm : float
        x, the mean of 1/sin(elevation) over the ONs times the median over channels of b of the
        signal sideband [Np/mm].

    Returns
    -------
    off_scatter : ndarray, shape (R, A)
        x times the standard deviation over the OFFs (ddof 1) of their PWV [Np]; NaN with fewer than
        two.
    pwv_pixel_spread : ndarray, shape (R, A)
        x times |PWV - median over the pixels|, of the PWV of all OFFs of a pixel [Np]; NaN for a pixel
        without an OFF.

    Notes
    -----
    An OFF alone has PWV_o = PWV + Σ w W S' r/Σ w W S'², one Gauss-Newton step from the fitted PWV. All
    OFFs of a pixel have the mean of PWV_o with weights Σ w W S'², which is the step of the sums over
    these OFFs where they share the fitted PWV. The opacity is what T_A* feels: a difference of 0.01
    is 1 % of T_A*.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, and the same with 0.02 mm more water:

    >>> from dataclasses import replace
    >>> from cal_pipeline.heterodyne.physics.sky_match import match_sky
    >>> (off,) = observation.sky
    >>> more = replace(off, step=off.direction.observe(np.array([[0.52]]))[0])
    >>> match = match_sky(replace(observation, sky=[off, more]), np.full((2, 1, 1), 0.51))
    >>> [f"{item.item():.4f}" for item in scatter_of_pwv(match, 1.0)]  # 0.02/sqrt(2)
    ['0.0141', '0.0000']
    """
    weight = match.curvature
    known = (weight > 0.0) & np.isfinite(match.pwv)
    own = np.full(weight.shape, np.nan)
    np.divide(match.pull, weight, out=own, where=known)
    own += match.pwv
    number = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, own, 0.0).sum(axis=0) / number
        variance = np.where(known, (own - mean) ** 2, 0.0).sum(axis=0) / (number - 1)
        of_pixel = np.where(known, weight * own, 0.0).sum(axis=0) / np.where(known, weight, 0.0).sum(axis=0)
    scatter = np.where(number > 1, opacity_per_mm * np.sqrt(variance), np.nan)
    typical = median_of_finite(of_pixel.ravel(), axis=0)
    return scatter, np.asarray(opacity_per_mm * np.abs(of_pixel - typical))


def _variance_of_mean(observation: SkyObservation, fitted: Mask) -> Floats:
    """Compute the variance of the mean of the fitted OFFs, whose loads are common; shape (C, R, A) [K²]."""
    loads, shape = observation.loads, observation.loads.gain_ratio.shape
    sums = np.zeros((3, shape[1] * shape[2], shape[0]))
    for view, of_pixels in zip(observation.sky, fitted, strict=True):
        counted = np.broadcast_to(of_pixels, shape[1:]).ravel(order="F")
        variance, level, own = (rows(values, shape) for values in (view.variance, view.level, view.off_variance))
        _add_variance(variance, level, own, counted, sums)
    of_mean = _mean_variance(sums, rows(loads.hot_variance, shape), rows(loads.cold_variance, shape))
    return unpack_rows(of_mean, shape[1:])


@compiled
def _add_variance(variance: Floats, level: Floats, own: Floats, counted: Mask, sums: Floats) -> None:
    """Add an OFF, (P, C), to numbers, levels and own variances (3, P, C) of the pixels `counted` (P,)."""
    n_pixels, n_channels = level.shape
    for p in range(n_pixels):
        if not counted[p]:
            continue
        for c in range(n_channels):
            # Level and own variance are 0 where the variance is infinite.
            sums[0, p, c] += 1.0 if np.isfinite(variance[p, c]) else 0.0
            sums[1, p, c] += level[p, c]
            sums[2, p, c] += own[p, c]


@compiled
def _mean_variance(sums: Floats, hot_variance: Floats, cold_variance: Floats) -> Floats:
    """Compute the variance of the mean, (P, C), from the sums of :func:`_add_variance`, which it changes."""
    _, n_pixels, n_channels = sums.shape
    variance: Floats = sums[2]
    for p in range(n_pixels):
        for c in range(n_channels):
            number = max(sums[0, p, c], 1.0)
            level = sums[1, p, c] / number
            own = sums[2, p, c] / (number * number)
            variance[p, c] = own + level * level * hot_variance[p, c] + (1.0 - level) ** 2 * cold_variance[p, c]
    return variance


def sky_misfit(residual: Floats, variance: Floats, usable: Mask) -> tuple[Floats, Floats]:
    """Compute how far the fitted sky is off in blocks of channels.

    Parameters
    ----------
    residual : ndarray, shape (C, R, A)
        Sky observed minus fitted [K].
    variance : ndarray, shape (C, R, A)
        Variance of its noise [K²].
    usable : ndarray of bool, shape (C, R, A)
        Good channels that count in the fit.

    Returns
    -------
    sigma : ndarray, shape (R, A)
        Root mean square over the blocks of the mean residual over its noise, 1 for noise alone.
    kelvin : ndarray, shape (R, A)
        Root mean square over the blocks of the mean residual [K]. Both are NaN without a block.

    Notes
    -----
    Blocks are of 64 channels from the first on, a last one may be shorter. Of a block at least 32
    channels must be usable. With n of them the noise of their mean is sqrt(Σ variance)/n.

    Examples
    --------
    A residual of 0.5 K in 64 of 256 channels of 1 K noise:

    >>> residual = np.zeros((256, 1, 1))
    >>> residual[64:128] = -0.5
    >>> sigma, kelvin = sky_misfit(residual, np.ones(residual.shape), np.ones(residual.shape, bool))
    >>> sigma.item(), kelvin.item()
    (2.0, 0.25)
    """
    _, n_receivers, n_arrays = residual.shape
    found = _misfit_of_blocks(rows(residual), rows(variance), rows(usable))
    sigma, kelvin = (item.reshape(n_arrays, n_receivers).T for item in found)
    return sigma, kelvin


@compiled
def _misfit_of_blocks(residual: Floats, variance: Floats, usable: Mask) -> tuple[Floats, Floats]:
    """Root mean squares of the block means of rows (P, C), over their noise and as they are; NaN without a block."""
    n_rows, n_channels = residual.shape
    sigma, kelvin = np.full(n_rows, np.nan), np.full(n_rows, np.nan)
    for p in range(n_rows):
        significance, square, n_blocks = 0.0, 0.0, 0
        for first in range(0, n_channels, BLOCK):
            total, noise, number = 0.0, 0.0, 0
            for c in range(first, min(first + BLOCK, n_channels)):
                if usable[p, c]:
                    total += residual[p, c]
                    noise += variance[p, c]
                    number += 1
            if number >= _FEWEST and noise > 0.0:
                significance += total * total / noise
                square += (total / number) ** 2
                n_blocks += 1
        if n_blocks:
            sigma[p], kelvin[p] = np.sqrt(significance / n_blocks), np.sqrt(square / n_blocks)
    return sigma, kelvin


def off_minus_off(
    steps: Sequence[Floats],
    variances: Sequence[Floats],
    slopes: Sequence[Floats],
    levels: Sequence[Floats],
    usable: Mask,
    each: Mapper = one_by_one,
) -> Floats:
    """Compute what is left of the difference of successive OFFs, against its noise.

    Parameters
    ----------
    steps : sequence of ndarray, shape (C, R, A)
        (OFF - HOT)/gamma_smooth of each OFF, in the order of time [K].
    variances : sequence of ndarray, shape (C, R, A)
        Variance of the noise of each OFF alone, without that of the loads; 0 where the OFF has no
        counts [K²].
    slopes : sequence of ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Change S' of the sky with the water vapour at each OFF [K/mm].
    levels : sequence of ndarray, shape (C, R, A)
        Smoothed counts of each OFF over gamma_smooth [K].
    usable : ndarray of bool, shape (C, R, A)
        Good channels.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    ndarray, shape (R, A)
        Median over the pairs of successive OFFs of chi²/(n - 2); NaN without a pair of more than two
        channels.

    Notes
    -----
    A pair is compared in the channels that both OFFs have. The loads are those of both, and their noise
    cancels. From one OFF to the next the water
    vapour changes, which adds S', and the gain, which adds the counts themselves. The difference
    less the weighted least-squares fit of both should be noise: chi² is Σ remainder²/(v_1 + v_2)
    over n channels. S' and counts are means of the two OFFs.

    Examples
    --------
    A change of water vapour and gain leaves nothing:

    >>> slope = np.sin(np.arange(100.0))[:, None, None]
    >>> level, one = 200.0 + np.arange(100.0)[:, None, None], np.ones((100, 1, 1))
    >>> steps = [level, level + 0.3 * slope + 0.01 * level]
    >>> off_minus_off(steps, [one, one], [slope, slope], [level, level], one > 0.0).round(9).item()
    0.0
    """
    _, n_receivers, n_arrays = usable.shape
    shape, counted = usable.shape, rows(usable)
    offs = [
        (rows(step, shape), rows(variance, shape), rows(slope, shape, shared=True), rows(level, shape))
        for step, variance, slope, level in zip(steps, variances, slopes, levels, strict=True)
    ]
    found = each(lambda pair: _chi_squared(pair[0], pair[1], counted), list(pairwise(offs)))
    if not found:
        return np.full((n_receivers, n_arrays), np.nan)
    return np.asarray(median_of_finite(np.array(found), axis=0).reshape(n_arrays, n_receivers).T)


@compiled
def _chi_squared(first: tuple[Any, ...], second: tuple[Any, ...], usable: Mask) -> Floats:
    """Reduced chi² of the difference of two OFFs, each of four arrays (P, C), less a fit; NaN without freedom."""
    (step, variance, slope, level), (next_step, next_variance, next_slope, next_level) = first, second
    n_rows, n_channels = step.shape
    result = np.full(n_rows, np.nan)
    difference, weight, by_water, by_gain = np.empty((4, n_channels))
    for p in range(n_rows):
        # The slopes may be the same for several pixels.
        q = p * len(slope) // n_rows
        ss, sl, ll, ds, dl, number = 0.0, 0.0, 0.0, 0.0, 0.0, 0
        for c in range(n_channels):
            d, v = next_step[p, c] - step[p, c], variance[p, c] + next_variance[p, c]
            s, x = 0.5 * (slope[q, c] + next_slope[q, c]), 0.5 * (level[p, c] + next_level[p, c])
            # The variance of an OFF is 0 where it lacks the channel.
            seen = variance[p, c] > 0.0 and next_variance[p, c] > 0.0
            if usable[p, c] and seen and np.isfinite(d + v + s + x):
                w = 1.0 / v
                difference[number], weight[number], by_water[number], by_gain[number] = d, w, s, x
                ss, sl, ll = ss + w * s * s, sl + w * s * x, ll + w * x * x
                ds, dl = ds + w * d * s, dl + w * d * x
                number += 1
        if number <= _PARAMETERS:
            continue
        # Where one of the two is zero, or both are alike, the other alone is fitted.
        determinant = ss * ll - sl * sl
        if determinant > 1e-12 * ss * ll:
            a, b = (ds * ll - dl * sl) / determinant, (dl * ss - ds * sl) / determinant
        else:
            a, b = 0.0, dl / ll if ll > 0.0 else 0.0
        chi2 = 0.0
        for i in range(number):
            chi2 += weight[i] * (difference[i] - a * by_water[i] - b * by_gain[i]) ** 2
        result[p] = chi2 / (number - _PARAMETERS)
    return result
