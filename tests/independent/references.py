"""Choice and weights of the OFFs of an ON (section 4)."""

from __future__ import annotations

import numpy as np


def nearest(candidates: list[int], mjd: np.ndarray, when: float) -> int:
    """The subscan nearest in MJD, the earlier on a tie."""
    return min(candidates, key=lambda s: (abs(mjd[s] - when), mjd[s]))


def interpolation_weights(on: int, offs: list[int], mjd: np.ndarray) -> dict[int, float]:
    """Weight of each OFF in the reference of an ON."""
    before = [s for s in offs if mjd[s] <= mjd[on]]
    after = [s for s in offs if mjd[s] > mjd[on]]
    if not before or not after:
        return {nearest(offs, mjd, mjd[on]): 1.0} if offs else {}
    k, m = max(before, key=lambda s: mjd[s]), min(after, key=lambda s: mjd[s])
    x = (mjd[on] - mjd[k]) / (mjd[m] - mjd[k])
    return {k: 1 - x, m: x}
