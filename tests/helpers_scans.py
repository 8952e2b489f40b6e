"""Hand-made L1 stores with all axes: every sample says where it is, no pipeline behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from helpers_l1 import record

C, D, R, A, S = 16, 2, 3, 2, 4
PIXELS = [f"P{r}{a}" for r in range(R) for a in range(A)]
REST_HZ = 461.0e9
AXES = ("channel", "dump", "receiver", "array", "subscan")
SITE = {"site_lon_deg": -67.74, "site_lat_deg": -22.99, "site_alt_m": 5612.0}
POINTING = {"coord_frame": "icrs", "source_lon_deg": 83.82, "source_lat_deg": -5.39}
MJD = 60310.25
COORDINATES = {"signal_freqs": ("channel",), "image_freqs": ("channel",), "mjd": ("subscan",)}
COORDINATES |= {"pixel": ("receiver", "array"), "otf_lon": ("dump", "subscan"), "otf_lat": ("dump", "subscan")}


def place(c: int, d: int, r: int, a: int, s: int) -> float:
    """Value of a sample, which says where it is."""
    return c * 1e4 + d * 1e3 + r * 100.0 + a * 10.0 + s


def make_arrays(rng: np.random.Generator | None = None) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Arrays of a scan by name, with their axes; noise of 1 K instead of places if there is a generator."""
    c, d, r, a, s = np.indices((C, D, R, A, S), sparse=True)
    spectra = place(c, d, r, a, s).astype(float) if rng is None else rng.normal(size=(C, D, R, A, S))
    cra, cras = AXES[0:1] + AXES[2:4], AXES[0:1] + AXES[2:]
    frequency = REST_HZ + 1e6 * (np.arange(C) - C / 2)
    return {
        "spectra": (AXES, spectra),
        "flags": (AXES, np.zeros((C, D, R, A, S), np.uint16)),
        "sigma": (cras, np.ones((C, R, A, S), np.float32)),
        "t_sys": (cras, np.broadcast_to(100.0 + 10.0 * r[:, 0] + a[:, 0], (C, R, A, S))),
        "t_sky": (cra, np.broadcast_to(60.0 + r[:, 0, ..., 0], (C, R, A))),
        "sky_residual": (cra, np.full((C, R, A), 0.25, np.float32)),
        "t_int": (AXES[4:], np.full(S, 4.0)),
        "ref_share": (("off", *AXES[2:]), np.zeros((2, R, A, S), np.float32)),
        "ref_off": (("off", *AXES[2:]), np.full((2, R, A, S), -1, np.int32)),
        "signal_freqs": (AXES[:1], frequency),
        "image_freqs": (AXES[:1], 2 * REST_HZ - frequency),
        "mjd": (AXES[4:], MJD + np.arange(S) * 10.0 / 86400.0),
        "otf_lon": (("dump", "subscan"), np.zeros((D, S))),
        "otf_lat": (("dump", "subscan"), np.zeros((D, S))),
        "pixel": (AXES[2:4], np.array(PIXELS).reshape(R, A)),
        "pwv": ((), np.array(0.5)),
        "pwv_err": ((), np.array(0.03)),
        "pwv_err_model": ((), np.array(0.04)),
    }


def write_scans(
    path: Path,
    scans: Mapping[str, Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]] = (),
    arrays: Mapping[str, Mapping[str, Any]] | None = None,
    rng: np.random.Generator | None = None,
) -> Path:
    """Write an L1 store.

    Parameters
    ----------
    path : Path
        Store to write.
    scans : mapping
        Changes of the attributes by group: ``scan_000001``, or ``scan_000001/band_0``.
    failures : sequence of mapping
        Content of ``failures.json``.
    arrays : mapping, optional
        Values in place of others, by group and name; None leaves an array out.
    rng : Generator, optional
        Source of noise.
    """
    root = zarr.create_group(path, attributes={"cal_schema_version": "1.2"})
    (path / "failures.json").write_text(json.dumps(list(failures)))
    for group, changes in scans.items():
        held = root.require_group(group)
        number = int(group[5:11])
        standard = {"telescope": "CCAT", "line": "CO4-3", "rest_freq_hz": REST_HZ, "scan_metadata": POINTING, **SITE}
        attributes = record(number, **standard | dict(changes))
        attributes["qa"]["pixels"] = {name: {} for name in PIXELS}
        held.attrs.update(attributes)
        changed = dict((arrays or {}).get(group, {}))
        for name, (axes, values) in make_arrays(rng).items():
            found = changed.get(name, values)
            if found is not None:
                _write(held, name, axes, np.asarray(found))
    return path


def _write(group: zarr.Group, name: str, axes: tuple[str, ...], values: np.ndarray[Any, Any]) -> None:
    held = set(axes)
    known = " ".join(n for n, of in COORDINATES.items() if set(of) <= held and n != name)
    attributes: dict[str, Any] = {"units": "K", "coordinates": known} if name not in COORDINATES else {"units": "Hz"}
    if name == "mjd":
        attributes = {"units": "days since 1858-11-17 00:00:00", "calendar": "proleptic_gregorian"}
    if values.dtype.kind == "U":
        made = group.create_array(name, shape=values.shape, dtype=str, dimension_names=axes, attributes={})
        made[...] = values
    else:
        group.create_array(name, data=values, dimension_names=axes, attributes=attributes)
