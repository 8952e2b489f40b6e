"""Spikes in counts that should be constant: samples far from the median of their dumps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite
from cal_pipeline.heterodyne.physics.quality import MAD_TO_SIGMA

Floats = NDArray[np.float64]

CLIP_SIGMA = 10.0
"""Default distance from the median beyond which a sample is a spike [sigma]."""

FEWEST_DUMPS = 3
"""Valid dumps without which a median does not tell which of them is the spike."""


def radiometer_noise(channel_width: float, exptime: NDArray[np.floating[Any]]) -> Floats:
    """Compute the noise of one dump relative to its counts, by the radiometer equation.

    Parameters
    ----------
    channel_width : float
        Noise bandwidth B of a channel [Hz].
    exptime : ndarray
        Integration time of a dump [s].

    Returns
    -------
    ndarray, shape of `exptime`
        1/sqrt(B·exptime); 0 where a time is unknown (NaN, or not above 0).

    Examples
    --------
    >>> radiometer_noise(1e6, np.array([1.0, np.nan])).tolist()
    [0.001, 0.0]
    """
    product = channel_width * np.asarray(exptime, np.float64)
    known = product > 0.0
    return np.where(known, 1.0 / np.sqrt(np.where(known, product, 1.0)), 0.0)


def average_without_spikes(
    counts: NDArray[Any], clip_sigma: float, noise: Floats
) -> tuple[Floats, NDArray[np.int32], NDArray[np.bool_] | None]:
    """Average the valid dumps that are no spikes, and count them.

    A sample is a spike if it is more than `clip_sigma` sigma from the median of the valid dumps in
    its channel and pixel, of which there are at least three. Sigma is the larger of 1.4826 times
    the median of the absolute deviations and of median·noise.

    Parameters
    ----------
    counts : ndarray, shape (c, D, R, A, S)
        Counts of subscans, each of which is looked at by itself; integers, or floats that are NaN
        where missing [ct].
    clip_sigma : float
        Distance from the median beyond which a sample is a spike; 0: none is [sigma].
    noise : ndarray, shape (S,)
        Noise of a dump relative to its counts, from :func:`radiometer_noise`.

    Returns
    -------
    mean : ndarray, shape (c, R, A, S)
        Means, NaN without any dump [ct].
    number : ndarray of int32, shape (c, R, A, S)
        Number of dumps in each mean.
    spikes : ndarray of bool, shape (c, D, R, A, S), or None
        True for the samples that were left out; None if there are none.

    Notes
    -----
    The median absolute deviation as a robust scale: Hampel, J. Am. Stat. Assoc. 69, 383 (1974). It
    alone would take rounded counts, of which more than half may be equal, for free of noise; hence
    the radiometer equation. No sample is more than k sigma from the median where all lie within
    k·noise·minimum of each other, which one pass finds out: medians are computed of the others.

    Examples
    --------
    >>> counts = np.array([1000, 1001, 999, 1000, 5000]).reshape(1, 5, 1, 1, 1)
    >>> mean, number, spikes = average_without_spikes(counts, 10.0, np.array([1e-3]))
    >>> mean.ravel().tolist(), number.ravel().tolist(), spikes.ravel().nonzero()[0].tolist()
    ([1000.0], [4], [4])
    """
    n_channels, n_dumps, *after = counts.shape
    values = np.ascontiguousarray(counts).reshape(n_channels, n_dumps, -1)
    of_series = np.tile(noise, values.shape[2] // noise.size)
    mean, number, wide = _survey(values, clip_sigma * of_series)
    spikes: NDArray[np.bool_] | None = None
    if clip_sigma and wide.any() and n_dumps >= FEWEST_DUMPS:
        series = values.transpose(2, 0, 1)[wide].astype(np.float64)
        struck = _find_in_series(series, clip_sigma, np.broadcast_to(of_series[:, None], wide.shape)[wide])
        if struck.any():
            kept = np.isfinite(series) & ~struck
            number[wide] = kept.sum(axis=1)
            mean[wide] = mean_from_sum(np.where(kept, series, 0.0).sum(axis=1), number[wide])
            found = np.zeros(values.shape, np.bool_)
            found.transpose(2, 0, 1)[wide] = struck
            spikes = found.reshape(counts.shape)
    # The channels vary fastest in the result, like in all arrays of results.
    shape = (*after, n_channels)
    return np.moveaxis(mean.reshape(shape), -1, 0), np.moveaxis(number.reshape(shape), -1, 0), spikes


def blank_spikes(counts: NDArray[Any], spikes: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return counts with NaN in place of spikes; unchanged without any.

    Parameters
    ----------
    counts : ndarray
        Counts [ct].
    spikes : ndarray of bool, shape of `counts`, or None
        True for spikes.

    Examples
    --------
    >>> blank_spikes(np.array([10, 90]), np.array([False, True]))
    array([10., nan])
    """
    return counts if spikes is None else np.where(spikes, np.nan, counts)


def _find_in_series(series: Floats, clip_sigma: float, noise: Floats) -> NDArray[np.bool_]:
    """Find the spikes in series of dumps (n, D) with the relative noise (n,)."""
    median = median_of_finite(series, axis=1)
    deviation = np.abs(series - median[:, None])
    sigma = np.fmax(MAD_TO_SIGMA * median_of_finite(deviation, axis=1), median * noise)
    enough = np.isfinite(series).sum(axis=1) >= FEWEST_DUMPS
    return np.asarray((deviation > clip_sigma * sigma[:, None]) & enough[:, None])


@compiled
def _survey(values: NDArray[Any], limit: Floats) -> tuple[Floats, NDArray[np.int32], NDArray[np.bool_]]:
    """Average and count the finite ones of (I, N, K) along the middle axis, into (K, I).

    The third array tells which series are wider than `limit` (K,) times their minimum.
    """
    n_before, n_values, n_after = values.shape
    mean = np.empty((n_after, n_before))
    number = np.empty((n_after, n_before), np.int32)
    wide = np.empty((n_after, n_before), np.bool_)
    for i in range(n_before):
        for k in range(n_after):
            lowest = highest = values[i, 0, k]
            total = 0.0
            for n in range(n_values):
                value = values[i, n, k]
                lowest = min(lowest, value)
                highest = max(highest, value)
                total += value
            low, high, valid = float(lowest), float(highest), n_values
            if not np.isfinite(total):
                # Some are missing: once more, without these.
                low, high, total, valid = np.inf, -np.inf, 0.0, 0
                for n in range(n_values):
                    present = float(values[i, n, k])
                    if np.isfinite(present):
                        low = min(low, present)
                        high = max(high, present)
                        total += present
                        valid += 1
            mean[k, i] = total / valid  # 0/0 without any: NaN
            number[k, i] = valid
            wide[k, i] = valid > 0 and not high - low <= limit[k] * low
    return mean, number, wide
