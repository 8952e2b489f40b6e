"""How work on many samples is shared out: into which parts, and who calls for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Calls a function on every item of a sequence."""

_GROUPS, _SAMPLES_IN_GROUP = 8, 2**14
"""Groups at most, and samples in one at least: below that sharing takes longer than the work."""


def one_by_one(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call a function on every item, one after the other."""
    return [function(item) for item in items]


def groups_of_rows(n_rows: int, n_columns: int) -> list[slice]:
    """Neighbouring rows in groups of about the same size, which are worked on beside each other."""
    n_groups = max(min(n_rows, _GROUPS, n_rows * n_columns // _SAMPLES_IN_GROUP), 1)
    groups = np.array_split(np.arange(n_rows), n_groups)
    return [slice(int(group[0]), int(group[-1]) + 1) for group in groups]
