"""Calibration with the fit of the water vapour, as a careful user writes it from the description of the pipeline.

Whole arrays, NumPy, SciPy, zarr-python as it comes; nothing of the package is used. Loads without spikes, a sky of
layers, one PWV a scan with robust weights, its errors, T_A*, T_sys, sigma, flags, the residual of the sky and the error
of the scale with its ten terms. Verdicts, monitors, provenance and everything that keeps a run safe are left out.

Axes: C channels, D dumps, R pixels, A arrays, K OFFs, S ONs, L layers. Both sidebands have the same gain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asdf
import numpy as np
import zarr
from scipy.constants import Boltzmann, Planck
from scipy.ndimage import uniform_filter1d

T_BACKGROUND = 2.725
PA_PER_TORR = 101325.0 / 760.0
SMOOTHING = 129
MODEL_ERROR = 0.03
SPIKE = 10.0
PWV_RANGE = (0.0005, 1.0)
# Errors of the inputs: forward efficiency, temperatures of the loads [K], ln of the image gain, ground [K], temperature
# profile, dry opacity, gain in a quarter of an hour.
INPUT_ERRORS = {"f_eff": 0.02, "hot": 1.0, "cold": 2.0, "image_gain": 0.05, "ground": 2.0, "profile": 0.2, "dry": 0.1}
GAIN_ERROR = 0.01


def brightness(nu: np.ndarray, temperature: np.ndarray | float) -> np.ndarray:
    """Compute the Rayleigh-Jeans temperature of a black body [K]."""
    x = Planck * nu / Boltzmann
    return x / np.expm1(x / temperature)


def slope_of_brightness(nu: np.ndarray, temperature: np.ndarray | float) -> np.ndarray:
    """Compute its derivative to the temperature."""
    x = Planck * nu / Boltzmann / temperature
    return (x / (2.0 * np.sinh(x / 2.0))) ** 2


def smooth(values: np.ndarray) -> np.ndarray:
    """Take the running mean over the channels, without NaN."""
    valid = np.isfinite(values)
    settings: dict[str, Any] = {"size": SMOOTHING, "axis": 0, "mode": "constant"}
    weight = uniform_filter1d(valid.astype(float), **settings)
    total = uniform_filter1d(np.where(valid, values, 0.0), **settings)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0.5 / SMOOTHING, total / weight, np.nan)


def convert(counts: np.ndarray) -> np.ndarray:
    """Convert counts to doubles, NaN for missing dumps."""
    return np.where(counts == np.iinfo(np.int32).min, np.nan, counts.astype(np.float64))


def leave_out_spikes(counts: np.ndarray, axes: tuple[int, ...], b_t: float) -> np.ndarray:
    """Set samples far from the median along some axes to NaN."""
    middle = np.nanmedian(counts, axis=axes, keepdims=True)
    spread = 1.4826 * np.nanmedian(np.abs(counts - middle), axis=axes, keepdims=True)
    spread = np.maximum(spread, np.abs(middle) / np.sqrt(b_t))
    return np.where(np.abs(counts - middle) > SPIKE * spread, np.nan, counts)


@dataclass
class Band:
    """One sideband: frequencies [C], coefficients of the opacity up to the top of each layer [L,C], offsets [L]."""

    nu: np.ndarray
    b: np.ndarray
    c: np.ndarray
    offset: np.ndarray


def look_up(path: Path, nu: np.ndarray, pressure: float) -> Band:
    """Interpolate a table of opacities in frequency and pressure."""
    with asdf.open(path, memmap=False) as file:
        grid = file["frequency"]
        if isinstance(grid, dict):
            grid = grid["start"] + grid["step"] * np.arange(grid["n"])
        grid = np.array(grid)
        pressures, offsets = np.array(file["pressure"]), np.array(file["layer_offset"])
        tables = [np.array(file[name], dtype=np.float64) for name in ("b", "c")]
    position = np.interp(np.log(pressure), np.log(pressures), np.arange(pressures.size))
    low = int(min(position, pressures.size - 2))
    share = position - low
    found = []
    for table in tables:
        below, above = (np.array([np.interp(nu, grid, row) for row in table[k]]) for k in (low, low + 1))
        with np.errstate(divide="ignore"):
            logs = np.exp((1.0 - share) * np.log(below) + share * np.log(above))
        found.append(np.where((below > 0) & (above > 0), logs, (1.0 - share) * below + share * above))
    return Band(nu, *found, (1.0 - share) * offsets[low] + share * offsets[low + 1])


class Sky:
    """Blank sky [C,K] of a double-sideband receiver as a function of PWV, at airmasses and ground temperatures [K]."""

    def __init__(self, bands: list[Band], f_eff: float, airmass: np.ndarray, ground: np.ndarray) -> None:
        self.bands, self.f_eff, self.airmass, self.ground = bands, f_eff, airmass, ground
        self.spill = 0.5 * sum(brightness(band.nu[:, None], ground) for band in bands)
        self.steps = [self._step_temperatures(band, T_BACKGROUND) for band in bands]

    def _step_temperatures(self, band: Band, beyond: float) -> np.ndarray:
        """Differences of the brightness of a layer and the next one [L,C,K]."""
        layers = [brightness(band.nu[:, None], self.ground + offset) for offset in band.offset]
        layers.append(brightness(band.nu, beyond)[:, None] if beyond else np.zeros((band.nu.size, 1)))
        return np.stack([a - b for a, b in itertools.pairwise(layers)])

    def opacities(self, band: Band, pwv: float) -> np.ndarray:
        """Opacities along the way up to the top of each layer [L,C,K]."""
        return (band.b * pwv + band.c)[..., None] * self.airmass

    def emission(self, pwv: float) -> list[np.ndarray]:
        """Emission of the sky in each sideband [C,K]."""
        found = []
        for band, steps in zip(self.bands, self.steps, strict=True):
            seen = np.exp(-self.opacities(band, pwv))
            found.append(brightness(band.nu[:, None], self.ground + band.offset[0]) - (steps * seen).sum(axis=0))
        return found

    def temperature(self, pwv: float) -> np.ndarray:
        """Input of the receiver on blank sky [C,K]."""
        return self.f_eff * 0.5 * sum(self.emission(pwv)) + (1.0 - self.f_eff) * self.spill

    def slope(self, pwv: float) -> np.ndarray:
        """Its derivative to PWV [C,K]."""
        return self._sum_layers(lambda band, tau: self.airmass * band.b[..., None] * np.exp(-tau), pwv, T_BACKGROUND)

    def model_error(self, pwv: float) -> np.ndarray:
        """Error of the sky by a fractional error of all opacities [C,K]."""
        return MODEL_ERROR * self._sum_layers(lambda _, tau: tau * np.exp(-tau), pwv, 0.0)

    def dry_slope(self, pwv: float) -> np.ndarray:
        """Derivative to the logarithm of the dry opacity [C,K]."""
        return self._sum_layers(lambda band, tau: self.airmass * band.c[..., None] * np.exp(-tau), pwv, T_BACKGROUND)

    def _sum_layers(self, weigh: Any, pwv: float, beyond: float) -> np.ndarray:
        total = np.zeros((self.bands[0].nu.size, self.airmass.size))
        for band, steps in zip(self.bands, self.steps, strict=True):
            steps = steps if beyond else self._step_temperatures(band, 0.0)
            total += (steps * weigh(band, self.opacities(band, pwv))).sum(axis=0)
        return self.f_eff * 0.5 * total

    def ground_slope(self, pwv: float, of_profile: bool) -> np.ndarray:
        """Derivative to the temperature of the ground, or to a factor of the profile's offsets [C,K]."""
        total = np.zeros((self.bands[0].nu.size, self.airmass.size))
        for band in self.bands:
            seen = np.exp(-self.opacities(band, pwv))
            below = np.concatenate([np.ones_like(seen[:1]), seen[:-1]])
            for layer, offset in enumerate(band.offset):
                rise = slope_of_brightness(band.nu[:, None], self.ground + offset)
                total += (below[layer] - seen[layer]) * rise * (offset if of_profile else 1.0)
        return self.f_eff * 0.5 * total


