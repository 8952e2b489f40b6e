"""Garbage collections, kept few and short: stpipe would collect before each step of each observation."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import stpipe.step

from cal_pipeline.core.run.threads import SharedSetting

OBSERVATIONS_A_COLLECTION = 100
"""Number of observations between two full garbage collections."""

_done = itertools.count(1)
"""Counter of observations over all runs of this process, since short runs leave garbage as well."""


@contextmanager
def short_collections() -> Iterator[None]:
    """Exempt existing objects, such as imported modules, from garbage collection within the block."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _none_by_stpipe() -> Iterator[None]:
    # Collections hold up all threads; Python's own go on.
    before = getattr(stpipe.step, "gc", None)
    if before is None:  # a release that collects none
        yield
        return
    stpipe.step.gc = SimpleNamespace(collect=lambda: 0)
    try:
        yield
    finally:
        stpipe.step.gc = before


few_collections = SharedSetting(_none_by_stpipe)
"""Context manager that keeps stpipe from collecting garbage; see :func:`keep_collections_short`."""


def keep_collections_short() -> None:
    """Collect what an observation has left, and exempt the rest from collection; collect all now and then."""
    if next(_done) % OBSERVATIONS_A_COLLECTION == 0:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
