"""Noise of calibrated spectra: system temperature, radiometer equation, rounding to the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.rows import by_channel, rows, rows_to_fill
from cal_pipeline.heterodyne.physics.switching import weighted_sum

Floats = NDArray[np.float64]


def rounding_shift(sigma: NDArray[np.float32]) -> Floats:
    """Compute the number that rounds antenna temperatures to their noise when added and taken off.

    Parameters
    ----------
    sigma : ndarray of float32, shape (C, R, A)
        Expected 1-sigma noise of a dump [K].

    Returns
    -------
    ndarray, shape (C, R·A)
        1.5·2⁵² rounding steps, in the pixel order of counts; 0, which rounds nothing, where sigma is
        not finite or 0 [K].

    Notes
    -----
    The step is the largest power of two that is at most 2 % of sigma, so the error is at most 1 %
    of sigma; halves go to the even multiple, so that means stay unbiased. The sum has no bits below
    the step: the arithmetic of 64-bit floats does the rounding.

    Examples
    --------
    The step for a noise of 1 K is 1/64 K:

    >>> shift = rounding_shift(np.ones((1, 1, 1), np.float32)).item()
    >>> ((1.0 + 0.3 / 64) + shift) - shift, ((1.0 + 0.6 / 64) + shift) - shift
    (1.0, 1.015625)
    """
    step = 0.02 * by_channel(sigma, sigma.shape).astype(np.float64)
    # A number without the bits of its mantissa is the power of two below it.
    shift = (step.view(np.int64) & _EXPONENT).view(np.float64) * (1.5 * 2.0**52)
    shift[~np.isfinite(step)] = 0.0
    return shift


_EXPONENT = 0x7FF0_0000_0000_0000
"""Bits of the exponent of a 64-bit float."""


def round_to_noise(
    spectra: NDArray[np.floating[Any]], sigma: NDArray[np.float32], out: NDArray[np.floating[Any]]
) -> None:
    """Round antenna temperatures to what their noise lets them tell.

    Parameters
    ----------
    spectra : ndarray, shape (C, D, R, A)
        T_A* [K].
    sigma : ndarray of float32, shape (C, R, A)
        Expected 1-sigma noise of a dump [K]; where it is not finite nothing is rounded.
    out : ndarray, shape (C, D, R, A)
        Output array, of 32 or 64 bits, in C order; may be `spectra`.

    Raises
    ------
    ValueError
        If `out` has another shape or is not in C order, or if `sigma` has another shape.

    Notes
    -----
    The error is at most 1 % of sigma (:func:`rounding_shift`). 32 bits hold multiples of the step
    exactly up to 2²⁴ steps, which are more than 160 000 sigma.

    References
    ----------
    Pence, White & Seaman 2010, PASP 122, 1065: noise of quantized spectra.

    Examples
    --------
    The error stays below 1 % of sigma, here 1 K, and the mean is unbiased:

    >>> exact = np.random.default_rng(1).normal(size=(1, 10_000, 1, 1))
    >>> rounded = np.empty(exact.shape, np.float32)
    >>> round_to_noise(exact, np.ones((1, 1, 1), np.float32), rounded)
    >>> bool(np.abs(rounded - exact).max() < 0.01), f"{abs((rounded - exact).mean()):.3f}"
    (True, '0.000')
    """
    n_channels, n_dumps, *pixels = spectra.shape
    if out.shape != spectra.shape or not out.flags.c_contiguous or sigma.shape != (n_channels, *pixels):
        raise ValueError(
            f"the array to put spectra into has shape {out.shape} and the noise {sigma.shape}, expected "
            f"{spectra.shape} in C order and {(n_channels, *pixels)}"
        )
    flat = (n_channels, n_dumps, sigma[0].size)
    _round(np.ascontiguousarray(spectra).reshape(flat), rounding_shift(sigma), out.reshape(flat))


@compiled
def _round(spectra: NDArray[np.floating[Any]], shift: Floats, out: NDArray[np.floating[Any]]) -> None:
    """Add and take off a number (C, P) to every dump of spectra (C, D, P)."""
    n_channels, n_dumps, n_pixels = spectra.shape
    for c in range(n_channels):
        for d in range(n_dumps):
            for p in range(n_pixels):
                out[c, d, p] = (spectra[c, d, p] + shift[c, p]) - shift[c, p]


def couple_noise(
    t_sys: Floats, sigma: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.float32]]:
    """Compute system temperature and noise of merged beams.

    Parameters
    ----------
    t_sys : ndarray, shape (C, R, A, S)
        System temperature at each ON [K].
    sigma : ndarray of float32, shape (C, R, A, S)
        Expected noise of a dump of each ON [K].
    first, second : ndarray of int, shape (S_out,)
        Indices of the ONs that are averaged; -1 for one without a partner.

    Returns
    -------
    t_sys : ndarray, shape (C, R, A, S_out)
        0.5·(t_sys_A + t_sys_B) [K].
    sigma : ndarray of float32, shape (C, R, A, S_out)
        0.5·sqrt(sigma_A² + sigma_B²) [K].

    Examples
    --------
    >>> t_sys, sigma = np.array([[[[100.0, 120.0, 90.0]]]]), np.array([[[[3.0, 4.0, 2.0]]]], np.float32)
    >>> [values.ravel().tolist() for values in couple_noise(t_sys, sigma, np.array([0, 2]), np.array([1, -1]))]
    [[110.0, 90.0], [2.5, 2.0]]
    """
    coupled_t_sys, coupled_sigma = t_sys[..., first], sigma[..., first]
    for out in np.flatnonzero(second >= 0):
        other = second[out]
        coupled_t_sys[..., out] = 0.5 * (coupled_t_sys[..., out] + t_sys[..., other])
        coupled_sigma[..., out] = 0.5 * np.hypot(
            coupled_sigma[..., out].astype(np.float64), sigma[..., other].astype(np.float64)
        )
    return coupled_t_sys, coupled_sigma


def find_without_noise(sigma: NDArray[np.float32], t_sys: Floats) -> NDArray[np.bool_] | None:
    """Find samples without finite noise or system temperature.

    Parameters
    ----------
    sigma, t_sys : ndarray, shape (C, R, A, S)
        Expected noise and system temperature [K].

    Returns
    -------
    ndarray of bool, shape (C, R, A, S), or None
        True where either is not finite; None if both are finite everywhere.

    Examples
    --------
    >>> find_without_noise(np.array([1.0, np.nan], np.float32), np.array([100.0, 100.0]))
    array([False,  True])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # A finite sum proves that all values are finite.
        if np.isfinite(sigma.sum(dtype=np.float64) + t_sys.sum()):
            return None
    lacking = ~(np.isfinite(sigma) & np.isfinite(t_sys))
    return lacking if lacking.any() else None


