"""Means, quotients and black bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PLANCK = 6.62607015e-34  # J s, CODATA 2018 (exact)
BOLTZMANN = 1.380649e-23  # J/K, CODATA 2018 (exact)
T_CMB = 2.725  # K
SMOOTHING_CHANNELS = 129


def nanmean(values: np.ndarray, axis: Any = None) -> np.ndarray:
    """Mean of the finite values; NaN where there is none, without a warning."""
    values = np.asarray(values, dtype=np.float64)
    valid = np.isfinite(values)
    count = valid.sum(axis=axis)
    total = np.where(valid, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the finite values among the 129 channels around each; the window is cut off at the edges."""
    padded = np.pad(values, SMOOTHING_CHANNELS // 2, constant_values=np.nan)
    return nanmean(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING_CHANNELS), axis=1)


def leave_out_spikes(samples: np.ndarray, exptime: np.ndarray, bandwidth: float, clip_sigma: float) -> np.ndarray:
    """Samples [C,N] with NaN for those far from the channel's median (section 1).

    `exptime` [N] is the integration time of each sample [s].
    """
    kept = np.array(samples, dtype=np.float64)
    if clip_sigma > 0:
        valid = np.isfinite(kept)
        median = median_of(kept, valid)
        distance = np.abs(kept - median[:, None])
        scatter = 1.4826 * median_of(distance, valid)
        # CHOICE: each sample with the exptime of its own subscan.
        sigma = np.maximum(scatter[:, None], median[:, None] / np.sqrt(bandwidth * exptime))
        # CHOICE: three valid dumps in this channel.
        enough = valid.sum(axis=1) >= 3
        kept[valid & enough[:, None] & (distance > clip_sigma * sigma)] = np.nan
    return kept


def median_of(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median of the valid samples [C,N] of each channel; NaN where there is none."""
    in_order = np.sort(np.where(valid, samples, np.inf), axis=1)
    count = valid.sum(axis=1)[:, None]
    middle = [np.take_along_axis(in_order, np.maximum(k, 0), axis=1) for k in ((count - 1) // 2, count // 2)]
    return np.where(count > 0, (middle[0] + middle[1]) / 2, np.nan)[:, 0]


def divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return x / y


@dataclass
class Physics:
    """Constants and habits of the two ways to calculate."""

    h_over_k: float  # K/Hz
    round_j: bool
    cmb: bool

    def J(self, nu: np.ndarray, temperature: float) -> np.ndarray:  # noqa: N802
        """Rayleigh-Jeans equivalent temperature [K] of a black body."""
        x = self.h_over_k * nu
        value = x / (np.exp(x / temperature) - 1.0)
        if self.round_j:
            value = np.float32(value).astype(np.float64)
        return value

    def J_slope(self, nu: np.ndarray, temperature: float) -> np.ndarray:  # noqa: N802
        """dJ/dT, never rounded."""
        x = self.h_over_k * nu / temperature
        return (x / (np.exp(x) - 1.0)) ** 2 * np.exp(x)

    def J_cmb(self, nu: np.ndarray) -> np.ndarray:  # noqa: N802
        return self.J(nu, T_CMB) if self.cmb else np.zeros_like(nu)


PHYSICS = {
    "exact": Physics(PLANCK / BOLTZMANN, round_j=False, cmb=True),
    "kalibrate_compat": Physics(0.047995e-9, round_j=True, cmb=False),
}
