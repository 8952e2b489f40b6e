"""Log of a run on the terminal: one format for every way of running."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cal_pipeline.core.text import escape_lines, make_printable

FORMAT = "%(asctime)s %(levelname)s %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"

PACKAGE, FRAMEWORK = "cal_pipeline", "stpipe"
"""Loggers of this package and of stpipe."""


class _OneLineFormatter(logging.Formatter):
    """Formatter that escapes control characters: names from the data neither break nor colour a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = make_printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return escape_lines(super().formatException(ei))


def run_formatter() -> logging.Formatter:
    """Make the formatter of log lines."""
    return _OneLineFormatter(FORMAT, DATE_FORMAT)


def framework_level(level: int) -> int:
    """Return the level of stpipe's loggers, whose lines per step and observation only help to debug."""
    return level if level <= logging.DEBUG else max(level, logging.WARNING)


@contextmanager
def log_to_stderr(level: int = logging.INFO) -> Iterator[None]:
    """Log to standard error within the block.

    Nothing is added where a handler of the root logger already writes to the terminal: each line
    would be there twice.

    Parameters
    ----------
    level : int
        Least level of the lines.
    """
    levels = {PACKAGE: level, FRAMEWORK: framework_level(level)}
    handler = None if sys.stderr is None or _root_writes_to_terminal() else logging.StreamHandler(sys.stderr)
    if handler is not None:
        handler.setFormatter(run_formatter())
    before = {name: logging.getLogger(name).level for name in levels}
    for name in levels:
        logger = logging.getLogger(name)
        logger.setLevel(levels[name])
        if handler is not None:
            logger.addHandler(handler)
    try:
        yield
    finally:
        for name in levels:
            logger = logging.getLogger(name)
            logger.setLevel(before[name])
            if handler is not None:
                logger.removeHandler(handler)


class _Unseen(logging.Filter):
    """Filter that lets each message of this package pass once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != PACKAGE:
            return True
        line = (record.name, record.levelno, record.getMessage())
        if line in self._seen:
            return False
        self._seen.add(line)
        return True


@contextmanager
def log_lines_once() -> Iterator[None]:
    """Let each line of this package reach the handlers that there are once within the block.

    A run that repeats its work with other parameters would say the same again and again.
    """
    handlers = [handler for name in (PACKAGE, None) for handler in logging.getLogger(name).handlers]
    filters = [(handler, _Unseen()) for handler in handlers]
    for handler, unseen in filters:
        handler.addFilter(unseen)
    try:
        yield
    finally:
        for handler, unseen in filters:
            handler.removeFilter(unseen)


def _root_writes_to_terminal() -> bool:
    """Tell whether a handler of the root logger writes to standard output or error."""
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return any(
        isinstance(handler, logging.StreamHandler) and any(handler.stream is stream for stream in streams)
        for handler in logging.getLogger().handlers
    )
