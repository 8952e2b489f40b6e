"""Differences of skies that should be the same: between scans, and between the phases of a chop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.observed_sky import sky_above_hot

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

    Examples
    --------
    A sky of 800 counts is 100 K colder than a load of 1000 counts at 2 ct/K:

    >>> off, one = np.full((2, 1, 1, 1), 800.0), np.ones((2, 1, 1))
    >>> bad = np.array([False, True]).reshape(2, 1, 1)
    >>> sky_spectra(off, 1000.0 * one, 2.0 * one, bad).ravel().tolist()
    [-100.0, nan]
    """
    sky = np.stack([sky_above_hot(off[..., entry], hot, gamma) for entry in range(off.shape[-1])], axis=-1)
    return np.where(bad[..., None], np.nan, sky)


def pair_offs(
    group: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the two OFFs of each spectrum of a chopped scan.

    Parameters
    ----------
    group : ndarray of int, shape (S,)
        Index of the OFF of each ON.
    first, second : ndarray of int, shape (E,)
        Indices of the one or two ONs of each spectrum; -1 for one ON.

    Returns
    -------
    tuple of ndarray of int, shape (E,)
        Indices of the two OFFs; the same for a spectrum of one ON.

    Examples
    --------
    >>> pair_offs(np.array([0, 1, 3]), np.array([0, 2]), np.array([1, -1]))
    (array([0, 3]), array([1, 3]))
    """
    return group[first], np.where(second < 0, group[first], group[second])


def average_pairs(values: Floats, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    """Average pairs along the last axis.

    Parameters
    ----------
    values : ndarray, shape (..., O)
        Values, such as counts or times.
    first, second : ndarray of int, shape (E,)
        Indices of the two of each pair; the same for one without a partner.

    Returns
    -------
    ndarray, shape (..., E)
        0.5·(first + second), in the unit of `values`.

    Examples
    --------
    >>> average_pairs(np.array([1.0, 2.0, 4.0]), np.array([0, 2]), np.array([1, 2]))
    array([1.5, 4. ])
    """
    return np.asarray(0.5 * (values[..., first] + values[..., second]))


def mean_reference(references: Sequence[Floats]) -> Floats:
    """Average the counts on blank sky that belong to the beams of one spectrum.

    Parameters
    ----------
    references : sequence of ndarray, shape (C, D, R, A)
        Counts of the OFF of each beam [ct].

    Returns
    -------
    ndarray, shape (C, D, R, A)
        Their mean [ct].

    Examples
    --------
    >>> mean_reference([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    array([2., 3.])
    """
    return np.asarray(sum(references) / len(references))


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

    Examples
    --------
    >>> sky = np.array([1000.0, 996.0, 1002.0]).reshape(1, 3, 1, 1)
    >>> chop_phase_differences(sky, np.full((1, 1, 1), 0.5)).ravel().tolist()
    [2.0, -1.0]
    """
    return np.asarray((sky[:, :1] - sky[:, 1:]) * factor[:, None])
