"""Gain and receiver temperature from the loads (section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import divide, leave_out_spikes, nanmean
from .counts import Counts
from .options import Options
from .sky import Model


@dataclass
class Loads:
    """HOT and COLD of one pixel and what follows from them; arrays [C]."""

    hot: np.ndarray
    cold: np.ndarray
    spikes: int  # samples left out of the means
    time_hot: np.ndarray  # s, of the samples in the mean
    time_cold: np.ndarray
    tp_hot: np.ndarray  # T'_hot
    tp_cold: np.ndarray  # T'_cold
    slope_hot: np.ndarray  # dT'_hot/dT, T the load's temperature
    slope_cold: np.ndarray
    by_gain_hot: np.ndarray  # dT'_hot/d ln g [K]
    by_gain_cold: np.ndarray
    mjd: float  # mean of the mean times of HOT and COLD
    t_cold_assumed: bool
    gamma: np.ndarray
    t_rec_dsb: np.ndarray
    t_rec_ssb: np.ndarray
    t_cal: np.ndarray
    bad: np.ndarray


@dataclass
class LoadSpectrum:
    """Mean counts on a load and what it radiates into the receiver, arrays [C]."""

    counts: np.ndarray
    spikes: int
    time: np.ndarray  # s, of the samples in the mean
    mjd: float
    tp: np.ndarray  # K
    slope: np.ndarray  # K per K of the load
    by_gain: np.ndarray  # K per ln g
    assumed: bool  # its temperature


def evaluate_load(
    name: str, subscans: list[int], calibration: Counts, pixel: tuple[int, int], zero: np.ndarray,
    model: Model, options: Options, bandwidth: float, tamb_elsewhere: float,
) -> LoadSpectrum:  # fmt: skip
    """Counts and input of the load `name`, hot or cold; `zero` [C] is subtracted."""
    r, a = pixel
    C, D, _, A, _ = calibration.counts.shape
    # CHOICE: dumps of all subscans are pooled with equal weight; temperatures are means over the subscans. Spikes
    # are looked for after ZERO is subtracted.
    samples = calibration.counts[:, :, r, a, subscans].reshape(C, -1) - zero[:, None]
    exptime = np.tile(calibration.columns["exptime"][subscans], D)
    kept = leave_out_spikes(samples, exptime, bandwidth, options.clip_sigma)
    column = {"hot": "thot", "cold": "tcold"}[name]
    temperature = float(nanmean(calibration.columns[column][subscans])) if column in calibration.columns else np.nan
    assumed = not np.isfinite(temperature) and name == "cold" and options.profile_t_cold is not None
    if assumed:
        temperature = options.profile_t_cold
    tamb = float(nanmean(calibration.columns["tamb"][subscans])) if "tamb" in calibration.columns else np.nan
    if not np.isfinite(tamb):
        tamb = tamb_elsewhere
    offset, k = options.load_input(name, a, A)
    bands = [model.physics.J(sb.nu, temperature + offset) for sb in model.sidebands]
    if k != 1:
        bands = [
            k * band + (1 - k) * model.physics.J(sb.nu, tamb) for sb, band in zip(model.sidebands, bands, strict=True)
        ]
    slopes = [k * model.physics.J_slope(sb.nu, temperature + offset) for sb in model.sidebands]
    return LoadSpectrum(
        counts=nanmean(kept, axis=1),
        spikes=int((np.isfinite(samples) & ~np.isfinite(kept)).sum()),
        # CHOICE: valid dumps are counted channel by channel, without spikes.
        time=(np.isfinite(kept) * exptime).sum(axis=1),
        mjd=float(np.mean(calibration.columns["mjd"][subscans])),
        tp=model.weigh(bands), slope=model.weigh(slopes), by_gain=model.by_gain(bands), assumed=assumed,
    )  # fmt: skip


def evaluate_loads(
    calibration: Counts, zero: np.ndarray, r: int, a: int, model: Model, options: Options,
    bandwidth: float, tamb_elsewhere: float,
) -> Loads:  # fmt: skip
    """Section 2 for the pixel (r, a); where the group of the loads has no `tamb`, `tamb_elsewhere` holds."""
    hots, colds = calibration.which("HOT"), calibration.which("COL", "COLD")
    if not hots or not colds:
        raise ValueError(f"the calibration group needs HOT and COLD, it has {calibration.mode}")
    h, c = (
        evaluate_load(name, subscans, calibration, (r, a), zero, model, options, bandwidth, tamb_elsewhere)
        for name, subscans in (("hot", hots), ("cold", colds))
    )
    hot, cold, tp_hot, tp_cold = h.counts, c.counts, h.tp, c.tp
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
        spikes=h.spikes + c.spikes,
        time_hot=h.time,
        time_cold=c.time,
        tp_hot=tp_hot,
        tp_cold=tp_cold,
        slope_hot=h.slope,
        slope_cold=c.slope,
        by_gain_hot=h.by_gain,
        by_gain_cold=c.by_gain,
        mjd=(h.mjd + c.mjd) / 2,
        t_cold_assumed=c.assumed,
        gamma=difference / (tp_hot - tp_cold),
        t_rec_dsb=t_rec_dsb,
        t_rec_ssb=np.where(np.isfinite(t_rec_ssb), t_rec_ssb, np.nan),
        t_cal=(tp_hot - tp_cold) / (w_s * model.f_eff * options.eta),
        bad=bad,
    )
