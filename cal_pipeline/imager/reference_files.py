"""Reference files of imagers: their content by type, read for the subarray of an exposure, and written."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.core.files.asdf_file import open_asdf, write_asdf
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.records import digest_file
from cal_pipeline.core.run.threads import renew_after_fork
from cal_pipeline.imager.dq import LASTING
from cal_pipeline.imager.errors import ReferenceFileError
from cal_pipeline.imager.subarray import Subarray, find_subarray
from cal_pipeline.imager.times import parse_time

_CACHED_BYTES = 2**29
"""Size of the arrays that are kept in memory: those of a detector of 2048 x 2048 pixels, three times."""

_PLANE, _PLANES = ("y", "x"), ("k", "y", "x")


@dataclass(frozen=True)
class Content:
    """Content of a type of reference files.

    Parameters
    ----------
    meaning : str
        Meaning and unit.
    arrays : dict
        Axes of each array of numbers, which is read as float32.
    has_dq : bool
        Whether there is a ``dq`` [y, x], uint32.
    numbers : tuple of str
        Numbers that must be there.
    defaults : dict
        Numbers that may be absent, and their values then.
    """

    meaning: str
    arrays: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_dq: bool = False
    numbers: tuple[str, ...] = ()
    defaults: Mapping[str, float] = field(default_factory=dict)

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Axes of each array, ``dq`` among them."""
        return {**self.arrays, **({"dq": _PLANE} if self.has_dq else {})}

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the numbers, those that may be absent among them."""
        return (*self.numbers, *self.defaults)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of arrays and numbers that must be there."""
        return (*self.axes, *self.numbers)


_DATA = {"data": _PLANE}
_DATA_AND_ERR = {"data": _PLANE, "err": _PLANE}

CONTENTS: Mapping[str, Content] = {
    "mask": Content("data quality of the pixels", has_dq=True),
    "saturation": Content("saturation threshold of the raw data [adu]", _DATA),
    "superbias": Content("bias [adu]", _DATA),
    "linearity": Content("coefficients of the linearity polynomial, low order first", {"coeffs": _PLANES}),
    "gain": Content("gain [electron/adu]", _DATA),
    "readnoise": Content("rms noise of one read [electron]", _DATA),
    "dark": Content("dark current and its error [electron/s]", _DATA_AND_ERR, has_dq=True),
    "flat": Content("relative response, of median 1, and its error", _DATA_AND_ERR, has_dq=True),
    "photom": Content(
        "AB magnitude of 1 electron/s above the atmosphere, its error, extinction [mag per airmass]",
        numbers=("zero_point", "zero_point_err"),
        defaults={"extinction": 0.0},
    ),
}
"""Content of each type of reference files."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference file, cut to the subarray of an exposure; shared by all who read it.

    Parameters
    ----------
    reftype : str
        Type, a key of `CONTENTS`.
    path : str
        The file.
    sha256 : str
        SHA-256 digest of the file.
    meta : dict
        Meta of the file.
    arrays : dict
        Its arrays, contiguous and read-only: float32 [y, x] or [k, y, x], ``dq`` uint32 [y, x]
        without bits of events.
    numbers : dict
        Its numbers.
    """

    reftype: str
    path: str
    sha256: str
    meta: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    numbers: Mapping[str, float]


