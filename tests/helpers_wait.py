"""Waiting for a condition, where a time would be too short on a busy machine and too long on any other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cal_pipeline.core.run import follow
from cal_pipeline.core.run.follow import Follower


def wait_until(condition: Callable[[], Any], pause: Callable[[float], Any] = time.sleep) -> None:
    """Wait until a condition holds, or fail after a time that no machine needs.

    Parameters
    ----------
    condition : callable
        What must become true.
    pause : callable
        What waits for some seconds.
    """
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        pause(0.02)


class Writers:
    """Threads that write what is followed, and time of followers that does not depend on how busy the machine is.

    That nothing new came for a while is judged once all writers have ended. Time stands still within `still`, in
    which a writer makes what may not be taken for finished.
    """

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._at_rest: Callable[[], Any] = lambda: None
        self._lost, self._stopped_at = 0.0, 0.0

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start a writer."""
        self.threads.append(threading.Thread(target=function, args=arguments))
        self.threads[-1].start()

    def whenever_waiting(self, function: Callable[[], Any]) -> None:
        """Call a function in the thread of a follower, whenever it waits."""
        self._at_rest = function

    @contextmanager
    def still(self) -> Iterator[None]:
        """Stop the time of followers; for one writer at a time."""
        self._stopped_at = time.monotonic()
        yield
        stopped_at, self._stopped_at = self._stopped_at, 0.0
        self._lost += time.monotonic() - stopped_at

    def monotonic(self) -> float:
        """Return the time of followers [s]."""
        return (self._stopped_at or time.monotonic()) - self._lost

    def sleep(self, seconds: float) -> None:
        """Let a follower wait."""
        self._at_rest()
        time.sleep(seconds)


@contextmanager
def followed_writers() -> Iterator[Writers]:
    """Give followers the time of writers, and wait for these in the end."""
    writers, is_over = Writers(), Follower._is_over

    def is_over_without_writers(follower: Follower) -> bool:
        if any(thread.is_alive() for thread in writers.threads):
            follower._active = writers.monotonic()
        return is_over(follower)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "time", writers)
        patch.setattr(Follower, "_is_over", is_over_without_writers)
        yield writers
        for thread in writers.threads:
            thread.join()
