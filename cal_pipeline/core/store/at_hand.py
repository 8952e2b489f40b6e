"""Small objects of a group, all read at once before they are asked for, because each of them waits for its store."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cal_pipeline.core.run.threads import renew_after_fork
from cal_pipeline.core.store.paths import Stamp
from cal_pipeline.core.store.read_ahead import Fetched

SMALL = 4096
"""Size up to which objects are read before they are asked for, metadata and coordinates [bytes]."""

_MOST_OBJECTS = 1024
"""Number of them, which together are fewer bytes than a block of samples."""


class GroupAtHand:
    """Listing of a group, and its small objects on their way.

    Parameters
    ----------
    group : str
        Path of the group.
    listed : iterable of tuple
        Keys of its objects below the group, with their sizes and stamps.
    fetch : callable
        Starts reading an object by its key from the root of the store, and returns its future; None
        for one that need not be read.
    """

    def __init__(self, group: str, listed: Iterable[tuple[str, Stamp]], fetch: Callable[[str], Fetched | None]) -> None:
        self._prefix = f"{group}/"
        sizes = {f"{group}/{key}": size for key, (size, _) in listed}
        self._keys = sizes.keys()
        small = [key for key, size in sizes.items() if 0 <= size <= SMALL]
        # Metadata first: many small chunks might else leave no room for them.
        small = sorted(small, key=lambda key: not key.endswith("zarr.json"))[:_MOST_OBJECTS]
        self._fetched = {key: future for key in small if (future := fetch(key)) is not None}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget what is on its way in a forked child, which has no thread that would end it."""
        self._fetched = {}

    def take(self, key: str) -> Fetched | None:
        """Hand over an object, once; None if it is not among the small ones."""
        return self._fetched.pop(key, None)

    def holds(self, key: str) -> bool:
        """Tell whether an object was listed."""
        return key in self._keys

    def members(self, key: str) -> list[str]:
        """List the names directly below a key; none if nothing was listed there."""
        below = f"{key}/"
        if not below.startswith(self._prefix):
            return []
        return list(dict.fromkeys(at[len(below) :].partition("/")[0] for at in self._keys if at.startswith(below)))

    def close(self) -> None:
        """Forget what nobody has asked for."""
        # A thread that still reads may take one of them meanwhile.
        for key in list(self._fetched):
            if (future := self._fetched.pop(key, None)) is not None:
                future.cancel()
