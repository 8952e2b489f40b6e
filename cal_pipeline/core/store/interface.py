"""Interface of arrays of a store: reading and writing them, chunk by chunk."""

from __future__ import annotations

import itertools
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.store.codecs import Codec, usual_codecs
from cal_pipeline.core.store.metadata import TEXT, ArrayMetadata
from cal_pipeline.core.store.paths import StorePath

Region = tuple[slice, ...]
"""A part of an array, a slice without a step along each axis."""


class ArrayReader(ABC):
    """An array of a Zarr v3 store, to read.

    Parameters
    ----------
    root : StorePath
        The store.
    metadata : ArrayMetadata
        Metadata of the array.

    Attributes
    ----------
    name, path : str
        Name in messages; path in the store.
    shape, chunks, inner_chunks : tuple of int
        Shape of the array, of its storage unit (a chunk, or a shard of a sharded array), and of the
        chunks in a shard.
    dimension_names : sequence of str or None, or None
        Names of its axes.
    dtype : numpy.dtype or str
        Type of its elements; ``"string"`` for text.
    fill_value : object
        Value of chunks that are not stored.
    attributes : dict
        Its attributes.
    """

    dtype: Any
    fill_value: Any

    def __init__(self, root: StorePath, metadata: ArrayMetadata) -> None:
        self.name, self.path = metadata.name, metadata.path
        self.shape, self.chunks, self.inner_chunks = metadata.shape, metadata.chunks, metadata.inner_chunks
        self.attributes, self.dimension_names = metadata.attributes, metadata.dimension_names
        self._root, self._metadata = root, metadata

    @property
    def is_sharded(self) -> bool:
        """Tell whether its storage units are shards."""
        return self._metadata.shard_index is not None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def refuse_other_order(self, axes: Sequence[str]) -> None:
        """Refuse an array whose metadata name its axes in another order; ignore other names.

        Parameters
        ----------
        axes : sequence of str
            Expected axes; their first letters count as names too.

        Raises
        ------
        LayoutError
            If the order is another.
        """
        if self.dimension_names is None:
            return
        found = [str(name).lower() for name in self.dimension_names]
        for names in (list(axes), [axis[0] for axis in axes]):
            if found != names and sorted(found) == sorted(names):
                raise LayoutError(
                    f"{self.name}: dimension_names are {', '.join(found)}, expected {', '.join(names)}; transpose it"
                )

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def chunk_key(self, index: Sequence[int]) -> str:
        """Return the key of a chunk or shard in the store."""
        return self._metadata.make_key(index)

    def read_chunk(self, index: Sequence[int]) -> NDArray[Any]:
        """Read a whole chunk, full-sized even at the end of an axis; the fill value where nothing is stored."""
        start = [i * n for i, n in zip(index, self.chunks, strict=True)]
        values = self.read(_region(start, self.chunks))
        if values.shape == self.chunks:
            return values
        data = np.full(self.chunks, self.fill_value, values.dtype)
        data[tuple(slice(n) for n in values.shape)] = values
        return data

    def has_chunk(self, index: Sequence[int]) -> bool:
        """Tell whether a chunk is stored."""
        return self._root.exists(self.chunk_key(index))

    def absent_chunks(self) -> list[Region]:
        """Find the parts of the array that are not stored; readers get the fill value for them.

        Returns
        -------
        list of tuple of slice
            Missing chunks, or inner chunks of a sharded array; a wholly missing shard is one part.

        Raises
        ------
        ValueError
            If the index of a shard is damaged.
        """
        return list(itertools.chain.from_iterable(self._root.each(self.absent_in, each_index(self.shape, self.chunks))))

    def absent_in(self, index: Sequence[int]) -> list[Region]:
        """List the parts of one chunk or shard that are not stored; see :meth:`absent_chunks`."""
        start = [i * n for i, n in zip(index, self.chunks, strict=True)]
        shard_index = self._metadata.shard_index
        if shard_index is None:
            return [] if self.has_chunk(index) else [_region(start, self.chunks)]
        key = self.chunk_key(index)
        inner = shard_index.find_absent(lambda first, length: self._root.get_part(key, first, length))
        if inner is None:
            return [_region(start, self.chunks)]
        chunks = self.inner_chunks
        found = [[a + i * n for a, i, n in zip(start, root, chunks, strict=True)] for root in inner]
        # Inner chunks beyond the end of an axis are never stored.
        return [_region(low, chunks) for low in found if all(a < n for a, n in zip(low, self.shape, strict=True))]

    def read_ahead(self, selections: Iterable[Region]) -> AbstractContextManager[None]:
        """Expect parts of the array to be read in this order, within the block; of shards as a whole nothing."""
        if self.is_sharded:
            return nullcontext()
        itemsize = self.dtype.itemsize if isinstance(self.dtype, np.dtype) else 1
        keys = (self.chunk_key(index) for selection in selections for index in self._chunks_of(selection))
        return self._root.read_ahead(keys, math.prod(self.chunks) * itemsize)

    def _chunks_of(self, selection: Region) -> Iterator[tuple[int, ...]]:
        """Yield the index of every chunk that holds something of a part of the array."""
        bounds = [s.indices(n)[:2] for s, n in zip(selection, self.shape, strict=True)]
        return itertools.product(*(range(a // c, -(-b // c)) for (a, b), c in zip(bounds, self.chunks, strict=True)))

    def read(self, selection: Region | None = None) -> NDArray[Any]:
        """Read a part of the array, or all of it; the fill value where nothing is stored.

        Parameters
        ----------
        selection : tuple of slice, optional
            One for each axis, without a step.

        Raises
        ------
        ValueError, RuntimeError, OSError
            If it cannot be read or does not decode.
        """
        if selection is None:
            ranges = [(0, n) for n in self.shape]
        else:
            ranges = [s.indices(n)[:2] for s, n in zip(selection, self.shape, strict=True)]
        try:
            return self._read(ranges)
        except (EOFError, zlib.error) as error:  # of gzip, and no errors of values to Python
            raise ValueError(f"a chunk does not decode: {type(error).__name__}: {error}") from error

    @abstractmethod
    def _read(self, ranges: list[tuple[int, int]]) -> NDArray[Any]:
        """Read from the first to before the second number along each axis."""


class ArrayWriter(ABC):
    """An array that is being written, chunk by chunk; chunks may be written from several threads.

    Parameters
    ----------
    root : StorePath
        The store.
    path : str
        Path of the array in it.
    shape, chunks : tuple of int
        Its shape and chunks.
    dtype : str
        NumPy type, or ``"str"``.
    dims : tuple of str
        Names of its axes.
    attributes : mapping
        Its attributes.
    codecs : sequence of mapping, optional
        Codecs of bytes; bit-shuffled lz4 for floats and zstd for anything else if not given.
    fill_value : int or float, optional
        Value of chunks that are not stored, and beyond the end of an axis; NaN for floats, 0 for integers and no
        text if not given.
    """

    def __init__(
        self,
        root: StorePath,
        path: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: str,
        dims: tuple[str, ...],
        attributes: Mapping[str, Any],
        codecs: Sequence[Codec] = (),
        fill_value: float | None = None,
    ) -> None:
        self.shape, self.chunks, self.path = shape, chunks, path
        self._root = root
        self._is_text = dtype == "str"
        self._dtype = _find_type(dtype)
        self._given_codecs = tuple(codecs)
        self._codecs: tuple[Codec, ...] = self._given_codecs or usual_codecs(self._dtype)
        self._fill: Any = "" if self._is_text else np.nan if self._dtype.kind == "f" else 0
        if fill_value is not None:
            self._fill = fill_value
        self._create(dims, attributes)

    @abstractmethod
    def _create(self, dims: tuple[str, ...], attributes: Mapping[str, Any]) -> None:
        """Write the metadata of the array."""

    @property
    def data_type(self) -> str:
        """Type of the elements, as metadata name it."""
        return name_type(self._dtype)

    @property
    def n_chunks(self) -> int:
        """Number of chunks of the array."""
        return math.prod(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield the index of every chunk of the array."""
        return each_index(self.shape, self.chunks)

    def write(self, values: NDArray[Any]) -> None:
        """Write the whole array."""
        for index in self.indices():
            part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, self.chunks, strict=True))
            self.write_chunk(index, np.asarray(values[part]))

    def write_chunk(self, index: Sequence[int], values: NDArray[Any]) -> None:
        """Encode and write a chunk; at the end of an axis the rest of it is filled up.

        Values beyond the range of the array's type become infinite.
        """
        data = self._complete(values)
        if self._root.is_witnessed:
            self._note(index, data)
        self._write_whole(index, data)

    def _note(self, index: Sequence[int], data: NDArray[Any]) -> None:
        """Note a full-sized chunk that is written, to compare it with what is read back."""
        self._root.note_chunk(self.path, tuple(index), data)

    def write_alike(self, index: Sequence[int], key: Hashable, values: NDArray[Any]) -> None:
        """Write a chunk that equals the others of the same key, which may then be encoded once."""
        self.write_chunk(index, values)

    def _complete(self, values: NDArray[Any]) -> NDArray[Any]:
        """Convert values to the type of the array, and fill them up to the size of a chunk."""
        data: Any = values
        with np.errstate(over="ignore"):
            if values.shape != self.chunks:
                data = np.full(self.chunks, self._fill, self._dtype)
                data[tuple(slice(n) for n in values.shape)] = values
            return np.ascontiguousarray(data, self._dtype)

    @abstractmethod
    def write_zeros(self, index: Sequence[int]) -> None:
        """Write a chunk of zeros."""

    @abstractmethod
    def _write_whole(self, index: Sequence[int], data: NDArray[Any]) -> None:
        """Write a full-sized chunk of the array's type."""


class DiscardingWriter(ArrayWriter):
    """An array of which nothing is kept, for passes over samples that only their statistics are wanted of.

    Parameters
    ----------
    shape, chunks : tuple of int
        Its shape and chunks.
    """

    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
        self.shape, self.chunks, self.path = shape, chunks, ""

    def write(self, values: NDArray[Any]) -> None:
        """Discard the whole array."""

    def write_chunk(self, index: Sequence[int], values: NDArray[Any]) -> None:
        """Discard a chunk."""

    def write_zeros(self, index: Sequence[int]) -> None:
        """Discard a chunk of zeros."""

    def _create(self, dims: tuple[str, ...], attributes: Mapping[str, Any]) -> None:
        """Write no metadata."""

    def _write_whole(self, index: Sequence[int], data: NDArray[Any]) -> None:
        """Write no chunk."""


@cache
def _find_type(dtype: str) -> np.dtype[Any]:
    """Return the type of elements in memory, little-endian; objects for text."""
    return np.dtype(object if dtype == "str" else dtype).newbyteorder("<")


@cache
def name_type(dtype: np.dtype[Any]) -> str:
    """Return the name that metadata give a type of elements in memory."""
    return TEXT if dtype.kind == "O" else dtype.name


def chunk_name(index: Sequence[int]) -> str:
    """Return the key of a chunk of an :class:`ArrayWriter`, below the path of its array."""
    return ".".join(["c", *map(str, index)])


def each_index(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the index of every chunk."""
    return itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True)))


def _region(start: Sequence[int], shape: Sequence[int]) -> Region:
    return tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
