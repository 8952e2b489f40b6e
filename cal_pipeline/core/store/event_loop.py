"""Event loop that runs the drivers of stores, in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from cal_pipeline.core.run.threads import renew_after_fork

Result = TypeVar("Result")


class EventLoopThread:
    """Thread with an event loop, started at the first use.

    Connections of a driver belong to the loop that made them. Every access to a driver therefore
    runs in this loop, accesses of zarr and xarray included, which have a loop of their own.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the thread in a forked child, which has no copy of it."""
        self._loop, self._thread, self._lock = None, None, threading.Lock()

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the loop, running."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="drivers", daemon=True)
                self._thread.start()
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine and wait for its result; not from within the loop."""
        return self.start(coroutine).result()

    def start(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start a coroutine and return its future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.get())

    async def run_from_any(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on behalf of one that runs in this loop or in another."""
        loop = self.get()
        if asyncio.get_running_loop() is loop:
            return await coroutine
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))

    def stop(self) -> None:
        """End the thread and close the loop."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=2.0)
        if not thread.is_alive():
            loop.close()


drivers_loop = EventLoopThread()
"""Loop of all drivers of this process."""

atexit.register(drivers_loop.stop)
