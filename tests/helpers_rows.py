"""Tables of rows of FITS files by construction, for the planner of the ingest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cal_pipeline.heterodyne.ingest.rows import GroupPlan, RowTable, ScanPlan

START = 60000.0
DAY = 86400.0
NUMBERS = {
    "exptime": 1.0,
    "elevation": 0.8,
    "pamb": 380.0,
    "tamb": 270.0,
    "signal_freq": 4.6e11,
    "freq_res": 1e6,
}
"""Values of a row that gives no others."""

TEXTS = {"receiver": "0", "array": "0", "band": "0", "pixel_id": ""}
PLACE = {"file": "a.fits", "hdu": 1, "row": None, "number": 1, "n_dumps": 1, "n_channels": 16}


@dataclass(frozen=True)
class Grouping:
    """Rules of a profile for grouping rows."""

    reader: str = "table"
    dumps: str = "row"
    loads_gap: float = 300.0


def row(phase: str, seconds: float, **changes: Any) -> dict[str, Any]:
    """Describe a row: its phase, its middle in seconds from the start, and what differs from the usual."""
    return {"phase": phase, "mjd": START + seconds / DAY, **changes}


def pixels_of(phase: str, seconds: float, receivers: Sequence[object], **changes: Any) -> list[dict[str, Any]]:
    """Describe a row of each of several receivers, a file each, at one time."""
    return [row(phase, seconds, **{"receiver": str(name), "file": f"px{name}.fits", **changes}) for name in receivers]


def table(rows: Sequence[dict[str, Any]], problems: dict[int, str] | None = None, **scan_values: Any) -> RowTable:
    """Make a table of rows.

    Parameters
    ----------
    rows : sequence of dict
        Rows of `row`; further keys are numbers of the row, ``ramp_NAME`` a ramp, ``carried_NAME`` and
        ``scan_NAME`` attributes.
    problems : dict, optional
        Messages by index of a row.
    scan_values : object
        Attributes that all rows tell.
    """
    files = tuple(dict.fromkeys(str(one.get("file", PLACE["file"])) for one in rows))
    own = {"phase", *TEXTS, *PLACE, "recorded_number"}
    names = dict.fromkeys([*NUMBERS, "mjd", *(name for one in rows for name in one if name not in own)])
    plain = [name for name in names if not name.startswith(("ramp_", "carried_", "scan_"))]

    def numbers(name: str, default: float = np.nan) -> Any:
        return np.array([one.get(name, default) for one in rows], dtype=np.float64)

    def texts(name: str, default: str = "") -> Any:
        return np.array([one.get(name, default) for one in rows], dtype=object)

    def integers(name: str) -> Any:
        return np.array([one.get(name, PLACE[name]) for one in rows], dtype=np.int64)

    def prefixed(prefix: str, column: Callable[[str], Any]) -> dict[str, Any]:
        return {name.removeprefix(prefix): column(name) for name in names if name.startswith(prefix)}

    ids = [one.get("pixel_id") or f"{one.get('array', '0')}_PX{one.get('receiver', '0')}" for one in rows]
    return RowTable(
        files=files,
        file=np.array([files.index(str(one.get("file", PLACE["file"]))) for one in rows], dtype=np.int64),
        hdu=integers("hdu"),
        row=np.array([place if one.get("row") is None else one["row"] for place, one in enumerate(rows)], np.int64),
        number=integers("number"),
        phase=texts("phase"),
        receiver=texts("receiver", "0"),
        array=texts("array", "0"),
        band=texts("band", "0"),
        pixel_id=np.array(ids, dtype=object),
        n_dumps=integers("n_dumps"),
        n_channels=integers("n_channels"),
        values={name: numbers(name, NUMBERS.get(name, np.nan)) for name in plain},
        ramps=prefixed("ramp_", numbers),
        scan_values={name: np.array([value] * len(rows), dtype=object) for name, value in scan_values.items()}
        | prefixed("scan_", texts),
        carried=prefixed("carried_", texts),
        problems=problems or {},
        recorded_number=np.array([one.get("recorded_number", one.get("number", 1)) for one in rows], np.int64),
    )


def shuffled(rows: RowTable, order: Sequence[int], files: Sequence[int]) -> RowTable:
    """Give the rows and files of a table in another order."""
    index = np.array(order, dtype=np.int64)
    place_of_file = np.empty(len(files), dtype=np.int64)
    place_of_file[list(files)] = np.arange(len(files))
    place_of_row = {old: new for new, old in enumerate(order)}

    def moved(columns: Any) -> dict[str, Any]:
        return {name: column[index] for name, column in columns.items()}

    columns = ("hdu", "row", "number", "phase", "receiver", "array", "band", "pixel_id", "n_dumps", "n_channels")
    arrays: dict[str, Any] = {name: getattr(rows, name)[index] for name in columns}
    return replace(
        rows,
        **arrays,
        files=tuple(rows.files[file] for file in files),
        file=place_of_file[rows.file[index]],
        values=moved(rows.values),
        ramps=moved(rows.ramps),
        scan_values=moved(rows.scan_values),
        carried=moved(rows.carried),
        problems={place_of_row[place]: message for place, message in rows.problems.items()},
        recorded_number=None if rows.recorded_number is None else rows.recorded_number[index],
    )


def group(plan: ScanPlan, name: str = "source", band: int = 0) -> GroupPlan:
    """Return a group of a plan."""
    return plan.bands[band].groups[name]


def values_of(plan: ScanPlan, array: str, name: str = "source", band: int = 0) -> Any:
    """Return the values of a small array of a plan as a list."""
    return group(plan, name, band).coordinates[array][1].tolist()


def seconds_of(plan: ScanPlan, name: str = "source", band: int = 0) -> list[float]:
    """Return the times of the subscans of a group, in seconds from the start."""
    mjd = group(plan, name, band).coordinates["mjd"][1]
    return [round(value, 3) for value in ((mjd - START) * DAY).tolist()]
