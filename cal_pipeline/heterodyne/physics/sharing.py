"""Division of work on many samples into groups, and functions that process the groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Function that calls a function on every item of a sequence and returns the results."""

_GROUPS, _SAMPLES_IN_GROUP = 8, 2**14
"""Maximum number of groups, and minimum number of samples per group for threads to pay off."""


def one_by_one(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call a function on every item sequentially.

    Parameters
    ----------
    function : callable
        Function of an item.
    items : sequence
        Its arguments.

    Returns
    -------
    list
        The results, in the order of the items.

    Examples
    --------
    >>> one_by_one(abs, [-1, 2])
    [1, 2]
    """
    return [function(item) for item in items]


def groups_of_rows(n_rows: int, n_columns: int) -> list[slice]:
    """Divide rows into groups of neighbours of about equal size, for concurrent processing.

    Parameters
    ----------
    n_rows : int
        Number of rows, one per pixel.
    n_columns : int
        Number of samples in a row.

    Returns
    -------
    list of slice
        At most 8 groups; one where threads do not pay off.

    Examples
    --------
    >>> groups_of_rows(7, 1024)
    [slice(0, 7, None)]
    >>> groups_of_rows(3, 16384)
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    n_groups = max(min(n_rows, _GROUPS, n_rows * n_columns // _SAMPLES_IN_GROUP), 1)
    groups = np.array_split(np.arange(n_rows), n_groups)
    return [slice(int(group[0]), int(group[-1]) + 1) for group in groups]
