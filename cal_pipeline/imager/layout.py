"""Format of exposures: checks of attributes and arrays before anything is calibrated with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.imager.times import EXPECTED_TIME, parse_time

INTEGRATION, GROUP, Y, X = "integration", "group", "y", "x"
"""Names of the axes."""

RAMP, IMAGE, CUBE = (INTEGRATION, GROUP, Y, X), (Y, X), (INTEGRATION, Y, X)
"""Axes of a ramp, an image, and the images of all integrations."""

COUNTS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
"""Types of raw counts."""

_FLOATS, _PIXEL_FLAGS, _GROUP_FLAGS = ["f4", "f8"], ["u4"], ["u1"]

_RAMP_ARRAYS = {"data": (RAMP, COUNTS), "pixeldq": (IMAGE, _PIXEL_FLAGS), "groupdq": (RAMP, _GROUP_FLAGS)}

_IMAGE_ARRAYS = {
    **dict.fromkeys(("data", "err", "var_poisson", "var_rnoise", "var_flat"), _FLOATS),
    "dq": _PIXEL_FLAGS,
}

FEWEST_GROUPS = 2
"""Number of groups that a rate needs."""


class Array(Protocol):
    """Array in a store or in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> Any:
        """Type of the elements."""


@dataclass(frozen=True)
class Attribute:
    """Declaration of an attribute.

    Parameters
    ----------
    expected : str
        Accepted values, in words.
    accepts : callable
        Tells whether a value is accepted.
    """

    expected: str
    accepts: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    try:
        parse_time(value)
    except (ValueError, OverflowError):
        return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_LARGEST_COUNT = 2**16
"""Largest number of reads in a group or between groups, and of amplifiers; larger ones would take all memory."""

_LAST_READ = 2**31 - 1
"""Largest number of a read."""

_LONGEST = 1e9
"""Longest time [s], some thirty years; sums and squares of times stay finite."""


def _is_count(value: Any, least: int) -> bool:
    return _is_whole(value) and least <= value <= _LARGEST_COUNT


_NAME = Attribute("text that is not empty", _is_text)
_TEXT = Attribute("text", lambda value: isinstance(value, str))
_NUMBER = Attribute("a number", _is_number)
_SECONDS = Attribute(
    f"a number above 0 [s], from {1.0 / _LONGEST:g} to {_LONGEST:g}",
    lambda value: _is_number(value) and 1.0 / _LONGEST <= value <= _LONGEST,
)
_COUNT = Attribute(f"a whole number from 1 to {_LARGEST_COUNT}", lambda value: _is_count(value, 1))

ATTRIBUTES: Mapping[str, Attribute] = {
    "exposure_number": Attribute("a whole number from 0", lambda value: _is_whole(value) and value >= 0),
    "exp_type": _NAME,
    "tso": Attribute("true or false", lambda value: isinstance(value, (bool, np.bool_))),
    "instrument": _NAME,
    "detector": _NAME,
    "filter": _TEXT,
    "date_obs": Attribute(EXPECTED_TIME, _is_time),
    "frame_time": _SECONDS,
    "exposure_time": _SECONDS,
    "nframes": _COUNT,
    "groupgap": Attribute(f"a whole number from 0 to {_LARGEST_COUNT}", lambda value: _is_count(value, 0)),
    "gain": _NUMBER,
    "read_noise": _NUMBER,
    "amplifiers": _COUNT,
    "subarray": Attribute("{name, xstart, ystart, xsize, ysize}", lambda value: isinstance(value, Mapping)),
    "target": _TEXT,
    "airmass": Attribute("a number above 0", lambda value: _is_number(value) and 0.0 < value < math.inf),
    "wcs": Attribute("FITS keywords of a projection by name", lambda value: isinstance(value, Mapping)),
}
"""Attributes of an exposure that are read; others travel along. Gain and noise may be anything, pixels are flagged."""

REQUIRED = ("exp_type", "instrument", "detector", "date_obs", "frame_time")
"""Attributes that each raw exposure has."""


