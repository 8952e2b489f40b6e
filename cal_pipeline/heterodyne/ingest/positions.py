"""Offsets of a group of L0: of the map from dump to dump, and of the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.checks import RefusedScanError, name_row
from cal_pipeline.heterodyne.ingest.groups import GroupGrid
from cal_pipeline.heterodyne.ingest.rows import Coordinate, Floats, RowTable

_AXES = ("lon", "lat")
_PER_DUMP = ("dump", "subscan")
_PER_PIXEL = ("receiver", "array", "subscan")
_HALF_TURN = 180.0
_NO_ROWS = np.empty(0, dtype=np.int64)


class Origin(NamedTuple):
    """Origin of the offsets of a scan; NaN where not known.

    Parameters
    ----------
    lon, lat : float
        Longitude and latitude of the source [deg].
    """

    lon: float
    lat: float


def are_absolute(rows: RowTable) -> bool:
    """Tell whether the rows hold positions on the sky, and no offsets of the map."""
    return all(name in rows.values for name in _AXES) and not any(f"otf_{name}" in rows.values for name in _AXES)


def find_origin(rows: RowTable, grids: Sequence[GroupGrid], row: int) -> Origin:
    """Find the origin of the offsets of a scan.

    Parameters
    ----------
    rows : RowTable
        The table.
    grids : sequence of GroupGrid
        Groups of the scan.
    row : int
        Row that tells the attributes of the scan.

    Returns
    -------
    Origin
        Position of the source.

    Raises
    ------
    RefusedScanError
        If ONs or OFFs have positions on the sky, and the source has none.
    """
    names = [f"source_{axis}_deg" for axis in _AXES]
    found = [_as_number(rows.scan_values[name][row]) if name in rows.scan_values else np.nan for name in names]
    missing = [name for name, value in zip(names, found, strict=True) if not np.isfinite(value)]
    if missing and are_absolute(rows):
        index = np.concatenate([grid.rows[grid.rows >= 0] for grid in grids if grid.name == "source"] or [_NO_ROWS])
        if np.isfinite(rows.values["lon"][index] + rows.values["lat"][index]).any():
            raise RefusedScanError(
                f"{name_row(rows, row)}: found no {' and no '.join(missing)} in [scan],"
                " expected the origin of lon and lat in [map]",
                rows.files[int(rows.file[row])],
            )
    return Origin(*found)


def _as_number(value: object) -> float:
    return float(value) if isinstance(value, (int, float, np.number)) else np.nan


def make_offsets(rows: RowTable, grid: GroupGrid, origin: Origin) -> dict[str, Coordinate]:
    """Make the offsets of a group.

    Parameters
    ----------
    rows : RowTable
        The table; offsets and positions in degrees.
    grid : GroupGrid
        Rows of the group on its axes.
    origin : Origin
        Origin of absolute positions.

    Returns
    -------
    dict of str to tuple
        Axes and values of ``otf_lon``, ``otf_lat``, ``pixel_offset_lon`` and ``pixel_offset_lat``, those that
        the rows have or that follow from positions [deg]. Offsets of the map have the axis of dumps for
        positions on the sky, and where rows have a ramp or change within a subscan. An array without any number
        is left out.
    """
    if are_absolute(rows):
        track, pixels = _split_positions(rows, grid, origin)
        result: dict[str, Coordinate] = {f"otf_{axis}": (_PER_DUMP, track[axis]) for axis in _AXES}
    else:
        track, pixels = _find_track(rows, grid), {}
        result = _shape_track(rows, grid, track)
    pixels |= {axis: _find_pixels(rows, grid, axis) for axis in _AXES if f"pixel_offset_{axis}" in rows.values}
    for axis, offsets in pixels.items():
        result[f"pixel_offset_{axis}"] = (_PER_PIXEL, np.ascontiguousarray(offsets.reshape(grid.rows.shape[1:])))
    return {name: (axes, values) for name, (axes, values) in result.items() if np.isfinite(values).any()}


def find_offsets(lon: Floats, lat: Floats, origin: Origin) -> tuple[Floats, Floats]:
    """Find the offsets of positions from an origin.

    dlat = lat - lat0, dlon = (lon - lon0)·cos(lat), lon - lon0 within ±180° (radio projection).

    Parameters
    ----------
    lon, lat : ndarray
        Positions [deg].
    origin : Origin
        The origin [deg].

    Returns
    -------
    dlon, dlat : ndarray
        Offsets [deg], in longitude as true angles.

    Examples
    --------
    >>> dlon, dlat = find_offsets(np.array([0.5]), np.array([60.0]), Origin(359.5, 59.0))
    >>> dlon.round(9).tolist(), dlat.tolist()  # across the meridian of 0 degrees
    ([0.5], [1.0])
    """
    turned = lon - origin.lon
    # A difference that needs no wrap keeps every bit.
    wrapped = np.where(
        np.abs(turned) > _HALF_TURN, turned - 2 * _HALF_TURN * np.round(turned / (2 * _HALF_TURN)), turned
    )
    return wrapped * np.cos(np.radians(lat)), lat - origin.lat


def _spread(rows: RowTable, grid: GroupGrid, name: str) -> Floats:
    """Spread a column, with its ramp, over the dumps of each pixel, NaN where missing; shape (D, R·A, S)."""
    base = np.where(grid.exists, rows.values[name][grid.by_pixel], np.nan)
    dumps = np.arange(grid.n_dumps, dtype=np.float64)[:, np.newaxis, np.newaxis]
    if name in rows.ramps:
        # A row without the ramp does not move.
        base = base + dumps * np.nan_to_num(rows.ramps[name][grid.by_pixel])
    if grid.exists.shape[0] == grid.n_dumps:
        return base
    held = np.where(grid.exists, rows.n_dumps[grid.by_pixel], 0)
    return np.where(dumps < held, base, np.nan)


def _take_first(values: Floats) -> Floats:
    """Take the number of the first pixel that has one, for each dump: from (D, P, S) to (D, S)."""
    pixel = np.isfinite(values).argmax(axis=1)
    return np.ascontiguousarray(np.take_along_axis(values, pixel[:, np.newaxis], axis=1)[:, 0])


def _split_positions(rows: RowTable, grid: GroupGrid, origin: Origin) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Split positions into those of the first pixel, (D, S), and offsets of the pixels from it, (R·A, S).

    Where the first pixel lacks a dump, its position follows from that of another pixel and their offset.
    """
    lon, lat = _spread(rows, grid, "lon"), _spread(rows, grid, "lat")
    offsets = dict(zip(_AXES, find_offsets(lon, lat, origin), strict=True))
    known = np.isfinite(lon) & np.isfinite(lat)
    first = known.any(axis=0).argmax(axis=0)
    track, pixels = {}, {}
    for axis, values in offsets.items():
        difference = values - values[:, first, np.arange(first.size)][:, np.newaxis]
        pixels[axis] = _mean_over_dumps(difference)
        track[axis] = _take_first(values - pixels[axis])
    return track, pixels


