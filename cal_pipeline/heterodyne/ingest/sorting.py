"""Order of rows that does not depend on the order in which files are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.rows import Integers, RowTable


def sort_rows(rows: RowTable) -> tuple[RowTable, Integers]:
    """Sort rows by time; rows of one time by path of the file, extension and row.

    Parameters
    ----------
    rows : RowTable
        The table.

    Returns
    -------
    RowTable
        The rows in order; those without a time are last. Fields `mjd` and `exptime` are there.
    ndarray, shape (N,)
        Index in the given table of each of them.
    """
    paths = np.unique(np.array(rows.files, dtype=object), return_inverse=True)[1]
    path = paths[rows.file] if len(rows) else rows.file
    unknown = np.full(len(rows), np.nan)
    values = {**dict.fromkeys(_NEEDED, unknown), **rows.values}
    order = np.lexsort((rows.row, rows.hdu, path, values["mjd"]))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    recorded = rows.number if rows.recorded_number is None else rows.recorded_number
    columns: dict[str, Any] = {name: getattr(rows, name)[order] for name in _COLUMNS}
    table = replace(
        rows,
        **columns,
        values=_sort_columns(values, order),
        ramps=_sort_columns(rows.ramps, order),
        scan_values=_sort_columns(rows.scan_values, order),
        carried=_sort_columns(rows.carried, order),
        problems={int(place[row]): message for row, message in rows.problems.items()},
        recorded_number=recorded[order],
    )
    return table, order


_COLUMNS = ("file", "hdu", "row", "number", "phase", "receiver", "array", "band", "pixel_id", "n_dumps", "n_channels")

_NEEDED = ("mjd", "exptime")
"""Numbers that the planner reads of every row; absent where no row has them."""


def _sort_columns(columns: Mapping[str, NDArray[Any]], order: Integers) -> dict[str, NDArray[Any]]:
    return {name: column[order] for name, column in columns.items()}


def split_numbers(rows: RowTable) -> dict[int, Integers]:
    """Split rows by scan number.

    Parameters
    ----------
    rows : RowTable
        The table.

    Returns
    -------
    dict of int to ndarray
        Indices of the rows of each number, ascending.
    """
    numbers, starts = np.unique(np.sort(rows.number), return_index=True)
    parts = np.split(np.argsort(rows.number, kind="stable"), starts[1:])
    return dict(zip(numbers.tolist(), parts, strict=False))
