"""Threads that share the work on an observation, and process-wide settings that several runs share."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from types import TracebackType
from typing import ParamSpec, Protocol, TypeVar
from weakref import WeakSet

from threadpoolctl import ThreadpoolController

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Forkable(Protocol):
    """Object with threads or locks, which a forked child must make anew."""

    def after_fork(self) -> None:
        """Make threads and locks anew; runs in the child."""


_forkable: WeakSet[_Forkable] = WeakSet()


def renew_after_fork(item: _Forkable) -> None:
    """Call the method ``after_fork`` of an object in every forked child of this process.

    A fork copies memory, but of the threads only the forking one: tasks submitted to a copied pool
    never run, and locks held by other threads are never released.

    Parameters
    ----------
    item : object
        Object with a method ``after_fork``; only a weak reference to it is kept.
    """
    _forkable.add(item)


def _renew_in_child() -> None:
    for item in list(_forkable):
        item.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


FEW_SAMPLES = 2**20
"""Samples below which threads take longer to share the work than to do it."""


class BlockThreads:
    """Pool of threads that read, calibrate and write the blocks of one run.

    Use it as a context manager: the threads end with the block. A pool is never shared by runs, so
    that none can take it away from another.

    Parameters
    ----------
    number : int, optional
        Number of threads; as many as there are cores if not given.

    Examples
    --------
    >>> with BlockThreads(2) as threads:
    ...     threads.map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    def __init__(self, number: int | None = None) -> None:
        self.number = number or available_cores()
        self._pool = self._make_pool()
        renew_after_fork(self)

    def _make_pool(self) -> ThreadPoolExecutor | None:
        # The executor starts its threads with the first tasks, so that one which is not used costs nothing.
        return ThreadPoolExecutor(self.number, thread_name_prefix="block") if self.number > 1 else None

    def after_fork(self) -> None:
        """Make a new pool in a forked child."""
        self._pool = self._make_pool()

    def __enter__(self) -> BlockThreads:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call a function whose calls of :func:`map_in_threads` use these threads."""
        token = _current.set(self)
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call a function on every item and return the results in order; see :func:`map_in_threads`."""
        if self._pool is None:
            return [function(item) for item in items]
        results: dict[int, Result] = {}
        waiting: dict[Future[Result], int] = {}
        try:
            for position, item in enumerate(items):
                if len(waiting) >= 2 * self.number:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        results[waiting.pop(future)] = future.result()
                # A context can be entered by one thread at a time, hence a copy for each call.
                context = contextvars.copy_context()
                waiting[self._pool.submit(context.run, _alone, function, item)] = position
            for future, position in list(waiting.items()):
                results[position] = future.result()
                del waiting[future]
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)
        return [results[position] for position in sorted(results)]


_current: ContextVar[BlockThreads | None] = ContextVar("cal_pipeline_threads", default=None)
"""Threads of the run that the caller belongs to."""


def _alone(function: Callable[[Item], Result], item: Item) -> Result:
    """Call a function in a thread of a pool, which must not wait for other threads of that pool."""
    _current.set(_one_thread())
    return function(item)


@cache
def _one_thread() -> BlockThreads:
    return BlockThreads(1)


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], samples: int = FEW_SAMPLES
) -> list[Result]:
    """Call a function on every item, in the threads of the run unless there are few samples.

    No more than two calls a thread are waiting at any time, so that memory does not grow with the
    number of items. The first error ends it, once the calls that are running have ended. Outside of
    a run, threads are started for the call.

    Parameters
    ----------
    function : callable
        Function of one item.
    items : iterable
        The items; taken one by one as threads get free.
    samples : int
        Number of samples that the calls work on together.

    Returns
    -------
    list
        Results in the order of the items.
    """
    if samples < FEW_SAMPLES:
        return [function(item) for item in items]
    threads = _current.get()
    if threads is not None:
        return threads.map(function, items)
    with BlockThreads() as own:
        return own.map(function, items)


class SharedSetting:
    """Setting of the whole process that its first user makes and its last user takes back.

    Users may overlap in any order, in any threads; each of them setting and restoring by itself
    would leave the setting of the other behind.

    Parameters
    ----------
    make : callable
        Function that returns a context manager, which holds the setting.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._held: AbstractContextManager[object] | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Restore the setting in a forked child, whose users are in the parent; renew the lock."""
        self._lock = threading.Lock()
        held, self._held, self._users = self._held, None, 0
        if held is not None:
            held.__exit__(None, None, None)

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                held = self._make()
                held.__enter__()
                self._held = held
            self._users += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            # A forked child leaves blocks that its parent entered.
            self._users = max(self._users - 1, 0)
            held = self._held if self._users == 0 else None
            if held is not None:
                self._held = None
                held.__exit__(None, None, None)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Limit linear algebra to one thread within the block.

    As long as a thread lives that has set a limit of OpenBLAS, threadpoolctl lets no other lift it,
    without a word; and the last user may be another than the first. Hence threads that end at once.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="limit") as passing:
        limited = passing.submit(_libraries().limit, limits=1, user_api="blas").result()
    try:
        yield
    finally:
        with ThreadPoolExecutor(1, thread_name_prefix="limit") as passing:
            passing.submit(limited.restore_original_limits).result()


_blas = SharedSetting(_one_blas_thread)


def limit_blas_threads() -> AbstractContextManager[None]:
    """Keep the linear algebra below NumPy from starting threads of its own within the block.

    Blocks may overlap: the limit is lifted when the last one ends.
    """
    return _blas