def _mean_over_dumps(values: Floats) -> Floats:
    """Average over the dumps that are there, NaN where none is: from (D, …) to (…)."""
    there: NDArray[np.bool_] = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _find_track(rows: RowTable, grid: GroupGrid) -> dict[str, Floats]:
    """Find the recorded offsets of the map, (D, S)."""
    return {axis: _take_first(_spread(rows, grid, f"otf_{axis}")) for axis in _AXES if f"otf_{axis}" in rows.values}


def _shape_track(rows: RowTable, grid: GroupGrid, track: dict[str, Floats]) -> dict[str, Coordinate]:
    """Drop the axis of dumps where no row has a ramp and offsets do not change within any subscan."""
    index = grid.by_pixel[grid.exists]
    moving = any(np.isfinite(rows.ramps[f"otf_{axis}"][index]).any() for axis in track if f"otf_{axis}" in rows.ramps)
    moving |= any((np.fmax.reduce(values) > np.fmin.reduce(values)).any() for values in track.values())
    if moving:
        return {f"otf_{axis}": (_PER_DUMP, values) for axis, values in track.items()}
    dump = {axis: np.isfinite(values).argmax(axis=0) for axis, values in track.items()}
    return {
        f"otf_{axis}": (("subscan",), values[dump[axis], np.arange(values.shape[1])]) for axis, values in track.items()
    }


def _find_pixels(rows: RowTable, grid: GroupGrid, axis: str) -> Floats:
    """Find the recorded offsets of the pixels, means over dumps, (R·A, S)."""
    values = np.where(grid.exists, rows.values[f"pixel_offset_{axis}"][grid.by_pixel], np.nan)
    first = np.take_along_axis(values, grid.exists.argmax(axis=0)[np.newaxis], axis=0)
    return np.asarray(first[0] + _mean_over_dumps(values - first))
