"""Problems of rows, told once for each scan and kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.ingest.columns import Mask
from cal_pipeline.heterodyne.ingest.rows import Integers


class Problems:
    """Messages by row of what makes scans fail.

    Parameters
    ----------
    number : ndarray of int, shape (N,)
        Scan number of each row.
    """

    def __init__(self, number: Integers) -> None:
        self._number = number
        self.messages: dict[int, str] = {}
        self.rows: Mask = np.zeros(len(number), np.bool_)

    def add(self, rows: Mask, describe: Callable[[int], str]) -> None:
        """Add a problem of rows that have none yet.

        Parameters
        ----------
        rows : ndarray of bool, shape (N,)
            Rows that have it.
        describe : callable
            Function that returns the message for a row.

        Notes
        -----
        A scan of thousands of files may have the problem in each: the message is that of its first row.
        """
        found = np.flatnonzero(rows & ~self.rows)
        self.rows = self.rows | rows
        _, first, counts = np.unique(self._number[found], return_index=True, return_counts=True)
        for row, count in zip(found[first].tolist(), counts.tolist(), strict=True):
            more = f" (and {format_count(count - 1, 'more row')} of the scan)" if count > 1 else ""
            self.messages[row] = describe(row) + more
