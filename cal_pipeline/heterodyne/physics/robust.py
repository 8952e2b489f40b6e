"""Tukey's biweight: sums over the samples of an OFF that outliers cannot move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.compiled import compiled

Floats = NDArray[np.float64]
Samples = tuple[Floats, Floats, Floats, float]
"""Samples of an OFF: (OFF - HOT)/gamma_smooth, variance and gamma/gamma_smooth, each (P, C), and model error."""

Modelled = tuple[Floats, Floats, Floats, NDArray[np.int64]]
"""The sky as :meth:`.ModelledSky.of` returns it: temperature, slope and response to opacity, (Q, C), and rows (P,)."""

CUT = 6.0
"""Width of the biweight over the scale of the residuals."""

_SPREAD = 1.4826
"""Standard deviation of normal noise over its median absolute deviation."""

_CHANNELS = 2048


def channel_step(n_channels: int) -> int:
    """Return the distance of the channels that centre and scale of the residuals are found from.

    Parameters
    ----------
    n_channels : int
        Number C of channels.

    Returns
    -------
    int
        max(C//2048, 1).

    Examples
    --------
    >>> [channel_step(n_channels) for n_channels in (1024, 65536)]
    [1, 32]
    """
    return max(n_channels // _CHANNELS, 1)


@compiled
def _tune(samples: Samples, modelled: Modelled, p: int, step: int, normal: Floats) -> tuple[float, float]:
    """Find the centre of a pixel's residuals, in units of their sigma, and the width of the biweight.

    Every `step`-th channel is used, if good; `normal` is memory for them.
    """
    observed, variance, ratio, _ = samples
    temperature, q = modelled[0], modelled[3][p]
    n = 0
    for c in range(0, observed.shape[1], step):
        if np.isfinite(variance[p, c]):
            residual = observed[p, c] - ratio[p, c] * temperature[q, c]
            normal[n] = residual / np.sqrt(variance[p, c])
            n += 1
    if n == 0:
        return 0.0, np.inf
    centre = np.median(normal[:n])
    for i in range(n):
        normal[i] = np.abs(normal[i] - centre)
    return centre, CUT * max(1.0, _SPREAD * np.median(normal[:n]))


@compiled
def _biweight(residual: float, variance: float, centre: float, width: float) -> float:
    """Return (1 - u²)², or 0 beyond |u| = 1; 1 where the width is infinite."""
    u = (residual / np.sqrt(variance) - centre) / width
    return (1.0 - u * u) ** 2 if np.abs(u) < 1.0 else 0.0


@compiled
def normal_sums(samples: Samples, modelled: Modelled, step: int, robust: bool) -> Floats:
    """Compute the sums of a Gauss-Newton step.

    Parameters
    ----------
    samples, modelled : tuple
        The P pixels of an OFF, and the sky that they are compared with.
    step : int
        Distance of the channels that centre and scale are found from; see :func:`channel_step`.
    robust : bool
        Whether outliers lose their weight.

    Returns
    -------
    ndarray, shape (2, P)
        Σ w W S' r and Σ w W S'².

    Examples
    --------
    Ten channels 1 K above a sky that rises by 2 K/mm ask for 0.5 mm more; so they do with an outlier:

    >>> observed, one = np.ones((1, 10)), np.ones((1, 10))
    >>> observed[0, 3] = 1000.0
    >>> modelled = (0.0 * one, 2.0 * one, 0.0 * one, np.array([0]))
    >>> shift, curvature = normal_sums((observed, 0.01 * one, one, 0.0), modelled, step=1, robust=True)
    >>> (shift / curvature).tolist()
    [0.5]
    """
    observed, variance, ratio, model_error = samples
    temperature, slope, opacity_error, row = modelled
    n_pixels, n_channels = observed.shape
    sums, normal = np.zeros((2, n_pixels)), np.empty(n_channels)
    for p in range(n_pixels):
        q = row[p]
        centre, width = _tune(samples, modelled, p, step, normal) if robust else (0.0, np.inf)
        numerator, denominator = 0.0, 0.0
        for c in range(n_channels):
            residual = observed[p, c] - ratio[p, c] * temperature[q, c]
            weight = _biweight(residual, variance[p, c], centre, width)
            pull = weight * slope[q, c] / (variance[p, c] + (model_error * opacity_error[q, c]) ** 2)
            numerator += pull * residual
            denominator += pull * slope[q, c]
        sums[0, p], sums[1, p] = numerator, denominator
    return sums


@compiled
def match_sums(
    samples: Samples, modelled: Modelled, noise: tuple[Floats, Floats], step: int, robust: bool, channels: Any
) -> Floats:
    """Compute what the errors of PWV follow from.

    Parameters
    ----------
    samples, modelled, step, robust
        As of :func:`normal_sums`.
    noise : tuple of ndarray, shape (P, C)
        Level a of the OFF between the loads, and the variance that is its own [K²].
    channels : tuple of ndarray, shape (P, C)
        Sums over the OFFs, to add to: Σ w W S' a and Σ w W S' (1 - a), which HOT's and COLD's noise move
        PWV by, numbers of OFFs in which a good channel has a weight of zero, and in which it has some.

    Returns
    -------
    ndarray, shape (8, P)
        Σ w W S' r, Σ w W S'², Σ (w W S')² v_off, Σ w W S' sigma_mod, Σ w r²/sigma², number of samples with
        w > 0, and centre and width of the biweight.

    Examples
    --------
    Two channels, one of them 90 times its sigma away from the model:

    >>> one = np.ones((1, 2))
    >>> modelled = (0.0 * one, 2.0 * one, 0.0 * one, np.array([0]))
    >>> counters = np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2), int), np.zeros((1, 2), int)
    >>> samples = np.array([[0.1, 9.0]]), 0.01 * one, one, 0.0
    >>> sums = match_sums(samples, modelled, (0.5 * one, 0.01 * one), 1, True, counters)
    >>> sums[5:].ravel().tolist()  # number, and centre and width: two channels cannot tell which is wrong
    [2.0, 45.5, 395.8542]
    """
    observed, variance, ratio, model_error = samples
    temperature, slope, opacity_error, row = modelled
    level, own = noise
    from_hot, from_cold, rejected, used = channels
    n_pixels, n_channels = observed.shape
    sums, normal = np.zeros((8, n_pixels)), np.empty(n_channels)
    for p in range(n_pixels):
        q = row[p]
        centre, width = _tune(samples, modelled, p, step, normal) if robust else (0.0, np.inf)
        for c in range(n_channels):
            if not np.isfinite(variance[p, c]):
                continue
            residual = observed[p, c] - ratio[p, c] * temperature[q, c]
            if np.isnan(residual):
                continue
            weight = _biweight(residual, variance[p, c], centre, width)
            sigma_model = model_error * opacity_error[q, c]
            total = variance[p, c] + sigma_model**2
            pull = weight * slope[q, c] / total
            from_hot[p, c] += pull * level[p, c]
            from_cold[p, c] += pull * (1.0 - level[p, c])
            sums[0, p] += pull * residual
            sums[1, p] += pull * slope[q, c]
            sums[2, p] += pull * pull * own[p, c]
            sums[3, p] += pull * sigma_model
            sums[4, p] += weight * residual * residual / total
            sums[5, p] += weight > 0.0
            rejected[p, c] += weight == 0.0
            used[p, c] += weight > 0.0
        sums[6, p], sums[7, p] = centre, width
    return sums


@compiled
def pulls(samples: Samples, modelled: Modelled, tuning: Floats) -> Floats:
    """Compute how strongly each sample pulls at PWV.

    Parameters
    ----------
    samples, modelled : tuple
        The P pixels of an OFF, and the sky that they are compared with.
    tuning : ndarray, shape (2, P)
        Centre and width of the biweight, from :func:`match_sums`.

    Returns
    -------
    ndarray, shape (P, C)
        w W S' [mm/K times Σ w W S'²].

    Examples
    --------
    >>> one = np.ones((1, 2))
    >>> modelled = (0.0 * one, 2.0 * one, 0.0 * one, np.array([0]))
    >>> pulls((np.array([[0.1, 9.0]]), 0.01 * one, one, 0.0), modelled, np.array([[1.0], [6.0]])).tolist()
    [[200.0, 0.0]]
    """
    observed, variance, ratio, model_error = samples
    temperature, slope, opacity_error, row = modelled
    n_pixels, n_channels = observed.shape
    pull = np.empty((n_pixels, n_channels))
    for p in range(n_pixels):
        q = row[p]
        for c in range(n_channels):
            residual = observed[p, c] - ratio[p, c] * temperature[q, c]
            weight = _biweight(residual, variance[p, c], tuning[0, p], tuning[1, p])
            pull[p, c] = weight * slope[q, c] / (variance[p, c] + (model_error * opacity_error[q, c]) ** 2)
    return pull
