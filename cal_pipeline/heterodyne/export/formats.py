"""Formats of exported files: which table each writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from cal_pipeline._version import __version__
from cal_pipeline.heterodyne.export.columns import CLASS, CSV, SDFITS, STOKES_I, TEXT, Column
from cal_pipeline.heterodyne.export.fits_table import BinaryTable, format_primary
from cal_pipeline.heterodyne.export.header import Header
from cal_pipeline.heterodyne.export.rows import Rows
from cal_pipeline.heterodyne.export.text_table import TextTable

CREATOR = f"cal_pipeline {__version__}"

CLASS_BLANK = -1000
"""Value of channels without T_A* in CLASS's FITS [K]."""

_LARGE = 2**31


class Table(Protocol):
    """Table that takes rows."""

    n_rows: int

    def append(self, header: Header, rows: Rows) -> None:
        """Write rows."""

    def mark(self) -> tuple[int, int]:
        """Return the present end."""

    def drop_after(self, mark: tuple[int, int]) -> None:
        """Drop the rows after an earlier end."""

    def finish(self) -> None:
        """Complete the table."""


Widths = Mapping[str, int]

COLUMN, BLANK = "column", "blank"
"""Ways to tell of flags: a column FLAGS, or no value in flagged channels."""


@dataclass(frozen=True)
class Format:
    """Format of an exported file.

    Parameters
    ----------
    columns : tuple of Column
        Columns with one value a spectrum.
    sample_bytes : float
        Bytes of a sample, for estimates.
    row_bytes : float
        Bytes of a row beside them.
    large : float
        Size from which a warning is given [bytes].
    flags : tuple of str
        Ways to tell of flags that it has, the usual one first.
    separate : bool
        Whether spectra with different numbers of channels go into tables of their own.
    begin : callable
        Makes the beginning of the file.
    open_table : callable
        Makes the table at the end of a file: ``open_table(file, n_channels, widths, flags)``.
    """

    columns: tuple[Column, ...]
    sample_bytes: float
    row_bytes: float
    large: float
    flags: tuple[str, ...]
    separate: bool
    begin: Callable[[], bytes]
    open_table: Callable[[BinaryIO, int, Widths, str], Table]

    @contextmanager
    def table(self, file: BinaryIO, n_channels: int, widths: Widths, flags: str) -> Iterator[Table]:
        """Make a table and complete it at the end."""
        table = self.open_table(file, n_channels, widths, flags)
        yield table
        table.finish()

    def estimate_size(self, n_rows: int, n_channels: int) -> float:
        """Estimate the size of a table [bytes]."""
        return n_rows * (self.row_bytes + self.sample_bytes * n_channels)


def measure_widths(columns: Sequence[Column], texts: Mapping[str, int]) -> dict[str, int]:
    """Return the length of each text column.

    Parameters
    ----------
    columns : sequence of Column
        Columns.
    texts : mapping
        Length of the longest text in the data, by its key.

    Returns
    -------
    dict
        Lengths by column.

    Examples
    --------
    >>> measure_widths(CSV[4:6], {"pixel": 12, "object": 9})
    {'pixel': 12, 'source': 9}
    """
    widths = {column.name: column.width for column in columns if column.kind == TEXT}
    return {name: texts[width] if isinstance(width, str) else width for name, width in widths.items()}


def _open_sdfits(file: BinaryIO, n_channels: int, widths: Widths, flags: str) -> Table:
    keywords: list[tuple[str, Any, str]] = [
        ("EXTNAME", "SINGLE DISH", "SDFITS"),
        ("TIMESYS", "UTC", "times"),
        ("SPECSYS", "TOPOCENT", "frame of CRVAL1"),
        ("ORIGIN", CREATOR, ""),
    ]
    # Some readers put every column but DATA into a header, and fail at one with a value for each channel.
    vectors = {"DATA": "E"} if flags == BLANK else {"DATA": "E", "FLAGS": "I"}
    return BinaryTable(file, SDFITS, vectors, n_channels, widths, keywords, math.nan if flags == BLANK else None)


def _open_class(file: BinaryIO, n_channels: int, widths: Widths, flags: str) -> Table:
    keywords: list[tuple[str, Any, str]] = [
        ("EXTNAME", "MATRIX", ""),
        ("EXTVER", 1, ""),
        ("MAXIS", 4, "axes of a spectrum"),
        ("MAXIS1", n_channels, "channels"),
        *((f"MAXIS{axis}", 1, "") for axis in (2, 3, 4)),
        ("CTYPE1", "FREQ", "offset from RESTFREQ, frame of the source"),
        ("CTYPE4", "STOKES", ""),
        ("CRVAL4", STOKES_I, ""),
        ("CDELT4", 0.0, ""),
        *((f"CRPIX{axis}", 0.0, "") for axis in (2, 3, 4)),
        ("BUNIT", "K", "T_A*"),
        ("BLANK", CLASS_BLANK, "channels without T_A*"),
        ("TIMESYS", "UTC", "times"),
        ("ORIGIN", CREATOR, ""),
    ]
    return BinaryTable(file, CLASS, {"SPECTRUM": "E"}, n_channels, widths, keywords, blank=CLASS_BLANK)


def _open_csv(file: BinaryIO, n_channels: int, widths: Widths, flags: str) -> Table:
    return TextTable(file, CSV, n_channels, f"T_A* of {CREATOR}, one spectrum a line")


def _begin_fits() -> bytes:
    return format_primary(CREATOR)


FORMATS = {
    "sdfits": Format(SDFITS, 6.0, 500.0, math.inf, (COLUMN, BLANK), True, _begin_fits, _open_sdfits),
    "class": Format(CLASS, 4.0, 350.0, _LARGE, (BLANK,), True, _begin_fits, _open_class),
    "csv": Format(CSV, 10.0, 450.0, _LARGE / 4, (BLANK,), False, bytes, _open_csv),
}
"""Formats by name."""
