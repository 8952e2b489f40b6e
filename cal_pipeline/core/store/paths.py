"""Byte storage of Zarr stores: what any of them offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from numpy.typing import NDArray

Item = TypeVar("Item")
Result = TypeVar("Result")

Stamp = tuple[int, str]
"""Size of an object [bytes], and what changes when it is written again; the latter is empty if unknown."""


_MOST_DIGESTS = 2**16
"""Objects whose digests are noted at a time, of many observations."""


class StorePath(ABC):
    """Bytes by key, below some root.

    Attributes
    ----------
    name : str
        Name in messages and in the provenance.
    repeated : sequence of str
        Keys that a ZIP file holds more than once.
    """

    name: str
    repeated: Sequence[str] = ()

    _noted: dict[str, str] | None = None
    """Digests by key of what was read, where they are noted."""

    n_requests: int = 1
    """Number of concurrent requests."""

    is_witnessed = False
    """Whether chunks that are written here are noted, to compare them with what is read back."""

    def note_chunk(self, path: str, index: tuple[int, ...], values: NDArray[Any]) -> None:
        """Note the values of a chunk that is written, where chunks are witnessed."""
        return

    def note_digests(self) -> None:
        """Note from now on the digest of each object that is read here, so that :meth:`sha256` does not read it again.

        It is that of the bytes which were read last, so this is for an input, which is not written here.
        """
        if self._noted is None:
            self._noted = {}

    def _note_digest(self, key: str, data: bytes) -> None:
        """Note the digest of an object that was read, where digests are noted."""
        if self._noted is not None:
            if len(self._noted) >= _MOST_DIGESTS:
                self._noted.clear()
            self._noted[key] = hashlib.sha256(data).hexdigest()

    def _find_noted(self, key: str) -> str | None:
        """Return the digest noted of an object; None without any."""
        # Asked once: another thread may be clearing the notes.
        return None if self._noted is None else self._noted.get(key)

    def drop_cached(self, key: str) -> None:
        """Let the next reading of a key come from the device itself, where that can be asked for."""
        return

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """Read the bytes of a key; None if absent."""

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read part of the bytes of a key; fewer at its end, None if absent.

        Parameters
        ----------
        key : str
            The key.
        start : int
            First byte; counted from the end where negative.
        length : int
            Number of bytes.
        """
        data = self.get(key)
        return None if data is None else data[start:][:length]

    def get_written(self, key: str) -> bytes | None:
        """Return metadata that were written here, on high-latency stores from memory; None if absent."""
        return self.get(key)

    def sha256(self, key: str) -> str | None:
        """Compute the hexadecimal SHA-256 digest of the bytes of a key, or return the one noted; None if absent."""
        if (noted := self._find_noted(key)) is not None:
            return noted
        data = self.get(key)
        return None if data is None else hashlib.sha256(data).hexdigest()

    @abstractmethod
    def put(self, key: str, *data: bytes) -> None:
        """Write the bytes of a key, given in one piece or several."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Tell whether there are bytes for a key."""

    def forget_listings(self) -> None:
        """Forget what is remembered of the names in the store, which others may write to."""
        return

    @abstractmethod
    def members(self, key: str = "") -> list[str]:
        """List the names directly below a key."""

    @abstractmethod
    def walk(self) -> Iterator[str]:
        """Yield the keys of all stored bytes."""

    def walk_stamped(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the keys of all stored bytes with their sizes and stamps, from one listing."""
        yield from ((key, (-1, "")) for key in self.walk())

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the bytes of a key, if there are any."""

    @abstractmethod
    def remove(self) -> None:
        """Remove all stored bytes.

        Raises
        ------
        StoreError
            If something cannot be removed; the message names it.
        """

    @abstractmethod
    def make_durable(self) -> None:
        """Wait until all written bytes survive a loss of power (fsync)."""

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Read each item with a function; concurrently on high-latency stores."""
        return [read(item) for item in items]

    def read_ahead(self, keys: Iterable[str], size: int) -> AbstractContextManager[None]:
        """Read objects before they are asked for, within the block, on high-latency stores.

        Parameters
        ----------
        keys : iterable of str
            Keys of the objects, in the order in which they are going to be read.
        size : int
            Size of an object, if unknown an upper limit [bytes].
        """
        return nullcontext()

    def at_hand(self, group: str) -> AbstractContextManager[None]:
        """List a group of an input and read its small objects at once, for the block, on high-latency stores."""
        return nullcontext()

    @abstractmethod
    def child(self, key: str) -> StorePath:
        """Return the place below a key."""

    @abstractmethod
    def as_zarr(self) -> Any:
        """Return the object or path that zarr and xarray can open."""

    def __str__(self) -> str:
        return self.name
