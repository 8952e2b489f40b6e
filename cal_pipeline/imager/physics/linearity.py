"""Linearity: counts that would be read if each electron counted alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.core.errors import LayoutError
from cal_pipeline.imager.dq import DQ

_SATURATED = np.uint8(DQ.SATURATED)


def find_without_linearity(coeffs: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Find the pixels whose linearity is not known.

    Parameters
    ----------
    coeffs : ndarray, shape (k, y, x)
        Coefficients of the polynomial, low order first.

    Returns
    -------
    ndarray of bool, shape (y, x)
        True where any coefficient is not finite.

    Examples
    --------
    >>> find_without_linearity(np.array([[0.0, 0.0], [1.0, np.nan]]))
    array([False,  True])
    """
    return np.asarray(~np.isfinite(coeffs).all(axis=0))


def linearize(
    data: NDArray[np.floating[Any]], groupdq: NDArray[np.uint8], coeffs: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Correct the counts of each group for the detector's non-linearity.

    Parameters
    ----------
    data : ndarray, shape (I, G, y, x)
        Counts x above the bias [adu].
    groupdq : ndarray of uint8, shape (I, G, y, x)
        Flags of the groups; SATURATED ones are left as they are.
    coeffs : ndarray, shape (k, y, x)
        Coefficients c of the polynomial, low order first; a pixel with one that is not finite is left
        as it is.

    Returns
    -------
    ndarray, shape (I, G, y, x)
        Σ_k c_k x^k, in the type of `data` [adu].

    Raises
    ------
    LayoutError
        If the arrays have different numbers of groups or pixels.

    Notes
    -----
    A group of several reads is corrected as if it were one read. The mean of the reads' corrected
    counts differs by the curvature of the polynomial times the spread of the reads.

    Examples
    --------
    >>> counts, flags = np.array([100.0, 200.0]).reshape(1, 2, 1, 1), np.array([0, 2], np.uint8).reshape(1, 2, 1, 1)
    >>> linearize(counts, flags, np.array([0.0, 1.0, 1e-4]).reshape(3, 1, 1)).ravel()
    array([101., 200.])
    """
    shape = (len(coeffs), *data.shape[2:])
    if groupdq.shape != data.shape or coeffs.shape != shape:
        raise LayoutError(
            f"groupdq has shape {groupdq.shape} and coeffs {coeffs.shape}, expected {data.shape} and {shape}"
        )
    linear = np.empty(data.shape, data.dtype)
    _linearize(
        np.ascontiguousarray(data),
        np.ascontiguousarray(groupdq),
        np.ascontiguousarray(coeffs, np.float64),
        find_without_linearity(coeffs),
        linear,
    )
    return linear


@compiled
def _linearize(
    data: NDArray[Any],
    groupdq: NDArray[np.uint8],
    coeffs: NDArray[np.float64],
    unknown: NDArray[np.bool_],
    linear: NDArray[Any],
) -> None:
    """Evaluate the polynomial by Horner's scheme; whole rows at a time, which vectorizes."""
    n_integrations, n_groups, n_rows, n_columns = data.shape
    total = np.empty(n_columns)
    for y in range(n_rows):
        for i in range(n_integrations):
            for g in range(n_groups):
                total[:] = 0.0
                for k in range(len(coeffs) - 1, -1, -1):
                    for x in range(n_columns):
                        total[x] = total[x] * data[i, g, y, x] + coeffs[k, y, x]
                for x in range(n_columns):
                    kept = unknown[y, x] or (groupdq[i, g, y, x] & _SATURATED) != 0
                    linear[i, g, y, x] = data[i, g, y, x] if kept else total[x]
