"""Tables in CSV, written row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.export.columns import TEXT, Column
from cal_pipeline.heterodyne.export.header import Header
from cal_pipeline.heterodyne.export.rows import Rows

_FORMULA = ("=", "+", "-", "@")
"""Beginnings of cells that spreadsheets take for formulas."""


class TextTable:
    """CSV table that grows at the end of a file: comments, names, one line a spectrum.

    Parameters
    ----------
    file : binary file
        Empty file.
    columns : sequence of Column
        Columns before those of the channels.
    n_channels : int
        Largest number of channels.
    title : str
        First line of the comments.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[Column], n_channels: int, title: str) -> None:
        self._file, self._columns, self._n_channels = file, columns, n_channels
        self.n_rows = 0
        lines = [f"# {title}"]
        for column in columns:
            unit = f" [{column.unit}]" if column.unit else ""
            lines.append(f"# {column.name}{unit}: {column.meaning}")
        lines.append("# ch1, ch2, ... [K]: T_A* of each channel, empty where there is none or it is flagged;")
        lines.append("#   channel k has the topocentric frequency: frequency + (k - ref_channel) * step")
        names = [column.name for column in columns] + [f"ch{number}" for number in range(1, n_channels + 1)]
        self._write([*lines, ",".join(names)])

    def append(self, header: Header, rows: Rows) -> None:
        """Write rows."""
        values = {column.name: column.value(header, rows) for column in self._columns}
        good = (rows.flags == 0) & np.isfinite(rows.t_a)
        absent = "," * (self._n_channels - rows.t_a.shape[1])
        for row in range(len(rows)):
            cells = []
            for column in self._columns:
                value = values[column.name]
                cells.append(_format(column, value[row] if np.ndim(value) else value))
            # The shortest decimals that give the same 32 bits again.
            samples = np.where(good[row], rows.t_a[row].astype(np.str_), "")
            self._write([",".join([*cells, *samples]) + absent])
        self.n_rows += len(rows)

    def mark(self) -> tuple[int, int]:
        """Return the present end, for :meth:`drop_after`."""
        return self.n_rows, self._file.tell()

    def drop_after(self, mark: tuple[int, int]) -> None:
        """Drop the rows after an earlier end."""
        self.n_rows, end = mark
        self._file.seek(end)
        self._file.truncate()

    def finish(self) -> None:
        """Do nothing: a table in text ends with its last line."""

    def _write(self, lines: Sequence[str]) -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode())


def _format(column: Column, value: Any) -> str:
    """Format a cell: text in quotes, numbers with all digits, empty for NaN."""
    if column.kind == TEXT:
        text = make_printable(value)
        safe = f"'{text}" if text.startswith(_FORMULA) else text
        return '"' + safe.replace('"', '""') + '"' if safe else ""
    number = float(value)
    if not np.isfinite(number):
        return ""
    return str(int(number)) if column.kind != "D" else repr(number)
