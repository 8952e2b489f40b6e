"""The calibration equation: counts to antenna temperature, and the noise to expect."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.physics.flags import Flag

Floats = NDArray[np.float64]

_CACHED_SAMPLES = 2**17


def kelvin_per_count(t_cal: Floats, load_difference: Floats, transmission: Floats, bad: NDArray[np.bool_]) -> Floats:
    """Factor that turns ON - REF into antenna temperature.

    Parameters
    ----------
    t_cal : ndarray, shape (C, R, A)
        Calibration temperature [K].
    load_difference : ndarray, shape (C, R, A)
        HOT - COLD [ct].
    transmission : ndarray, shape (C, 1 or R, 1 or A)
        Transmission of the atmosphere in the signal sideband at the ON.
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.

    Returns
    -------
    ndarray, shape (C, R, A)
        t_cal/(HOT - COLD)/t_r(nu_s), NaN in bad channels [K/ct].

    References
    ----------
    Penzias & Burrus 1973, ARA&A 11, 51; Kutner & Ulich 1981, ApJ 250, 341.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = t_cal / load_difference / transmission
    return np.where(bad, np.nan, factor)


def antenna_temperature(
    on: Floats, reference: Floats, factor: Floats, bad: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.uint16], NDArray[np.bool_] | None]:
    """Calibrate the dumps of an ON.

    Parameters
    ----------
    on : ndarray, shape (C, D, R, A)
        Counts, NaN where a dump is missing; overwritten by the spectra [ct].
    reference : ndarray, shape (C, R, A) or (C, D, R, A)
        Counts of the reference [ct].
    factor : ndarray, shape (C, R, A)
        Kelvin per count.
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.

    Returns
    -------
    spectra : ndarray, shape (C, D, R, A)
        T_A* [K], NaN where flagged.
    flags : ndarray of uint16, shape (C, D, R, A)
        BAD_CHANNEL and FILL_VALUE bits.
    missing : ndarray of bool, shape (C, D, R, A), or None
        Where ON or reference is missing; None where nothing is.
    """
    spectra, missing = on, None
    for part in _parts(on):
        some = spectra[part]
        some -= reference[part] if reference.ndim == 4 else _for_dumps(reference[part], some)
        # A sum is NaN if anything is, and costs no memory.
        if not np.isfinite(some.sum()):
            missing = np.zeros(spectra.shape, np.bool_) if missing is None else missing
            np.isnan(some, out=missing[part])
        some *= _for_dumps(factor[part], some)
    flags = np.zeros(spectra.shape, np.uint16)
    if bad.any():
        flags[:] = (bad * np.uint16(Flag.BAD_CHANNEL))[:, None]
    if missing is None or not missing.any():
        return spectra, flags, None
    flags[missing] |= np.uint16(Flag.FILL_VALUE)
    return spectra, flags, missing


def _parts(spectra: Floats) -> Iterator[slice]:
    """Ranges of channels of (C, D, R, A) that stay in the cache of a core from one operation to the next."""
    length = max(_CACHED_SAMPLES // max(int(np.prod(spectra.shape[1:])), 1), 1)
    for first in range(0, len(spectra), length):
        yield slice(first, first + length)


def _for_dumps(values: Floats, spectra: Floats) -> Floats:
    """Values (c, R, A) repeated for the dumps of spectra (c, D, R, A); broadcasting rows of a few pixels is slower."""
    return np.repeat(values[:, None], spectra.shape[1], axis=1)


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
    The step is the largest power of two that is at most 2 % of sigma, so the error is at most 1 % of sigma; halves go
    to the even multiple, so that means stay unbiased. Adding and taking off 1.5·2⁵² steps lets the arithmetic of
    64-bit floats do the rounding.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log2(0.02 * sigma.astype(np.float64)))
    usable = np.isfinite(exponent)
    shift = np.where(usable, 1.5 * 2.0 ** (52.0 + np.where(usable, exponent, 0.0)), 0.0)
    for part in _parts(spectra):
        some = spectra[part]
        repeated = _for_dumps(shift[part], some)
        some += repeated
        some -= repeated


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
    """
    return 0.5 * (first[0] + second[0]), first[1] | second[1]


def expected_noise(
    t_sys: Floats,
    line_coupling: Floats,
    channel_width: float,
    on_time: float,
    reference_variance: Floats,
) -> Floats:
    """Expected 1-sigma noise of one dump of T_A*, by the radiometer equation.

    Parameters
    ----------
    t_sys : ndarray, shape (C, R, A)
        Double-sideband system temperature [K].
    line_coupling : ndarray, shape (C, 1 or R, A)
        w_s f_eff eta t_r(nu_s): what a line of 1 K of T_A* adds to the input temperature.
    channel_width : float
        Noise bandwidth B of a channel [Hz].
    on_time : float
        Integration time of a dump of the ON [s].
    reference_variance : ndarray, shape (C, R, A)
        Σ_k a_k²/(n_k t_k) over the OFFs in the reference [1/s].

    Returns
    -------
    ndarray, shape (C, R, A)
        t_sys/(w_s f_eff eta t_r)·sqrt[1/(B t_on) + Σ_k a_k²/(B n_k t_k)] [K].

    Notes
    -----
    The power of the source itself, the noise of the loads and a noise bandwidth other than the channel spacing are
    not in it; the noise of the reference is common to all dumps of an ON.

    References
    ----------
    Dicke 1946, Rev. Sci. Instrum. 17, 268.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(t_sys / line_coupling * np.sqrt((1.0 / on_time + reference_variance) / channel_width))
