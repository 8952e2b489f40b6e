"""The calibration equation: counts to antenna temperature, and the noise to expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.compiled import by_channel, compiled, rows, rows_to_fill
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.switching import weighted_sum

Floats = NDArray[np.float64]


_LARGEST = 2.0**1022
"""Kelvin from which on a number counts as not finite: the sum of two smaller ones is finite."""

_FEW_PIXELS = 8
"""Pixels below which the innermost loop is over dumps instead."""


def kelvin_per_count(
    t_cal: Floats,
    load_difference: Floats,
    transmission: Floats,
    bad: NDArray[np.bool_],
    out: Floats | None = None,
) -> Floats:
    """Compute the factor that turns ON - REF into antenna temperature.

    Parameters
    ----------
    t_cal : ndarray, shape (C, R, A)
        Calibration temperature [K].
    load_difference : ndarray, shape (C, R, A)
        HOT - COLD [ct].
    transmission : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Transmission of the atmosphere in the signal sideband at the ON.
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.
    out : ndarray, shape (C, R, A), optional
        Output array, in Fortran order.

    Returns
    -------
    ndarray, shape (C, R, A)
        t_cal/(HOT - COLD)/t_r(nu_s), NaN in bad channels [K/ct].

    Raises
    ------
    ValueError
        If an array has another shape, or `out` is not in Fortran order.

    References
    ----------
    Penzias & Burrus 1973, ARA&A 11, 51; Kutner & Ulich 1981, ApJ 250, 341.

    Examples
    --------
    Half of a line is lost in an atmosphere of transmission 0.5, so a count stands for twice as much:

    >>> one, good = np.ones((1, 1, 1)), np.zeros((1, 1, 1), bool)
    >>> [kelvin_per_count(400.0 * one, 2e5 * one, t_r * one, good).item() for t_r in (1.0, 0.5)]
    [0.002, 0.004]
    """
    factor, shape = np.empty(bad.shape, order="F") if out is None else out, bad.shape
    _factor(
        rows(t_cal, shape),
        rows(load_difference, shape),
        rows(bad, shape),
        rows(transmission, shape, shared=True),
        rows_to_fill(factor, shape),
    )
    return factor


@compiled
def _factor(
    t_cal: Floats, load_difference: Floats, bad: NDArray[np.bool_], transmission: Floats, factor: Floats
) -> None:
    """Kelvin per count (P, C); the transmission may be the same for several pixels."""
    n_pixels, n_channels = bad.shape
    for p in range(n_pixels):
        # Receivers of an array are neighbours, so those that share a row are too.
        q = p * len(transmission) // n_pixels
        for c in range(n_channels):
            calibrated = t_cal[p, c] / load_difference[p, c] / transmission[q, c]
            factor[p, c] = np.nan if bad[p, c] else calibrated


def antenna_temperature(
    on: NDArray[Any], reference: Floats, factor: Floats, bad: NDArray[np.bool_], out: Floats | None = None
) -> tuple[Floats, NDArray[np.uint16], NDArray[np.bool_] | None]:
    """Calibrate the dumps of an ON.

    Parameters
    ----------
    on : ndarray, shape (C, D, R, A)
        Counts, integers or floats, NaN where a dump is missing [ct].
    reference : ndarray, shape (C, R, A) or (C, D, R, A)
        Counts of the reference [ct].
    factor : ndarray, shape (C, R, A)
        Kelvin per count [K/ct].
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.
    out : ndarray, shape (C, D, R, A), optional
        Output array for the spectra, in C order.

    Returns
    -------
    spectra : ndarray, shape (C, D, R, A)
        T_A* = (ON - REF)·factor [K], NaN where flagged.
    flags : ndarray of uint16, shape (C, D, R, A)
        BAD_CHANNEL and FILL_VALUE bits; not to be written to.
    missing : ndarray of bool, shape (C, D, R, A), or None
        True if ON or reference is missing, or T_A* is not finite in a channel that is not bad; None
        if nothing is missing.

    Raises
    ------
    ValueError
        If `out` has another shape or is not in C order, or if `reference`, `factor` or `bad` has
        another shape.

    References
    ----------
    Penzias & Burrus 1973, ARA&A 11, 51; Kutner & Ulich 1981, ApJ 250, 341.

    Examples
    --------
    A line of 250 counts at 0.004 K/ct is 1 K; the second dump was lost:

    >>> on, one = np.array([1250.0, np.nan]).reshape(1, 2, 1, 1), np.ones((1, 1, 1))
    >>> spectra, flags, missing = antenna_temperature(on, 1000.0 * one, 0.004 * one, one < 0.0)
    >>> spectra.ravel().tolist(), flags.ravel().tolist(), missing.ravel().tolist()
    ([1.0, nan], [0, 2], [False, True])
    """
    n_channels, n_dumps, *pixels = on.shape
    flat, shape = (n_channels, n_dumps, int(np.prod(pixels))), (n_channels, *pixels)
    if reference.shape == on.shape:
        levels = np.ascontiguousarray(reference, np.float64).reshape(flat)
    else:
        levels = by_channel(reference, shape)[:, None]
    spectra = np.empty(on.shape) if out is None else out
    if spectra.shape != on.shape or not spectra.flags.c_contiguous:
        raise ValueError(f"the array to put spectra into has shape {spectra.shape}, expected {on.shape} in C order")
    counts = np.ascontiguousarray(on).reshape(flat)
    scale, some_bad, missing = by_channel(factor, shape), bool(bad.any()), None
    if some_bad:
        # With a factor of 0 a sample of a bad channel is finite unless it is missing.
        bad_rows = by_channel(bad, shape)
        scale[bad_rows] = 0.0
    if not _calibrate(counts, levels, scale, spectra.reshape(flat)):
        missing = ~(np.abs(spectra) < _LARGEST)
        spectra[missing] = np.nan
    if missing is None and not some_bad:
        return spectra, np.broadcast_to(np.uint16(0), on.shape), None
    flags = np.zeros(on.shape, np.uint16)
    if some_bad:
        _blank(spectra.reshape(flat), bad_rows)
        flags[:] = (bad * np.uint16(Flag.BAD_CHANNEL))[:, None]
    if missing is not None:
        flags[missing] |= np.uint16(Flag.FILL_VALUE)
    return spectra, flags, missing


@compiled
def _calibrate(counts: NDArray[Any], reference: Floats, factor: Floats, spectra: Floats) -> bool:
    """Calibrate counts (C, D, P) into `spectra`; return whether all values are finite.

    The reference has one value per dump, or one for all dumps.
    """
    n_channels, n_dumps, n_pixels = counts.shape
    unusual = False
    per_dump = 1 if reference.shape[1] > 1 else 0
    # Pixels are neighbours in memory, but a few of them make an innermost loop too short.
    few = n_pixels < _FEW_PIXELS
    n_outer, n_inner = (n_pixels, n_dumps) if few else (n_dumps, n_pixels)
    for c in range(n_channels):
        for outer in range(n_outer):
            for inner in range(n_inner):
                d, p = (inner, outer) if few else (outer, inner)
                above = counts[c, d, p] - reference[c, per_dump * d, p]
                kelvin = above * factor[c, p]
                unusual |= not np.abs(kelvin) < _LARGEST
                spectra[c, d, p] = kelvin
    return not unusual


@compiled
def _blank(spectra: Floats, bad: NDArray[np.bool_]) -> None:
    """Put NaN into spectra (C, D, P) where a channel of a pixel (C, P) is bad."""
    n_channels, n_dumps, n_pixels = spectra.shape
    for c in range(n_channels):
        for p in range(n_pixels):
            if bad[c, p]:
                for d in range(n_dumps):
                    spectra[c, d, p] = np.nan


def round_to_noise(spectra: Floats, sigma: NDArray[np.float32]) -> None:
    """Round antenna temperatures, in place, to what their noise lets them tell.

    Parameters
    ----------
    spectra : ndarray, shape (C, D, R, A)
        T_A* [K].
    sigma : ndarray of float32, shape (C, R, A)
        Expected 1-sigma noise of a dump [K]; where it is not finite nothing is rounded.

    Notes
    -----
    The step is the largest power of two that is at most 2 % of sigma, so the error is at most 1 %
    of sigma; halves go to the even multiple, so that means stay unbiased. Adding and taking off
    1.5·2⁵² steps lets the arithmetic of 64-bit floats do the rounding.

    References
    ----------
    Pence, White & Seaman 2010, PASP 122, 1065: noise of quantized spectra.

    Examples
    --------
    The error stays below 1 % of sigma, here 1 K, and the mean is unbiased:

    >>> spectra = np.random.default_rng(1).normal(size=(1, 10_000, 1, 1))
    >>> exact = spectra.copy()
    >>> round_to_noise(spectra, np.ones((1, 1, 1), np.float32))
    >>> bool(np.abs(spectra - exact).max() < 0.01), f"{abs((spectra - exact).mean()):.3f}"
    (True, '0.000')
    """
    step = 0.02 * sigma.astype(np.float64)
    # A number of exponent e lies in 2^(e-1) … 2^e.
    shift = np.ldexp(1.5, np.frexp(step)[1] + 51)
    shift[~(np.isfinite(step) & (step > 0.0))] = 0.0
    n_channels, n_dumps, *pixels = spectra.shape
    flat = np.ascontiguousarray(spectra).reshape(n_channels, n_dumps, -1)
    _round(flat, by_channel(shift, (n_channels, *pixels)))
    if not spectra.flags.c_contiguous:
        spectra[...] = flat.reshape(spectra.shape)


@compiled
def _round(spectra: Floats, shift: Floats) -> None:
    """Add and take off a number (C, P) to every dump of spectra (C, D, P), in place."""
    n_channels, n_dumps, n_pixels = spectra.shape
    for c in range(n_channels):
        for d in range(n_dumps):
            for p in range(n_pixels):
                spectra[c, d, p] = (spectra[c, d, p] + shift[c, p]) - shift[c, p]


def couple_beams(
    first: tuple[Floats, NDArray[np.uint16]], second: tuple[Floats, NDArray[np.uint16]]
) -> tuple[Floats, NDArray[np.uint16]]:
    """Merge the two beams of a dual beam switch.

    Parameters
    ----------
    first, second : tuple of ndarray
        T_A* [K] and flags of beam A and of beam B, all of one shape.

    Returns
    -------
    spectra : ndarray
        0.5·(T_A + T_B) [K], NaN where either is.
    flags : ndarray of uint16
        Flags of either.

    Examples
    --------
    Baselines of 0.3 K in beam A and -0.3 K in beam B cancel:

    >>> good, flagged = np.zeros(2, np.uint16), np.array([0, 2], np.uint16)
    >>> spectra, flags = couple_beams((np.array([1.3, 1.3]), good), (np.array([0.7, np.nan]), flagged))
    >>> spectra.tolist(), flags.tolist()
    ([1.0, nan], [0, 2])
    """
    return 0.5 * (first[0] + second[0]), first[1] | second[1]


def either_missing(first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Find the samples that are missing in either of two beams.

    Parameters
    ----------
    first, second : ndarray of bool, or None
        Missing samples of each beam, of one shape; None if there are none.

    Returns
    -------
    ndarray of bool, or None
        ``first | second``.

    Examples
    --------
    >>> either_missing(None, np.array([True, False]))
    array([ True, False])
    """
    if first is None or second is None:
        return second if first is None else first
    return first | second


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


