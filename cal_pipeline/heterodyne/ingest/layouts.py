"""Places and types of the counts in a FITS file."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.text import list_few
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.fits_header import Header, find_next, read_header, read_whole

Floats = NDArray[np.float64]

PLAIN = (np.dtype(">f4"), np.dtype(">f8"), np.dtype(">i4"))
"""Types of counts that are converted as they are stored."""

_MISSING = -(2**31)
"""Integer that marks a missing count in any case, as in L0."""

_WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
"""Sizes of an element of a column by its letter [bytes]; X are bits."""

_COLUMN_TYPES = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_IMAGE_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_FORMAT = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")


@dataclass(frozen=True)
class CountsLayout:
    """Place and type of the counts in an HDU.

    Parameters
    ----------
    start : int
        First byte of the counts of the first row in the file.
    stride : int
        Bytes from row to row.
    n_rows : int
        Number of rows; one for an image.
    n_dumps, n_channels : int
        Shape of the counts of a row.
    dtype : numpy.dtype
        Stored type.
    scale, zero : float
        A count is stored·scale + zero.
    null : int or None
        Stored integer that marks a missing count.
    """

    start: int
    stride: int
    n_rows: int
    n_dumps: int
    n_channels: int
    dtype: np.dtype[Any]
    scale: float
    zero: float
    null: int | None

    @property
    def is_plain(self) -> bool:
        """Tell whether the counts are converted as they are stored."""
        unscaled = self.scale == 1.0 and self.zero == 0.0
        return unscaled and self.dtype in PLAIN and (self.null is None or self.null == _MISSING)

    def decode(self, stored: NDArray[Any]) -> Floats:
        """Decode stored numbers to counts, NaN where missing.

        Parameters
        ----------
        stored : ndarray
            Numbers of the stored type.

        Returns
        -------
        ndarray
            Counts as float64: whole numbers up to 2^53 are exact.

        References
        ----------
        FITS Standard 4.0 (IAU FITS Working Group, 2018), sections 4.4.2.5 and 7.3.2.
        """
        native = stored.astype(stored.dtype.newbyteorder("="))
        is_unsigned = native.dtype == np.int64 and self.scale == 1.0 and self.zero == 2.0**63
        if is_unsigned:
            # In float64 the difference from -2^63 would lose the last eleven bits.
            counts = (native ^ np.int64(-(2**63))).view(np.uint64).astype(np.float64)
        else:
            counts = native.astype(np.float64)
            # Without attributes nothing is touched: 0·inf and -0.0 + 0.0 are not what is stored.
            if self.scale != 1.0:
                counts *= self.scale
            if self.zero != 0.0:
                counts += self.zero
        if self.null is not None:
            counts[native == self.null] = np.nan
        return counts


class LayoutFinder:
    """Layouts of the counts in the HDUs of some files; each header is read once.

    Parameters
    ----------
    column : str or None
        Column of the counts in tables; None for images.
    """

    def __init__(self, column: str | None) -> None:
        self._column = column
        self._starts: dict[str, list[int]] = {}
        self._found: dict[tuple[str, int], CountsLayout] = {}
        self._lock = threading.Lock()

    def find(self, path: str, hdu: int, file: FileIO) -> CountsLayout:
        """Find the layout of the counts in an HDU.

        Parameters
        ----------
        path : str
            Path of the file.
        hdu : int
            Index of the HDU in it.
        file : FileIO
            The open file.

        Raises
        ------
        FitsFileError
            If the HDU does not hold counts that can be read.
        """
        layout = self._found.get((path, hdu))
        if layout is None:
            with self._lock:
                layout = self._found[path, hdu] = self._read(path, hdu, file)
        return layout

    def _read(self, path: str, hdu: int, file: FileIO) -> CountsLayout:
        starts = self._starts.setdefault(path, [0])
        name = f"{path}, extension {hdu}"
        try:
            while True:
                # An extension may be the last of thousands: the way to it is gone once.
                current = min(hdu, len(starts) - 1)
                where = f"{path}, extension {current}" if current else path
                header, data = read_header(file, starts[current], where)
                if current == hdu:
                    break
                starts.append(find_next(header, data, where))
            if self._column is None:
                return make_image_layout(header, data, name)
            return make_table_layout(header, data, self._column, name)
        except OSError as error:
            raise FitsFileError(f"{name} cannot be read: {error.strerror}, expected a header", path) from error
        except FitsFileError as error:
            raise FitsFileError(str(error), path) from error


def make_table_layout(header: Header, start: int, column: str, name: str) -> CountsLayout:
    """Make the layout of a column of a binary table.

    Parameters
    ----------
    header : mapping
        Header of the table.
    start : int
        First byte of its data.
    column : str
        Name of the column, in any case.
    name : str
        Name of the file and HDU in messages.

    Raises
    ------
    FitsFileError
        If there is no such column of numbers of a fixed length.
    """
    if header.get("XTENSION") != "BINTABLE" or header.get("ZIMAGE") is True:
        found = "a compressed image" if header.get("ZIMAGE") is True else repr(header.get("XTENSION", "the primary HDU"))
        raise FitsFileError(f"{name} is {found}, expected a binary table (BINTABLE)")
    offset, names = 0, []
    for k in range(1, read_whole(header, "TFIELDS", name) + 1):
        repeat, letter = _parse_format(header.get(f"TFORM{k}"), f"{name}: keyword TFORM{k}")
        title = str(header.get(f"TTYPE{k}", "")).strip()
        if title.upper() == column.upper():
            dtype = _refuse_other_types(_COLUMN_TYPES, letter, f"{name}: column {title} has the format {repeat}{letter}")
            scale, zero, null = _read_scaling(header, f"TSCAL{k}", f"TZERO{k}", f"TNULL{k}", dtype, name)
            stride, n_rows = (read_whole(header, f"NAXIS{axis}", name) for axis in (1, 2))
            return CountsLayout(start + offset, stride, n_rows, 1, repeat, dtype, scale, zero, null)
        names.append(title)
        offset += -(-repeat // 8) if letter == "X" else repeat * _WIDTHS[letter]
    raise FitsFileError(f"{name} has the columns {list_few(names)}, expected one named {column}")


def make_image_layout(header: Header, start: int, name: str) -> CountsLayout:
    """Make the layout of an image [dump][channel] or [channel].

    Parameters
    ----------
    header : mapping
        Header of the image.
    start : int
        First byte of its data.
    name : str
        Name of the file and HDU in messages.

    Raises
    ------
    FitsFileError
        If it is no such image.
    """
    if header.get("ZIMAGE") is True or header.get("XTENSION", "IMAGE") != "IMAGE":
        found = "a compressed image" if header.get("ZIMAGE") is True else repr(header["XTENSION"])
        raise FitsFileError(f"{name} is {found}, expected an image that is not compressed")
    axes = [read_whole(header, f"NAXIS{k}", name) for k in range(1, read_whole(header, "NAXIS", name) + 1)]
    if not axes or math.prod(axes) == 0 or math.prod(axes[2:]) != 1:
        raise FitsFileError(
            f"{name} has the axes {tuple(axes)} (NAXIS1, NAXIS2, ...), expected channels, or channels and dumps"
        )
    dtype = _refuse_other_types(_IMAGE_TYPES, header.get("BITPIX"), f"{name}: keyword BITPIX is {header.get('BITPIX')}")
    scale, zero, null = _read_scaling(header, "BSCALE", "BZERO", "BLANK", dtype, name)
    n_channels, n_dumps = axes[0], math.prod(axes[1:])
    return CountsLayout(start, 0, 1, n_dumps, n_channels, dtype, scale, zero, null)


def _parse_format(value: Any, name: str) -> tuple[int, str]:
    """Parse the format of a column: number and letter of its elements."""
    match = _FORMAT.match(value) if isinstance(value, str) else None
    if match is None:
        raise FitsFileError(f"{name} is {value!r}, expected a format such as '1024E'")
    return int(match[1] or 1), match[2]


def _refuse_other_types(types: dict[Any, str], key: Any, found: str) -> np.dtype[Any]:
    """Return the type of a format; refuse other ones."""
    if key not in types:
        raise FitsFileError(f"{found}, expected numbers, of a fixed length: one of {', '.join(map(str, types))}")
    return np.dtype(types[key])


def _read_scaling(
    header: Header, scale: str, zero: str, null: str, dtype: np.dtype[Any], name: str
) -> tuple[float, float, int | None]:
    """Read the attributes that define stored numbers."""
    factors = []
    for keyword, default in ((scale, 1.0), (zero, 0.0)):
        value = header.get(keyword, default)
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise FitsFileError(f"{name}: keyword {keyword} is {value!r}, expected a finite number")
        factors.append(float(value))
    # Floats mark missing values with NaN; BLANK and TNULL are not for them.
    marker = header.get(null) if dtype.kind in "iu" else None
    if marker is not None and type(marker) is not int:
        raise FitsFileError(f"{name}: keyword {null} is {marker!r}, expected a whole number")
    return factors[0], factors[1], marker
