"""Arrays of a store, opened and created: straight through their codecs where these are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cal_pipeline.core.store.codecs import Codec, Function
from cal_pipeline.core.store.direct import DirectReader, DirectWriter, find_decoders
from cal_pipeline.core.store.interface import ArrayReader, ArrayWriter
from cal_pipeline.core.store.metadata import NUMBERS, ArrayMetadata, parse_array_metadata, read_metadata
from cal_pipeline.core.store.paths import StorePath

_ALIKE = 512
"""Number of metadata that are kept parsed: most arrays have the same ones in each observation."""


@dataclass(frozen=True)
class _Found:
    """Metadata of an array as stored, which are the same for arrays alike, and its name in messages and path."""

    content: bytes
    name: str = field(compare=False)
    path: str = field(compare=False)


@lru_cache(_ALIKE)
def _parse(found: _Found) -> tuple[ArrayMetadata, list[Function] | None]:
    """Parse the metadata of arrays alike, and find the decoders of their chunks."""
    metadata = parse_array_metadata(found.name, found.path, found.content)
    return metadata, find_decoders(metadata)


def open_reader(root: StorePath, path: str) -> ArrayReader:
    """Open an array to read.

    Parameters
    ----------
    root : StorePath
        The store.
    path : str
        Path of the array in it.

    Raises
    ------
    LayoutError
        If it cannot be opened as an array.
    DataReadError
        If its metadata cannot be read.
    """
    found = _Found(read_metadata(root, path, "array"), f"{root}/{path}", path)
    alike, decoders = _parse(found)
    metadata = alike.at(found.name, path)
    if decoders is not None:
        return DirectReader(root, metadata, decoders)
    from cal_pipeline.core.store.through_zarr import ZarrReader  # zarr takes longer to import than all of a start

    return ZarrReader(root, metadata)


def create_writer(
    root: StorePath,
    path: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    dims: tuple[str, ...],
    attributes: Mapping[str, Any],
    codecs: Sequence[Codec] = (),
    fill_value: float | None = None,
) -> ArrayWriter:
    """Create an array to write; see :class:`ArrayWriter` for the parameters."""
    writer: type[ArrayWriter] = DirectWriter
    if dtype != "str" and dtype not in NUMBERS:
        from cal_pipeline.core.store.through_zarr import ZarrWriter

        writer = ZarrWriter
    return writer(root, path, shape, chunks, dtype, dims, attributes, codecs, fill_value)
