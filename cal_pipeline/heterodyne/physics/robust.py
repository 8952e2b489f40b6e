"""Tukey's biweight: sums over the samples of an OFF that outliers cannot move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.quality import MAD_TO_SIGMA

Floats = NDArray[np.float64]
Samples = tuple[Floats, Floats, Floats, float]
"""Samples of an OFF: (OFF - HOT)/gamma_smooth, variance and gamma/gamma_smooth, each (P, C), and model error."""

Modelled = tuple[Floats, Floats, Floats, NDArray[np.int64]]
"""The sky as :meth:`.ModelledSky.of` returns it: temperature, slope and response to opacity, (Q, C), and rows (P,)."""

CUT = 6.0
"""Width of the biweight over the scale of the residuals."""

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


def tune(samples: Samples, modelled: Modelled, robust: bool = True) -> Floats:
    """Find centre and width of the biweight for each pixel.

    Parameters
    ----------
    samples, modelled : tuple
        The P pixels of an OFF, and the sky that they are compared with.
    robust : bool
        Whether outliers lose their weight.

    Returns
    -------
    ndarray, shape (2, P)
        Median of z = r/sigma_rad over some 2048 good channels, and 6 times the larger of 1 and
        1.4826 median |z - m|; 0 and infinity where every sample has its full weight.

    Examples
    --------
    >>> one = np.ones((1, 3))
    >>> modelled = (0.0 * one, 2.0 * one, 0.0 * one, np.array([0]))
    >>> tune((np.array([[0.1, 0.2, 9.0]]), 0.01 * one, one, 0.0), modelled).ravel().tolist()
    [2.0, 8.8956]
    """
    n_pixels, n_channels = samples[0].shape
    if not robust:
        return np.stack([np.zeros(n_pixels), np.full(n_pixels, np.inf)])
    normal = _normalize(samples, modelled, channel_step(n_channels))
    centre = median_of_finite(normal, axis=1)
    spread = median_of_finite(np.abs(normal - centre[:, None]), axis=1)
    nothing = np.isnan(centre)
    return np.stack(
        [np.where(nothing, 0.0, centre), np.where(nothing, np.inf, CUT * np.fmax(1.0, MAD_TO_SIGMA * spread))]
    )


@compiled
def _normalize(samples: Samples, modelled: Modelled, step: int) -> Floats:
    """Compute residuals over their sigma of every `step`-th channel, NaN in unusable ones; (P, n)."""
    observed, variance, ratio, _ = samples
    temperature, row = modelled[0], modelled[3]
    n_pixels, n_channels = observed.shape
    normal = np.empty((n_pixels, (n_channels + step - 1) // step))
    for p in range(n_pixels):
        q = row[p]
        for i in range(normal.shape[1]):
            c = i * step
            residual = observed[p, c] - ratio[p, c] * temperature[q, c]
            normal[p, i] = residual / np.sqrt(variance[p, c]) if np.isfinite(variance[p, c]) else np.nan
    return normal


@compiled
def _weigh(
    samples: Samples, modelled: Modelled, tuning: Floats, p: int, residual: Floats, weight: Floats, pull: Floats
) -> None:
    """Write r, w and w W S' of a pixel's channels, each (C,).

    A loop without sums lets the processor work on several channels at once.
    """
    observed, variance, ratio, model_error = samples
    temperature, slope, opacity_error, row = modelled
    q, centre, width = row[p], tuning[0, p], tuning[1, p]
    for c in range(observed.shape[1]):
        residual[c] = observed[p, c] - ratio[p, c] * temperature[q, c]
        u = (residual[c] / np.sqrt(variance[p, c]) - centre) / width
        inside = max(1.0 - u * u, 0.0)
        weight[c] = inside * inside
        sigma_model = model_error * opacity_error[q, c]
        pull[c] = weight[c] * slope[q, c] / (variance[p, c] + sigma_model * sigma_model)


@compiled
def normal_sums(samples: Samples, modelled: Modelled, tuning: Floats) -> Floats:
    """Compute the sums of a Gauss-Newton step.

    Parameters
    ----------
    samples, modelled : tuple
        The P pixels of an OFF, and the sky that they are compared with.
    tuning : ndarray, shape (2, P)
        Centre and width of the biweight, from :func:`tune`.

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
    >>> samples = observed, 0.01 * one, one, 0.0
    >>> shift, curvature = normal_sums(samples, modelled, tune(samples, modelled))
    >>> (shift / curvature).tolist()
    [0.5]
    """
    slope, row = modelled[1], modelled[3]
    n_pixels, n_channels = samples[0].shape
    sums, memory = np.zeros((2, n_pixels)), np.empty((3, n_channels))
    residual, pull = memory[0], memory[2]
    for p in range(n_pixels):
        _weigh(samples, modelled, tuning, p, residual, memory[1], pull)
        q, numerator, denominator = row[p], 0.0, 0.0
        for c in range(n_channels):
            numerator += pull[c] * residual[c]
            denominator += pull[c] * slope[q, c]
        sums[0, p], sums[1, p] = numerator, denominator
    return sums


@compiled
def match_sums(
    samples: Samples, modelled: Modelled, tuning: Floats, noise: tuple[Floats, Floats], channels: Any
) -> Floats:
    """Compute what the errors of PWV follow from.

    Parameters
    ----------
    samples, modelled, tuning
        As of :func:`normal_sums`.
    noise : tuple of ndarray, shape (P, C)
        Level a of the OFF between the loads, and the variance that is its own [K²].
    channels : tuple of ndarray, shape (P, C)
        Sums over the OFFs, to add to: Σ w W S' a and Σ w W S' (1 - a), which HOT's and COLD's noise move
        PWV by, numbers of OFFs in which a good channel has a weight of zero, and in which it has some.

    Returns
    -------
    ndarray, shape (6, P)
        Σ w W S' r, Σ w W S'², Σ (w W S')² v_off, Σ w W S' sigma_mod, Σ w r²/sigma² and the number of
        samples with w > 0; 0 where the sky is not known.

    Examples
    --------
    Two channels, one of them 90 times its sigma away from the model:

    >>> one = np.ones((1, 2))
    >>> modelled = (0.0 * one, 2.0 * one, 0.0 * one, np.array([0]))
    >>> counters = np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2), int), np.zeros((1, 2), int)
    >>> samples, tuning = (np.array([[0.1, 9.0]]), 0.01 * one, one, 0.0), np.array([[1.0], [6.0]])
    >>> sums = match_sums(samples, modelled, tuning, (0.5 * one, 0.01 * one), counters)
    >>> sums[4:].ravel().round(9).tolist(), counters[2].tolist()  # chi² and number, and outliers
    ([1.0, 1.0], [[0, 1]])
    """
    variance, model_error = samples[1], samples[3]
    slope, opacity_error, row = modelled[1], modelled[2], modelled[3]
    level, own = noise
    from_hot, from_cold, rejected, used = channels
    n_pixels, n_channels = variance.shape
    sums, memory = np.zeros((6, n_pixels)), np.empty((3, n_channels))
    residual, weight, pull = memory[0], memory[1], memory[2]
    for p in range(n_pixels):
        _weigh(samples, modelled, tuning, p, residual, weight, pull)
        q = row[p]
        for c in range(n_channels):
            if not (np.isfinite(variance[p, c]) and np.isfinite(residual[c])):
                continue
            sigma_model = model_error * opacity_error[q, c]
            from_hot[p, c] += pull[c] * level[p, c]
            from_cold[p, c] += pull[c] * (1.0 - level[p, c])
            sums[0, p] += pull[c] * residual[c]
            sums[1, p] += pull[c] * slope[q, c]
            sums[2, p] += pull[c] * pull[c] * own[p, c]
            sums[3, p] += pull[c] * sigma_model
            sums[4, p] += weight[c] * residual[c] * residual[c] / (variance[p, c] + sigma_model * sigma_model)
            sums[5, p] += weight[c] > 0.0
            rejected[p, c] += weight[c] == 0.0
            used[p, c] += weight[c] > 0.0
    return sums


@compiled
def pulls(samples: Samples, modelled: Modelled, tuning: Floats) -> Floats:
    """Compute how strongly each sample pulls at PWV.

    Parameters
    ----------
    samples, modelled, tuning
        As of :func:`normal_sums`.

    Returns
    -------
    ndarray, shape (P, C)
        w W S' [1/(K mm)].

    Examples
    --------
    >>> one = np.ones((1, 2))
    >>> modelled = (0.0 * one, 2.0 * one, 0.0 * one, np.array([0]))
    >>> pulls((np.array([[0.1, 9.0]]), 0.01 * one, one, 0.0), modelled, np.array([[1.0], [6.0]])).tolist()
    [[200.0, 0.0]]
    """
    n_pixels, n_channels = samples[0].shape
    pull, memory = np.empty((n_pixels, n_channels)), np.empty((2, n_channels))
    for p in range(n_pixels):
        _weigh(samples, modelled, tuning, p, memory[0], memory[1], pull[p])
    return pull
