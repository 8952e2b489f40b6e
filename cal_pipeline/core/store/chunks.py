"""Zarr v3 arrays chunk by chunk, straight through their codecs, without zarr-python's overhead."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc, GZip, VLenUTF8, Zstd
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError, LayoutError
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.shards import ShardIndex
from cal_pipeline.core.text import count_of

TEXT = "string"
"""Type of arrays of variable-length strings."""

Codec = Mapping[str, Any]
"""A codec as it stands in the metadata of an array."""

ZSTD: Codec = {"name": "zstd", "configuration": {"level": -1, "checksum": True}}
"""For integers, flags and text."""


def _lz4(itemsize: int) -> tuple[Codec, ...]:
    """For floats.

    Noise gets 8 % smaller, where zstd's fast levels, as slow, leave it as it is; rounded noise 4 to
    5 times; smooth arrays take a third of the time. Blosc has no checksum of its own.
    """
    settings = {"cname": "lz4", "clevel": 1, "shuffle": "bitshuffle", "typesize": itemsize, "blocksize": 0}
    return {"name": "blosc", "configuration": settings}, {"name": "crc32c"}


def _without_crc(data: Any) -> Any:
    """Verify and strip the CRC-32C checksum behind a chunk."""
    view = memoryview(data).cast("B")
    payload, stored = view[:-4], int.from_bytes(view[-4:], "little")
    if google_crc32c.value(bytes(payload)) != stored:
        raise ValueError("the checksum of a chunk does not agree with its bytes")
    return payload


def _crc(payload: bytes) -> bytes:
    return int(google_crc32c.value(payload)).to_bytes(4, "little")


def _with_crc(data: Any) -> bytes:
    payload = bytes(data)
    return payload + _crc(payload)


_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


def _bytes_codec(codec: Codec) -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """Return the encoder and decoder of a bytes codec; None for a codec left to zarr."""
    settings = codec.get("configuration", {})
    name = codec["name"]
    if name == "zstd":
        zstd = Zstd(level=settings.get("level", 0), checksum=settings.get("checksum", False))
        return zstd.encode, zstd.decode
    if name == "gzip":
        gzip = GZip(level=settings.get("level", 5))
        return gzip.encode, gzip.decode
    if name == "blosc":
        shuffle = _SHUFFLES[settings.get("shuffle", "noshuffle")]
        blosc = Blosc(settings["cname"], settings["clevel"], shuffle, settings.get("blocksize", 0))
        return blosc.encode, blosc.decode
    if name == "crc32c":
        return _with_crc, _without_crc
    return None


class ZarrArray:
    """An array of a Zarr v3 store, to read.

    Parameters
    ----------
    root : StorePath
        The store.
    path : str
        Path of the array in it.

    Attributes
    ----------
    shape, chunks : tuple of int
        Shape of the array, and of its storage unit (a chunk, or a shard of a sharded array).
    dtype : numpy.dtype or str
        Type of its elements; ``"string"`` for text.
    fill_value : object
        Value of chunks that are not stored.
    attributes : dict
        Its attributes.

    Raises
    ------
    LayoutError
        If it cannot be opened as such.
    DataReadError
        If its metadata cannot be read.
    """

    def __init__(self, root: StorePath, path: str) -> None:
        self.name = f"{root}/{path}"
        self._place, self._path = root, path
        metadata = _metadata(root, path, "array")
        try:
            _refuse_unknown(metadata)
            self.shape = tuple(int(n) for n in metadata["shape"])
            self.chunks = tuple(int(n) for n in metadata["chunk_grid"]["configuration"]["chunk_shape"])
            _refuse_shapes(self.shape, self.chunks)
            self._dims = metadata.get("dimension_names")
            self.attributes: dict[str, Any] = metadata.get("attributes", {})
            encoding = metadata["chunk_key_encoding"]
            separator = encoding.get("configuration", {}).get(
                "separator", "/" if encoding["name"] == "default" else "."
            )
            self._key_start = f"{path}/c" if encoding["name"] == "default" else path
            self._separator = separator
            self._decoders = _decoders(metadata)
            self._shard_index = ShardIndex.from_metadata(metadata["codecs"], self.chunks)
            self._open_with_zarr(metadata)
        except Exception as error:  # zarr and its codecs raise what they like
            raise LayoutError(f"{self.name} cannot be opened as an array: {type(error).__name__}: {error}") from error

    def _open_with_zarr(self, metadata: Mapping[str, Any]) -> None:
        """Set type and fill value; leave arrays with codecs unknown here to zarr."""
        kind = metadata["data_type"]
        self._zarr: zarr.Array[Any] | None = None
        self.inner_chunks = self.chunks
        if self._decoders is None or not isinstance(kind, str):
            array = zarr.open_array(self._place.as_zarr(), path=self._path, mode="r")
            self._zarr = array
            self.inner_chunks = array.chunks
            self.dtype: Any = TEXT if array.dtype.kind in "TUO" else array.dtype
            self.fill_value: Any = array.fill_value
            return
        self.dtype = TEXT if kind == TEXT else np.dtype(kind)
        self.fill_value = metadata["fill_value"] if kind == TEXT else _fill_value(metadata["fill_value"], self.dtype)

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
        if not isinstance(self._dims, list):
            return
        found = [str(name).lower() for name in self._dims]
        for names in (list(axes), [axis[0] for axis in axes]):
            if found != names and sorted(found) == sorted(names):
                raise LayoutError(
                    f"{self.name}: dimension_names are {', '.join(found)}, expected {', '.join(names)}; transpose it"
                )

    def _key(self, index: Sequence[int]) -> str:
        numbers = self._separator.join(str(i) for i in index)
        if self._key_start == self._path:
            return f"{self._path}/{numbers or '0'}"
        return f"{self._key_start}{self._separator}{numbers}" if numbers else self._key_start

    def has_chunk(self, index: Sequence[int]) -> bool:
        """Tell whether a chunk is stored."""
        return self._place.exists(self._key(index))

    def absent_chunks(self) -> list[tuple[slice, ...]]:
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
        grid = itertools.product(*(range(-(-n // chunk)) for n, chunk in zip(self.shape, self.chunks, strict=True)))
        return list(itertools.chain.from_iterable(self._place.each(self._absent_of, grid)))

    def _absent_of(self, index: tuple[int, ...]) -> list[tuple[slice, ...]]:
        """List the parts of one chunk or shard that are not stored."""
        start = [i * n for i, n in zip(index, self.chunks, strict=True)]
        if self._shard_index is None:
            return [] if self.has_chunk(index) else [_region(start, self.chunks)]
        key = self._key(index)
        inner = self._shard_index.find_absent(lambda first, length: self._place.get_part(key, first, length))
        if inner is None:
            return [_region(start, self.chunks)]
        chunks = self.inner_chunks
        found = [[a + i * n for a, i, n in zip(start, root, chunks, strict=True)] for root in inner]
        # Inner chunks beyond the end of an axis are never stored.
        return [_region(low, chunks) for low in found if all(a < n for a, n in zip(low, self.shape, strict=True))]

    def read_chunk(self, index: Sequence[int]) -> NDArray[Any]:
        """Read a whole chunk, full-sized even at the end of an axis; the fill value if not stored.

        Raises
        ------
        ValueError, RuntimeError
            If it does not decode.
        """
        data: Any = self._place.get(self._key(index))
        if data is None:
            return np.full(self.chunks, self.fill_value, object if self.dtype == TEXT else self.dtype)
        assert self._decoders is not None
        for decode in self._decoders:
            data = decode(data)
        array = np.asarray(data) if isinstance(data, np.ndarray) else np.frombuffer(data, self.dtype)
        if array.size != int(np.prod(self.chunks)):
            raise ValueError(f"a chunk holds {count_of(array.size, 'value')}, expected {self.chunks}")
        return array.reshape(self.chunks)

    def read(self, selection: tuple[slice, ...] | None = None) -> NDArray[Any]:
        """Read a part of the array, or all of it.

        Parameters
        ----------
        selection : tuple of slice, optional
            One for each axis, without a step.

        Raises
        ------
        ValueError, RuntimeError, OSError
            If it cannot be read.
        """
        ranges = [s.indices(n)[:2] for s, n in zip(selection or (slice(None),) * self.ndim, self.shape, strict=True)]
        if self._zarr is not None:
            return np.asarray(self._zarr[tuple(slice(*r) for r in ranges)])
        grid = [range(a // c, -(-b // c)) for (a, b), c in zip(ranges, self.chunks, strict=True)]
        whole = [a % c == 0 and b - a == c for (a, b), c in zip(ranges, self.chunks, strict=True)]
        if all(whole):
            return self.read_chunk([g[0] for g in grid])
        out = np.empty([b - a for a, b in ranges], object if self.dtype == TEXT else self.dtype)
        for index in itertools.product(*grid):
            into, of = [], []
            for i, (a, b), c in zip(index, ranges, self.chunks, strict=True):
                low, high = max(a, i * c), min(b, (i + 1) * c)
                into.append(slice(low - a, high - a))
                of.append(slice(low - i * c, high - i * c))
            out[tuple(into)] = self.read_chunk(index)[tuple(of)]
        return out


def _region(start: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))


def _refuse_shapes(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    """Refuse shapes that no array has."""
    if len(shape) != len(chunks) or min(shape, default=0) < 0 or min(chunks, default=1) < 1:
        raise ValueError(f"its shape is {shape} and that of its chunks {chunks}, expected as many numbers, above 0")


_FIELDS = {"zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value"}
_FIELDS |= {"codecs", "attributes", "dimension_names", "storage_transformers"}


def _refuse_unknown(metadata: Mapping[str, Any]) -> None:
    """Refuse what the format says a reader must understand."""
    unknown = [
        name
        for name, value in metadata.items()
        if name not in _FIELDS and not (isinstance(value, dict) and value.get("must_understand") is False)
    ]
    if metadata.get("storage_transformers"):
        unknown.append("storage_transformers")
    if unknown:
        raise ValueError(f"its metadata hold {', '.join(unknown)}, expected none that must be understood")
    for field, known in (("chunk_grid", ("regular",)), ("chunk_key_encoding", ("default", "v2"))):
        if (found := metadata[field]["name"]) not in known:
            raise ValueError(f"its {field} is {found}, expected {' or '.join(known)}")


def _fill_value(fill: Any, dtype: np.dtype[Any]) -> int | float:
    """Parse the fill value of an array of numbers from its JSON form."""
    if isinstance(fill, bool) or not isinstance(fill, (int, float, str)):
        raise ValueError(f"fill_value is {fill!r}, expected a number")
    if isinstance(fill, str) and fill.startswith("0x") and dtype.kind == "f":
        return float(np.frombuffer(bytes.fromhex(fill[2:]), dtype.newbyteorder(">"))[0])
    if dtype.kind == "f":
        return float(fill)
    if not isinstance(fill, int) or np.array(fill).astype(dtype) != fill:
        raise ValueError(f"fill_value is {fill!r}, expected one of type {dtype}")
    return fill


def _decoders(metadata: Mapping[str, Any]) -> list[Callable[[Any], Any]] | None:
    """Return the decoders to apply to the bytes of a chunk, in order; None if left to zarr."""
    first, *others = metadata["codecs"]
    chain = [_bytes_codec(codec) for codec in others]
    if any(codec is None for codec in chain):
        return None
    decoders = [codec[1] for codec in reversed(chain) if codec is not None]
    if first["name"] == "vlen-utf8":
        return [*decoders, VLenUTF8().decode]
    if first["name"] == "bytes" and metadata["chunk_grid"]["name"] == "regular":
        endian = first.get("configuration", {}).get("endian", "little")
        kind = metadata["data_type"]
        if endian == "little" and isinstance(kind, str) and kind in _NUMBERS:
            return decoders
    return None


_NUMBERS = frozenset(
    f"{kind}{bits}"
    for kind, sizes in {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (32, 64)}.items()
    for bits in sizes
)


def _metadata(root: StorePath, path: str, kind: str) -> dict[str, Any]:
    where = f"{root}/{path}" if path else str(root)
    try:
        content = root.get(f"{path}/zarr.json" if path else "zarr.json")
    except OSError as error:
        raise DataReadError(f"{where}/zarr.json cannot be read: {type(error).__name__}: {error}") from error
    if content is None:
        raise LayoutError(
            f"{where} cannot be opened as {'an array' if kind == 'array' else 'a group'}: no zarr.json in it"
        )
    try:
        metadata: dict[str, Any] = json.loads(content)
        found, attributes = metadata["node_type"], metadata.get("attributes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LayoutError(f"{where}/zarr.json cannot be read: {type(error).__name__}: {error}") from error
    if found != kind:
        raise LayoutError(f"{where} is of type {found}, expected {kind}")
    if not isinstance(attributes, dict):
        if attributes is not None:
            raise LayoutError(f"{where}/zarr.json: attributes are {attributes!r:.80}, expected a mapping")
        metadata["attributes"] = {}
    return metadata


def group_attributes(root: StorePath, path: str) -> dict[str, Any]:
    """Read the attributes of a group.

    Raises
    ------
    LayoutError
        If there is no such group.
    """
    return dict(_metadata(root, path, "group").get("attributes", {}))


def write_group(root: StorePath, path: str, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a group, which makes it one."""
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    key = f"{path}/zarr.json" if path else "zarr.json"
    root.put(key, json.dumps(metadata, allow_nan=False).encode())


