"""Time spent in each stage of an observation."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StageClock:
    """Time per stage [s]; an inner stage stops the clock of the outer stage in its thread.

    Times of concurrent threads add up.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._thread = threading.local()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return (StageClock, ())

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the block under `stage`."""
        own = self._thread
        if not hasattr(own, "running"):
            own.running, own.since = [], 0.0
        self._switch(own)
        own.running.append(stage)
        try:
            yield
        finally:
            self._switch(own)
            own.running.pop()

    def _switch(self, own: Any) -> None:
        now = time.perf_counter()
        if own.running:
            with self._lock:
                self.seconds[own.running[-1]] += now - own.since
        own.since = now
