"""Interruptions of a run by SIGINT and SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated as an interruption from the keyboard."""


class _Interruption:
    """Handler of the signals that interrupt the work of the main thread.

    The first signal raises an exception there, unless a block must not be torn apart: the exception
    then follows at the end of the block. The second signal ends the process at once, or does what it
    did before.

    Parameters
    ----------
    at_once : bool
        Whether the second signal ends the process without any cleaning up.
    """

    def __init__(self, at_once: bool) -> None:
        self._at_once = at_once
        self._first: int | None = None
        self._before: dict[int, Any] = {}
        self._shields = 0
        self._raised = False

    def install(self) -> None:
        """Take the signals over, except those that are ignored or handled outside of Python."""
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Give the signals back to their former handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
            self.check()
        elif self._at_once:
            os._exit(128 + number)
        else:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Do what a signal did before it was taken over."""
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, handler)
            signal.raise_signal(number)

    def check(self) -> None:
        """Raise the exception of a signal that came; not in a shielded block."""
        if self._first is not None and not self._shields:
            self._raised = True
            raise Terminated if self._first == signal.SIGTERM else KeyboardInterrupt

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Postpone the exception to the end of the block."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if not self._raised:
            self.check()

    @contextmanager
    def expose(self) -> Iterator[None]:
        """Raise the exception within the block, though a block around it is shielded."""
        shields, self._shields = self._shields, 0
        try:
            self.check()
            yield
        finally:
            self._shields = shields

    def deliver_late(self) -> None:
        """Pass on a signal that came too late to interrupt anything."""
        if self._first is not None and not self._raised:
            signal.raise_signal(self._first)


_current: ContextVar[_Interruption | None] = ContextVar("cal_pipeline_interruption", default=None)
"""Handler of the work that the caller belongs to; None in threads of a host program."""


@contextmanager
def interruptible(at_once: bool = False) -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt and :class:`Terminated` within the block.

    An exception raised in a finaliser is lost; :func:`check_interruption` raises it again. Blocks of
    :func:`shielded` are not interrupted. A second signal does what it did before the block. Former
    handlers are restored at the end. Signals that are ignored stay so, and outside of the main
    thread nothing happens.

    Parameters
    ----------
    at_once : bool
        Whether a second signal ends the process at once, with status 130 or 143. An inner block
        belongs to the outer one and follows its choice.
    """
    if _current.get() is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    interruption = _Interruption(at_once)
    token = _current.set(interruption)
    interruption.install()
    try:
        yield
    finally:
        interruption.restore()
        _current.reset(token)
    interruption.deliver_late()


def check_interruption() -> None:
    """Raise the exception of a signal that interrupts the work of the caller, if one came."""
    interruption = _current.get()
    if interruption is not None:
        interruption.check()


@contextmanager
def shielded() -> Iterator[None]:
    """Postpone interruptions by a first signal to the end of the block.

    For what must not be torn apart, such as publishing an observation, and for cleaning up.
    """
    interruption = _current.get()
    if interruption is None:
        yield
        return
    with interruption.shield():
        yield


@contextmanager
def exposed() -> Iterator[None]:
    """Allow interruptions within a part of a shielded block, which then cleans up undisturbed."""
    interruption = _current.get()
    if interruption is None:
        yield
        return
    with interruption.expose():
        yield


@contextmanager
def keyboard_blocked() -> Iterator[None]:
    """Let processes started within the block never receive Ctrl-C, which a terminal sends to all.

    They inherit the signal mask of the calling thread, so that none of them is interrupted while it
    imports the package.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
