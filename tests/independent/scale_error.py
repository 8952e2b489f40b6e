"""How wrong the scale of T_A* may be (the table of section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import nanmean
from .loads import Loads
from .options import Options
from .pwv import Fit, SkyData, add
from .sky import Model

TERMS = (
    "forward_efficiency", "t_hot", "t_cold", "image_gain", "t_ground", "profile", "dry_opacity", "gain", "pwv",
    "load_noise",
)  # fmt: skip


@dataclass
class LaterLoads:
    """Loads after a scan, of a pixel."""

    drift: float  # median over the good channels of gamma(after)/gamma(before) - 1; NaN without later loads
    removed: bool  # from ONs and OFFs


def errors_of_inputs(
    model: Model, options: Options, mjd_on: float, loads: Loads, later: LaterLoads, pwv: float, pwv_err: float
) -> dict[str, float]:
    """s_k of a pixel."""
    fixed = options.strategy == "fixed"

    def given(name: str, default: float) -> float:
        return default if getattr(options, name) is None else float(getattr(options, name))

    tables = [sb.offset for sb in model.sidebands]
    isothermal = all(len(offset) == 1 and offset[0] == 0 for offset in tables)
    minutes_15 = abs(mjd_on - loads.mjd) * 86400 / 900
    if np.isfinite(later.drift):
        gain = max(0.002, abs(later.drift) / (5 if later.removed else 2))
    else:
        gain = 0.01 * np.sqrt(minutes_15)
    return {
        "forward_efficiency": given("forward_efficiency_err", 0.05 if options.forward_efficiency is None else 0.02),
        "t_hot": options.t_hot_err,
        "t_cold": given("t_cold_err", 5.0 if loads.t_cold_assumed else 2.0),
        # CHOICE: g = 0 makes L and q of that array 0; arrays with an image band still move a PWV that all share.
        "image_gain": options.image_gain_err if len(model.sidebands) > 1 else 0.0,
        "t_ground": given("t_ground_err", 10.0 if isothermal else 2.0),
        "profile": options.profile_err,
        "dry_opacity": options.dry_opacity_err,
        "gain": gain,
        "pwv": options.pwv_fixed_err * pwv if fixed else pwv_err,
        "load_noise": 1.0,
    }


def direct(model: Model, loads: Loads, noise_of_loads: np.ndarray, airmass: float) -> dict[str, np.ndarray | float]:
    """L_k [C] of a pixel."""
    contrast, signal = loads.tp_hot - loads.tp_cold, model.sidebands[0]
    by_gain = loads.by_gain_hot - loads.by_gain_cold
    return {
        "forward_efficiency": -1 / model.f_eff,
        "t_hot": loads.slope_hot / contrast,
        "t_cold": -loads.slope_cold / contrast,
        "image_gain": model.gain / (1 + model.gain) + by_gain / contrast,
        "t_ground": 0.0,
        "profile": 0.0,
        "dry_opacity": airmass * signal.c,
        "gain": 1.0,
        "pwv": 0.0,
        "load_noise": noise_of_loads / contrast,
    }


def of_residual(d: SkyData, pwv: float) -> dict[str, np.ndarray]:
    """q_k [C] of an OFF in a pixel: how far an input moves the residual."""
    model, loads, a = d.model, d.loads, d.a
    emission = model.weigh([model.emission(sb, pwv, d.airmass, d.t_ground) for sb in model.sidebands])
    sky_by_gain = model.by_gain(model.sky_of_bands(pwv, d.airmass, d.t_ground, d.t_spill))
    return {
        "forward_efficiency": model.load(d.t_spill) - emission,
        "t_hot": a * loads.slope_hot,
        "t_cold": (1 - a) * loads.slope_cold,
        "image_gain": a * loads.by_gain_hot + (1 - a) * loads.by_gain_cold - sky_by_gain,
        "t_ground": -model.by_ground(pwv, d.airmass, d.t_ground, by_offset=False),
        "profile": -model.by_ground(pwv, d.airmass, d.t_ground, by_offset=True),
        "dry_opacity": -model.by_dry_opacity(pwv, d.airmass, d.t_ground),
        "gain": d.off_smooth,
    }


def mean_response(fit: Fit, options: Options) -> dict[str, float]:
    """<q_k> of all that shares a PWV [mm per unit of the input]."""
    if options.strategy == "fixed":
        return dict.fromkeys(TERMS, 0.0) | {"pwv": 1.0}
    above, below = dict.fromkeys(TERMS, 0.0), 0.0
    for d in fit.data:
        weights, slope = d.weights(fit.pwv, options), d.slope(fit.pwv)
        below += add(weights, slope, slope)
        for name, q in of_residual(d, fit.pwv).items():
            above[name] += add(weights, slope, q)
    if not below > 0:
        return dict.fromkeys(TERMS, np.nan)
    return {name: value / below for name, value in above.items()} | {"pwv": 1.0, "load_noise": 0.0}


def pixel_terms(
    model: Model, options: Options, loads: Loads, noise_of_loads: np.ndarray, later: LaterLoads,
    fits: list[Fit], airmass: float, mjd_on: float,
) -> tuple[np.ndarray, dict[str, float]]:  # fmt: skip
    """G_k s_k [K,C] and s_k of a pixel, whose ONs are calibrated with `fits`."""
    responses = {id(fit): mean_response(fit, options) for fit in fits}
    q = {name: float(nanmean([responses[id(fit)][name] for fit in fits])) for name in TERMS}
    pwv, pwv_err = (float(nanmean([getattr(fit, name) for fit in fits])) for name in ("pwv", "err"))
    s = errors_of_inputs(model, options, mjd_on, loads, later, pwv, pwv_err)
    L = direct(model, loads, noise_of_loads, airmass)
    b = model.sidebands[0].b
    return np.array([np.abs(L[name] + airmass * b * q[name]) * s[name] for name in TERMS]), s


def scale_errors(
    terms: dict[tuple[int, int], np.ndarray], loads: dict[tuple[int, int], Loads], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """`scale_error` [C,R,A] and `scale_error_terms` [K,R,A]."""
    total, medians = np.full(shape, np.nan), np.full((len(TERMS), *shape[1:]), np.nan)
    for (r, a), of_pixel in terms.items():
        good = ~loads[r, a].bad
        total[good, r, a] = np.sqrt((of_pixel[:, good] ** 2).sum(axis=0))
        if good.any():
            medians[:, r, a] = np.median(of_pixel[:, good], axis=1)
    return {"scale_error": total, "scale_error_terms": medians}
