"""Arrays chunk by chunk straight through their codecs, without zarr-python's overhead."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from numcodecs import VLenUTF8
from numpy.typing import NDArray

from cal_pipeline.core.store.codecs import Codec, Function, compute_crc, find_bytes_codecs, holds_only, usual_codecs
from cal_pipeline.core.store.interface import ArrayReader, ArrayWriter, chunk_name, name_type
from cal_pipeline.core.store.metadata import NUMBERS, TEXT, ArrayMetadata, encode_document
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count


def find_decoders(metadata: ArrayMetadata) -> list[Function] | None:
    """Return the decoders to apply to the bytes of a chunk, in order.

    None unless type and codecs are exactly what is known here: little-endian numbers or text, and
    codecs of bytes with known settings.
    """
    first, *others = metadata.codecs
    chain = find_bytes_codecs(others)
    kind = metadata.data_type
    if chain is None or not isinstance(kind, str):
        return None
    decoders = [decode for _, decode in reversed(chain)]
    if kind == TEXT and first["name"] == "vlen-utf8" and holds_only(first, {}):
        return [*decoders, partial(_decode_text, metadata.chunks)]
    if kind not in NUMBERS or first["name"] != "bytes" or not holds_only(first, {"endian": "little".__eq__}):
        return None
    return decoders if "configuration" in first or np.dtype(kind).itemsize == 1 else None


def _decode_text(chunks: tuple[int, ...], data: Any) -> Any:
    """Decode text, unless its header tells of another number: memory is taken for as many as it says."""
    number = int.from_bytes(memoryview(data).cast("B")[:4], "little")
    if number != math.prod(chunks):
        raise ValueError(f"a chunk holds {format_count(number, 'text')}, expected {chunks}")
    return VLenUTF8().decode(data)


class DirectReader(ArrayReader):
    """An array whose chunks are decoded here.

    Parameters
    ----------
    root : StorePath
        The store.
    metadata : ArrayMetadata
        Metadata of the array.
    decoders : list of callable
        Decoders of its chunks, from :func:`find_decoders`.
    """

    def __init__(self, root: StorePath, metadata: ArrayMetadata, decoders: list[Function]) -> None:
        super().__init__(root, metadata)
        self._decoders = decoders
        self.dtype = TEXT if metadata.data_type == TEXT else np.dtype(metadata.data_type)
        self.fill_value = metadata.fill_value

    def read_chunk(self, index: Sequence[int]) -> NDArray[Any]:
        """Read a whole chunk, full-sized even at the end of an axis; the fill value if not stored.

        Raises
        ------
        ValueError, RuntimeError
            If it does not decode.
        """
        found = self._decode(index)
        if found is None:
            return np.full(self.chunks, self.fill_value, object if self.dtype == TEXT else self.dtype)
        return found

    def _decode(self, index: Sequence[int]) -> NDArray[Any] | None:
        """Read and decode a chunk; None if not stored."""
        data: Any = self._root.get(self.chunk_key(index))
        if data is None:
            return None
        expected = math.prod(self.chunks)
        try:
            for decode in self._decoders:
                data = decode(data)
        except MemoryError as error:
            # A damaged header asks for more than there is.
            raise ValueError(f"a chunk takes more memory than there is, expected {self.chunks}") from error
        array = np.asarray(data) if isinstance(data, np.ndarray) else np.frombuffer(data, self.dtype)
        if array.size != expected:
            raise ValueError(f"a chunk holds {format_count(array.size, 'value')}, expected {self.chunks}")
        return array.reshape(self.chunks)

    def _read(self, ranges: list[tuple[int, int]]) -> NDArray[Any]:
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
            found = self._decode(index)
            out[tuple(into)] = self.fill_value if found is None else found[tuple(of)]
        return out


_ALIKE = 512
"""Number of metadata that are kept encoded: most arrays have the same ones in each observation."""


def _make_document(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    data_type: str,
    fill: Any,
    codecs: Sequence[Codec],
    dims: tuple[str, ...],
    attributes: tuple[tuple[str, Any], ...],
) -> bytes:
    """Make the metadata of an array."""
    first = {"name": "vlen-utf8"} if data_type == TEXT else {"name": "bytes", "configuration": {"endian": "little"}}
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        # A file for each chunk beside the metadata; folders would cost a small observation more than its numbers.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": "NaN" if fill != fill else fill,
        "codecs": [first, *codecs],
        "attributes": dict(attributes),
        "dimension_names": list(dims),
        "storage_transformers": [],
    }
    return encode_document(document)


@lru_cache(_ALIKE)
def _usual_document(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    fill: Any,
    dims: tuple[str, ...],
    attributes: tuple[tuple[str, str], ...],
) -> bytes:
    """Make the metadata of an array with the usual codecs, once for all that are alike."""
    return _make_document(shape, chunks, name_type(dtype), fill, usual_codecs(dtype), dims, attributes)


def _find_encoders(codecs: Sequence[Codec], is_text: bool) -> tuple[list[Function], bool]:
    encoders = [encode for encode, _ in find_bytes_codecs(codecs) or ()]
    if is_text:
        encoders.insert(0, VLenUTF8().encode)
    ends_in_crc = codecs[-1]["name"] == "crc32c"
    return (encoders[:-1] if ends_in_crc else encoders), ends_in_crc


@cache
def _usual_encoders(dtype: np.dtype[Any]) -> tuple[list[Function], bool]:
    return _find_encoders(usual_codecs(dtype), dtype.kind == "O")


class DirectWriter(ArrayWriter):
    """An array whose chunks are encoded here."""

    def _create(self, dims: tuple[str, ...], attributes: Mapping[str, Any]) -> None:
        self._alike: dict[Hashable, tuple[bytes, ...]] = {}
        self._encoders, self._ends_in_crc = self._find_encoders()
        self._root.put(f"{self.path}/zarr.json", self._document(dims, tuple(attributes.items())))

    def _document(self, dims: tuple[str, ...], attributes: tuple[tuple[str, Any], ...]) -> bytes:
        """Make the metadata; those that are a matter of the schema once for all arrays that are alike."""
        layout = self.shape, self.chunks
        if self._given_codecs or not all(type(value) is str for _, value in attributes):
            return _make_document(*layout, self.data_type, self._fill, self._codecs, dims, attributes)
        return _usual_document(*layout, self._dtype, self._fill, dims, attributes)

    def _find_encoders(self) -> tuple[list[Function], bool]:
        """Find the encoders of a chunk; whether a checksum follows, which is none of them."""
        if not self._given_codecs:
            return _usual_encoders(self._dtype)
        return _find_encoders(self._codecs, self._is_text)

    def write_zeros(self, index: Sequence[int]) -> None:
        """Write a chunk of zeros; it is encoded once."""
        if "zeros" not in self._alike:
            self._alike["zeros"] = self._encoded(np.zeros(self.chunks, self._dtype))
        if self._root.is_witnessed:
            self._note(index, np.zeros(self.chunks, self._dtype))
        self._root.put(self._key(index), *self._alike["zeros"])

    def write_alike(self, index: Sequence[int], key: Hashable, values: NDArray[Any]) -> None:
        """Write a chunk that equals the others of the same key; it is encoded once."""
        if key not in self._alike:
            self._alike[key] = self._encoded(self._complete(values))
        if self._root.is_witnessed:
            self._note(index, self._complete(values))
        self._root.put(self._key(index), *self._alike[key])

    def _write_whole(self, index: Sequence[int], data: NDArray[Any]) -> None:
        self._root.put(self._key(index), *self._encoded(data))

    def _key(self, index: Sequence[int]) -> str:
        return f"{self.path}/{chunk_name(index)}"

    def _encoded(self, data: Any) -> tuple[bytes, ...]:
        """Encode a chunk to bytes; a checksum is a second piece, since joining would copy."""
        for encode in self._encoders:
            data = encode(data)
        payload = data if isinstance(data, bytes) else bytes(data)
        return (payload, compute_crc(payload)) if self._ends_in_crc else (payload,)
