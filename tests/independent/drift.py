"""Correction of the gain drift between two loads (section 5)."""

from __future__ import annotations

import numpy as np

from .basics import divide, nanmean
from .counts import Counts
from .loads import Loads


def later_zero(calibration: Counts, r: int, a: int) -> np.ndarray:
    zeros = calibration.which("ZERO")
    if not zeros:
        return np.zeros(calibration.counts.shape[0])
    zero = nanmean(calibration.counts[:, :, r, a, zeros], axis=(1, 2))
    return np.where(np.isfinite(zero), zero, 0.0)


def undrift(counts: np.ndarray, when: float, first: Loads, last: Loads, before: Counts, after: Counts) -> np.ndarray:
    """Counts (C, D) as the receiver would have given them at the time of the first loads."""
    hot_2 = last.hot + last.gamma * (first.tp_hot - last.tp_hot)
    cold_2 = last.cold + last.gamma * (first.tp_cold - last.tp_cold)

    def at(names: tuple[str, ...], one: np.ndarray, two: np.ndarray) -> np.ndarray:
        t_1, t_2 = (float(np.mean(c.columns["mjd"][c.which(*names)])) for c in (before, after))
        return one + (when - t_1) / (t_2 - t_1) * (two - one)

    hot, cold = at(("HOT",), first.hot, hot_2), at(("COL", "COLD"), first.cold, cold_2)
    # CHOICE: where the loads say nothing the counts stay as they are; such a channel is bad anyway.
    known = (first.hot > first.cold) & (hot_2 > cold_2) & (hot > cold)
    corrected = first.cold[:, None] + (counts - cold[:, None]) * divide(first.hot - first.cold, hot - cold)[:, None]
    return np.where(known[:, None], corrected, counts)
