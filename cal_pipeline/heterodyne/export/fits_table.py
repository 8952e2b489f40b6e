"""Binary tables in FITS, written row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.export.columns import TEXT, Column
from cal_pipeline.heterodyne.export.header import Header
from cal_pipeline.heterodyne.export.rows import Rows

BLOCK = 2880
"""Length of which every part of a FITS file is a multiple [bytes]."""

_SLAB = 2**24
_TYPES = {"J": ">i4", "E": ">f4", "D": ">f8", "I": ">i2"}
_UNSIGNED_16 = 32_768
_CARD = 80


def encode(text: Any) -> bytes:
    """Encode text in ASCII, which is all that FITS takes; other characters are escaped."""
    return str(text).encode("ascii", "backslashreplace")


class BinaryTable:
    """Binary table that grows at the end of a file.

    Parameters
    ----------
    file : binary file
        File, at the end of the part before.
    columns : sequence of Column
        Columns with one value a row.
    vectors : mapping
        Names of columns with one value a channel, and their types: ``"E"`` (T_A*) or ``"I"`` (flags).
    n_channels : int
        Number of channels.
    widths : mapping
        Lengths of the texts, by column.
    keywords : sequence of tuple
        Further keywords with value and comment.
    blank : float, optional
        Value in place of T_A* that is NaN or flagged; without one flagged values stay.
    """

    def __init__(
        self,
        file: BinaryIO,
        columns: Sequence[Column],
        vectors: Mapping[str, str],
        n_channels: int,
        widths: Mapping[str, int],
        keywords: Sequence[tuple[str, Any, str]],
        blank: float | None = None,
    ) -> None:
        self._file, self._columns, self._vectors, self._blank = file, columns, vectors, blank
        fields: list[tuple[Any, ...]] = [
            (column.name, f"S{max(widths[column.name], 1)}" if column.kind == TEXT else _TYPES[column.kind])
            for column in columns
        ]
        fields += [(name, _TYPES[kind], (n_channels,)) for name, kind in vectors.items()]
        self._dtype = np.dtype(fields)
        self._keywords = keywords
        self.n_rows = 0
        self._start = file.tell()
        file.write(self._describe())
        self._first_row = file.tell()

    def append(self, header: Header, rows: Rows) -> None:
        """Write rows, some megabytes at a time."""
        values = {column.name: column.value(header, rows) for column in self._columns}
        most = max(_SLAB // self._dtype.itemsize, 1)
        for first in range(0, len(rows), most):
            part = slice(first, first + most)
            table = np.zeros(min(most, len(rows) - first), self._dtype)
            for column in self._columns:
                value = values[column.name]
                found = value[part] if np.ndim(value) else value
                table[column.name] = _encode_all(found) if column.kind == TEXT else found
            self._fill_vectors(table, rows, part)
            self._file.write(table.tobytes())
        self.n_rows += len(rows)

    def _fill_vectors(self, table: NDArray[Any], rows: Rows, part: slice) -> None:
        flags = rows.flags[part]
        for name, kind in self._vectors.items():
            if kind == "I":
                # FITS has signed integers only; unsigned ones are stored less 2**15.
                table[name] = (flags.astype(np.int32) - _UNSIGNED_16).astype(np.int16)
            elif self._blank is None:
                table[name] = rows.t_a[part]
            else:
                table[name] = np.where((flags == 0) & np.isfinite(rows.t_a[part]), rows.t_a[part], self._blank)

    def mark(self) -> tuple[int, int]:
        """Return the present end, for :meth:`drop_after`."""
        return self.n_rows, self._file.tell()

    def drop_after(self, mark: tuple[int, int]) -> None:
        """Drop the rows after an earlier end."""
        self.n_rows, end = mark
        self._file.seek(end)
        self._file.truncate()

    def finish(self) -> None:
        """Complete the last block, and write the number of rows."""
        end = self._file.tell()
        self._file.write(b"\0" * (-(end - self._first_row) % BLOCK))
        end = self._file.tell()
        self._file.seek(self._start)
        self._file.write(self._describe())
        self._file.seek(end)

    def _describe(self) -> bytes:
        """Make the header; its length does not depend on the number of rows."""
        cards: list[tuple[str, Any, str]] = [
            ("XTENSION", "BINTABLE", "binary table"),
            ("BITPIX", 8, ""),
            ("NAXIS", 2, ""),
            ("NAXIS1", self._dtype.itemsize, "bytes of a row"),
            ("NAXIS2", self.n_rows, "number of rows"),
            ("PCOUNT", 0, ""),
            ("GCOUNT", 1, ""),
            ("TFIELDS", len(self._dtype.names or ()), "number of columns"),
        ]
        known = {column.name: column for column in self._columns}
        for number, name in enumerate(self._dtype.names or (), 1):
            kind = self._dtype[name]
            column = known.get(name)
            cards.append((f"TTYPE{number}", name, column.meaning if column else _VECTORS[name][1]))
            cards.append((f"TFORM{number}", self._form(name, kind), ""))
            unit = column.unit if column else _VECTORS[name][0]
            if unit:
                cards.append((f"TUNIT{number}", unit, ""))
            if self._vectors.get(name) == "I":
                cards += [(f"TSCAL{number}", 1, ""), (f"TZERO{number}", _UNSIGNED_16, "unsigned")]
        return format_header([*cards, *self._keywords])

    def _form(self, name: str, kind: np.dtype[Any]) -> str:
        if name in self._vectors:
            return f"{kind.shape[0]}{self._vectors[name]}"
        return f"{kind.itemsize}A" if kind.kind == "S" else f"1{next(c.kind for c in self._columns if c.name == name)}"


_VECTORS = {
    "DATA": ("K", "T_A*; NaN where there is none"),
    "SPECTRUM": ("K", "T_A*; BLANK where flagged"),
    "FLAGS": ("", "0 is good; bits as in L1"),
}


def _encode_all(value: Any) -> Any:
    """Encode one text or many."""
    if np.ndim(value) == 0:
        return encode(value)
    texts, inverse = np.unique(np.asarray(value), return_inverse=True)
    return np.array([encode(text) for text in texts])[inverse]


def format_header(cards: Sequence[tuple[str, Any, str]]) -> bytes:
    """Format keywords as a FITS header, padded to whole blocks."""
    from astropy.io import fits

    header = fits.Header()
    for keyword, value, comment in cards:
        # A comment that does not fit would be cut with a warning.
        room = _CARD - len(fits.Card(keyword, value).image.rstrip()) - len(" / ")
        header.append((keyword, value, comment[: max(room, 0)].rstrip()), end=True)
    return str(header.tostring(padding=True)).encode("ascii")


def format_primary(creator: str) -> bytes:
    """Format the header before the tables."""
    return format_header(
        [
            ("SIMPLE", True, "FITS"),
            ("BITPIX", 8, ""),
            ("NAXIS", 0, "no image"),
            ("EXTEND", True, "tables follow"),
            ("CREATOR", creator, ""),
        ]
    )
