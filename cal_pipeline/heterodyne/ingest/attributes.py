"""Attributes of a scan and of its bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.groups import GroupGrid
from cal_pipeline.heterodyne.ingest.rows import RowTable

_OF_BANDS = ("frontend", "line", "rest_freq_hz")
"""Attributes that each of several bands has of its own."""


def find_first_row(rows: RowTable, grids: Sequence[GroupGrid]) -> int:
    """Find the row that tells the attributes: of the first ON or OFF, else of the first subscan.

    Parameters
    ----------
    rows : RowTable
        The table.
    grids : sequence of GroupGrid
        Groups of the scan, or of a band.

    Returns
    -------
    int
        First row of the first pixel of the earliest subscan; of several bands the first counts.
    """
    chosen = [grid for grid in grids if grid.name == "source"] or grids
    middles = [grid.mjd for grid in chosen]
    earliest = int(np.argmin([middle.min() for middle in middles]))
    return int(chosen[earliest].first_rows[middles[earliest].argmin()])


def make_attributes(rows: RowTable, number: int, row: int) -> dict[str, Any]:
    """Make the attributes of a scan.

    Parameters
    ----------
    rows : RowTable
        The table.
    number : int
        Scan number.
    row : int
        Row that tells them.

    Returns
    -------
    dict
        ``scan_number``, those that the format names, and those carried along. An attribute without a value is
        absent; one that the format names is not replaced by one that is carried.
    """
    return {
        **_read_attributes(rows.carried, row),
        **_read_attributes(rows.scan_values, row),
        "scan_number": number,
    }


def make_band_attributes(rows: RowTable, first_rows: Sequence[int]) -> list[dict[str, Any]]:
    """Make the attributes of each of several bands: frontend and line, and those carried that differ.

    Parameters
    ----------
    rows : RowTable
        The table.
    first_rows : sequence of int
        Row that tells the attributes of each band.

    Returns
    -------
    list of dict
        Attributes of each band; empty for a single one.
    """
    if len(first_rows) == 1:
        return [{}]
    carried = [_read_attributes(rows.carried, row) for row in first_rows]
    differing = [name for name in rows.carried if any(one.get(name) != carried[0].get(name) for one in carried)]
    result = []
    for row, own in zip(first_rows, carried, strict=True):
        named = _read_attributes(rows.scan_values, row)
        result.append(
            {name: own[name] for name in differing if name in own}
            | {name: named[name] for name in _OF_BANDS if name in named}
        )
    return result


def _read_attributes(columns: Mapping[str, NDArray[Any]], row: int) -> dict[str, Any]:
    values = {name: _make_plain(column[row]) for name, column in columns.items() if name != "number"}
    return {name: value for name, value in values.items() if value is not None}


def _make_plain(value: Any) -> Any:
    """Make a value of Python's own types; None for a blank text and for what is no finite number."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return None
    return None if plain == "" else plain
