"""Noise from dump to dump of the OFFs, against that of the radiometer equation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import median_of_finite, running_mean
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LEAST_EXCESS = 2.0
_NOISY_SIGMA = 10.0


def change_of_dumps(counts: NDArray[Any], gamma: Floats) -> Floats:
    """Compute the differences of successive dumps.

    Parameters
    ----------
    counts : ndarray, shape (c, D, R, A)
        Counts of an OFF, NaN where missing [ct].
    gamma : ndarray, shape (c, R, A)
        Gain, NaN in bad channels [ct/K].

    Returns
    -------
    ndarray, shape (D - 1, R, A, c)
        Dump d + 1 minus dump d [K].

    Examples
    --------
    >>> counts = np.array([100, 110, 90]).reshape(1, 3, 1, 1)
    >>> change_of_dumps(counts, np.full((1, 1, 1), 10.0)).ravel().tolist()
    [1.0, -2.0]
    """
    turned = np.moveaxis(counts, 0, -1).astype(np.float64, order="C")
    return np.asarray(np.diff(turned, axis=0) / np.moveaxis(gamma, 0, -1))


def sum_squared_changes(counts: NDArray[Any], gamma: Floats, common: Floats) -> tuple[Floats, Integers]:
    """Sum the squared differences of successive dumps, less what is common to all channels.

    Parameters
    ----------
    counts : ndarray, shape (c, D, R, A)
        Counts of some channels of an OFF; integers, or floats that are NaN where missing [ct].
    gamma : ndarray, shape (c, R, A)
        Gain, NaN in bad channels [ct/K].
    common : ndarray, shape (D - 1, R, A)
        Median over the channels of each difference, in each pixel [K].

    Returns
    -------
    squares : ndarray, shape (c, R, A)
        Sum of squares [ct²].
    number : ndarray of int, shape (c, R, A)
        Number of differences, between neighbouring dumps that are both valid.

    Examples
    --------
    >>> counts = np.array([100.0, 110.0, np.nan, 90.0, 93.0]).reshape(1, 5, 1, 1)
    >>> common = np.array([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    >>> squares, number = sum_squared_changes(counts, np.full((1, 1, 1), 4.0), common)
    >>> squares.item(), number.item()  # (10 - 1·4)² + (3 - 0)²
    (45.0, 2)
    """
    n_channels, n_dumps, *pixels = counts.shape
    values = np.ascontiguousarray(counts).reshape(n_channels, n_dumps, -1)
    scale = np.ascontiguousarray(gamma).reshape(n_channels, -1)
    squares, number = _sum_squares(values, scale, np.ascontiguousarray(common.reshape(n_dumps - 1, -1).T))
    return (
        np.moveaxis(squares.reshape(*pixels, n_channels), -1, 0),
        np.moveaxis(number.reshape(*pixels, n_channels), -1, 0),
    )


@compiled
def _sum_squares(values: NDArray[Any], scale: Floats, common: Floats) -> tuple[Floats, Integers]:
    """Sum squares of differences of (I, N, K) along the middle axis less scale·common; (K, I) each."""
    n_channels, n_dumps, n_pixels = values.shape
    squares = np.empty((n_pixels, n_channels))
    number = np.empty((n_pixels, n_channels), np.int64)
    for i in range(n_channels):
        for k in range(n_pixels):
            total, gain, before = 0.0, scale[i, k], float(values[i, 0, k])
            for n in range(1, n_dumps):
                value = float(values[i, n, k])
                change = (value - before) - common[k, n - 1] * gain
                total += change * change
                before = value
            valid = n_dumps - 1
            if not np.isfinite(total):
                # Some are missing: once more, without these.
                total, valid = 0.0, 0
                for n in range(1, n_dumps):
                    change = (float(values[i, n, k]) - float(values[i, n - 1, k])) - common[k, n - 1] * gain
                    if np.isfinite(change):
                        total += change * change
                        valid += 1
            squares[k, i] = total
            number[k, i] = valid
    return squares, number


def dump_radiometer(
    squares: Floats, number: NDArray[np.integer[Any]], level: Floats, gamma: Floats, noise: Floats
) -> tuple[Floats, Integers]:
    """Compute measured over expected variance of the noise from dump to dump.

    Parameters
    ----------
    squares : ndarray, shape (C, R, A, O)
        Sums of the squared differences of each OFF, from :func:`sum_squared_changes` [ct²].
    number : ndarray of int, shape (C, R, A, O)
        Number of differences in each sum.
    level : ndarray, shape (C, R, A, O)
        Mean counts of each OFF, without the zero level [ct].
    gamma : ndarray, shape (C, R, A)
        Gain, NaN in bad channels [ct/K].
    noise : ndarray, shape (O,)
        Relative noise of a dump of each OFF, 1/sqrt(B·exptime).

    Returns
    -------
    ratio : ndarray, shape (C, R, A)
        Mean square of the differences over its expectation, smoothed: 1 for white noise of the
        radiometer equation. NaN without any difference.
    total : ndarray of int, shape (C, R, A)
        Number of differences.

    Notes
    -----
    The difference of two dumps with the noise (OFF/gamma)/sqrt(B·exptime) has the variance
    2 (OFF/gamma)²/(B·exptime). The expectation is averaged over the differences of all OFFs in a
    channel, and over the good ones of 129 channels: a channel cannot hide behind its own counts.

    Examples
    --------
    White noise of 1 % on 100 ct, at a gain that differs between channels:

    >>> gain = np.linspace(1.0, 3.0, 500)[:, None, None]
    >>> dumps = gain[:, None] * np.random.default_rng(1).normal(100.0, 1.0, (500, 400, 1, 1))
    >>> squares, number = sum_squared_changes(dumps, gain, np.zeros((399, 1, 1)))
    >>> level = dumps.mean(axis=1)[..., None]
    >>> ratio, n = dump_radiometer(squares[..., None], number[..., None], level, gain, np.array([0.01]))
    >>> f"{np.median(ratio):.1f}", int(n.max())
    ('1.0', 399)
    """
    shape = (noise.size, -1, len(gamma))  # pixels in the order of `rows`
    found, n, mean = (np.asfortranarray(values).T.reshape(shape) for values in (squares, number, level))
    measured, expected, total = _compare(found, n, mean, rows(gamma), 2.0 * noise**2)
    pixels = gamma.shape[1:]
    smooth = running_mean(unpack_rows(expected, pixels))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(unpack_rows(measured, pixels) / smooth), unpack_rows(total, pixels)


@compiled
def _compare(
    squares: Floats, number: NDArray[Any], level: Floats, gamma: Floats, variance: Floats
) -> tuple[Floats, Floats, Integers]:
    """Compute mean squares and their expectation [K²] and the numbers, (P, C), of OFFs (O, P, C)."""
    n_offs, n_pixels, n_channels = squares.shape
    measured, expected = np.empty((n_pixels, n_channels)), np.empty((n_pixels, n_channels))
    total = np.zeros((n_pixels, n_channels), np.int64)
    for p in range(n_pixels):
        for c in range(n_channels):
            found, awaited, n = 0.0, 0.0, 0
            for o in range(n_offs):
                if number[o, p, c] > 0:
                    found += squares[o, p, c]
                    awaited += number[o, p, c] * variance[o] * level[o, p, c] ** 2
                    n += number[o, p, c]
            # Without any difference both are NaN, 0/0.
            measured[p, c] = found / n / gamma[p, c] ** 2
            expected[p, c] = awaited / n / gamma[p, c] ** 2
            total[p, c] = n
    return measured, expected, total


def find_noisy(ratio: Floats, number: Integers) -> NDArray[np.bool_]:
    """Find the channels that are much noisier than the others of their pixel.

    Parameters
    ----------
    ratio : ndarray, shape (C, R, A)
        Measured over expected variance, from :func:`dump_radiometer`.
    number : ndarray of int, shape (C, R, A)
        Number n of differences it was measured by.

    Returns
    -------
    ndarray of bool, shape (C, R, A)
        True where the ratio exceeds max(2, 1 + 10 sqrt(3/n)) times its median over the channels.

    Notes
    -----
    The mean square of n differences of successive dumps of white noise has the relative standard
    deviation sqrt(3/n): neighbouring differences share a dump, and correlate by -1/2.

    Examples
    --------
    >>> ratio = np.ones((9, 1, 1))
    >>> ratio[4] = 5.0
    >>> [find_noisy(ratio, np.full(ratio.shape, n)).ravel().nonzero()[0].tolist() for n in (12, 300)]
    [[], [4]]
    """
    pixel = median_of_finite(ratio, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = np.fmax(_LEAST_EXCESS, 1.0 + _NOISY_SIGMA * np.sqrt(3.0 / number))
        return np.asarray(ratio > limit * pixel)
