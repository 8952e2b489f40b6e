"""Counts of a ramp, in memory or in a store, which are read row by row."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.text import format_count

logger = logging.getLogger(__name__)

Samples = NDArray[Any]

_LARGEST_READ = 2**24
"""Samples of a chunk above which a whole exposure is read at once, not chunk by chunk for each block of rows."""


class RampBlock(NamedTuple):
    """Rows of a ramp.

    Parameters
    ----------
    rows : slice
        The rows.
    data : ndarray, shape (I, G, rows, x)
        Counts [adu].
    groupdq : ndarray of uint8, shape (I, G, rows, x)
        Flags of the groups.
    """

    rows: slice
    data: Samples
    groupdq: NDArray[np.uint8]


Operation = Callable[[RampBlock], RampBlock]
"""Work of a step on rows of a ramp; makes new arrays and leaves those it is given as they are."""


class RampSource(Protocol):
    """Counts of a ramp and the flags of its groups, wherever they are.

    Attributes
    ----------
    shape : tuple of int
        Integrations, groups, rows and columns.
    dtype : numpy.dtype
        Type of the counts.
    rows_in_chunk : int
        Rows that are read together.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    rows_in_chunk: int

    def read(self, rows: slice, /) -> RampBlock:
        """Read rows."""


class RampInMemory:
    """Counts and flags of a ramp in memory."""

    rows_in_chunk = 1

    def __init__(self, data: Samples, groupdq: NDArray[np.uint8]) -> None:
        self.shape: tuple[int, int, int, int] = data.shape
        self.dtype = data.dtype
        self._data, self._groupdq = data, groupdq

    def read(self, rows: slice) -> RampBlock:
        """Return views of the rows."""
        return RampBlock(rows, self._data[..., rows, :], self._groupdq[..., rows, :])


def refuse_absent(reader: ArrayReader, are_flags: bool = False) -> None:
    """Refuse an array of which chunks are not stored: readers would get their fill value without a word.

    Parameters
    ----------
    reader : ArrayReader
        The array.
    are_flags : bool
        Whether it holds flags of raw data. zarr leaves out chunks in which none is set, so that
        absent ones are told of and count as no flags; without any chunk there is nothing to tell.

    Raises
    ------
    DataReadError
        Names the first chunk.
    """
    try:
        absent = reader.absent_chunks()
    except (OSError, ValueError) as error:
        raise DataReadError(f"{reader.name}: its chunks cannot be listed: {type(error).__name__}: {error}") from error
    # Chunks at the edge reach beyond the array.
    sizes = (
        [min(part.stop, n) - part.start for part, n in zip(region, reader.shape, strict=True)] for region in absent
    )
    if absent and are_flags:
        if sum(map(math.prod, sizes)) < math.prod(reader.shape):
            found = format_count(len(absent), "chunk")
            logger.warning("%s: %s not stored, as zarr leaves out zeros; they count as no flags", reader.name, found)
    elif absent:
        first = ", ".join(f"{part.start}:{part.stop}" for part in absent[0])
        raise DataReadError(
            f"{reader.name}: {len(absent)} chunks are not stored, the first of them [{first}]; expected all of "
            "them (with zarr: config={'write_empty_chunks': True})"
        )


def read_whole(reader: ArrayReader, selection: tuple[slice, ...] | None = None) -> NDArray[Any]:
    """Read an array, or a part of it, in native byte order."""
    try:
        values = reader.read(selection)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataReadError(f"{reader.name} cannot be read: {type(error).__name__}: {error}") from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)


class StoredRamp:
    """Counts and flags of a ramp in a store, read row by row."""

    def __init__(self, data: ArrayReader, groupdq: ArrayReader | None, shape: tuple[int, int, int, int]) -> None:
        refuse_absent(data)
        if groupdq is not None:
            refuse_absent(groupdq, are_flags=True)
        self.shape, self.dtype = shape, np.dtype(data.dtype)
        self._data, self._groupdq = data, groupdq
        n_integrations, n_groups, n_rows, n_columns = shape
        chunk_rows = min(data.inner_chunks[2] if data.is_sharded else data.chunks[2], n_rows)
        self._reads_all = n_integrations * n_groups * chunk_rows * n_columns > _LARGEST_READ
        self.rows_in_chunk = 1 if self._reads_all else chunk_rows
        self._all: NDArray[Any] | None = None
        self._lock = threading.Lock()

    def read(self, rows: slice) -> RampBlock:
        """Read rows; all of them at the first call if chunks reach far over the rows."""
        whole = (slice(None), slice(None), rows, slice(None))
        if self._reads_all:
            with self._lock:
                if self._all is None:
                    self._all = read_whole(self._data)
            data = self._all[whole]
        else:
            data = read_whole(self._data, whole)
        flags = np.broadcast_to(np.uint8(0), data.shape)
        if self._groupdq is not None:
            flags = read_whole(self._groupdq, whole).astype(np.uint8, copy=False)
        return RampBlock(rows, data, flags)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a new lock."""
        self.__dict__.update(state)
        self._lock = threading.Lock()
