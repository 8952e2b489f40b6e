"""Progress of a run: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cal_pipeline.core.logs import PACKAGE
from cal_pipeline.core.run.job import JobResult
from cal_pipeline.core.text import make_printable

logger = logging.getLogger(__name__)

LINE_INTERVAL = 60.0
"""Least time between two lines on the progress where no terminal is [s]."""

_WINDOW = 30.0
"""Time over which the rate is averaged [s]."""

_MOST_WARNINGS = 3
"""Number of the last warnings that the view shows."""

_REFRESHES = 4
"""Refreshes of the view per second."""

_DUMB = ("dumb", "unknown", "")
"""Values of TERM of terminals that cannot move the cursor."""

_screen = threading.Lock()
"""Held by the run that draws on the terminal: two views would overwrite each other."""


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


@contextmanager
def progress_bar(total: int, nouns: str) -> Iterator[RunProgress]:
    """Show the progress of a run on standard error if it is a terminal, else log a line now and then.

    A terminal that cannot move the cursor (``TERM=dumb``), and one on which another run of this
    process draws already, gets lines.

    Parameters
    ----------
    total : int
        Number of observations.
    nouns : str
        Name of the observations, such as ``"scans"``.

    Yields
    ------
    RunProgress
        To be called after each observation.
    """
    if not _can_draw(sys.stderr) or not _screen.acquire(blocking=False):
        yield _LoggedProgress(total, nouns)
        return
    try:
        progress = RunProgress(total, nouns)
        with _drawn(progress):
            yield progress
    finally:
        _screen.release()


def _can_draw(stream: Any) -> bool:
    """Tell whether a stream is a terminal with a cursor.

    A daemon has no standard error, and a program that keeps a log may replace it by an object that
    can only write.
    """
    try:
        return bool(getattr(stream, "isatty", bool)()) and os.environ.get("TERM", "") not in _DUMB
    except ValueError:  # it is closed
        return False


class _LoggedProgress(RunProgress):
    """Progress that logs a line at most once a minute; each observation has a line of its own anyway."""

    def __init__(self, total: int, nouns: str) -> None:
        super().__init__(total, nouns)
        self._logged = time.monotonic()

    def __call__(self, result: JobResult | None = None, counts: tuple[int, int] | None = None) -> None:
        super().__call__(result, counts)
        if time.monotonic() - self._logged >= LINE_INTERVAL:
            self._logged = time.monotonic()
            # As it is now, whenever a handler gets to format it.
            logger.info("%s", str(self))


class _View:
    """Picture of the progress: a bar, and lines that are cut at the width of the terminal."""

    def __init__(self, progress: RunProgress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, progress = options.max_width, self._progress
        yield self._bar(width)
        lines = [progress.describe_counts(short=width < 60), progress.describe_values()]
        if not progress.has_ended:
            lines += [f"! {warning}" for warning in list(progress.warnings)]
        for line in filter(None, lines):
            yield Text(_fit(line, width, options.encoding), no_wrap=True, overflow="crop")

    def _bar(self, width: int) -> Table:
        progress = self._progress
        label = Text(progress.nouns, style="bold")
        numbers = Text(f"{progress.n_ended}/{progress.total} {progress.describe_time_left()}".rstrip())
        row = Table.grid(padding=(0, 1))
        room = width - label.cell_len - numbers.cell_len - 3
        total = max(progress.total, 1)
        bar = ProgressBar(total=total, completed=min(progress.n_ended, total), width=max(min(room, 40), 1))
        row.add_row(label, bar, numbers)
        return row


def _fit(line: str, width: int, encoding: str) -> str:
    """Cut a line at a width, with what the terminal cannot show replaced, so that it stays one line."""
    shown = line.encode(encoding, "replace").decode(encoding, "replace")
    text = Text(shown)
    if text.cell_len > width:
        text.truncate(max(width - 3, 0))
        text.append("..."[:width])
    return text.plain


class _Screen(Console):
    """Console that leaves the cursor visible: a process that is killed could not bring it back."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class _Tolerant:
    """Terminal that may go away, as with a lost connection, without an error of those who write to it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _LastWarnings(logging.Handler):
    """Handler that keeps the last warnings for the view."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(logging.WARNING)
        self._warnings = progress.warnings

    def emit(self, record: logging.LogRecord) -> None:
        self._warnings.append(make_printable(record.getMessage()))


@contextmanager
def _drawn(progress: RunProgress) -> Iterator[None]:
    """Draw the progress on standard error within the block, log lines above it."""
    console = _Screen(file=_Tolerant(sys.stderr), force_terminal=True, force_jupyter=False)  # type: ignore[arg-type]
    live = Live(
        _View(progress),
        console=console,
        refresh_per_second=_REFRESHES,
        vertical_overflow="crop",
        # What is printed to a pipe belongs there.
        redirect_stdout=getattr(sys.stdout, "isatty", bool)(),
    )
    handler, package = _LastWarnings(progress), logging.getLogger(PACKAGE)
    package.addHandler(handler)
    try:
        with live, _logs_above():
            try:
                yield
            finally:
                progress.has_ended = True
    finally:
        package.removeHandler(handler)


@contextmanager
def _logs_above() -> Iterator[None]:
    """Let log lines that go to the terminal scroll above the view."""
    handlers = {
        handler
        for name in (PACKAGE, "stpipe", None)
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler) and _is_terminal(handler.stream)
    }
    before = [(handler, handler.setStream(sys.stderr)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in before:
            if stream is not None:
                handler.setStream(stream)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(getattr(stream, "isatty", bool)())
    except ValueError:
        return False
