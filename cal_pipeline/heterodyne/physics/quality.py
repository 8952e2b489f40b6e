"""Figures that tell whether data are as good as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.compiled import compiled, rows

Floats = NDArray[np.float64]

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of normal noise over its median absolute deviation."""

_CLIP = 4.0
_CHANNELS = 2000
_SHORTEST_RIPPLE = 8
_LONGEST_RIPPLE = 2
_PARTS_OF_BIN = 4
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
    stride = channel_stride(len(spectra))
    last = len(spectra) - 1

    def pairs(values: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        # The stride is between pairs: the two of a pair are always neighbours.
        return values[:last:stride].astype(np.float64), values[1::stride].astype(np.float64)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        one, other = pairs(spectra)
        difference = np.abs(other - one)
        first, second = pairs(sigma)
        expected = np.sqrt(first**2 + second**2)
        return MAD_TO_SIGMA * median_of_finite(difference / expected, axis=(0, 3))


def ripple(spectrum: Floats, channel_width: float) -> tuple[Floats, Floats]:
    """Find the amplitude and period of the strongest sinusoid in the baseline of a spectrum.

    Parameters
    ----------
    spectrum : ndarray, shape (C, R, A)
        Mean spectrum, NaN where there are no data [K].
    channel_width : float
        Width of a channel [Hz].

    Returns
    -------
    amplitude : ndarray, shape (R, A)
        [K]; NaN for a pixel without data.
    period : ndarray, shape (R, A)
        [Hz].

    Notes
    -----
    A parabola is subtracted, and lines are removed that deviate from the median by more than four
    times the noise. The rest is Fourier transformed with zeros in the gaps; the amplitude is
    2 |F|/N with the number N of channels left. Only ripples with a period of at least 8 channels
    and at least two periods in the band are considered. Zero padding samples the transform at
    quarters of a bin, since a ripple between two bins would be found up to 36 % too weak (Harris,
    Proc. IEEE 66, 51 (1978): scalloping loss). The remaining loss and the parabola make the ripple
    too weak by at most 4 % from eight periods on, by 12 % from three and by 20 % from two, which
    depends on its phase.

    Examples
    --------
    A ripple of 0.2 K with ten periods in a band of 1 GHz, on a sloping baseline:

    >>> x = np.arange(1000) / 1000
    >>> amplitude, period = ripple((3.0 * x + 0.2 * np.cos(20 * np.pi * x))[:, None, None], 1e6)
    >>> amplitude.round(2).tolist(), (period / 1e6).round().tolist()
    ([[0.2]], [[100.0]])
    """
    n_channels, *pixels = spectrum.shape
    last = n_channels // _SHORTEST_RIPPLE
    if last < _LONGEST_RIPPLE:
        return np.full(pixels, np.nan), np.full(pixels, np.nan)
    flat, used = _baseline(spectrum.reshape(n_channels, -1))
    number = used.sum(axis=0)
    strength, periods = _strongest_sinusoid(np.where(used, flat, 0.0), last)
    amplitude = 2.0 * strength / np.maximum(number, 1)
    empty = number < _SHORTEST_RIPPLE
    period = n_channels * channel_width / periods
    return (
        np.where(empty, np.nan, amplitude).reshape(pixels),
        np.where(empty, np.nan, period).reshape(pixels),
    )


def _strongest_sinusoid(spectra: Floats, last: int) -> tuple[Floats, Floats]:
    """Find the largest |F| of spectra (C, P) and its number of periods in the band, both (P,).

    The search goes from the longest ripple to bin `last`.
    """
    transform = np.fft.rfft(spectra, n=_PARTS_OF_BIN * len(spectra), axis=0)
    strength = np.abs(transform[_PARTS_OF_BIN * _LONGEST_RIPPLE : _PARTS_OF_BIN * last + 1])
    return strength.max(axis=0), _LONGEST_RIPPLE + strength.argmax(axis=0) / _PARTS_OF_BIN


def _baseline(spectra: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Subtract a parabola from spectra (C, P); return them with a mask of line-free channels."""
    values = rows(spectra[:, :, None])
    used = np.isfinite(values)
    flat = np.empty_like(values)
    for _ in range(3):
        matrix, right = _normal_equations(values, used)
        # A small diagonal term keeps the equations of an empty spectrum solvable.
        parabola = np.linalg.solve(matrix + 1e-9 * np.eye(3), right[..., None])[..., 0]
        _take_off(values, np.asarray(parabola, np.float64), flat)
        some = slice(None, None, channel_stride(len(spectra)))
        inside = np.where(used[:, some], flat[:, some], np.nan)
        middle = median_of_finite(inside, axis=1)
        spread = MAD_TO_SIGMA * median_of_finite(np.abs(inside - middle[:, None]), axis=1)
        _cut(flat, middle, _CLIP * spread, used)
    return flat.T, used.T


@compiled
def _normal_equations(values: Floats, used: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Compute matrices (P, 3, 3) and right sides (P, 3) of the fits of parabolas on -1 ... 1.

    Only the `used` values (P, C) are fitted.
    """
    n_spectra, n_channels = values.shape
    matrix, right = np.zeros((n_spectra, 3, 3)), np.zeros((n_spectra, 3))
    powers = np.empty(5)
    for p in range(n_spectra):
        moments = np.zeros(5)
        powers[0] = 1.0
        for c in range(n_channels):
            if used[p, c]:
                x = _position(c, n_channels)
                for k in range(1, 5):
                    powers[k] = powers[k - 1] * x
                for k in range(5):
                    moments[k] += powers[k]
                for k in range(3):
                    right[p, k] += powers[k] * values[p, c]
        for j in range(3):
            for k in range(3):
                matrix[p, j, k] = moments[j + k]
    return matrix, right


@compiled
def _position(channel: int, n_channels: int) -> float:
    """Return the relative position of a channel in the band, from -1 to 1."""
    return 2.0 * channel / max(n_channels - 1, 1) - 1.0


@compiled
def _take_off(values: Floats, parabola: Floats, flat: Floats) -> None:
    """Subtract parabolas of coefficients (P, 3) from values (P, C); write the result to `flat`."""
    n_spectra, n_channels = values.shape
    for p in range(n_spectra):
        for c in range(n_channels):
            x = _position(c, n_channels)
            flat[p, c] = values[p, c] - (parabola[p, 0] + x * (parabola[p, 1] + x * parabola[p, 2]))


@compiled
def _cut(flat: Floats, middle: Floats, limit: Floats, used: NDArray[np.bool_]) -> None:
    """Clear `used` (P, C) beyond a limit from the middle, both of shape (P,)."""
    n_spectra, n_channels = flat.shape
    for p in range(n_spectra):
        for c in range(n_channels):
            used[p, c] &= not np.abs(flat[p, c] - middle[p]) > limit[p]


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
