"""Zarr stores as files: arrays read, written and spoilt by hand, links to a shared original left alone."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sessions import read_array

Values = NDArray[Any]


def copy_linked(source: Path, target: Path) -> None:
    """Copy a store as hard links; :func:`write_file` breaks the link of what it writes."""
    shutil.copytree(source, target, copy_function=os.link)


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file as a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def remove(path: Path) -> None:
    """Remove a file, link or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def values_of(folder: Path) -> Values:
    """Read an array of a session."""
    return np.array(read_array(folder.parent, folder.name))


def document_of(folder: Path) -> dict[str, Any]:
    """Read the metadata of a group or array."""
    document: dict[str, Any] = json.loads((folder / "zarr.json").read_text())
    return document


def change_document(folder: Path, **fields: Any) -> None:
    """Replace fields of the metadata of a group or array; ``...`` leaves one out."""
    document = document_of(folder) | fields
    write_file(folder / "zarr.json", json.dumps({key: value for key, value in document.items() if value is not ...}))


def change_attributes(folder: Path, **attributes: Any) -> None:
    """Replace attributes of a group or array; ``...`` leaves one out."""
    merged = document_of(folder)["attributes"] | attributes
    change_document(folder, attributes={key: value for key, value in merged.items() if value is not ...})


def chunks_of(folder: Path) -> list[Path]:
    """List the chunk files of an array, in order."""
    return sorted(path for path in (folder / "c").rglob("*") if path.is_file())


def put_array(folder: Path, values: Values, axis: int | None = None, **fields: Any) -> None:
    """Write an array anew, not compressed; in chunks of 1 along an axis if one is given.

    Parameters
    ----------
    folder : Path
        The array.
    values : ndarray
        Numbers, or text.
    axis : int, optional
        The axis along which it is divided.
    **fields
        Other metadata.
    """
    names = document_of(folder).get("dimension_names") if (folder / "zarr.json").exists() else None
    remove(folder)
    is_text = values.dtype.kind in "OUT"
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    shape = [1 if axis is not None and i == axis % values.ndim else n for i, n in enumerate(values.shape)]
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(values.shape),
        "data_type": "string" if is_text else values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "" if is_text else False if values.dtype.kind == "b" else 0,
        "codecs": [{"name": "vlen-utf8"}] if is_text else codecs,
        "attributes": {},
        "dimension_names": names if names and len(names) == values.ndim else None,
    }
    if values.dtype.kind == "c":
        document["fill_value"] = [0, 0]
    write_file(folder / "zarr.json", json.dumps(document | fields))
    grid = [n // k for n, k in zip(values.shape, shape, strict=True)]
    for index in np.ndindex(*grid):
        part = tuple(slice(i * k, (i + 1) * k) for i, k in zip(index, shape, strict=True))
        content = _encode_text(values[part]) if is_text else np.ascontiguousarray(values[part]).tobytes()
        write_file(folder.joinpath("c", *map(str, index)), content)


def _encode_text(values: Values) -> bytes:
    texts = [item if isinstance(item, bytes) else str(item).encode() for item in values.ravel().tolist()]
    return struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(text)) + text for text in texts)
