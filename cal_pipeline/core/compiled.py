"""Compiled loops over samples: one pass over memory, without the interpreter's lock."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])

_MAKING = threading.RLock()


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers at its first call, without the interpreter's lock.

    The machine code is cached for later runs in the user's cache folder, or in ``NUMBA_CACHE_DIR``
    if that is set. Without a writable cache folder every run compiles anew. numba keys the cache by
    the path and the content (older releases: size and time stamp) of the source file, so a compiled
    function may use compiled functions and constants of its own file only. Arithmetic is as
    written: nothing is reordered, and a division by zero follows IEEE 754.

    Examples
    --------
    >>> @compiled
    ... def divide(a, b):
    ...     return a / b
    >>> divide(1.0, 4.0), divide(1.0, 0.0)
    (0.25, inf)
    """
    return cast(Function, _Compiled(function))


class _Compiled:
    """Function that goes to numba at its first call: its import takes long, and many commands call none."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._made: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function."""
        return (self._made or self._make())(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._made or self._make(), name)

    def _make(self) -> Callable[..., Any]:
        """Make the function of numba, with those of its file, which numba looks up among the names of the module."""
        names = self._function.__globals__
        with _MAKING:
            if self._made is None:
                self._made = _hand_to_numba(self._function)
            for name, value in list(names.items()):
                if isinstance(value, _Compiled) and value._function.__globals__ is names:
                    value._made = names[name] = value._made or _hand_to_numba(value._function)
        return self._made


def _hand_to_numba(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that numba compiles, or reads from its cache, at the first call with each set of types."""
    import numba

    settings = {"nogil": True, "error_model": "numpy", "fastmath": False}
    try:
        with _cache_of_the_user():
            made = numba.njit(**settings, cache=True)(function)
    except RuntimeError:  # numba found no folder to cache in
        return cast(Callable[..., Any], numba.njit(**settings)(function))
    # numba's second choice is beside the source, where files outlive `pip uninstall` and hide an
    # editable install behind an empty package.
    if Path(made.stats.cache_path).parent == Path(function.__code__.co_filename).parent:
        made = numba.njit(**settings)(function)
    return cast(Callable[..., Any], made)


@contextlib.contextmanager
def _cache_of_the_user() -> Iterator[None]:
    """Point numba's cache to the user's cache folder, unless ``NUMBA_CACHE_DIR`` is set.

    numba chooses the folder of a function when it is decorated; later changes do not move it. Other
    packages' functions keep theirs.
    """
    import numba
    import platformdirs

    with _MAKING:  # functions may be called first by several threads
        chosen = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = chosen or str(platformdirs.user_cache_path("cal_pipeline", appauthor=False) / "numba")
        try:
            yield
        finally:
            numba.config.CACHE_DIR = chosen


def find_extremes(values: NDArray[Any]) -> tuple[int, int] | None:
    """Find the smallest and the largest of integers in one pass.

    Parameters
    ----------
    values : ndarray
        Numbers, of any shape.

    Returns
    -------
    tuple of int, or None
        None for what this does not pay for, or does not apply to: floats, another byte order, no
        number at all.

    Examples
    --------
    >>> import numpy as np
    >>> find_extremes(np.array([[3, -1], [7, 2]]))
    (-1, 7)
    """
    if values.dtype.kind not in "iu" or not values.dtype.isnative or not values.size:
        return None
    if not (values.flags.c_contiguous or values.flags.f_contiguous):
        return None
    lowest, highest = _extremes(values.ravel(order="K"))
    return int(lowest), int(highest)


@compiled
def _extremes(values: NDArray[Any]) -> tuple[Any, Any]:
    """Find the smallest and the largest of integers (N,)."""
    lowest = highest = values[0]
    for i in range(values.size):  # by index, or it is not vectorized
        lowest = min(lowest, values[i])
        highest = max(highest, values[i])
    return lowest, highest
