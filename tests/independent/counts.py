"""Counts and columns of a scan, as L0 holds them (section 1 of the specification)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

I32_MIN = np.iinfo(np.int32).min
PA_PER_TORR = 101325.0 / 760.0
COLUMNS = (
    "mjd", "exptime", "elevation", "pamb", "tamb", "signal_freq", "image_freq", "freq_res", "freq_off", "ref_channel",
    "thot", "tcold", "otf_lon", "otf_lat",
)  # fmt: skip


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

    def order_pixels(self, wanted: np.ndarray) -> None:
        """Bring the pixels into the order of the ids `wanted` [R,A]."""
        C, D, *_, S = self.counts.shape
        order = [self.pixel.ravel().tolist().index(name) for name in wanted.ravel()]
        self.counts = self.counts.reshape(C, D, -1, S)[:, :, order].reshape(C, D, *wanted.shape, S)
        self.pixel = wanted


def counts_as_float(array: zarr.Array, saturation: float | None) -> np.ndarray:
    raw = np.asarray(array[...])
    counts = raw.astype(np.float64)
    missing = np.zeros(raw.shape, dtype=bool)
    if raw.dtype.kind == "i":
        missing |= raw == np.iinfo(raw.dtype).min
    if raw.dtype.kind in "iu":
        missing |= raw == np.iinfo(raw.dtype).max
    if "_FillValue" in array.attrs:
        missing |= raw == array.attrs["_FillValue"]
    if saturation is not None:
        # CHOICE: as the largest number of a type, the limit is one of stored counts, before scale_factor.
        missing |= raw >= saturation
    counts[missing] = np.nan
    return counts * float(array.attrs.get("scale_factor", 1.0)) + float(array.attrs.get("add_offset", 0.0))


def name_pixels(ids: list[str], n_pixels: int, n_subscans: int) -> np.ndarray:
    """Unique ids of the pixels from `frontend_backends` (section 1)."""
    if len(ids) == n_pixels:
        # CHOICE: each id that repeats counts its own occurrences; the others stay as they are.
        return np.array([f"{x}_{ids[:i].count(x)}" if ids.count(x) > 1 else x for i, x in enumerate(ids)])
    distinct = list(dict.fromkeys(ids))
    if len(ids) == n_subscans and len(distinct) == n_pixels:
        return np.array(distinct)
    if len(ids) == n_subscans and len(distinct) == 1:
        return np.array([f"{distinct[0]}_{i}" for i in range(n_pixels)])
    raise ValueError(f"{len(ids)} pixel ids for {n_pixels} pixels and {n_subscans} subscans")


def read_group(group: zarr.Group, saturation: float | None = None) -> Counts:
    counts = counts_as_float(group["data_5d"], saturation)
    _, _, R, A, S = counts.shape
    mode = [str(m).strip() for m in group["sobsmode"][...]]
    columns = {}
    for name in COLUMNS:
        if name in group:
            columns[name] = np.asarray(group[name][...]).astype(np.float64)
    pixel = None
    if "frontend_backends" in group:
        pixel = name_pixels([str(i) for i in group["frontend_backends"][...]], R * A, S).reshape(R, A)
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


# CHOICE: blanks around a phase do not count; anything else does.
PREFIXES = ("", "OTF-", "SWA-", "SWB-", "OTFSWA-", "OTFSWB-")


def is_on(mode: str) -> bool:
    return mode in [f"{prefix}ON" for prefix in PREFIXES]


def is_off(mode: str) -> bool:
    return mode in [f"{prefix}OFF" for prefix in PREFIXES]


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
