"""Live view of the progress of a run on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cal_pipeline.core.logs import PACKAGE
from cal_pipeline.core.run.progress import RunProgress
from cal_pipeline.core.text import make_printable

_REFRESHES = 4
"""Refreshes of the view per second."""


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
def draw(progress: RunProgress) -> Iterator[None]:
    """Draw the progress on standard error within the block, log lines above it.

    Parameters
    ----------
    progress : RunProgress
        The progress, which changes meanwhile.
    """
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
