"""Headers of FITS files, of which only the keywords that are asked for are parsed.

A scan may have thousands of files of one subscan each. To open one with `astropy.io.fits` takes
some twenty times as long as to find its keywords.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from os import PathLike
from typing import BinaryIO

from cal_pipeline.core.store.local_path import open_regular
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.ingest.errors import FitsFileError

BLOCK = 2880
"""Length of which headers and data are multiples [bytes]."""

CARD = 80
"""Length of a card of a header [bytes]."""

Word = str | float | int | bool
"""Value of a keyword."""

_READ = 4 * BLOCK
_LONGEST = 1000 * BLOCK
"""Longest header that is read; what is longer is no header [bytes]."""

_MOST_AXES = 999
"""Largest number of axes of data in FITS."""

_MOST_BYTES = 2**60
"""Length of data beyond all files [bytes]."""

_GZIP = b"\x1f\x8b"
_END = b"END".ljust(8)
_STRING = re.compile(rb"\s*'((?:[^']|'')*)'")


@dataclass(frozen=True, eq=False)
class HeaderUnit:
    """Header of an HDU and the place of its data.

    Parameters
    ----------
    index : int
        Index of the HDU in the file.
    text : bytes
        Cards, without the last, ``END``.
    places : dict of bytes to int
        Place of the first card of each keyword in `text`; keywords as they are, padded to 8 bytes, or those
        of HIERARCH.
    data_start, data_bytes : int
        Place and length of the data, without padding [bytes].
    file_bytes : int or None
        Length of the file; None for one that is compressed.
    fault : str
        What is wrong with the keywords that tell the length of the data; empty if nothing is. What comes
        after such an HDU cannot be found.
    """

    index: int
    text: bytes
    places: dict[bytes, int]
    data_start: int
    data_bytes: int
    file_bytes: int | None
    fault: str = ""

    @property
    def lacks(self) -> int:
        """Number of bytes of data that the file lacks; 0 for one that is compressed."""
        return 0 if self.file_bytes is None else max(self.data_start + self.data_bytes - self.file_bytes, 0)

    @property
    def name(self) -> str:
        """Name of the HDU; empty without one, but for the first."""
        return str(self.get("EXTNAME") or ("" if self.index else "PRIMARY"))

    def get(self, keyword: str) -> Word | None:
        """Return the value of a keyword; None where it is absent, or has none."""
        place = self.places.get(_encode_keyword(keyword))
        if place is None:
            return None
        value = _parse_card(self.text[place : place + CARD])
        return _join_string(self.text, place, value) if isinstance(value, str) and value.endswith("&") else value

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return the value of a keyword that is a whole number."""
        value = self.get(keyword)
        return int(value) if isinstance(value, int) else default


def read_headers(path: str | PathLike[str]) -> Iterator[HeaderUnit]:
    """Read the headers of a file one by one, without its data.

    Parameters
    ----------
    path : path
        FITS file, or one compressed with gzip.

    Yields
    ------
    HeaderUnit

    Raises
    ------
    FitsFileError
        If the file cannot be read, is no FITS file, or ends within a header.

    Examples
    --------
    >>> from astropy.io import fits
    >>> import numpy as np, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "a.fits"
    ...     fits.PrimaryHDU(np.zeros((2, 8), np.int32), fits.Header({"SCAN": 131})).writeto(path)
    ...     [(unit.get("SCAN"), unit.data_bytes) for unit in read_headers(path)]
    [(131, 64)]
    """
    shown = make_printable(path)
    try:
        with _OpenFile(path) as (file, length):
            yield from _read_units(file, length, shown)
    except (OSError, EOFError, zlib.error) as error:
        raise FitsFileError(f"{shown} cannot be read: {error}") from error


