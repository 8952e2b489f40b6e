"""Table of the scans of an L1 store, and selection of scans by its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.messages import suggest
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.product import Product
from cal_pipeline.core.store.records import ObservationRecord, as_mapping
from cal_pipeline.core.text import list_few
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

if TYPE_CHECKING:
    from astropy.table import QTable

_NO_NAMES = {"band": "", "source": "", "mode": ""}
"""Names in the row of a scan of which none is known; a column of text needs one in some row."""

FAILED = "failed"
"""Verdict in the table on a scan that could not be calibrated."""

UNREADABLE = "unreadable"
"""Verdict in the table on a scan whose attributes cannot be read."""

TEXTS = {
    "scan": "scan number",
    "band": "band of a divided scan",
    "source": "source",
    "mode": "observing mode",
    "pixels": "number of pixels; 0 where unknown",
    "verdict": "pass, questionable or fail; failed: not calibrated; unreadable: damaged",
    "reason": "checks that are not passed; step and error of a failed scan",
}
"""Meaning of the columns without a unit."""

NUMBERS = {
    "mjd": ("d", "middle of the scan"),
    "duration": ("s", "from the first to the last ON, with half the time on source of both"),
    "pwv": ("mm", "precipitable water vapour, median over pixels and pairs"),
    "pwv_err": ("mm", "its total error, sqrt(pwv_err² + pwv_err_model²)"),
    "t_rec": ("K", "receiver temperature, double sideband, median"),
    "t_sys": ("K", "system temperature, double sideband, median"),
    "sky_misfit": ("K", "rms of observed minus fitted sky over blocks of channels, median over pixels"),
    "scale_error": ("", "relative error of the scale of T_A*, median"),
}
"""Units and meaning of the columns of numbers, which are NaN where unknown."""

COLUMNS = (
    *("scan", "band", "source", "mode", "pixels", "mjd", "duration", "pwv", "pwv_err"),
    *("t_rec", "t_sys", "sky_misfit", "scale_error", "verdict", "reason"),
)
"""Columns in their order."""


def make_scan_table(product: Product) -> QTable:
    """Make the table of the scans of an L1 store.

    Of the arrays only those with a value for each subscan or pixel are read.

    Parameters
    ----------
    product : Product
        L1 store.

    Returns
    -------
    astropy.table.QTable
        A row for each scan, or for each band of a divided one, by scan number; failed scans among them. Columns are
        :data:`COLUMNS`.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> table = make_scan_table(CalibratedSession("l1.zarr"))
    >>> table["scan", "source", "mode", "pixels", "verdict"].pformat()[-1].split()
    ['1', 'SIM-ORION', 'otf', '1', 'questionable']
    >>> table["pwv"].unit, table["duration"].unit
    (Unit("mm"), Unit("s"))
    """
    of_scans = product.root.each(lambda number: _describe_scan(product, number), product.numbers)
    rows = [row for rows in of_scans for row in rows] + [_describe_failure(failure) for failure in product.failures]
    rows.sort(key=lambda row: (row["scan"], row["band"]))
    return build_table(rows, COLUMNS, TEXTS, NUMBERS)


def build_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    texts: Mapping[str, str],
    numbers: Mapping[str, tuple[str, str]],
) -> QTable:
    """Build a table from rows.

    Parameters
    ----------
    rows : sequence of mapping
        Values by column; None or absent where unknown.
    columns : sequence of str
        Columns in their order.
    texts : mapping
        Meaning of the columns of text and whole numbers.
    numbers : mapping
        Units and meaning of the columns of numbers, NaN where unknown.

    Returns
    -------
    astropy.table.QTable

    Examples
    --------
    >>> table = build_table([{"scan": 1, "pwv": None}], ["scan", "pwv"], {"scan": "number"}, {"pwv": ("mm", "vapour")})
    >>> table["scan"].tolist(), table["pwv"]
    ([1], <Quantity [nan] mm>)
    """
    import astropy.units as u
    from astropy.table import Column, QTable

    table = QTable()
    for name in columns:
        values = [row.get(name) for row in rows]
        if name in numbers:
            unit, meaning = numbers[name]
            known = np.array([np.nan if value is None else value for value in values], np.float64)
            table[name] = known * u.Unit(unit) if unit else Column(known)
            table[name].info.description = meaning
            # Seconds of a date need its decimals; of measured values six digits tell all.
            table[name].info.format = ".6f" if unit == "d" else ".6g"
        else:
            is_text = not values or any(isinstance(value, str) for value in values)
            filled = [("" if is_text else 0) if value is None else value for value in values]
            table[name] = Column(np.array(filled, str if is_text else int), description=texts[name])
    return table


def _describe_scan(product: Product, number: int) -> list[dict[str, Any]]:
    """Describe the bands of a scan; a broken scan must not hide the others."""
    try:
        records = [
            ObservationRecord(path, read_group_attributes(product.root, path), product.kind)
            for path in product.groups(number)
        ]
    except (CalibrationError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        return [{"scan": number, **_NO_NAMES, "verdict": UNREADABLE, "reason": reason}]
    return [_describe(product, record) for record in records]


def _describe(product: Product, record: ObservationRecord) -> dict[str, Any]:
    quality, attributes = record.quality, record.attributes
    return {
        "scan": record.number,
        "band": record.part,
        "source": str(attributes.get("source") or ""),
        "mode": str(attributes.get("mode") or ""),
        "pixels": len(as_mapping(quality.get("pixels"))),
        **dict(zip(("mjd", "duration"), _read_times(product, record.path), strict=True)),
        "pwv": record.figure("pwv_mm_median"),
        "pwv_err": _read_pwv_error(product, record.path),
        "t_rec": record.figure("t_rec_dsb_median_K"),
        "t_sys": record.figure("t_sys_median_K"),
        "sky_misfit": record.figure("sky_misfit_K_median"),
        "scale_error": record.figure("scale_error_median"),
        "verdict": record.verdict,
        "reason": ", ".join(record.checks),
    }


def _describe_failure(failure: Mapping[str, Any]) -> dict[str, Any]:
    number = failure.get("scan_number")
    words = (failure.get("step"), failure.get("error_class"), failure.get("message"))
    return {
        "scan": number if isinstance(number, int) else -1,
        **_NO_NAMES,
        "verdict": FAILED,
        "reason": ": ".join(str(word) for word in words if word),
    }


def read_values(product: Product, path: str) -> NDArray[np.float64] | None:
    """Read an array of numbers; None where it is absent or broken, which must not hide the other scans.

    Parameters
    ----------
    product : Product
        L1 store.
    path : str
        Path of the array in it.
    """
    try:
        return np.asarray(open_reader(product.root, path).read(), np.float64)
    except (CalibrationError, OSError, ValueError, RuntimeError):
        return None


def _read_times(product: Product, path: str) -> tuple[float | None, float | None]:
    """Read the middle of a scan (MJD) [d] and its duration [s]."""
    mjd, exposure = (read_values(product, f"{path}/{name}") for name in ("mjd", "t_int"))
    if mjd is None or exposure is None or mjd.shape != exposure.shape or not mjd.size:
        return None, None
    half = exposure / (2.0 * SECONDS_A_DAY)
    first, last = float(np.min(mjd - half)), float(np.max(mjd + half))
    return (first + last) / 2.0, (last - first) * SECONDS_A_DAY


def _read_pwv_error(product: Product, path: str) -> float | None:
    """Compute the median over pixels and pairs of the total error of the water vapour [mm]."""
    terms = [read_values(product, f"{path}/{name}") for name in ("pwv_err", "pwv_err_model")]
    if terms[0] is None or terms[1] is None or terms[0].shape != terms[1].shape:
        return None
    total = np.hypot(terms[0], terms[1])
    finite = total[np.isfinite(total)]
    return float(np.median(finite)) if finite.size else None


def select_rows(table: QTable, conditions: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Find the rows of a table that meet all conditions.

    Parameters
    ----------
    table : astropy.table.QTable
        Table of scans.
    conditions : mapping
        By column: a value; a list, tuple or set of values; a slice, whose limits are part of the range; or a function
        of the column that returns a mask. Limits without a unit have that of the column.

    Returns
    -------
    ndarray of bool, shape (rows,)
        Rows that meet all of them.

    Raises
    ------
    ValueError
        If there is no such column, or no row has a value that is asked for; the message says what there is.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> import astropy.units as u
    >>> table = QTable({"source": ["M82", "DR21", "M82"], "pwv": [0.4, 0.5, 1.2] * u.mm})
    >>> select_rows(table, {"source": "M82", "pwv": slice(None, 1000.0 * u.um)}).tolist()
    [True, False, False]
    >>> select_rows(table, {"pwv": lambda pwv: pwv > 1.0 * u.mm}).tolist()
    [False, False, True]
    """
    chosen = np.ones(len(table), np.bool_)
    for name, condition in conditions.items():
        if name not in table.colnames:
            raise ValueError(f"no column {name!r:.80}{suggest(name, list(table.colnames))}")
        chosen &= _meet(table[name], name, condition)
    return chosen


