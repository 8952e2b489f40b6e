"""Check of rates, calibrated images and mosaics against the schema: arrays, attributes, flags, values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.store.check import Contents, describe_samples
from cal_pipeline.core.store.check_array import ArrayChecks
from cal_pipeline.core.store.interface import ArrayReader, Region
from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.imager.check_ramps import check_exposure_attributes
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.layout import REQUIRED
from cal_pipeline.imager.schema import IMAGES, RATE_UNITS, VARIANCES, describe_array
from cal_pipeline.imager.units import read_image_units

_RATE = ("data", "err", *VARIANCES[:2], "dq")
_CAL = ("data", "err", *VARIANCES, "dq")
_MOSAIC = ("data", "err", "weight", "dq")

_PROVENANCE = ("engine_version", "parameters", "input", "time", "input_groups", "reference_files")
_MAPPINGS = ("cal_step", "provenance")


def judge_image_values(
    contents: Contents, reader: ArrayReader, region: Region, values: NDArray[Any]
) -> Iterator[tuple[str, str]]:
    """Find values of a chunk that contradict their flags, and errors, variances and weights below zero."""
    group, _, name = reader.path.rpartition("/")
    if values.dtype.kind != "f":
        return
    if name != "data":
        negative = values < 0
        if negative.any():
            yield f"a number below 0 in {describe_samples(negative, region)}", "numbers from 0"
    if name in ("data", "err"):
        flags = _read_flags(contents.arrays.get(f"{group}/dq"), reader, region)
        if flags is None:
            return
        unflagged = ~np.isfinite(values) & ((flags & np.uint32(DQ.DO_NOT_USE)) == 0)
        if unflagged.any():
            yield f"NaN or infinity not flagged DO_NOT_USE in {describe_samples(unflagged, region)}", "a number"


def _read_flags(flags: ArrayReader | None, reader: ArrayReader, region: Region) -> NDArray[np.uint32] | None:
    """Read the flags of a region; None where there are none that fit."""
    if flags is None or flags.shape != reader.shape or flags.dtype != np.dtype(np.uint32):
        return None
    try:
        return np.asarray(flags.read(region), np.uint32)
    except MemoryError:
        raise
    except Exception:  # the check of the flags reports it
        return None


def check_rate(contents: Contents) -> None:
    """Check a rate image whose objects were checked.

    Parameters
    ----------
    contents : Contents
        Objects of the exposure; takes the faults.
    """
    _check_exposure(contents, _RATE, "rateints", "ramp_fit")


def check_cal(contents: Contents) -> None:
    """Check a calibrated image whose objects were checked.

    Parameters
    ----------
    contents : Contents
        Objects of the exposure; takes the faults.
    """
    _check_exposure(contents, _CAL, "calints", "flat_field")


def check_mosaic(contents: Contents) -> None:
    """Check a mosaic whose objects were checked.

    Parameters
    ----------
    contents : Contents
        Objects of the mosaic; takes the faults.
    """
    group = contents.group
    if group in contents.groups:
        attributes = contents.groups[group]
        _check_records(contents, attributes)
        if not as_mapping(attributes.get("wcs")):
            contents.report(group, f"attribute wcs = {attributes.get('wcs')!r:.80}", "keywords of a projection")
        members = attributes.get("members")
        if not isinstance(members, list) or not members:
            contents.report(group, f"attribute members = {members!r:.80}", "a list of exposures")
    _check_arrays(contents, [group], _MOSAIC)


def _check_exposure(contents: Contents, names: Collection[str], ints: str, step: str) -> None:
    """Check attributes and arrays of an exposure, and of its integrations."""
    group = contents.group
    attributes = contents.groups.get(group)
    if attributes is not None:
        check_exposure_attributes(contents, attributes, (*REQUIRED, "exposure_time"))
        _check_records(contents, attributes)
        state = as_mapping(attributes.get("cal_step"))
        if state and step not in state:
            contents.report(group, f"no {step} in attribute cal_step", "the state of every step passed")
    inner = [f"{group}/{ints}"] if f"{group}/{ints}" in contents.groups else []
    _check_arrays(contents, [group, *inner], names)


def _check_records(contents: Contents, attributes: Mapping[str, Any]) -> None:
    """Check what a product records of its making."""
    group = contents.group
    for name in _MAPPINGS:
        if not isinstance(attributes.get(name), Mapping):
            contents.report(group, f"attribute {name} = {attributes.get(name)!r:.80}", "a mapping")
    provenance = as_mapping(attributes.get("provenance"))
    for name in _PROVENANCE if provenance else ():
        if name not in provenance:
            contents.report(group, f"no {name} in attribute provenance", "what an image was made with")


def _check_arrays(contents: Contents, groups: list[str], names: Collection[str]) -> None:
    """Check the arrays of an image and of its integrations."""
    for path in contents.groups.keys() - set(groups):
        contents.report(path, "a group that an image does not have", ", ".join(groups))
    for path in contents.arrays:
        group, _, name = path.rpartition("/")
        if group not in groups or name not in names:
            contents.report(path, "an array that the format does not have", ", ".join(names))
    checks = ArrayChecks(contents, IMAGES, "the format")
    for group in groups:
        unit = _unit_of(contents, contents.arrays.get(f"{group}/data"), names is _RATE)
        for name in names:
            path = f"{group}/{name}"
            if path in contents.arrays:
                within = path[len(contents.group) + 1 :]
                checks.check(contents.arrays[path], IMAGES.arrays[name], name, within, describe_array(name, unit))
            elif path not in contents.damaged:
                contents.report(path, "no such array", "an array that the format requires")


def _unit_of(contents: Contents, data: ArrayReader | None, are_rates: bool) -> str:
    """Return the unit of the values, which those of the errors follow."""
    if data is None:
        return RATE_UNITS
    try:
        return read_image_units(data, are_rates)
    except LayoutError as error:
        contents.report_error(data.path, error, "a unit")
        return RATE_UNITS
