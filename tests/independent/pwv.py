"""The fit of PWV to blank sky and its errors (section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .basics import divide, running_mean
from .loads import Loads
from .options import Options
from .sky import Model


@dataclass
class SkyData:
    """One OFF in one pixel, ready for the fit; arrays [C]; `good` says which channels count."""

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
    off_smooth: np.ndarray  # OFF/gamma, smoothed [K]
    loads: Loads

    def residual(self, pwv: float) -> np.ndarray:
        """r [C] of section 3 [K]."""
        s_model = self.model.sky(pwv, self.airmass, self.t_ground, self.t_spill) - self.tp_hot
        return divide(self.off_minus_hot - self.gamma * s_model, self.gamma_smooth)

    def slope(self, pwv: float) -> np.ndarray:
        """Minus d residual / d pwv [C]: S' [K/mm]."""
        return self.model.sky_slope(pwv, self.airmass, self.t_ground)

    def sigma_mod(self, pwv: float, model_error: float) -> np.ndarray:
        return self.model.sigma_mod(pwv, self.airmass, self.t_ground, model_error)

    @property
    def variance_rad(self) -> np.ndarray:
        return self.var_off + self.a**2 * self.var_hot + (1 - self.a) ** 2 * self.var_cold

    def inverse_variance(self, pwv: float, model_error: float) -> np.ndarray:
        """W [C]; 0 where the channel does not count."""
        return np.where(self.good, divide(1.0, self.variance_rad + self.sigma_mod(pwv, model_error) ** 2), 0.0)

    def tukey(self, pwv: float) -> np.ndarray:
        """Tukey's biweight w [C] of the residuals; 1 where the channel does not count."""
        z = divide(self.residual(pwv), np.sqrt(self.variance_rad))
        C = len(z)
        sampled = np.arange(0, C, max(C // 2048, 1))
        sampled = sampled[self.good[sampled]]
        # CHOICE: without a good channel among those sampled, nothing is known of the scatter: w = 1.
        if not sampled.size:
            return np.ones(C)
        m = np.median(z[sampled])
        s = max(1.0, 1.4826 * np.median(np.abs(z[sampled] - m)))
        u = (z - m) / (6 * s)
        w = np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0.0)
        return np.where(self.good, w, 1.0)

    def weights(self, pwv: float, options: Options) -> np.ndarray:
        """The product w W [C]; 0 where the channel does not count."""
        w = self.tukey(pwv) if options.robust else 1.0
        return w * self.inverse_variance(pwv, options.model_error)


def noise_temperatures(loads: Loads) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Receiver temperature and noise on HOT and COLD [K] from smoothed counts."""
    y = divide(running_mean(loads.hot), running_mean(loads.cold))
    t_rec = divide(loads.tp_hot - y * loads.tp_cold, y - 1)
    return t_rec, t_rec + loads.tp_hot, t_rec + loads.tp_cold


def noise_of_loads(loads: Loads, B: float) -> np.ndarray:
    """Noise of the difference of HOT and COLD [K]."""
    _, t_hot, t_cold = noise_temperatures(loads)
    tiny = np.finfo(float).tiny
    return np.sqrt((t_hot**2 / np.maximum(loads.time_hot, tiny) + t_cold**2 / np.maximum(loads.time_cold, tiny)) / B)


def prepare_sky(
    model: Model, pixel: tuple[int, int, int], loads: Loads, off: np.ndarray, time_off: np.ndarray, B: float,
    airmass: float, t_ground: float, t_spill: float,
) -> SkyData:  # fmt: skip
    hot_s, cold_s, off_s = running_mean(loads.hot), running_mean(loads.cold), running_mean(off)
    contrast = loads.tp_hot - loads.tp_cold
    gamma_s = (hot_s - cold_s) / contrast
    t_rec, t_hot, t_cold = noise_temperatures(loads)
    t_off = t_rec + loads.tp_hot + divide(off_s - hot_s, gamma_s)
    tiny = np.finfo(float).tiny
    return SkyData(
        model=model,
        pixel=pixel,
        off_minus_hot=off - loads.hot,
        gamma=loads.gamma,
        gamma_smooth=gamma_s,
        a=divide(off_s - cold_s, hot_s - cold_s),
        var_off=t_off**2 / np.maximum(time_off, tiny) / B,
        var_hot=t_hot**2 / np.maximum(loads.time_hot, tiny) / B,
        var_cold=t_cold**2 / np.maximum(loads.time_cold, tiny) / B,
        tp_hot=loads.tp_hot,
        airmass=airmass,
        t_ground=t_ground,
        t_spill=t_spill,
        # CHOICE: the transmission criterion needs the PWV, so it has no part in the fit.
        good=~loads.bad & np.isfinite(off),
        off_smooth=divide(off_s, gamma_s),
        loads=loads,
    )


@dataclass
class Fit:
    """A PWV, what was fitted and how well."""

    pwv: float
    data: list[SkyData] = field(default_factory=list)
    err: float = np.nan
    err_model: float = np.nan
    chi2: float = np.nan
    converged: bool = True


def add(weights: np.ndarray, *factors: np.ndarray) -> float:
    """Sum over the channels with a weight of the product of all."""
    used = weights > 0
    product = weights[used]
    for factor in factors:
        product = product * factor[used]
    return float(np.sum(product))


def chi_square(data: list[SkyData], pwv: float, options: Options) -> float:
    total = 0.0
    for d in data:
        r = d.residual(pwv)
        total += add(d.weights(pwv, options), r, r)
    return total


def gauss_newton_step(data: list[SkyData], pwv: float, options: Options) -> float:
    gradient = curvature = 0.0
    for d in data:
        weights, slope = d.weights(pwv, options), d.slope(pwv)
        gradient += add(weights, slope, d.residual(pwv))
        curvature += add(weights, slope, slope)
    return gradient / curvature if curvature > 0 else 0.0


def fit_errors(data: list[SkyData], pwv: float, options: Options) -> tuple[float, float]:
    """Statistical and model error of the PWV.

    Each noise enters by the estimator's response to it: independent noises add in squares, common ones
    before squaring.
    """
    curvature = variance = shift = 0.0
    for pixel in sorted({d.pixel for d in data}):
        own = [d for d in data if d.pixel == pixel]
        C = len(own[0].good)
        from_hot, from_cold = np.zeros(C), np.zeros(C)
        for d in own:
            slope = d.slope(pwv)
            response = d.weights(pwv, options) * slope
            used = response != 0
            curvature += float(np.sum(response[used] * slope[used]))
            variance += float(np.sum(response[used] ** 2 * d.var_off[used]))
            shift += float(np.sum((response * d.sigma_mod(pwv, options.model_error))[used]))
            from_hot[used] += (response * d.a)[used]
            from_cold[used] += (response * (1 - d.a))[used]
        # The loads' own variances are those of the pixel, the same for all its OFFs.
        used = (from_hot != 0) | (from_cold != 0)
        variance += float(np.sum((from_hot**2 * own[0].var_hot + from_cold**2 * own[0].var_cold)[used]))
    if not curvature > 0:
        return np.nan, np.nan
    return float(np.sqrt(variance) / curvature), abs(shift) / curvature


def reduced_chi_square(data: list[SkyData], pwv: float, options: Options) -> float:
    n = sum(int((d.weights(pwv, options) > 0).sum()) for d in data)
    return chi_square(data, pwv, options) / (n - 1) if n > 1 else np.nan


def rest(data: list[SkyData], pwv: float, options: Options) -> tuple[float, bool]:
    """Gauss-Newton, all weights taken at the current PWV, until it rests; whether it does."""
    for _ in range(1000):
        previous = pwv
        pwv = float(np.clip(pwv + gauss_newton_step(data, pwv, options), options.pwv_min, options.pwv_max))
        if abs(pwv - previous) <= 1e-14 * pwv:
            break
    return pwv, abs(pwv - previous) <= 1e-12 * pwv


def fit_pwv(data: list[SkyData], options: Options) -> Fit:
    """Fit on a logarithmic grid, then to rest with w = 1, then to the fixed point of all weights."""
    data = [d for d in data if d.good.any()]
    if not data:
        return Fit(np.nan)
    plain = replace(options, robust=False)
    grid = np.geomspace(options.pwv_min, options.pwv_max, options.pwv_grid_steps)
    # CHOICE: on the grid, too, sigma belongs to the PWV of the grid point.
    pwv = float(grid[np.argmin([chi_square(data, p, plain) for p in grid])])
    pwv, converged = rest(data, pwv, plain)
    if options.robust:
        pwv, converged = rest(data, pwv, options)
    err, err_model = fit_errors(data, pwv, options)
    return Fit(pwv, data, err, err_model, reduced_chi_square(data, pwv, options), converged)


def given_pwv(data: list[SkyData], options: Options) -> Fit:
    """A PWV that is given: without errors, but with the chi² and the weights of the residuals."""
    data = [d for d in data if d.good.any()]
    pwv = float(options.pwv)
    return Fit(pwv, data, chi2=reduced_chi_square(data, pwv, options))