def _meet(column: Any, name: str, condition: Any) -> NDArray[np.bool_]:
    if isinstance(condition, slice):
        return _within(column, name, condition)
    if callable(condition):
        return _apply(column, name, condition)
    wanted = list(condition) if isinstance(condition, (list, tuple, set, frozenset, range, np.ndarray)) else [condition]
    found = np.zeros(len(column), np.bool_)
    for value in wanted:
        of_value = np.asarray(column == value, np.bool_)
        # A typing error would else look like a session without such scans.
        if not of_value.any():
            raise ValueError(f"no scan has {name}={value!s:.80}; there is {_list_values(column)}")
        found |= of_value
    return found


def _within(column: Any, name: str, limits: slice) -> NDArray[np.bool_]:
    if limits.step is not None:
        raise ValueError(f"range of {name} has the step {limits.step!r}; expected slice(first, last)")
    unit = getattr(column, "unit", None)
    found = np.ones(len(column), np.bool_)
    for limit, compare in ((limits.start, np.greater_equal), (limits.stop, np.less_equal)):
        if limit is not None:
            value = limit if unit is None or hasattr(limit, "unit") else limit * unit
            found &= np.asarray(compare(column, value))
    return found


def _apply(column: Any, name: str, condition: Callable[[Any], Any]) -> NDArray[np.bool_]:
    mask = np.asarray(condition(column))
    if mask.dtype != np.bool_ or mask.shape != (len(column),):
        raise ValueError(
            f"function of column {name} returned {mask.dtype} {mask.shape}, expected a mask of {len(column)} rows"
        )
    return mask


def _list_values(column: Any) -> str:
    values = dict.fromkeys(np.asarray(column).tolist())
    return list_few([str(value) for value in values]) or "none"
