"""Samples that are read once, worked on and written block by block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.paths import StorePath

CHUNK_SAMPLES = 2**18
"""Samples a block of an output is filled up to, 2 MB: what a core works on stays in its cache."""

Floats = NDArray[np.float64]


class Source(Protocol):
    """Stored array of samples; rows are along its first axis, indexes along its last.

    Attributes
    ----------
    shape : tuple of int
        Shape.
    """

    shape: tuple[int, ...]

    @property
    def indexes_in_chunk(self) -> int:
        """Number of indexes that a chunk holds."""

    def row_step(self, target_samples: int, /) -> int:
        """Compute the rows of a block with one index: whole chunks, some `target_samples`."""

    def blocks(self, indexes: Sequence[int], rows: int, /) -> Iterator[tuple[slice, list[int]]]:
        """Yield rows, `rows` at a time, and those of the `indexes` that share a chunk."""

    def read(self, rows: slice, indexes: list[int], /) -> NDArray[Any]:
        """Read samples, with the indexes along the last axis."""

    def read_ahead(self, blocks: Iterable[tuple[slice, list[int]]], /) -> AbstractContextManager[None]:
        """Expect blocks to be read in this order, within the block."""


class Memory(Protocol):
    """Function that returns memory of a thread, to be used again."""

    def __call__(self, name: Hashable, shape: tuple[int, ...], dtype: DTypeLike = ..., /) -> NDArray[Any]:
        """Return the array of a name, shape and type."""


@dataclass
class Block:
    """Samples that one output is made of, for some rows.

    Operations pass their results on in attributes of a subclass.

    Parameters
    ----------
    rows : slice
        Rows along the first axis.
    number : int
        Position among the blocks of an output, from 0.
    output : int
        Position of the output.
    samples : dict
        Samples by index, (rows, …): integers as they are stored, or floats, NaN where a sample is
        missing. Operations may replace the arrays, not write to them: other outputs share them.
    memory : callable
        Returns the array of a given name, shape and type (64-bit floats by default), which is used
        again for each block of the thread. Reuse pays: page faults of fresh memory take as long as
        the calculation.
    """

    rows: slice
    number: int
    output: int
    samples: dict[int, NDArray[Any]]
    memory: Memory


AnyBlock = TypeVar("AnyBlock", bound=Block)


@dataclass(frozen=True)
class Target:
    """Group that a stream is written to.

    Parameters
    ----------
    group : StorePath or None
        The group; None to discard what is written.
    shape : tuple of int
        Shape of the samples.
    rows : int
        Rows of a block, and of a chunk of an output; the last block may have fewer.
    present : set of str
        Names of the other arrays of the group.
    """

    group: StorePath | None
    shape: tuple[int, ...]
    rows: int
    present: set[str] = field(default_factory=set)

    @property
    def n_blocks(self) -> int:
        """Number of blocks of an output."""
        return -(-self.shape[0] // self.rows)


class Operation(Generic[AnyBlock]):
    """Work of a step on samples.

    :meth:`apply` and :meth:`write` are called concurrently, for different blocks.
    """

    def indexes(self, output: int) -> Iterable[int]:
        """Return the indexes along the last axis whose samples are needed for an output."""
        return ()

    def begin(self, target: Target) -> None:
        """Create the arrays that are written."""

    def apply(self, block: AnyBlock) -> None:
        """Work on a block."""

    def write(self, block: AnyBlock) -> None:
        """Write results of a block, once all operations were applied to it."""

    def conclude(self) -> dict[str, Any]:
        """Write arrays that depend on all blocks; return statistics of the samples by name."""
        return {}


class Stream(Generic[AnyBlock]):
    """Samples on their way from a source through a list of operations to a target.

    Each chunk of the source is read once and each block of an output is written once.

    Parameters
    ----------
    source : Source
        The samples.
    n_outputs : int
        Number of outputs.
    operations : sequence of Operation
        Operations, in the order in which they are applied to a block.
    make_block : callable
        Class of the blocks, called with the parameters of :class:`Block`.
    clock : StageClock
        Clock of the observation.
    stage : str
        Stage that the clock counts :meth:`Operation.apply` under; all else is ``write``.
    """

    def __init__(
        self,
        source: Source,
        n_outputs: int,
        operations: Sequence[Operation[AnyBlock]],
        make_block: Callable[..., AnyBlock],
        clock: StageClock,
        stage: str,
    ) -> None:
        self._source, self._operations, self._make_block = source, operations, make_block
        self._clock, self._stage = clock, stage
        self._needed = [set().union(*(each.indexes(output) for each in operations)) for output in range(n_outputs)]
        self.rows = source.row_step(CHUNK_SAMPLES)
        self._own: dict[tuple[int, Hashable], NDArray[Any]] = {}

    def run(
        self, group: StorePath | None, present: set[str], others: Iterable[Callable[[], None]] = ()
    ) -> dict[str, Any]:
        """Work on all blocks concurrently.

        Parameters
        ----------
        group : StorePath or None
            Group to write to; None to learn the statistics only.
        present : set of str
            Names of the other arrays of the group.
        others : iterable of callable
            Other tasks, for the same threads.

        Returns
        -------
        dict
            Results of :meth:`Operation.conclude` of all operations.
        """
        with self._clock("write"):
            for operation in self._operations:
                operation.begin(Target(group, self._source.shape, self.rows, present))
        tasks: list[Callable[[], None]] = [*others, *(partial(self._work_on, *block) for block in self._blocks())]
        coming = ((rows, members) for rows, outputs in self._blocks() for members in self._indexes_by_chunk(outputs))
        with self._source.read_ahead(coming):
            map_in_threads(lambda task: task(), tasks, int(np.prod(self._source.shape)))
        learnt: dict[str, Any] = {}
        with self._clock("write"):
            for operation in self._operations:
                learnt |= operation.conclude()
        return learnt

    def _blocks(self) -> Iterator[tuple[slice, list[int]]]:
        """Yield rows and outputs to work on at a time."""
        n_rows = self._source.shape[0]
        for outputs in group_by_chunk(self._needed, self._source.indexes_in_chunk):
            for start in range(0, n_rows, self.rows):
                yield slice(start, min(start + self.rows, n_rows)), outputs

    def _indexes_by_chunk(self, outputs: list[int]) -> Iterator[list[int]]:
        """Yield the indexes that some outputs need, those of a chunk at a time."""
        indexes = sorted(set().union(*(self._needed[output] for output in outputs)))
        for _, members in self._source.blocks(indexes, self._source.shape[0]):
            yield members

    def _work_on(self, rows: slice, outputs: list[int]) -> None:
        """Read the samples of some outputs, apply the operations and write."""
        read: dict[int, NDArray[Any]] = {}
        for members in self._indexes_by_chunk(outputs):
            samples = self._source.read(rows, members)
            read |= {index: samples[..., position] for position, index in enumerate(members)}
        for output in outputs:
            samples_of_output = {index: read[index] for index in self._needed[output]}
            block = self._make_block(rows, rows.start // self.rows, output, samples_of_output, self._memory)
            with self._clock(self._stage):
                for operation in self._operations:
                    operation.apply(block)
            with self._clock("write"):
                for operation in self._operations:
                    operation.write(block)

    def _memory(self, name: Hashable, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return the memory of a name that belongs to this thread."""
        key = threading.get_ident(), name
        if key not in self._own or self._own[key].shape != shape or self._own[key].dtype != dtype:
            self._own[key] = np.empty(shape, dtype)
        return self._own[key]


def group_by_chunk(needed: Sequence[set[int]], indexes_in_chunk: int) -> list[list[int]]:
    """Group the outputs, by position, that need samples of the same chunk.

    Parameters
    ----------
    needed : sequence of set of int
        Indexes needed for each output.
    indexes_in_chunk : int
        Number of indexes that a chunk holds.

    Examples
    --------
    >>> group_by_chunk([{0, 1}, {2}, {1, 3}], 2)
    [[0, 1, 2]]
    >>> group_by_chunk([{0, 1}, {2}, {1, 3}], 1)
    [[0, 2], [1]]
    """
    groups: list[tuple[set[int], list[int]]] = []
    for output, indexes in enumerate(needed):
        columns = {index // indexes_in_chunk for index in indexes}
        touching = [group for group in groups if group[0] & columns]
        groups = [group for group in groups if not group[0] & columns]
        for other in touching:
            columns |= other[0]
        groups.append((columns, sorted(sum((members for _, members in touching), [output]))))
    return sorted(members for _, members in groups)
