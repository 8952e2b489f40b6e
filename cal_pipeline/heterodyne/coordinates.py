"""Reading and checking of the arrays beside the counts: one way for every array of the schema."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError, LayoutError
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.metadata import TEXT
from cal_pipeline.core.store.packing import Packing
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.heterodyne.modes import determine_mode
from cal_pipeline.heterodyne.phases import Mask, Texts, find_loads
from cal_pipeline.heterodyne.schema import MJD, MOST_COORDINATES, SOURCE_COORDINATES, Coordinate

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Coordinates:
    """Coordinates recorded with the counts of a band's subscans (L0 group ``source``).

    Parameters
    ----------
    shape : tuple of int
        (C, D, R, A, S) of the counts.
    sobsmode : ndarray of str, shape (S,)
        Observing phase of each subscan.
    mjd, exptime, elevation, pamb, tamb : ndarray, shape (S,)
        Middle of the subscan [d], integration time of a dump [s], elevation [rad], pressure [Pa],
        ambient temperature [K].
    signal_freq, image_freq, freq_res, freq_off, ref_channel : ndarray, shape (S,)
        Frequency axis [Hz] and zero-based reference channel.
    pixel : ndarray of str, shape (R, A)
        Pixel ids.
    lloadsn : ndarray of int, shape (S,), or None
        Number of the scan with the last load; negative where unknown.
    otf_lon, otf_lat : ndarray, shape (D, S), or None
        Offsets of each dump [deg].
    pixel_offset_lon, pixel_offset_lat : ndarray, shape (R, A, S), or None
        Offsets of each pixel [deg].

    Notes
    -----
    Numbers beyond the limits of :mod:`cal_pipeline.heterodyne.schema` are NaN; subscans that need them
    have none.
    """

    shape: tuple[int, ...]
    sobsmode: NDArray[np.str_]
    mjd: Floats
    exptime: Floats
    elevation: Floats
    pamb: Floats
    tamb: Floats
    signal_freq: Floats
    image_freq: Floats
    freq_res: Floats
    freq_off: Floats
    ref_channel: Floats
    pixel: NDArray[np.str_]
    lloadsn: NDArray[np.int64] | None = None
    otf_lon: Floats | None = None
    otf_lat: Floats | None = None
    pixel_offset_lon: Floats | None = None
    pixel_offset_lat: Floats | None = None

    @property
    def time_span(self) -> tuple[float, float]:
        """Times of the first and the last subscan [d], of those whose time is known."""
        return float(np.nanmin(self.mjd)), float(np.nanmax(self.mjd))

    def moves_within(self, subscans: NDArray[np.int64]) -> bool:
        """Tell whether the recorded position changes from dump to dump of some subscans."""
        offsets = (self.otf_lon, self.otf_lat)
        return any(bool((_spread(at[:, subscans], 0) > SAME_POSITION).any()) for at in offsets if at is not None)

    def share_position(self, subscans: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each pixel, (R, A), whether no recorded position says that some subscans differ in it."""
        moved = np.zeros(self.pixel.shape, np.bool_)
        for offset in (self.otf_lon, self.otf_lat):
            if offset is not None:
                moved |= bool((_spread(offset[:, subscans], None) > SAME_POSITION).any())
        for offset in (self.pixel_offset_lon, self.pixel_offset_lat):
            if offset is not None:
                moved |= _spread(offset[..., subscans], -1) > SAME_POSITION
        return ~moved

    def frequency_axis(self, subscan: int) -> dict[str, float]:
        """Arguments of `channel_frequencies`, but for the number of channels, at a subscan."""
        names = ("signal_freq", "image_freq", "freq_off", "freq_res", "ref_channel")
        return {name: float(getattr(self, name)[subscan]) for name in names}


SAME_POSITION = 1.0 / 3600.0
"""Largest difference of offsets at one position, which pointing and tracking make [deg]."""


