"""Figures that watch over sky, loads and references, one a pixel (section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .basics import nanmean
from .loads import Loads
from .options import Options
from .pwv import SkyData, add
from .selection import Selection

BLOCK = 64


@dataclass
class FittedOff:
    """An OFF of a pixel and the PWV that was found for it."""

    place: int  # among all OFFs
    of_some_on: bool
    data: SkyData
    pwv: float
    observed: np.ndarray  # S_obs [C] [K]

    def residual(self) -> np.ndarray:
        """Sky observed minus fitted [C] [K]."""
        d = self.data
        return self.observed - (d.model.sky(self.pwv, d.airmass, d.t_ground, d.t_spill) - d.tp_hot)


def load_age(selection: Selection, loads: Loads) -> float:
    """Longest time from the loads to an ON [s]."""
    return max(abs(selection.mjd[on] - loads.mjd) for on in selection.ons) * 86400


def ref_extrapolated(selection: Selection, offs: list[int]) -> float:
    """Share of the ONs that are before all `offs` or after them."""
    if selection.chopped or not offs:
        return np.nan
    mjd = selection.mjd
    outside = [on for on in selection.ons if mjd[on] < min(mjd[offs]) or mjd[on] > max(mjd[offs])]
    return len(outside) / len(selection.ons)


def some_weight(offs: list[FittedOff], options: Options) -> np.ndarray:
    """Good channels [C] that count in the fit of some OFF."""
    return np.any([off.data.weights(off.pwv, options) > 0 for off in offs], axis=0)


def sky_misfit(offs: list[FittedOff], options: Options) -> tuple[float, float]:
    """Residuals in blocks of channels, rms over their noise and in K."""
    if not offs:
        return np.nan, np.nan
    used = some_weight(offs, options)
    # As sky_residual, of which this is the misfit.
    offs = [off for off in offs if off.of_some_on]
    residual = nanmean([off.residual() for off in offs], axis=0)
    # The noise of the loads is common to the OFFs of the mean.
    a, first = nanmean([off.data.a for off in offs], axis=0), offs[0].data
    variance = sum(off.data.var_off for off in offs) / len(offs) ** 2
    variance = variance + a**2 * first.var_hot + (1 - a) ** 2 * first.var_cold
    over_noise, means = [], []
    for start in range(0, len(used), BLOCK):
        block = [c for c in range(start, min(start + BLOCK, len(used))) if used[c]]
        if len(block) >= BLOCK // 2:
            means.append(residual[block].mean())
            over_noise.append(means[-1] / (np.sqrt(variance[block].sum()) / len(block)))
    if not means:
        return np.nan, np.nan
    return float(np.sqrt(np.mean(np.square(over_noise)))), float(np.sqrt(np.mean(np.square(means))))


def off_minus_off(offs: list[FittedOff], options: Options) -> float:
    """Part of the differences of successive OFFs that neither water nor gain explains; median of their chi²."""
    found = []
    used = some_weight(offs, options) if offs else None
    for one, two in pairwise(offs):
        # CHOICE: beside an OFF that the pixel lacks, or whose PWV no ON has, there is no difference.
        if two.place > one.place + 1 or not (one.of_some_on and two.of_some_on):
            continue
        x, y = one.data, two.data
        # CHOICE: S' and OFF are the means of the two, in K by the smoothed gain.
        by_water = (x.slope(one.pwv) + y.slope(two.pwv)) / 2
        by_gain = (x.off_smooth + y.off_smooth) / 2
        sigma = np.sqrt(x.var_off + y.var_off)
        change = (y.off_minus_hot - x.off_minus_hot) / x.gamma_smooth
        here = used & np.isfinite(change)
        matrix = np.stack([by_water, by_gain], axis=1)[here] / sigma[here, None]
        size = np.sqrt((matrix**2).sum(axis=0))
        target = change[here] / sigma[here]
        if len(target) > 2:
            fit, *_ = np.linalg.lstsq(matrix / size, target, rcond=None)
            found.append(np.sum((target - matrix / size @ fit) ** 2) / (len(target) - 2))
    return float(np.median(found)) if found else np.nan


def own_pwv(offs: list[FittedOff], options: Options) -> tuple[list[float], float]:
    """PWV of each OFF alone and of all OFFs of the pixel, one Gauss-Newton step away [mm]."""
    alone, weight = [], []
    for off in offs:
        weights, slope = off.data.weights(off.pwv, options), off.data.slope(off.pwv)
        weight.append(add(weights, slope, slope))
        alone.append(off.pwv + add(weights, slope, off.data.residual(off.pwv)) / weight[-1])
    # One step on all from a PWV that they share is the mean of the steps on each.
    # CHOICE: where they share none, the mean likewise.
    return alone, float(np.average(alone, weights=weight)) if alone else np.nan


def monitor(
    fitted: dict[tuple[int, int], list[FittedOff]], selection: Selection, options: Options, shape: tuple[int, ...],
    median_b: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    """All figures [R,A] of the fitted sky; `median_b` is that of b over the channels [Np/mm]."""
    names = ("sky_misfit_sigma", "sky_misfit_K", "off_minus_off", "off_scatter", "pwv_pixel_spread")
    figures = {name: np.full(shape, np.nan) for name in names}
    opacity = median_b * float(np.mean([selection.airmass[on] for on in selection.ons]))
    pwv = np.full(shape, np.nan)
    for pixel, offs in fitted.items():
        figures["sky_misfit_sigma"][pixel], figures["sky_misfit_K"][pixel] = sky_misfit(offs, options)
        figures["off_minus_off"][pixel] = off_minus_off(offs, options)
        # CHOICE: an OFF whose PWV no ON has tells nothing of the scan.
        alone, pwv[pixel] = own_pwv([off for off in offs if off.of_some_on], options)
        if len(alone) > 1:
            figures["off_scatter"][pixel] = opacity * np.std(alone, ddof=1)
    if np.isfinite(pwv).any():
        figures["pwv_pixel_spread"] = opacity * np.abs(pwv - np.median(pwv[np.isfinite(pwv)]))
    return figures


def t_rec_jump(results: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Compare the last of the results with those of up to ten earlier loads, oldest first; [R,A]."""
    *earlier, now = [_median_t_rec(result) for result in results]
    if len(earlier) < 3:
        return np.full(now.shape, np.nan)
    return np.abs(now / np.median(earlier[-10:], axis=0) - 1)


def _median_t_rec(result: dict[str, np.ndarray]) -> np.ndarray:
    out = np.empty(result["t_rec_ssb"].shape[1:])
    for (r, a), load in result["_loads"].items():
        out[r, a] = np.median(load.t_rec_ssb[~load.bad])
    return out
