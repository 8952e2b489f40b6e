"""The calibration of one scan, from L0 to the arrays of L1 (section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .basics import PHYSICS, divide, leave_out_spikes, nanmean
from .counts import PA_PER_TORR, Counts, frequencies, open_scan, read_group, scan_attributes
from .drift import later_zero, undrift
from .dump_noise import DumpNoise, measure_dump_noise
from .loads import Loads, evaluate_loads
from .monitors import FittedOff, load_age, monitor, ref_extrapolated
from .options import Options
from .pwv import SkyData, noise_of_loads, prepare_sky
from .references import interpolation_weights
from .scale_error import LaterLoads, pixel_terms, scale_errors
from .selection import Selection, select_subscans
from .sky import Model, Sideband
from .strategies import Fits, Skies, fit_scan, valid_offs
from .table import read_atmosphere

BAD_CHANNEL = 1
FILL_VALUE = 2
SKY_OUTLIER = 256
NOISY = 512


@dataclass
class Scan:
    """Quantities read and derived before the PWV is known."""

    source: Counts
    calibration: Counts
    selection: Selection
    options: Options
    models: list[Model]  # [A]
    zero: np.ndarray  # [C,R,A]
    counts: np.ndarray  # without zero, and without drift where that is corrected; [C,D,R,A,S]
    bandwidth: float  # Hz
    loads: dict[tuple[int, int], Loads]
    off_mean: dict[tuple[int, int, int], np.ndarray]
    off_time: dict[tuple[int, int, int], np.ndarray]  # s, of the samples in the mean
    skies: Skies
    later: dict[tuple[int, int], LaterLoads]
    off_spikes: dict[tuple[int, int], int]
    dump_noise: dict[tuple[int, int], DumpNoise]

    @property
    def pixels(self) -> list[tuple[int, int]]:
        return list(np.ndindex(self.counts.shape[2:4]))

    def tamb(self, s: int) -> float:
        return self.source.column("tamb", s)


def evaluate_scan(
    session_path: Any,
    scan_number: int,
    atm_path: Any,
    *,
    band: int | None = None,
    loads_of: int | None = None,
    following: tuple[Any, int] | None = None,
    linked: list[SkyData] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Calibrate one scan.

    Keys are the names of the L1 arrays, all floats f64 (`sigma` and `sky_residual` are not rounded to f32);
    `pwv_converged` beside them says whether each fit reached its fixed point.

    `loads_of` is the scan that has the loads, if it is another; `following` is the store and scan with the loads after
    the scan, used whatever `gain_level` for the error of the gain; `linked` is the sky of the other bands
    (``_sky_data`` of their results), to be fitted jointly under `strategy` full; the other keywords are
    :class:`Options`. Keys that start with an underscore are what :func:`couple`, :func:`sky_entries` and
    :func:`chop_differences` start from, what the errors of the scale are made of, and the figures of section 6.
    """
    scan = read_scan(session_path, scan_number, atm_path, band, loads_of, following, Options(**options))
    fits = fit_scan(scan.skies, scan.counts.shape[2:4], scan.selection, scan.options, linked)
    calibrated, factors = calibrate(scan, fits)
    t_sky, sky_residual = compare_sky(scan, fits)
    signal, *image = scan.models[0].sidebands
    tau_signal = fits.opacity(signal.b, signal.c)
    nu_s, nu_i = frequencies(scan.source, scan.selection.ons[0])
    return {
        **calibrated,
        **errors_of_scale(scan, fits),
        **{name: per_pixel(scan, name) for name in ("t_rec_ssb", "gamma", "t_cal")},
        "t_sky": t_sky,
        "tau_signal": tau_signal,
        "tau_image": fits.opacity(image[0].b, image[0].c) if image else np.full_like(tau_signal, np.nan),
        "pwv": fits.collect("pwv"),
        "pwv_err": fits.collect("err"),
        "pwv_err_model": fits.collect("err_model"),
        "pwv_chi2": fits.collect("chi2"),
        "pwv_converged": fits.collect("converged", bool),
        "sky_residual": sky_residual,
        "signal_freqs": nu_s,
        "image_freqs": nu_i,
        **coordinates(scan, calibrated["flags"]),
        **intermediate(scan, factors),
        "_figures": figures(scan, fits),
    }


# ---------- before the PWV is known


