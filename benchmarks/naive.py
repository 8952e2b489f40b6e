"""Calibration by a careful user without the pipeline: whole arrays, NumPy, plain zarr-python.

python benchmarks/naive.py session.zarr l1.zarr --scan 1 --atm atm.asdf --forward-efficiency 0.97
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import zarr
from scipy.optimize import minimize_scalar

from cal_pipeline.heterodyne.references.atm_table import AtmTable

H_OVER_K = 6.62607015e-34 / 1.380649e-23


def brightness(nu: np.ndarray, temperature: float) -> np.ndarray:
    x = H_OVER_K * nu
    return x / np.expm1(x / temperature)


def calibrate(session: Path, scan: int, output: Path, atm: Path, forward_efficiency: float) -> None:
    """Calibrate a total power or OTF scan of a double-sideband receiver."""
    group = zarr.open_group(session, path=f"scan_{scan:06d}", mode="r")
    source, loads = group["source"], group["calibration"]
    read = {name: np.asarray(source[name][...]) for name in ("mjd", "elevation", "tamb", "pamb", "exptime", "sobsmode")}
    counts = as_float(source["data_5d"][...])
    load_counts = as_float(loads["data_5d"][...])
    load_phase = np.array(loads["sobsmode"][...].tolist())
    hot = np.nanmean(load_counts[..., load_phase == "HOT"], axis=(1, 4))
    cold = np.nanmean(load_counts[..., np.char.startswith(load_phase, "COL")], axis=(1, 4))
    t_hot, t_cold = float(loads["thot"][0]), float(loads["tcold"][0])

    offset = np.arange(counts.shape[0]) - float(source["ref_channel"][0])
    nu_s = float(source["signal_freq"][0]) + offset * float(source["freq_res"][0])
    nu_i = float(source["image_freq"][0]) - offset * float(source["freq_res"][0])

    def both(temperature: float) -> np.ndarray:
        return 0.5 * (brightness(nu_s, temperature) + brightness(nu_i, temperature))[:, None, None]

    gamma = (hot - cold) / (both(t_hot) - both(t_cold))
    y = hot / cold
    t_rec = (both(t_hot) - y * both(t_cold)) / (y - 1.0)

    phase = np.array(read["sobsmode"].tolist())
    on, off = np.flatnonzero(np.char.endswith(phase, "ON")), np.flatnonzero(np.char.endswith(phase, "OFF"))
    off_mean = np.nanmean(counts[..., off], axis=1)
    table = AtmTable.open(atm)
    pressure = float(read["pamb"].mean()) * 101325.0 / 760.0
    (b_s, c_s), (b_i, c_i) = table.coefficients(nu_s, pressure), table.coefficients(nu_i, pressure)
    tamb, airmass = float(read["tamb"][off[0]]), 1.0 / np.sin(read["elevation"].astype(np.float64))

    def sky(pwv: float, path: float) -> np.ndarray:
        t_s, t_i = np.exp(-path * (b_s * pwv + c_s)), np.exp(-path * (b_i * pwv + c_i))
        emitted = 0.5 * (brightness(nu_s, tamb) * (1 - t_s) + brightness(nu_i, tamb) * (1 - t_i))
        background = 0.5 * (brightness(nu_s, 2.725) * t_s + brightness(nu_i, 2.725) * t_i)
        return (forward_efficiency * (emitted + background))[:, None, None] + (1 - forward_efficiency) * both(tamb)

    seen = (off_mean - hot[..., None]) / gamma[..., None] + both(t_hot)[..., None]

    def misfit(log_pwv: float) -> float:
        model = [sky(np.exp(log_pwv), airmass[k]) for k in off]
        return sum(np.nanmean((seen[..., k] - m) ** 2) for k, m in enumerate(model))

    pwv = float(np.exp(minimize_scalar(misfit, bounds=(np.log(1e-3), np.log(10.0)), method="bounded").x))

    reference = np.empty((*off_mean.shape[:3], on.size))
    for k, subscan in enumerate(on):
        after = int(np.searchsorted(read["mjd"][off], read["mjd"][subscan]))
        low, high = max(after - 1, 0), min(after, off.size - 1)
        times = read["mjd"][off[[low, high]]]
        weight = 0.0 if low == high else (read["mjd"][subscan] - times[0]) / (times[1] - times[0])
        reference[..., k] = (1 - weight) * off_mean[..., low] + weight * off_mean[..., high]
    t_r = np.exp(-np.multiply.outer(b_s * pwv + c_s, airmass[on]))[:, None, None, :]
    t_cal = (both(t_hot) - both(t_cold)) / (0.5 * forward_efficiency)
    factor = (t_cal / (hot - cold))[..., None] / t_r
    spectra = (counts[..., on] - reference[:, None]) * factor[:, None]
    flags = np.where(np.isnan(spectra), 2, 0).astype(np.uint16)
    t_sys = np.stack([t_rec + sky(pwv, airmass[k]) for k in on], axis=-1)

    store = zarr.create_group(output, overwrite=True)
    results = {"spectra": spectra, "flags": flags, "t_sys": t_sys, "gamma": gamma, "t_rec_ssb": 2 * t_rec, "pwv": pwv}
    for name, values in results.items():
        store.create_array(name, data=np.asarray(values))


def as_float(counts: np.ndarray) -> np.ndarray:
    """Convert counts to doubles, NaN for missing dumps."""
    return np.where(counts == np.iinfo(np.int32).min, np.nan, counts.astype(np.float64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scan", type=int, default=1)
    parser.add_argument("--atm", type=Path, required=True)
    parser.add_argument("--forward-efficiency", type=float, default=1.0)
    given = parser.parse_args()
    calibrate(given.session, given.scan, given.output, given.atm, given.forward_efficiency)


if __name__ == "__main__":
    main()
