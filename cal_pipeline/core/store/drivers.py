"""Stores behind drivers: reopened after a fork, closed when dropped, with one-line errors."""

from __future__ import annotations

import asyncio
import atexit
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import WrapperStore

from cal_pipeline.core.run.threads import renew_after_fork
from cal_pipeline.core.store.driver_errors import may_pass, translate_driver_errors
from cal_pipeline.core.store.event_loop import drivers_loop
from cal_pipeline.core.store.time_limits import PAUSES_S, REQUEST_LIMIT_S, limit_write

Answer = TypeVar("Answer")
Reopen = Callable[[], Awaitable[Store]]


class CheckedStore(WrapperStore[Store]):
    """Zarr store whose driver fails with :class:`~cal_pipeline.errors.StoreError` in one line.

    Its connections are closed when it is dropped. In a forked child it is opened anew, since the
    threads, sockets and file positions below a driver belong to the parent.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    name : str
        URL or path for messages.
    reopen : callable, optional
        Coroutine function that opens the store again; without, `store` is neither closed nor opened
        anew.
    loop : asyncio.AbstractEventLoop, optional
        Loop that runs the driver; needed with `reopen`.
    """

    def __init__(
        self, store: Store, name: str, reopen: Reopen | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(store)
        self.name = name
        self._reopen = reopen
        self._is_inherited = False
        self._is_silent = False
        self._owner: CheckedStore | None = None
        self._closing: Any = None
        if loop is not None:
            self._close_when_dropped(loop)
        renew_after_fork(self)

    # A store is compared by what it holds, and kept in sets by what it is.
    __hash__ = object.__hash__

    def _close_when_dropped(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closing = weakref.finalize(self, _hang_up, self._store, loop)
        self._closing.atexit = False
        _open.add(self)

    def after_fork(self) -> None:
        """Leave the connections to the parent; the next access in the child reopens the store."""
        if self._closing is not None:
            self._closing.detach()
            self._closing = None
            _inherited.append(self._store)
            self._is_inherited = True

    async def _ready(self) -> Store:
        """Return the store, opened in this process."""
        if self._is_inherited and self._reopen is not None:
            store = await self._reopen()
            if self._is_inherited:
                self._store, self._is_inherited = store, False
                self._close_when_dropped(asyncio.get_running_loop())
        return self._store

    def close_now(self) -> None:
        """Close the connections and wait for it, at the end of the process."""
        # Finalisers do nothing any more at the end of the process, so theirs is done here.
        held = self._closing.detach() if self._closing is not None else None
        if held is not None:
            _, hang_up, arguments, _ = held
            future = hang_up(*arguments)
            if future is not None:
                future.result(timeout=2.0)

    def _with_store(self, store: Store) -> CheckedStore:
        other = CheckedStore(store, self.name)
        # Connections are shared, and stay open as long as either store is used.
        other._owner = self
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reopen is None:
            return CheckedStore, (self._store, self.name)
        return open_checked, (self.name, self._reopen)

    @property
    def fs(self) -> Any:
        """File system of the driver; None for a ZIP file."""
        return getattr(self._store, "fs", None)

    @property
    def lists_whole_groups(self) -> bool:
        """Tell whether one request lists all below a key with sizes; other drivers take one for each folder."""
        return self.fs is not None and not _FLAT.isdisjoint(_protocols_of(getattr(self.fs, "sync_fs", self.fs)))

    def forget_listings(self) -> None:
        """Let the driver list anew, where others write to the store as well."""
        for system in (self.fs, getattr(self.fs, "sync_fs", None)):
            if system is not None and not self._is_inherited:
                system.invalidate_cache()

    async def _ask(
        self, key: str, operation: str, question: Callable[[Store], Awaitable[Answer]], limit: float | None = None
    ) -> Answer:
        """Ask the store, in the loop that its connections belong to; each attempt may have a time limit [s]."""

        async def answer() -> Answer:
            with translate_driver_errors(f"{self.name}/{key}" if key else self.name, operation):
                return await self._insist(question, limit)

        return await drivers_loop.run_from_any(answer())

    async def _insist(self, question: Callable[[Store], Awaitable[Answer]], limit: float | None) -> Answer:
        """Ask the store within a time limit, and again after what may pass."""

        async def attempt() -> Answer:
            async with _time_limit(limit):
                with _uncancelled():
                    answer = await question(await self._ready())
            self._is_silent = False
            return answer

        async with _time_limit(REQUEST_LIMIT_S if limit is None else None):
            # A store that kept silent is asked once only, until it answers.
            for pause in () if self._is_silent else PAUSES_S:
                try:
                    return await attempt()
                except Exception as error:
                    if not may_pass(error):
                        raise
                    await asyncio.sleep(pause)
            try:
                return await attempt()
            except Exception as error:
                self._is_silent = may_pass(error)
                raise

    async def _list(self, key: str, listing: Callable[[Store], AsyncIterator[str]]) -> list[str]:
        async def listed(store: Store) -> list[str]:
            return [name async for name in listing(store)]

        return await self._ask(key, "listed", listed)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object; None where there is none."""
        return await self._ask(key, "read", lambda store: store.get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects."""
        return await self._ask("", "read", lambda store: store.get_partial_values(prototype, key_ranges))

    if hasattr(Store, "get_ranges"):
        # Newer releases of zarr read the inner chunks of a shard so. WrapperStore would ask the driver
        # unchecked and in the loop of the caller; the method of Store calls `get`.
        get_ranges = Store.get_ranges

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object, or a folder where the driver knows folders."""

        async def found(store: Store) -> bool:
            if await store.exists(key):
                return True
            # Some drivers answer no where they get no answer; an attempt to read tells the two apart.
            one_byte = RangeByteRequest(0, 1)
            return bool(key) and await store.get(key, default_buffer_prototype(), one_byte) is not None

        return await self._ask(key, "read", found)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        await self._ask(key, "written", lambda store: store.set(key, value), limit_write(len(value)))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object that is not there."""
        limit = limit_write(len(value))
        await self._ask(key, "written", lambda store: store.set_if_not_exists(key, value), limit)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._ask(key, "removed", lambda store: store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        """Delete all objects below a key."""
        await self._ask(prefix, "removed", lambda store: store.delete_dir(prefix))

    async def list(self) -> AsyncIterator[str]:
        """List all objects."""
        for key in await self._list("", lambda store: store.list()):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List all objects below a key."""
        for key in await self._list(prefix, lambda store: store.list_prefix(prefix)):
            yield key

    async def list_stamped(self, prefix: str) -> Sequence[tuple[str, tuple[int, str]]]:
        """List all objects below a key, with their sizes [bytes] and stamps; see :data:`_STAMPS`."""

        async def listed(store: Store) -> Sequence[tuple[str, tuple[int, str]]]:
            system, root = self.fs, f"{getattr(store, 'path', '')}/"
            found: dict[str, dict[str, Any]] = await system._find(f"{root}{prefix}", detail=True)
            return [(name.removeprefix(root), _stamp_of(info)) for name, info in found.items()]

        return await self._ask(prefix, "listed", listed)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List objects and folders directly below a key."""
        for key in await self._list(prefix, lambda store: store.list_dir(prefix)):
            yield key


_FLAT = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
"""Protocols of object stores, which know keys and no folders."""


def _protocols_of(system: Any) -> set[str]:
    """Return the names of the protocols that a file system is for."""
    named = system.protocol
    return {named} if isinstance(named, str) else set(named)


_STAMPS = ("ETag", "etag", "md5", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
"""What drivers call that which changes when an object is written again; checksums first."""


def _stamp_of(info: dict[str, Any]) -> tuple[int, str]:
    """Return the size of an object and its stamp, empty if the driver tells none."""
    size = info.get("size")
    return -1 if size is None else int(size), next((str(info[name]) for name in _STAMPS if info.get(name)), "")


@contextmanager
def _uncancelled() -> Iterator[None]:
    """Raise ConnectionAbortedError if the block ends as cancelled and nobody has cancelled the task.

    A driver may cancel a request of its own accord. The error of that passes the handlers of failed observations.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionAbortedError("its driver cancelled the request") from error


@asynccontextmanager
async def _time_limit(seconds: float | None) -> AsyncIterator[None]:
    """Raise TimeoutError with a message if the block takes longer."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"none within {seconds:g} s") from error
        raise


_open: weakref.WeakSet[CheckedStore] = weakref.WeakSet()
"""Stores with connections to close at the end of the process."""

_inherited: list[Store | None] = []
"""Stores of the parent in a forked child, kept alive: collection would close its connections."""


_hanging_up: set[Future[None]] = set()
"""Connections that are being closed."""


def open_checked(name: str, reopen: Reopen) -> CheckedStore:
    """Open a store that is closed when it is dropped.

    Parameters
    ----------
    name : str
        URL or path for messages.
    reopen : callable
        Coroutine function that opens the store.
    """

    async def opened() -> tuple[Store, asyncio.AbstractEventLoop]:
        return await reopen(), asyncio.get_running_loop()

    store, loop = drivers_loop.run(opened())
    return CheckedStore(store, name, reopen, loop)


def _hang_up(store: Store, loop: asyncio.AbstractEventLoop) -> Any:
    """Close a store and the connections of its driver, without waiting for it."""
    store.close()
    system = getattr(store, "fs", None)
    if system is None or not loop.is_running():
        return None
    future = asyncio.run_coroutine_threadsafe(_close_sessions(system), loop)
    _hanging_up.add(future)
    future.add_done_callback(_hanging_up.discard)
    return future


async def _close_sessions(system: Any) -> None:
    """Close the sessions of an asynchronous driver, which it leaves to its user."""
    clients = getattr(system, "_s3creator", None)
    if clients is not None:
        await clients.__aexit__(None, None, None)
    session: Any = getattr(system, "_session", None)
    if hasattr(session, "close"):
        await session.close()


@atexit.register
def _close_all() -> None:
    """Close what is still open, as long as the loop of the drivers runs."""
    for store in list(_open):
        with suppress(Exception):
            store.close_now()
    wait(_hanging_up.copy(), timeout=2.0)