def _spread(offsets: Floats, axis: int | None) -> NDArray[np.float64]:
    """Range of known offsets along an axis; NaN without any."""
    return np.asarray(np.fmax.reduce(offsets, axis=axis) - np.fmin.reduce(offsets, axis=axis))


NEEDED: dict[str, Callable[[Texts, str], Mask]] = {
    "on": lambda phases, instmode: determine_mode(phases, instmode).find_ons(phases),
    "observed": lambda phases, instmode: find_observed(phases, instmode),
    "loads": lambda phases, instmode: find_loads(phases),
}
"""Subscans whose values go into a product, from phases and instrument mode, by their name in the schema."""


def find_observed(phases: Texts, instmode: str) -> Mask:
    """Find the subscans that the observing mode calibrates.

    Parameters
    ----------
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of the subscans.
    instmode : str
        Instrument mode of the scan.

    Returns
    -------
    ndarray of bool, shape (S,)

    Examples
    --------
    >>> find_observed(np.array(["ON", "MOON", "OFF"]), "").tolist()
    [True, False, True]
    """
    mode = determine_mode(phases, instmode)
    return mode.find_ons(phases) | mode.find_offs(phases)


_CHANGES_TEXT = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Encoding")
_NEUTRAL_TEXT = {"_FillValue": ("",), "missing_value": ("",), "_Encoding": ("utf-8", "utf8", "ascii", "us-ascii")}


