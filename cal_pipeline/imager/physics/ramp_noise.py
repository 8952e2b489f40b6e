"""Noise of the differences between neighbouring groups of a ramp, and which of them are usable."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.reads import ReadTimes, check_ramp

Floats = NDArray[np.float64]

_LOST = np.uint8(DQ.SATURATED | DQ.DO_NOT_USE)
_JUMP = np.uint8(DQ.JUMP_DET)
_NOT_FITTED = np.uint32(DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL)


class DifferenceNoise(NamedTuple):
    """Covariance of the G - 1 differences of groups, per unit of read noise and of rate.

    The covariance at a read noise s [e] and a rate r [e/s] is s² times that of the reads plus r times
    that of the photons. It is tridiagonal: a difference shares groups with its neighbours only.

    Attributes
    ----------
    interval : ndarray, shape (G - 1,)
        Time X between the means of the two groups [s].
    read_variance, photon_variance : ndarray, shape (G - 1,)
        Variance of each difference, without a unit and in s.
    read_covariance, photon_covariance : ndarray, shape (G - 1,)
        Covariance with the next difference; 0 in the last.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> noise = compute_difference_noise(compute_read_times([[1], [2], [3]], 10.0))
    >>> [values.tolist() for values in noise]
    [[10.0, 10.0], [2.0, 2.0], [-1.0, 0.0], [10.0, 10.0], [0.0, 0.0]]
    """

    interval: Floats
    read_variance: Floats
    read_covariance: Floats
    photon_variance: Floats
    photon_covariance: Floats


def compute_difference_noise(times: ReadTimes) -> DifferenceNoise:
    """Compute the covariance of the differences between neighbouring groups.

    Parameters
    ----------
    times : ReadTimes
        Times of the G groups, at least two.

    Returns
    -------
    DifferenceNoise
        Intervals, variances and covariances, each (G - 1,).

    Raises
    ------
    LayoutError
        If there are less than two groups.

    Notes
    -----
    A group of n reads has a variance of s²/n + r tau, and two groups a covariance of r T of the
    earlier one. Hence Var d_i = s² (1/n_i + 1/n_{i+1}) + r (tau_i + tau_{i+1} - 2 T_i) and
    Cov(d_i, d_{i+1}) = -s²/n_{i+1} + r (T_{i+1} - tau_{i+1}).

    References
    ----------
    Brandt 2024, PASP 136, 045004.

    Examples
    --------
    Electrons between the reads of a group enter both of its differences:

    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> compute_difference_noise(compute_read_times([[1], [2, 3], [4]], 10.0)).photon_covariance
    array([2.5, 0. ])
    """
    if times.n_groups < 2:
        raise LayoutError(f"read_pattern: {times.n_groups} groups, expected at least 2")
    per_read, mean, tau = 1.0 / times.n_reads, times.mean, times.tau
    return DifferenceNoise(
        interval=np.diff(mean),
        read_variance=per_read[:-1] + per_read[1:],
        read_covariance=np.append(-per_read[1:-1], 0.0),
        photon_variance=tau[:-1] + tau[1:] - 2.0 * mean[:-1],
        photon_covariance=np.append((mean - tau)[1:-1], 0.0),
    )


def find_usable_differences(groupdq: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the differences of groups that tell the rate.

    Parameters
    ----------
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups.

    Returns
    -------
    ndarray of bool, shape (I, G - 1, y, x)
        True if neither group is SATURATED or DO_NOT_USE and the second is not JUMP_DET.

    Examples
    --------
    >>> groupdq = np.array([0, 0, 4, 0, 2], np.uint8).reshape(1, 5, 1, 1)
    >>> find_usable_differences(groupdq).ravel().tolist()
    [True, False, True, False]
    """
    lost = (groupdq & _LOST) != 0
    jump = (groupdq[:, 1:] & _JUMP) != 0
    return np.asarray(~(lost[:, :-1] | lost[:, 1:] | jump))


def find_without_gain(gain: NDArray[Any], read_noise: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the pixels whose gain or read noise is not positive.

    Parameters
    ----------
    gain : ndarray, shape (y, x)
        Electrons per count [e/adu].
    read_noise : ndarray, shape (y, x)
        Noise of one read [e rms].

    Returns
    -------
    ndarray of bool, shape (y, x)
        True where either is not finite or not positive.

    Examples
    --------
    >>> find_without_gain(np.array([2.0, 0.0, 2.0]), np.array([9.0, 9.0, np.nan]))
    array([False,  True,  True])
    """
    return np.asarray(~((gain > 0) & np.isfinite(gain) & (read_noise > 0) & np.isfinite(read_noise)))


class RampInputs(NamedTuple):
    """Ramps as compiled loops take them: pixels in one axis, in C order.

    Attributes
    ----------
    data : ndarray, shape (I, G, P)
        Counts [adu].
    usable : ndarray of bool, shape (I, G - 1, P)
        Usable differences.
    fitted : ndarray of bool, shape (P,)
        Pixels to fit.
    gain, read_noise : ndarray, shape (P,)
        Gain [e/adu] and noise of one read [e rms].

    Examples
    --------
    >>> RampInputs._fields
    ('data', 'usable', 'fitted', 'gain', 'read_noise')
    """

    data: NDArray[np.floating[Any]]
    usable: NDArray[np.bool_]
    fitted: NDArray[np.bool_]
    gain: Floats
    read_noise: Floats


def prepare_ramps(
    data: NDArray[np.floating[Any]],
    groupdq: NDArray[np.uint8],
    pixeldq: NDArray[np.uint32],
    gain: NDArray[Any],
    read_noise: NDArray[Any],
    times: ReadTimes,
) -> RampInputs:
    """Check ramps and arrange them for the compiled loops of fit and jump detection.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Linear counts [adu].
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups.
    pixeldq : ndarray of uint32, shape (y, x)
        Flags of the pixels; DO_NOT_USE and REFERENCE_PIXEL are not fitted.
    gain, read_noise : ndarray, shape (y, x)
        Gain [e/adu] and noise of one read [e rms]; pixels where either is not positive are not fitted.
    times : ReadTimes
        Times of the G groups.

    Returns
    -------
    RampInputs
        The ramps of the P = y·x pixels.

    Raises
    ------
    LayoutError
        If the arrays have different numbers of groups or pixels.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.reads import compute_read_times
    >>> times, one = compute_read_times([[1], [2]], 10.0), np.ones((2, 3))
    >>> data, pixeldq = np.zeros((1, 2, 2, 3), np.float32), np.zeros((2, 3), np.uint32)
    >>> prepare_ramps(data, np.zeros(data.shape, np.uint8), pixeldq, one, one, times).usable.shape
    (1, 1, 6)
    """
    check_ramp(data, groupdq, times)
    shape = data.shape[2:]
    for name, values in (("pixeldq", pixeldq), ("gain", gain), ("read_noise", read_noise)):
        if values.shape != shape:
            raise LayoutError(f"{name}: shape {values.shape}, expected {shape}")
    n_integrations, n_groups = data.shape[:2]
    fitted = ((pixeldq & _NOT_FITTED) == 0) & ~find_without_gain(gain, read_noise)
    return RampInputs(
        data=np.ascontiguousarray(data).reshape(n_integrations, n_groups, -1),
        usable=find_usable_differences(groupdq).reshape(n_integrations, n_groups - 1, -1),
        fitted=fitted.ravel(),
        gain=np.ascontiguousarray(gain, np.float64).ravel(),
        read_noise=np.ascontiguousarray(read_noise, np.float64).ravel(),
    )
