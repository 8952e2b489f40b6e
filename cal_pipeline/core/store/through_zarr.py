"""Arrays through the public interface of zarr-python: every type and codec that it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cal_pipeline.core.store.interface import ArrayReader, ArrayWriter
from cal_pipeline.core.store.metadata import TEXT, ArrayMetadata, describe_failed_opening
from cal_pipeline.core.store.paths import StorePath


class ZarrReader(ArrayReader):
    """An array that zarr-python reads.

    Parameters
    ----------
    root : StorePath
        The store.
    metadata : ArrayMetadata
        Metadata of the array.

    Raises
    ------
    LayoutError
        If zarr-python does not open it.
    """

    def __init__(self, root: StorePath, metadata: ArrayMetadata) -> None:
        super().__init__(root, metadata)
        try:
            array = zarr.open_array(root.as_zarr(), path=metadata.path, mode="r", zarr_format=3)
        except Exception as error:  # zarr and its codecs raise what they like
            raise describe_failed_opening(self.name, error) from error
        self._array: zarr.Array[Any] = array
        self.dtype = TEXT if array.dtype.kind in "TUO" else array.dtype
        self.fill_value = array.fill_value

    def _read(self, ranges: list[tuple[int, int]]) -> NDArray[Any]:
        try:
            values = np.asarray(self._array[tuple(slice(*r) for r in ranges)])
        except ExceptionGroup as group:  # newer zarr reads inner chunks of a shard in concurrent tasks
            raise group.exceptions[0] from group
        return values.astype(object) if self._metadata.data_type == TEXT else values


class ZarrWriter(ArrayWriter):
    """An array that zarr-python writes."""

    def _create(self, dims: tuple[str, ...], attributes: Mapping[str, Any]) -> None:
        self._array = zarr.create_array(
            self._root.as_zarr(),
            name=self.path,
            shape=self.shape,
            chunks=self.chunks,
            dtype=str if self._is_text else self._dtype,
            compressors=[dict(codec) for codec in self._codecs],
            fill_value=self._fill,
            attributes=dict(attributes),
            dimension_names=dims,
            chunk_key_encoding={"name": "default", "separator": "."},
            overwrite=True,
            # A chunk of fill values that is not written could not be told from one that was lost.
            config={"write_empty_chunks": True},
        )

    def write_zeros(self, index: Sequence[int]) -> None:
        """Write a chunk of zeros."""
        self.write_chunk(index, np.zeros(self.chunks, self._dtype))

    def _write_whole(self, index: Sequence[int], data: NDArray[Any]) -> None:
        low = [i * c for i, c in zip(index, self.chunks, strict=True)]
        high = [min(a + c, n) for a, c, n in zip(low, self.chunks, self.shape, strict=True)]
        inside = tuple(slice(b - a) for a, b in zip(low, high, strict=True))
        self._array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = data.reshape(self.chunks)[inside]