def read_reference(
    path: str | PathLike[str], reftype: str, attributes: Mapping[str, Any], shape: tuple[int, int]
) -> Reference:
    """Read a reference file for an exposure.

    The last files are kept in memory as long as they do not change.

    Parameters
    ----------
    path : path
        ASDF file.
    reftype : str
        Expected type, a key of `CONTENTS`.
    attributes : dict
        Attributes of the exposure, of which ``subarray`` counts.
    shape : tuple of int
        Number of rows and columns of the exposure.

    Returns
    -------
    Reference

    Raises
    ------
    ReferenceFileError
        If the file cannot be read, is of another type, lacks an array or number of its type, has an
        array of another shape or type, or does not cover the subarray; names the file, what was
        found and expected.
    LayoutError
        If ``subarray`` makes no sense.

    Examples
    --------
    >>> meta = {"instrument": "IRIS", "detector": "A", "useafter": "2026-01-01"}
    >>> write_reference("gain.asdf", "gain", meta, {"data": np.full((4, 8), 2.0)})
    >>> window = {"subarray": {"xstart": 3, "ystart": 1}}
    >>> read_reference("gain.asdf", "gain", window, (4, 2)).arrays["data"].shape
    (4, 2)
    """
    path = Path(path).absolute()
    window = find_subarray(attributes, shape, "exposure")
    try:
        status = path.stat()
    except OSError as error:
        raise ReferenceFileError(f"reference file {path} cannot be read: {error.strerror or error}") from error
    key = (path, status.st_mtime_ns, status.st_size, reftype, window)
    return _cache.get(key, lambda: _read(path, reftype, window))


def write_reference(
    path: str | PathLike[str], reftype: str, meta: Mapping[str, Any], content: Mapping[str, ArrayLike]
) -> None:
    """Write a reference file, completely or not at all; it replaces an older one.

    Parameters
    ----------
    path : path
        ASDF file.
    reftype : str
        Type, a key of `CONTENTS`.
    meta : dict
        ``instrument``, ``detector``, ``useafter`` (ISO 8601, UTC), ``filter`` where it matters,
        ``subarray`` if the arrays show a part of the detector; further entries as one likes.
    content : dict
        Arrays and numbers of the type.

    Raises
    ------
    ValueError
        If arrays, numbers or entries of meta are missing or unknown, or have other shapes or values
        than the type asks for.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> meta = {"instrument": "IRIS", "detector": "A", "useafter": "2026-01-01", "filter": "H"}
    >>> write_reference("photom.asdf", "photom", meta, {"zero_point": 26.1, "zero_point_err": 0.02})
    >>> read_reference("photom.asdf", "photom", {}, (4, 8)).numbers["extinction"]
    0.0
    """
    expected = CONTENTS[reftype]
    missing = [name for name in ("instrument", "detector", "useafter") if not meta.get(name)]
    if missing:
        raise ValueError(f"meta of a {reftype} reference lacks {', '.join(missing)}")
    parse_time(meta["useafter"])
    unknown = set(content) - {*expected.axes, *expected.number_names}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is no part of a {reftype} reference")
    arrays = {
        name: np.ascontiguousarray(content[name], np.uint32 if name == "dq" else np.float32)
        for name in expected.axes
        if name in content
    }
    numbers = {name: float(np.asarray(content[name])) for name in content if name not in expected.axes}
    tree = {"meta": make_json_ready({**meta, "reftype": reftype}), **arrays, **numbers}
    try:
        _check_tree(tree, reftype)
    except ReferenceFileError as error:
        raise ValueError(f"a {reftype} reference to write {error}") from error
    write_asdf(Path(path), tree)


