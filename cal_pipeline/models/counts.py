"""Counts of an L0 array, read block by block along its own chunks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.errors import DataReadError, LayoutError
from cal_pipeline.models.chunks import TEXT, ZarrArray
from cal_pipeline.models.clock import StageClock
from cal_pipeline.models.schema import FILL_COUNT
from cal_pipeline.models.storage import Place

BLOCK_SAMPLES = 2**19
"""Samples a block is filled up to, where the chunks are smaller than that; several chunks are copied into one block."""

Block = tuple[slice, list[int]]
"""Channels and subscans of a block."""


class Counts:
    """The array ``data_5d`` [C,D,R,A,S] of an L0 group.

    Parameters
    ----------
    store : Place
        The session.
    path : str
        Path of the array in it.
    clock : StageClock
        Counts the time of reading under ``load``.

    Attributes
    ----------
    shape : tuple of int
        (C, D, R, A, S).
    """

    def __init__(self, store: Place, path: str, clock: StageClock) -> None:
        self.name = f"{store}/{path}"
        self.clock = clock
        array = ZarrArray(store, path)
        if array.ndim != 5 or array.dtype == TEXT or array.dtype.kind not in "iuf":
            raise LayoutError(
                f"{self.name} has {array.ndim} axes of type {array.dtype}, expected the 5 axes "
                "channel, dump, receiver, array, subscan of integers or floats"
            )
        if 0 in array.shape:
            raise LayoutError(f"{self.name} has shape {array.shape}: it holds nothing")
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.scale = float(array.attributes.get("scale_factor", 1.0))
        self._chunks = array.inner_chunks
        self._absent = self._absent_chunks()

    @property
    def n_absent_chunks(self) -> int:
        """Number of chunks that are not in the store and do not stand for missing dumps."""
        return len(self._absent)

    def _absent_chunks(self) -> set[tuple[int, ...]]:
        """Chunks that the store does not hold, though their fill value would pass for counts.

        A reader gets the fill value for them; zero counts would calibrate to -T_sys.
        """
        array = self._array
        fill: Any = array.fill_value
        if fill == FILL_COUNT or fill != fill:
            return set()
        grid = [range(-(-n // chunk)) for n, chunk in zip(array.shape, array.chunks, strict=True)]
        return {index for index in itertools.product(*grid) if not array.has_chunk(index)}

    @property
    def subscans_in_chunk(self) -> int:
        """Subscans that a chunk holds."""
        return int(self._chunks[4])

    def channel_step(self, target_samples: int = BLOCK_SAMPLES) -> int:
        """Channels in a block of one subscan: whole chunks, about `target_samples` samples."""
        per_channel = int(np.prod(self.shape[1:4]))
        chunk = self._chunks[0]
        return int(min(max(target_samples // (per_channel * chunk), 1) * chunk, self.shape[0]))

    def blocks(self, subscans: Sequence[int], channel_step: int | None = None) -> Iterator[Block]:
        """Blocks that hold `subscans`, each chunk in one block only.

        Parameters
        ----------
        subscans : sequence of int
            Zero-based subscans.
        channel_step : int, optional
            Channels in a block, a multiple of the chunk's; chosen by size if not given.

        Yields
        ------
        channels : slice
        subscans : list of int
            Those of one chunk along the subscan axis.
        """
        step = channel_step or self.channel_step()
        per_chunk = self._chunks[4]
        groups = [list(g) for _, g in itertools.groupby(sorted(subscans), key=lambda s: s // per_chunk)]
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
            Counts times ``scale_factor``: float64, NaN where a dump is missing; or integers as they are stored where
            none is missing and the factor is 1.

        Raises
        ------
        DataReadError
            Where a chunk does not decode.
        """
        span = slice(subscans[0], subscans[-1] + 1)
        with self.clock("load"):
            try:
                raw = self._array.read((channels, slice(None), slice(None), slice(None), span))
            except Exception as error:
                raise DataReadError(
                    f"{self.name}: channels {channels.start} to {channels.stop - 1}, subscans {subscans[0]} to "
                    f"{subscans[-1]} cannot be read: {type(error).__name__}: {error}"
                ) from error
            if len(subscans) < span.stop - span.start:
                raw = raw[..., [s - span.start for s in subscans]]
            complete = raw.dtype.kind != "f" and raw.min() > FILL_COUNT
            if complete and self.scale == 1.0 and not self._absent:
                return raw
            counts = raw.astype(np.float64)
            if not complete:
                counts[counts == FILL_COUNT] = np.nan
            for index in self._absent:
                self._blank(counts, index, channels, subscans)
            if self.scale != 1.0:
                counts *= self.scale
        return counts

    def _blank(self, counts: NDArray[np.float64], index: tuple[int, ...], channels: slice, subscans: list[int]) -> None:
        """Set to NaN what of an absent chunk falls into a block."""
        low = [i * n for i, n in zip(index, self._array.chunks, strict=True)]
        high = [a + n for a, n in zip(low, self._array.chunks, strict=True)]
        columns = [k for k, s in enumerate(subscans) if low[4] <= s < high[4]]
        if columns and low[0] < channels.stop and high[0] > channels.start:
            rows = slice(max(low[0] - channels.start, 0), high[0] - channels.start)
            inner = tuple(slice(a, b) for a, b in zip(low[1:4], high[1:4], strict=True))
            counts[(rows, *inner)][..., columns] = np.nan
