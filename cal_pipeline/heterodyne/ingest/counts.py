"""Counts of rows of FITS files, read for a part of a group of L0."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.digests import FileStamp, open_file, read_stamp, refuse
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.layouts import CountsLayout, LayoutFinder
from cal_pipeline.heterodyne.ingest.rows import Integers, RowTable

Mask = NDArray[np.bool_]

Stream = FileIO | gzip.GzipFile

_GZIP = b"\x1f\x8b"


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
        array: NDArray[Any] = self._kept[key][:size].view(kind).reshape(shape)
        return array


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
    used : ndarray of int
        Rows that are read.
    stamps : mapping of str to FileStamp
        Stamps that files must have, by path; those of other files are the ones at their first opening.
    """

    def __init__(self, rows: RowTable, column: str | None, used: Integers, stamps: Mapping[str, FileStamp]) -> None:
        self._rows, self._column = rows, column
        self._stamps = dict(stamps)
        self._layouts = LayoutFinder(rows, column, used)
        self._is_gzip: dict[str, bool] = {}
        self._scratch = Scratch()

    def find_item_size(self, row: int) -> int:
        """Find the size of a count of a row in memory [bytes]."""
        path = self._rows.files[self._rows.file[row]]
        with open_file(path) as file:
            self._refuse_change(path, file)
        return self._find_layout(row).type_in_memory.itemsize

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
            stream = self._decompress(path, file)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                layout = self._find_layout(row)
                dtype = layout.type_in_memory
                if dtype not in found:
                    values = self._scratch.take(dtype.str, shape, dtype)
                    found[dtype] = StoredCounts(values, np.zeros(shape[0], np.bool_))
                stored = found[dtype]
                places = slice(column, column + layout.n_dumps * n_pixels, n_pixels)
                stored.present[places] = True
                self._read_row(row, stream, layout, channels, stored.values[places])
            # Whatever was written into it while it was read shows now.
            self._refuse_change(path, file)

    def _refuse_change(self, path: str, file: FileIO) -> None:
        self._stamps.setdefault(path, read_stamp(file)).refuse_change(path, file)

    def _decompress(self, path: str, file: FileIO) -> Stream:
        """Decompress a file that starts as gzip does."""
        if path not in self._is_gzip:
            self._is_gzip[path] = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
        return gzip.GzipFile(fileobj=file, mode="rb") if self._is_gzip[path] else file

    def _find_layout(self, row: int) -> CountsLayout:
        """Find the layout of a row, and compare it with the table."""
        table = self._rows
        layout = self._layouts.find(int(table.file[row]), int(table.hdu[row]))
        shape, expected = (layout.n_dumps, layout.n_channels), (int(table.n_dumps[row]), int(table.n_channels[row]))
        if shape != expected and not layout.descriptor:
            raise self._refuse(row, "holds {} dumps of {} channels".format(*shape), "{} of {}".format(*expected))
        if table.row[row] >= layout.n_rows:
            raise self._refuse(row, f"is not there: it has {layout.n_rows} rows", "more")
        return layout

    def _refuse(self, row: int, found: str, expected: str) -> FitsFileError:
        """Make the error of a row that is not as it was listed."""
        path = self._rows.files[self._rows.file[row]]
        return refuse(path, f"{self.describe(row)} {found}, expected {expected} as when it was listed")

    def _read_row(self, row: int, stream: Stream, layout: CountsLayout, channels: slice, into: NDArray[Any]) -> None:
        """Read the channels of each dump of a row."""
        try:
            if layout.is_compressed:
                into[...] = _read_compressed(self._rows.files[self._rows.file[row]], int(self._rows.hdu[row]), channels)
                return
            start = layout.start + int(self._rows.row[row]) * layout.stride
            if layout.descriptor:
                start = self._follow(row, stream, layout, start)
            if layout.is_plain:
                _read_dumps(stream, start, int(self._rows.n_channels[row]), channels, into)
                return
            stored = self._scratch.take("stored", into.shape, layout.dtype)
            _read_dumps(stream, start, int(self._rows.n_channels[row]), channels, stored)
            into[...] = layout.decode(stored)
        except EOFError as error:
            raise self._refuse(row, "is cut off", "all of its counts") from error
        except (OSError, zlib.error) as error:
            path = self._rows.files[self._rows.file[row]]
            raise refuse(path, f"{self.describe(row)} cannot be read: {error}, expected counts") from error

    def _follow(self, row: int, stream: Stream, layout: CountsLayout, start: int) -> int:
        """Follow a descriptor to the counts in the heap."""
        descriptor = np.empty(2, layout.descriptor_type)
        stream.seek(start)
        _fill(stream, descriptor)
        number, place = (int(value) for value in descriptor)
        if number != self._rows.n_channels[row] or place < 0:
            raise self._refuse(row, f"holds {number} channels at {place}", f"{self._rows.n_channels[row]} channels")
        return layout.heap + place

    def describe(self, row: int) -> str:
        """Describe the place of a row in messages."""
        table = self._rows
        where = f"{table.files[table.file[row]]}: HDU {table.hdu[row]}"
        return where if self._column is None else f"{where}, row {table.row[row]} (from 0), column {self._column}"


def _read_dumps(stream: Stream, start: int, n_channels: int, channels: slice, into: NDArray[Any]) -> None:
    """Read some channels of dumps that follow each other."""
    size = into.itemsize
    for dump, values in enumerate(into):
        stream.seek(start + (dump * n_channels + channels.start) * size)
        _fill(stream, values)


def _fill(stream: Stream, values: NDArray[Any]) -> None:
    """Fill an array with what a file holds."""
    rest = memoryview(values.view(np.uint8).data)
    while rest:
        number = stream.readinto(rest)
        if not number:
            raise EOFError
        rest = rest[number:]


def _read_compressed(path: str, hdu: int, channels: slice) -> NDArray[Any]:
    """Read an image in compressed tiles, shape (dumps, channels)."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as units:
        counts = np.asarray(units[hdu].data)
    return counts.reshape(-1, counts.shape[-1])[:, channels]
