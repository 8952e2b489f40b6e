"""The calibration of one scan, written down as naively as the specification reads.

This is a second opinion for tests: nothing here is shared with ``cal_pipeline``. Whole arrays are held in
memory and loops run over subscans, pixels and channels where that is plainer. Axes: C channel, D dump,
R receiver, A array, S subscan.

Where the specification leaves a choice, the choice is named in a comment starting with ``CHOICE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asdf
import numpy as np
import zarr

PLANCK = 6.62607015e-34  # J s, CODATA 2018 (exact)
BOLTZMANN = 1.380649e-23  # J/K, CODATA 2018 (exact)
T_CMB = 2.725  # K
PA_PER_TORR = 101325.0 / 760.0
I32_MIN = np.iinfo(np.int32).min
BAD_CHANNEL = 1
FILL_VALUE = 2
SMOOTHING_CHANNELS = 129


# ---------- small things


def nanmean(values: np.ndarray, axis: Any = None) -> np.ndarray:
    """Mean of the finite values; NaN where there is none, without a warning."""
    values = np.asarray(values, dtype=np.float64)
    valid = np.isfinite(values)
    count = valid.sum(axis=axis)
    total = np.where(valid, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the finite values among the 129 channels around each; the window is cut off at the edges."""
    half = SMOOTHING_CHANNELS // 2
    result = np.empty(len(values))
    for c in range(len(values)):
        result[c] = nanmean(values[max(0, c - half) : c + half + 1])
    return result


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

    def J_cmb(self, nu: np.ndarray) -> np.ndarray:  # noqa: N802
        return self.J(nu, T_CMB) if self.cmb else np.zeros_like(nu)


PHYSICS = {
    "exact": Physics(PLANCK / BOLTZMANN, round_j=False, cmb=True),
    "kalibrate_compat": Physics(0.047995e-9, round_j=True, cmb=False),
}


@dataclass
class Sideband:
    """One sideband: its frequencies, weight and opacity coefficients."""

    nu: np.ndarray  # Hz, [C]
    weight: float
    b: np.ndarray  # Np/mm, [C]
    c: np.ndarray  # Np, [C]

    def tau0(self, pwv: float) -> np.ndarray:
        return self.b * pwv + self.c

    def transmission(self, pwv: float, airmass: float) -> np.ndarray:
        return np.exp(-airmass * self.tau0(pwv))


# ---------- reading L0 (§1)


@dataclass
class Counts:
    """One ``source`` or ``calibration`` group in memory."""

    counts: np.ndarray  # f64, NaN where missing, [C,D,R,A,S]
    mode: list[str]  # [S]
    columns: dict[str, np.ndarray]
    pixel: np.ndarray | None  # [R,A]

    def column(self, name: str, s: int) -> float:
        return float(self.columns[name][s])

    def which(self, *names: str) -> list[int]:
        return [s for s, mode in enumerate(self.mode) if mode in names]

    def valid_dumps(self, s: int, r: int, a: int) -> int:
        # CHOICE: a dump is valid in a pixel when any of its channels there is.
        return int(np.isfinite(self.counts[:, :, r, a, s]).any(axis=0).sum())

    def integration_time(self, s: int, r: int, a: int) -> float:
        return self.column("exptime", s) * self.valid_dumps(s, r, a)


def counts_as_float(array: zarr.Array) -> np.ndarray:
    raw = np.asarray(array[...])
    counts = raw.astype(np.float64)
    if raw.dtype.kind == "i":
        # CHOICE: i32 minimum in any width that can hold it, and a signed type's own minimum.
        counts[(raw == np.iinfo(raw.dtype).min) | (raw.astype(np.int64) == I32_MIN)] = np.nan
    return counts * float(array.attrs.get("scale_factor", 1.0))


def read_group(group: zarr.Group) -> Counts:
    counts = counts_as_float(group["data_5d"])
    _, _, R, A, S = counts.shape
    mode = [str(m).strip() for m in group["sobsmode"][...]]
    columns = {}
    for name in group.array_keys():
        if name in ("data_5d", "sobsmode", "frontend_backends", "raw_fits_headers"):
            continue
        values = np.asarray(group[name][...])
        if values.dtype.kind in "iuf":
            columns[name] = values.astype(np.float64)
    pixel = None
    if "frontend_backends" in group:
        ids = [str(i) for i in group["frontend_backends"][...]]
        if len(ids) == S and S != R * A:
            # CHOICE: one id per subscan: every pixel is called as in the first subscan.
            pixel = np.array([ids[0]] * (R * A)).reshape(R, A)
        else:
            pixel = np.array(ids).reshape(R, A)
    return Counts(counts, mode, columns, pixel)


