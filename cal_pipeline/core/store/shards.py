"""Index of a Zarr v3 shard: the inner chunks that it holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

ABSENT = 2**64 - 1
"""Offset and length of an inner chunk that the shard does not hold."""

_CRC_BYTES = 4

ReadPart = Callable[[int, int], bytes | None]
"""Reads `length` bytes of a shard from `start`, which counts from the end where it is negative."""


@dataclass(frozen=True)
class ShardIndex:
    """StorePath and encoding of the index of every shard of an array.

    Parameters
    ----------
    grid : tuple of int
        Inner chunks in a shard, along each axis.
    at_start : bool
        Whether the index is at the start of a shard, else at its end.
    dtype : numpy.dtype
        Type of its numbers.
    has_crc : bool
        Whether a CRC-32C checksum follows them.
    """

    grid: tuple[int, ...]
    at_start: bool
    dtype: np.dtype[np.uint64]
    has_crc: bool

    @classmethod
    def from_metadata(cls, codecs: Sequence[Mapping[str, Any]], shard: tuple[int, ...]) -> ShardIndex | None:
        """Read the metadata of an array.

        Parameters
        ----------
        codecs : sequence of mapping
            Its codecs.
        shard : tuple of int
            Shape of a shard.

        Returns
        -------
        ShardIndex or None
            None for an array without shards.

        Raises
        ------
        ValueError
            For shards within shards, codecs beside the one of shards, and codecs of the index other
            than the usual.
        """
        names = [codec["name"] for codec in codecs]
        if "sharding_indexed" not in names:
            return None
        settings = codecs[names.index("sharding_indexed")]["configuration"]
        inner = [codec["name"] for codec in settings["codecs"]]
        if len(names) != 1 or "sharding_indexed" in inner:
            raise ValueError(
                f"its codecs are {names}, those of its inner chunks {inner}, expected sharding_indexed alone and one "
                "level of shards; move other codecs inside"
            )
        first, *others = settings["index_codecs"]
        if first["name"] != "bytes" or [codec["name"] for codec in others] not in ([], ["crc32c"]):
            found = [codec["name"] for codec in settings["index_codecs"]]
            raise ValueError(f"the codecs of its shards' index are {found}, expected bytes and perhaps crc32c")
        location = settings.get("index_location", "end")
        chunk = [int(n) for n in settings["chunk_shape"]]
        fits = len(chunk) == len(shard) and all(k > 0 and n % k == 0 for n, k in zip(shard, chunk, strict=True))
        if location not in ("start", "end") or not fits:
            raise ValueError(f"shards of shape {shard} with inner chunks {chunk} and an index at the {location}")
        order = ">" if first.get("configuration", {}).get("endian") == "big" else "<"
        grid = tuple(n // k for n, k in zip(shard, chunk, strict=True))
        return cls(grid, location == "start", np.dtype(f"{order}u8"), bool(others))

    def find_absent(self, read_part: ReadPart) -> Iterator[tuple[int, ...]] | None:
        """Find inner chunks that a shard does not hold; None where there is no such shard.

        Parameters
        ----------
        read_part : callable
            Reads some bytes of the shard.

        Returns
        -------
        iterator of tuple of int, or None
            Places in the grid of the shard.

        Raises
        ------
        ValueError
            If the index is damaged, or the shard ends before what its index names.
        """
        length = int(np.prod(self.grid)) * 16 + _CRC_BYTES * self.has_crc
        data = read_part(0 if self.at_start else -length, length)
        if data is None:
            return None
        entries = self._decode(data, length)
        held = entries[..., 0] != ABSENT
        if held.any():
            # A reader takes inner chunks beyond the end of a shard that was cut off for absent ones.
            last = int((entries[held, 0] + entries[held, 1]).max()) - 1
            if not read_part(last, 1):
                raise ValueError(f"a shard ends before byte {last}, which its index names")
        return itertools.compress(itertools.product(*map(range, self.grid)), ~held.ravel())

    def _decode(self, data: bytes, length: int) -> NDArray[np.uint64]:
        """Offsets and lengths, shape (grid, 2)."""
        if len(data) != length:
            raise ValueError(f"the index of a shard holds {len(data)} bytes, expected {length}")
        numbers = data[: length - _CRC_BYTES] if self.has_crc else data
        if self.has_crc and google_crc32c.value(numbers) != int.from_bytes(data[-_CRC_BYTES:], "little"):
            raise ValueError("the checksum of the index of a shard does not agree with its bytes")
        return np.frombuffer(numbers, self.dtype).reshape(*self.grid, 2).astype(np.uint64)
