"""Rows of many files with their keys, joined to one column a key when that is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.ingest.columns import Column, join_columns, make_column
from cal_pipeline.heterodyne.ingest.fits_fields import Segment
from cal_pipeline.heterodyne.ingest.near_keys import suggest_key
from cal_pipeline.heterodyne.ingest.rows import Floats, Integers


class RowKeys:
    """Keys of the rows of all files.

    Parameters
    ----------
    files : sequence of str
        Paths of the files.
    segments : sequence of list of Segment
        Rows of each file.
    missing : tuple of float
        Numbers that mean that there is none.
    file_name : re.Pattern or None
        Regular expression on the name of a file.

    Attributes
    ----------
    file, hdu, row : ndarray of int, shape (N,)
        Place of each row.
    n_dumps, n_channels : ndarray of int, shape (N,)
        Shape of the counts of a row.
    fault : ndarray of int, shape (N,)
        Index into `faults`; -1 for a row whose counts can be used.
    lost : list of tuple
        Index of the file, and message, of rows of which no key can be read.
    faults : list of str
        Reasons why counts cannot be used.
    mean_frequency : ndarray, shape (N,), or None
        Mean sky frequency of the channels of a row [Hz], once it is known.
    """

    def __init__(
        self,
        files: Sequence[str],
        segments: Sequence[Sequence[Segment]],
        missing: tuple[float, ...] = (),
        file_name: re.Pattern[str] | None = None,
    ) -> None:
        self.files, self.missing, self.file_name = tuple(files), missing, file_name
        self.mean_frequency: Floats | None = None
        self.segments = [segment for found in segments for segment in found]
        places = [index for index, found in enumerate(segments) for _ in found]
        lengths = np.array([segment.rows for segment in self.segments], np.int64)
        self._segment = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        self.row = np.arange(len(self._segment)) - starts[self._segment]
        self.file = np.array(places, np.int64)[self._segment]
        self.hdu = np.array([segment.hdu for segment in self.segments], np.int64)[self._segment]
        self.lost = [(index, part.lost) for index, found in enumerate(segments) for part in found if part.lost]
        self.faults = [segment.fault for segment in self.segments if segment.fault]
        faulty = np.array([bool(segment.fault) for segment in self.segments], np.bool_)
        self.fault = np.where(faulty, np.cumsum(faulty) - 1, -1)[self._segment]
        self.n_dumps = _join_shapes([segment.n_dumps for segment in self.segments], lengths)
        self.n_channels = _join_shapes([segment.n_channels for segment in self.segments], lengths)
        self._columns: dict[str, Column] = {}
        self._near: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._segment)

    def column(self, key: str) -> Column:
        """Return the values of a key in all rows, shape (N,)."""
        if key not in self._columns:
            self._columns[key] = self._join(key)
        return self._columns[key]

    def keep(self, rows: Integers) -> None:
        """Keep some rows only.

        Parameters
        ----------
        rows : ndarray of int
            Indices of the rows that stay, ascending.
        """
        if len(rows) == len(self):
            return
        for name in ("row", "file", "hdu", "fault", "n_dumps", "n_channels"):
            setattr(self, name, getattr(self, name)[rows])
        self._columns = {key: column.take(rows) for key, column in self._columns.items()}
        self._kept = rows if self._kept is None else self._kept[rows]
        self._segment = self._segment[rows]

    _kept: Integers | None = None
    """Rows among all that are left; None: all."""

    def place(self, row: int) -> str:
        """Name the file, HDU and row of a row, for messages."""
        file, hdu = make_printable(self.files[self.file[row]]), int(self.hdu[row])
        return f"{file}: HDU {hdu}, row {int(self.row[row])}" if self._in_table(row) else f"{file}: HDU {hdu}"

    def describe(self, key: str, row: int) -> str:
        """Describe the value of a key in a row for messages, as ``"CAL is 'T'"``."""
        label = self.column(key).label(row)
        if label:
            return f"{key} is {label}"
        segment = self.segments[self._segment[row]]
        if key in segment.columns or key in segment.words:
            return f"{key} is blank or NaN"
        if self.file_name and key in self.file_name.groupindex:
            return f"{key} is not there, as the name does not match file_name {self.file_name.pattern!r}"
        return f"{key} is not there{self._suggest(key, row)}"

    def _suggest(self, key: str, row: int) -> str:
        # One file tells for all: reasons are counted by their text.
        if key not in self._near:
            self._near[key] = suggest_key(self.files[self.file[row]], int(self.hdu[row]), key)
        return self._near[key]

    def _in_table(self, row: int) -> bool:
        return bool(self.segments[self._segment[row]].columns)

    def _join(self, key: str) -> Column:
        if not any(key in segment.columns for segment in self.segments):
            return make_column([segment.words.get(key) for segment in self.segments]).take(self._segment)
        parts = [
            segment.columns.get(key) or make_column([segment.words.get(key)]).take(np.zeros(segment.rows, np.int64))
            for segment in self.segments
        ]
        column = join_columns(parts)
        return column if self._kept is None else column.take(self._kept)


def _join_shapes(parts: Sequence[int | Integers], lengths: Integers) -> Integers:
    if all(isinstance(part, int) for part in parts):
        return np.repeat(np.array(parts, np.int64), lengths)
    return np.concatenate([np.broadcast_to(part, (length,)) for part, length in zip(parts, lengths, strict=True)])
