"""Grid of a group: the row of each dump, receiver, array and subscan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.ingest.checks import check_size, find_durations, refuse_repeated
from cal_pipeline.heterodyne.ingest.pixels import BandRows
from cal_pipeline.heterodyne.ingest.rows import Floats, Integers, RowTable
from cal_pipeline.heterodyne.ingest.subscans import place_loads, place_source
from cal_pipeline.heterodyne.phases import COLD, HOT, ZERO

_ORDER = {**dict.fromkeys(HOT, 0), **dict.fromkeys(COLD, 1), "SKY": 2, **dict.fromkeys(ZERO, 3)}
"""Rank of a calibration phase; cold loads of both names share one."""


class GroupingProfile(Protocol):
    """Rules of a profile for grouping rows."""

    @property
    def reader(self) -> str:
        """``"table"``: a row is a dump; ``"image"``: a row is a subscan."""

    @property
    def dumps(self) -> str:
        """``"row"``: a subscan per row of a table; ``"scan"``: consecutive rows of a phase are its dumps."""

    @property
    def loads_gap(self) -> float:
        """Gap below which consecutive calibration scans become one [s]."""


@dataclass(frozen=True)
class GroupGrid:
    """Rows of a group on its axes.

    Parameters
    ----------
    name : str
        ``"source"`` or ``"calibration"``.
    band : BandRows
        The band.
    rows : ndarray, shape (D, R, A, S) or (1, R, A, S)
        Index of the row of each dump, -1 where it is missing; the second shape is that of images.
    phases : tuple of str, length S
        Phase of each subscan.
    n_channels, n_dumps : int
        C and D.
    mjd : ndarray, shape (S,)
        Middle of each subscan.
    """

    name: str
    band: BandRows
    rows: Integers
    phases: tuple[str, ...]
    n_channels: int
    n_dumps: int
    mjd: Floats

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Lengths (C, D, R, A, S) of the counts."""
        _, n_receivers, n_arrays, n_subscans = self.rows.shape
        return self.n_channels, self.n_dumps, n_receivers, n_arrays, n_subscans

    @cached_property
    def by_pixel(self) -> Integers:
        """The rows with pixels r·A + a on one axis, shape (D or 1, R·A, S)."""
        n_dumps, n_receivers, n_arrays, n_subscans = self.rows.shape
        return self.rows.reshape(n_dumps, n_receivers * n_arrays, n_subscans)

    @cached_property
    def exists(self) -> NDArray[np.bool_]:
        """True for rows that exist, shape (D or 1, R·A, S)."""
        return np.asarray(self.by_pixel >= 0)

    @cached_property
    def first_pixel(self) -> Integers:
        """First pixel of each subscan that has a row in it, shape (S,)."""
        return np.asarray(self.exists.any(axis=0).argmax(axis=0))

    @cached_property
    def of_first_pixel(self) -> Integers:
        """Rows of the first pixel of each subscan, -1 where missing, shape (D or 1, S)."""
        return np.asarray(self.by_pixel[:, self.first_pixel, np.arange(self.first_pixel.size)])

    @cached_property
    def first_rows(self) -> Integers:
        """First row of the first pixel of each subscan, shape (S,)."""
        dump = (self.of_first_pixel >= 0).argmax(axis=0)
        return np.asarray(self.of_first_pixel[dump, np.arange(dump.size)])


def find_middle(rows: RowTable, of_first_pixel: Integers) -> Floats:
    """Find the middle of each subscan: that of the first and the last dump of its first pixel [d].

    Parameters
    ----------
    rows : RowTable
        The table.
    of_first_pixel : ndarray, shape (D or 1, S)
        Rows of the first pixel of each subscan, -1 where missing.

    Returns
    -------
    ndarray, shape (S,)
    """
    found = rows.values["mjd"][of_first_pixel]
    if len(found) == 1:
        return np.asarray(found[0])
    found[of_first_pixel < 0] = np.nan
    start, end = np.fmin.reduce(found), np.fmax.reduce(found)
    return np.asarray(start + (end - start) / 2.0)


def join_dumps(profile: GroupingProfile) -> bool:
    """Tell whether consecutive rows are the dumps of one subscan."""
    return profile.reader == "table" and profile.dumps == "scan"


