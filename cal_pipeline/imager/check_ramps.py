"""Check of a raw exposure against the format: attributes, arrays, units, read pattern, values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.store.check import Contents, describe_samples
from cal_pipeline.core.store.interface import ArrayReader, Region
from cal_pipeline.imager.layout import (
    ATTRIBUTES,
    REQUIRED,
    check_attributes,
    check_ramp_arrays,
    determine_read_pattern,
)
from cal_pipeline.imager.subarray import find_subarray
from cal_pipeline.imager.units import check_count_units

ARRAYS = ("data", "pixeldq", "groupdq")
"""Arrays of a raw exposure."""


def judge_ramp_values(
    contents: Contents, reader: ArrayReader, region: Region, values: NDArray[Any]
) -> Iterator[tuple[str, str]]:
    """Find infinite counts in a chunk; NaN marks missing ones."""
    if values.dtype.kind == "f" and np.isinf(values).any():
        yield f"infinite {describe_samples(np.isinf(values), region)}", "finite numbers, NaN where missing"


def may_lack_all_chunks(reader: ArrayReader) -> bool:
    """Tell whether an array may be without any stored chunk: flags of which none is set."""
    return reader.path.rpartition("/")[2] in ARRAYS[1:]


def check_ramp(contents: Contents) -> None:
    """Check a raw exposure whose objects were checked.

    Parameters
    ----------
    contents : Contents
        Objects of the exposure; takes the faults.
    """
    group = contents.group
    attributes = contents.groups.get(group, {})
    if group in contents.groups:
        check_exposure_attributes(contents, attributes, REQUIRED)
    for path in contents.groups.keys() - {group}:
        contents.report(path, "a group that a ramp does not have", ", ".join(ARRAYS))
    for path in contents.arrays:
        if path.rpartition("/")[0] != group or path.rpartition("/")[2] not in ARRAYS:
            contents.report(path, "an array that a ramp does not have", ", ".join(ARRAYS))
    readers = {name: contents.arrays[f"{group}/{name}"] for name in ARRAYS if f"{group}/{name}" in contents.arrays}
    if "data" not in readers:
        if f"{group}/data" not in contents.damaged:
            contents.report(f"{group}/data", "no such array", "the counts of the exposure")
        return
    where = f"{contents.root}/{group}"
    shape = None
    for name, reader in readers.items():
        try:
            given = {"data": readers["data"], name: reader}
            shape = check_ramp_arrays(given, where)
        except LayoutError as error:
            contents.report_error(f"{group}/{name}", error, "an array as the format has it")
            if name == "data":
                return
    try:
        check_count_units(readers["data"])
    except LayoutError as error:
        contents.report_error(f"{group}/data", error, "counts in adu")
    if shape is not None:
        _check_fit(contents, attributes, shape)


def _check_fit(contents: Contents, attributes: Mapping[str, Any], shape: tuple[int, int, int, int]) -> None:
    """Check that read pattern and subarray fit the counts."""
    where = f"{contents.root}/{contents.group}"
    sound = {name: value for name, value in attributes.items() if _is_sound(name, value)}
    for check in (
        lambda: determine_read_pattern(sound, shape[1], where),
        lambda: find_subarray(sound, (shape[2], shape[3]), where),
    ):
        try:
            check()
        except LayoutError as error:
            contents.report_error(contents.group, error, "attributes that fit the data")


def _is_sound(name: str, value: Any) -> bool:
    """Tell whether an attribute is as the format says; others were reported."""
    return name not in ATTRIBUTES or value is None or ATTRIBUTES[name].accepts(value)


def check_exposure_attributes(contents: Contents, attributes: Mapping[str, Any], required: Collection[str]) -> None:
    """Check the attributes of an exposure one by one.

    Parameters
    ----------
    contents : Contents
        Objects of the exposure; takes the faults.
    attributes : mapping
        Its attributes.
    required : collection of str
        Attributes that must be there.
    """
    group = contents.group
    number = attributes.get("exposure_number", contents.observation)
    if number != contents.observation or isinstance(number, bool):
        contents.report(group, f"attribute exposure_number = {number!r:.80}", f"{contents.observation}")
    where = f"{contents.root}/{group}"
    for name in ATTRIBUTES.keys() - {"exposure_number"}:
        try:
            check_attributes({name: attributes.get(name)}, where, [name] if name in required else [])
        except LayoutError as error:
            contents.report_error(group, error, ATTRIBUTES[name].expected)
