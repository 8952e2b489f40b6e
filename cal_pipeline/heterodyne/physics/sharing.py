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
    """Call a function on every item sequentially."""
    return [function(item) for item in items]


def groups_of_rows(n_rows: int, n_columns: int) -> list[slice]:
    """Divide rows into groups of neighbours of about equal size, for concurrent processing."""
    n_groups = max(min(n_rows, _GROUPS, n_rows * n_columns // _SAMPLES_IN_GROUP), 1)
    groups = np.array_split(np.arange(n_rows), n_groups)
    return [slice(int(group[0]), int(group[-1]) + 1) for group in groups]
