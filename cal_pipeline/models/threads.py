"""The threads of this process: as many as it has cores, shared by all that reads and writes blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_number = 0


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(number: int | None) -> None:
    """Set how many threads are used from now on; as many as there are cores if not given."""
    global _pool, _number
    wanted = number or available_cores()
    if wanted != _number:
        if _pool is not None:
            _pool.shutdown()
        _pool = ThreadPoolExecutor(wanted, thread_name_prefix="block") if wanted > 1 else None
        _number = wanted


@contextmanager
def no_other_threads() -> Iterator[None]:
    """Keep the linear algebra below NumPy from starting threads of its own beside these, within the block."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


FEW_SAMPLES = 2**20
"""Samples below which threads take longer to share the work than to do it."""


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], samples: int = FEW_SAMPLES) -> list[Result]:
    """Call a function on every item, in threads unless there are few `samples`; what is returned keeps the order.

    No more than two calls a thread are waiting at any time, so that memory does not grow with the number of items.
    The first error ends it, once the calls that are running have ended.
    """
    if _number == 0:
        use_threads(None)
    if _pool is None or samples < FEW_SAMPLES:
        return [function(item) for item in items]
    results: dict[int, Result] = {}
    waiting: dict[Future[Result], int] = {}
    try:
        for position, item in enumerate(items):
            if len(waiting) >= 2 * _number:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    results[waiting.pop(future)] = future.result()
            waiting[_pool.submit(function, item)] = position
        for future, position in list(waiting.items()):
            results[position] = future.result()
            del waiting[future]
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)
    return [results[position] for position in sorted(results)]
