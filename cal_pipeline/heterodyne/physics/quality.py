"""Figures that tell whether data are as good as they should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import median_of_finite

Floats = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of normal noise over its median absolute deviation."""

_CHANNELS = 2000
_FEWEST_EARLIER = 3


def channel_stride(n_channels: int) -> int:
    """Return the stride that keeps about 2000 channels, enough for a median.

    Parameters
    ----------
    n_channels : int
        Number of channels.

    Returns
    -------
    int
        Stride, 1 or more.

    Examples
    --------
    >>> [channel_stride(n_channels) for n_channels in (1024, 65536)]
    [1, 32]
    """
    return max(n_channels // _CHANNELS, 1)


def noise_ratio(spectra: NDArray[np.floating[Any]], sigma: NDArray[np.floating[Any]]) -> Floats:
    """Compute measured over expected noise, from the differences of neighbouring channels.

    Parameters
    ----------
    spectra : ndarray, shape (C, R, A, S)
        One dump of each ON, NaN where flagged [K].
    sigma : ndarray, shape (C, R, A, S)
        Its expected 1-sigma noise [K].

    Returns
    -------
    ndarray, shape (R, A)
        1.4826 times the median over channels and ONs of
        |T(c+1) - T(c)|/sqrt(sigma(c)² + sigma(c+1)²): 1 where the noise is as expected. Lines and
        baselines hardly count. NaN for a pixel without data. Of wide bands some 2000 pairs of
        channels are taken.

    Notes
    -----
    The median absolute deviation as a robust scale: Hampel, J. Am. Stat. Assoc. 69, 383 (1974).
    Neighbouring channels are taken to be independent: a spectrometer whose channels overlap gives
    less than 1.

    Examples
    --------
    Noise as strong as expected has a ratio of 1; an additional line hardly changes that:

    >>> spectra = np.random.default_rng(1).normal(size=(2000, 1, 1, 4))
    >>> spectra[900:1100] += 50.0
    >>> noise_ratio(spectra, np.ones(spectra.shape)).round(1).tolist()
    [[1.0]]
    """
    n_channels, n_receivers, n_arrays, _ = spectra.shape
    # The stride is between pairs: the two of a pair are always neighbours.
    deviations = _deviations_of_neighbours(
        _rows_of_ons(spectra), _rows_of_ons(sigma), channel_stride(n_channels), n_receivers * n_arrays
    )
    median = MAD_TO_SIGMA * median_of_finite(deviations.reshape(len(deviations), -1), axis=1)
    return np.asarray(median.reshape(n_arrays, n_receivers).T)


def _rows_of_ons(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """View (C, R, A, S) as one row per ON and pixel, (S·R·A, C); the pixels of an ON are neighbours."""
    return np.asfortranarray(values).reshape(len(values), math.prod(values.shape[1:]), order="F").T


@compiled
def _deviations_of_neighbours(
    spectra: NDArray[np.floating[Any]], sigma: NDArray[np.floating[Any]], stride: int, n_pixels: int
) -> Floats:
    """Differences of neighbours in rows (S·P, C), over what is expected; shape (P, S, ...)."""
    n_rows, n_channels = spectra.shape
    n_pairs = max(n_channels - 2 + stride, 0) // stride
    deviations = np.empty((n_pixels, n_rows // n_pixels, n_pairs))
    for row in range(n_rows):
        for k in range(n_pairs):
            c = k * stride
            expected = np.sqrt(np.float64(sigma[row, c]) ** 2 + np.float64(sigma[row, c + 1]) ** 2)
            difference = np.float64(spectra[row, c + 1]) - np.float64(spectra[row, c])
            deviations[row % n_pixels, row // n_pixels, k] = np.abs(difference) / expected
    return deviations


def load_instability(levels: Floats) -> Floats:
    """Compute the relative scatter of the band-averaged counts on a load from dump to dump.

    Parameters
    ----------
    levels : ndarray, shape (N, R, A)
        Mean over the channels of each dump, NaN where it is missing [ct].

    Returns
    -------
    ndarray, shape (R, A)
        Standard deviation over mean; NaN with fewer than two dumps.

    Examples
    --------
    >>> load_instability(np.array([99.0, 100.0, 101.0])[:, None, None]).tolist()
    [[0.01]]
    """
    valid = np.isfinite(levels)
    number = valid.sum(axis=0)
    few = number < 2
    mean = np.where(valid, levels, 0.0).sum(axis=0) / np.maximum(number, 1)
    squares = (np.where(valid, levels - mean, 0.0) ** 2).sum(axis=0) / np.maximum(number - 1, 1)
    result = np.full(mean.shape, np.nan)
    np.divide(np.sqrt(squares), np.abs(mean), out=result, where=~few & (mean != 0.0))
    return result


def gain_change(before: Floats, after: Floats, bad: NDArray[np.bool_]) -> Floats:
    """Compute the relative change of the gain between two measurements of the loads.

    Parameters
    ----------
    before, after : ndarray, shape (C, R, A)
        Gains [ct/K].
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.

    Returns
    -------
    ndarray, shape (R, A)
        Median over the good channels of after/before - 1; NaN without any.

    Examples
    --------
    The channel that fell silent is bad, and so does not count:

    >>> before, after = np.full((3, 1, 1), 1000.0), np.array([1020.0, 1020.0, 0.0])[:, None, None]
    >>> gain_change(before, after, after == 0.0).round(6).tolist()
    [[0.02]]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return median_of_finite(np.where(bad, np.nan, after / before - 1.0), axis=0)


def jump_against_median(now: Floats, earlier: Sequence[Floats]) -> Floats:
    """Compute the relative change of a value against the median of earlier ones.

    Parameters
    ----------
    now : ndarray, shape (R, A)
        The value, such as a receiver temperature [K].
    earlier : sequence of ndarray, shape (R, A)
        Earlier values, NaN where they are not known.

    Returns
    -------
    ndarray, shape (R, A)
        |now/median - 1|; NaN with fewer than three earlier values.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> [jump_against_median(130.0 * one, [100.0 * one] * number).round(6).tolist() for number in (2, 3)]
    [[[nan]], [[0.3]]]
    """
    if len(earlier) < _FEWEST_EARLIER:
        return np.full(now.shape, np.nan)
    values = np.array(earlier)
    few = np.isfinite(values).sum(axis=0) < _FEWEST_EARLIER
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(few, np.nan, np.abs(now / median_of_finite(values, axis=0) - 1.0))


def extrapolated_share(on_mjd: Floats, off_mjd: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Compute the share of ONs that have no OFF before them, or none after them.

    Parameters
    ----------
    on_mjd, off_mjd : ndarray, shape (S_on,), (O,)
        Times of the ONs and OFFs [d].
    valid : ndarray of bool, shape (R, A, O)
        Whether an OFF has a valid dump in a pixel.

    Returns
    -------
    ndarray, shape (R, A)
        NaN in a pixel without a valid OFF.

    Examples
    --------
    The second pixel lacks the last OFF, and so one of four ONs is beyond its OFFs:

    >>> valid = np.array([[[True, True, True]], [[True, True, False]]])
    >>> extrapolated_share(np.array([1.0, 2.0, 4.0, 5.0]), np.array([0.0, 4.5, 9.0]), valid).tolist()
    [[0.0], [0.25]]
    """
    first = np.where(valid, off_mjd, np.inf).min(axis=-1)[..., None]
    last = np.where(valid, off_mjd, -np.inf).max(axis=-1)[..., None]
    share = ((on_mjd < first) | (on_mjd > last)).mean(axis=-1)
    return np.where(valid.any(axis=-1), share, np.nan)
