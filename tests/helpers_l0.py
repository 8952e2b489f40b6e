"""Hand-made L0 groups: a few numbers each, no simulator behind them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import zarr

FILL = -(2**31)
MJD = 60000.0
SECOND = 1.0 / 86400.0


def write_array(group: zarr.Group, name: str, values: Any) -> None:
    """Write an array in one chunk, straight as the Zarr v3 format says; text becomes variable-length strings."""
    values = np.asarray(values)
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if values.dtype.kind in "UT":
        texts = [str(text).encode() for text in values.ravel()]
        chunk = struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(t)) + t for t in texts)
        kind, fill, codecs = "string", "", [{"name": "vlen-utf8"}]
    else:
        chunk, kind, fill = values.tobytes(), str(values.dtype), "NaN" if values.dtype.kind == "f" else FILL
        fill = 0 if kind in ("int8", "int16") else fill
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": values.shape,
        "data_type": kind,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": values.shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": codecs,
        "attributes": {},
    }
    folder = Path(str(group.store_path).removeprefix("file://")) / name
    path = folder.joinpath("c", *"0" * values.ndim)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chunk)
    (folder / "zarr.json").write_text(json.dumps(metadata))


def write_group(group: zarr.Group, counts: Any, phases: list[str], **changes: Any) -> None:
    """Write a ``source`` or ``calibration`` group.

    Parameters
    ----------
    group : zarr.Group
        An empty group.
    counts : array_like, shape (C, D, R, A, S)
        Counts.
    phases : list of str
        ``sobsmode``.
    **changes
        Other arrays, or other values of the usual ones; None leaves one out.
    """
    counts = np.asarray(counts)
    n = len(phases)
    n_pixels = counts.shape[2] * counts.shape[3]
    arrays = {
        "data_5d": counts,
        "sobsmode": phases,
        "mjd": MJD + 10.0 * SECOND * np.arange(n),
        "exptime": np.full(n, 2.0, np.float32),
        "elevation": np.full(n, 0.9, np.float32),
        "pamb": np.full(n, 386.0, np.float32),
        "tamb": np.full(n, 268.0, np.float32),
        "signal_freq": np.full(n, 461.0e9),
        "image_freq": np.full(n, 473.0e9),
        "freq_res": np.full(n, 1.0e6),
        "freq_off": np.zeros(n),
        "ref_channel": np.zeros(n, np.float32),
        "thot": np.full(n, 293.0, np.float32),
        "tcold": np.full(n, 77.0, np.float32),
        "frontend_backends": [f"PX{i:02d}" for i in range(n_pixels)],
    }
    for name, values in (arrays | changes).items():
        if values is not None:
            write_array(group, name, values)


def loads_counts(gain: Any, t_rec: float, temperatures: list[float], dumps: int = 2) -> Any:
    """Counts of a receiver without noise, shape (C, D, R, A, S), from its gain (C, R, A) [ct/K]."""
    gain = np.asarray(gain, np.float64)[:, None, :, :, None]
    power = t_rec + np.asarray(temperatures)
    return np.repeat(np.round(gain * power), dumps, axis=1).astype(np.int32)


def write_scan(
    store: Path, number: int, *, gain: Any = None, source: Any = None, calibration: Any = None, band: str = ""
) -> zarr.Group:
    """Write a scan OFF-ON-ON-OFF with a line of 10 K in the ONs; returns its group.

    Parameters
    ----------
    store : Path
        The session, made if it is not there.
    number : int
        Scan number.
    gain : array_like, shape (C, R, A), optional
        Gain [ct/K]; 4 channels of 2 receivers if not given.
    source, calibration : dict, optional
        What is different in these groups; False leaves a group out.
    band : str
        Name of the band.
    """
    gain = np.full((4, 2, 1), 1.0e5) if gain is None else gain
    root = zarr.open_group(store, mode="a")
    group = root.require_group(f"scan_{number:06d}")
    group.attrs["scan_number"] = number
    inner = group.create_group(band) if band else group
    if source is not False:
        settings: dict[str, Any] = {"phases": ["OFF", "ON", "ON", "OFF"], "temperatures": [100.0, 110.0, 110.0, 100.0]}
        settings |= source or {}
        counts = loads_counts(gain, 90.0, settings.pop("temperatures"))
        settings = {"counts": counts, "thot": None, "tcold": None} | settings
        write_group(inner.create_group("source"), **settings)
    if calibration is not False:
        settings = {"phases": ["HOT", "COL"], "mjd": MJD - SECOND * np.array([60.0, 50.0])} | (calibration or {})
        counts = loads_counts(gain, 90.0, [293.0 if p == "HOT" else 77.0 for p in settings["phases"]])
        write_group(inner.create_group("calibration"), **({"counts": counts} | settings))
    return group
