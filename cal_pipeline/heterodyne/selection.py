"""Selection of what is calibrated: scans by number, and the members of a scan that are left out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.text import format_ranges, list_few


def parse_scans(wanted: list[Any] | str, present: list[int], path: str) -> set[int]:
    """Find the scans that a selection names.

    Parameters
    ----------
    wanted : list or str
        Numbers and inclusive ranges, as in ``"25650,25660:25670"``.
    present : list of int
        Scans of the session.
    path : str
        Name of the session, for messages.

    Returns
    -------
    set of int

    Raises
    ------
    StoreError
        If an item is no number or range, or names no scan of the session.

    Examples
    --------
    >>> sorted(parse_scans("1,3:9", [1, 2, 3, 7], "session.zarr"))
    [1, 3, 7]
    """
    items = wanted.split(",") if isinstance(wanted, str) else [w for x in wanted for w in str(x).split(",")]
    chosen: set[int] = set()
    for item in (text.strip() for text in items):
        match = re.fullmatch(r"([0-9]+)\s*(?::\s*([0-9]+))?", item)
        if not match:
            hint = "; numbers are 0 or more" if re.match("-[0-9]", item) else ""
            raise StoreError(f"scans: {item!r} is neither a scan number nor a range like 25660:25670{hint}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise StoreError(f"scans: the range {item!r} runs backwards; expected {last}:{first}")
        found = {number for number in present if first <= number <= last}
        if not found:
            raise StoreError(f"scans: {path} has no scan {item}; it has {format_ranges(present)}")
        chosen |= found
    return chosen


def name_strangers(members: Collection[str], bands: Collection[str]) -> str:
    """Name the members of a scan that are neither its groups nor bands to calibrate; empty without any.

    Parameters
    ----------
    members : collection of str
        Members of the group of the scan.
    bands : collection of str
        Names of the bands that are calibrated; the empty name for an undivided scan.

    Examples
    --------
    >>> name_strangers(["zarr.json", "source", "notes"], [""])
    'notes left out, expected source and calibration, or bands band_B that hold these'
    """
    known = {"zarr.json", *({"source", "calibration"} if set(bands) == {""} else bands)}
    left = sorted(set(members) - known)
    expected = "source and calibration, or bands band_B that hold these"
    return f"{list_few(left)} left out, expected {expected}" if left else ""
