"""Objects that are read before they are asked for, because each of them waits for its store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from cal_pipeline.core.run.threads import renew_after_fork

MOST_BYTES = 2**24
"""Bytes that are held or on their way at a time: at 50 ms a request enough for 0.3 GB/s."""

MOST_REQUESTS = 48
"""Objects that are held or on their way at a time."""

Fetched = Future[bytes | None]


class ReadAhead:
    """Objects that are going to be read, of which the next ones are fetched.

    Parameters
    ----------
    keys : iterable of str
        Their keys, in the order in which they are read, roughly.
    size : int
        Size of an object [bytes], until the first one tells.
    fetch : callable
        Starts reading an object, and returns its future.
    """

    def __init__(self, keys: Iterable[str], size: int, fetch: Callable[[str], Fetched]) -> None:
        self._keys = dict.fromkeys(keys)
        self._size, self._fetch = max(size, 1), fetch
        self._fetched: dict[str, Fetched] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)
        self._go_on()

    def after_fork(self) -> None:
        """Fetch nothing in a forked child, which has no thread that would end it."""
        self._keys, self._fetched, self._lock = {}, {}, threading.Lock()

    def take(self, key: str) -> Fetched | None:
        """Hand over an object, once; None if its fetching has not begun, which it then never does."""
        with self._lock:
            self._keys.pop(key, None)
            found = self._fetched.pop(key, None)
        if found is not None:
            self._go_on()
        return found

    def _go_on(self) -> None:
        """Fetch further objects as long as there is room."""
        with self._lock:
            while len(self._fetched) < max(min(MOST_BYTES // self._size, MOST_REQUESTS), 1):
                key = next(iter(self._keys), None)
                if key is None:
                    return
                del self._keys[key]
                self._fetched[key] = future = self._fetch(key)
                future.add_done_callback(self._note_size)

    def _note_size(self, future: Fetched) -> None:
        if not future.cancelled() and future.exception() is None:
            self._size = max(len(future.result() or b""), 1)

    def close(self) -> None:
        """Fetch no more, and forget what nobody has asked for."""
        with self._lock:
            self._keys.clear()
            while self._fetched:
                self._fetched.popitem()[1].cancel()
