"""A bar that shows observations and rate of a run, on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(total: int, nouns: str) -> Iterator[Callable[[], None]]:
    """Show progress on standard error if it is a terminal.

    Parameters
    ----------
    total : int
        Number of observations.
    nouns : str
        Name of the observations, such as ``"scans"``.

    Yields
    ------
    callable
        To be called after each observation.
    """
    # A daemon has no standard error, and a program that keeps a log may replace it by an object that can only write.
    if not getattr(sys.stderr, "isatty", bool)():
        yield lambda: None
        return
    columns = (
        TextColumn(f"[bold]{nouns}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar, _logs_above(bar):
        task = bar.add_task(nouns, total=total, rate="")

        def advance() -> None:
            bar.advance(task)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.2f} {nouns}/s" if speed else "")

        yield advance


@contextmanager
def _logs_above(bar: Progress) -> Iterator[None]:
    """Let log lines that go to the terminal scroll above the bar."""
    handlers = {
        handler
        for name in ("cal_pipeline", "stpipe", None)
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "isatty", bool)()
    }
    before = [(handler, handler.setStream(sys.stderr)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in before:
            if stream is not None:
                handler.setStream(stream)
