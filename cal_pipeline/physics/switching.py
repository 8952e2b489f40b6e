"""Which OFF is the reference of which ON, and with what weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def interpolation_weights(on_mjd: Floats, off_mjd: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Weights of the OFFs in the reference of each ON: linear interpolation in time.

    Parameters
    ----------
    on_mjd : ndarray, shape (S,)
        Times of the ONs, in any order [d].
    off_mjd : ndarray, shape (O,)
        Times of the OFFs, in any order [d].
    valid : ndarray of bool, shape (R, A, O)
        Whether an OFF has a valid dump in a pixel; those without are passed over in that pixel.

    Returns
    -------
    ndarray, shape (R, A, S, O)
        Weights, which sum to 1 over the OFFs, or are all 0 in a pixel without a valid OFF. With
        OFFs on one side of the ON only, the nearest has weight 1.

    Examples
    --------
    >>> valid = np.ones((1, 1, 2), bool)
    >>> interpolation_weights(np.array([1.0, 5.0]), np.array([0.0, 4.0]), valid)[0, 0]
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    n_receivers, n_arrays, n_offs = valid.shape
    weights = np.zeros((n_receivers * n_arrays, len(on_mjd), n_offs))
    order = np.argsort(off_mjd, kind="stable")
    patterns, pixel_pattern = np.unique(valid.reshape(-1, n_offs), axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        usable = order[pattern[order]]
        if usable.size:
            rows = _weights_of_sorted(on_mjd, off_mjd[usable])
            pixels = np.flatnonzero(pixel_pattern.reshape(-1) == index)
            weights[np.ix_(pixels, np.arange(len(on_mjd)), usable)] = rows
    return weights.reshape(n_receivers, n_arrays, len(on_mjd), n_offs)


def _weights_of_sorted(on_mjd: Floats, off_mjd: Floats) -> Floats:
    """Interpolation weights, shape (S, O), for OFFs that ascend in time."""
    weights = np.zeros((len(on_mjd), len(off_mjd)))
    after = np.searchsorted(off_mjd, on_mjd)
    for on, index in enumerate(after):
        if index == 0:
            weights[on, 0] = 1.0
        elif index == len(off_mjd):
            weights[on, -1] = 1.0
        else:
            span = off_mjd[index] - off_mjd[index - 1]
            fraction = (on_mjd[on] - off_mjd[index - 1]) / span
            weights[on, index - 1] = 1.0 - fraction
            weights[on, index] = fraction
    return weights


def weighted_sum(values: Floats, weights: Floats) -> Floats:
    """Sum over OFFs of weighted values; an OFF of weight zero does not count, even where it is NaN.

    Parameters
    ----------
    values : ndarray, shape (C, R, A, O)
        A quantity of each OFF.
    weights : ndarray, shape (R, A, O)
        Its weights.

    Returns
    -------
    ndarray, shape (C, R, A)
        The sum; NaN in a pixel whose weights are all zero.
    """
    total = np.zeros(values.shape[:3])
    for off in np.flatnonzero(weights.any(axis=(0, 1))):
        weight = np.broadcast_to(weights[:, :, off], total.shape)
        total += np.multiply(weight, values[..., off], out=np.zeros(total.shape), where=weight != 0.0)
    total[:, ~weights.any(axis=2)] = np.nan
    return total
