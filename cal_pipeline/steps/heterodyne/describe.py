"""Figures for the line that a step logs of its result; the medians are those of ``qa``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.averages import median_of_finite


def median_of_pixels(values: Any) -> float:
    """Return the median of the finite values of all pixels; NaN without any."""
    return float(median_of_finite(np.asarray(values, np.float64).ravel(), axis=0))


def median_of_channels(values: NDArray[Any], bad: NDArray[np.bool_]) -> float:
    """Return the median over pixels of the median over good channels.

    Parameters
    ----------
    values : ndarray, shape (C, R, A) or (C, R, A, S)
        Spectra.
    bad : ndarray of bool, shape (C, R, A)
        Channels that are left out.
    """
    spectra = values if values.ndim == 4 else values[..., None]
    return median_of_pixels(median_of_finite(np.where(bad[..., None], np.nan, spectra), axis=(0, 3)))
