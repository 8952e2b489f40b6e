"""Codecs of chunks, called straight through numcodecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Blosc, GZip, Zstd, blosc

Codec = Mapping[str, Any]
"""A codec as it stands in the metadata of an array."""

Function = Callable[[Any], Any]
"""Turns the bytes of a chunk into others."""

ZSTD: Codec = {"name": "zstd", "configuration": {"level": -1, "checksum": True}}
"""For integers, flags and text."""

ZSTD_LEVEL_1: Codec = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
"""For integers that are kept for good: noise gets a quarter smaller, which level -1, no faster, leaves as it is."""

_BLOSC_HEADER = 16
"""Bytes of the header of a chunk of Blosc; the last four are the length of the chunk."""

_COMPRESSORS = ("lz4", "lz4hc", "blosclz", "snappy", "zlib", "zstd")
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}

# Threads of Blosc's own, which it has in the main thread only, write the parts of a chunk in the order in which they
# finish: the same values would be other bytes in each run. zarr tells it so too, when it is imported.
blosc.use_threads = False


def lz4_codecs(itemsize: int) -> tuple[Codec, ...]:
    """Return the codecs for floats of `itemsize` bytes.

    Noise gets 8 % smaller, where zstd's fast levels, as slow, leave it as it is; rounded noise 4 to
    5 times; smooth arrays take a third of the time. Blosc has no checksum of its own.
    """
    settings = {"cname": "lz4", "clevel": 1, "shuffle": "bitshuffle", "typesize": itemsize, "blocksize": 0}
    return {"name": "blosc", "configuration": settings}, {"name": "crc32c"}


@cache
def usual_codecs(dtype: np.dtype[Any]) -> tuple[Codec, ...]:
    """Return the codecs of arrays of a type for which none are given."""
    return lz4_codecs(dtype.itemsize) if dtype.kind == "f" else (ZSTD,)


def compute_crc(payload: bytes) -> bytes:
    """Compute the CRC-32C checksum that follows a chunk."""
    return int(google_crc32c.value(payload)).to_bytes(4, "little")


def _without_crc(data: Any) -> Any:
    """Verify and strip the checksum behind a chunk."""
    view = memoryview(data).cast("B")
    payload, stored = view[:-4], int.from_bytes(view[-4:], "little")
    if google_crc32c.value(bytes(payload)) != stored:
        raise ValueError("the checksum of a chunk does not agree with its bytes")
    return payload


def _with_crc(data: Any) -> bytes:
    payload = bytes(data)
    return payload + compute_crc(payload)


_BLOSC = Blosc()


def _decode_blosc(data: Any) -> Any:
    """Decode a whole chunk of Blosc, which itself reads on beyond the end of one that was cut off."""
    view = memoryview(data).cast("B")
    length = int.from_bytes(view[12:16], "little")
    if len(view) < _BLOSC_HEADER or length != len(view):
        raise ValueError(f"a chunk holds {len(view)} bytes, its header says {length}")
    return _BLOSC.decode(data)


def _is_int(lowest: int, highest: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and lowest <= value <= highest


_SETTINGS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "zstd": {"level": _is_int(-131072, 22), "checksum": lambda value: isinstance(value, bool)},
    "gzip": {"level": _is_int(0, 9)},
    "blosc": {
        "cname": _COMPRESSORS.__contains__,
        "clevel": _is_int(0, 9),
        "shuffle": lambda value: value in tuple(_SHUFFLES),
        "typesize": _is_int(1, 255),
        "blocksize": _is_int(0, 2**31 - 1),
    },
    "crc32c": {},
}
"""Checks of the settings that are known, by codec."""

_REQUIRED = {"zstd": {"level"}, "gzip": {"level"}, "blosc": {"cname", "clevel", "shuffle"}, "crc32c": set[str]()}


def holds_only(codec: Codec, checks: Mapping[str, Callable[[Any], bool]]) -> bool:
    """Tell whether a codec has a name and sound settings of the given names, and nothing else."""
    settings = codec.get("configuration", {})
    return (
        codec.keys() <= {"name", "configuration"}
        and isinstance(settings, Mapping)
        and all(name in checks and checks[name](value) for name, value in settings.items())
    )


def find_bytes_codec(codec: Codec) -> tuple[Function, Function] | None:
    """Return the encoder and decoder of a codec of bytes; None unless all of its settings are known."""
    name = codec["name"]
    checks = _SETTINGS.get(name)
    if checks is None or not holds_only(codec, checks) or not _REQUIRED[name] <= codec.get("configuration", {}).keys():
        return None
    settings = codec.get("configuration", {})
    if name == "zstd":
        zstd = Zstd(level=settings["level"], checksum=settings.get("checksum", False))
        return zstd.encode, zstd.decode
    if name == "gzip":
        gzip = GZip(level=settings["level"])
        return gzip.encode, gzip.decode
    if name == "blosc":
        shuffle = _SHUFFLES[settings["shuffle"]]
        compressor = Blosc(settings["cname"], settings["clevel"], shuffle, settings.get("blocksize", 0))
        return compressor.encode, _decode_blosc
    return _with_crc, _without_crc


def find_bytes_codecs(codecs: Sequence[Codec]) -> list[tuple[Function, Function]] | None:
    """Return encoders and decoders of a chain of codecs of bytes; None unless all are known."""
    chain = [find_bytes_codec(codec) for codec in codecs]
    known = [codec for codec in chain if codec is not None]
    return known if len(known) == len(chain) else None