def system_temperature(t_rec: Floats, t_sky: Floats, out: Floats) -> None:
    """Compute the double-sideband system temperature.

    Parameters
    ----------
    t_rec : ndarray, shape (C, R, A)
        Receiver temperature, double sideband [K].
    t_sky : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Input temperature of blank sky [K].
    out : ndarray, shape (C, R, A)
        Output array, t_rec + t_sky [K].

    Examples
    --------
    >>> t_sys = np.empty((1, 1, 1))
    >>> system_temperature(np.array([[[80.0]]]), np.array([[[45.0]]]), t_sys)
    >>> t_sys
    array([[[125.]]])
    """
    np.add(t_rec, t_sky, out=out)


def line_coupling(weight_signal: Floats, forward_efficiency: Floats, coupling: float, transmission: Floats) -> Floats:
    """Compute the input temperature that a line of 1 K of T_A* in the signal sideband adds.

    Parameters
    ----------
    weight_signal : ndarray, shape (1,) or (A,)
        Weight w_s of the signal sideband.
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.
    coupling : float
        Further losses eta between sky and receiver.
    transmission : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Transmission t_r of the atmosphere in the signal sideband.

    Returns
    -------
    ndarray
        w_s f_eff eta t_r(nu_s), in Fortran order.

    Examples
    --------
    >>> line_coupling(np.array([0.5]), np.array([0.9]), 1.0, np.array([[[0.8]]]))
    array([[[0.36]]])
    """
    return np.multiply(weight_signal * forward_efficiency * coupling, transmission, order="F")


def variance_of_mean(dumps: NDArray[np.int32], exptime: float) -> Floats:
    """Compute the variance of the mean of dumps, relative to T_sys²/B.

    Parameters
    ----------
    dumps : ndarray of int
        Number n of dumps in the mean.
    exptime : float
        Integration time t of a dump [s].

    Returns
    -------
    ndarray, shape of `dumps`
        1/(n t) [1/s]; infinite without a dump.

    Examples
    --------
    >>> variance_of_mean(np.array([4, 0]), 0.5)
    array([0.5, inf])
    """
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (dumps * exptime))


