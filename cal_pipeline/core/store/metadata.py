"""Metadata of Zarr v3 arrays and groups: read, checked, written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cal_pipeline.core.errors import DataReadError, LayoutError
from cal_pipeline.core.store.codecs import Codec
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.shards import ShardIndex

TEXT = "string"
"""Type of arrays of variable-length strings."""

NUMBERS = frozenset(
    f"{kind}{bits}"
    for kind, sizes in {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (32, 64)}.items()
    for bits in sizes
)
"""Types of numbers whose fill values are read here; others are left to zarr."""

_GROUP_FIELDS = {"zarr_format", "node_type", "attributes", "consolidated_metadata"}
_ARRAY_FIELDS = {"zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value"}
_ARRAY_FIELDS |= {"codecs", "attributes", "dimension_names", "storage_transformers"}

_SEPARATORS = {"default": "/", "v2": "."}
"""Encodings of the keys of chunks, with their separators where none is given."""

MOST_CHUNKS = 2**20
"""Largest number of chunks of an array, or of inner chunks in a shard: loops over more would not end."""

LARGEST_CHUNK = 2**31
"""Largest chunk [bytes]; codecs take no more."""

_ITEMSIZE = 8
"""Size of an element of a type that is left to zarr, and of a pointer to text [bytes]."""

_NAMED_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class ArrayMetadata:
    """Checked metadata of an array.

    Parameters
    ----------
    name : str
        Name of the array in messages.
    path : str
        Its path in the store.
    shape, chunks, inner_chunks : tuple of int
        Shape of the array, of its storage unit (a chunk, or a shard of a sharded array), and of the
        chunks in a shard.
    data_type : object
        Type of its elements, as JSON holds it.
    fill_value : object
        Value of chunks that are not stored; as JSON holds it unless the type is text or one of
        :data:`NUMBERS`.
    codecs : sequence of mapping
        Its codecs.
    shard_index : ShardIndex or None
        Index of its shards, if it has any.
    key_encoding, separator : str
        Encoding of chunk indices as keys.
    dimension_names : sequence of str or None, or None
        Names of its axes.
    attributes : dict
        Its attributes.
    """

    name: str
    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    inner_chunks: tuple[int, ...]
    data_type: Any
    fill_value: Any
    codecs: Sequence[Codec]
    shard_index: ShardIndex | None
    key_encoding: str
    separator: str
    dimension_names: Sequence[str | None] | None
    attributes: dict[str, Any]

    def at(self, name: str, path: str) -> ArrayMetadata:
        """Return the metadata of an array alike, under another name and path, with attributes of its own."""
        # `dataclasses.replace` takes a quarter of the time that opening a small array does.
        copied = object.__new__(ArrayMetadata)
        copied.__dict__.update(self.__dict__, name=name, path=path, attributes=dict(self.attributes))
        return copied

    def make_key(self, index: Sequence[int]) -> str:
        """Make the key of a chunk."""
        numbers = self.separator.join(map(str, index))
        if self.key_encoding == "v2":
            return f"{self.path}/{numbers or '0'}"
        return f"{self.path}/c{self.separator}{numbers}" if numbers else f"{self.path}/c"


def read_array_metadata(root: StorePath, path: str) -> ArrayMetadata:
    """Read and check the metadata of an array.

    Raises
    ------
    LayoutError
        If there is no such array, or its metadata break the format or hold what must be understood
        and is not.
    DataReadError
        If they cannot be read.
    """
    return parse_array_metadata(f"{root}/{path}", path, read_metadata(root, path, "array"))


def parse_array_metadata(name: str, path: str, content: bytes) -> ArrayMetadata:
    """Parse and check the metadata of an array.

    Parameters
    ----------
    name : str
        Name of the array in messages.
    path : str
        Its path in the store.
    content : bytes
        The metadata, as :func:`read_metadata` reads them.

    Raises
    ------
    LayoutError
        If they are of no array, break the format, or hold what must be understood and is not.
    """
    document = _parse_document(name, "array", content)
    try:
        return _parse_array(name, path, document)
    except Exception as error:  # whatever JSON may hold
        raise describe_failed_opening(name, error) from error


def describe_failed_opening(name: str, error: Exception) -> LayoutError:
    """Return the error for an array that cannot be opened."""
    return LayoutError(f"{name} cannot be opened as an array: {type(error).__name__}: {error}")


def _parse_array(name: str, path: str, document: Mapping[str, Any]) -> ArrayMetadata:
    _refuse_unknown(document, _ARRAY_FIELDS)
    for field, known in (("chunk_grid", ("regular",)), ("chunk_key_encoding", tuple(_SEPARATORS))):
        if (found := document[field]["name"]) not in known:
            raise ValueError(f"its {field} is {found}, expected {' or '.join(known)}")
    shape, chunks = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
    _refuse_shapes(shape, chunks)
    codecs = document["codecs"]
    if not isinstance(codecs, list) or not codecs or not all(isinstance(c, dict) and "name" in c for c in codecs):
        raise ValueError(f"its codecs are {codecs!r:.80}, expected a list of mappings with a name each")
    index = ShardIndex.from_metadata(codecs, tuple(chunks))
    inner = tuple(n // k for n, k in zip(chunks, index.grid, strict=True)) if index else tuple(chunks)
    _refuse_sizes(shape, chunks, inner, document["data_type"])
    encoding = document["chunk_key_encoding"]
    return ArrayMetadata(
        name=name,
        path=path,
        shape=tuple(shape),
        chunks=tuple(chunks),
        inner_chunks=inner,
        data_type=document["data_type"],
        fill_value=_parse_fill_value(document["fill_value"], document["data_type"]),
        codecs=codecs,
        shard_index=index,
        key_encoding=encoding["name"],
        separator=_find_separator(encoding),
        dimension_names=_parse_dimension_names(document.get("dimension_names"), len(shape)),
        attributes=document["attributes"],
    )


def _refuse_unknown(document: Mapping[str, Any], known: set[str]) -> None:
    """Refuse what the format says a reader must understand."""
    unknown = [
        name
        for name, value in document.items()
        if name not in known and not (isinstance(value, dict) and value.get("must_understand") is False)
    ]
    if document.get("storage_transformers"):
        unknown.append("storage_transformers")
    if unknown:
        raise ValueError(f"its metadata hold {', '.join(unknown)}, expected none that must be understood")


def _refuse_shapes(shape: Any, chunks: Any) -> None:
    """Refuse shapes that no array has."""
    lists = isinstance(shape, list) and isinstance(chunks, list)
    whole = lists and {*map(type, shape), *map(type, chunks)} <= {int}
    if not whole or len(shape) != len(chunks) or min(shape, default=0) < 0 or min(chunks, default=1) < 1:
        found, units = (tuple(axes) if isinstance(axes, list) else axes for axes in (shape, chunks))
        raise ValueError(f"its shape is {found} and that of its chunks {units}, expected as many numbers, above 0")


def _refuse_sizes(shape: Sequence[int], chunks: Sequence[int], inner: tuple[int, ...], data_type: Any) -> None:
    """Refuse sizes that no observation has, before anything loops over them or takes the memory."""
    grids = {
        f"its shape is {tuple(shape)} and that of its chunks {tuple(chunks)}": (shape, chunks),
        f"its shards have the shape {tuple(chunks)} and their chunks {inner}": (chunks, inner),
    }
    for found, (whole, part) in grids.items():
        number = math.prod(-(-n // c) for n, c in zip(whole, part, strict=True))
        if number > MOST_CHUNKS:
            raise ValueError(f"{found}, which makes {number} chunks, expected at most {MOST_CHUNKS}")
    itemsize = np.dtype(data_type).itemsize if isinstance(data_type, str) and data_type in NUMBERS else _ITEMSIZE
    size = math.prod(inner) * itemsize
    if size > LARGEST_CHUNK:
        raise ValueError(f"its chunks of shape {inner} have {size} bytes each, expected at most {LARGEST_CHUNK}")


def _find_separator(encoding: Mapping[str, Any]) -> str:
    settings = encoding.get("configuration", {})
    separator = settings.get("separator", _SEPARATORS[encoding["name"]])
    if separator not in ("/", ".") or settings.keys() - {"separator"}:
        raise ValueError(f"its chunk_key_encoding is configured with {dict(settings)}, expected a separator / or .")
    return str(separator)


def _parse_dimension_names(names: Any, n_axes: int) -> Sequence[str | None] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(name is None or isinstance(name, str) for name in names):
        raise ValueError(f"its dimension_names are {names!r:.80}, expected a list of names")
    if len(names) != n_axes:
        raise ValueError(f"it has {len(names)} dimension_names, expected {n_axes}")
    return names


def _parse_fill_value(fill: Any, data_type: Any) -> Any:
    """Parse a fill value from its JSON form; leave that of a type left to zarr."""
    if data_type == TEXT and not isinstance(fill, str):
        raise ValueError(f"fill_value is {fill!r}, expected text")
    if not isinstance(data_type, str) or data_type not in NUMBERS:
        return fill
    if isinstance(fill, bool) or not isinstance(fill, (int, float, str)):
        raise ValueError(f"fill_value is {fill!r}, expected a number")
    dtype = np.dtype(data_type)
    number = _parse_float(fill, dtype) if dtype.kind == "f" else fill
    if dtype.kind != "f" and (not isinstance(fill, int) or not np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max):
        raise ValueError(f"fill_value is {fill!r}, expected one of type {dtype}")
    return number


def _parse_float(fill: Any, dtype: np.dtype[Any]) -> float:
    """Parse a float: a number, a name, or its bytes as a hexadecimal number."""
    if isinstance(fill, str):
        if fill in _NAMED_FLOATS:
            return _NAMED_FLOATS[fill]
        if not fill.startswith("0x") or len(fill) != 2 + 2 * dtype.itemsize:
            raise ValueError(
                f"fill_value is {fill!r}, expected a number, NaN, Infinity, -Infinity or 0x and the "
                f"{2 * dtype.itemsize} digits of a {dtype}"
            )
        return float(np.frombuffer(bytes.fromhex(fill[2:]), dtype.newbyteorder(">"))[0])
    if math.isfinite(fill) and abs(fill) > float(np.finfo(dtype).max):
        raise ValueError(f"fill_value is {fill!r:.40}, expected one of type {dtype}")
    return float(fill)


def read_metadata(root: StorePath, path: str, kind: str) -> bytes:
    """Read the bytes of the metadata of an array or group.

    Parameters
    ----------
    root : StorePath
        The store.
    path : str
        Path of the array or group in it.
    kind : {"array", "group"}
        Word for it in messages.

    Raises
    ------
    LayoutError
        If there are none.
    DataReadError
        If they cannot be read.
    """
    where = f"{root}/{path}" if path else str(root)
    try:
        content = root.get(f"{path}/zarr.json" if path else "zarr.json")
    except OSError as error:
        raise DataReadError(f"{where}/zarr.json cannot be read: {type(error).__name__}: {error}") from error
    if content is None:
        raise LayoutError(
            f"{where} cannot be opened as {'an array' if kind == 'array' else 'a group'}: no zarr.json in it"
        )
    return content


def _parse_document(where: str, kind: str, content: bytes) -> dict[str, Any]:
    """Parse the metadata of an array or group, with attributes."""
    try:
        document: dict[str, Any] = json.loads(content)
        found, attributes = document["node_type"], document.get("attributes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LayoutError(f"{where}/zarr.json cannot be read: {type(error).__name__}: {error}") from error
    if found != kind:
        raise LayoutError(f"{where} is of type {found}, expected {kind}")
    if document.get("zarr_format") != 3:
        raise LayoutError(f"{where}/zarr.json: zarr_format is {document.get('zarr_format')!r}, expected 3")
    if not isinstance(attributes, dict):
        if attributes is not None:
            raise LayoutError(f"{where}/zarr.json: attributes are {attributes!r:.80}, expected a mapping")
        document["attributes"] = {}
    return document


def read_group_attributes(root: StorePath, path: str) -> dict[str, Any]:
    """Read the attributes of a group.

    Raises
    ------
    LayoutError
        If there is no such group, or its metadata hold what must be understood and is not.
    DataReadError
        If its metadata cannot be read.
    """
    where = f"{root}/{path}" if path else str(root)
    document = _parse_document(where, "group", read_metadata(root, path, "group"))
    try:
        _refuse_unknown(document, _GROUP_FIELDS)
    except ValueError as error:
        raise LayoutError(f"{where} cannot be opened as a group: {error}") from error
    return dict(document["attributes"])


def write_group(root: StorePath, path: str, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a group, which makes it one."""
    root.put(f"{path}/zarr.json" if path else "zarr.json", make_group(attributes))


def make_group(attributes: Mapping[str, Any]) -> bytes:
    """Make the metadata of a group."""
    return encode_document({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Encode the metadata of an array or group."""
    return json.dumps(document, allow_nan=False).encode()
