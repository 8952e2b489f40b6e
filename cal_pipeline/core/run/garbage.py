"""Garbage collections, kept short: stpipe collects before each step of each observation."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

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


def keep_collections_short() -> None:
    """Exempt what an observation has left from collection; run a full collection now and then."""
    if next(_done) % OBSERVATIONS_A_COLLECTION == 0:
        gc.unfreeze()
        gc.collect()
    gc.freeze()
