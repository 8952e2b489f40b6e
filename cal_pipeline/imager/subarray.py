"""Subarrays: the rectangle of a detector that was read out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from cal_pipeline.core.errors import LayoutError

_STARTS, _SIZES = ("xstart", "ystart"), ("xsize", "ysize")


@dataclass(frozen=True)
class Subarray:
    """Rectangle of detector pixels, counted from 1.

    Parameters
    ----------
    xstart, ystart : int
        Column and row of the first pixel, on the whole detector.
    xsize, ysize : int
        Number of columns and rows.

    Examples
    --------
    >>> detector, window = Subarray(1, 1, 2048, 2048), Subarray(513, 1, 256, 128)
    >>> print(window)
    columns 513 to 768, rows 1 to 128
    >>> detector.covers(window), window.covers(detector)
    (True, False)
    >>> detector.locate(window)
    (slice(0, 128, None), slice(512, 768, None))
    """

    xstart: int
    ystart: int
    xsize: int
    ysize: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.ysize, self.xsize

    def covers(self, other: Subarray) -> bool:
        """Tell whether all pixels of another rectangle lie in this one."""
        return all(
            first <= start and start + size <= first + length
            for first, length, start, size in (
                (self.xstart, self.xsize, other.xstart, other.xsize),
                (self.ystart, self.ysize, other.ystart, other.ysize),
            )
        )

    def locate(self, other: Subarray) -> tuple[slice, slice]:
        """Return rows and columns of another rectangle in an array [y, x] of this one."""
        x, y = other.xstart - self.xstart, other.ystart - self.ystart
        return slice(y, y + other.ysize), slice(x, x + other.xsize)

    def __str__(self) -> str:
        return (
            f"columns {self.xstart} to {self.xstart + self.xsize - 1}, "
            f"rows {self.ystart} to {self.ystart + self.ysize - 1}"
        )


def find_subarray(attributes: Mapping[str, Any], shape: tuple[int, int], where: str) -> Subarray:
    """Find the rectangle of the detector that an array shows.

    Parameters
    ----------
    attributes : dict
        Attributes of an exposure or meta of a reference file. ``subarray`` has ``xstart`` and
        ``ystart``, and may have ``xsize`` and ``ysize``; without ``subarray``, or if it is a name
        alone, the array starts at 1, 1.
    shape : tuple of int
        Number of rows and columns of the array.
    where : str
        Name of exposure or file, for messages.

    Returns
    -------
    Subarray

    Raises
    ------
    LayoutError
        If an entry is no whole number from 1, or the size is not that of the array.

    Examples
    --------
    >>> find_subarray({"subarray": {"xstart": 513, "ystart": 1}}, (128, 256), "exp_000001")
    Subarray(xstart=513, ystart=1, xsize=256, ysize=128)
    """
    given = attributes.get("subarray")
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise LayoutError(
            f"{where}: attribute subarray is {given!r:.80}, expected {{name, xstart, ystart, xsize, ysize}}"
        )
    entries = {name: given[name] for name in (*_STARTS, *_SIZES) if given.get(name) is not None}
    for name, value in entries.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise LayoutError(f"{where}: subarray.{name} is {value!r:.80}, expected a whole number from 1")
    for name in _STARTS:
        if entries and name not in entries:
            raise LayoutError(f"{where}: subarray.{name} is missing; found {', '.join(entries)}")
    for name, size in zip(_SIZES, reversed(shape), strict=True):
        if entries.get(name, size) != size:
            raise LayoutError(f"{where}: subarray.{name} is {entries[name]}, expected {size} as the data have")
    return Subarray(int(entries.get("xstart", 1)), int(entries.get("ystart", 1)), shape[1], shape[0])
