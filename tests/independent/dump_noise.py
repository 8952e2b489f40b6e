"""Noise of the OFFs from dump to dump, against that of the radiometer equation (section 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import divide, nanmean, running_mean
from .loads import Loads


@dataclass
class DumpNoise:
    """Noise found in a pixel; arrays [C], NaN in bad channels."""

    ratio: np.ndarray  # measured over expected
    noisy: np.ndarray

    @property
    def figure(self) -> float:
        """Median over the channels; NaN without any."""
        finite = self.ratio[np.isfinite(self.ratio)]
        return float(np.median(finite)) if finite.size else np.nan


def measure_dump_noise(offs: list[np.ndarray], exptime: list[float], loads: Loads, bandwidth: float) -> DumpNoise:
    """Compare the OFFs of a pixel, counts [C,D] without spikes each.

    CHOICE: no drift is taken out of them, since the noise is that of the receiver as it was.
    """
    gamma = np.where(loads.bad, np.nan, loads.gamma)
    C = len(gamma)
    # CHOICE: the median is that of a few hundred channels.
    some = slice(None, None, max(C // 512, 1))
    squares, expected = [], []
    for counts, seconds in zip(offs, exptime, strict=True):
        off = nanmean(counts, axis=1)
        for d in range(counts.shape[1] - 1):
            change = (counts[:, d + 1] - counts[:, d]) / gamma
            sampled = change[some][np.isfinite(change[some])]
            if sampled.size:
                squares.append((change - np.median(sampled)) ** 2)
                # CHOICE: each difference brings its own expectation, pooled in the same way.
                expected.append(np.where(np.isfinite(change), 2 * (off / gamma) ** 2 / (bandwidth * seconds), np.nan))
    if not squares:
        return DumpNoise(np.full(C, np.nan), np.zeros(C, dtype=bool))
    n = np.isfinite(squares).sum(axis=0)
    found = DumpNoise(divide(nanmean(squares, axis=0), running_mean(nanmean(expected, axis=0))), n > 0)
    limit = np.maximum(2, 1 + 10 * np.sqrt(3 / np.maximum(n, 1)))
    found.noisy = (n > 0) & (found.ratio > limit * found.figure)
    return found
