"""Verification of what was written: read back, decoded and compared with what was in memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import ReadBackError
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.interface import ArrayReader, each_index
from cal_pipeline.core.store.paths import StorePath


class WitnessedStorePath(StorePath):
    """A place that remembers checksums of all that is written to it and below.

    Parameters
    ----------
    inner : StorePath
        The place.

    Examples
    --------
    >>> from cal_pipeline.core.store.opening import open_store
    >>> place = WitnessedStorePath(open_store("verified.zarr"))
    >>> place.put("notes.txt", b"as written")
    >>> place.verify()
    >>> open_store("verified.zarr").put("notes.txt", b"as written?")
    >>> try:
    ...     place.verify()
    ... except ReadBackError as error:
    ...     print("notes.txt reads back differently" in str(error))
    True
    """

    is_witnessed = True

    def __init__(self, inner: StorePath, top: WitnessedStorePath | None = None, prefix: str = "") -> None:
        self.name = inner.name
        self._inner, self._prefix = inner, prefix
        self._top = top or self
        self._objects: dict[str, int] = {}
        self._chunks: dict[tuple[str, tuple[int, ...]], int] = {}

    def get(self, key: str) -> bytes | None:
        """Read the bytes of a key; None if absent."""
        return self._inner.get(key)

    def put(self, key: str, *data: bytes) -> None:
        """Write the bytes of a key."""
        self._inner.put(key, *data)
        # Chunks are compared after decoding: their bytes say nothing of what the encoder was given.
        if key.rpartition("/")[2].partition(".")[0] != "c":
            checksum = 0
            for piece in data:
                checksum = zlib.crc32(piece, checksum)
            self._top._objects[self._prefix + key] = checksum

    def note_chunk(self, path: str, index: tuple[int, ...], values: NDArray[Any]) -> None:
        """Remember the checksum of a chunk that is written, full-sized."""
        self._top._chunks[self._prefix + path, index] = _checksum(values)

    def exists(self, key: str) -> bool:
        """Tell whether there are bytes for a key."""
        return self._inner.exists(key)

    def members(self, key: str = "") -> list[str]:
        """List the names directly below a key."""
        return self._inner.members(key)

    def walk(self) -> Iterator[str]:
        """Yield the keys of all stored bytes."""
        return self._inner.walk()

    def delete(self, key: str) -> None:
        """Delete the bytes of a key, if there are any."""
        self._inner.delete(key)
        self._top._objects.pop(self._prefix + key, None)

    def remove(self) -> None:
        """Remove all stored bytes."""
        self._inner.remove()

    def make_durable(self) -> None:
        """Wait until all written bytes survive a loss of power (fsync)."""
        self._inner.make_durable()

    def child(self, key: str) -> WitnessedStorePath:
        """Return the place below a key, which reports to this one."""
        return WitnessedStorePath(self._inner.child(key), self._top, f"{self._prefix}{key}/")

    def as_zarr(self) -> Any:
        """Return the object or path that zarr and xarray can open."""
        return self._inner.as_zarr()

    def verify(self) -> None:
        """Read everything back that was written, and compare.

        Raises
        ------
        ReadBackError
            If an object or the values of a chunk are not those that were written.
        """
        for key, written in self._objects.items():
            self._inner.drop_cached(key)
            data = self._inner.get(key)
            self._compare(key, None if data is None else zlib.crc32(data), written)
        readers = {path: open_reader(self._inner, path) for path in {path for path, _ in self._chunks}}
        samples = sum(reader.size for reader in readers.values())
        map_in_threads(lambda item: self._verify_chunk(readers[item[0][0]], *item), self._chunks.items(), samples)

    def _verify_chunk(self, reader: ArrayReader, chunk: tuple[str, tuple[int, ...]], written: int) -> None:
        path, index = chunk
        key = reader.chunk_key(index)
        self._inner.drop_cached(key)
        try:
            found = _checksum(reader.read_chunk(index))
        except (ValueError, RuntimeError, OSError) as error:
            raise ReadBackError(
                f"{self.name}/{key} does not read back: {type(error).__name__}: {error}; expected the chunk of {path} "
                "that was written; look for a failing disk or memory"
            ) from error
        self._compare(key, found, written)

    def _compare(self, key: str, found: int | None, written: int) -> None:
        if found != written:
            what = "is gone" if found is None else f"reads back differently (CRC-32 {found:08x})"
            raise ReadBackError(
                f"{self.name}/{key} {what}, expected what was written (CRC-32 {written:08x}); look for a failing disk "
                "or memory"
            )


def decode_all(group: StorePath) -> None:
    """Read and decode every chunk of every array below a group.

    Raises
    ------
    ReadBackError
        If one does not decode.
    """
    paths = [key.removesuffix("/zarr.json") for key in group.walk() if key.endswith("/zarr.json")]
    arrays = [path for path in paths if json.loads(group.get(f"{path}/zarr.json") or b"{}")["node_type"] == "array"]
    readers = [open_reader(group, path) for path in arrays]

    def decode(chunk: tuple[ArrayReader, tuple[int, ...]]) -> None:
        reader, index = chunk
        key = reader.chunk_key(index)
        group.drop_cached(key)
        try:
            reader.read_chunk(index)
        except (ValueError, RuntimeError, OSError) as error:
            raise ReadBackError(f"{group}/{key} does not read back: {type(error).__name__}: {error}") from error

    chunks = [(reader, index) for reader in readers for index in each_index(reader.shape, reader.chunks)]
    map_in_threads(decode, chunks, sum(reader.size for reader in readers))


def _checksum(values: NDArray[Any]) -> int:
    if values.dtype.kind == "O":
        return zlib.crc32("\0".join(map(str, values.ravel().tolist())).encode())
    return zlib.crc32(np.ascontiguousarray(values).data)
