"""Conditions of the SKYs that stand for the cold load."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_ODD_SHARE = 0.05
"""Difference between pixels of the share of a SKY in their mean that is told."""


@dataclass(frozen=True)
class SkyRecord:
    """Conditions of the SKYs that stand for the cold load, each of shape (K,).

    Parameters
    ----------
    name : str
        Name of the group, for messages.
    elevation : ndarray
        Elevation [rad].
    tamb, pamb : ndarray
        Ambient temperature [K] and pressure [Torr] as recorded, not checked; NaN where absent.
    dumps : ndarray, shape (K, A), optional
        Number of valid dumps of each SKY, a mean over pixels and channels; alike if not given.
    """

    name: str
    elevation: Floats
    tamb: Floats
    pamb: Floats
    dumps: Floats | None = None


def warn_of_odd_skies(name: str, dumps: Floats) -> None:
    """Warn of pixels whose counts are means over other SKYs than those of others.

    Parameters
    ----------
    name : str
        Name of the group.
    dumps : ndarray, shape (K, R, A)
        Number of valid dumps of each SKY.
    """
    with np.errstate(invalid="ignore"):
        shares = dumps / dumps.sum(axis=0)
    spread = np.fmax.reduce(shares, axis=1) - np.fmin.reduce(shares, axis=1)
    if (spread > _ODD_SHARE).any():
        logger.warning(
            "%s: pixels differ in the SKYs that they have dumps of, by up to %.0f %%; the input temperature of the "
            "sky is that of the mean over pixels",
            name,
            100.0 * np.nanmax(spread),
        )