def open_scan(session_path: Any, scan_number: int, band: int | None) -> zarr.Group:
    path = f"scan_{scan_number:06d}" + ("" if band is None else f"/band_{band}")
    return zarr.open_group(str(session_path), mode="r")[path]


def scan_attributes(session_path: Any, scan_number: int, band: int | None) -> dict[str, Any]:
    attributes = dict(open_scan(session_path, scan_number, None).attrs)
    if band is not None:
        attributes.update(open_scan(session_path, scan_number, band).attrs)
    return attributes


def frequencies(source: Counts, first_on: int) -> tuple[np.ndarray, np.ndarray]:
    offset = np.arange(source.counts.shape[0]) - source.column("ref_channel", first_on)
    shift = source.column("freq_off", first_on) + offset * source.column("freq_res", first_on)
    return source.column("signal_freq", first_on) + shift, source.column("image_freq", first_on) - shift


def is_on(mode: str) -> bool:
    return mode == "ON" or mode.endswith("-ON")


def is_off(mode: str) -> bool:
    return mode == "OFF" or mode.endswith("-OFF")


def beam(mode: str) -> str | None:
    return "A" if "SWA" in mode else "B" if "SWB" in mode else None


def choose_mode(mode: str, instmode: str, sobsmodes: list[str]) -> str:
    if mode != "auto":
        return mode
    if any(beam(m) for m in [instmode, *sobsmodes]):
        return "otf_chopped"
    if instmode.strip() == "OTF" or any(m in ("OTF-ON", "OTF-OFF") for m in sobsmodes):
        return "otf"
    return "total_power"


# ---------- atmosphere table (§3)


def read_atmosphere(path: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    with asdf.open(path, memmap=False) as file:
        frequency = file["frequency"]
        if isinstance(frequency, dict) or hasattr(frequency, "keys"):
            grid = float(frequency["start"]) + float(frequency["step"]) * np.arange(int(frequency["n"]))
        else:
            grid = np.array(frequency, dtype=np.float64)
        pressure = np.array(file["pressure"], dtype=np.float64)
        b = np.array(file["b"]).astype(np.float64)
        c = np.array(file["c"]).astype(np.float64)
    return grid, pressure, b, c


def inside(values: Any, grid: np.ndarray, what: str) -> np.ndarray:
    # CHOICE: the tolerance is 1e-6 of the range's end; what lies within it is set to that end.
    low, high = grid.min(), grid.max()
    values = np.asarray(values, dtype=np.float64)
    if values.min() < low * (1 - 1e-6) or values.max() > high * (1 + 1e-6):
        raise ValueError(f"{what} {values.min()} to {values.max()} outside the table's {low} to {high}")
    return np.clip(values, low, high)


def look_up(table: np.ndarray, grid: np.ndarray, pressures: np.ndarray, nu: np.ndarray, p: float) -> np.ndarray:
    nu = inside(nu, grid, "frequency [Hz]")
    p = float(inside(p, pressures, "pressure [Pa]"))
    at_nu = [np.interp(nu, grid, row) for row in table]
    if len(pressures) == 1:
        return at_nu[0]
    k = min(int(np.searchsorted(pressures, p, side="right")) - 1, len(pressures) - 2)
    x = np.log(p / pressures[k]) / np.log(pressures[k + 1] / pressures[k])
    result = np.empty(len(nu))
    for i, (lower, upper) in enumerate(zip(at_nu[k], at_nu[k + 1], strict=True)):
        if lower > 0 and upper > 0:
            result[i] = np.exp((1 - x) * np.log(lower) + x * np.log(upper))
        else:
            result[i] = (1 - x) * lower + x * upper
    return result


# ---------- sky model (§3)


@dataclass
class Model:
    """Everything that turns a PWV into temperatures, for one pixel."""

    sidebands: list[Sideband]
    physics: Physics
    f_eff: float

    def load(self, temperature: float) -> np.ndarray:
        """T'_X of the specification [K]."""
        return sum(sb.weight * self.physics.J(sb.nu, temperature) for sb in self.sidebands)

    def sky(self, pwv: float, airmass: float, t_atm: float, t_spill: float) -> np.ndarray:
        """What the receiver looks at on blank sky, DSB [K]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            t_r = sb.transmission(pwv, airmass)
            emission = self.physics.J(sb.nu, t_atm) * (1 - t_r) + self.physics.J_cmb(sb.nu) * t_r
            total += sb.weight * (self.f_eff * emission + (1 - self.f_eff) * self.physics.J(sb.nu, t_spill))
        return total

    def sky_slope(self, pwv: float, airmass: float, t_atm: float) -> np.ndarray:
        """d sky / d pwv [K/mm]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            contrast = self.physics.J(sb.nu, t_atm) - self.physics.J_cmb(sb.nu)
            total += sb.weight * contrast * airmass * sb.b * sb.transmission(pwv, airmass)
        return self.f_eff * total

    def sigma_mod(self, pwv: float, airmass: float, t_atm: float, model_error: float) -> np.ndarray:
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            opacity = airmass * sb.tau0(pwv)
            total += sb.weight * self.physics.J(sb.nu, t_atm) * opacity * np.exp(-opacity)
        return model_error * self.f_eff * total


# ---------- loads (§2)


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


def divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return x / y


def evaluate_loads(
    calibration: Counts, zero: np.ndarray, r: int, a: int, model: Model, eta: float, clip: tuple[float, float]
) -> Loads:
    """Section 2 for the pixel (r, a)."""
    clip_counts, clip_tsys = clip
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
        | (difference < clip_counts * median)
        | (t_rec_ssb <= 0)
        | (t_rec_ssb > clip_tsys * model.physics.h_over_k * nu_s)
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
        t_cal=(tp_hot - tp_cold) / (w_s * model.f_eff * eta),
        bad=bad,
    )


