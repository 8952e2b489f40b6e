"""Small arrays of simulated stores, straight as the Zarr v3 format says."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Zstd
from numpy.typing import NDArray

LARGEST = 2**16
"""Size from which zarr-python writes an array of numbers, and may divide it into chunks [bytes]."""


def write_small_array(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    dims: tuple[str, ...],
    level: int = 0,
    checksum: bool = False,
) -> None:
    """Write an array in one chunk that is compressed with Zstandard.

    A session has dozens of small arrays a scan. Zarr-python takes ten times as long for them.

    Parameters
    ----------
    group : zarr.Group
        A group of a folder, which has no array of the name.
    name : str
        Name of the array.
    values : NDArray
        Numbers, or text as an array of objects.
    dims : tuple of str
        Names of the dimensions.
    level : int
        Level of the compression.
    checksum : bool
        Whether the compressed chunk ends with a checksum.
    """
    folder = Path(group.store.root) / group.path / name  # type: ignore[attr-defined]
    chunk = folder.joinpath("c", *"0" * values.ndim)
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(Zstd(level=level, checksum=checksum).encode(_encode(values)))
    compressor = {"name": "zstd", "configuration": {"level": level, "checksum": checksum}}
    metadata = {
        "shape": values.shape,
        **_describe(values.dtype, compressor),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": values.shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "attributes": {},
        **({"dimension_names": dims} if dims else {}),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    (folder / "zarr.json").write_text(json.dumps(metadata, indent=2))


def _encode(values: NDArray[Any]) -> bytes:
    if values.dtype.kind != "O":
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    texts = [str(text).encode() for text in values.ravel()]
    return struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _describe(dtype: np.dtype[Any], compressor: dict[str, Any]) -> dict[str, Any]:
    """Describe the type of the elements, and the codecs for them."""
    if dtype.kind == "O":
        codec: dict[str, Any] = {"name": "vlen-utf8", "configuration": {}}
        return {"data_type": "string", "fill_value": "", "codecs": [codec, compressor]}
    codec = {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
    return {"data_type": dtype.name, "fill_value": dtype.type(0).item(), "codecs": [codec, compressor]}