def read_scan(
    session_path: Any,
    scan_number: int,
    atm_path: Any,
    band: int | None,
    loads_of: int | None,
    following: tuple[Any, int] | None,
    options: Options,
) -> Scan:
    source = read_group(open_scan(session_path, scan_number, band)["source"], options.saturation_counts)
    with_loads = open_scan(session_path, scan_number if loads_of is None else loads_of, band)
    cal = read_group(with_loads["calibration"], options.saturation_counts)
    if loads_of is not None:
        cal.order_pixels(source.pixel)
    instmode = str(scan_attributes(session_path, scan_number, band).get("instmode") or "")
    selection = select_subscans(source, options.mode, instmode)
    models = make_models(source, selection, atm_path, options)
    zero = zero_level(cal)
    scan = Scan(
        source, cal, selection, options, models, zero,
        counts=source.counts - zero[:, None, :, :, None],
        bandwidth=abs(source.column("freq_res", selection.ons[0])),
        loads={}, off_mean={}, off_time={}, skies={}, later={}, off_spikes={}, dump_noise={},
    )  # fmt: skip
    for r, a in scan.pixels:
        scan.loads[r, a] = loads_of_pixel(scan, cal, zero[:, r, a], r, a)
        scan.later[r, a] = LaterLoads(np.nan, removed=False)
    if following is not None:
        following_group = open_scan(following[0], following[1], band)["calibration"]
        take_out_drift(scan, read_group(following_group, options.saturation_counts))
    for r, a in scan.pixels:
        average_offs(scan, r, a, band or 0)
    return scan


def make_models(source: Counts, selection: Selection, atm_path: Any, options: Options) -> list[Model]:
    """The sky model of each array."""
    nu_s, nu_i = frequencies(source, selection.ons[0])
    pressure = float(np.mean([source.column("pamb", s) for s in selection.ons + selection.offs])) * PA_PER_TORR
    table = read_atmosphere(atm_path)
    n_arrays = source.counts.shape[3]
    gains = options.image_gains(n_arrays)

    def sideband(nu: np.ndarray, weight: float) -> Sideband:
        b, c, offset = table.layers(nu, pressure)
        if options.isothermal:
            b, c, offset = b[-1:], c[-1:], np.zeros(1)
        return Sideband(nu, weight, b, c, offset)

    models = []
    for gain, f_eff in zip(gains, options.efficiencies(n_arrays), strict=True):
        sidebands = [sideband(nu_s, 1 / (1 + gain))]
        # CHOICE: the image band is looked up, and tau_image is given, when any array sees it.
        if gains.any():
            sidebands.append(sideband(nu_i, gain / (1 + gain)))
        models.append(Model(sidebands, PHYSICS[options.physics], float(f_eff), float(gain)))
    return models


def zero_level(calibration: Counts) -> np.ndarray:
    # CHOICE: mean over dumps and subscans, channel by channel; where missing, 0.
    zeros = calibration.which("ZERO")
    C, _, R, A, _ = calibration.counts.shape
    if not zeros:
        return np.zeros((C, R, A))
    zero = nanmean(calibration.counts[..., zeros], axis=(1, 4))
    zero[~np.isfinite(zero)] = 0.0
    return zero


def loads_of_pixel(scan: Scan, calibration: Counts, zero: np.ndarray, r: int, a: int) -> Loads:
    tamb_elsewhere = float(nanmean(scan.source.columns["tamb"]))
    return evaluate_loads(
        calibration, zero, r, a, scan.models[a], scan.options, scan.bandwidth, tamb_elsewhere
    )  # fmt: skip


def take_out_drift(scan: Scan, later: Counts) -> None:
    """Bring the counts of ONs at level 2, of ONs and OFFs at level 3, to the gain of the first loads."""
    level = scan.options.gain_level
    subscans = {0: [], 2: scan.selection.ons, 3: scan.selection.ons + scan.selection.offs}[level]
    for r, a in scan.pixels:
        first, after = scan.loads[r, a], loads_of_pixel(scan, later, later_zero(later, r, a), r, a)
        good = ~first.bad & ~after.bad
        # CHOICE: a pixel without later loads stays as it is.
        if not np.isfinite(after.gamma).any():
            continue
        drift = float(np.median((after.gamma / first.gamma - 1)[good])) if good.any() else np.nan
        scan.later[r, a] = LaterLoads(drift, removed=level == 3)
        if level:
            # CHOICE: a channel that the later loads cannot calibrate is bad.
            first.bad = first.bad | after.bad
        for s in subscans:
            counts, when = scan.counts[:, :, r, a, s], scan.selection.mjd[s]
            scan.counts[:, :, r, a, s] = undrift(counts, when, scan.loads[r, a], after, scan.calibration, later)