class _ReferenceCache:
    """Memory of the last reference files; a file is read by one thread while the others wait for it."""

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget all: another thread may have been changing the cache during the fork."""
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Reference] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], Reference]) -> Reference:
        """Return a reference, read with a function if it is not held."""
        with self._lock:
            reference = self._held.pop(key, None) or read()
            self._held[key] = reference
            while len(self._held) > 1 and sum(map(_count_bytes, self._held.values())) > _CACHED_BYTES:
                self._held.popitem(last=False)
            return reference


def _count_bytes(reference: Reference) -> int:
    return sum(array.nbytes for array in reference.arrays.values())


_cache = _ReferenceCache()


def _read(path: Path, reftype: str, window: Subarray) -> Reference:
    expected = CONTENTS[reftype]
    try:
        # The wanted part is copied out: a mapped file that somebody truncates would end the process.
        with open_asdf(
            path, lazy_load=True, memmap=False, validate_checksums=True, ignore_unrecognized_tag=True
        ) as file:
            extent = _check_tree(file.tree, reftype)
            cut = _cut(extent, window)
            arrays = {name: _copy(file.tree[name], name, cut) for name in expected.axes}
            numbers = dict(expected.defaults) | {
                name: float(file.tree[name]) for name in expected.number_names if name in file.tree
            }
            meta = make_json_ready(file.tree["meta"])
    except ReferenceFileError as error:
        raise ReferenceFileError(f"reference file {path} {error}") from error
    except Exception as error:  # asdf, yaml, zlib and struct all raise their own kinds
        message = " ".join(str(error).split())
        raise ReferenceFileError(f"reference file {path} cannot be read: {type(error).__name__}: {message}") from error
    digest = digest_file(path)
    if digest is None:
        raise ReferenceFileError(f"reference file {path} disappeared while it was read")
    return Reference(reftype, str(path), digest, meta, arrays, numbers)


def _check_tree(tree: Mapping[str, Any], reftype: str) -> Subarray | None:
    """Check the content of a file; return the rectangle that its arrays show, None without any."""
    expected = CONTENTS[reftype]
    meta = tree.get("meta")
    found = meta.get("reftype") if isinstance(meta, Mapping) else None
    if not isinstance(meta, Mapping) or found != reftype:
        raise ReferenceFileError(f"has meta.reftype {found!r:.80}, expected {reftype!r}")
    missing = [name for name in expected.required if name not in tree]
    if missing:
        others = sorted(set(tree) - {"meta", "asdf_library", "history"})
        raise ReferenceFileError(
            f"lacks {', '.join(missing)}; a {reftype} reference has "
            f"{', '.join(expected.required)}, found {', '.join(others) or 'meta alone'}"
        )
    for name in expected.number_names:
        value = tree.get(name, 0.0)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number:
            raise ReferenceFileError(f"has {name} {value!r:.80}, expected a finite number")
    shape: tuple[int, ...] = ()
    for name, axes in expected.axes.items():
        _check_array(tree[name], name, axes, shape)
        shape = tree[name].shape[-2:]
    return find_subarray(meta, (shape[0], shape[1]), "meta") if shape else None


def _check_array(array: Any, name: str, axes: tuple[str, ...], shape: tuple[int, ...]) -> None:
    """Refuse an array of other axes or type, or of another shape than those before it."""
    found = getattr(array, "shape", None)
    dtype = getattr(array, "dtype", None)
    if found is None or dtype is None:
        raise ReferenceFileError(f"has {name} {array!r:.80}, expected an array [{', '.join(axes)}]")
    if len(found) != len(axes) or 0 in found or (shape and found[-2:] != shape):
        spelled = f", [{', '.join(map(str, shape))}] in y, x as the arrays before it" if shape else ""
        raise ReferenceFileError(f"has {name} of shape {found}, expected [{', '.join(axes)}]{spelled}")
    is_right = (dtype.kind == "u" and dtype.itemsize <= 4) if name == "dq" else dtype.kind in "uif"
    if not is_right:
        expected = "uint32" if name == "dq" else "numbers"
        raise ReferenceFileError(f"has {name} of type {dtype}, expected {expected}")


def _cut(extent: Subarray | None, window: Subarray) -> tuple[slice, slice]:
    if extent is None:
        return slice(None), slice(None)
    if not extent.covers(window):
        raise ReferenceFileError(f"covers {extent} of the detector; the exposure has {window}")
    return extent.locate(window)


def _copy(array: Any, name: str, cut: tuple[slice, slice]) -> NDArray[Any]:
    """Copy the part of an array that an exposure shows; dq loses the bits of events."""
    if name == "dq":
        copy: NDArray[Any] = np.array(array[cut], np.uint32, order="C") & LASTING
    else:
        # Numbers beyond float32 become infinite, which the steps flag.
        with np.errstate(over="ignore"):
            copy = np.array(array[(..., *cut)], np.float32, order="C")
    copy.setflags(write=False)
    return copy