@dataclass
class Loads:
    """Means of the loads [C,R,A], their temperatures [C] and times [C,R,A]."""

    hot: np.ndarray
    cold: np.ndarray
    t_hot: np.ndarray
    t_cold: np.ndarray
    time_hot: np.ndarray
    time_cold: np.ndarray
    kelvins: tuple[float, float]
    mjd: float

    @property
    def contrast(self) -> np.ndarray:
        """Difference of the temperatures [C,1,1]."""
        return (self.t_hot - self.t_cold)[:, None, None]

    @property
    def gamma(self) -> np.ndarray:
        """Counts per kelvin [C,R,A]."""
        return (self.hot - self.cold) / self.contrast

    def receiver_temperature(self, hot: np.ndarray, cold: np.ndarray) -> np.ndarray:
        """Double-sideband receiver temperature from counts on the loads [C,R,A]."""
        y = hot / cold
        return (self.t_hot[:, None, None] - y * self.t_cold[:, None, None]) / (y - 1.0)


def read_loads(group: zarr.Group, nus: list[np.ndarray], width: float) -> Loads:
    """Read HOT and COLD and average them."""
    phases = np.array(group["sobsmode"][...].tolist())
    counts, exptime, mjd = convert(group["data_5d"][...]), group["exptime"][...].astype(float), group["mjd"][...]
    means, times = [], []
    chosen = [phases == "HOT", np.char.startswith(phases, "COL")]
    for which in chosen:
        kept = leave_out_spikes(counts[..., which], (1, 4), width * float(exptime[which][0]))
        means.append(np.nanmean(kept, axis=(1, 4)))
        times.append((np.isfinite(kept).sum(axis=1) * exptime[which]).sum(axis=-1))
    kelvins = tuple(
        float(group[name][...][which].mean()) for name, which in zip(("thot", "tcold"), chosen, strict=True)
    )
    temperatures = [0.5 * sum(brightness(nu, kelvin) for nu in nus) for kelvin in kelvins]
    return Loads(*means, *temperatures, *times, kelvins, float(mjd[chosen[0] | chosen[1]].mean()))


