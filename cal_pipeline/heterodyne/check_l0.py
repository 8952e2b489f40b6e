"""Check of an L0 scan against the format: arrays, shapes, types, units, phases, values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.check import Contents, describe_samples
from cal_pipeline.core.store.interface import ArrayReader, Region
from cal_pipeline.core.text import format_ranges
from cal_pipeline.heterodyne.coordinates import check_values, read_arrays
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.l0 import CalibrationGroup, read_coordinates
from cal_pipeline.heterodyne.modes import determine_mode
from cal_pipeline.heterodyne.phases import CALIBRATION, COLD, HOT, find_phases
from cal_pipeline.heterodyne.schema import (
    CALIBRATION_COORDINATES,
    NUMBER_ATTRIBUTES,
    SOURCE_COORDINATES,
    TEXT_ATTRIBUTES,
    Coordinate,
)

COUNTS = "data_5d"
"""Array of the counts."""

_GROUPS: dict[str, Mapping[str, Coordinate]] = {"source": SOURCE_COORDINATES, "calibration": CALIBRATION_COORDINATES}
_KNOWN = {COUNTS, "azimuth", "raw_fits_headers", *SOURCE_COORDINATES, *CALIBRATION_COORDINATES}
_LOADS = {"thot": HOT, "tcold": COLD}
"""Phases of ``calibration`` in which an array is used, for those that :func:`check_values` leaves to the steps."""


def judge_l0_values(
    contents: Contents, reader: ArrayReader, region: Region, values: NDArray[Any]
) -> Iterator[tuple[str, str]]:
    """Find infinite numbers in a chunk of an L0 array."""
    if values.dtype.kind == "f":
        infinite = np.isinf(values)
        if infinite.any():
            yield f"infinite {describe_samples(infinite, region)}", "finite numbers, NaN where missing"


def may_lack_all_chunks(reader: ArrayReader) -> bool:
    """Tell whether an L0 array may be without any stored chunk, as its fill value is a legitimate value."""
    group, _, name = reader.path.rpartition("/")
    if name == "azimuth":
        return True
    # Calibration groups hold coordinates that only matter in source.
    spec = _GROUPS.get(group.rpartition("/")[2], {}).get(name) or SOURCE_COORDINATES.get(name)
    return spec is not None and spec.takes_fill(reader.fill_value)


def check_l0_scan(contents: Contents) -> None:
    """Check a scan of an L0 session whose objects were checked.

    Parameters
    ----------
    contents : Contents
        Objects of the scan; takes the faults.
    """
    scan = contents.group
    found = contents.groups.get(scan, {})
    recorded = found.get("scan_number", contents.observation)
    if recorded != contents.observation or isinstance(recorded, bool):
        contents.report(scan, f"attribute scan_number = {recorded!r}", f"{contents.observation}")
    bands = sorted(path for path in _children(contents, scan) if path.rpartition("/")[2].startswith("band_"))
    if bands and f"{scan}/source" in contents.groups:
        contents.report(scan, "source beside groups band_B", "either")
    parts = bands or [scan]
    known = {scan, *parts, *(f"{part}/{name}" for part in parts for name in _GROUPS)}
    for path in contents.groups.keys() - known:
        contents.report(path, "a group that L0 does not have", "source and calibration, in bands or in the scan")
    for part in parts:
        attributes = found | contents.groups.get(part, {})
        _check_attributes(contents, part, attributes)
        groups = [name for name in _GROUPS if f"{part}/{name}" in contents.groups]
        if not groups and part not in contents.damaged:
            contents.report(part, "neither source nor calibration", "at least one of these groups")
        for name in groups:
            _check_group(contents, f"{part}/{name}", name, str(attributes.get("instmode", "")))
    names = ", ".join(sorted(_KNOWN))
    for path in contents.arrays:
        group, _, name = path.rpartition("/")
        if group not in known or name not in _KNOWN or group in (scan, *parts):
            contents.report(path, "an array that L0 does not have", f"{names} in source and calibration")


def _children(contents: Contents, group: str) -> Iterator[str]:
    return (path for path in contents.groups if path.rpartition("/")[0] == group)


def _check_attributes(contents: Contents, group: str, attributes: Mapping[str, Any]) -> None:
    """Check the types of the attributes that decide how a scan is calibrated."""
    for name in TEXT_ATTRIBUTES:
        if not isinstance(attributes.get(name), (str, type(None))):
            contents.report(group, f"attribute {name} = {attributes[name]!r}", "text")
    for name, unit in NUMBER_ATTRIBUTES.items():
        value = attributes.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            contents.report(group, f"attribute {name} = {value!r}", f"a number [{unit}]")


def _check_group(contents: Contents, group: str, name: str, instmode: str) -> None:
    """Check the arrays of a ``source`` or ``calibration`` group."""
    before = len(contents.findings)
    wanted = _GROUPS[name]
    for array in (COUNTS, *(key for key, spec in wanted.items() if spec.required)):
        if f"{group}/{array}" not in contents.arrays and f"{group}/{array}" not in contents.damaged:
            contents.report(f"{group}/{array}", "no such array", "an array that L0 requires")
    if f"{group}/{COUNTS}" not in contents.arrays:
        return
    try:
        shape = Counts(contents.root, f"{group}/{COUNTS}", StageClock()).shape
    except ObservationError as error:
        contents.report_error(f"{group}/{COUNTS}", error, "counts as L0 has them")
        return
    values = _read_values(contents, group, wanted, shape)
    if "sobsmode" in values:
        _check_phases(contents, group, name, values["sobsmode"], instmode)
        _check_numbers(contents, group, wanted, values, instmode)
    if len(contents.findings) > before or {f"{group}/{key}" for key in wanted} & contents.damaged:
        return
    try:
        # Whatever else a run refuses: pixel ids, times, and how arrays fit together.
        if name == "source":
            read_coordinates(contents.root, group, shape, instmode)
        else:
            CalibrationGroup(contents.root, group, contents.observation or 0)
    except ObservationError as error:
        contents.report_error(group, error, "a group that can be calibrated")


def _read_values(
    contents: Contents, group: str, wanted: Mapping[str, Coordinate], shape: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """Read the arrays beside the counts one by one, and report those with a wrong shape, type or unit."""
    names = [name for name in wanted if f"{group}/{name}" in contents.arrays.keys() - contents.damaged]

    def read(name: str) -> dict[str, NDArray[Any]] | ObservationError:
        try:
            return read_arrays(contents.root, group, {name: wanted[name]}, shape)
        except ObservationError as error:
            return error

    values: dict[str, NDArray[Any]] = {}
    for name, found in zip(names, contents.root.each(read, names), strict=True):
        if isinstance(found, ObservationError):
            contents.report_error(f"{group}/{name}", found, "an array as L0 has it")
        else:
            values |= found
    return values


def _check_phases(contents: Contents, group: str, name: str, phases: NDArray[np.str_], instmode: str) -> None:
    """Report subscans of a phase that is not calibrated."""
    path = f"{group}/sobsmode"
    if name == "calibration":
        used, expected = find_phases(phases, CALIBRATION), ", ".join(CALIBRATION)
    else:
        try:
            mode = determine_mode(phases, instmode)
        except ObservationError as error:
            contents.report_error(path, error, "phases of an observing mode")
            return
        ons, offs = mode.find_ons(phases), mode.find_offs(phases)
        used, expected = ons | offs, f"{mode.describe_phases()} (mode {mode.name})"
        if not ons.any() or not offs.any():
            contents.report(path, f"{ons.sum()} ON and {offs.sum()} OFF", "at least one of each")
    left = np.flatnonzero(~used)
    if left.size:
        names = ", ".join(repr(str(text)) for text in dict.fromkeys(phases[left].tolist()))
        contents.report(path, f"phase {names} of subscans {format_ranges(left.tolist())}", expected)


def _check_numbers(
    contents: Contents, group: str, wanted: Mapping[str, Coordinate], values: dict[str, NDArray[Any]], instmode: str
) -> None:
    """Report numbers beyond the limits at the subscans that need them."""
    phases = values["sobsmode"]
    for name, spec in wanted.items():
        if name not in values or spec.kind != "number":
            continue
        path = f"{group}/{name}"
        try:
            check_values(f"{contents.root}/{group}", {"sobsmode": phases, name: values[name]}, {name: spec}, instmode)
        except ObservationError as error:
            contents.report_error(path, error, spec.expected)
        used = _LOADS.get(name)
        if used is not None:
            recorded = values[name][find_phases(phases, used)]
            unsound = spec.find_unsound(recorded)
            if unsound.any():
                contents.report(path, spec.describe(recorded[unsound]), spec.expected)
