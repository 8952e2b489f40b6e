"""What the mean spectrum of a scan tells: its noise, a ripple, and lines where none should be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.quality import MAD_TO_SIGMA, channel_stride
from cal_pipeline.heterodyne.physics.rows import rows

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WIDTHS = (1, 4, 16, 64)
"""Channels of the running means in which lines are looked for."""

_CLIP = 4.0
_SHORTEST_RIPPLE = 8
_LONGEST_RIPPLE = 3
_PARTS_OF_BIN = 4
_THIRDS = 3
_FEWEST_OF_THIRD = 8


@dataclass(frozen=True)
class Ripple:
    """The strongest sinusoid of a spectrum.

    Parameters
    ----------
    amplitude : ndarray, shape (R, A)
        Median of its amplitudes in the thirds of the band [K]; NaN for a pixel without data.
    noise : ndarray, shape (R, A)
        Amplitude that noise has in a third of the band, as a root mean square [K].
    periods : ndarray, shape (R, A)
        Number of its periods in the band.

    Examples
    --------
    >>> found = find_ripple(0.2 * np.cos(np.arange(1000.0) / 10.0)[:, None, None], np.full((1000, 1, 1), 0.01))
    >>> f"{found.amplitude[0, 0]:.2f} K with {found.periods[0, 0]:.0f} periods"
    '0.20 K with 16 periods'
    """

    amplitude: Floats
    noise: Floats
    periods: Floats


@dataclass(frozen=True)
class MeanSpectrum:
    """Mean of one dump of each ON, with its noise.

    Parameters
    ----------
    spectrum : ndarray, shape (C, R, A)
        T_A*, NaN without data [K].
    sigma : ndarray, shape (C, R, A)
        Its expected noise [K].

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(size=(1024, 1, 1))
    >>> mean = MeanSpectrum(noise, np.ones(noise.shape))
    >>> bool(mean.ripple.amplitude[0, 0] < 3.0 * mean.ripple.noise[0, 0])
    True
    """

    spectrum: Floats
    sigma: Floats

    @cached_property
    def ripple(self) -> Ripple:
        """The strongest sinusoid."""
        return find_ripple(self.spectrum, self.sigma)


def noise_of_mean(
    sigma: NDArray[np.floating[Any]], on_variance: Floats, off_variance: Floats, weights: Floats, shares: Floats
) -> Floats:
    """Compute the expected noise of a mean over ONs, whose references share OFFs.

    Parameters
    ----------
    sigma : ndarray, shape (C, R, A, S)
        Expected noise of one dump of each ON with its reference [K].
    on_variance : ndarray, shape (S,)
        Variance 1/t of a dump of each ON, relative to T_sys²/B [1/s].
    off_variance : ndarray, shape (R, A, O)
        Variance 1/(n t) of each OFF [1/s].
    weights : ndarray, shape (R, A, S, O)
        Weights a of the OFFs in the reference of each ON.
    shares : ndarray, shape (S,)
        Share b of each ON in the mean.

    Returns
    -------
    ndarray, shape (C, R, A)
        [K]; NaN in bad channels.

    Notes
    -----
    The mean is Σ_s b_s (ON_s - Σ_k a_sk OFF_k). The noise of an OFF is common to all ONs whose
    reference it is in, so the variance is (T_sys²/B)·[Σ_s b_s²/t_s + Σ_k (Σ_s b_s a_sk)²/(n_k t_k)].
    T_sys²/B, on the scale of T_A*, is taken from the noise of the dumps, as a mean over the ONs.

    Examples
    --------
    Eight dumps of 1 s against one OFF of 1 s: the noise of the OFF, 1 K here, stays.

    >>> sigma = np.full((1, 1, 1, 8), np.sqrt(2.0))
    >>> mean = noise_of_mean(sigma, np.ones(8), np.ones((1, 1, 1)), np.ones((1, 1, 8, 1)), np.full(8, 1 / 8))
    >>> round(mean.item() ** 2, 6)
    1.125
    """
    used = np.where(weights != 0.0, off_variance[..., None, :], 0.0)
    of_dump = on_variance + (weights**2 * used).sum(axis=-1)
    common = np.einsum("s,raso->rao", shares, weights)
    of_off = np.where(common != 0.0, off_variance, 0.0)
    of_mean = (shares**2 * on_variance).sum() + (common**2 * of_off).sum(axis=-1)
    total = np.zeros(sigma.shape[:3], order="F")
    for on in range(sigma.shape[3]):
        total += sigma[..., on].astype(np.float64) ** 2 * (of_mean / of_dump[..., on])
    return np.asarray(np.sqrt(total / sigma.shape[3]))


def find_ripple(spectrum: Floats, sigma: Floats) -> Ripple:
    """Find the strongest sinusoid in the baseline of a spectrum.

    Parameters
    ----------
    spectrum : ndarray, shape (C, R, A)
        Mean spectrum, NaN where there are no data [K].
    sigma : ndarray, shape (C, R, A)
        Its expected noise [K].

    Returns
    -------
    Ripple

    Notes
    -----
    A parabola is subtracted. Lines are left out: channels where a running mean over 1, 4, 16 or 64
    of them departs from its median by more than four times its noise (1.4826 times the median
    absolute deviation), and as many channels beside them. The frequency is that of the largest
    |F| of the Fourier transform with zeros in the gaps, from three periods in the band to one in 8
    channels, sampled at quarters of a bin, since a ripple between two bins would be found up to 36 %
    too weak (Harris, Proc. IEEE 66, 51 (1978): scalloping loss). A sinusoid of that frequency and a
    line are then fitted to each third of the band by least squares; the median of the three
    amplitudes is that of what goes through the whole band, not of a line that was not recognised.
    The amplitude of noise in a third is 2 sigma sqrt(3/N), with the N channels with data and the root
    mean square sigma of their noise.

    Examples
    --------
    A ripple of 0.2 K with ten periods in the band, on a sloping baseline:

    >>> x = np.arange(1000) / 1000
    >>> found = find_ripple((3.0 * x + 0.2 * np.cos(20 * np.pi * x))[:, None, None], np.full((1000, 1, 1), 0.01))
    >>> found.amplitude.round(2).tolist(), found.periods.round().tolist()
    ([[0.2]], [[10.0]])
    """
    n_channels, *pixels = spectrum.shape
    last = n_channels // _SHORTEST_RIPPLE
    if last < _LONGEST_RIPPLE:
        unknown = np.full(pixels, np.nan)
        return Ripple(unknown, unknown, unknown)
    values = rows(spectrum)
    flat, used = _remove_baseline(values)
    transform = np.fft.rfft(np.where(used, flat, 0.0), n=_PARTS_OF_BIN * n_channels, axis=1)
    wanted = transform[:, _PARTS_OF_BIN * _LONGEST_RIPPLE : _PARTS_OF_BIN * last + 1]
    strength = wanted.real**2 + wanted.imag**2
    periods = _LONGEST_RIPPLE + strength.argmax(axis=1) / _PARTS_OF_BIN
    amplitude = median_of_finite(_amplitudes_in_thirds(flat, used, periods), axis=1)
    has_data = np.isfinite(values)
    number = np.maximum(has_data.sum(axis=1), 1)
    variance = np.where(has_data, rows(sigma) ** 2, 0.0).sum(axis=1) / number
    noise = 2.0 * np.sqrt(variance * _THIRDS / number)
    periods[np.isnan(amplitude)] = np.nan
    n_receivers, n_arrays = pixels
    return Ripple(*(item.reshape(n_arrays, n_receivers).T for item in (amplitude, noise, periods)))


def strongest_dip(spectrum: Floats, sigma: Floats, channels: Mask | None = None) -> Floats:
    """Find how significant the deepest dip of a spectrum is.

    Parameters
    ----------
    spectrum : ndarray, shape (C, R, A)
        Mean spectrum, NaN where there are no data [K]; its negative for the strongest line.
    sigma : ndarray, shape (C, R, A)
        Its expected noise [K].
    channels : ndarray of bool, shape (C,), optional
        Channels to look at, in which the window of the running mean must lie; all if not given.

    Returns
    -------
    ndarray, shape (R, A)
        Minus the least of max(m_c - min(m_(c-2n), m_(c+2n)), m_c - median)·sqrt(n)/sigma_c, with
        running means m over n = 1, 4, 16 and 64 channels; NaN for a pixel without data.

    Notes
    -----
    A dip lies below the median of the spectrum and below what is on either side of it: neither a
    sloping baseline nor the gap between two lines is one. A window of less than half its channels
    is left out; of others n is the number of channels with data.

    Examples
    --------
    A line of -1 K in 16 channels of 0.5 K noise is one of 8 sigma; one of +1 K is none.

    >>> channel = np.arange(1000)
    >>> line = np.where((channel >= 400) & (channel < 416), 1.0, 0.0)[:, None, None]
    >>> [strongest_dip(s, np.full(line.shape, 0.5)).round(6).item() for s in (-line, line)]
    [8.0, -0.0]
    """
    n_channels, n_receivers, n_arrays = spectrum.shape
    wanted = np.ones(n_channels, np.bool_) if channels is None else channels
    values = rows(spectrum)
    middle = median_of_finite(values, axis=1)
    found = _deepest(values, rows(sigma), middle, wanted, np.array(WIDTHS))
    return np.asarray(found.reshape(n_arrays, n_receivers).T)


@compiled
def _deepest(values: Floats, sigma: Floats, middle: Floats, wanted: Mask, widths: NDArray[np.int64]) -> Floats:
    """Significance of the deepest dip of rows (P, C); NaN without any channel."""
    n_rows, n_channels = values.shape
    deepest = np.empty(n_rows)
    looked_at = np.zeros(n_channels + 1, np.int64)
    for c in range(n_channels):
        looked_at[c + 1] = looked_at[c] + wanted[c]
    total, number = np.zeros(n_channels + 1), np.zeros(n_channels + 1, np.int64)
    mean = np.empty(n_channels)
    for p in range(n_rows):
        # Names of their own for what is looked at again and again: elements of arrays would be loaded each time.
        low, noise = -np.inf, sigma[p]
        for c in range(n_channels):
            finite = np.isfinite(values[p, c])
            total[c + 1] = total[c] + (values[p, c] - middle[p] if finite else 0.0)
            number[c + 1] = number[c] + finite
        for n in widths:
            half = n // 2
            mean[:half], mean[max(n_channels - n + half + 1, 0) :] = np.nan, np.nan
            total_at_end, number_at_end, around = total[n:], number[n:], mean[half:]
            for first in range(n_channels - n + 1):
                within = number_at_end[first] - number[first]
                around[first] = (total_at_end[first] - total[first]) / within if 2 * within >= n else np.nan
            root = np.sqrt(n)
            for c in range(2 * n, n_channels - 2 * n):
                # Most channels are not low enough themselves, whatever is beside them.
                if not max(-mean[c], 0.0) * root > low * noise[c]:
                    continue
                before, after = mean[c - 2 * n], mean[c + 2 * n]
                first = c - half
                inside = looked_at[first + n] - looked_at[first] == n
                if inside and noise[c] > 0.0 and np.isfinite(mean[c] + before + after):
                    within = number[first + n] - number[first]
                    depth = -max(mean[c] - min(before, after), mean[c]) * np.sqrt(within) / noise[c]
                    low = max(depth, low)
        deepest[p] = low
    return np.where(np.isinf(deepest), np.nan, deepest)


def _remove_baseline(values: Floats) -> tuple[Floats, Mask]:
    """Subtract a parabola from rows (P, C); return them with a mask of channels with data and without lines."""
    finite = np.isfinite(values)
    used = finite
    flat = np.empty_like(values)
    widths = np.array([width for width in WIDTHS if width <= values.shape[1]])
    stride = channel_stride(values.shape[1])
    # Lines spoil the first parabola; without the narrow and strong ones the second shows the others.
    for looked_for in (widths[:1], widths):
        matrix, right = _normal_equations(values, used)
        # A small diagonal term keeps the equations of an empty spectrum solvable.
        parabola = np.linalg.solve(matrix + 1e-9 * np.eye(3), right[..., None])[..., 0]
        _take_off(values, np.asarray(parabola, np.float64), flat)
        means = _running_means(flat, looked_for, stride)
        middle = median_of_finite(means, axis=2)
        spread = median_of_finite(np.abs(means - middle[..., None]), axis=2)
        used = finite.copy()
        _cut(flat, looked_for, middle, _CLIP * MAD_TO_SIGMA * spread, used)
    return flat, used


@compiled
def _add_up(values: Floats, total: Floats, number: NDArray[np.int64]) -> None:
    """Put the sums and the numbers of the finite values (C,) before each channel into (C + 1,)."""
    for c in range(len(values)):
        finite = np.isfinite(values[c])
        total[c + 1] = total[c] + (values[c] if finite else 0.0)
        number[c + 1] = number[c] + finite


@compiled
def _mean_around(channel: int, width: int, total: Floats, number: NDArray[np.int64]) -> float:
    """Mean over a window that holds the channel, cut off at the ends of the band; NaN without data."""
    first = max(channel - width // 2, 0)
    last = min(channel - width // 2 + width, len(total) - 1)
    return float((total[last] - total[first]) / (number[last] - number[first]))


@compiled
def _running_means(values: Floats, widths: NDArray[np.int64], stride: int) -> Floats:
    """Running means of rows (P, C) over windows of (W,) widths, at every `stride`-th channel; shape (W, P, ...)."""
    n_rows, n_channels = values.shape
    means = np.empty((len(widths), n_rows, (n_channels + stride - 1) // stride))
    total, number = np.zeros(n_channels + 1), np.zeros(n_channels + 1, np.int64)
    for p in range(n_rows):
        _add_up(values[p], total, number)
        for i in range(len(widths)):
            for k in range(means.shape[2]):
                means[i, p, k] = _mean_around(k * stride, widths[i], total, number)
    return means


@compiled
def _normal_equations(values: Floats, used: Mask) -> tuple[Floats, Floats]:
    """Compute matrices (P, 3, 3) and right sides (P, 3) of the fits of parabolas on -1 ... 1.

    Only the `used` values (P, C) are fitted.
    """
    n_spectra, n_channels = values.shape
    matrix, right = np.zeros((n_spectra, 3, 3)), np.zeros((n_spectra, 3))
    for p in range(n_spectra):
        # Sums in registers; in arrays they take three times as long.
        m0 = m1 = m2 = m3 = m4 = 0.0
        r0 = r1 = r2 = 0.0
        for c in range(n_channels):
            if used[p, c]:
                x, value = _position(c, n_channels), values[p, c]
                x2 = x * x
                x3 = x2 * x
                m0, m1, m2, m3, m4 = m0 + 1.0, m1 + x, m2 + x2, m3 + x3, m4 + x3 * x
                r0, r1, r2 = r0 + value, r1 + x * value, r2 + x2 * value
        moments = (m0, m1, m2, m3, m4)
        right[p, 0], right[p, 1], right[p, 2] = r0, r1, r2
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
def _cut(values: Floats, widths: NDArray[np.int64], middle: Floats, limit: Floats, used: Mask) -> None:
    """Clear `used` (P, C) where a running mean of rows is beyond a limit (W, P) from the middle, and as far beside."""
    n_rows, n_channels = values.shape
    total, number = np.zeros(n_channels + 1), np.zeros(n_channels + 1, np.int64)
    for p in range(n_rows):
        _add_up(values[p], total, number)
        for i in range(len(widths)):
            # The first channel that is not cleared yet.
            begin = 0
            for c in range(n_channels):
                if np.abs(_mean_around(c, widths[i], total, number) - middle[i, p]) > limit[i, p]:
                    end = min(c + widths[i] + 1, n_channels)
                    for k in range(max(c - widths[i], begin), end):
                        used[p, k] = False
                    begin = end


def _amplitudes_in_thirds(flat: Floats, used: Mask, periods: Floats) -> Floats:
    """Fit sinusoids of (P,) periods in the band, with a line, to the thirds of rows (P, C); shape (P, 3)."""
    matrix, right, number = _equations_of_thirds(flat, used, periods)
    solution = np.linalg.solve(matrix + 1e-9 * np.eye(4), right[..., None])[..., 0]
    amplitude = np.hypot(solution[..., 2], solution[..., 3])
    return np.where(number < _FEWEST_OF_THIRD, np.nan, amplitude)


@compiled
def _equations_of_thirds(flat: Floats, used: Mask, periods: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Normal equations (P, 3, 4, 4) and (P, 3, 4) of line and sinusoid, and the numbers of values (P, 3)."""
    n_spectra, n_channels = flat.shape
    matrix, right = np.zeros((n_spectra, 3, 4, 4)), np.zeros((n_spectra, 3, 4))
    number = np.zeros((n_spectra, 3), np.int64)
    terms = np.ones(4)
    for p in range(n_spectra):
        step = 2.0 * np.pi * periods[p] / n_channels
        cosine, sine = np.cos(step), np.sin(step)
        terms[2], terms[3] = 1.0, 0.0
        for c in range(n_channels):
            if used[p, c]:
                third = 3 * c // n_channels
                # The position within the third, from -1 to 1, keeps the equations well conditioned.
                terms[1] = 6.0 * c / n_channels - 2.0 * third - 1.0
                number[p, third] += 1
                for j in range(4):
                    right[p, third, j] += terms[j] * flat[p, c]
                    for k in range(j + 1):
                        matrix[p, third, j, k] += terms[j] * terms[k]
            # The next cosine and sine by rotation: a tenth of the time, and exact to 1e-11.
            terms[2], terms[3] = terms[2] * cosine - terms[3] * sine, terms[3] * cosine + terms[2] * sine
        for third in range(3):
            for j in range(4):
                for k in range(j):
                    matrix[p, third, k, j] = matrix[p, third, j, k]
    return matrix, right, number