def count_without_factor(
    factor: Floats, bad: NDArray[np.bool_], first: NDArray[np.int64], second: NDArray[np.int64]
) -> int:
    """Count channels of spectra that are good but have no finite factor.

    Parameters
    ----------
    factor : ndarray, shape (C, R, A, S)
        Kelvin per count at each ON.
    bad : ndarray of bool, shape (C, R, A, S)
        Channels that are not calibrated.
    first, second : ndarray of int, shape (S_out,)
        Indices of the one or two ONs of a spectrum; -1 for one ON.

    Returns
    -------
    int
        Number of channels of all pixels and spectra whose ONs are all good and of which one has no
        finite factor.

    Examples
    --------
    >>> factor = np.array([[[[np.nan, 1.0]]], [[[np.inf, np.nan]]]])
    >>> bad = np.array([[[[True, False]]], [[[False, False]]]])
    >>> count_without_factor(factor, bad, np.array([0, 1]), np.array([-1, -1]))
    2
    """
    lacking = ~np.isfinite(factor) & ~bad
    # The index -1 picks the last ON, which the condition then discards.
    merged = lacking[..., first] | (lacking[..., second] & (second >= 0))
    either_bad = bad[..., first] | (bad[..., second] & (second >= 0))
    return int(np.count_nonzero(merged & ~either_bad))


