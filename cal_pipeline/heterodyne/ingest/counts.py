"""Counts of rows of FITS files, read for a part of a group of L0."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.digests import FileStamp, open_file, read_stamp
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.layouts import CountsLayout, LayoutFinder
from cal_pipeline.heterodyne.ingest.rows import Integers, RowTable

Mask = NDArray[np.bool_]

_DECODED = np.dtype(">f8")
"""Type of counts that are not plain, once decoded: in the byte order of those beside them."""


@dataclass
class StoredCounts:
    """Counts of one type as files store them, of all dumps and pixels of some subscans.

    Parameters
    ----------
    values : ndarray, shape (columns, channels)
        Counts, a column of L0 after the other: subscan, dump, receiver, array.
    present : ndarray of bool, shape (columns,)
        True for columns that were read.
    """

    values: NDArray[Any]
    present: Mask


class Scratch(threading.local):
    """Memory of each thread that is used again: fresh pages cost more than what is done in them."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def take(self, key: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an array of a shape and type; one of the same key that was taken before becomes invalid."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        if key not in self._kept or self._kept[key].size < size:
            self._kept[key] = np.empty(size, np.uint8)
        return self._kept[key][:size].view(kind).reshape(shape)


class CountsReader:
    """Reader of the counts of the rows of a table; may be used by several threads.

    Files are open only while they are read from. None is mapped to memory: one that is cut off meanwhile
    would end the process.

    Parameters
    ----------
    rows : RowTable
        The rows.
    column : str or None
        Column of the counts in tables; None for images.
    stamps : mapping of str to FileStamp
        Stamps that files must have, by path; those of other files are the ones at their first opening.
    """

    def __init__(self, rows: RowTable, column: str | None, stamps: Mapping[str, FileStamp]) -> None:
        self._rows, self._column = rows, column
        self._stamps = dict(stamps)
        self._layouts = LayoutFinder(column)
        self._scratch = Scratch()

    def find_item_size(self, row: int) -> int:
        """Find the size of a count of a row in memory [bytes]."""
        path = self._rows.files[self._rows.file[row]]
        with open_file(path) as file:
            self._refuse_change(path, file)
            layout = self._find_layout(path, row, file)
        return layout.dtype.itemsize if layout.is_plain else _DECODED.itemsize

    def read(self, index: Integers, n_dumps: int, channels: slice) -> list[StoredCounts]:
        """Read some channels of all rows of some subscans.

        Parameters
        ----------
        index : ndarray, shape (subscans, D, R, A) or (subscans, 1, R, A)
            Rows, -1 where there is none; see :class:`GroupPlan`.
        n_dumps : int
            Number of dumps D.
        channels : slice
            The channels.

        Returns
        -------
        list of StoredCounts
            Counts of each type, of subscans·D·R·A columns; valid until the next call in the same thread.

        Raises
        ------
        FitsFileError
            If a file cannot be read, has changed, or does not hold what the table says.
        """
        n_pixels = index.shape[2] * index.shape[3]
        flat = index.ravel()
        places = np.flatnonzero(flat >= 0)
        # Rows of a table are dumps; an image holds all dumps of its subscan, a pixel apart from each other.
        of_subscan, pixel = places // (index.shape[1] * n_pixels), places % (index.shape[1] * n_pixels)
        columns = of_subscan * (n_dumps * n_pixels) + pixel
        found: dict[np.dtype[Any], StoredCounts] = {}
        shape = (index.shape[0] * n_dumps * n_pixels, channels.stop - channels.start)
        chosen = flat[places]
        order = np.lexsort((self._rows.row[chosen], self._rows.hdu[chosen], self._rows.file[chosen]))
        in_files = self._rows.file[chosen][order]
        for part in np.split(order, np.flatnonzero(np.diff(in_files)) + 1):
            if part.size:
                self._read_file(chosen[part], columns[part], n_pixels, channels, shape, found)
        return list(found.values())

    def _read_file(
        self,
        rows: Integers,
        columns: Integers,
        n_pixels: int,
        channels: slice,
        shape: tuple[int, int],
        found: dict[np.dtype[Any], StoredCounts],
    ) -> None:
        """Read rows of one file into their columns."""
        path = self._rows.files[self._rows.file[rows[0]]]
        with open_file(path) as file:
            self._refuse_change(path, file)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                layout = self._find_layout(path, row, file)
                dtype = layout.dtype if layout.is_plain else _DECODED
                if dtype not in found:
                    values = self._scratch.take(dtype.str, shape, dtype)
                    found[dtype] = StoredCounts(values, np.zeros(shape[0], np.bool_))
                stored = found[dtype]
                end = column + layout.n_dumps * n_pixels
                stored.present[column:end:n_pixels] = True
                self._read_row(path, row, file, layout, channels, stored.values[column:end:n_pixels])
            # Whatever was written into it while it was read shows now.
            self._refuse_change(path, file)

    def _refuse_change(self, path: str, file: FileIO) -> None:
        self._stamps.setdefault(path, read_stamp(file)).refuse_change(path, file)

    def _find_layout(self, path: str, row: int, file: FileIO) -> CountsLayout:
        """Find the layout of a row, and compare it with the table."""
        table, hdu = self._rows, int(self._rows.hdu[row])
        layout = self._layouts.find(path, hdu, file)
        expected = int(table.n_dumps[row]), int(table.n_channels[row])
        if (layout.n_dumps, layout.n_channels) != expected:
            raise FitsFileError(
                f"{path}, extension {hdu} holds {layout.n_dumps} dumps of {layout.n_channels} channels, expected "
                f"{expected[0]} dumps of {expected[1]} channels as when it was listed",
                path,
            )
        if table.row[row] >= layout.n_rows:
            raise FitsFileError(
                f"{path}, extension {hdu} has {layout.n_rows} rows, expected a row {table.row[row]} (from 0)", path
            )
        return layout

    def _read_row(
        self, path: str, row: int, file: FileIO, layout: CountsLayout, channels: slice, into: NDArray[Any]
    ) -> None:
        """Read the channels of each dump of a row."""
        size = layout.dtype.itemsize
        start = layout.start + int(self._rows.row[row]) * layout.stride + channels.start * size
        target = into
        if not layout.is_plain:
            target = self._scratch.take("stored", into.shape, layout.dtype)
        try:
            for dump in range(layout.n_dumps):
                file.seek(start + dump * layout.n_channels * size)
                _fill(file, target[dump])
        except OSError as error:
            raise FitsFileError(f"{self.describe(row)} cannot be read: {error.strerror}", path) from error
        except EOFError as error:
            n_bytes = layout.start + int(self._rows.row[row]) * layout.stride
            n_bytes += layout.n_dumps * layout.n_channels * size
            raise FitsFileError(
                f"{self.describe(row)} is cut off: the file has {read_stamp(file).size} bytes, expected "
                f"{n_bytes} or more",
                path,
            ) from error
        if not layout.is_plain:
            into[...] = layout.decode(target)

    def describe(self, row: int) -> str:
        """Describe the place of a row in messages."""
        table = self._rows
        where = f"{table.files[table.file[row]]}, extension {table.hdu[row]}"
        return where if self._column is None else f"{where}, row {table.row[row]} (from 0), column {self._column}"


def _fill(file: FileIO, values: NDArray[Any]) -> None:
    """Fill an array with what a file holds."""
    rest = memoryview(values.view(np.uint8))
    while rest:
        number = file.readinto(rest)
        if not number:
            raise EOFError
        rest = rest[number:]
