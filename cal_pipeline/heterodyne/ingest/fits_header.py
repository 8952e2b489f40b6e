"""Headers of FITS files, read without astropy: a folder may hold thousands of small files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import FileIO

from cal_pipeline.heterodyne.ingest.errors import FitsFileError

BLOCK = 2880
"""Bytes of a block; headers and data fill whole ones."""

_CARD = 80
_READ = 8 * BLOCK
"""Bytes that are read at once: as much as most headers have, and more than one takes no longer."""

_BITS = (8, 16, 32, 64, -32, -64)

_LARGEST = 2**14 * BLOCK
"""Largest header [bytes]; one that does not end before is damaged."""

Value = bool | int | float | str
Header = Mapping[str, Value]
"""Values by keyword, in upper case; of a repeated keyword the first."""


def read_header(file: FileIO, offset: int, name: str) -> tuple[dict[str, Value], int]:
    """Read a header.

    Parameters
    ----------
    file : FileIO
        The open file.
    offset : int
        Its first byte in the file.
    name : str
        Name of the file and HDU in messages.

    Returns
    -------
    header : dict
        Values by keyword; cards without a value, and values that are none, are left out.
    end : int
        First byte behind it, where its data begin.

    Raises
    ------
    FitsFileError
        If there is no header, or it has no end.
    """
    content = b""
    while True:
        file.seek(offset + len(content))
        more = file.read(_READ)
        content += more[: len(more) - len(more) % BLOCK]
        if offset == 0 and not content.startswith(b"SIMPLE  ="):
            raise FitsFileError(f"{name} begins with {(content or more)[:9]!r}, expected b'SIMPLE  =' of a FITS file")
        header, end = _parse(content)
        if end:
            return header, offset + -(-end // BLOCK) * BLOCK
        if len(more) < _READ or len(content) > _LARGEST:
            raise FitsFileError(
                f"{name} has a header without an end in {len(content)} bytes, expected the card END; the file is "
                "truncated or no FITS file"
            )


def _parse(content: bytes) -> tuple[dict[str, Value], int]:
    """Parse cards up to END; the length with that is 0 if it is not there."""
    header: dict[str, Value] = {}
    for start in range(0, len(content), _CARD):
        keyword = content[start : start + 8].rstrip()
        if keyword == b"END":
            return header, start + _CARD
        if content[start + 8 : start + 10] == b"= ":
            value = _parse_value(content[start + 10 : start + _CARD])
            if value is not None:
                header.setdefault(keyword.decode("latin-1").upper(), value)
    return header, 0


def _parse_value(field: bytes) -> Value | None:
    """Parse the value of a card; None if it is none."""
    text = field.decode("latin-1").strip()
    if text.startswith("'"):
        # A quote within text is doubled.
        return text[1:].replace("''", "\0").partition("'")[0].rstrip().replace("\0", "'")
    text = text.partition("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text.upper().replace("D", "E"))
    except ValueError:
        return None


def read_whole(header: Header, keyword: str, name: str, default: int | None = None) -> int:
    """Return a value of a header that is a whole number, 0 or more.

    Parameters
    ----------
    header : mapping
        Values by keyword.
    keyword : str
        The keyword.
    name : str
        Name of the file and HDU in messages.
    default : int, optional
        Value where there is no such keyword, which is an error if not given.

    Raises
    ------
    FitsFileError
        If it is no such number.

    Examples
    --------
    >>> read_whole({"NAXIS": 2}, "NAXIS", "a.fits")
    2
    """
    value = header.get(keyword, default)
    if type(value) is not int or value < 0:
        found = "absent" if value is None else repr(value)
        raise FitsFileError(f"{name}: keyword {keyword} is {found}, expected a whole number, 0 or more")
    return value


def count_data_bytes(header: Header, name: str) -> int:
    """Compute the size of the data behind a header, without what fills the last block [bytes].

    Parameters
    ----------
    header : mapping
        Values by keyword.
    name : str
        Name of the file and HDU in messages.

    Raises
    ------
    FitsFileError
        If a keyword that tells the size is no number.

    References
    ----------
    FITS Standard 4.0 (IAU FITS Working Group, 2018), equations 1 and 2.

    Examples
    --------
    >>> count_data_bytes({"BITPIX": -32, "NAXIS": 2, "NAXIS1": 1024, "NAXIS2": 20}, "a.fits")
    81920
    """
    axes = [read_whole(header, f"NAXIS{k}", name) for k in range(1, read_whole(header, "NAXIS", name) + 1)]
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]
    samples = read_whole(header, "GCOUNT", name, 1) * (read_whole(header, "PCOUNT", name, 0) + math.prod(axes))
    bits = header.get("BITPIX")
    if bits not in _BITS:
        raise FitsFileError(f"{name}: keyword BITPIX is {bits!r}, expected one of {', '.join(map(str, _BITS))}")
    return abs(int(bits)) // 8 * samples


def find_next(header: Header, start_of_data: int, name: str) -> int:
    """Find the first byte behind the data of a header; see :func:`count_data_bytes`."""
    return start_of_data + -(-count_data_bytes(header, name) // BLOCK) * BLOCK
