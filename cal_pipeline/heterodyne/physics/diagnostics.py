"""Differences of skies that should be the same: between scans, and between the phases of a chop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def sky_spectra(off: Floats, hot: Floats, gamma: Floats, bad: NDArray[np.bool_]) -> Floats:
    """Compute spectra of blank sky against the hot load.

    Parameters
    ----------
    off : ndarray, shape (C, R, A, E)
        Mean counts of each OFF [ct].
    hot, gamma : ndarray, shape (C, R, A)
        Counts on the hot load [ct] and gain [ct/K].
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.

    Returns
    -------
    ndarray, shape (C, R, A, E)
        S_obs = (OFF - HOT)/gamma [K], NaN in bad channels and where there is no valid dump.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sky = (off - hot[..., None]) / gamma[..., None]
    return np.where(bad[..., None], np.nan, sky)


def chop_phase_differences(sky: Floats, factor: Floats) -> Floats:
    """Compute the differences between the phases of a chop on blank sky.

    Parameters
    ----------
    sky : ndarray, shape (C, D, R, A)
        Counts of the dumps of an OFF, one dump per chop phase [ct].
    factor : ndarray, shape (C, R, A)
        Kelvin per count at the tagged ON, t_cal/(HOT - COLD)/t_r(nu_s), NaN in bad channels [K/ct].

    Returns
    -------
    ndarray, shape (C, D - 1, R, A)
        Phase 0 minus phase j = 1 … D - 1, on the scale of T_A* [K].
    """
    return np.asarray((sky[:, :1] - sky[:, 1:]) * factor[:, None])