def average_offs(scan: Scan, r: int, a: int, band: int) -> None:
    """Means, spikes, noise and sky of the OFFs of a pixel."""
    selection, source, recorded = scan.selection, scan.source, []
    scan.off_spikes[r, a] = 0
    for k in selection.offs:
        counts = source.counts[:, :, r, a, k] - scan.zero[:, None, r, a]
        if not selection.chopped:
            exptime = np.full(counts.shape[1], source.column("exptime", k))
            # CHOICE: spikes are looked for before any drift is taken out, and have no differences either.
            counts = leave_out_spikes(counts, exptime, scan.bandwidth, scan.options.clip_sigma)
        recorded.append(counts)
        spike = np.isfinite(source.counts[:, :, r, a, k]) & ~np.isfinite(counts)
        scan.off_spikes[r, a] += int(spike.sum())
        scan.off_mean[r, a, k] = nanmean(np.where(spike, np.nan, scan.counts[:, :, r, a, k]), axis=1)
        # CHOICE: valid dumps are counted channel by channel, without spikes.
        scan.off_time[r, a, k] = source.column("exptime", k) * np.isfinite(counts).sum(axis=1)
        if scan.off_time[r, a, k].any():
            scan.skies[r, a, k] = look_at_sky(scan, r, a, k, band)
    if not selection.chopped:
        exptimes = [source.column("exptime", k) for k in selection.offs]
        scan.dump_noise[r, a] = measure_dump_noise(recorded, exptimes, scan.loads[r, a], scan.bandwidth)


def look_at_sky(scan: Scan, r: int, a: int, k: int, band: int) -> SkyData:
    tamb = scan.tamb(k)
    return prepare_sky(
        scan.models[a], (band, r, a), scan.loads[r, a], scan.off_mean[r, a, k],
        scan.off_time[r, a, k], scan.bandwidth, scan.selection.airmass[k],
        scan.options.ground_temperature(tamb), scan.options.spillover_temperature(tamb),
    )  # fmt: skip


# ---------- spectra, t_sys, sigma, flags


@dataclass
class Reference:
    """REF [C,D] of an ON in a pixel, its noise [C] relative to t_sys²/B [1/s], and the ambient temperature [K].

    `parts` is the noise that each OFF brings, on average over the channels.
    """

    counts: np.ndarray
    noise: np.ndarray | float
    tamb: float
    parts: dict[int, float]


def reference_of(scan: Scan, r: int, a: int, on: int) -> Reference:
    C, D = scan.counts.shape[:2]
    if scan.selection.chopped:
        k = scan.selection.group_off[on]
        noise = 1 / scan.source.column("exptime", k)
        return Reference(scan.counts[:, :, r, a, k], noise, scan.tamb(k), {k: noise})
    weights = interpolation_weights(on, valid_offs(scan.skies, (r, a), scan.selection), scan.selection.mjd)
    if not weights:
        return Reference(np.full((C, D), np.nan), np.nan, np.nan, {})
    mean = sum(weight * scan.off_mean[r, a, k] for k, weight in weights.items())
    noise = sum(divide(w**2, scan.off_time[r, a, k]) for k, w in weights.items())
    # CHOICE: for an ON, tamb is interpolated as REF is.
    tamb = sum(w * scan.tamb(k) for k, w in weights.items())
    # CHOICE: a share has no channels; the time is that of the channels which have any.
    times = {k: scan.off_time[r, a, k] for k in weights}
    parts = {k: w**2 / times[k][times[k] > 0].mean() for k, w in weights.items() if w > 0}
    return Reference(np.repeat(mean[:, None], D, axis=1), noise, tamb, parts)


def sky_outliers(scan: Scan, fits: Fits) -> dict[tuple[int, int], np.ndarray]:
    """Channels [C] of each pixel that have no weight in at least half of the OFFs in which it was fitted."""
    found = {}
    for pixel in scan.pixels:
        offs = [key for key in fits.every_off if key[:2] == pixel and scan.skies[key].good.any()]
        out = np.zeros(scan.counts.shape[0], dtype=int)
        if scan.options.robust:
            for key in offs:
                out += scan.skies[key].tukey(fits.every_off[key].pwv) == 0
        found[pixel] = (out > 0) & (2 * out >= len(offs))
    return found


