"""Places and types of the counts in FITS files."""

from __future__ import annotations

import math
import re
import threading
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.digests import refuse
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.fits_tables import TableLayout
from cal_pipeline.heterodyne.ingest.headers import HeaderUnit, read_headers
from cal_pipeline.heterodyne.ingest.rows import Integers, RowTable

Floats = NDArray[np.float64]

PLAIN = (np.dtype(">f4"), np.dtype(">f8"), np.dtype(">i4"))
"""Types of counts that are converted as they are stored."""

DECODED = np.dtype(">f8")
"""Type of other counts, once decoded: in the byte order of those beside them."""

_MISSING = -(2**31)
"""Integer that marks a missing count in any case, as in L0."""

_COLUMN_TYPES = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_IMAGE_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_DESCRIPTORS: dict[str, np.dtype[Any]] = {"P": np.dtype(">i4"), "Q": np.dtype(">i8")}
"""Integers, two a row, by which a column tells number and place of its elements in the heap."""


@dataclass(frozen=True)
class CountsLayout:
    """Place and type of the counts in an HDU.

    Parameters
    ----------
    start : int
        First byte of the first row, or of its descriptor, in the file.
    stride : int
        Bytes from row to row.
    n_rows : int
        Number of rows; one for an image.
    n_dumps, n_channels : int
        Shape of the counts of a row; no channels where they vary from row to row.
    dtype : numpy.dtype
        Stored type.
    scale, zero : float
        A count is stored·scale + zero.
    null : int or None
        Stored integer that marks a missing count.
    descriptor : str
        ``"P"`` or ``"Q"`` where rows hold number and place of the counts in the heap.
    heap : int
        First byte of the heap in the file.
    is_compressed : bool
        Whether it is an image in compressed tiles, which astropy reads.
    """

    start: int
    stride: int
    n_rows: int
    n_dumps: int
    n_channels: int
    dtype: np.dtype[Any]
    scale: float = 1.0
    zero: float = 0.0
    null: int | None = None
    descriptor: str = ""
    heap: int = 0
    is_compressed: bool = False

    @cached_property
    def is_plain(self) -> bool:
        """Tell whether the counts are converted as they are stored."""
        unscaled = self.scale == 1.0 and self.zero == 0.0
        return unscaled and self.dtype in PLAIN and (self.null is None or self.null == _MISSING)

    @property
    def type_in_memory(self) -> np.dtype[Any]:
        """Type of the counts once read."""
        return self.dtype if self.is_plain else DECODED

    @property
    def descriptor_type(self) -> np.dtype[Any]:
        """Type of the two integers of a descriptor."""
        return _DESCRIPTORS[self.descriptor]

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

        Examples
        --------
        >>> import numpy as np
        >>> layout = CountsLayout(0, 0, 1, 1, 3, np.dtype(">i2"), zero=32768.0, null=-1)
        >>> layout.decode(np.array([-32768, -1, 5], ">i2"))
        array([    0.,    nan, 32773.])
        """
        native = stored.astype(stored.dtype.newbyteorder("="))
        if native.dtype == np.int64 and self.scale == 1.0 and self.zero == 2.0**63:
            # Unsigned integers of 64 bits: in float64 the difference from -2^63 would lose the last eleven bits.
            counts = (native ^ np.int64(-(2**63))).view(np.uint64).astype(np.float64)
        else:
            counts = native.astype(np.float64)
            counts *= self.scale
            counts += self.zero
        if self.null is not None:
            counts[native == self.null] = np.nan
        return counts


class LayoutFinder:
    """Layouts of the counts in the files of a table of rows; the headers of a file are read once.

    Parameters
    ----------
    rows : RowTable
        The rows.
    column : str or None
        Column of the counts in tables; None for images.
    used : ndarray of int
        Rows that are read.
    """

    def __init__(self, rows: RowTable, column: str | None, used: Integers) -> None:
        self._rows, self._column = rows, column
        self._found: dict[tuple[int, int], CountsLayout] = {}
        self._lock = threading.Lock()
        self._used: dict[int, set[int]] = defaultdict(set)
        for file, hdu in set(zip(rows.file[used].tolist(), rows.hdu[used].tolist(), strict=True)):
            self._used[file].add(hdu)

    def find(self, file: int, hdu: int) -> CountsLayout:
        """Find the layout of the counts in an HDU.

        Parameters
        ----------
        file : int
            Index of the file.
        hdu : int
            Index of the HDU in it.

        Raises
        ------
        FitsFileError
            If the HDU does not hold counts that can be read.
        """
        if (file, hdu) not in self._found:
            with self._lock:
                self._read(file)
        if (file, hdu) not in self._found:
            path = self._rows.files[file]
            raise refuse(path, f"{path} has no HDU {hdu}, expected what was there when it was listed")
        return self._found[file, hdu]

    def _read(self, file: int) -> None:
        """Read the headers of a file, up to the last one that is used."""
        path, used = self._rows.files[file], self._used[file]
        try:
            for unit in read_headers(path):
                if unit.index in used:
                    self._found[file, unit.index] = make_layout(unit, self._column, path)
                if unit.index >= max(used):
                    break
        except FitsFileError as error:
            error.file = path
            raise


def make_layout(unit: HeaderUnit, column: str | None, path: str) -> CountsLayout:
    """Make the layout of the counts in an HDU.

    Parameters
    ----------
    unit : HeaderUnit
        Its header.
    column : str or None
        Column of the counts in a table; None for an image.
    path : str
        The file, for messages.

    Raises
    ------
    FitsFileError
        If there is no such column of numbers, or no such image.
    """
    return _lay_out_image(unit, path) if column is None else _lay_out_column(unit, column, path)


def _lay_out_column(unit: HeaderUnit, column: str, path: str) -> CountsLayout:
    """Make the layout of a column of a binary table."""
    where = f"{path}: HDU {unit.index}"
    try:
        field = TableLayout(unit).find(column)
    except (ValueError, KeyError) as error:
        raise refuse(path, f"{where} cannot be read as a table: {error}") from error
    if field is None:
        raise refuse(path, f"{where} has no column {column}, expected that of the counts")
    form = str(unit.get(f"TFORM{field.index + 1}") or "").strip()
    found = re.fullmatch(r"\d*([PQ]?)([BIJKED])(?:\(\d*\))?", form)
    if found is None:
        letters = ", ".join(_COLUMN_TYPES)
        raise refuse(path, f"{where}, column {column} has the format {form}, expected numbers: one of {letters}")
    start, stride, n_rows = unit.data_start + field.offset, unit.whole("NAXIS1"), unit.whole("NAXIS2")
    n_channels = 0 if found[1] else math.prod(field.stored.shape)
    heap = unit.data_start + unit.whole("THEAP", stride * n_rows)
    dtype, scaling = np.dtype(_COLUMN_TYPES[found[2]]), (field.scale, field.zero, field.null)
    return CountsLayout(start, stride, n_rows, 1, n_channels, dtype, *scaling, found[1], heap)


def _lay_out_image(unit: HeaderUnit, path: str) -> CountsLayout:
    """Make the layout of an image [dump][channel] or [channel]."""
    where = f"{path}: HDU {unit.index}"
    kind = str(unit.get("XTENSION") or "IMAGE").strip()
    is_compressed = kind == "BINTABLE" and unit.get("ZIMAGE") is True
    letter = "Z" if is_compressed else ""
    axes = [unit.whole(f"{letter}NAXIS{k + 1}") for k in range(unit.whole(f"{letter}NAXIS"))]
    bits = unit.whole(f"{letter}BITPIX")
    expected = "expected an image of [channels] or [channels, dumps]"
    if (kind != "IMAGE" and not is_compressed) or not axes or 0 in axes or math.prod(axes[2:]) != 1:
        raise refuse(path, f"{where} is {kind} of axes {axes}, {expected}")
    if bits not in _IMAGE_TYPES:
        raise refuse(path, f"{where}, keyword BITPIX is {bits}, expected one of {', '.join(map(str, _IMAGE_TYPES))}")
    n_channels, n_dumps = axes[0], math.prod(axes[1:])
    if is_compressed:
        return CountsLayout(0, 0, 1, n_dumps, n_channels, DECODED, is_compressed=True)
    dtype = np.dtype(_IMAGE_TYPES[bits])
    blank = unit.get("BLANK") if dtype.kind in "iu" else None
    null = int(blank) if isinstance(blank, (int, float)) else None
    scale, zero = _read_number(unit, "BSCALE", 1.0, path), _read_number(unit, "BZERO", 0.0, path)
    return CountsLayout(unit.data_start, 0, 1, n_dumps, n_channels, dtype, scale, zero, null)


def _read_number(unit: HeaderUnit, keyword: str, default: float, path: str) -> float:
    """Return a finite number of a header."""
    value = unit.get(keyword)
    number = default if value is None else value
    if isinstance(number, (bool, str)) or not math.isfinite(number):
        raise refuse(path, f"{path}: HDU {unit.index}, keyword {keyword} is {value!r}, expected a finite number")
    return float(number)
