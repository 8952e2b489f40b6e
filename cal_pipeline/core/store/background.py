"""Objects written in the background, because each of them waits for its store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import PurePosixPath
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.run.threads import let_others_work, renew_after_fork
from cal_pipeline.core.store.paths import Item, Result, StorePath
from cal_pipeline.core.store.read_ahead import MOST_BYTES, MOST_REQUESTS
from cal_pipeline.core.store.remote_path import RemoteStorePath


class BackgroundPuts:
    """Objects on their way to a store, no more than a number of bytes and requests at a time.

    Parameters
    ----------
    most_bytes, most_requests : int
        Largest size [bytes] and number; a single object may be larger.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, most_requests: int = MOST_REQUESTS) -> None:
        self._most_bytes, self._most_requests = most_bytes, most_requests
        self._sizes: dict[Future[None], int] = {}
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self.documents: dict[str, bytes] = {}
        """Metadata that were written, by name: their store need not be asked for them."""
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget what is on its way in a forked child, which has no thread that would end it."""
        self._sizes, self._error, self._changed = {}, None, threading.Condition()

    def add(self, size: int, start: Callable[[], Future[None]]) -> None:
        """Start writing an object as soon as there is room.

        Parameters
        ----------
        size : int
            Size of the object [bytes].
        start : callable
            Starts it, and returns its future.

        Raises
        ------
        StoreError
            If an earlier object could not be written; this one is not started then.
        """
        with self._changed:
            if not self._may_go_on(size):
                let_others_work()
                self._changed.wait_for(lambda: self._may_go_on(size))
            self._raise()
            future = start()
            self._sizes[future] = size
            # Within the lock: an interruption between the two would leave a size that nothing ever takes away.
            future.add_done_callback(self._end)

    def _may_go_on(self, size: int) -> bool:
        return self._error is not None or self._has_room(size)

    def _has_room(self, size: int) -> bool:
        in_flight = sum(self._sizes.values())
        return not in_flight or (in_flight + size <= self._most_bytes and len(self._sizes) < self._most_requests)

    def _end(self, future: Future[None]) -> None:
        with self._changed:
            # A fork forgets what its parent has started.
            self._sizes.pop(future, None)
            # A driver may cancel a request of its own accord; then the future has no error to ask for.
            cancelled = StoreError("an object cannot be written: its driver cancelled the request")
            error = cancelled if future.cancelled() else future.exception()
            if self._error is None:
                self._error = error
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Wait until all objects are written.

        Raises
        ------
        StoreError
            If one could not be written.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._sizes)
            self._raise()

    def give_up(self) -> None:
        """Wait for what is on its way, whether it succeeds or not, and begin anew."""
        with self._changed:
            self._changed.wait_for(lambda: not self._sizes)
            self._error = None
            self.documents.clear()


class BackgroundStorePath(StorePath):
    """A remote place that is written in the background; whatever else is asked of it waits for that.

    An object that cannot be written is reported by the next access, at the latest by
    :meth:`make_durable`.

    Parameters
    ----------
    inner : RemoteStorePath
        The place.
    puts : BackgroundPuts
        What is on its way to it, and to other places that are finished together with it.
    """

    def __init__(self, inner: RemoteStorePath, puts: BackgroundPuts) -> None:
        self._inner, self._puts = inner, puts
        self.name = inner.name

    def _settled(self) -> RemoteStorePath:
        """Return the place once all is written."""
        self._puts.wait()
        return self._inner

    def get(self, key: str) -> bytes | None:
        """Read the bytes of an object, once all is written; None if absent."""
        return self._settled().get(key)

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of an object, once all is written."""
        return self._settled().get_part(key, start, length)

    def put(self, key: str, *data: bytes) -> None:
        """Write an object in the background, once there is room."""
        self._puts.add(sum(map(len, data)), lambda: self._inner.start_put(key, *data))
        if PurePosixPath(key).name == "zarr.json":
            self._puts.documents[f"{self.name}/{key}"] = b"".join(data)

    def get_written(self, key: str) -> bytes | None:
        """Return metadata as they were written, once all is; read those that came another way."""
        self._puts.wait()
        found = self._puts.documents.get(f"{self.name}/{key}")
        return self._inner.get(key) if found is None else found

    def exists(self, key: str) -> bool:
        """Tell whether an object exists, once all is written."""
        return self._settled().exists(key)

    def members(self, key: str = "") -> list[str]:
        """List the names of objects and folders, once all is written."""
        return self._settled().members(key)

    def walk(self) -> Iterator[str]:
        """Yield the keys of all objects, once all is written."""
        return self._settled().walk()

    def delete(self, key: str) -> None:
        """Delete an object, once all is written."""
        self._settled().delete(key)
        self._puts.documents.pop(f"{self.name}/{key}", None)

    def remove(self) -> None:
        """Remove all objects, after those that are on their way."""
        self._puts.give_up()
        self._inner.remove()

    def make_durable(self) -> None:
        """Wait until all objects are written."""
        self._settled()

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Read each item with a function, concurrently."""
        return self._inner.each(read, items)

    def child(self, key: str) -> BackgroundStorePath:
        """Return the place of a folder below this one, written together with it."""
        return BackgroundStorePath(self._inner.child(key), self._puts)

    def as_zarr(self) -> Any:
        """Return the store with the path in it, once all is written."""
        return self._settled().as_zarr()
