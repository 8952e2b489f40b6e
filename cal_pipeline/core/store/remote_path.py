"""Byte storage in anything that zarr can open: an object store, a web server, a ZIP file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import PurePosixPath
from typing import Any

import zarr
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.run.threads import let_others_work
from cal_pipeline.core.store.at_hand import GroupAtHand
from cal_pipeline.core.store.drivers import CheckedStore
from cal_pipeline.core.store.event_loop import drivers_loop
from cal_pipeline.core.store.paths import Item, Result, Stamp, StorePath
from cal_pipeline.core.store.read_ahead import Fetched, ReadAhead


class RemoteStorePath(StorePath):
    """A place reached through a zarr store: an object store, a web server, a ZIP file.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    name : str
        Name in messages and in the provenance.
    prefix : str
        Key prefix of this place in the store.
    n_requests : int
        Number of concurrent requests.
    """

    def __init__(self, store: Store, name: str, prefix: str = "", n_requests: int = 32) -> None:
        self.store = store if isinstance(store, CheckedStore) else CheckedStore(store, name)
        self.name = name
        self.prefix = prefix
        self.n_requests = n_requests
        self._ahead: list[ReadAhead | GroupAtHand] = []
        self._at_hand: list[GroupAtHand] = []

    def _key(self, key: str) -> str:
        return str(PurePosixPath(self.prefix, key)) if self.prefix else key

    def forget_listings(self) -> None:
        """Forget what the driver remembers of the names in the store."""
        self.store.forget_listings()

    def _list_anew(self) -> None:
        """Forget listings of a store that is being written, which workers write to as well."""
        if not self.store.read_only:
            self.store.forget_listings()

    def get(self, key: str) -> bytes | None:
        """Read the bytes of an object; None if absent."""
        # A copy, since what is no longer needed is removed from the list meanwhile. All of them hear of it: one that
        # waited for a key which another has handed over would read no further.
        taken = [ahead.take(key) for ahead in self._ahead.copy()]
        fetched = next((future for future in taken if future is not None), None)
        fetched = drivers_loop.start(self._read(key)) if fetched is None else fetched
        if not fetched.done():
            let_others_work()
        data = fetched.result()
        if data is not None:
            self._note_digest(key, data)
        return data

    async def _read(self, key: str) -> bytes | None:
        buffer = await self.store.get(self._key(key), default_buffer_prototype())
        return None if buffer is None else buffer.to_bytes()

    @contextmanager
    def read_ahead(self, keys: Iterable[str], size: int) -> Iterator[None]:
        """Read objects before they are asked for, within the block; some tens of MB at a time."""
        if self.n_requests == 1:
            yield
            return
        ahead = ReadAhead(keys, size, self._fetch)
        self._ahead.append(ahead)
        try:
            yield
        finally:
            self._ahead.remove(ahead)
            ahead.close()

    @contextmanager
    def at_hand(self, group: str) -> Iterator[None]:
        """List a group and read its small objects at once, for the block, where others do not write to the store."""
        if self.n_requests == 1 or not self.store.read_only or not self.store.lists_whole_groups:
            yield
            return
        listed: list[tuple[str, Stamp]] = []
        with suppress(StoreError):
            listed = list(self.child(group).walk_stamped())
        hand = GroupAtHand(group, listed, self._start_unread)
        self._ahead.append(hand)
        self._at_hand.append(hand)
        try:
            yield
        finally:
            self._ahead.remove(hand)
            self._at_hand.remove(hand)
            hand.close()

    def _fetch(self, key: str) -> Fetched:
        """Start reading an object, unless it is on its way already."""
        at_hand = (hand.take(key) for hand in self._at_hand.copy())
        return next((future for future in at_hand if future is not None), None) or drivers_loop.start(self._read(key))

    def _start_unread(self, key: str) -> Fetched | None:
        """Start reading an object, unless its digest was noted, which tells that it was read before."""

        async def read() -> bytes | None:
            data = await self._read(key)
            if data is not None:
                self._note_digest(key, data)
            return data

        return None if self._find_noted(key) else drivers_loop.start(read())

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of an object; a negative start counts from its end."""
        wanted = SuffixByteRequest(-start) if start < 0 else RangeByteRequest(start, start + length)
        buffer = drivers_loop.run(self.store.get(self._key(key), default_buffer_prototype(), byte_range=wanted))
        if buffer is None:
            return None
        data = buffer.to_bytes()
        # A web server may send the whole object instead of a part.
        whole = len(data) > max(length, -start)
        return data[start:][:length] if whole else data[:length]

    def put(self, key: str, *data: bytes) -> None:
        """Write an object."""
        self.start_put(key, *data).result()

    def start_put(self, key: str, *data: bytes) -> Future[None]:
        """Start writing an object, and return its future."""
        buffer = default_buffer_prototype().buffer.from_bytes(b"".join(data))
        return drivers_loop.start(self.store.set(self._key(key), buffer))

    def exists(self, key: str) -> bool:
        """Tell whether an object exists."""
        if any(hand.holds(key) for hand in self._at_hand.copy()):
            return True
        self._list_anew()
        return bool(drivers_loop.run(self.store.exists(self._key(key))))

    def members(self, key: str = "") -> list[str]:
        """List the names of objects and folders.

        Raises
        ------
        StoreError
            If the server gives no listing of a folder that holds a group.
        """
        for hand in self._at_hand.copy():
            if known := hand.members(key):
                return known
        self._list_anew()

        async def listed() -> list[str]:
            return [name async for name in self.store.list_dir(self._key(key))]

        names = [PurePosixPath(name).name for name in drivers_loop.run(listed())]
        if not names and self.get(f"{key}/zarr.json" if key else "zarr.json") is not None:
            where = f"{self.name}/{key}" if key else self.name
            raise StoreError(f"{where} holds a zarr.json, but is listed as empty; reading needs listings of folders")
        return names

    def walk(self) -> Iterator[str]:
        """Yield the keys of all objects."""
        self._list_anew()

        async def listed() -> list[str]:
            return [key async for key in self.store.list_prefix(f"{self.prefix}/" if self.prefix else "")]

        start = len(self.prefix) + 1 if self.prefix else 0
        # Entries for folders themselves, which some programs make, end in a slash.
        yield from (key[start:] for key in drivers_loop.run(listed()) if not key.endswith("/"))

    def walk_stamped(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the keys of all objects with sizes and stamps; of a ZIP file those of the whole file."""
        if self.store.fs is None:
            archive = os.stat(self.store.name)
            yield from ((key, (archive.st_size, str(archive.st_mtime_ns))) for key in self.walk())
            return
        self._list_anew()
        listed = drivers_loop.run(self.store.list_stamped(f"{self.prefix}/" if self.prefix else ""))
        start = len(self.prefix) + 1 if self.prefix else 0
        yield from ((key[start:], stamp) for key, stamp in listed if not key.endswith("/"))

    def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        drivers_loop.run(self.store.delete(self._key(key)))

    def remove(self) -> None:
        """Delete all objects."""
        self._list_anew()
        drivers_loop.run(self.store.delete_dir(self.prefix))

    def make_durable(self) -> None:
        """Do nothing: objects are durable once written."""

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Read each item with a function, concurrently."""
        with ThreadPoolExecutor(self.n_requests) as pool:
            waiting = [pool.submit(copy_context().run, read, item) for item in items]
            try:
                return [future.result() for future in waiting]
            except BaseException:
                # Each of the others might wait as long for a store that is silent.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def child(self, key: str) -> RemoteStorePath:
        """Return the place of a folder below this one."""
        return RemoteStorePath(self.store, f"{self.name}/{key}", self._key(key), self.n_requests)

    def as_zarr(self) -> Any:
        """Return the store with the path in it."""
        return zarr.storage.StorePath(self.store, self.prefix)