def read_exposure_attributes(root: StorePath, group: str, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """Read the attributes of an exposure, and check those that the format knows.

    Parameters
    ----------
    root : StorePath
        The store.
    group : str
        Path of the exposure in it.
    required : sequence of str
        Attributes that must be there.

    Returns
    -------
    dict
        All attributes, as they are stored.

    Raises
    ------
    LayoutError
        As `check_attributes` does, or if there is no such group.
    DataReadError
        If its metadata cannot be read.
    """
    attributes = read_group_attributes(root, group)
    check_attributes(attributes, f"{root}/{group}", required)
    return attributes


def check_attributes(attributes: Mapping[str, Any], where: str, required: Sequence[str] = ()) -> None:
    """Check the attributes that the format knows.

    Parameters
    ----------
    attributes : dict
        Attributes of an exposure; None counts as absent.
    where : str
        Name of the exposure, for messages.
    required : sequence of str
        Attributes that must be there.

    Raises
    ------
    LayoutError
        If one is missing or not what the format says; names it, what was found and expected.

    Examples
    --------
    >>> check_attributes({"tso": "no"}, "exp_000001")
    Traceback (most recent call last):
    ...
    cal_pipeline.core.errors.LayoutError: exp_000001: attribute tso is 'no', expected true or false
    """
    for name, attribute in ATTRIBUTES.items():
        value = attributes.get(name)
        if value is None:
            if name in required:
                raise LayoutError(f"{where}: attribute {name} is missing, expected {attribute.expected}")
        elif not attribute.accepts(value):
            raise LayoutError(f"{where}: attribute {name} is {value!r:.80}, expected {attribute.expected}")


def determine_read_pattern(attributes: Mapping[str, Any], n_groups: int, where: str) -> list[list[int]]:
    """Determine the reads that were averaged in each group.

    Parameters
    ----------
    attributes : dict
        Attributes of an exposure. ``read_pattern`` counts where there is one; otherwise each group
        has ``nframes`` (1) reads, and ``groupgap`` (0) reads are dropped after each.
    n_groups : int
        Number of groups G of the data.
    where : str
        Name of the exposure, for messages.

    Returns
    -------
    list of list of int
        Numbers of the reads by group, counted from 1 at the reset.

    Raises
    ------
    LayoutError
        If ``read_pattern`` is not G lists of growing reads, or an attribute is not what the format says.

    Examples
    --------
    >>> determine_read_pattern({"nframes": 2, "groupgap": 1}, 3, "exp_000001")
    [[1, 2], [4, 5], [7, 8]]
    """
    pattern = attributes.get("read_pattern")
    if pattern is None:
        check_attributes({name: attributes.get(name) for name in ("nframes", "groupgap")}, where)
        nframes, groupgap = (attributes.get(name) for name in ("nframes", "groupgap"))
        n_reads = 1 if nframes is None else int(nframes)
        stride = n_reads + (0 if groupgap is None else int(groupgap))
        return [list(range(g * stride + 1, g * stride + n_reads + 1)) for g in range(n_groups)]
    groups = _as_lists(pattern)
    if groups is None or len(groups) != n_groups:
        raise LayoutError(
            f"{where}: attribute read_pattern is {_describe_pattern(pattern)}, expected {n_groups} lists of reads, "
            "one for each group of the data"
        )
    for g, reads in enumerate(groups):
        if not reads or not all(_is_whole(read) and 1 <= read <= _LAST_READ for read in reads):
            raise LayoutError(
                f"{where}: read_pattern[{g}] is {reads!r:.80}, expected the numbers of reads, from 1 to {_LAST_READ}"
            )
    for (g, read), (later_group, later) in pairwise((g, read) for g, reads in enumerate(groups) for read in reads):
        if later <= read:
            raise LayoutError(
                f"{where}: read_pattern[{later_group}] has read {later} after read {read} of group {g}, "
                "expected growing reads"
            )
    return [[int(read) for read in reads] for reads in groups]


def _as_lists(pattern: Any) -> list[list[Any]] | None:
    """Return a read pattern as lists in a list; None if it is something else."""
    listed = (list, tuple, np.ndarray)
    if not isinstance(pattern, listed) or not all(isinstance(reads, listed) for reads in pattern):
        return None
    return [list(reads) for reads in pattern]


def _describe_pattern(pattern: Any) -> str:
    groups = _as_lists(pattern)
    return f"{pattern!r:.80}" if groups is None else f"{len(groups)} lists"


def check_ramp_arrays(arrays: Mapping[str, Array], where: str) -> tuple[int, int, int, int]:
    """Check the arrays of a raw exposure: shapes, types and, in a store, the order of the axes.

    Parameters
    ----------
    arrays : dict
        ``data`` [I, G, y, x] and, where present, ``pixeldq`` [y, x] and ``groupdq`` [I, G, y, x].
    where : str
        Name of the exposure, for messages.

    Returns
    -------
    tuple of int
        I, G, number of rows and of columns.

    Raises
    ------
    LayoutError
        If an array has another shape or type than the format says, or there are fewer than two
        groups; names the array, what was found and expected.

    Examples
    --------
    >>> check_ramp_arrays({"data": np.zeros((1, 10, 64, 32), "u2"), "pixeldq": np.zeros((64, 32), "u4")}, "exp_000001")
    (1, 10, 64, 32)
    """
    shape = _check_arrays(arrays, _RAMP_ARRAYS, where)
    if shape[1] < FEWEST_GROUPS:
        raise LayoutError(f"{where}/data has {shape[1]} group, expected at least {FEWEST_GROUPS} for a rate")
    return shape[0], shape[1], shape[2], shape[3]


def check_image_arrays(arrays: Mapping[str, Array], where: str, axes: tuple[str, ...] = IMAGE) -> tuple[int, ...]:
    """Check the arrays of an image, as `check_ramp_arrays` does for a ramp.

    Parameters
    ----------
    arrays : dict
        ``data`` and, where present, ``err``, ``var_poisson``, ``var_rnoise``, ``var_flat`` and ``dq``,
        all of one shape.
    where : str
        Name of the exposure, for messages.
    axes : tuple of str
        Axes of the arrays: `IMAGE` or `CUBE`.

    Returns
    -------
    tuple of int
        Length of the axes.

    Raises
    ------
    LayoutError
        If an array has another shape or type than the format says.

    Examples
    --------
    >>> check_image_arrays({"data": np.zeros((64, 32), "f4"), "dq": np.zeros((64, 32), "u4")}, "exp_000001")
    (64, 32)
    """
    return _check_arrays(arrays, {name: (axes, dtypes) for name, dtypes in _IMAGE_ARRAYS.items()}, where)


def _check_arrays(
    arrays: Mapping[str, Array], declared: Mapping[str, tuple[tuple[str, ...], Sequence[str]]], where: str
) -> tuple[int, ...]:
    """Check arrays against their axes and types; return the shape of the data, which sets that of the others."""
    if "data" not in arrays:
        raise LayoutError(f"{where}: array data is missing; found {', '.join(arrays) or 'no array'}")
    lengths: dict[str, int] = {}
    for name in sorted(arrays, key=lambda name: name != "data"):
        array, (axes, dtypes) = arrays[name], declared[name]
        _check_type(array, dtypes, f"{where}/{name}")
        if isinstance(array, ArrayReader):
            array.refuse_other_order(axes)
        expected = tuple(lengths.get(axis, 1) for axis in axes)
        is_shaped = len(array.shape) == len(axes) and (array.shape == expected if lengths else all(array.shape))
        if not is_shaped:
            spelled = f"{expected} as the data have" if lengths else "no axis without elements"
            raise LayoutError(f"{where}/{name} has shape {tuple(array.shape)}, expected [{', '.join(axes)}], {spelled}")
        lengths = lengths or dict(zip(axes, array.shape, strict=True))
    return tuple(lengths.values())


def _check_type(array: Array, dtypes: Sequence[str], name: str) -> None:
    """Refuse an array of another type; byte order does not matter."""
    accepted = [np.dtype(dtype) for dtype in dtypes]
    found = array.dtype
    # Text of a store has no NumPy type.
    if isinstance(found, str) or np.dtype(found).newbyteorder("=") not in accepted:
        raise LayoutError(f"{name} has type {found}, expected {_or_list([dtype.name for dtype in accepted])}")


def _or_list(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
