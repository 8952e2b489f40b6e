"""Progress of a run: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping

from cal_pipeline.core.run.job import JobResult
from cal_pipeline.core.text import make_printable

logger = logging.getLogger(__name__)

LINE_INTERVAL = 60.0
"""Least time between two lines on the progress where no terminal is [s]."""

_WINDOW = 30.0
"""Time over which the rate is averaged [s]."""

_MOST_WARNINGS = 3
"""Number of the last warnings that the view shows."""


class RunProgress:
    """Progress of a run in numbers.

    Parameters
    ----------
    total : int
        Number of observations.
    nouns : str
        Name of the observations, such as ``"scans"``.

    Examples
    --------
    >>> progress = RunProgress(3, "scans")
    >>> progress(JobResult(1, values={"PWV": "0.52 mm"}))
    >>> progress(JobResult(2, "loads"))
    >>> progress.describe_counts(), progress.describe_values()
    ('1 done, 1 failed, 1 left', 'PWV 0.52 mm (1)')
    """

    def __init__(self, total: int, nouns: str) -> None:
        self.total, self.nouns = total, nouns
        self.n_done = self.n_failed = 0
        self.warnings: deque[str] = deque(maxlen=_MOST_WARNINGS)
        self.is_waiting = self.has_ended = False
        self._values: Mapping[str, str] = {}
        self._values_of: object = None
        self._n_ended = 0
        self._began = time.monotonic()
        self._read: deque[tuple[float, int]] = deque([(self._began, 0)])

    @property
    def n_ended(self) -> int:
        """Number of observations that were done or have failed."""
        return self.n_done + self.n_failed

    def __call__(self, result: JobResult | None = None, counts: tuple[int, int] | None = None) -> None:
        """Take note of an observation that has ended.

        Parameters
        ----------
        result : JobResult, optional
            Its result.
        counts : tuple of int, optional
            Numbers of observations that are done and that failed; counted here if not given.
        """
        failed = result is not None and bool(result.failed_in)
        self.n_done, self.n_failed = counts or (self.n_done + (not failed), self.n_failed + failed)
        self._n_ended += 1
        if result is not None:
            self._note_rate(result.n_bytes)
            if result.values:
                self._values, self._values_of = result.values, result.number

    def _note_rate(self, n_bytes: int) -> None:
        now = time.monotonic()
        self._read.append((now, n_bytes))
        while len(self._read) > 2 and self._read[1][0] < now - _WINDOW:
            self._read.popleft()

    def expect(self, total: int) -> None:
        """Go on after a pause, with another number of observations altogether."""
        if self.is_waiting:
            # The time of waiting is none of reading.
            self._read = deque([(time.monotonic(), 0)])
        self.total, self.is_waiting = total, False

    def wait(self) -> None:
        """Note that the run waits for further observations."""
        self.is_waiting = True

    @property
    def rate(self) -> float:
        """Decoded samples read per second, over the last half minute [B/s]; 0 if unknown."""
        read, (first, _), (last, _) = list(self._read), self._read[0], self._read[-1]
        return sum(number for _, number in read[1:]) / (last - first) if last > first else 0.0

    def describe_counts(self, short: bool = False) -> str:
        """Format numbers and rate, as in ``"3 done, 1 failed, 8 left, 350 MB/s of counts"``."""
        parts = [f"{self.n_done} done", f"{self.n_failed} failed"]
        left = max(self.total - self.n_ended, 0)
        parts.append("waiting" if self.is_waiting and not self.has_ended else f"{left} left")
        if self.rate and not self.is_waiting:
            parts.append(f"{self.rate / 1e6:.3g} MB/s{'' if short else ' of counts'}")
        return ", ".join(parts)

    def describe_values(self) -> str:
        """Format the values of the last observation that had any, with its number; empty without."""
        if not self._values:
            return ""
        values = ", ".join(f"{name} {value}" for name, value in self._values.items())
        return make_printable(f"{values} ({self._values_of})")

    def describe_time_left(self) -> str:
        """Estimate the time that is left, as in ``"0:01:20"``; empty if unknown."""
        left = self.total - self.n_ended
        if not self._n_ended or left <= 0 or self.is_waiting:
            return ""
        seconds = round(left * (time.monotonic() - self._began) / self._n_ended)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def __str__(self) -> str:
        line = f"{self.n_ended} of {self.total} {self.nouns}: {self.describe_counts()}"
        values = self.describe_values()
        return f"{line}; last {values}" if values else line


class LoggedProgress(RunProgress):
    """Progress that logs a line at most once a minute; each observation has a line of its own anyway."""

    def __init__(self, total: int, nouns: str) -> None:
        super().__init__(total, nouns)
        self._logged = time.monotonic()

    def __call__(self, result: JobResult | None = None, counts: tuple[int, int] | None = None) -> None:
        """Take note of an observation that has ended, and log a line if the last was long ago."""
        super().__call__(result, counts)
        if time.monotonic() - self._logged >= LINE_INTERVAL:
            self._logged = time.monotonic()
            # As it is now, whenever a handler gets to format it.
            logger.info("%s", str(self))