def calibrate(scan: Scan, fits: Fits) -> tuple[dict[str, np.ndarray], dict[tuple[int, int, int], np.ndarray]]:
    """The arrays of the ONs, and the factors [K/count] by (r, a, on)."""
    C, D, R, A, _ = scan.counts.shape
    S = len(scan.selection.ons)
    out = {
        "spectra": np.full((C, D, R, A, S), np.nan),
        "t_sys": np.full((C, R, A, S), np.nan),
        "sigma": np.full((C, R, A, S), np.nan),
        "flags": np.zeros((C, D, R, A, S), dtype=np.uint16),
        "ref_share": np.zeros((2, R, A, S)),
        "ref_off": np.full((2, R, A, S), -1),
    }
    factors, outliers = {}, sky_outliers(scan, fits)
    options = scan.options
    for r, a in scan.pixels:
        load, model = scan.loads[r, a], scan.models[a]
        for i, on in enumerate(scan.selection.ons):
            pwv, air = fits.on[r, a, on].pwv, scan.selection.airmass_at(on, options.one_airmass)
            t_r = model.sidebands[0].transmission(pwv, air)
            bad = load.bad | (t_r < options.min_transmission)
            ref = reference_of(scan, r, a, on)

            t_ground, t_spill = options.ground_temperature(ref.tamb), options.spillover_temperature(ref.tamb)
            t_sys = load.t_rec_dsb + model.sky(pwv, air, t_ground, t_spill)
            relative = np.sqrt((1 / scan.source.column("exptime", on) + ref.noise) / scan.bandwidth)
            noise = divide(t_sys, model.sidebands[0].weight * model.f_eff * options.eta * t_r) * relative
            out["t_sys"][:, r, a, i] = t_sys
            out["sigma"][:, r, a, i] = np.where(bad, np.nan, noise)
            all_parts = 1 / scan.source.column("exptime", on) + sum(ref.parts.values())
            for slot, k in enumerate(sorted(ref.parts, key=lambda k: scan.selection.mjd[k])):
                out["ref_share"][slot, r, a, i], out["ref_off"][slot, r, a, i] = ref.parts[k] / all_parts, k

            on_counts = scan.counts[:, :, r, a, on]
            missing = ~np.isfinite(on_counts) | ~np.isfinite(ref.counts)
            factor = divide(divide(load.t_cal, load.hot - load.cold), t_r)
            factors[r, a, on] = np.where(bad, np.nan, factor)
            flags = np.where(bad[:, None], BAD_CHANNEL, 0) | np.where(missing, FILL_VALUE, 0)
            flags |= np.where(outliers[r, a][:, None], SKY_OUTLIER, 0)
            if (r, a) in scan.dump_noise:
                flags |= np.where(scan.dump_noise[r, a].noisy[:, None], NOISY, 0)
            out["flags"][:, :, r, a, i] = flags
            t_a = (on_counts - ref.counts) * factor[:, None]
            out["spectra"][:, :, r, a, i] = np.where(bad[:, None] | missing, np.nan, t_a)
    return out, factors


def errors_of_scale(scan: Scan, fits: Fits) -> dict[str, np.ndarray]:
    """`scale_error`, `scale_error_terms` and the errors of the inputs."""
    selection, terms, inputs = scan.selection, {}, {}
    airmass = float(np.mean([selection.airmass[on] for on in selection.ons]))
    mjd_on = float(np.mean(selection.mjd[selection.ons]))
    for r, a in scan.pixels:
        load = scan.loads[r, a]
        terms[r, a], inputs[r, a] = pixel_terms(
            scan.models[a], scan.options, load, noise_of_loads(load, scan.bandwidth), scan.later[r, a],
            [fits.on[r, a, on] for on in selection.ons], airmass, mjd_on,
        )  # fmt: skip
    return scale_errors(terms, scan.loads, (scan.counts.shape[0], *scan.counts.shape[2:4])) | {
        "_inputs": inputs,
        "_terms": terms,
    }


# ---------- the sky, and what else L1 holds


