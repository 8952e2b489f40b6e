"""Calibration without a fit, as a script is written in an afternoon: whole arrays, NumPy, zarr-python as it comes.

T_A* is (ON - REF) times the temperatures of the loads over their counts; the atmosphere is a given opacity. Neither
errors nor quality are computed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

H_OVER_K = 6.62607015e-34 / 1.380649e-23


def calibrate_scan(scan: Path, output: Path, forward_efficiency: float = 0.97, tau0: float = 0.2) -> None:
    """Calibrate a scan of a double-sideband receiver whose ONs and OFFs alternate."""
    source, loads = (zarr.open_group(scan / name, mode="r") for name in ("source", "calibration"))
    counts, load_counts = (convert(group["data_5d"][...]) for group in (source, loads))
    load_phases = np.array(loads["sobsmode"][...].tolist())
    hot = np.nanmean(load_counts[..., load_phases == "HOT"], axis=(1, 4))
    cold = np.nanmean(load_counts[..., np.char.startswith(load_phases, "COL")], axis=(1, 4))
    offset = np.arange(counts.shape[0]) - float(source["ref_channel"][0])
    nu = H_OVER_K * (float(source["signal_freq"][0]) + offset * float(source["freq_res"][0]))
    t_hot, t_cold = (nu / np.expm1(nu / float(loads[name][0])) for name in ("thot", "tcold"))

    phases = np.array(source["sobsmode"][...].tolist())
    on, off = np.flatnonzero(np.char.endswith(phases, "ON")), np.flatnonzero(np.char.endswith(phases, "OFF"))
    mjd, airmass = source["mjd"][...], 1.0 / np.sin(source["elevation"][...].astype(np.float64))
    off_mean = np.nanmean(counts[..., off], axis=1)
    nearest = [int(np.argmin(np.abs(mjd[off] - mjd[k]))) for k in on]
    factor = ((t_hot - t_cold)[:, None, None] / (hot - cold) / (0.5 * forward_efficiency))[:, None, ..., None]
    spectra = (counts[..., on] - off_mean[:, None][..., nearest]) * factor * np.exp(tau0 * airmass[on])
    t_rec = (t_hot[:, None, None] - (hot / cold) * t_cold[:, None, None]) / (hot / cold - 1.0)

    store = zarr.create_group(output, overwrite=True)
    flags = np.where(np.isnan(spectra), 2, 0).astype(np.uint16)
    for name, values in {"spectra": spectra, "flags": flags, "t_rec_ssb": 2 * t_rec}.items():
        store.create_array(name, data=values)


def convert(counts: np.ndarray) -> np.ndarray:
    """Convert counts to doubles, NaN for missing dumps."""
    return np.where(counts == np.iinfo(np.int32).min, np.nan, counts.astype(np.float64))
