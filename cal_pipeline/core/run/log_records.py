"""Log lines of workers, heard once where the run was begun."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cal_pipeline.core.run.threads import SharedSetting, renew_after_fork

Records = list[tuple[str, int, str]]
"""Logger, level and message of each line."""

_records: ContextVar[Records | None] = ContextVar("cal_pipeline_records", default=None)
"""Lines of the observation that the calling thread works on."""


class _Here:
    """Identity of this process; a forked child has one of its own."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Become another process."""
        self.id = uuid.uuid4().hex


_here = _Here()


def this_process() -> str:
    """Identify this process among those of all machines."""
    return _here.id


@contextmanager
def record_logs(run_process: str) -> Iterator[Records]:
    """Note what this package logs within the block, if that is not heard by the run anyway.

    Lines are told apart by the observation that they belong to: a worker may have several threads.

    Parameters
    ----------
    run_process : str
        Process that the run was begun in.

    Yields
    ------
    list of tuple
        Logger, level and message of each line; empty in the process of the run.
    """
    records: Records = []
    if run_process == this_process():
        yield records
        return
    token = _records.set(records)
    try:
        with _listening:
            yield records
    finally:
        _records.reset(token)


def log_again(records: Records) -> None:
    """Log here what was logged in a worker."""
    for name, level, message in records:
        logging.getLogger(name).log(level, "%s", message)


class _Recorder(logging.Handler):
    """Adds a line to those of the observation that is worked on in its context."""

    def emit(self, record: logging.LogRecord) -> None:
        records = _records.get()
        if records is not None:
            records.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _one_recorder() -> Iterator[None]:
    package, recorder = logging.getLogger("cal_pipeline"), _Recorder(logging.INFO)
    before = package.level
    # A process that nobody has configured lets warnings pass only; the run decides what it shows.
    package.setLevel(min(package.getEffectiveLevel(), logging.INFO))
    package.addHandler(recorder)
    try:
        yield
    finally:
        package.removeHandler(recorder)
        package.setLevel(before)


_listening = SharedSetting(_one_recorder)


@contextmanager
def _stpipe_at_warning() -> Iterator[None]:
    framework = logging.getLogger("stpipe")
    before = framework.level
    if framework.getEffectiveLevel() > logging.DEBUG:
        framework.setLevel(logging.WARNING)
    try:
        yield
    finally:
        framework.setLevel(before)


quiet_stpipe = SharedSetting(_stpipe_at_warning)
"""Context manager that silences stpipe's log lines per step and observation, except for debugging."""