def compare_sky(scan: Scan, fits: Fits) -> tuple[np.ndarray, np.ndarray]:
    """`t_sky` and `sky_residual` [C,R,A]."""
    t_sky, sky_residual = (np.full((scan.counts.shape[0], *scan.counts.shape[2:4]), np.nan) for _ in range(2))
    for r, a in scan.pixels:
        load, model = scan.loads[r, a], scan.models[a]
        offs = valid_offs(scan.skies, (r, a), scan.selection)
        s_obs = {k: divide(scan.off_mean[r, a, k] - load.hot, load.gamma) for k in offs}
        if s_obs:
            t_sky[:, r, a] = nanmean(np.array(list(s_obs.values())), axis=0) + load.tp_hot
        # CHOICE: per_pair averages over the OFFs that were fitted, each counted once.
        residuals = []
        for k in (k for k in offs if (r, a, k) in fits.off):
            d = scan.skies[r, a, k]
            s_model = model.sky(fits.off[r, a, k].pwv, d.airmass, d.t_ground, d.t_spill) - load.tp_hot
            residuals.append(s_obs[k] - s_model)
        if residuals:
            sky_residual[:, r, a] = nanmean(np.array(residuals), axis=0)
    return t_sky, sky_residual


def per_pixel(scan: Scan, name: str) -> np.ndarray:
    """An array of the loads [C,R,A]."""
    out = np.empty((scan.counts.shape[0], *scan.counts.shape[2:4]))
    for r, a in scan.pixels:
        out[:, r, a] = getattr(scan.loads[r, a], name)
    return out


def coordinates(scan: Scan, flags: np.ndarray) -> dict[str, Any]:
    """Times, positions and names of the ONs; `flags` [C,D,R,A,S] tell which of their samples are missing."""
    ons, columns = scan.selection.ons, scan.source.columns
    D, S = scan.counts.shape[1], len(ons)
    # CHOICE: a sample is valid that has ON and REF; where REF is missing the ON's time is lost.
    valid = ((flags & FILL_VALUE) == 0).any(axis=(0, 2, 3)).sum(axis=0)
    out = {
        "t_int": np.array([scan.source.column("exptime", s) * n for s, n in zip(ons, valid, strict=True)]),
        "mjd": scan.selection.mjd[ons],
        "elevation": columns["elevation"][ons],
        "pixel": scan.source.pixel,
    }
    if scan.selection.mode in ("otf", "otf_chopped"):
        for name in ("otf_lon", "otf_lat"):
            if name in columns:
                out[name] = np.broadcast_to(columns[name][..., ons], (D, S)).copy()
        out["otf_airmass"] = np.broadcast_to([scan.selection.airmass[s] for s in ons], (D, S)).copy()
    return out


def figures(scan: Scan, fits: Fits) -> dict[str, np.ndarray]:
    """Figures [R,A] of section 6 that one scan is enough for."""
    shape, fitted = scan.counts.shape[2:4], {}
    names = ("load_age_s", "ref_extrapolated", "dump_radiometer", "load_spikes", "off_spikes")
    out = {name: np.full(shape, np.nan) for name in names}
    for r, a in scan.pixels:
        load = scan.loads[r, a]
        offs = valid_offs(scan.skies, (r, a), scan.selection)
        out["load_age_s"][r, a] = load_age(scan.selection, load)
        out["ref_extrapolated"][r, a] = ref_extrapolated(scan.selection, offs)
        if (r, a) in scan.dump_noise:
            out["dump_radiometer"][r, a] = scan.dump_noise[r, a].figure
        if scan.options.clip_sigma:
            out["load_spikes"][r, a] = load.spikes
            if not scan.selection.chopped:
                out["off_spikes"][r, a] = scan.off_spikes[r, a]
        fitted[r, a] = [
            FittedOff(
                scan.selection.offs.index(k),
                (r, a, k) in fits.off,
                scan.skies[r, a, k],
                fits.every_off[r, a, k].pwv,
                divide(scan.off_mean[r, a, k] - load.hot, load.gamma),
            )
            for k in offs
        ]
    median_b = float(np.median(scan.models[0].sidebands[0].b))
    return out | monitor(fitted, scan.selection, scan.options, shape, median_b)


def intermediate(scan: Scan, factors: dict[tuple[int, int, int], np.ndarray]) -> dict[str, Any]:
    """Collect the inputs of the diagnostics and of the merging of beams."""
    selection = scan.selection
    return {
        "_sky_data": list(scan.skies.values()),
        "_counts": scan.counts,
        "_off_mean": scan.off_mean,
        "_loads": scan.loads,
        "_options": scan.options,
        "_off_spikes": scan.off_spikes,
        "_factors": factors,
        "_all_mjd": selection.mjd,
        "_ons": selection.ons,
        "_offs": selection.offs,
        "_chopped": selection.chopped,
        "_group_off": [selection.group_off[on] for on in selection.ons],
        "_beam": [selection.beam[on] for on in selection.ons],
    }