def reference_variance(variances: Sequence[Floats], weights: Floats) -> Floats:
    """Compute the variance of a weighted mean of OFFs.

    Parameters
    ----------
    variances : sequence of ndarray, shape (C, R, A)
        Variance v of each OFF.
    weights : ndarray, shape (R, A, O)
        Weights a of the OFFs; one of weight zero is ignored, even if its variance is infinite.

    Returns
    -------
    ndarray, shape (C, R, A)
        Σ_k a_k² v_k, in the unit of `variances`; NaN in a pixel whose weights are all zero.

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> reference_variance([2.0 * one, 4.0 * one, np.inf * one], np.array([[[0.5, 0.5, 0.0]]]))
    array([[[1.5]]])
    """
    return weighted_sum(variances, weights**2)


def integration_time(
    valid: NDArray[np.bool_], exptime: Floats, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Floats:
    """Compute the time that spectra were integrated on source.

    Parameters
    ----------
    valid : ndarray of bool, shape (B, D, S)
        Whether a dump of an ON has a valid sample in each of B blocks.
    exptime : ndarray, shape (S,)
        Integration time of a dump of each ON [s].
    first, second : ndarray of int, shape (S_out,)
        Indices of the one or two ONs of each spectrum; -1 for one ON.

    Returns
    -------
    ndarray, shape (S_out,)
        Number of dumps with any valid sample times their integration time, of both ONs [s].

    Examples
    --------
    >>> valid = np.array([[[True, True, False], [True, False, False]]])
    >>> integration_time(valid, np.array([2.0, 3.0, 3.0]), np.array([0, 2]), np.array([1, -1]))
    array([7., 0.])
    """
    # The index -1 meets the appended zero.
    exposure = np.append(valid.any(axis=0).sum(axis=0) * exptime, 0.0)
    return np.asarray(exposure[first] + exposure[second])


def expected_noise(
    t_sys: Floats,
    line_coupling: Floats,
    channel_width: float,
    on_time: float,
    reference_variance: Floats,
    out: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.floating[Any]]:
    """Compute the expected 1-sigma noise of one dump of T_A* by the radiometer equation.

    Parameters
    ----------
    t_sys : ndarray, shape (C, R, A)
        Double-sideband system temperature [K].
    line_coupling : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        w_s f_eff eta t_r(nu_s): what a line of 1 K of T_A* adds to the input temperature.
    channel_width : float
        Noise bandwidth B of a channel [Hz].
    on_time : float
        Integration time of a dump of the ON [s].
    reference_variance : ndarray, shape (C, R, A)
        Σ_k a_k²/(n_k t_k) over the OFFs in the reference [1/s].
    out : ndarray, shape (C, R, A), optional
        Output array, in Fortran order; a new one of 64 bits if not given.

    Returns
    -------
    ndarray, shape (C, R, A)
        t_sys/(w_s f_eff eta t_r)·sqrt[1/(B t_on) + Σ_k a_k²/(B n_k t_k)] [K]; NaN where it is not
        finite.

    Raises
    ------
    ValueError
        If an array has another shape, or `out` is not in Fortran order.

    Notes
    -----
    The power of the source itself, the noise of the loads and a noise bandwidth other than the
    channel spacing are not in it; the noise of the reference is common to all dumps of an ON.

    References
    ----------
    Dicke 1946, Rev. Sci. Instrum. 17, 268.

    Examples
    --------
    Without noise of the reference a T_sys of 200 K, which counts double in one of two sidebands,
    leaves 0.4 K after 1 s in 1 MHz; a reference as long as the ON adds a factor of √2:

    >>> one = np.ones((1, 1, 1))
    >>> noise = [expected_noise(200.0 * one, 0.5 * one, 1e6, 1.0, variance * one) for variance in (0.0, 1.0)]
    >>> [round(sigma.item(), 3) for sigma in noise]
    [0.4, 0.566]
    """
    noise = np.empty(t_sys.shape, order="F") if out is None else out
    shape = t_sys.shape
    _noise(
        1.0 / on_time,
        channel_width,
        rows(t_sys, shape),
        rows(reference_variance, shape),
        rows(line_coupling, shape, shared=True),
        rows_to_fill(noise, shape),
    )
    return noise


@compiled
def _noise(
    on_variance: float,
    channel_width: float,
    t_sys: Floats,
    reference_variance: Floats,
    line_coupling: Floats,
    noise: NDArray[np.floating[Any]],
) -> None:
    """Expected noise (P, C); the coupling may be the same for several pixels."""
    n_pixels, n_channels = t_sys.shape
    for p in range(n_pixels):
        # As in `_factor`.
        q = p * len(line_coupling) // n_pixels
        for c in range(n_channels):
            variance = (on_variance + reference_variance[p, c]) / channel_width
            noise[p, c] = t_sys[p, c] / line_coupling[q, c] * np.sqrt(variance)
            # Looked at as it is stored: 32 bits hold less.
            if not np.isfinite(noise[p, c]):
                noise[p, c] = np.nan
