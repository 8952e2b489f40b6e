"""Order of rows that does not depend on the order in which files are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.fields import MAP_FIELDS
from cal_pipeline.heterodyne.ingest.rows import Floats, Integers, RowTable


def sort_rows(rows: RowTable) -> tuple[RowTable, Integers]:
    """Sort rows by time; rows of one time by path of the file, extension and row.

    Parameters
    ----------
    rows : RowTable
        The table.

    Returns
    -------
    RowTable
        The rows in order; those without a time are last. Numbers that are not there are filled.
    ndarray, shape (N,)
        Index in the given table of each of them.
    """
    paths = np.unique(np.array(rows.files, dtype=object), return_inverse=True)[1]
    path = paths[rows.file] if len(rows) else rows.file
    values = fill_defaults(rows.values, len(rows))
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

_NUMBERS = tuple(
    name for name in MAP_FIELDS if name not in ("lloadsn", "lon", "lat") and not name.endswith(("_lon", "_lat"))
)
"""Numbers of L0 beside offsets and the last load."""

DEFAULTS = {"image_freq": "signal_freq", "freq_off": "0", "ref_channel": "0"}
"""Numbers with a value where not there, in words."""


def find_absent(rows: RowTable) -> dict[str, NDArray[np.bool_]]:
    """Find the rows without a number that others have, or that is declared, and that has a default.

    Parameters
    ----------
    rows : RowTable
        The table.

    Returns
    -------
    dict of str to ndarray of bool, shape (N,)
        True for rows without the number, by its name.
    """
    return {name: np.isnan(rows.values[name]) for name in DEFAULTS if name in rows.values}


def fill_defaults(values: Mapping[str, Floats], n_rows: int) -> dict[str, Floats]:
    """Fill numbers that are not there.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (N,)
        Numbers of the rows, NaN where not there.
    n_rows : int
        N.

    Returns
    -------
    dict of str to ndarray
        All numbers of L0 and what else is given: `freq_off` and `ref_channel` are 0 and `image_freq` is
        `signal_freq` where not there, all others NaN.

    Examples
    --------
    >>> filled = fill_defaults({"signal_freq": np.array([4.6e11])}, 1)
    >>> filled["image_freq"], filled["freq_off"], filled["thot"]
    (array([4.6e+11]), array([0.]), array([nan]))
    """
    filled = {**dict.fromkeys(_NUMBERS, np.full(n_rows, np.nan)), **values}
    for name in ("freq_off", "ref_channel"):
        filled[name] = np.where(np.isnan(filled[name]), 0.0, filled[name])
    filled["image_freq"] = np.where(np.isnan(filled["image_freq"]), filled["signal_freq"], filled["image_freq"])
    return filled


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
