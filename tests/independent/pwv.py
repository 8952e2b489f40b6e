"""The fit of PWV to blank sky and its errors (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import divide, running_mean
from .loads import Loads
from .sky import Model


@dataclass
class SkyData:
    """One OFF in one pixel, ready for the fit; arrays [C], of which `good` says which channels count."""

    model: Model
    pixel: tuple[int, int, int]  # band, r, a
    off_minus_hot: np.ndarray
    gamma: np.ndarray
    gamma_smooth: np.ndarray
    a: np.ndarray  # weight of HOT's noise
    var_off: np.ndarray  # K²
    var_hot: np.ndarray
    var_cold: np.ndarray
    tp_hot: np.ndarray
    airmass: float
    t_ground: float
    t_spill: float
    good: np.ndarray

    def residual(self, pwv: float) -> np.ndarray:
        s_model = self.model.sky(pwv, self.airmass, self.t_ground, self.t_spill) - self.tp_hot
        return divide(self.off_minus_hot - self.gamma * s_model, self.gamma_smooth)[self.good]

    def slope(self, pwv: float) -> np.ndarray:
        """Minus d residual / d pwv: K/mm."""
        # CHOICE: gamma_smooth, not the channel's own gamma, whose noise would bias the PWV.
        slope = self.model.sky_slope(pwv, self.airmass, self.t_ground)
        return divide(self.gamma_smooth * slope, self.gamma_smooth)[self.good]

    def sigma_mod(self, pwv: float, model_error: float) -> np.ndarray:
        return self.model.sigma_mod(pwv, self.airmass, self.t_ground, model_error)[self.good]

    def weight(self, pwv: float, model_error: float) -> np.ndarray:
        radiometric = self.var_off + self.a**2 * self.var_hot + (1 - self.a) ** 2 * self.var_cold
        return 1 / (radiometric[self.good] + self.sigma_mod(pwv, model_error) ** 2)


def prepare_sky(
    model: Model, pixel: tuple[int, int, int], loads: Loads, off: np.ndarray, time_off: float, B: float,
    airmass: float, t_ground: float, t_spill: float,
) -> SkyData:  # fmt: skip
    hot_s, cold_s, off_s = running_mean(loads.hot), running_mean(loads.cold), running_mean(off)
    contrast = loads.tp_hot - loads.tp_cold
    gamma_s = (hot_s - cold_s) / contrast
    y = divide(hot_s, cold_s)
    t_rec = divide(loads.tp_hot - y * loads.tp_cold, y - 1)
    t_hot = t_rec + loads.tp_hot
    t_cold = t_rec + loads.tp_cold
    t_off = t_rec + loads.tp_hot + divide(off_s - hot_s, gamma_s)
    tiny = np.finfo(float).tiny
    return SkyData(
        model=model,
        pixel=pixel,
        off_minus_hot=off - loads.hot,
        gamma=loads.gamma,
        gamma_smooth=gamma_s,
        a=divide(off_s - cold_s, hot_s - cold_s),
        var_off=t_off**2 / max(time_off, tiny) / B,
        var_hot=t_hot**2 / max(loads.time_hot, tiny) / B,
        var_cold=t_cold**2 / max(loads.time_cold, tiny) / B,
        tp_hot=loads.tp_hot,
        airmass=airmass,
        t_ground=t_ground,
        t_spill=t_spill,
        # CHOICE: the transmission criterion needs the PWV, so it has no part in the fit.
        good=~loads.bad & np.isfinite(off),
    )


@dataclass
class Fit:
    pwv: float
    err: float = np.nan
    err_model: float = np.nan
    chi2: float = np.nan
    converged: bool = True


def chi_square(data: list[SkyData], pwv: float, model_error: float) -> float:
    return sum(float(np.sum(d.weight(pwv, model_error) * d.residual(pwv) ** 2)) for d in data)


def gauss_newton_step(data: list[SkyData], pwv: float, model_error: float) -> float:
    gradient = curvature = 0.0
    for d in data:
        w, slope = d.weight(pwv, model_error), d.slope(pwv)
        gradient += float(np.sum(w * slope * d.residual(pwv)))
        curvature += float(np.sum(w * slope**2))
    return gradient / curvature if curvature > 0 else 0.0


def fit_errors(data: list[SkyData], pwv: float, model_error: float) -> tuple[float, float]:
    """Statistical and model error of the PWV.

    Each noise enters by the estimator's response to it: independent noises add in squares, common ones
    before squaring.
    """
    curvature = variance = shift = 0.0
    for pixel in sorted({d.pixel for d in data}):
        own = [d for d in data if d.pixel == pixel]
        C = len(own[0].good)
        from_hot, from_cold = np.zeros(C), np.zeros(C)
        var_hot, var_cold = np.zeros(C), np.zeros(C)
        for d in own:
            g, w, slope = d.good, d.weight(pwv, model_error), d.slope(pwv)
            response = w * slope
            curvature += float(np.sum(response * slope))
            variance += float(np.sum(response**2 * d.var_off[g]))
            shift += float(np.sum(response * d.sigma_mod(pwv, model_error)))
            from_hot[g] += response * d.a[g]
            from_cold[g] += response * (1 - d.a[g])
            var_hot[g], var_cold[g] = d.var_hot[g], d.var_cold[g]
        variance += float(np.sum(from_hot**2 * var_hot + from_cold**2 * var_cold))
    if not curvature > 0:
        return np.nan, np.nan
    return float(np.sqrt(variance) / curvature), abs(shift) / curvature


def fit_pwv(data: list[SkyData], bounds: tuple[float, float], grid_steps: int, model_error: float) -> Fit:
    """The fixed point of Gauss-Newton, weights taken at the current PWV, started from a logarithmic grid."""
    data = [d for d in data if d.good.any()]
    N = sum(int(d.good.sum()) for d in data)
    if N == 0:
        return Fit(np.nan)
    grid = np.geomspace(bounds[0], bounds[1], grid_steps)
    # CHOICE: on the grid, too, sigma belongs to the PWV of the grid point.
    pwv = float(grid[np.argmin([chi_square(data, p, model_error) for p in grid])])
    converged = False
    for _ in range(1000):
        previous = pwv
        step = gauss_newton_step(data, pwv, model_error)
        pwv = float(np.clip(pwv + step, bounds[0], bounds[1]))
        if abs(pwv - previous) <= 1e-14 * pwv:
            converged = True
            break
    converged = converged or abs(pwv - previous) <= 1e-12 * pwv
    err, err_model = fit_errors(data, pwv, model_error)
    chi2 = chi_square(data, pwv, model_error) / (N - 1) if N > 1 else np.nan
    return Fit(pwv, err, err_model, chi2, converged)
