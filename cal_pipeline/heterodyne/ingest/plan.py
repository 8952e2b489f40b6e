"""Plan of the scans of a session, from the rows of its FITS files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.attributes import find_first_row, make_attributes, make_band_attributes
from cal_pipeline.heterodyne.ingest.checks import RefusedScanError, check_channels, check_problems, check_repeated
from cal_pipeline.heterodyne.ingest.group_coordinates import choose_last_loads, make_coordinates
from cal_pipeline.heterodyne.ingest.groups import GroupGrid, GroupingProfile, describe_missing, make_grids
from cal_pipeline.heterodyne.ingest.load_scans import LoadHistory, ScanOutline, merge_load_scans, outline_scan
from cal_pipeline.heterodyne.ingest.pixel_spread import describe_axes, describe_spread
from cal_pipeline.heterodyne.ingest.pixels import BandRows, RowNames, name_pixels, split_bands
from cal_pipeline.heterodyne.ingest.plan_limits import warn_of_limits
from cal_pipeline.heterodyne.ingest.plan_warnings import (
    warn_of_defaults,
    warn_of_other_bands,
    warn_of_others,
    warn_of_pause,
    warn_of_reversed_pixels,
)
from cal_pipeline.heterodyne.ingest.positions import Origin, are_absolute, find_origin
from cal_pipeline.heterodyne.ingest.rows import BandPlan, GroupPlan, IngestFailure, Integers, RowTable, ScanPlan
from cal_pipeline.heterodyne.ingest.sorting import find_absent, sort_rows, split_numbers

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Plans:
    """Scans of a session to be written, and those that cannot be.

    Parameters
    ----------
    scans : mapping of int to ScanPlan
        Plans by scan number, in order of time.
    failures : list of IngestFailure
        Scans that fail.
    merged : mapping of int to int
        Calibration scans that became part of another: its number by theirs.
    """

    scans: Mapping[int, ScanPlan]
    failures: list[IngestFailure] = field(default_factory=list)
    merged: Mapping[int, int] = field(default_factory=dict)


def plan_scans(rows: RowTable, profile: GroupingProfile) -> Plans:
    """Plan the scans that rows of FITS files make.

    The plans depend on what the rows hold and on the paths of their files, not on their order.

    Parameters
    ----------
    rows : RowTable
        Rows of all files.
    profile : GroupingProfile
        Profile of the files, or any object with its `reader`, `dumps` and `loads_gap`.

    Returns
    -------
    Plans
        A scan that fails is among the failures and leaves the others as they are.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.ingest.find_files import find_files
    >>> from cal_pipeline.heterodyne.ingest.profile import open_profile
    >>> from cal_pipeline.heterodyne.ingest.tabulate import tabulate
    >>> profile = open_profile("barge.toml")
    >>> plans = plan_scans(tabulate(find_files(["night_files"], profile), profile).rows, profile)
    >>> plans.failures, {number: list(plan.bands[0].groups) for number, plan in plans.scans.items()}
    ([], {3: ['source'], 4: ['source']})
    >>> plans.scans[3].bands[0].groups["source"].coordinates["sobsmode"][1].tolist()
    ['OFF', 'ON']
    """
    # Files may hold numbers that are infinite or too large for 32 bits; reading L0 tells of them.
    with np.errstate(invalid="ignore", over="ignore"):
        return _plan_sorted(*sort_rows(rows), find_absent(rows), profile)


def _plan_sorted(table: RowTable, order: Integers, absent: Mapping[str, Mask], profile: GroupingProfile) -> Plans:
    """Plan the scans of rows in order of time, which had another order and lacked numbers."""
    absent = {name: lacking[order] for name, lacking in absent.items()}
    names = RowNames.of(table)
    members, outlines, failures = _find_members(table, names)
    merged = merge_load_scans(outlines.values(), profile.loads_gap)
    joined: dict[int, list[int]] = {}
    for part, whole in merged.items():
        joined.setdefault(whole, []).append(part)
    history = LoadHistory(outlines.values(), merged)
    planner = _Planner(table, order, absent, profile, merged, outlines, history)
    plans = []
    for number, bands in members.items():
        if outlines[number].failed or number in merged:
            continue
        try:
            if number in joined:
                indices = [band.index for part in (number, *joined[number]) for band in members[part]]
                bands = _check_bands(table, names, np.sort(np.concatenate(indices)))
            plans.append(planner.plan_scan(number, bands))
        except RefusedScanError as error:
            failures.append(error.describe(number))
    plans.sort(key=lambda plan: (plan.mjd, plan.number))
    failures.sort(key=lambda failure: failure.scan_number or 0)
    return Plans(warn_of_others({plan.number: plan for plan in plans}), failures, merged)


def _find_members(
    rows: RowTable, names: RowNames
) -> tuple[dict[int, list[BandRows]], dict[int, ScanOutline], list[IngestFailure]]:
    """Find and check the bands of each scan number, and outline it; one that fails has no bands."""
    members, outlines, failures = {}, {}, []
    for number, index in split_numbers(rows).items():
        try:
            check_problems(rows, index)
            members[number] = _check_bands(rows, names, index)
        except RefusedScanError as error:
            members[number] = []
            failures.append(error.describe(number))
        outlines[number] = outline_scan(rows, number, index, failed=not members[number])
    return members, outlines, failures


def _check_bands(rows: RowTable, names: RowNames, index: Integers) -> list[BandRows]:
    """Split rows in order of time into bands, and check each."""
    bands = split_bands(names, index)
    for band in bands:
        check_channels(rows, band)
        check_repeated(rows, band)
    return bands


@dataclass(frozen=True)
class _Planner:
    """Planner of single scans.

    Parameters
    ----------
    rows : RowTable
        The rows in order of time.
    order : ndarray, shape (N,)
        Index of each row in the table as given.
    absent : mapping of str to ndarray of bool, shape (N,)
        Rows without a number that is declared, by its name.
    profile : GroupingProfile
        The way in which rows become subscans.
    merged : dict of int to int
        Calibration scans that became part of another.
    outlines : dict of int to ScanOutline
        All scan numbers.
    history : LoadHistory
        Scans with loads.
    """

    rows: RowTable
    order: Integers
    absent: Mapping[str, Mask]
    profile: GroupingProfile
    merged: dict[int, int]
    outlines: dict[int, ScanOutline]
    history: LoadHistory

    def plan_scan(self, number: int, bands: list[BandRows]) -> ScanPlan:
        """Plan a scan from the rows of its bands."""
        rows = self.rows
        grids = [make_grids(rows, band, self.profile) for band in bands]
        every = [grid for groups in grids for grid in groups]
        first_row = find_first_row(rows, every)
        attributes = make_attributes(rows, number, first_row)
        origin = find_origin(rows, every, first_row)
        last_loads = self.history.find_last(self.outlines[number])
        of_bands = make_band_attributes(rows, [find_first_row(rows, groups) for groups in grids])
        warnings = [f"lloadsn names scan {last_loads}, which failed"] if self._has_failed(last_loads) else []
        index = np.concatenate([band.index for band in bands])
        warnings += [*warn_of_pause(rows.values["mjd"][index]), *warn_of_defaults(rows, self.absent, index)]
        has_source = any(grid.name == "source" for grid in every)
        if has_source and last_loads in self.outlines:
            warnings += warn_of_other_bands([band.band for band in bands], self.outlines[last_loads])
        plans = []
        for band, groups, own in zip(bands, grids, of_bands, strict=True):
            ids, doubts = name_pixels(rows, band)
            if has_source and not any(grid.name == "source" for grid in groups):
                doubts.append("no ONs and OFFs, which other bands of the scan have")
            for describe in (describe_missing, describe_axes, describe_spread):
                doubts += [warning for grid in groups for warning in describe(grid, rows)]
            planned = {grid.name: self._plan_group(grid, ids, last_loads, origin) for grid in groups}
            if "source" in planned and are_absolute(rows):
                doubts += warn_of_reversed_pixels(planned["source"])
            warnings += [f"{band.name}: {doubt}" if band.name else doubt for doubt in doubts]
            plans.append(BandPlan(band.name, own, planned))
        warnings += warn_of_limits(plans, str(attributes.get("instmode", "")))
        files = np.unique(rows.file[index]).tolist()
        return ScanPlan(
            number=number,
            attributes=attributes,
            bands=tuple(plans),
            files=tuple(sorted(files, key=lambda file: rows.files[file])),
            mjd=min(float(grid.mjd.min()) for grid in every),
            warnings=tuple(warnings),
        )

    def _plan_group(self, grid: GroupGrid, ids: list[str], last_loads: int, origin: Origin) -> GroupPlan:
        lloadsn = choose_last_loads(self.rows, grid, last_loads, self.merged)
        coordinates = make_coordinates(self.rows, grid, ids, lloadsn, origin)
        return GroupPlan(grid.shape, np.where(grid.rows >= 0, self.order[grid.rows], -1), coordinates)

    def _has_failed(self, number: int) -> bool:
        return number in self.outlines and self.outlines[number].failed
