"""Store in memory that takes its time to answer, and counts what it is asked at a time."""

from __future__ import annotations

import asyncio

from zarr.storage import MemoryStore, WrapperStore

from cal_pipeline.core.store.remote_path import RemoteStorePath


class DelayingStore(WrapperStore[MemoryStore]):
    """Memory whose requests wait, until told otherwise without end.

    Parameters
    ----------
    objects : dict
        Objects by key, of which reading and writing works; others fail where they are in `broken`.
    delay : float
        Time of each request [s].
    """

    def __init__(self, objects=None, delay=0.002, read_only=False):
        store = MemoryStore(read_only=read_only)
        super().__init__(store)
        self.delay, self.broken, self.read_keys = delay, set(), []
        self.in_flight = self.most_in_flight = self.bytes_in_flight = self.most_bytes = 0
        for key, data in (objects or {}).items():
            store._store_dict[key] = _buffer(data)

    async def _wait(self, key, size=0):
        self.in_flight, self.bytes_in_flight = self.in_flight + 1, self.bytes_in_flight + size
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.most_bytes = max(self.most_bytes, self.bytes_in_flight)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.in_flight, self.bytes_in_flight = self.in_flight - 1, self.bytes_in_flight - size
        if key in self.broken:
            raise PermissionError(f"no {key}")

    async def get(self, key, prototype, byte_range=None):
        self.read_keys.append(key)
        await self._wait(key)
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key, value):
        await self._wait(key, len(value))
        await self._store.set(key, value)


def _buffer(data):
    from zarr.buffer import default_buffer_prototype

    return default_buffer_prototype().buffer.from_bytes(data)


def make_slow_place(objects=None, **settings):
    """Return a remote place in a delaying store, and the store."""
    store = DelayingStore(objects, **settings)
    return RemoteStorePath(store, "memory"), store
