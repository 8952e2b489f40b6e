"""Threads that share the work on an observation, and process-wide settings that several runs share."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar
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
        self._stopped = False
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        # The executor starts its threads with the first tasks, so that one which is not used costs nothing.
        self._pool = ThreadPoolExecutor(self.number, thread_name_prefix="block") if self.number > 1 else None
        self._lock = threading.Lock()
        self._works: list[_Work[Any, Any]] = []

    def after_fork(self) -> None:
        """Make a new pool in a forked child."""
        self._renew()

    def __enter__(self) -> BlockThreads:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def stop(self) -> None:
        """Let all calls of :meth:`map`, now and later, end with :class:`StoppedThreads`."""
        self._stopped = True

    def run(self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call a function whose calls of :func:`map_in_threads` use these threads."""
        token = _current.set(self)
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call a function on every item and return the results in order; see :func:`map_in_threads`.

        Raises
        ------
        StoppedThreads
            If the threads are stopped before all items are done.
        """
        if self._pool is None:
            return [function(item) for item in items]
        work = _Work(function, items, self._call_others)
        with self._lock:
            self._works.append(work)
        try:
            for _ in range(self.number):
                self._pool.submit(self._take_part, self._pool, work)
            work.help_until_ended()
        finally:
            work.give_up()
            work.ended.wait()
            with self._lock:
                self._works.remove(work)
        return work.results_in_order()

    def _call_others(self, own: int) -> None:
        """Call on those who wait for other work than that of an id to do some of it themselves."""
        with self._lock:
            others = [work for work in self._works if id(work) != own]
        for work in others:
            work.called.set()

    def _take_part(self, pool: ThreadPoolExecutor, work: _Work[Any, Any]) -> None:
        """Work on items until there are no more; queue again after each one while other calls wait."""
        while True:
            if self._stopped:
                work.give_up(StoppedThreads())
            if not work.do_next():
                return
            if len(self._works) > 1:
                try:
                    pool.submit(self._take_part, pool, work)
                except RuntimeError:
                    # No pool takes a task once the main thread of the process has ended; somebody waits for this work.
                    continue
                return


class StoppedThreads(BaseException):
    """The threads of a run are stopped; like an interruption, it passes the handlers of failed observations."""


class _Work(Generic[Item, Result]):
    """Calls of a function that threads share by taking items one by one.

    A future for each item would cost more than small items do.

    Parameters
    ----------
    function : callable
        Function of one item, which must not wait for other threads of the pool.
    items : iterable
        The items.
    call_others : callable
        Called with the id of this work when one of its threads is going to wait for a store.

    Attributes
    ----------
    ended : Event
        Set once no call is running and none will begin.
    called : Event
        Set at the end, and while a thread waits for a store that could work on these items instead.
    """

    def __init__(
        self, function: Callable[[Item], Result], items: Iterable[Item], call_others: Callable[[int], None]
    ) -> None:
        self.ended, self.called = threading.Event(), threading.Event()
        self._function, self._items = function, enumerate(items)
        self._context = contextvars.copy_context()
        self._context.run(_current.set, _one_thread())
        # The id, because a reference to the work in its own context would keep the results until they are collected.
        self._context.run(_going_to_wait.set, partial(call_others, id(self)))
        self._results: dict[int, Result] = {}
        self._error: BaseException | None = None
        self._is_over, self._n_running, self._lock = False, 0, threading.Lock()

    def do_next(self) -> bool:
        """Call the function on the next item; False if there is none, or the work is given up."""
        taken = self._take()
        if taken is None:
            return False
        position, item = taken
        try:
            # A context can be entered by one thread at a time, hence a copy for each call.
            self._results[position] = self._context.copy().run(self._function, item)
        except BaseException as error:
            self.give_up(error)
        with self._lock:
            self._n_running -= 1
            self._note_end()
        return True

    def _take(self) -> tuple[int, Item] | None:
        """Take the next item; None at the end."""
        with self._lock:
            try:
                taken = None if self._is_over else next(self._items, None)
            except BaseException as error:
                taken, self._error = None, self._error or error
            if taken is None:
                self._is_over = True
                self._note_end()
            else:
                self._n_running += 1
            return taken

    def give_up(self, error: BaseException | None = None) -> None:
        """Take no more items; the first error given is that of the work."""
        with self._lock:
            self._is_over = True
            self._error = self._error or error
            self._note_end()

    def help_until_ended(self) -> None:
        """Wait for the end, and do an item whenever the threads wait for a store instead.

        Not in the main thread: an interruption there could come between an item and its count.
        """
        if threading.current_thread() is threading.main_thread():
            self.ended.wait()
        while not self.ended.is_set():
            self.called.wait()
            self.called.clear()
            self.do_next()

    def _note_end(self) -> None:
        if self._is_over and not self._n_running:
            self.ended.set()
            self.called.set()

    def results_in_order(self) -> list[Result]:
        """Return the results, or raise the first error."""
        error, self._error = self._error, None
        if error is None:
            return [self._results[position] for position in sorted(self._results)]
        try:
            raise error
        finally:
            # The traceback of an error that is kept here would keep the frames, and their arrays, with it.
            del error


_current: ContextVar[BlockThreads | None] = ContextVar("cal_pipeline_threads", default=None)
"""Threads of the run that the caller belongs to."""


_going_to_wait: ContextVar[Callable[[], None] | None] = ContextVar("cal_pipeline_going_to_wait", default=None)
"""Function that lets others work meanwhile, of a thread that works for a run."""


def let_others_work() -> None:
    """Let other calls of the run go on in the place of the caller, which is going to wait for a store."""
    call = _going_to_wait.get()
    if call is not None:
        call()


@cache
def _one_thread() -> BlockThreads:
    return BlockThreads(1)


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], samples: int = FEW_SAMPLES
) -> list[Result]:
    """Call a function on every item, in the threads of the run unless there are few samples.

    Threads take the items one by one, so that memory does not grow with their number. The first
    error ends it, once the calls that are running have ended. Outside of a run, threads are started
    for the call.

    Parameters
    ----------
    function : callable
        Function of one item.
    items : iterable
        The items; several threads take them, one at a time.
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


_PROMPT = 2e-4
"""Time after which a thread that runs Python lets others go on [s]."""


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take short turns within the block.

    By default one that comes back from a codec waits 5 ms for one that runs Python: longer than it takes for a chunk.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _PROMPT))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


short_turns = SharedSetting(_short_turns)
"""Context manager that lets the threads of the process take short turns with the interpreter."""


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
