"""The corpus: what can be wrong with an input, generated over every array, attribute, phase, time and name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .stores import (
    Values,
    change_attributes,
    change_document,
    chunks_of,
    document_of,
    put_array,
    remove,
    values_of,
    write_file,
)

BAD = 2
"""The scan that is damaged."""

SCAN = f"scan_{BAD:06d}"

ON, OFF, HOT, COLD = 1, 3, 0, 1
"""Positions of subscans in their groups."""

SOURCE_NUMBERS = (
    "mjd",
    "exptime",
    "elevation",
    "pamb",
    "tamb",
    "signal_freq",
    "image_freq",
    "freq_res",
    "freq_off",
    "ref_channel",
    "lloadsn",
    "otf_lon",
    "otf_lat",
    "pixel_offset_lon",
    "pixel_offset_lat",
)
LOAD_NUMBERS = ("mjd", "exptime", "thot", "tcold")
READ = {
    "source": ("data_5d", "sobsmode", "frontend_backends", *SOURCE_NUMBERS),
    "calibration": ("data_5d", "sobsmode", "frontend_backends", *LOAD_NUMBERS),
}
"""Arrays that the calibration reads, by their group."""

UNREAD = {
    "source": ("azimuth",),
    "calibration": ("azimuth", "elevation", "pamb", "tamb", "signal_freq", "freq_res", "lloadsn"),
}
"""Arrays that it does not read."""


FREQUENCY = ("GHz", "frequenc")
WORDS = {"data_5d": ("no dump of",), "image_freq": ("image",)} | dict.fromkeys(
    ("signal_freq", "freq_res", "freq_off", "ref_channel"), FREQUENCY
)
"""Words that stand for an array in messages about what follows from several."""


def _words(array: str) -> tuple[str, ...]:
    return (array, *WORDS.get(array, ()))


@dataclass(frozen=True)
class Damage:
    """Something that is wrong with a session.

    Parameters
    ----------
    kind : str
        Row of the table that it counts in.
    name : str
        What is wrong.
    words : tuple of str
        Names of the damaged thing; a message about it holds one of them.
    do : callable
        Does the damage to a session.
    scope : str
        ``"scan"``: to the scan `BAD`; ``"session"``: to all of it, which may be refused as a whole; ``"beside"``: to
        something beside the scans, which must be named.
    harmless : bool
        Whether the product must be that of the undamaged session.
    """

    kind: str
    name: str
    words: tuple[str, ...]
    do: Callable[[Path], None]
    scope: str = "scan"
    harmless: bool = False


def all_damages() -> list[Damage]:
    """Return the corpus."""
    makers = (
        _stored_arrays,
        _unread_arrays,
        _numbers,
        _units,
        _packings,
        _attributes,
        _documents,
        _phases,
        _times,
        _samples,
        _pixels,
        _names,
        _sizes,
    )
    found = [damage for maker in makers for damage in maker()]
    names = [damage.name for damage in found]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return found


def _each_array(arrays: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    yield from ((group, array) for group, names in arrays.items() for array in names)


# How an array is stored.


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    data = bytearray(content)
    data[len(data) // 2] ^= 16
    return bytes(data)


def _chunk(spoil: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = chunks_of(folder)[0]
        write_file(path, spoil(path.read_bytes()))

    return do


def _metadata(spoil: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: write_file(folder / "zarr.json", spoil((folder / "zarr.json").read_bytes()))


def _fields(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: change_document(folder, **fields)


def _shape(change: Callable[[list[Any]], list[Any]], chunks: bool = False) -> Callable[[Path], None]:
    """Change the shape in the metadata, or that of the chunks."""

    def do(folder: Path) -> None:
        document = document_of(folder)
        grid = document["chunk_grid"]["configuration"]
        if chunks:
            grid["chunk_shape"] = change(grid["chunk_shape"])
        else:
            document["shape"] = change(document["shape"])
        change_document(folder, shape=document["shape"], chunk_grid=document["chunk_grid"])

    return do


def _rewritten(change: Callable[[Values], Values], **fields: Any) -> Callable[[Path], None]:
    return lambda folder: put_array(folder, change(values_of(folder)), **fields)


def _one_chunk_less(folder: Path) -> None:
    put_array(folder, values_of(folder), axis=-1)
    remove(chunks_of(folder)[1])


def _no_chunks(folder: Path) -> None:
    shutil.rmtree(folder / "c")


def _as_file(folder: Path) -> None:
    remove(folder)
    write_file(folder, b"something else")


def _as_link_to_nothing(folder: Path) -> None:
    remove(folder)
    folder.symlink_to("nowhere")


def _as_link_to_itself(folder: Path) -> None:
    remove(folder)
    folder.symlink_to(folder.name)


def _metadata_as_folder(folder: Path) -> None:
    remove(folder / "zarr.json")
    (folder / "zarr.json").mkdir()


def _chunk_as_folder(folder: Path) -> None:
    path = chunks_of(folder)[0]
    remove(path)
    path.mkdir()


def _old_format(folder: Path) -> None:
    values = values_of(folder)
    remove(folder)
    metadata = {"zarr_format": 2, "shape": values.shape, "chunks": values.shape, "dtype": "<f8", "order": "C"}
    write_file(folder / ".zarray", json.dumps(metadata | {"fill_value": 0, "compressor": None, "filters": None}))


STORED: dict[str, Callable[[Path], None]] = {
    "absent": remove,
    "a file": _as_file,
    "an empty folder": lambda folder: (remove(folder), folder.mkdir())[0],
    "a link to nothing": _as_link_to_nothing,
    "a link to itself": _as_link_to_itself,
    "of Zarr v2": _old_format,
    "without metadata": lambda folder: remove(folder / "zarr.json"),
    "metadata empty": _metadata(lambda _: b""),
    "metadata cut off": _metadata(_cut),
    "metadata of bytes": _metadata(lambda _: bytes(range(200, 256))),
    "metadata a list": _metadata(lambda _: b"[1, 2]"),
    "metadata a folder": _metadata_as_folder,
    "metadata of a group": _metadata(lambda _: b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'),
    "metadata without shape": _fields(shape=...),
    "metadata without codecs": _fields(codecs=...),
    "metadata without type": _fields(data_type=...),
    "metadata without grid": _fields(chunk_grid=...),
    "no codecs": _fields(codecs=[]),
    "unknown codec": _fields(codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "nonsense"}]),
    "another codec than written": _fields(
        codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "gzip", "configuration": {}}]
    ),
    "unknown type": _fields(data_type="float31"),
    "unknown field": _fields(later_addition={"must_understand": True}),
    "format 4": _fields(zarr_format=4),
    "attributes a list": _fields(attributes=[1]),
    "names of axes too many": _fields(dimension_names=["a", "b", "c", "d", "e", "f"]),
    "names of axes numbers": _fields(dimension_names=[1]),
    "fill value of another type": _fields(fill_value={"a": 1}),
    "chunk absent": _one_chunk_less,
    "all chunks absent": _no_chunks,
    "chunk empty": _chunk(lambda _: b""),
    "chunk cut off": _chunk(_cut),
    "chunk with a flipped bit": _chunk(_flip),
    "chunk of another file": _chunk(lambda _: b"%PDF-1.4 something else altogether"),
    "chunk of zeros": _chunk(lambda content: bytes(len(content))),
    "chunk a folder": _chunk_as_folder,
    "shape one longer": _shape(lambda shape: [*shape[:-1], shape[-1] + 1]),
    "shape one shorter": _shape(lambda shape: [*shape[:-1], shape[-1] - 1]),
    "shape with one axis more": _shape(lambda shape: [*shape, 1]),
    "shape of no axis": _shape(lambda _: []),
    "shape of 0": _shape(lambda shape: [0 for _ in shape]),
    "shape negative": _shape(lambda shape: [-n for n in shape]),
    "shape of fractions": _shape(lambda shape: [n + 0.5 for n in shape]),
    "shape huge": _shape(lambda shape: [10**9 for _ in shape]),
    "shape beyond 64 bits": _shape(lambda shape: [10**30 for _ in shape]),
    "chunks of 0": _shape(lambda shape: [0 for _ in shape], chunks=True),
    "chunks huge": _shape(lambda shape: [10**9 for _ in shape], chunks=True),
}
"""What can be wrong with the files of an array."""

NUMBERS_STORED: dict[str, Callable[[Path], None]] = {
    "text": _rewritten(lambda values: np.full(values.shape, "abc", object)),
    "numbers as text": _rewritten(
        lambda values: np.array([str(v) for v in values.ravel()], object).reshape(values.shape)
    ),
    "truth values": _rewritten(lambda values: values.astype(bool)),
    "complex": _rewritten(lambda values: values.astype(np.complex128)),
    "bytes in the wrong order": _rewritten(lambda values: values.byteswap()),
    "numbers of half the bits": _rewritten(lambda values: values.astype(f"f{values.dtype.itemsize // 2}")),
}
"""What can be wrong with the type of an array of numbers."""


def _at(group: str, array: str, do: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda session: do(session / SCAN / group / array)


def _stored_arrays() -> Iterator[Damage]:
    for group, array in _each_array(READ):
        is_text = array in ("sobsmode", "frontend_backends")
        for what, do in (STORED if is_text else STORED | NUMBERS_STORED).items():
            if what == "numbers of half the bits" and array != "mjd":
                continue  # any width is read
            if (array, what) == ("ref_channel", "bytes in the wrong order"):
                continue  # which makes it 0, a channel as good as any
            name = f"{group}/{array}: {what}"
            yield Damage("arrays: files and metadata", name, _words(array), _at(group, array, do))
        if not is_text:
            swapped = _rewritten(
                lambda values: values.byteswap(),
                codecs=[{"name": "bytes", "configuration": {"endian": "big"}}],
            )
            name = f"{group}/{array}: big-endian, as its metadata say"
            yield Damage("arrays: files and metadata", name, _words(array), _at(group, array, swapped), harmless=True)


def _unread_arrays() -> Iterator[Damage]:
    for group, array in _each_array(UNREAD):
        for what in ("absent", "a file", "metadata cut off", "chunk with a flipped bit", "shape huge"):
            name = f"{group}/{array}: {what}"
            yield Damage("arrays: files and metadata", name, _words(array), _at(group, array, STORED[what]))
        name = f"{group}/{array}: text"
        yield Damage("arrays: files and metadata", name, _words(array), _at(group, array, NUMBERS_STORED["text"]))


# Numbers.


def _everywhere(change: Callable[[Values], Any]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        values = values_of(folder)
        with np.errstate(all="ignore"):
            put_array(folder, np.asarray(change(values)).astype(values.dtype))

    return do


def _at_subscan(position: int, change: Callable[[Values], Any]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        values = values_of(folder)
        with np.errstate(all="ignore"):
            values[..., position] = change(values[..., position])
        put_array(folder, values)

    return do


def _constant(number: float) -> Callable[[Values], Any]:
    return lambda values: np.full(values.shape, number)


NUMBERS: dict[str, Callable[[Values], Any]] = {
    "NaN": _constant(np.nan),
    "infinite": _constant(np.inf),
    "minus infinity": _constant(-np.inf),
    "0": _constant(0.0),
    "negative": lambda values: -np.abs(values) - 1.0,
    "1e3 times": lambda values: values * 1e3,
    "1e-3 times": lambda values: values * 1e-3,
    "1e30": _constant(1e30),
}


PLAUSIBLE = {
    ("freq_res", "negative"),
    ("ref_channel", "0"),
    ("ref_channel", "negative"),
    ("ref_channel", "1e-3 times"),
    ("freq_off", "1e3 times"),
    ("freq_off", "1e-3 times"),
}
"""Damages after which a number is as good as any: a reference channel at the beginning of the band."""


def _numbers() -> Iterator[Damage]:
    for group, arrays in (("source", SOURCE_NUMBERS), ("calibration", LOAD_NUMBERS)):
        places = {"ON": ON, "OFF": OFF} if group == "source" else {"HOT": HOT, "COLD": COLD}
        for array in arrays:
            for what, change in NUMBERS.items():
                if (array == "lloadsn" and what not in ("0", "negative", "1e3 times")) or (array, what) in PLAUSIBLE:
                    continue  # whole numbers are neither NaN nor infinite
                name = f"{group}/{array}: {what}"
                yield Damage("arrays: numbers", name, _words(array), _at(group, array, _everywhere(change)))
                for place, position in places.items():
                    do = _at(group, array, _at_subscan(position, change))
                    yield Damage("arrays: numbers", f"{name} at one {place}", _words(array), do)


UNITS: dict[str, dict[str, Callable[[Values], Any]]] = {
    "elevation": {"degrees": np.degrees, "zenith angle in degrees": lambda v: 90 - np.degrees(v)},
    "pamb": {
        "hPa": lambda v: v * 1.33322,
        "Pa": lambda v: v * 133.322,
        "kPa": lambda v: v * 0.133322,
        "inHg": lambda v: v / 25.4,
    },
    "tamb": {"Celsius": lambda v: v - 273.15, "Fahrenheit": lambda v: v * 1.8 - 459.67, "mK": lambda v: v * 1e3},
    "thot": {"Celsius": lambda v: v - 273.15, "mK": lambda v: v * 1e3},
    "tcold": {"Celsius": lambda v: v - 273.15, "mK": lambda v: v * 1e3},
    "signal_freq": {"kHz": lambda v: v / 1e3, "MHz": lambda v: v / 1e6, "GHz": lambda v: v / 1e9},
    "image_freq": {"kHz": lambda v: v / 1e3, "MHz": lambda v: v / 1e6, "GHz": lambda v: v / 1e9},
    "freq_res": {"kHz": lambda v: v / 1e3, "MHz": lambda v: v / 1e6, "GHz": lambda v: v / 1e9},
    "freq_off": {"far off": lambda v: v + 1e12},
    "mjd": {
        "JD": lambda v: v + 2400000.5,
        "JD - 2400000": lambda v: v + 0.5,
        "Unix seconds": lambda v: (v - 40587) * 86400,
        "Unix milliseconds": lambda v: (v - 40587) * 86400e3,
        "Unix days": lambda v: v - 40587,
        "MJD seconds": lambda v: v * 86400,
        "seconds of the day": lambda v: v % 1 * 86400,
        "year": lambda v: 2000 + (v - 51544.5) / 365.25,
        "GPS seconds": lambda v: (v - 44244) * 86400,
    },
    "exptime": {"ms": lambda v: v * 1e3, "microseconds": lambda v: v * 1e6, "minutes": lambda v: v / 60},
    "otf_lon": {"arcseconds": lambda v: v * 3600},
    "otf_lat": {"arcseconds": lambda v: v * 3600 * 10},
    "pixel_offset_lon": {"milliarcseconds": lambda v: v * 3.6e6},
    "pixel_offset_lat": {"milliarcseconds": lambda v: v * 3.6e6},
}
"""Numbers in another unit than that of the format, by array."""


def _units() -> Iterator[Damage]:
    for group, arrays in (("source", SOURCE_NUMBERS), ("calibration", LOAD_NUMBERS)):
        for array in arrays:
            for unit, change in UNITS.get(array, {}).items():
                name = f"{group}/{array} in another unit: {unit}"
                yield Damage("arrays: units", name, _words(array), _at(group, array, _everywhere(change)))


PACKINGS: dict[str, dict[str, Any]] = {
    "scale_factor NaN": {"scale_factor": np.nan},
    "scale_factor 0": {"scale_factor": 0.0},
    "scale_factor text": {"scale_factor": "ten"},
    "scale_factor a list": {"scale_factor": [1, 2]},
    "add_offset infinite": {"add_offset": np.inf},
    "add_offset text": {"add_offset": "one"},
    "_FillValue text": {"_FillValue": "none"},
    "units unknown": {"units": "furlong"},
    "units a number": {"units": 7},
    "valid_range reversed": {"valid_range": [1, 0]},
}


def _packings() -> Iterator[Damage]:
    for group, array in _each_array(READ):
        for what, attributes in PACKINGS.items():
            if array in ("sobsmode", "frontend_backends") and "units" in what:
                continue

            def do(session: Path, at: str = f"{group}/{array}", attributes: dict[str, Any] = attributes) -> None:
                change_attributes(session / SCAN / at, **attributes)

            yield Damage("attributes of arrays", f"{group}/{array}: {what}", _words(array), do)


# Attributes and metadata of groups.

SCAN_ATTRIBUTES = (
    "scan_number",
    "source",
    "instmode",
    "telescope",
    "frontend",
    "date_obs",
    "velocity_source_kms",
    "rest_freq_hz",
    "line",
    "coord_frame",
    "source_lon_deg",
    "source_lat_deg",
)
ATTRIBUTES: dict[str, Any] = {
    "absent": ...,
    "null": None,
    "text": "something",
    "empty text": "",
    "a number": 17.5,
    "NaN": np.nan,
    "infinite": -np.inf,
    "beyond 64 bits": 10**40,
    "a truth value": True,
    "a list": ["OTF", 1],
    "a mapping": {"a": {"b": 1}},
    "control characters": "x\x1b[2J\x1b]0;owned\x07\r\n2026 ERROR forged\x00",
    "a lone surrogate": "\ud800",
    "very long": "x" * 1_000_000,
}


def _attributes() -> Iterator[Damage]:
    for attribute in SCAN_ATTRIBUTES:
        for what, value in ATTRIBUTES.items():

            def do(session: Path, attribute: str = attribute, value: Any = value) -> None:
                change_attributes(session / SCAN, **{attribute: value})

            yield Damage("attributes of scans", f"attribute {attribute}: {what}", (attribute,), do)


def _documents() -> Iterator[Damage]:
    kinds: dict[str, Callable[[Path], None]] = {
        "without metadata": STORED["without metadata"],
        "metadata empty": STORED["metadata empty"],
        "metadata cut off": STORED["metadata cut off"],
        "metadata of bytes": STORED["metadata of bytes"],
        "metadata a list": STORED["metadata a list"],
        "metadata a folder": STORED["metadata a folder"],
        "metadata of an array": _fields(node_type="array"),
        "format 2": _fields(zarr_format=2),
        "attributes a list": _fields(attributes=[1]),
        "attributes text": _fields(attributes="none"),
        "unknown field": _fields(later_addition={"must_understand": True}),
    }
    for group in ("", SCAN, f"{SCAN}/source", f"{SCAN}/calibration"):
        for what, spoil in kinds.items():

            def do(session: Path, group: str = group, spoil: Callable[[Path], None] = spoil) -> None:
                spoil(session / group)

            scope = "scan" if group else "session"
            words = (group.rpartition("/")[2] or "session.zarr",)
            yield Damage("groups", f"{group or 'root'}: {what}", words, do, scope)
    for group in ("source", "calibration"):
        for what in ("absent", "a file", "an empty folder", "a link to nothing", "a link to itself"):

            def spoil_group(session: Path, group: str = group, what: str = what) -> None:
                STORED[what](session / SCAN / group)

            if what == "absent":
                continue  # a scan without loads of its own, or one of loads alone
            yield Damage("groups", f"{SCAN}/{group}: {what}", (group,), spoil_group)


# Phases and times.


def _texts(group: str, array: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[Path], None]:
    def do(session: Path) -> None:
        folder = session / SCAN / group / array
        texts = change(values_of(folder).tolist())
        values = np.empty(len(texts), object)
        values[:] = texts
        put_array(folder, values)

    return do


def _put(position: int, phase: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda phases: [*phases[:position], phase, *phases[position + 1 :]]


# Letters are read in any case: "otf-off" is no damage. Neither is an OFF called ON, which is an ON on blank sky. An ON
# called OFF is in the table of the faults of instruments: what it does depends on the brightness of the source.
SINGLE_PHASES = (
    "MOON",
    "KNOCKOFF",
    "",
    "OTF-ON2",
    "ON-OTF",
    "SKY",
    "HOT",
    "OTF\x00-ON",
    "OTF-\u041eN",
    "O N",
    "None",
    "OTF-ON\nOTF-OFF",
    "x" * 10_000,
    b"\xff\xfe",
)


def _phases() -> Iterator[Damage]:
    words = ("sobsmode", "dropped_subscans")
    for group, place, position in (
        ("source", "an ON", ON),
        ("source", "an OFF", OFF),
        ("calibration", "the HOT", HOT),
        ("calibration", "the COLD", COLD),
    ):
        for phase in SINGLE_PHASES:
            shown = repr(phase[:12])
            do = _texts(group, "sobsmode", _put(position, phase))
            yield Damage("phases", f"{place} called {shown}", words, do)
    whole: dict[str, tuple[str, Callable[[list[Any]], list[Any]]]] = {
        "one pair of beam A in an OTF scan": ("source", lambda p: [*p[:1], "SWA-ON", *p[2:3], "SWA-OFF", *p[4:]]),
        "one ON of beam B in an OTF scan": ("source", _put(ON, "OTFSWB-ON")),
        "all ON": ("source", lambda p: ["OTF-ON"] * len(p)),
        "all OFF": ("source", lambda p: ["OTF-OFF"] * len(p)),
        "ON and OFF exchanged": ("source", lambda p: ["OTF-OFF" if "ON" in t else "OTF-ON" for t in p]),
        "all empty": ("source", lambda p: [""] * len(p)),
        "all unknown": ("source", lambda p: ["MOON"] * len(p)),
        "HOT and COLD exchanged": ("calibration", lambda p: p[::-1]),
        "two HOT": ("calibration", lambda p: ["HOT"] * len(p)),
        "two COLD": ("calibration", lambda p: ["COLD"] * len(p)),
        "HOT and SKY": ("calibration", _put(COLD, "SKY")),
        "HOT and ZERO": ("calibration", _put(COLD, "ZERO")),
        "no phase of a load": ("calibration", lambda p: ["ON", "OFF"]),
    }
    for what, (group, change) in whole.items():
        yield Damage("phases", f"phases: {what}", (*words, "phase", "OFF", "HOT"), _texts(group, "sobsmode", change))


SECOND = 1.0 / 86400.0


def _times() -> Iterator[Damage]:
    words = ("mjd", "load_age_s", "time")
    changes: dict[str, Callable[[Values], Any]] = {
        "a year early": lambda t: t - 365.25,
        "a year late": lambda t: t + 365.25,
        "a day early": lambda t: t - 1.0,
        "a day late": lambda t: t + 1.0,
        "in 1858": lambda t: t % 1,
        "in 2300": lambda t: t + 100_000,
        "all equal": lambda t: np.full(t.shape, t[0]),
        "reversed": lambda t: t[::-1],
        "ten times as fast": lambda t: t[0] + (t - t[0]) / 10,
        "a thousand times as slow": lambda t: t[0] + (t - t[0]) * 1e3,
        "whole days": np.floor,
    }
    for group in ("source", "calibration"):
        for what, change in changes.items():
            yield Damage("times", f"{group}/mjd: {what}", words, _at(group, "mjd", _everywhere(change)))
    singles: dict[str, tuple[int, Callable[[Values], Any]]] = {
        "an ON backwards once": (ON, lambda t: t - 60 * SECOND),
        "an OFF backwards once": (OFF, lambda t: t - 60 * SECOND),
        "an ON a year early": (ON, lambda t: t - 365.25),
        "an OFF a year early": (OFF, lambda t: t - 365.25),
        "an OFF an hour late": (OFF, lambda t: t + 3600 * SECOND),
        "the last OFF an hour late": (6, lambda t: t + 3600 * SECOND),
        "the first OFF an hour early": (0, lambda t: t - 3600 * SECOND),
        "the last OFF a day late": (6, lambda t: t + 1.0),
    }
    for what, (position, change) in singles.items():
        yield Damage("times", f"source/mjd: {what}", words, _at("source", "mjd", _at_subscan(position, change)))

    def swap(values: Values) -> Values:
        values[[ON, OFF]] = values[[OFF, ON]]
        return values

    yield Damage("times", "source/mjd: an ON and an OFF exchanged", words, _at("source", "mjd", _everywhere(swap)))


# Samples.


def _samples() -> Iterator[Damage]:
    top = np.iinfo(np.int32).max

    def at(position: int, change: Callable[[Values], Any]) -> Callable[[Path], None]:
        return _at_subscan(position, change)

    def spike(values: Values) -> Values:
        values[10, 0] = values[10, 0] * 10  # brighter than the hot load, which no line is
        return values

    def stuck(values: Values) -> Values:
        values[:, 1:] = values[:, :1]
        return values

    def dump_doubled(values: Values) -> Values:
        values[:, 2] *= 2
        return values

    def dump_zero(values: Values) -> Values:
        values[:, 2] = 0
        return values

    def pixel_zero(values: Values) -> Values:
        values[:, :, 0] = 0
        return values

    def pixel_higher(values: Values) -> Values:
        values[:, :, 0] = values[:, :, 0] * 1.3
        return values

    def channel_high(values: Values) -> Values:
        values[10] = values[10] * 5
        return values

    def half_shifted(values: Values) -> Values:
        return np.roll(values, 7, axis=0)

    changes: dict[str, Callable[[Values], Any]] = {
        "saturated": _constant(top),
        "near saturation": _constant(top - 1),
        "0": _constant(0),
        "negative": lambda values: -values,
        "missing": _constant(-(2**31)),
        "1.3 times": lambda values: values * 1.3,
        "0.5 times": lambda values: values * 0.5,
        "a thousand times": lambda values: values * 300,
        "with a spike in one dump": spike,
        "with one dump doubled": dump_doubled,
        "with one dump of 0": dump_zero,
        "with one pixel of 0": pixel_zero,
        "with one pixel 1.3 times": pixel_higher,
        "with one channel 5 times": channel_high,
        "with every dump the same": stuck,
        "with channels shifted": half_shifted,
        "with channels reversed": lambda values: values[::-1],
        "constant": lambda values: np.full(values.shape, values.mean()),
    }
    words = ("data_5d", "OFF", "ON", "HOT", "COLD", "channels", "hot and cold", "frontend_backends")
    places = {
        "an ON": ("source", ON),
        "an OFF": ("source", OFF),
        "HOT": ("calibration", HOT),
        "COLD": ("calibration", COLD),
    }
    for place, (group, position) in places.items():
        for what, change in changes.items():
            if place == "an ON" and "1.3 times" in what:
                continue  # as a source of continuum makes it
            if group == "calibration" and what == "with every dump the same":
                continue  # the mean of one dump is that of four, to within its noise
            name = f"counts: {place} {what}"
            yield Damage("counts", name, words, _at(group, "data_5d", at(position, change)))
    floats = {"infinite": np.inf, "minus infinity": -np.inf, "NaN": np.nan, "1e30": 1e30}
    for place, (group, position) in places.items():
        for what, number in floats.items():

            def do(folder: Path, position: int = position, number: float = number) -> None:
                values = values_of(folder).astype(np.float32)
                values[5, :, 0, 0, position] = number
                put_array(folder, values)

            name = f"counts as floats: a channel of {place} {what}"
            yield Damage("counts", name, words, _at(group, "data_5d", do))
    for group in ("source", "calibration"):
        whole: dict[str, Callable[[Values], Any]] = {
            "all 0": _constant(0),
            "all missing": _constant(-(2**31)),
            "all saturated": _constant(top),
            "negative": lambda values: -values,
            "a tenth": lambda values: values // 10,
            "channels reversed": lambda values: values[::-1],
            "subscans reversed": lambda values: values[..., ::-1],
            "pixels exchanged": lambda values: values[:, :, ::-1],
        }
        for what, change in whole.items():
            if (group, what) == ("source", "subscans reversed"):
                continue  # the same phases in another order: the positions are exchanged
            yield Damage("counts", f"counts of {group}: {what}", words, _at(group, "data_5d", _everywhere(change)))
        transposed: dict[str, Callable[[Values], Values]] = {
            "without an axis": lambda values: values[:, :, :, 0],
            "with axes in another order": lambda values: np.ascontiguousarray(values.swapaxes(0, 1)),
            "with a channel less": lambda values: values[:-1],
            "with a pixel less": lambda values: values[:, :, :-1],
            "with a subscan less": lambda values: values[..., :-1],
            "with half the channels": lambda values: values[::2],
        }
        for what, reshape in transposed.items():
            name = f"counts of {group} {what}"
            yield Damage("counts", name, words, _at(group, "data_5d", _rewritten(reshape)))


def _pixels() -> Iterator[Damage]:
    changes: dict[str, Callable[[list[Any]], list[Any]]] = {
        "repeated": lambda ids: [ids[0]] * len(ids),
        "empty": lambda ids: [""] * len(ids),
        "one too many": lambda ids: [*ids, "CHAI_PX02"],
        "one too few": lambda ids: ids[:-1],
        "others": lambda ids: [f"OTHER{i}" for i, _ in enumerate(ids)],
        "exchanged": lambda ids: ids[::-1],
        "control characters": lambda ids: [f"{text}\x1b[2J\n" for text in ids],
        "bytes": lambda ids: [b"\xff\xfe" for _ in ids],
        "very long": lambda ids: [text + "x" * 100_000 for text in ids],
    }
    for group in ("source", "calibration"):
        for what, change in changes.items():
            do = _texts(group, "frontend_backends", change)
            yield Damage("pixel ids", f"{group}/frontend_backends: {what}", ("frontend_backends", "pixel"), do)


# Names in the store, and sizes.


def _names() -> Iterator[Damage]:
    yield from _members_beside()

    def of_scan(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
        return lambda session: spoil(session / SCAN)

    def alone_in_band(scan: Path) -> None:
        (scan / "band_0").mkdir()
        shutil.copy(scan / "zarr.json", scan / "band_0/zarr.json")
        for group in ("source", "calibration"):
            (scan / group).rename(scan / "band_0" / group)

    def band_beside(scan: Path) -> None:
        shutil.copytree(scan / "source", scan / "band_0/source")
        shutil.copy(scan / "zarr.json", scan / "band_0/zarr.json")

    def band_gap(scan: Path) -> None:
        alone_in_band(scan)
        (scan / "band_0").rename(scan / "band_7")

    def band_digits(scan: Path) -> None:
        alone_in_band(scan)
        (scan / "band_0").rename(scan / "band_\u0660")

    def two_bands_one_empty(scan: Path) -> None:
        alone_in_band(scan)
        (scan / "band_1").mkdir()

    def two_bands_one_file(scan: Path) -> None:
        alone_in_band(scan)
        write_file(scan / "band_1", b"no group")

    def wrong_number(scan: Path) -> None:
        change_attributes(scan, scan_number=7)

    kinds: dict[str, Callable[[Path], None]] = {
        "a file": _as_file,
        "an empty folder": STORED["an empty folder"],
        "a link to nothing": _as_link_to_nothing,
        "a link to itself": _as_link_to_itself,
        "its groups in band_0 alone": alone_in_band,
        "band_0 beside source": band_beside,
        "band_7 alone": band_gap,
        "a band with another digit": band_digits,
        "an empty second band": two_bands_one_empty,
        "a file for a second band": two_bands_one_file,
        "another number in its attributes": wrong_number,
    }
    for what, spoil in kinds.items():
        yield Damage("members of the store", f"{SCAN}: {what}", (SCAN, "scan 2", "band", "scan_number"), of_scan(spoil))


def _members_beside() -> Iterator[Damage]:
    def copied(name: str) -> Callable[[Path], None]:
        def do(session: Path) -> None:
            shutil.copytree(session / "scan_000003", session / name)
            change_attributes(session / name, scan_number=25650)

        return do

    names = (
        "scan_25650",
        "scan_0025650",
        "scan_025650x",
        "Scan_025650",
        "scan_-25650",
        "scan_02565\u0660",
        "scan_\u0660\u0662\u0665\u0666\u0665\u0660",
        "scan_",
        "scan-025650",
        "subscan_025650",
    )
    for name in names:
        yield Damage("members of the store", f"beside the scans: {name!a}", (name,), copied(name), "beside")

    def file(session: Path) -> None:
        write_file(session / "notes.txt", b"observer's notes")

    def folder(session: Path) -> None:
        (session / "old").mkdir()

    def escape(session: Path) -> None:
        shutil.copytree(session / "scan_000003", session / "scan_\x1b[2J1\n")

    yield Damage("members of the store", "beside the scans: a file", ("notes.txt",), file, "beside")
    yield Damage("members of the store", "beside the scans: a folder", ("old",), folder, "beside")
    yield Damage("members of the store", "beside the scans: an escape sequence", ("scan_\\x1b",), escape, "beside")


def _sizes() -> Iterator[Damage]:
    def counts(change: Callable[[list[int]], list[int]], of_chunks: bool) -> Callable[[Path], None]:
        def do(folder: Path) -> None:
            shape = document_of(folder)["shape"]
            grid = {"name": "regular", "configuration": {"chunk_shape": [1] * 5 if of_chunks else change(shape)}}
            change_document(folder, shape=change(shape), chunk_grid=grid)
            shutil.rmtree(folder / "c", ignore_errors=True)

        return do

    sizes: dict[str, Callable[[list[int]], list[int]]] = {
        "1e9 channels": lambda n: [10**9, *n[1:]],
        "1e9 dumps": lambda n: [n[0], 10**9, *n[2:]],
        "1e9 receivers": lambda n: [n[0], n[1], 10**9, *n[3:]],
        "1e9 subscans": lambda n: [*n[:4], 10**9],
        "no channels": lambda n: [0, *n[1:]],
        "no dumps": lambda n: [n[0], 0, *n[2:]],
        "no pixels": lambda n: [n[0], n[1], 0, *n[3:]],
        "no subscans": lambda n: [*n[:4], 0],
        "one channel": lambda n: [1, *n[1:]],
    }
    for group in ("source", "calibration"):
        for what, change in sizes.items():
            for of_chunks in (False, True):
                if 0 in change([1] * 5) and not of_chunks:
                    continue  # no chunk has the size 0
                name = f"{group}/data_5d: {what}" + (" in chunks of 1" if of_chunks else "")
                yield Damage("sizes", name, ("data_5d", "channels"), _at(group, "data_5d", counts(change, of_chunks)))

    def deep(session: Path) -> None:
        folder = session / SCAN / "source/mjd"
        document = json.dumps(document_of(folder))
        write_file(folder / "zarr.json", document[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}")

    def large(session: Path) -> None:
        path = session / SCAN / "source/mjd/zarr.json"
        write_file(path, path.read_bytes() + b" " * 50_000_000)

    def sparse(session: Path) -> None:
        path = chunks_of(session / SCAN / "source/mjd")[0]
        write_file(path, b"")
        os.truncate(path, 10**12)

    def bomb(session: Path) -> None:
        import zlib

        folder = session / SCAN / "source/mjd"
        codecs = [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "gzip", "configuration": {"level": 1}},
        ]
        packed = zlib.compressobj(9, zlib.DEFLATED, 31)
        content = b"".join(packed.compress(bytes(10**7)) for _ in range(200)) + packed.flush()
        change_document(folder, codecs=codecs)
        write_file(chunks_of(folder)[0], content)

    for what, do in {
        "metadata of 100000 brackets": deep,
        "metadata of 50 MB": large,
        "a chunk of 1 TB": sparse,
        "a chunk that unpacks to 2 GB": bomb,
    }.items():
        yield Damage("sizes", f"source/mjd: {what}", ("mjd",), do)