def read_arrays(
    store: StorePath, group: str, wanted: Mapping[str, Coordinate], shape: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """Read arrays of an L0 group: numbers decoded to float64, text to NumPy strings.

    Parameters
    ----------
    store : StorePath
        The session.
    group : str
        Path of the group in it.
    wanted : mapping
        Arrays to read, by name.
    shape : tuple of int
        (C, D, R, A, S) of the counts.

    Returns
    -------
    dict
        The arrays that the group holds; their values are yet to be checked (:func:`check_values`).

    Raises
    ------
    LayoutError
        If a required array is missing, or an array has another shape or type than the schema says,
        lacks chunks or does not decode.
    """
    present = set(store.members(group))
    missing = [name for name, spec in wanted.items() if spec.required and name not in present]
    if missing:
        held = sorted(name for name in present if name != "zarr.json")
        raise LayoutError(f"{store}/{group} lacks {', '.join(missing)}; it holds {', '.join(held)}")
    names = [name for name in wanted if name in present]
    found = dict(zip(names, store.each(lambda name: open_reader(store, f"{group}/{name}"), names), strict=True))
    lengths = {"dump": shape[1], "receiver": shape[2], "array": shape[3], "subscan": shape[4]}
    lengths["pixel"] = shape[2] * shape[3]
    for name in names:
        allowed = [tuple(lengths[axis] for axis in dims) for dims in wanted[name].dims]
        if found[name].shape not in allowed:
            raise LayoutError(
                f"{store}/{group}/{name} has shape {found[name].shape}, expected "
                f"{' or '.join(str(s) for s in allowed)} ({' or '.join(str(d) for d in wanted[name].dims)}), "
                f"as data_5d has shape {shape}"
            )
        for dims in wanted[name].dims:
            found[name].refuse_other_order(dims)
    filled: list[str] = []
    values = store.each(lambda name: read_array(found[name], name, wanted[name], filled), names)
    if filled:
        logger.info("%s/%s: no chunk is stored of %s; fill values are taken", store, group, ", ".join(sorted(filled)))
    return dict(zip(names, values, strict=True))


def read_array(array: ArrayReader, name: str, spec: Coordinate, filled: list[str]) -> NDArray[Any]:
    """Read and decode one array.

    Parameters
    ----------
    array : ArrayReader
        The array.
    name : str
        Its name in the schema.
    spec : Coordinate
        Its entry in the schema.
    filled : list of str
        Takes the name where no chunk is stored and the fill value is taken.

    Returns
    -------
    ndarray
        float64, NaN where missing; or NumPy strings.

    Raises
    ------
    LayoutError
        If it has another type than the schema says, lacks chunks or does not decode.
    DataReadError
        If the store cannot be read.
    """
    if math.prod(array.shape) > MOST_COORDINATES:
        raise LayoutError(f"{array.name} has shape {array.shape}, expected at most {MOST_COORDINATES} values")
    if spec.kind == "number":
        _check_number_type(array, name, spec)
    try:
        raw = array.read()
    except MemoryError:
        raise
    except OSError as error:
        raise DataReadError(f"{array.name} cannot be read: {_described(error)}") from error
    except Exception as error:
        raise LayoutError(f"{array.name} cannot be read: {_described(error)}") from error
    if _lacks_chunks(array, raw, spec):
        filled.append(name)
    if spec.kind == "text":
        return _decode_text(raw, array)
    if raw.dtype.kind not in "iuf":
        raise LayoutError(f"{array.name} is of type {raw.dtype}, expected numbers ({spec.unit or 'no unit'})")
    if not array.attributes:
        return raw.astype(np.float64)
    return Packing.from_attributes(array.name, array.attributes, raw.dtype, spec.unit).decode(raw)


def _check_number_type(array: ArrayReader, name: str, spec: Coordinate) -> None:
    """Refuse text where numbers are expected, and times of too few bits."""
    dtype = array.dtype
    if dtype == TEXT or dtype.kind not in "iuf":
        raise LayoutError(f"{array.name} is of type {dtype}, expected numbers ({spec.unit or 'no unit'})")
    if name != "mjd":
        return
    if dtype.itemsize < 8:
        reason = "32 bits hold a day only to 6 minutes" if dtype == np.float32 else "they are too few for a time"
        raise LayoutError(f"{array.name} is of type {dtype}, expected float64: {reason}; write it with 64 bits")
    if dtype.kind in "iu" and not {"scale_factor", "units"} & set(array.attributes):
        raise LayoutError(
            f"{array.name} is of type {dtype}, expected float64: whole days do not tell when a subscan was observed"
        )


def _lacks_chunks(array: ArrayReader, raw: NDArray[Any], spec: Coordinate) -> bool:
    """Find out whether no chunk of an array is stored, which its schema allows.

    Raises
    ------
    LayoutError
        If chunks are absent, and their fill value cannot stand for what was recorded.
    """
    if not _holds(raw, array.fill_value):
        return False
    try:
        absent = array.absent_chunks()
    except ValueError as error:
        raise LayoutError(f"{array.name} cannot be read: {error}") from error
    if not absent:
        return False
    inside = [[min(part.stop, n) - part.start for part, n in zip(parts, array.shape, strict=True)] for parts in absent]
    if spec.takes_fill(array.fill_value) and sum(map(math.prod, inside)) == math.prod(array.shape):
        return True
    fill = array.fill_value.item() if isinstance(array.fill_value, np.generic) else array.fill_value
    raise LayoutError(
        f"{array.name}: {len(absent)} of its chunks are not stored, so that values would be the fill value {fill!r}; "
        "expected every chunk: write them all (with zarr: config={'write_empty_chunks': True})"
    )


def _holds(raw: NDArray[Any], fill: Any) -> bool:
    """Tell whether any value equals the fill value; otherwise no chunk can be absent."""
    if raw.dtype.kind not in "iuf":
        return any(item in (fill, "", b"", None) for item in raw.ravel().tolist())
    if isinstance(fill, (float, np.floating)) and np.isnan(fill):
        return bool(np.isnan(raw).any()) if raw.dtype.kind == "f" else True
    return bool((raw == fill).any())


def _decode_text(raw: NDArray[Any], array: ArrayReader) -> Texts:
    """Decode text (UTF-8) and strip padding blanks and NULs."""
    for attribute in _CHANGES_TEXT:
        value = array.attributes.get(attribute)
        if value is not None and str(value).lower() not in _NEUTRAL_TEXT.get(attribute, ()):
            raise LayoutError(f"{array.name}: attribute {attribute} is {value!r}, expected none: it is text")

    def decoded(item: Any) -> str:
        if isinstance(item, bytes):
            try:
                item = item.decode("utf-8")
            except UnicodeDecodeError as error:
                raise LayoutError(
                    f"{array.name} is of type {raw.dtype} and holds {item!r}, expected text in UTF-8: {error}"
                ) from error
        if not isinstance(item, str):
            raise LayoutError(f"{array.name} is of type {raw.dtype} and holds {item!r}, expected text")
        return item.strip(" \t\r\n\0")

    # A list first: NumPy's own conversion would write "b'...'" for bytes.
    texts = [decoded(item) for item in raw.ravel().tolist()]
    return np.array(texts, dtype=np.str_).reshape(raw.shape)


def check_values(
    where: str, values: Mapping[str, NDArray[Any]], wanted: Mapping[str, Coordinate], instmode: str = ""
) -> dict[str, Any]:
    """Check the numbers of a group at the subscans that need them.

    Parameters
    ----------
    where : str
        Name of the group, for messages.
    values : mapping
        Its arrays, with ``sobsmode``.
    wanted : mapping
        Their entries in the schema.
    instmode : str
        Instrument mode of the scan, which can tell the subscans of ``source`` to calibrate.

    Returns
    -------
    dict
        The arrays; NaN in place of a number beyond the limits at a subscan that does not need it.

    Raises
    ------
    LayoutError
        For a number beyond the limits at a subscan that needs it; names array, subscans, numbers,
        limits and unit, and the unit that the numbers look like.
    """
    phases = values["sobsmode"]
    checked: dict[str, Any] = dict(values)
    for name, spec in wanted.items():
        if not spec.needed or name not in values:
            continue
        if spec.is_sound(values[name]):
            continue
        unsound = spec.find_unsound(values[name])
        needed = NEEDED[spec.needed](phases, instmode)
        wrong = np.flatnonzero(unsound.any(axis=tuple(range(unsound.ndim - 1))) & needed)
        if wrong.size:
            subject = f"{where}/{name} of subscans {_listed(wrong)}"
            refuse(subject, spec, values[name][unsound & needed], values[name][..., needed])
        checked[name] = np.where(unsound, np.nan, values[name])
    return checked


def refuse(subject: str, spec: Coordinate, wrong: NDArray[np.float64], every: NDArray[np.float64]) -> None:
    """Raise the error for numbers beyond the limits.

    Parameters
    ----------
    subject : str
        Start of the message: array and subscans.
    spec : Coordinate
        Entry of the array in the schema.
    wrong : ndarray
        Numbers beyond the limits.
    every : ndarray
        All numbers that were checked, by which the unit is recognised.

    Raises
    ------
    LayoutError
        Always.
    """
    hint = spec.guess_unit(every) if np.isfinite(wrong).all() else ""
    raise LayoutError(f"{subject} is {spec.describe(wrong)}, expected {spec.expected}{hint}")


def _listed(subscans: NDArray[np.int64]) -> str:
    """Format subscans for a message, only the first of many."""
    if subscans.size <= 12:
        return str(subscans.tolist())
    return f"[{', '.join(map(str, subscans[:12].tolist()))}, ... ({subscans.size} subscans)]"


def read_phases(store: StorePath, group: str) -> Texts:
    """Read the observing phase of each subscan of a ``source`` group, shape (S,).

    Raises
    ------
    LayoutError
        If they cannot be read.
    """
    return read_array(open_reader(store, f"{group}/sobsmode"), "sobsmode", SOURCE_COORDINATES["sobsmode"], [])


def read_first_time(store: StorePath, group: str) -> float:
    """Read the time of the first subscan of a group (MJD) [d]; infinity without a sound time.

    Raises
    ------
    LayoutError
        If the times cannot be read.
    """
    array = open_reader(store, f"{group}/mjd")
    mjd = read_array(array, "mjd", MJD, [])
    return float(np.min(mjd[~MJD.find_unsound(mjd)], initial=np.inf))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