def chunk_name(index: Sequence[int]) -> str:
    """Return the key of a chunk of an :class:`ArrayWriter`, below the path of its array."""
    return ".".join(["c", *map(str, index)])


class ArrayWriter:
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
    ) -> None:
        self.shape, self.chunks, self.path = shape, chunks, path
        self._place = root
        self._zeros: tuple[bytes, ...] | None = None
        text = dtype == "str"
        self._dtype: Any = object if text else np.dtype(dtype).newbyteorder("<")
        kind = "T" if text else np.dtype(dtype).kind
        self._fill: Any = {"f": np.nan, "u": 0, "i": 0, "T": ""}[kind]
        first = {"name": "vlen-utf8"} if text else {"name": "bytes", "configuration": {"endian": "little"}}
        codecs: tuple[Codec, ...] = _lz4(np.dtype(dtype).itemsize) if kind == "f" else (ZSTD,)
        chain = [_bytes_codec(codec) for codec in codecs]
        self._encoders: list[Callable[[Any], Any]] = [codec[0] for codec in chain if codec is not None]
        if text:
            self._encoders.insert(0, VLenUTF8().encode)
        self._ends_in_crc = codecs[-1]["name"] == "crc32c"
        if self._ends_in_crc:
            self._encoders.pop()
        metadata = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": TEXT if text else dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
            # A file for each chunk beside the metadata; folders would cost a small scan more than its numbers.
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": "NaN" if kind == "f" else self._fill,
            "codecs": [first, *codecs],
            "attributes": dict(attributes),
            "dimension_names": list(dims),
            "storage_transformers": [],
        }
        root.put(f"{path}/zarr.json", json.dumps(metadata, allow_nan=False).encode())

    @property
    def n_chunks(self) -> int:
        """Number of chunks of the array."""
        return int(np.prod([-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)]))

    def write_zeros(self, index: Sequence[int]) -> None:
        """Write a chunk of zeros; it is encoded once."""
        if self._zeros is None:
            self._zeros = self._encoded(np.zeros(self.chunks, self._dtype))
        self._place.put(self._key(index), *self._zeros)

    def write_chunk(self, index: Sequence[int], values: NDArray[Any]) -> None:
        """Encode and write a chunk; at the end of an axis the rest of it is filled up.

        Values beyond the range of the array's type become infinite.
        """
        data: Any = values
        with np.errstate(over="ignore"):
            if values.shape != self.chunks:
                data = np.full(self.chunks, self._fill, self._dtype)
                data[tuple(slice(n) for n in values.shape)] = values
            data = np.ascontiguousarray(data, self._dtype)
        self._place.put(self._key(index), *self._encoded(data))

    def _key(self, index: Sequence[int]) -> str:
        return f"{self.path}/{chunk_name(index)}"

    def _encoded(self, data: Any) -> tuple[bytes, ...]:
        """Encode a chunk to bytes; a checksum is a second piece, since joining would copy."""
        for encode in self._encoders:
            data = encode(data)
        payload = data if isinstance(data, bytes) else bytes(data)
        return (payload, _crc(payload)) if self._ends_in_crc else (payload,)

    def write(self, values: NDArray[Any]) -> None:
        """Write the whole array."""
        for index in self.indices():
            part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, self.chunks, strict=True))
            self.write_chunk(index, np.asarray(values[part]))

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield the index of every chunk of the array."""
        return itertools.product(*(range(-(-n // c)) for n, c in zip(self.shape, self.chunks, strict=True)))