def find_bad_channels(
    uncalibrated: NDArray[np.bool_], transmission: Floats, minimum: float, out: NDArray[np.bool_]
) -> None:
    """Find the channels of an ON that are not calibrated.

    Parameters
    ----------
    uncalibrated : ndarray of bool, shape (C, R, A)
        Channels that the loads cannot calibrate.
    transmission : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Transmission of the atmosphere in the signal sideband at the ON.
    minimum : float
        Smallest transmission of a good channel.
    out : ndarray of bool, shape (C, R, A)
        Output array.

    Examples
    --------
    >>> bad = np.empty((3, 1, 1), bool)
    >>> transmission = np.array([0.9, 0.9, 1e-4])[:, None, None]
    >>> find_bad_channels(np.array([True, False, False])[:, None, None], transmission, 1e-3, bad)
    >>> bad.ravel()
    array([ True, False,  True])
    """
    np.logical_or(uncalibrated, transmission < minimum, out=out)


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


def line_coupling(weight_signal: float, forward_efficiency: Floats, coupling: float, transmission: Floats) -> Floats:
    """Compute the input temperature that a line of 1 K of T_A* in the signal sideband adds.

    Parameters
    ----------
    weight_signal : float
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
    >>> line_coupling(0.5, np.array([0.9]), 1.0, np.array([[[0.8]]]))
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


def blank_channels(values: NDArray[np.floating[Any]], bad: NDArray[np.bool_]) -> None:
    """Set values of bad channels to NaN, in place.

    Parameters
    ----------
    values : ndarray
        Values.
    bad : ndarray of bool, shape of `values`
        Channels that are not calibrated.

    Examples
    --------
    >>> noise = np.array([1.0, 2.0])
    >>> blank_channels(noise, np.array([False, True]))
    >>> noise
    array([ 1., nan])
    """
    np.copyto(values, np.nan, where=bad)


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