@dataclass
class Fit:
    """The water vapour, and what it was fitted to [C,R,A,K]."""

    sky: Sky
    observed: np.ndarray
    scale: np.ndarray
    good: np.ndarray
    variances: tuple[np.ndarray, np.ndarray, np.ndarray]
    share: np.ndarray
    t_hot: np.ndarray
    pwv: float = 0.0

    def residual(self, pwv: float) -> np.ndarray:
        """Observed minus modelled sky [C,R,A,K], K of the smoothed scale."""
        model = self.sky.temperature(pwv) - self.t_hot[:, None]
        return self.observed - self.scale * model[:, None, None, :]

    def weights(self, pwv: float, robust: bool = True) -> np.ndarray:
        """Weights [C,R,A,K]: inverse variances, and Tukey's for outliers."""
        off, hot, cold = self.variances
        noise = off + self.share**2 * hot + (1.0 - self.share) ** 2 * cold
        weights = 1.0 / (noise + self.sky.model_error(pwv)[:, None, None, :] ** 2)
        weights[~self.good] = 0.0
        if robust:
            weights *= self.downweigh(pwv, noise)
        return weights

    def downweigh(self, pwv: float, noise: np.ndarray) -> np.ndarray:
        """Tukey's biweight of the residuals [C,R,A,K]."""
        z = self.residual(pwv) / np.sqrt(noise)
        sampled = np.where(self.good, z, np.nan)[:: max(z.shape[0] // 2048, 1)]
        middle = np.nanmedian(sampled, axis=0)
        spread = np.maximum(1.0, 1.4826 * np.nanmedian(np.abs(sampled - middle), axis=0))
        u = (z - middle) / (6.0 * spread)
        return np.where(np.abs(u) < 1.0, (1.0 - u**2) ** 2, 0.0)

    def misfit(self, pwv: float) -> float:
        """Chi squared without robust weights."""
        return float(np.nansum(self.weights(pwv, robust=False) * self.residual(pwv) ** 2))

    def find(self) -> None:
        """Find the PWV: on a grid, then by Gauss-Newton without and with robust weights."""
        grid = np.geomspace(*PWV_RANGE, 100)
        pwv = float(grid[np.argmin([self.misfit(value) for value in grid])])
        for robust in (False, True):
            for _ in range(50):
                weights, slope = self.weights(pwv, robust), self.sky.slope(pwv)[:, None, None, :]
                step = np.nansum(weights * slope * self.residual(pwv)) / np.sum(weights * slope**2)
                pwv, before = float(np.clip(pwv + step, *PWV_RANGE)), pwv
                if abs(pwv - before) < 1e-10 * before:
                    break
        self.pwv = pwv

    def errors(self) -> tuple[float, float, float]:
        """Statistical error of the PWV, error by the model, and reduced chi squared."""
        weights, slope = self.weights(self.pwv), self.sky.slope(self.pwv)[:, None, None, :]
        response, curvature = weights * slope, np.sum(weights * slope**2)
        off, hot, cold = self.variances
        from_hot, from_cold = (response * self.share).sum(axis=-1), (response * (1.0 - self.share)).sum(axis=-1)
        variance = np.sum(response**2 * off) + np.sum(from_hot**2 * hot[..., 0] + from_cold**2 * cold[..., 0])
        shift = np.sum(response * self.sky.model_error(self.pwv)[:, None, None, :])
        chi2 = np.nansum(weights * self.residual(self.pwv) ** 2) / (np.count_nonzero(weights) - 1)
        return float(np.sqrt(variance) / curvature), float(abs(shift) / curvature), float(chi2)

    def average(self, changes: np.ndarray) -> float:
        """Compute the change of the PWV due to changes of the input temperatures [C,R,A,K]."""
        weights, slope = self.weights(self.pwv), self.sky.slope(self.pwv)[:, None, None, :]
        return float(np.sum(weights * slope * changes) / np.sum(weights * slope**2))


def prepare_fit(sky: Sky, loads: Loads, off: np.ndarray, time_off: np.ndarray, good: np.ndarray, width: float) -> Fit:
    """Compute what the fit starts from: noise and scale of smoothed counts [C,R,A,K]."""
    hot, cold, blank = smooth(loads.hot)[..., None], smooth(loads.cold)[..., None], smooth(off)
    gamma = (hot - cold) / loads.contrast[..., None]
    t_rec = loads.receiver_temperature(hot[..., 0], cold[..., 0])[..., None]
    t_hot, t_cold = (t_rec + value[:, None, None, None] for value in (loads.t_hot, loads.t_cold))
    t_off = t_hot + (blank - hot) / gamma
    variances = (
        t_off**2 / (width * time_off),
        t_hot**2 / (width * loads.time_hot[..., None]),
        t_cold**2 / (width * loads.time_cold[..., None]),
    )
    observed = (off - loads.hot[..., None]) / gamma
    usable = good[..., None] & np.isfinite(off)
    share = (blank - cold) / (hot - cold)
    return Fit(sky, observed, loads.gamma[..., None] / gamma, usable, variances, share, loads.t_hot)


def scale_error(
    fit: Fit, loads: Loads, off: np.ndarray, mjd_on: float, airmass: float, pwv_err: float, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the relative error of T_A* [C,R,A] and the medians of its terms [K,R,A]."""
    sky, pwv, share = fit.sky, fit.pwv, fit.share
    signal, image = sky.bands
    emission = sky.emission(pwv)
    rise_hot, rise_cold = (
        0.5 * sum(slope_of_brightness(band.nu, kelvin) for band in sky.bands) for kelvin in loads.kelvins
    )
    spread = [0.25 * (brightness(image.nu, t) - brightness(signal.nu, t)) for t in loads.kelvins]
    contrast = loads.t_hot - loads.t_cold
    of_gain = sky.f_eff * 0.25 * (emission[1] - emission[0])
    of_gain += (
        (1.0 - sky.f_eff)
        * 0.25
        * (brightness(image.nu[:, None], sky.ground) - brightness(signal.nu[:, None], sky.ground))
    )
    gain = GAIN_ERROR * np.sqrt(abs(mjd_on - loads.mjd) * 86400.0 / 900.0)

    def spread_out(values: np.ndarray) -> np.ndarray:
        return values[:, None, None, None] if values.ndim == 1 else values[:, None, None, :]

    terms = [
        (INPUT_ERRORS["f_eff"], -1.0 / sky.f_eff, spread_out(sky.spill - 0.5 * sum(emission))),
        (INPUT_ERRORS["hot"], rise_hot / contrast, share * spread_out(rise_hot)),
        (INPUT_ERRORS["cold"], -rise_cold / contrast, (1.0 - share) * spread_out(rise_cold)),
        (
            INPUT_ERRORS["image_gain"],
            0.5 + (spread[0] - spread[1]) / contrast,
            share * spread_out(spread[0]) + (1.0 - share) * spread_out(spread[1]) - spread_out(of_gain),
        ),
        (INPUT_ERRORS["ground"], 0.0, spread_out(-sky.ground_slope(pwv, False))),
        (INPUT_ERRORS["profile"], 0.0, spread_out(-sky.ground_slope(pwv, True))),
        (INPUT_ERRORS["dry"], airmass * signal.c[-1], spread_out(-sky.dry_slope(pwv))),
        (gain, 1.0, smooth(off) / ((smooth(loads.hot) - smooth(loads.cold)) / loads.contrast)[..., None]),
        (pwv_err, airmass * signal.b[-1], np.zeros_like(off)),
    ]
    total, medians = np.zeros(off.shape[:3]), []
    for error, direct, change in terms:
        term = np.abs(direct + airmass * signal.b[-1] * fit.average(np.broadcast_to(change, off.shape))) * error
        term = np.broadcast_to(term[:, None, None], off.shape[:3])
        total += term**2
        medians.append(np.median(term, axis=0))
    t_rec = loads.receiver_temperature(smooth(loads.hot), smooth(loads.cold))
    noise = [
        (t_rec + value[:, None, None]) ** 2 / time
        for value, time in ((loads.t_hot, loads.time_hot), (loads.t_cold, loads.time_cold))
    ]
    last = np.sqrt(sum(noise) / width) / loads.contrast
    return np.sqrt(total + last**2), np.stack([*medians, np.nanmedian(last, axis=0)])


def interpolate(mjd: np.ndarray, on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Compute the weights of the OFFs in the reference of each ON [S,K]."""
    weights = np.zeros((on.size, off.size))
    for row, when in zip(weights, mjd[on], strict=True):
        after = int(np.searchsorted(mjd[off], when))
        low, high = max(after - 1, 0), min(after, off.size - 1)
        part = 0.0 if low == high else (when - mjd[off[low]]) / (mjd[off[high]] - mjd[off[low]])
        row[low] += 1.0 - part
        row[high] += part
    return weights


def calibrate_scan(scan: Path, output: Path, atm: Path, f_eff: float) -> dict[str, np.ndarray]:
    """Calibrate a scan whose ONs and OFFs are pointed one by one, and write its arrays."""
    source, calibration = (zarr.open_group(scan / name, mode="r") for name in ("source", "calibration"))
    phases = np.array(source["sobsmode"][...].tolist())
    on, off = (np.flatnonzero(np.char.endswith(phases, name)) for name in ("ON", "OFF"))
    names = ("mjd", "elevation", "tamb", "pamb", "exptime", "signal_freq", "image_freq", "freq_res", "ref_channel")
    given = {name: source[name][...].astype(np.float64) for name in names}
    counts, width = convert(source["data_5d"][...]), abs(given["freq_res"][on[0]])
    offset = (np.arange(counts.shape[0]) - given["ref_channel"][on[0]]) * given["freq_res"][on[0]]
    nus = [given["signal_freq"][on[0]] + offset, given["image_freq"][on[0]] - offset]
    loads = read_loads(calibration, nus, width)
    quantum = Planck * nus[0] / Boltzmann
    t_rec = loads.receiver_temperature(loads.hot, loads.cold)
    difference = loads.hot - loads.cold
    with np.errstate(invalid="ignore"):
        bad = ~(difference > 0.01 * np.nanmedian(difference, axis=0)) | ~(t_rec > 0.0)
        bad |= 2.0 * t_rec > 200.0 * quantum[:, None, None]

    kept = leave_out_spikes(counts[..., off], (1,), width * given["exptime"][off[0]])
    off_mean, off_time = np.nanmean(kept, axis=1), np.isfinite(kept).sum(axis=1) * given["exptime"][off]
    pressure = float(given["pamb"][np.concatenate([on, off])].mean()) * PA_PER_TORR
    bands = [look_up(atm, nu, pressure) for nu in nus]
    airmass = 1.0 / np.sin(given["elevation"])
    fit = prepare_fit(Sky(bands, f_eff, airmass[off], given["tamb"][off]), loads, off_mean, off_time, ~bad, width)
    fit.find()
    pwv_err, pwv_err_model, chi2 = fit.errors()

    weights = interpolate(given["mjd"], on, off)
    reference = off_mean @ weights.T
    tau = bands[0].b[-1] * fit.pwv + bands[0].c[-1]
    seen = np.exp(-np.multiply.outer(tau, airmass[on]))[:, None, None, :]
    t_cal = loads.contrast / (0.5 * f_eff)
    factor = np.where(bad[..., None] | (seen < 1e-3), np.nan, (t_cal / difference)[..., None] / seen)
    spectra = (counts[..., on] - reference[:, None]) * factor[:, None]
    at_ons = Sky(bands, f_eff, airmass[on], weights @ given["tamb"][off])
    t_sys = t_rec[..., None] + at_ons.temperature(fit.pwv)[:, None, None, :]
    time_off = np.stack([(1.0 / off_time) @ (row**2) for row in weights], axis=-1)
    sigma = t_sys / (0.5 * f_eff * seen) * np.sqrt((1.0 / given["exptime"][on] + time_off) / width)
    sigma = np.where(np.isnan(factor), np.nan, sigma)

    noise = fit.variances[0] + fit.share**2 * fit.variances[1] + (1.0 - fit.share) ** 2 * fit.variances[2]
    outlier = 2 * np.sum((fit.downweigh(fit.pwv, noise) == 0) & fit.good, axis=-1) >= off.size
    flags = np.where(np.isnan(factor), 1, 0).astype(np.uint16)[:, None] | np.zeros(spectra.shape, np.uint16)
    flags[np.isnan(counts[..., on]) | np.isnan(reference[:, None])] |= 2
    flags |= np.where(outlier, 256, 0).astype(np.uint16)[:, None, ..., None]
    error, terms = scale_error(
        fit, loads, off_mean, float(given["mjd"][on].mean()), float(airmass[on].mean()), pwv_err, width
    )
    seen_sky = (off_mean - loads.hot[..., None]) / loads.gamma[..., None]
    residual = seen_sky - (fit.sky.temperature(fit.pwv) - loads.t_hot[:, None])[:, None, None, :]
    t_sky = seen_sky.mean(axis=-1) + loads.t_hot[:, None, None]
    times = np.isfinite(spectra).any(axis=(0, 2, 3)).sum(axis=0) * given["exptime"][on]
    results: dict[str, Any] = {
        "spectra": spectra, "flags": flags, "t_sys": t_sys, "sigma": sigma.astype(np.float32), "t_int": times,
        "t_rec_ssb": 2.0 * t_rec, "gamma": loads.gamma, "t_cal": np.broadcast_to(t_cal, t_rec.shape), "t_sky": t_sky,
        "tau_signal": tau, "tau_image": bands[1].b[-1] * fit.pwv + bands[1].c[-1], "pwv": fit.pwv, "pwv_err": pwv_err,
        "pwv_err_model": pwv_err_model, "pwv_chi2": chi2, "sky_residual": residual.mean(axis=-1).astype(np.float32),
        "scale_error": error.astype(np.float32), "scale_error_terms": terms.astype(np.float32),
    }  # fmt: skip
    write(output, results.items())
    return results


def write(output: Path, results: Iterable[tuple[str, Any]]) -> None:
    """Write arrays with zarr-python as it comes."""
    store = zarr.create_group(output, overwrite=True)
    for name, values in results:
        store.create_array(name, data=np.asarray(values))
