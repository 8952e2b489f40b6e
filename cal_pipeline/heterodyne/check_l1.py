"""Check of an L1 scan against the schema: arrays, axes, types, units, attributes, flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.store.check import Contents, describe_samples
from cal_pipeline.core.store.check_array import ArrayChecks
from cal_pipeline.core.store.interface import ArrayReader, Region
from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.core.store.schema import ProductArray
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.schema import L1, SCAN_ATTRIBUTES

_KNOWN_FLAGS = sum(Flag)
_BLANK = Flag.BAD_CHANNEL | Flag.FILL_VALUE
_FINITE = ("signal_freqs", "mjd", "elevation", "t_int")
"""Arrays without NaN."""

_OWN_ATTRIBUTES = {"scale_error_terms": {"terms", "sigma_inputs"}, "ref_share": {"reference"}}
"""Attributes of an array that its values decide."""

_MAPPINGS = ("qa", "provenance", "scan_metadata", "cal_step")
_NUMBERS = ("rest_freq_hz", "site_lon_deg", "site_lat_deg", "site_alt_m", "pwv_mm", "pwv_err_mm", "scale_error")
_TEXTS = ("instmode", "mode", "cal_strategy", "ref_strategy")
_REQUIRED = {"scan_number", "source", *_MAPPINGS, *_NUMBERS, *_TEXTS}
_KNOWN = {*_REQUIRED, *SCAN_ATTRIBUTES, "dbs"}
_PROVENANCE = ("engine_version", "parameters", "l0_store", "l0_group", "calibration_scans", "time")

_MADE_BY: dict[str, tuple[str, ...]] = {
    "loads": ("signal_freqs", "image_freqs", "t_rec_ssb", "gamma", "t_cal"),
    "prepare": ("mjd", "elevation"),
    "atmosphere": (
        *("pwv", "pwv_err", "pwv_err_model", "pwv_chi2", "tau_signal", "tau_image"),
        *("t_sky", "sky_residual", "scale_error", "scale_error_terms"),
    ),
    "calibrate": ("spectra", "flags", "t_int", "t_sys", "sigma", "ref_share", "ref_off"),
}
"""Arrays that a scan has once a step is complete."""


def judge_l1_values(
    contents: Contents, reader: ArrayReader, region: Region, values: NDArray[Any]
) -> Iterator[tuple[str, str]]:
    """Find samples of a chunk that contradict their flags, unknown flags, and coordinates that are not finite."""
    group, _, name = reader.path.rpartition("/")
    if name == "spectra":
        yield from _judge_spectra(contents.arrays.get(f"{group}/flags"), reader, region, values)
    elif name == "flags" and values.dtype.kind == "u":
        unknown = (values & ~values.dtype.type(_KNOWN_FLAGS)) != 0
        if unknown.any():
            bits = int(np.bitwise_or.reduce(values[unknown])) & ~_KNOWN_FLAGS
            yield f"unknown bits {bits} in {describe_samples(unknown, region)}", f"flags of {_KNOWN_FLAGS} alone"
    elif name in _FINITE and values.dtype.kind == "f" and not np.isfinite(values).all():
        yield f"NaN or infinity in {describe_samples(~np.isfinite(values), region)}", "finite numbers"


def _judge_spectra(
    flags: ArrayReader | None, reader: ArrayReader, region: Region, values: NDArray[Any]
) -> Iterator[tuple[str, str]]:
    """Compare spectra with their flags."""
    if flags is None or flags.shape != reader.shape:
        return
    try:
        bits = flags.read(region)
    except MemoryError:
        raise
    except Exception:  # the check of the flags reports it
        return
    blank = ~np.isfinite(values)
    unflagged = blank & (bits == 0)
    if unflagged.any():
        what = describe_samples(unflagged, region)
        yield f"NaN or infinity flagged good (0) in {what}", "a number, or a flag that says why there is none"
    kept = ~blank & ((bits & int(_BLANK)) != 0)
    if kept.any():
        yield f"a number flagged BAD_CHANNEL or FILL_VALUE in {describe_samples(kept, region)}", "NaN"


def check_l1_scan(contents: Contents) -> None:
    """Check a scan of an L1 store whose objects were checked.

    Parameters
    ----------
    contents : Contents
        Objects of the scan; takes the faults.
    """
    scan = contents.group
    found = contents.groups.get(scan)
    bands = sorted(path for path in contents.groups if path.rpartition("/")[0] == scan and "/band_" in path)
    if found is not None and found.get("scan_number") != contents.observation:
        contents.report(scan, f"attribute scan_number = {found.get('scan_number')!r}", f"{contents.observation}")
    if bands and found is not None:
        names = [path.rpartition("/")[2] for path in bands]
        recorded = found.get("bands")
        if not isinstance(recorded, list) or sorted(map(str, recorded)) != names:
            contents.report(scan, f"attribute bands = {recorded!r}", f"{names}, the bands in the store")
    parts = bands or [scan]
    known = {scan, *parts, *(f"{part}/{name}" for part in parts for name in L1.diagnostics)}
    for path in contents.groups.keys() - known:
        contents.report(path, "a group that L1 does not have", ", ".join(L1.diagnostics))
    for part in parts:
        if part in contents.groups:
            _check_attributes(contents, part, contents.groups[part])
        _check_arrays(contents, part)
    for path in contents.arrays:
        group, _, name = path.rpartition("/")
        if group not in known or _find_entry(group, name) is None or (bands and group == scan):
            contents.report(path, "an array that L1 does not have", "arrays of the schema")


def _check_attributes(contents: Contents, group: str, attributes: Mapping[str, Any]) -> None:
    """Check the attributes of a scan or band: names and types."""
    for name in sorted(_REQUIRED - attributes.keys()):
        contents.report(group, f"no attribute {name}", "every attribute of an L1 scan, null where unknown")
    for name in sorted(attributes.keys() - _KNOWN):
        contents.report(group, f"attribute {name}, which L1 does not have", "such values in scan_metadata")
    kinds: dict[str, tuple[tuple[str, ...], tuple[type, ...]]] = {
        "a mapping": (_MAPPINGS, (dict,)),
        "a number or null": (_NUMBERS, (int, float, type(None))),
        "text or null": (_TEXTS, (str, type(None))),
    }
    for expected, (names, types) in kinds.items():
        for name in names:
            value = attributes.get(name)
            if name in attributes and (isinstance(value, bool) or not isinstance(value, types)):
                contents.report(group, f"attribute {name} = {value!r}", expected)
    provenance = as_mapping(attributes.get("provenance"))
    for name in _PROVENANCE if provenance else ():
        if name not in provenance:
            contents.report(group, f"no {name} in attribute provenance", "what a scan was made with")


def _find_entry(group: str, name: str) -> ProductArray | None:
    """Find the entry of an array in the schema; None if unknown."""
    inner = group.rpartition("/")[2]
    if inner not in L1.diagnostics:
        return L1.arrays.get(name)
    if name.startswith("spectrum_"):
        return L1.diagnostics[inner]
    return L1.arrays.get(name) if name in ("signal_freqs", "pixel") else None


def _check_arrays(contents: Contents, part: str) -> None:
    """Check the arrays of an undivided scan or of a band."""
    steps = as_mapping(contents.groups.get(part, {}).get("cal_step"))
    done = [step for step in _MADE_BY if steps.get(step) == "COMPLETE"]
    for name in ("pixel", *(name for step in done for name in _MADE_BY[step])):
        path = f"{part}/{name}"
        if path not in contents.arrays and path not in contents.damaged:
            contents.report(path, "no such array", "an array that L1 requires")
    checks = ArrayChecks(contents, L1, "L1")
    inside = [part, *(f"{part}/{name}" for name in L1.diagnostics)]
    readers = [reader for path, reader in contents.arrays.items() if path.rpartition("/")[0] in inside]
    # Spectra first: other arrays are compared with their shape.
    for reader in sorted(readers, key=lambda reader: not reader.path.endswith("/spectra")):
        group, _, name = reader.path.rpartition("/")
        spec = _find_entry(group, name)
        if spec is not None:
            within = reader.path[len(part) + 1 :]
            checks.check(reader, spec, within, within, free=_OWN_ATTRIBUTES.get(within, ()))
