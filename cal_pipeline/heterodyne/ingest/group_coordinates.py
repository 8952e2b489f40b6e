"""Small arrays of a group of L0 from the rows on its grid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.groups import GroupGrid
from cal_pipeline.heterodyne.ingest.positions import Origin, make_offsets
from cal_pipeline.heterodyne.ingest.rows import Coordinate, Floats, Integers, RowTable

_PER_SUBSCAN = {
    "exptime": np.float32,
    "elevation": np.float32,
    "azimuth": np.float32,
    "pamb": np.float32,
    "tamb": np.float32,
    "signal_freq": np.float64,
    "image_freq": np.float64,
    "freq_res": np.float64,
    "freq_off": np.float64,
    "ref_channel": np.float32,
}
"""Types of the numbers of the first pixel of each subscan."""

_ABSENT = ("azimuth",)
"""Arrays that are not written where no row has them."""

_TURN = {"azimuth": 2.0 * math.pi}
"""Full turns of angles [rad]."""

_LARGEST_NUMBER = 2**31 - 1


def make_coordinates(
    rows: RowTable, grid: GroupGrid, pixel_ids: list[str], lloadsn: Integers, origin: Origin
) -> dict[str, Coordinate]:
    """Make every small array of a group with its axes, of the type in which it is written.

    Parameters
    ----------
    rows : RowTable
        The table, with a column for every number (:func:`~cal_pipeline.heterodyne.ingest.sorting.sort_rows`).
    grid : GroupGrid
        Rows of the group on its axes.
    pixel_ids : list of str, length R·A
        Ids of the pixels.
    lloadsn : ndarray, shape (S,)
        Scan number of the last load, for each subscan.
    origin : Origin
        Origin of absolute positions.

    Returns
    -------
    dict of str to tuple
        Axes and values by name. Numbers of a subscan are those of its first pixel, means over its dumps;
        `mjd` is the middle of these; `thot` and `tcold` are means over all pixels and dumps.
    """
    result: dict[str, Coordinate] = {"mjd": (("subscan",), grid.mjd)}
    for name, kind in _PER_SUBSCAN.items():
        values = average_dumps(rows.values[name], grid.of_first_pixel, _TURN.get(name, 0.0))
        if name not in _ABSENT or np.isfinite(values).any():
            result[name] = (("subscan",), values.astype(kind))
    result["lloadsn"] = (("subscan",), lloadsn.astype(np.int32))
    result["sobsmode"] = (("subscan",), np.array(grid.phases, dtype=object))
    if grid.name == "calibration":
        for name in ("thot", "tcold"):
            every = grid.by_pixel.reshape(-1, len(grid.phases))
            result[name] = (("subscan",), average_dumps(rows.values[name], every))
    result["frontend_backends"] = (("pixel",), np.array(pixel_ids, dtype=object))
    if grid.name == "source":
        result.update(make_offsets(rows, grid, origin))
    return result


def average_dumps(values: Floats, index: Integers, turn: float = 0.0) -> Floats:
    """Average a column over the dumps of each subscan; equal numbers keep every bit.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Numbers of the rows, NaN where not there.
    index : ndarray, shape (D, S)
        Rows of each subscan, -1 where missing.
    turn : float
        Full turn of an angle, in its unit; 0 for what is none.

    Returns
    -------
    ndarray, shape (S,)
        Means over what is there, NaN where nothing is.

    Examples
    --------
    >>> average_dumps(np.array([6.2, 0.1, np.nan]), np.array([[0, 2], [1, -1]]), turn=2.0 * np.pi).round(6)
    array([6.291593,      nan])
    """
    found = np.where(index >= 0, values[index], np.nan)
    there = np.isfinite(found)
    first = found[there.argmax(axis=0), np.arange(found.shape[1])]
    if found.shape[0] == 1:
        return np.where(there[0], first, np.nan)
    # Differences from the first are exactly 0 for equal numbers, whose plain mean may differ in the last bit.
    change = np.where(there, found - first, 0.0)
    if turn:
        change -= turn * np.round(change / turn)
    mean = first + change.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return np.where(there.any(axis=0), mean, np.nan)


def choose_last_loads(rows: RowTable, grid: GroupGrid, default: int, merged: dict[int, int]) -> Integers:
    """Choose the scan number of the last load of each subscan.

    Parameters
    ----------
    rows : RowTable
        The table.
    grid : GroupGrid
        Rows of the group on its axes.
    default : int
        Number where the files name none.
    merged : dict of int to int
        Scans by the number of those that became part of them.

    Returns
    -------
    ndarray of int, shape (S,)
        The numbers, -1 for none.
    """
    mapped = rows.values.get("lloadsn")
    named = np.full(len(grid.phases), np.nan) if mapped is None else mapped[grid.first_rows]
    known: NDArray[np.bool_] = np.isfinite(named) & (np.abs(named) <= _LARGEST_NUMBER)
    numbers = np.where(known, named, float(default)).astype(np.int64)
    return np.array([merged.get(number, number) for number in numbers.tolist()], dtype=np.int64)