def make_grids(rows: RowTable, band: BandRows, profile: GroupingProfile) -> list[GroupGrid]:
    """Place the rows of a band on the grids of its groups.

    Parameters
    ----------
    rows : RowTable
        The table.
    band : BandRows
        The band; its rows have equally many channels.
    profile : GroupingProfile
        The way in which rows become subscans.

    Returns
    -------
    list of GroupGrid
        ``source`` and ``calibration``, those that the band has.

    Raises
    ------
    RefusedScanError
        If two rows are of one pixel and subscan, or the grid is too large.
    """
    phase, of_source = band.phase, band.of_source
    mjd = rows.values["mjd"][band.index]
    duration = find_durations(rows, band.index)
    recorded = (rows.number if rows.recorded_number is None else rows.recorded_number)[band.index]
    join = join_dumps(profile)
    grids = []
    if of_source.any():
        placed = place_source(mjd, duration, phase, band.pixel, recorded, join_rows=join)
        subscan, dump = placed[0][of_source], placed[1][of_source]
        grids.append(_fill_grid("source", rows, band, np.flatnonzero(of_source), subscan, dump))
    if not of_source.all():
        subscan, dump = place_loads(phase, band.pixel, recorded, ~of_source, join_rows=join)
        subscan += phase[~of_source] * (subscan.max() + 1)
        grids.append(_fill_grid("calibration", rows, band, np.flatnonzero(~of_source), subscan, dump))
    return grids


def _fill_grid(
    name: str,
    rows: RowTable,
    band: BandRows,
    positions: Integers,
    subscan: Integers,
    dump: Integers,
) -> GroupGrid:
    """Fill the grid of a group.

    Parameters
    ----------
    positions : ndarray, shape (n,)
        Positions in the band of the rows of the group.
    subscan, dump : ndarray, shape (n,)
        Labels of their subscans, and their dumps.
    """
    labels, first, subscan = np.unique(subscan, return_index=True, return_inverse=True)
    index = band.index[positions]
    n_channels = int(rows.n_channels[index[0]])
    in_rows = int(dump.max()) + 1
    n_dumps = max(in_rows, int(rows.n_dumps[index].max()))
    pixels = (len(band.receivers), len(band.arrays))
    check_size(band, name, (n_channels, n_dumps, *pixels, labels.size), in_rows)
    grid = np.full((in_rows, *pixels, labels.size), -1, dtype=np.int64)
    place = np.ravel_multi_index((dump, band.receiver[positions], band.array[positions], subscan), grid.shape)
    grid.flat[place] = index
    _refuse_two_in_one(rows, band, positions, place)
    phases = tuple(str(phase) for phase in rows.phase[index[first]])
    unsorted = GroupGrid(name, band, grid, phases, n_channels, n_dumps, np.zeros(labels.size))
    middle = find_middle(rows, unsorted.of_first_pixel)
    order = _order_subscans(phases, middle)
    return replace(
        unsorted,
        rows=np.ascontiguousarray(grid[..., order]),
        phases=tuple(phases[subscan] for subscan in order.tolist()),
        mjd=middle[order],
    )


def _order_subscans(phases: tuple[str, ...], mjd: Floats) -> Integers:
    """Order subscans by time, those of loads by phase and then by time; ties by the name of the phase."""
    ranks = np.array([_ORDER.get(phase, 0) for phase in phases])
    return np.asarray(np.lexsort((np.array(phases), mjd, ranks)))


def _refuse_two_in_one(rows: RowTable, band: BandRows, positions: Integers, place: Integers) -> None:
    """Refuse two rows in one place, as of a pixel with far shorter exposures than others have."""
    order = np.argsort(place, kind="stable")
    twice = np.flatnonzero(np.diff(place[order]) == 0)
    if twice.size:
        one, other = positions[order[twice[0]]], positions[order[twice[0] + 1]]
        raise refuse_repeated(rows, band, int(one), int(other))


def describe_missing(grid: GroupGrid, rows: RowTable) -> list[str]:
    """Describe what is filled as missing in a group.

    Parameters
    ----------
    grid : GroupGrid
        The group.
    rows : RowTable
        The table.

    Returns
    -------
    list of str
        Warnings with numbers and the first case; empty if nothing is missing.
    """
    missing = np.asarray(~grid.exists.any(axis=0))
    warnings = []
    if missing.any():
        subscan = int(missing.any(axis=0).argmax())
        pixel = int(missing[:, subscan].argmax())
        warnings.append(
            f"{grid.name}: {int(missing.sum())} of {missing.size} pixels x subscans have no row"
            f" (first: {_name_subscan(grid, subscan)}, {grid.band.name_pixel(pixel)}): filled as missing"
        )
    if grid.by_pixel.shape[0] == grid.n_dumps:
        held = grid.exists.sum(axis=0)
    else:
        held = np.where(grid.exists[0], rows.n_dumps[grid.by_pixel[0]], 0)
    short = (held < grid.n_dumps) & ~missing
    if short.any():
        subscan = int(short.any(axis=0).argmax())
        pixel = int(short[:, subscan].argmax())
        warnings.append(
            f"{grid.name}: {int(short.sum())} of {short.size} pixels x subscans have fewer than {grid.n_dumps} dumps"
            f" (first: {_name_subscan(grid, subscan)}, {grid.band.name_pixel(pixel)},"
            f" {format_count(int(held[pixel, subscan]), 'dump')}): filled as missing"
        )
    return warnings


def _name_subscan(grid: GroupGrid, subscan: int) -> str:
    return f"subscan {subscan} ({grid.phases[subscan]})"
