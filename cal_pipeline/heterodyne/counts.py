"""Counts of an L0 array, read block by block along its own chunks."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import find_extremes
from cal_pipeline.core.errors import DataReadError, LayoutError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import TEXT
from cal_pipeline.core.store.packing import Packing
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.schema import (
    ARRAY,
    CHANNEL,
    DUMP,
    LARGEST_AXES,
    MOST_SPECTRAL_SAMPLES,
    RECEIVER,
    SUBSCAN,
)

logger = logging.getLogger(__name__)

BLOCK_SAMPLES = 2**19
"""Target size of a block, filled by copying from several chunks if these are smaller [samples]."""

Block = tuple[slice, list[int]]
"""Channels and subscans of a block."""

Region = tuple[slice, ...]
"""A part of an array, a slice along each axis."""


class CountMemory:
    """Blocks of counts that were read and decoded, kept for further passes over a scan.

    Blocks are kept until the budget is used up, and none is given up for another: passes read in one
    order, in which the least recently used block is the next to be asked for.

    Parameters
    ----------
    budget : int
        Largest total size [bytes].
    """

    def __init__(self, budget: int) -> None:
        self._blocks: dict[Hashable, NDArray[Any]] = {}
        self._free = budget
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> NDArray[Any] | None:
        """Return the block of a key; None if it was not kept."""
        return self._blocks.get(key)

    def keep(self, key: Hashable, block: NDArray[Any]) -> None:
        """Keep a block, which nobody writes to, if there is room for it."""
        with self._lock:
            if key not in self._blocks and block.nbytes <= self._free:
                self._blocks[key] = block
                self._free -= block.nbytes


class Counts:
    """The array ``data_5d`` [C,D,R,A,S] of an L0 group.

    Parameters
    ----------
    store : StorePath
        The session.
    path : str
        Path of the array in it.
    clock : StageClock
        Counts the time of reading under ``load``.
    known : dict, optional
        Memory of what is not stored, shared by all that open the same array of one scan: it is
        looked up once.
    memory : CountMemory, optional
        Memory for blocks that are read again.

    Attributes
    ----------
    shape : tuple of int
        (C, D, R, A, S).

    Raises
    ------
    LayoutError
        If the array is not one of counts, or has an attribute that cannot be applied.
    """

    def __init__(
        self,
        store: StorePath,
        path: str,
        clock: StageClock,
        known: dict[str, Any] | None = None,
        memory: CountMemory | None = None,
    ) -> None:
        self.name = f"{store}/{path}"
        self.clock = clock
        array = open_reader(store, path)
        if array.ndim != 5 or array.dtype == TEXT or array.dtype.kind not in "iuf":
            raise LayoutError(
                f"{self.name} has {array.ndim} axes of type {array.dtype}, expected the 5 axes "
                "channel, dump, receiver, array, subscan of integers or floats"
            )
        array.refuse_other_order((CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN))
        if 0 in array.shape:
            raise LayoutError(
                f"{self.name} has shape {array.shape}: it holds nothing, expected at least 1 on each axis"
            )
        _refuse_sizes(self.name, array.shape)
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self._packing = self._unlimited = Packing.for_counts(self.name, array.attributes, array.dtype)
        self._chunks = array.inner_chunks
        self._known = {} if known is None else known
        self._memory, self._limit = memory, math.inf
        self._known["itemsize"] = array.dtype.itemsize

    def saturate_at(self, limit: float | None) -> Counts:
        """Take counts at or above a limit for missing from now on, and return this object.

        Parameters
        ----------
        limit : float or None
            Smallest count, once unpacked, that a saturated spectrometer delivers [ct]; None if
            unknown. Counts at the maximum of an integer type are missing in any case.
        """
        self._packing = self._unlimited if limit is None else self._unlimited.saturated_at(limit)
        self._limit = math.inf if limit is None else limit
        return self

    @property
    def absent(self) -> Sequence[Region]:
        """Parts that are not stored and would pass for counts: zeros would calibrate to -T_sys.

        Raises
        ------
        DataReadError
            If the stored chunks cannot be listed.
        """
        if "absent" not in self._known:
            self._known["absent"] = self._find_absent()
        absent: Sequence[Region] = self._known["absent"]
        return absent

    @cached_property
    def _absent_by_subscan(self) -> dict[int, list[Region]]:
        found: dict[int, list[Region]] = {}
        for region in self.absent:
            for subscan in range(region[4].start, min(region[4].stop, self.shape[4])):
                found.setdefault(subscan, []).append(region)
        return found

    @property
    def n_absent_chunks(self) -> int:
        """Number of chunks (inner chunks of shards) that are neither stored nor marked as missing.

        A wholly missing shard counts once.
        """
        return len(self.absent)

    def warn_of_absent_chunks(self) -> None:
        """Log a warning if chunks are not in the store."""
        if self.absent:
            logger.warning(
                "%s: %s not in the store; the samples count as missing (FILL_VALUE)",
                self.name,
                format_count(self.n_absent_chunks, "chunk is", "chunks are"),
            )

    def _find_absent(self) -> Sequence[Region]:
        """Find the parts that are not stored; none if the fill value itself marks missing data."""
        fill = np.array([self._array.fill_value], self._array.dtype)
        if np.isnan(self._packing.decode(fill)).all():
            return ()
        try:
            with self.clock("load"):
                return self._array.absent_chunks()
        except Exception as error:
            raise DataReadError(f"{self.name}: its chunks cannot be listed: {type(error).__name__}: {error}") from error

    @property
    def indexes_in_chunk(self) -> int:
        """Subscans that a chunk holds."""
        return int(self._chunks[4])

    def row_step(self, target_samples: int = BLOCK_SAMPLES) -> int:
        """Compute the channels of a block of one subscan: whole chunks, some `target_samples`."""
        per_channel = int(np.prod(self.shape[1:4]))
        chunk = self._chunks[0]
        return int(min(max(target_samples // (per_channel * chunk), 1) * chunk, self.shape[0]))

    def groups(self, subscans: Sequence[int]) -> list[list[int]]:
        """Sort subscans, and group those that share their chunks."""
        per_chunk = self._chunks[4]
        return [list(group) for _, group in itertools.groupby(sorted(subscans), key=lambda s: s // per_chunk)]

    def blocks(self, subscans: Sequence[int], row_step: int | None = None) -> Iterator[Block]:
        """Yield blocks that hold `subscans`, each chunk in one block only.

        Parameters
        ----------
        subscans : sequence of int
            Zero-based subscans.
        row_step : int, optional
            Channels in a block, a multiple of the chunk's; chosen by size if not given.

        Yields
        ------
        channels : slice
        subscans : list of int
            Those of one chunk along the subscan axis.
        """
        step, groups = row_step or self.row_step(), self.groups(subscans)
        for first in range(0, self.shape[0], step):
            for group in groups:
                yield slice(first, min(first + step, self.shape[0])), group

    def read(self, channels: slice, subscans: list[int]) -> NDArray[Any]:
        """Read a block.

        Parameters
        ----------
        channels : slice
            Channels.
        subscans : list of int
            Ascending subscans, near each other.

        Returns
        -------
        ndarray, shape (c, D, R, A, len(subscans))
            Counts, unpacked: float64, NaN where missing; or integers as they are stored where none
            is missing and no attribute changes them.

        Raises
        ------
        DataReadError
            If a chunk does not decode.
        """
        if self._memory is None:
            return self._read(channels, subscans)
        key = self._memory_key(channels, subscans)
        block = self._memory.find(key)
        if block is None:
            block = self._read(channels, subscans)
            self._memory.keep(key, block)
        return block

    def read_ahead(self, blocks: Iterable[Block]) -> AbstractContextManager[None]:
        """Expect blocks to be read in this order, within the block: a high-latency store fetches the next ones."""
        return self._array.read_ahead(
            _region_of(channels, subscans) for channels, subscans in blocks if not self._holds(channels, subscans)
        )

    def _holds(self, channels: slice, subscans: list[int]) -> bool:
        return self._memory is not None and self._memory.find(self._memory_key(channels, subscans)) is not None

    def _memory_key(self, channels: slice, subscans: list[int]) -> Hashable:
        return (self.name, self._limit, channels.start, channels.stop, *subscans)

    def _read(self, channels: slice, subscans: list[int]) -> NDArray[Any]:
        """Read and decode a block."""
        span = slice(subscans[0], subscans[-1] + 1)
        with self.clock("load"):
            try:
                raw = self._array.read(_region_of(channels, subscans))
            except Exception as error:
                raise DataReadError(
                    f"{self.name}: channels {channels.start} to {channels.stop - 1}, subscans {subscans[0]} to "
                    f"{subscans[-1]} cannot be read: {type(error).__name__}: {error}"
                ) from error
            if len(subscans) < span.stop - span.start:
                raw = raw[..., [s - span.start for s in subscans]]
            stored = self._packing.reinterpret(raw)
            missing = self._packing.find_missing(stored, find_extremes(stored))
            absent = list(self._absent_in(channels, subscans))
            if missing is None and not absent and stored.dtype.kind != "f" and self._packing.is_identity:
                return stored
            counts = self._packing.unpack(stored, missing)
            for part in absent:
                counts[part] = np.nan
        return counts

    def _absent_in(self, channels: slice, subscans: list[int]) -> Iterator[tuple[slice | int, ...]]:
        """Yield the absent parts of a block, as indices into the block."""
        for column, subscan in enumerate(subscans):
            for rows, *inner, _ in self._absent_by_subscan.get(subscan, ()):
                if rows.start < channels.stop and rows.stop > channels.start:
                    yield slice(max(rows.start - channels.start, 0), rows.stop - channels.start), *inner, column


def _region_of(channels: slice, subscans: list[int]) -> Region:
    """Return the part of the array that a block is cut from."""
    return channels, slice(None), slice(None), slice(None), slice(subscans[0], subscans[-1] + 1)


def _refuse_sizes(name: str, shape: tuple[int, ...]) -> None:
    """Refuse counts of a shape that no scan has, before memory is taken for it."""
    for (axis, largest), length in zip(LARGEST_AXES.items(), shape, strict=True):
        if length > largest:
            raise LayoutError(f"{name} has shape {shape}: {length} along {axis}, expected at most {largest}")
    number = math.prod(shape) // shape[1]
    if number > MOST_SPECTRAL_SAMPLES:
        axes = "channels x receivers x arrays x subscans"
        raise LayoutError(f"{name} has shape {shape}: {number} {axes}, expected at most {MOST_SPECTRAL_SAMPLES}")
