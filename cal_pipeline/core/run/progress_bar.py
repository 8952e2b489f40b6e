"""Display of the progress of a run, wherever standard error goes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cal_pipeline.core.run.progress import LoggedProgress, RunProgress

_DUMB = ("dumb", "unknown", "")
"""Values of TERM of terminals that cannot move the cursor."""

_screen = threading.Lock()
"""Held by the run that draws on the terminal: two views would overwrite each other."""


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
        yield LoggedProgress(total, nouns)
        return
    try:
        from cal_pipeline.core.run.progress_view import draw  # and rich with it, for terminals only

        progress = RunProgress(total, nouns)
        with draw(progress):
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