# ---------- PWV fit (§3)


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
    t_atm: float
    t_spill: float
    good: np.ndarray

    def residual(self, pwv: float) -> np.ndarray:
        s_model = self.model.sky(pwv, self.airmass, self.t_atm, self.t_spill) - self.tp_hot
        return divide(self.off_minus_hot - self.gamma * s_model, self.gamma_smooth)[self.good]

    def slope(self, pwv: float, jacobian: str) -> np.ndarray:
        """Minus d residual / d pwv: K/mm."""
        gamma = self.gamma if jacobian == "raw" else self.gamma_smooth
        slope = self.model.sky_slope(pwv, self.airmass, self.t_atm)
        return divide(gamma * slope, self.gamma_smooth)[self.good]

    def sigma_mod(self, pwv: float, model_error: float) -> np.ndarray:
        return self.model.sigma_mod(pwv, self.airmass, self.t_atm, model_error)[self.good]

    def weight(self, pwv: float, model_error: float) -> np.ndarray:
        radiometric = self.var_off + self.a**2 * self.var_hot + (1 - self.a) ** 2 * self.var_cold
        return 1 / (radiometric[self.good] + self.sigma_mod(pwv, model_error) ** 2)


def prepare_sky(
    model: Model, pixel: tuple[int, int, int], loads: Loads, off: np.ndarray, time_off: float, B: float,
    airmass: float, t_atm: float, t_spill: float,
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
        t_atm=t_atm,
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


def gauss_newton_step(data: list[SkyData], pwv: float, model_error: float, jacobian: str) -> float:
    gradient = curvature = 0.0
    for d in data:
        w, slope = d.weight(pwv, model_error), d.slope(pwv, jacobian)
        gradient += float(np.sum(w * slope * d.residual(pwv)))
        curvature += float(np.sum(w * slope**2))
    return gradient / curvature if curvature > 0 else 0.0


def fit_errors(data: list[SkyData], pwv: float, model_error: float, jacobian: str) -> tuple[float, float]:
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
            g, w, slope = d.good, d.weight(pwv, model_error), d.slope(pwv, jacobian)
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


def fit_pwv(
    data: list[SkyData],
    bounds: tuple[float, float],
    grid_steps: int,
    model_error: float,
    jacobian: str = "raw",
) -> Fit:
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
        step = gauss_newton_step(data, pwv, model_error, jacobian)
        pwv = float(np.clip(pwv + step, bounds[0], bounds[1]))
        if abs(pwv - previous) <= 1e-14 * pwv:
            converged = True
            break
    converged = converged or abs(pwv - previous) <= 1e-12 * pwv
    err, err_model = fit_errors(data, pwv, model_error, jacobian)
    chi2 = chi_square(data, pwv, model_error) / (N - 1) if N > 1 else np.nan
    return Fit(pwv, err, err_model, chi2, converged)


# ---------- references (§4)


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


# ---------- gain drift (§5)


def later_zero(calibration: Counts, r: int, a: int) -> np.ndarray:
    zeros = calibration.which("ZERO")
    if not zeros:
        return np.zeros(calibration.counts.shape[0])
    zero = nanmean(calibration.counts[:, :, r, a, zeros], axis=(1, 2))
    return np.where(np.isfinite(zero), zero, 0.0)


def undrift(counts: np.ndarray, when: float, first: Loads, last: Loads, before: Counts, after: Counts) -> np.ndarray:
    """Counts (C, D) as the receiver would have given them at the time of the first loads."""
    hot_2 = last.hot + last.gamma * (first.tp_hot - last.tp_hot)
    cold_2 = last.cold + last.gamma * (first.tp_cold - last.tp_cold)

    def at(names: tuple[str, ...], one: np.ndarray, two: np.ndarray) -> np.ndarray:
        t_1, t_2 = (float(np.mean(c.columns["mjd"][c.which(*names)])) for c in (before, after))
        return one + (when - t_1) / (t_2 - t_1) * (two - one)

    hot, cold = at(("HOT",), first.hot, hot_2), at(("COL", "COLD"), first.cold, cold_2)
    # CHOICE: where the loads say nothing the counts stay as they are; such a channel is bad anyway.
    known = (first.hot > first.cold) & (hot_2 > cold_2) & (hot > cold)
    corrected = first.cold[:, None] + (counts - cold[:, None]) * divide(first.hot - first.cold, hot - cold)[:, None]
    return np.where(known[:, None], corrected, counts)


# ---------- dual beam switch (§5) and diagnostics (§6)


def partners(result: dict[str, Any]) -> dict[int, int]:
    """For each A group, by its place among the ONs, the B group that it is merged with."""
    beams, mjd = result["_beam"], result["mjd"]
    a, b = ([i for i, name in enumerate(beams) if name == wanted] for wanted in "AB")
    found: dict[int, int] = {}
    while a and b:
        # CHOICE: the nearest two first; the distance in whole milliseconds, so that rounding of MJD decides nothing.
        best = min((round(abs(mjd[i] - mjd[j]) * 86400e3), mjd[i], mjd[j], i, j) for i in a for j in b)
        found[best[3]] = best[4]
        a.remove(best[3])
        b.remove(best[4])
    return found


def couple(result: dict[str, Any]) -> dict[str, Any]:
    """What DBS makes of a chopped scan."""
    pairs = partners(result)
    stay = [i for i in range(len(result["_ons"])) if i not in pairs.values()]
    out = {name: np.array(values[..., stay]) for name, values in result.items() if name in ON_ARRAYS}
    for name in ("tau_signal", "tau_image", "pwv", "pwv_err", "pwv_err_model", "pwv_chi2"):
        if result[name].ndim == (4 if name.startswith("tau") else 3):
            out[name] = result[name][..., stay]
    for position, i in enumerate(stay):
        if i in pairs:
            j = pairs[i]
            out["spectra"][..., position] = 0.5 * (result["spectra"][..., i] + result["spectra"][..., j])
            out["flags"][..., position] = result["flags"][..., i] | result["flags"][..., j]
            out["t_sys"][..., position] = 0.5 * (result["t_sys"][..., i] + result["t_sys"][..., j])
            sigma_a, sigma_b = result["sigma"][..., i], result["sigma"][..., j]
            out["sigma"][..., position] = 0.5 * np.sqrt(sigma_a**2 + sigma_b**2)
            out["t_int"][position] = result["t_int"][i] + result["t_int"][j]
    return {**result, **out}


ON_ARRAYS = ("spectra", "t_sys", "sigma", "t_int", "flags", "mjd", "elevation", "otf_lon", "otf_lat", "otf_airmass")


def sky_entries(result: dict[str, Any], coupled: bool) -> list[tuple[int, float, np.ndarray]]:
    """Subscan, MJD and S_obs (C, R, A) of each sky that SKYDIFF compares."""
    mjd, offs = result["_all_mjd"], sorted(result["_offs"], key=lambda k: result["_all_mjd"][k])
    if not result["_chopped"]:
        return [(k, mjd[k], s_obs(result, [k])) for k in offs]
    pairs = partners(result) if coupled else {}
    entries = []
    for i, k in enumerate(result["_group_off"]):
        if i not in pairs.values():
            both = [k, result["_group_off"][pairs[i]]] if i in pairs else [k]
            entries.append((k, float(np.mean([mjd[x] for x in both])), s_obs(result, both)))
    return entries


def s_obs(result: dict[str, Any], offs: list[int]) -> np.ndarray:
    out = np.full(result["gamma"].shape, np.nan)
    for (r, a), load in result["_loads"].items():
        mean = sum(result["_off_mean"][r, a, k] for k in offs) / len(offs)
        out[:, r, a] = np.where(load.bad, np.nan, divide(mean - load.hot, load.gamma))
    return out


def chop_differences(result: dict[str, Any], coupled: bool) -> dict[str, np.ndarray]:
    """Every ``spectrum_<on>_<j>`` (C, R, A) of SKYCHOPDIFF."""
    pairs = partners(result) if coupled else {}
    counts, out = result["_counts"], {}
    for i, on in enumerate(result["_ons"]):
        if i in pairs.values():
            continue
        both = [result["_group_off"][i]] + ([result["_group_off"][pairs[i]]] if i in pairs else [])
        sky = sum(counts[..., k] for k in both) / len(both)
        for j in range(1, counts.shape[1]):
            spectrum = np.full(result["gamma"].shape, np.nan)
            for r, a in result["_loads"]:
                spectrum[:, r, a] = (sky[:, 0, r, a] - sky[:, j, r, a]) * result["_factors"][r, a, on]
            out[f"spectrum_{on}_{j}"] = spectrum
    return out


# ---------- a scan (§5)


def evaluate_scan(
    session_path: Any,
    scan_number: int,
    atm_path: Any,
    *,
    band: int | None = None,
    calibration: tuple[Any, int] | None = None,
    image_gain: float = 1.0,
    forward_efficiency: Any = 1.0,
    eta_fss: float = 1.0,
    gain_el_correction: float = 1.0,
    clip_counts: float = 0.01,
    clip_tsys: float = 200.0,
    min_transmission: float = 1e-3,
    strategy: str = "full",
    pwv: float | None = None,
    pwv_min: float = 0.001,
    pwv_max: float = 10.0,
    pwv_grid_steps: int = 100,
    model_error: float = 0.03,
    airmass: str = "subscan",
    t_atm: float | None = None,
    t_spill: float | None = None,
    mode: str = "auto",
    physics: str = "exact",
    jacobian: str = "raw",
    t_sys_tamb: str = "nearest_off",
    gain_level: int = 0,
    following: tuple[Any, int] | None = None,
    linked: list[SkyData] | None = None,
) -> dict[str, Any]:
    """Calibrate one scan.

    Keys are the names of the L1 arrays, all floats f64 (`sigma` and `sky_residual` are not rounded to f32);
    `pwv_converged` beside them says whether each fit reached its fixed point.

    Two keywords try out what the specification leaves open: `jacobian` raw (the derivative of the residual as
    it is written, with the channel's own gamma) or smooth (gamma_smooth instead), and `t_sys_tamb`, which
    subscan's `tamb` stands for t_atm and t_spill in t_sys when they are None: nearest_off, mean_off,
    interpolated (as REF) or on.

    `following` is the store and scan with the loads after the scan, for `gain_level` 2 or 3; `linked` is the sky of the
    other bands (``_sky_data`` of their results), to be fitted jointly under `strategy` full. Keys that start with an
    underscore are what :func:`couple`, :func:`sky_entries` and :func:`chop_differences` start from.
    """
    phys = PHYSICS[physics]
    if physics == "kalibrate_compat":
        airmass = "scan"
    scan = open_scan(session_path, scan_number, band)
    source = read_group(scan["source"])
    load_scan = scan if calibration is None else open_scan(calibration[0], calibration[1], band)
    cal = read_group(load_scan["calibration"])
    C, D, R, A, _ = source.counts.shape
    mjd = source.columns["mjd"]

    # --- what is an ON, what an OFF
    attributes = scan_attributes(session_path, scan_number, band)
    mode = choose_mode(mode, str(attributes.get("instmode") or ""), source.mode)
    chopped = mode == "otf_chopped"
    subscans = [s for s, m in enumerate(source.mode) if not chopped or beam(m)]
    ons = [s for s in subscans if is_on(source.mode[s])]
    offs = [s for s in subscans if is_off(source.mode[s])]
    if not ons or not offs:
        raise ValueError(f"the scan needs an ON and an OFF, it has {source.mode}")
    group_off: dict[int, int] = {}  # the OFF of an ON, whatever the pixel
    for on in ons:
        candidates = [s for s in offs if not chopped or beam(source.mode[s]) == beam(source.mode[on])]
        if not candidates:
            raise ValueError(f"no OFF of beam {beam(source.mode[on])}")
        group_off[on] = nearest(candidates, mjd, mjd[on])

    # --- frequencies, atmosphere table, sidebands
    nu_s, nu_i = frequencies(source, ons[0])
    B = abs(source.column("freq_res", ons[0]))
    pressure = float(np.mean([source.column("pamb", s) for s in ons + offs])) * PA_PER_TORR
    grid, pressures, table_b, table_c = read_atmosphere(atm_path)
    w_s, w_i = 1 / (1 + image_gain), image_gain / (1 + image_gain)

    def sideband(nu: np.ndarray, weight: float) -> Sideband:
        b = look_up(table_b, grid, pressures, nu, pressure)
        c = look_up(table_c, grid, pressures, nu, pressure)
        return Sideband(nu, weight, b, c)

    sidebands = [sideband(nu_s, w_s)]
    if image_gain != 0:
        sidebands.append(sideband(nu_i, w_i))
    eta = eta_fss * gain_el_correction
    f_effs = np.broadcast_to(np.asarray(forward_efficiency, dtype=np.float64), (A,))
    models = [Model(sidebands, phys, float(f)) for f in f_effs]

    # --- ZERO. CHOICE: mean over dumps and subscans, channel by channel; where missing, 0.
    zeros = cal.which("ZERO")
    zero = np.zeros((C, R, A))
    if zeros:
        zero = nanmean(cal.counts[..., zeros], axis=(1, 4))
        zero[~np.isfinite(zero)] = 0.0
    counts = source.counts - zero[:, None, :, :, None]

    # --- loads and sky, pixel by pixel
    airmass_of = {s: 1 / np.sin(source.column("elevation", s)) for s in ons + offs}
    mean_on_airmass = float(np.mean([airmass_of[s] for s in ons]))
    pixels = [(r, a) for r in range(R) for a in range(A)]
    loads = {
        (r, a): evaluate_loads(cal, zero[:, r, a], r, a, models[a], eta, (clip_counts, clip_tsys)) for r, a in pixels
    }
    if gain_level and following is not None:
        later = read_group(open_scan(following[0], following[1], band)["calibration"])
        for r, a in pixels:
            after = evaluate_loads(later, later_zero(later, r, a), r, a, models[a], eta, (clip_counts, clip_tsys))
            for s in ons + (offs if gain_level == 3 else []):
                counts[:, :, r, a, s] = undrift(counts[:, :, r, a, s], mjd[s], loads[r, a], after, cal, later)
    off_mean = {(r, a, k): nanmean(counts[:, :, r, a, k], axis=1) for r, a in pixels for k in offs}
    valid_offs = {(r, a): [k for k in offs if source.valid_dumps(k, r, a) > 0] for r, a in pixels}

    def temperature(parameter: float | None, tamb: float) -> float:
        return tamb if parameter is None else float(parameter)

    sky: dict[tuple[int, int, int], SkyData] = {}
    for r, a in pixels:
        for k in valid_offs[r, a]:
            tamb = source.column("tamb", k)
            sky[r, a, k] = prepare_sky(
                models[a], (band or 0, r, a), loads[r, a], off_mean[r, a, k], source.integration_time(k, r, a), B,
                airmass_of[k], temperature(t_atm, tamb), temperature(t_spill, tamb),
            )  # fmt: skip

    # --- the PWV, one for each ON and pixel and one for each OFF and pixel, whatever the strategy
    def fit(data: list[SkyData]) -> Fit:
        return fit_pwv(data, (pwv_min, pwv_max), pwv_grid_steps, model_error, jacobian)

    fit_on: dict[tuple[int, int, int], Fit] = {}
    fit_off: dict[tuple[int, int, int], Fit] = {}
    if strategy in ("full", "fixed"):
        if strategy == "fixed":
            if pwv is None:
                raise ValueError("strategy fixed needs a pwv")
            common = Fit(float(pwv))  # CHOICE: nothing was fitted, so errors and chi² are NaN
        else:
            common = fit(list(sky.values()) + (linked or []))
        fit_on = {(r, a, on): common for r, a in pixels for on in ons}
        fit_off = dict.fromkeys(sky, common)
        fits = np.array(common, dtype=object)
    elif strategy == "per_pixel":
        fits = np.empty((R, A), dtype=object)
        for r, a in pixels:
            fits[r, a] = fit([sky[r, a, k] for k in valid_offs[r, a]])
            fit_on.update({(r, a, on): fits[r, a] for on in ons})
            fit_off.update({(r, a, k): fits[r, a] for k in valid_offs[r, a]})
    elif strategy == "per_pair":
        fits = np.empty((R, A, len(ons)), dtype=object)
        for r, a in pixels:
            for i, on in enumerate(ons):
                # CHOICE: not chopped, an OFF without a valid dump in the pixel is passed over as for REF.
                k = group_off[on] if chopped else None
                if not chopped and valid_offs[r, a]:
                    k = nearest(valid_offs[r, a], mjd, mjd[on])
                fits[r, a, i] = fit([sky[r, a, k]]) if (r, a, k) in sky else Fit(np.nan)
                fit_on[r, a, on] = fits[r, a, i]
                if (r, a, k) in sky:
                    fit_off[r, a, k] = fits[r, a, i]
    else:
        raise ValueError(f"strategy {strategy!r}")

    def collect(name: str, dtype: Any = np.float64) -> np.ndarray:
        return np.array([getattr(f, name) for f in fits.ravel()], dtype=dtype).reshape(fits.shape)

    # --- spectra, t_sys, sigma, flags
    S = len(ons)
    factors: dict[tuple[int, int, int], np.ndarray] = {}
    spectra = np.full((C, D, R, A, S), np.nan)
    flags = np.zeros((C, D, R, A, S), dtype=np.uint16)
    t_sys = np.full((C, R, A, S), np.nan)
    sigma = np.full((C, R, A, S), np.nan)
    t_sky = np.full((C, R, A), np.nan)
    sky_residual = np.full((C, R, A), np.nan)

    for r, a in pixels:
        load, model = loads[r, a], models[a]
        for i, on in enumerate(ons):
            p = fit_on[r, a, on].pwv
            air = mean_on_airmass if airmass == "scan" else airmass_of[on]
            t_r = sidebands[0].transmission(p, air)
            bad = load.bad | (t_r < min_transmission)

            # REF [C,D] and its noise relative to t_sys²/B
            if chopped:
                k = group_off[on]
                weights = {k: 1.0}
                ref = counts[:, :, r, a, k]
                ref_noise = 1 / source.column("exptime", k)
            else:
                weights = interpolation_weights(on, valid_offs[r, a], mjd)
                ref = np.full((C, D), np.nan)
                ref_noise = np.nan
                if weights:
                    mean = sum(weight * off_mean[r, a, k] for k, weight in weights.items())
                    ref = np.repeat(mean[:, None], D, axis=1)
                    ref_noise = sum(w**2 / source.integration_time(k, r, a) for k, w in weights.items())

            if t_sys_tamb == "on":
                tamb = source.column("tamb", on)
            elif t_sys_tamb == "mean_off":
                tamb = float(np.mean([source.column("tamb", k) for k in offs]))
            elif t_sys_tamb == "interpolated":
                tamb = sum(w * source.column("tamb", k) for k, w in weights.items()) if weights else np.nan
            else:  # CHOICE: for an ON, the tamb of the OFF nearest in MJD (chopped: the group's)
                tamb = source.column("tamb", group_off[on])

            sky_input = model.sky(p, air, temperature(t_atm, tamb), temperature(t_spill, tamb))
            t_sys[:, r, a, i] = load.t_rec_dsb + sky_input
            relative = np.sqrt((1 / source.column("exptime", on) + ref_noise) / B)
            noise = divide(t_sys[:, r, a, i], w_s * model.f_eff * eta * t_r) * relative
            sigma[:, r, a, i] = np.where(bad, np.nan, noise)

            on_counts = counts[:, :, r, a, on]
            missing = ~np.isfinite(on_counts) | ~np.isfinite(ref)
            factor = divide(divide(load.t_cal, load.hot - load.cold), t_r)
            factors[r, a, on] = np.where(bad, np.nan, factor)
            t_a = (on_counts - ref) * factor[:, None]
            flags[:, :, r, a, i] = np.where(bad[:, None], BAD_CHANNEL, 0) | np.where(missing, FILL_VALUE, 0)
            spectra[:, :, r, a, i] = np.where(flags[:, :, r, a, i] == 0, t_a, np.nan)

        s_obs = {k: divide(off_mean[r, a, k] - load.hot, load.gamma) for k in valid_offs[r, a]}
        if s_obs:
            t_sky[:, r, a] = nanmean(np.array(list(s_obs.values())), axis=0) + load.tp_hot
        # CHOICE: per_pair averages over the OFFs that were fitted, each counted once.
        residuals = []
        for k in (k for k in valid_offs[r, a] if (r, a, k) in fit_off):
            d = sky[r, a, k]
            s_model = model.sky(fit_off[r, a, k].pwv, d.airmass, d.t_atm, d.t_spill) - load.tp_hot
            residuals.append(s_obs[k] - s_model)
        if residuals:
            sky_residual[:, r, a] = nanmean(np.array(residuals), axis=0)

    # --- zenith opacity in the shape of the strategy: [C], [C,R,A] or [C,R,A,S]
    def tau(nu_b: np.ndarray, nu_c: np.ndarray) -> np.ndarray:
        values = collect("pwv")
        extra = (slice(None),) + (None,) * values.ndim
        return nu_b[extra] * values[None] + nu_c[extra]

    def per_pixel(name: str) -> np.ndarray:
        out = np.empty((C, R, A))
        for r, a in pixels:
            out[:, r, a] = getattr(loads[r, a], name)
        return out

    tau_signal = tau(sidebands[0].b, sidebands[0].c)
    tau_image = tau(sidebands[1].b, sidebands[1].c) if image_gain != 0 else np.full_like(tau_signal, np.nan)
    result = {
        "spectra": spectra,
        "t_sys": t_sys,
        "sigma": sigma,
        "t_int": np.array(
            [source.column("exptime", s) * np.isfinite(counts[..., s]).any(axis=(0, 2, 3)).sum() for s in ons]
        ),
        "t_rec_ssb": per_pixel("t_rec_ssb"),
        "gamma": per_pixel("gamma"),
        "t_cal": per_pixel("t_cal"),
        "t_sky": t_sky,
        "tau_signal": tau_signal,
        "tau_image": tau_image,
        "pwv": collect("pwv"),
        "pwv_err": collect("err"),
        "pwv_err_model": collect("err_model"),
        "pwv_chi2": collect("chi2"),
        "pwv_converged": collect("converged", bool),
        "sky_residual": sky_residual,
        "flags": flags,
        "signal_freqs": nu_s,
        "image_freqs": nu_i,
        "mjd": mjd[ons],
        "elevation": source.columns["elevation"][ons],
        "pixel": source.pixel,
        "_sky_data": list(sky.values()),
        "_counts": counts,
        "_off_mean": off_mean,
        "_loads": loads,
        "_factors": factors,
        "_all_mjd": mjd,
        "_ons": ons,
        "_offs": offs,
        "_chopped": chopped,
        "_group_off": [group_off[on] for on in ons],
        "_beam": [beam(source.mode[on]) for on in ons],
    }
    if mode in ("otf", "otf_chopped"):
        for name in ("otf_lon", "otf_lat"):
            if name in source.columns:
                value = source.columns[name][..., ons]
                result[name] = np.broadcast_to(value, (D, S)).copy()
        result["otf_airmass"] = np.broadcast_to([airmass_of[s] for s in ons], (D, S)).copy()
    return result
