"""Bias: the counts of a pixel without charge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def find_without_bias(bias: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Find the pixels whose bias is not known.

    Parameters
    ----------
    bias : ndarray, shape (y, x)
        Counts without charge [adu].

    Returns
    -------
    ndarray of bool, shape (y, x)
        True where the bias is not finite.

    Examples
    --------
    >>> find_without_bias(np.array([1000.0, np.nan]))
    array([False,  True])
    """
    return np.asarray(~np.isfinite(bias))


def subtract_bias(data: NDArray[np.floating[Any]], bias: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Subtract the bias from every group.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Raw counts [adu].
    bias : ndarray, shape (y, x)
        Counts without charge, the zero of the linearity polynomial [adu]; 0 is subtracted where it is
        not finite.

    Returns
    -------
    ndarray, shape (I, G, y, x)
        Counts above the bias, in the type of `data` [adu].

    Examples
    --------
    >>> subtract_bias(np.array([[[[1500.0, 1200.0]]]]), np.array([[1000.0, np.nan]])).ravel()
    array([ 500., 1200.])
    """
    known = np.where(find_without_bias(bias), 0.0, bias).astype(data.dtype)
    return np.asarray(data - known)