class _OpenFile:
    """Context of a file, decompressed, and its length [bytes] (None if it is compressed)."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = open(path, "rb", opener=open_regular)  # noqa: SIM115
        start = self._file.read(2)
        self._length = None if start == _GZIP else self._file.seek(0, 2)
        self._file.seek(0)

    def __enter__(self) -> tuple[BinaryIO, int | None]:
        if self._length is None:
            return gzip.GzipFile(fileobj=self._file), None  # type: ignore[return-value]
        return self._file, self._length

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _read_units(file: BinaryIO, length: int | None, path: str) -> Iterator[HeaderUnit]:
    start = index = 0
    while True:
        text = file.read(_READ)
        expected = b"SIMPLE  =" if index == 0 else b"XTENSION="
        if not text.startswith(expected):
            if index == 0:
                found = text[:9].decode("latin-1")
                raise FitsFileError(f"{path} is no FITS file: it starts with {found!r}, expected 'SIMPLE  ='")
            return
        places, end = _find_cards(file, text, path, index)
        cards, bytes_of_header = end
        unit = HeaderUnit(index, cards, places, start + bytes_of_header, 0, length)
        fault = _describe_fault(unit)
        if fault:
            yield replace(unit, fault=fault)
            return
        unit = replace(unit, data_bytes=_count_bytes(unit))
        yield unit
        start, index = unit.data_start + -(-unit.data_bytes // BLOCK) * BLOCK, index + 1
        file.seek(start)


def _find_cards(file: BinaryIO, text: bytes, path: str, index: int) -> tuple[dict[bytes, int], tuple[bytes, int]]:
    """Find the cards of a header; return their places, and text and padded length of the header."""
    places: dict[bytes, int] = {}
    place = 0
    while True:
        if place + CARD > len(text):
            more = file.read(_READ) if len(text) < _LONGEST else b""
            if not more:
                raise FitsFileError(f"{path} ends within the header of HDU {index}: no END in {len(text)} bytes")
            text += more
            continue
        word = text[place : place + 8]
        if word == _END:
            return places, (text[:place], -(-(place + CARD) // BLOCK) * BLOCK)
        if word == b"HIERARCH":
            word = text[place + 8 : place + CARD].partition(b"=")[0].strip().upper().ljust(8)
        if word not in places:
            places[word] = place
        place += CARD


def _describe_fault(unit: HeaderUnit) -> str:
    """Describe what is wrong with the keywords that tell the length of the data; empty if nothing is."""
    axes = unit.get("NAXIS")
    if not isinstance(axes, int) or not 0 <= axes <= _MOST_AXES:
        return f"NAXIS is {axes!r}, expected a whole number from 0 to {_MOST_AXES}"
    for keyword in ("BITPIX", *(f"NAXIS{axis + 1}" for axis in range(axes)), "PCOUNT", "GCOUNT"):
        value = unit.get(keyword)
        optional = value is None and keyword.endswith("COUNT")
        if not optional and (not isinstance(value, int) or (value < 0 and keyword != "BITPIX")):
            return f"{keyword} is {value!r}, expected a whole number{'' if keyword == 'BITPIX' else ' from 0'}"
    if _count_bytes(unit) > _MOST_BYTES:
        return f"BITPIX, NAXISn and PCOUNT say more than {_MOST_BYTES:.3g} bytes of data, expected what a file can hold"
    return ""


def _count_bytes(unit: HeaderUnit) -> int:
    axes = [unit.whole(f"NAXIS{axis + 1}") for axis in range(unit.whole("NAXIS"))]
    if not axes:
        return 0
    size = abs(unit.whole("BITPIX", 8)) // 8
    return size * unit.whole("GCOUNT", 1) * (unit.whole("PCOUNT") + prod(axes))


@lru_cache(maxsize=1024)
def _encode_keyword(keyword: str) -> bytes:
    return keyword.upper().removeprefix("HIERARCH ").encode("latin-1", "replace").ljust(8)


# Most cards of the files of a scan are the same.
@lru_cache(maxsize=8192)
def _parse_card(card: bytes) -> Word | None:
    field = b"=" + card.partition(b"=")[2] if card.startswith(b"HIERARCH") else card[8:]
    if not field.startswith(b"="):
        return None
    found = _STRING.match(field, 1)
    if found:
        return found.group(1).replace(b"''", b"'").decode("latin-1").strip()
    return _parse_word(field[1:].partition(b"/")[0].decode("latin-1").strip())


def _join_string(text: bytes, place: int, value: str) -> str:
    """Join a text that goes on in cards CONTINUE."""
    while value.endswith("&"):
        place += CARD
        card = text[place : place + CARD]
        more = _parse_card(b"HIERARCH=" + card[8:]) if card.startswith(b"CONTINUE") else None
        if not isinstance(more, str):
            break
        value = value[:-1] + more
    return value


def _parse_word(word: str) -> Word | None:
    if word in ("T", "F"):
        return word == "T"
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word.upper().replace("D", "E"))
    except ValueError:
        return word or None
