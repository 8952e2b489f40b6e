"""Runs in forked children of a warm process: a start of Python and of the package costs twenty runs."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Case = TypeVar("Case")
Result = TypeVar("Result")

_PR_SET_CHILD_SUBREAPER = 36
_MISSING = object()


@dataclass(frozen=True)
class Ended:
    """End of a child process.

    Parameters
    ----------
    status : int or None
        Exit status; None after a signal, or where the time was over.
    signal : int
        The signal that ended the child; 0 for none.
    output : str
        What it wrote to standard output and error.
    late : int
        Number of its processes that were alive 10 s after it had ended.
    timed_out : bool
        Whether it was killed because its time was over.
    """

    status: int | None
    signal: int
    output: str
    late: int = 0
    timed_out: bool = False


def adopt_orphans() -> None:
    """Become the parent of what children leave behind, so that it can be waited for."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Child:
    """A function that returns an exit status, at work in a forked process, the leader of a session of its own.

    Attributes
    ----------
    pid : int
        The process.
    """

    def __init__(self, function: Callable[..., int], *args: Any) -> None:
        # A pipe: limits and faults of disks do not apply to it.
        self._receiver, sender = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._receiver)
            _be_child(sender, function, args)
        os.close(sender)
        os.set_blocking(self._receiver, False)

    def wait(self, timeout: float = 60.0) -> Ended:
        """Wait for its end, and for that of what it started; kill it when its time is over."""
        text, timed_out = _listen(self.pid, self._receiver, timeout)
        if timed_out:
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        late = _end_group(self.pid)
        text += _read(self._receiver)
        os.close(self._receiver)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return Ended(None if killed else os.WEXITSTATUS(status), killed, text.decode(errors="replace"), late, timed_out)


def run_child(function: Callable[..., int], *args: Any, timeout: float = 60.0) -> Ended:
    """Run a function that returns an exit status in a forked child."""
    return Child(function, *args).wait(timeout)


def _listen(pid: int, receiver: int, timeout: float) -> tuple[bytes, bool]:
    """Collect what a child writes until it ends, and tell whether its time was over before."""
    text, end = b"", time.monotonic() + timeout
    handle = os.pidfd_open(pid)
    try:
        while (left := end - time.monotonic()) > 0:
            ready = select.select([handle, receiver], [], [], left)[0]
            text += _read(receiver)
            if handle in ready:
                return text, False
        return text, True
    finally:
        os.close(handle)


def _read(receiver: int) -> bytes:
    text = b""
    try:
        while piece := os.read(receiver, 1 << 16):
            text += piece
    except BlockingIOError:
        pass
    return text


def _be_child(output: int, function: Callable[..., int], args: tuple[Any, ...]) -> None:
    status = 70
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        # What Python kept of the streams is of a file that may be sought in, which a pipe is not.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        status = function(*args)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 71
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _end_group(group: int, patience: float = 60.0) -> int:
    """Wait for the processes of a group, then kill those left; return their number."""
    end, pause = time.monotonic() + patience, 0.0005
    while _reap(group):
        if time.monotonic() > end:
            os.killpg(group, signal.SIGKILL)
            left = 0
            while _reap(group, wait=True):
                left += 1
            return max(left, 1)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return 0


def _reap(group: int, wait: bool = False) -> bool:
    """Tell whether a group still has processes, those that ended being waited for."""
    try:
        while True:
            pid, _ = os.waitpid(-group, 0 if wait else os.WNOHANG)
            if pid == 0 or wait:
                return True
    except ChildProcessError:
        return False


def share(cases: Sequence[Case], function: Callable[[Case], Result], lanes: int) -> list[Result]:
    """Apply a function to cases in several forked processes; results in the order of the cases."""
    if lanes <= 1:
        return [function(case) for case in cases]
    gc.freeze()
    started = [_start_lane(list(cases[lane::lanes]), function) for lane in range(lanes)]
    results: list[Any] = [_MISSING] * len(cases)
    for lane, (pid, file) in enumerate(started):
        os.waitpid(pid, 0)
        with file:
            file.seek(0)
            results[lane::lanes] = pickle.load(file)
    return results


def _start_lane(cases: list[Case], function: Callable[[Case], Result]) -> tuple[int, Any]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller reads and closes it
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            adopt_orphans()
            pickle.dump([function(case) for case in cases], file)
            file.flush()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid, file


def scratch(parent: Path) -> Path:
    """Make an empty folder for a case."""
    return Path(tempfile.mkdtemp(dir=parent))
