"""Inputs and observations of them, as users name them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.parameters.values import show_value
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.text import add_article, format_ranges


def locate_input(source: Any, input_dir: str = "", expected: str = "a path or URL") -> str:
    """Return the plain path or URL of an input.

    Parameters
    ----------
    source : str or path-like
        Path or URL.
    input_dir : str
        Folder, or URL of one, of an input that is given without a folder.
    expected : str
        Description of what can be opened, for the message.

    Raises
    ------
    CalibrationError
        If `source` is no path.

    Examples
    --------
    >>> locate_input("session.zarr", "s3://night")
    's3://night/session.zarr'
    """
    if not isinstance(source, (str, bytes, os.PathLike)):
        raise CalibrationError(f"input {show_value(source)} cannot be opened; expected {expected}")
    where = normalize_location(os.fsdecode(source) if isinstance(source, bytes) else source)
    if input_dir and where and not is_url(where) and not os.path.dirname(where.rstrip("/")):
        folder = normalize_location(input_dir)
        return f"{folder}/{where}" if is_url(folder) else os.path.join(folder, where)
    return where


def select_numbers(wanted: Sequence[Any] | str, present: Sequence[int], path: str, noun: str) -> set[int]:
    """Select numbers that an input has.

    Parameters
    ----------
    wanted : sequence or str
        Numbers and inclusive ranges, as in ``"25650,25660:25670"``.
    present : sequence of int
        Numbers of the observations of the input.
    path, noun : str
        Name of the input and of its observations, for messages.

    Raises
    ------
    StoreError
        If an item is none of these, or there is no observation of such a number.

    Examples
    --------
    >>> sorted(select_numbers("1:3,7", [1, 2, 7, 8], "night.zarr", "exposure"))
    [1, 2, 7]
    """
    chosen: set[int] = set()
    for first, last in parse_ranges(wanted, noun):
        found = {number for number in present if first <= number <= last}
        if not found:
            item = str(first) if first == last else f"{first}:{last}"
            raise StoreError(f"{noun}s: {path} has no {noun} {item}; it has {format_ranges(present)}")
        chosen |= found
    return chosen


def parse_ranges(wanted: Sequence[Any] | str, noun: str) -> list[tuple[int, int]]:
    """Parse numbers and inclusive ranges.

    Parameters
    ----------
    wanted : sequence or str
        As in ``"25650,25660:25670"``.
    noun : str
        Name of an observation, for messages.

    Returns
    -------
    list of tuple of int
        First and last number of each.

    Raises
    ------
    StoreError
        If an item is none of these.

    Examples
    --------
    >>> parse_ranges("25650,25660:25670", "scan")
    [(25650, 25650), (25660, 25670)]
    """
    items = wanted.split(",") if isinstance(wanted, str) else [w for x in wanted for w in str(x).split(",")]
    ranges = []
    for item in (text.strip() for text in items):
        match = re.fullmatch(r"([0-9]+)\s*(?::\s*([0-9]+))?", item)
        if not match:
            hint = "; numbers are 0 or more" if re.match("-[0-9]", item) else ""
            raise StoreError(
                f"{noun}s: {item!r} is neither {add_article(noun)} number nor a range like 25660:25670{hint}"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise StoreError(f"{noun}s: the range {item!r} runs backwards; expected {last}:{first}")
        ranges.append((first, last))
    return ranges
