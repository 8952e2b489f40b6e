"""Gain and receiver temperature from the loads (section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import divide, nanmean
from .counts import Counts
from .options import Options
from .sky import Model


@dataclass
class Loads:
    """HOT and COLD of one pixel and what follows from them; arrays [C]."""

    hot: np.ndarray
    cold: np.ndarray
    time_hot: float  # s
    time_cold: float  # s
    tp_hot: np.ndarray  # T'_hot
    tp_cold: np.ndarray  # T'_cold
    gamma: np.ndarray
    t_rec_dsb: np.ndarray
    t_rec_ssb: np.ndarray
    t_cal: np.ndarray
    bad: np.ndarray


def evaluate_loads(calibration: Counts, zero: np.ndarray, r: int, a: int, model: Model, options: Options) -> Loads:
    """Section 2 for the pixel (r, a)."""
    hots, colds = calibration.which("HOT"), calibration.which("COL", "COLD")
    if not hots or not colds:
        raise ValueError(f"the calibration group needs HOT and COLD, it has {calibration.mode}")
    # CHOICE: dumps of all subscans are pooled with equal weight; temperatures are means over the subscans.
    hot = nanmean(calibration.counts[:, :, r, a, hots], axis=(1, 2)) - zero
    cold = nanmean(calibration.counts[:, :, r, a, colds], axis=(1, 2)) - zero
    tp_hot = model.load(float(nanmean(calibration.columns["thot"][hots])))
    tp_cold = model.load(float(nanmean(calibration.columns["tcold"][colds])))
    w_s, nu_s = model.sidebands[0].weight, model.sidebands[0].nu

    y = divide(hot, cold)
    t_rec_dsb = divide(tp_hot - y * tp_cold, y - 1)
    t_rec_ssb = t_rec_dsb / w_s
    difference = hot - cold
    finite = np.isfinite(difference)
    median = np.median(difference[finite]) if finite.any() else np.nan
    bad = (
        ~np.isfinite(hot)
        | ~np.isfinite(cold)
        | (hot <= cold)
        | (difference < options.clip_counts * median)
        | (t_rec_ssb <= 0)
        | (t_rec_ssb > options.clip_tsys * model.physics.h_over_k * nu_s)
        | ~np.isfinite(t_rec_ssb)
    )
    return Loads(
        hot=hot,
        cold=cold,
        time_hot=sum(calibration.integration_time(s, r, a) for s in hots),
        time_cold=sum(calibration.integration_time(s, r, a) for s in colds),
        tp_hot=tp_hot,
        tp_cold=tp_cold,
        gamma=difference / (tp_hot - tp_cold),
        t_rec_dsb=t_rec_dsb,
        t_rec_ssb=np.where(np.isfinite(t_rec_ssb), t_rec_ssb, np.nan),
        t_cal=(tp_hot - tp_cold) / (w_s * model.f_eff * options.eta),
        bad=bad,
    )
