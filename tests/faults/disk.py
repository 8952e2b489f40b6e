"""Calls to the disk, counted, and made to fail, to end the process or to lose what was not fsynced.

Audit events tell of every opening, renaming, listing and removing, whoever asks for it; reading, writing and fsync
have none and are wrapped. Nothing here can be undone: it is for children that end.
"""

from __future__ import annotations

import builtins
import errno
import io
import mmap
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

WRITING = ("create", "write", "fsync", "rename", "remove", "mkdir", "rmdir")
"""Calls that change the disk."""

CHANGING = tuple(call for call in WRITING if call != "fsync")
"""Those between which a killed process leaves another disk."""

READING = ("open", "read", "list", "stat")
"""Calls that do not."""

_AUDITED = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.listdir": "list",
    "os.scandir": "list",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Shared:
    """A number shared with forked processes; they count without a lock, which a killed one would keep."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def get(self) -> int:
        """Return the number."""
        return int.from_bytes(self._memory[:8], "little")

    def add(self) -> int:
        """Add 1, and return the result."""
        number = self.get() + 1
        self._memory[:8] = number.to_bytes(8, "little")
        return number


@dataclass
class Watch:
    """Hooks on disk calls below a folder.

    Parameters
    ----------
    folder : Path
        The folder.
    calls : tuple of str
        Calls that are counted.
    act : callable
        Function of the number of a call, from 1 on, its name, its path, and of a function that does half of it. It may
        raise, or end the process.
    """

    folder: Path
    calls: tuple[str, ...]
    act: Callable[[int, str, str, Callable[[], Any]], None]
    count: Shared = field(default_factory=Shared)
    _inside: bool = False

    def before(self, call: str, path: Any, half: Callable[[], Any] = lambda: None) -> None:
        """Count a call that is about to be made."""
        if self._inside or call not in self.calls:
            return
        self._inside = True
        try:
            text = _resolve(path)
            if text == str(self.folder) or text.startswith(f"{self.folder}/"):
                self.act(self.count.add(), call, text, half)
        finally:
            self._inside = False

    def install(self) -> None:
        """Begin to watch this process and those that it forks."""
        os.chdir(self.folder)
        _wrap_files(self)
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not isinstance(path, int):
                self.before("create" if (flags or 0) & _WRITES else "open", path)
        elif event in _AUDITED:
            path = args[0] if args else "."
            # The folder of a relative path is the last argument.
            base = args[-1] if len(args) > 1 and isinstance(args[-1], int) and event != "os.mkdir" else -1
            if base >= 0 and isinstance(path, str) and not os.path.isabs(path):
                path = os.path.join(_resolve(base), path)
            self.before(_AUDITED[event], path)


def _resolve(path: Any) -> str:
    if isinstance(path, int):
        try:
            return os.readlink(f"/proc/self/fd/{path}")
        except OSError:
            return ""
    return os.path.abspath(os.fsdecode(path))


def _wrap_files(watch: Watch) -> None:
    """Wrap reading, writing and fsync."""
    fsync, stat, read, write, open_ = os.fsync, os.stat, os.read, os.write, io.open

    class Raw(io.FileIO):
        """A file whose reads and writes are counted."""

        def write(self, data: Any) -> int:
            watch.before("write", self.fileno(), lambda: io.FileIO.write(self, memoryview(data)[: len(data) // 2]))
            return super().write(data)

        def read(self, *args: Any) -> Any:
            watch.before("read", self.fileno())
            return super().read(*args)

        def readall(self) -> Any:
            watch.before("read", self.fileno())
            return super().readall()

        def readinto(self, buffer: Any) -> Any:
            watch.before("read", self.fileno())
            return super().readinto(buffer)

    def open_file(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **settings: Any) -> Any:
        if isinstance(file, int) or not _resolve(file).startswith(f"{watch.folder}/"):
            return open_(file, mode, buffering, *args, **settings)
        raw: Any = Raw(file, mode.replace("b", "").replace("t", "") or "r", settings.get("closefd", True))
        if buffering == 0:
            return raw
        buffered: Any
        if "+" in mode:
            buffered = io.BufferedRandom(raw)
        else:
            buffered = io.BufferedReader(raw) if mode.startswith("r") else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **settings)

    def counted(call: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **settings: Any) -> Any:
            watch.before(call, path)
            return function(path, *args, **settings)

        return wrapped

    def write_file(descriptor: int, data: Any) -> int:
        watch.before("write", descriptor, lambda: write(descriptor, memoryview(data)[: len(data) // 2]))
        return write(descriptor, data)

    builtins.open = io.open = open_file  # type: ignore[assignment]
    os.fsync = counted("fsync", fsync)
    os.stat = counted("stat", stat)  # type: ignore[assignment]
    os.read = counted("read", read)
    os.write = write_file


def count_calls(folder: Path, calls: tuple[str, ...], run: Callable[[], int], found: Any) -> int:
    """Run, and write the name and path of every call to a file."""

    def note(_: int, call: str, path: str, _half: Callable[[], Any]) -> None:
        found.write(f"{call} {os.path.relpath(path, folder)}\n".encode())

    Watch(folder, calls, note).install()
    status = run()
    found.flush()
    return status


def fail_at(folder: Path, call: str, number: int, code: int, lasting: bool, run: Callable[[], int]) -> int:
    """Run while the call of that number fails, and all later ones too if the fault is lasting."""

    def fail(count: int, _call: str, path: str, _half: Callable[[], Any]) -> None:
        if count == number or (lasting and count > number):
            raise OSError(code, os.strerror(code), path)

    Watch(folder, (call,), fail).install()
    return run()


def die_at(folder: Path, number: int, all_processes: bool, run: Callable[[], int]) -> int:
    """Run until the call of that number; half of a write is done."""
    done = Shared()

    def die(count: int, _call: str, _path: str, half: Callable[[], Any]) -> None:
        if count >= number and not done.get():
            done.add()
            half()
            _die(all_processes)

    Watch(folder, CHANGING, die).install()
    return run()


def stop_at(folder: Path, number: int, run: Callable[[], int]) -> int:
    """Run until the call of that number, and stop there until told to go on."""
    done = Shared()

    def stop(count: int, _call: str, _path: str, _half: Callable[[], Any]) -> None:
        if count >= number and not done.get():
            done.add()
            os.kill(os.getpid(), signal.SIGSTOP)

    Watch(folder, WRITING, stop).install()
    return run()


def _die(all_processes: bool) -> NoReturn:
    if all_processes:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def lose_power_at(folder: Path, number: int, run: Callable[[], int]) -> int:
    """Run until the call of that number, and lose what was not fsynced by then.

    Files lose their bytes, and renamings are undone whose folder was not fsynced after them.
    """
    written: set[str] = set()
    renamed: list[tuple[str, str, bool]] = []

    def note(count: int, call: str, path: str, half: Callable[[], Any]) -> None:
        if count >= number:
            half()
            _lose(written, renamed)
            _die(True)
        if call == "write":
            written.add(path)
        elif call == "fsync":
            written.discard(path)
            renamed[:] = [(old, new, kept) for old, new, kept in renamed if os.path.dirname(new) != path]

    watch = Watch(folder, WRITING, note)
    watch.install()

    def follow(event: str, args: tuple[Any, ...]) -> None:
        if event == "os.rename" and not watch._inside:
            old, new = os.path.abspath(args[0]), os.path.abspath(args[1])
            moved = {path for path in written if path == old or path.startswith(f"{old}/")}
            written.difference_update(moved)
            written.update(new + path.removeprefix(old) for path in moved)
            renamed.append((old, new, os.path.lexists(new)))

    sys.addaudithook(follow)
    return run()


def _lose(written: set[str], renamed: list[tuple[str, str, bool]]) -> None:
    for path in written:
        if os.path.isfile(path):
            os.truncate(path, 0)
    for old, new, replaced in reversed(renamed):
        # What was replaced is gone: either of the two may then be found.
        free = os.path.isdir(os.path.dirname(old)) and not os.path.lexists(old)
        if free and not replaced and os.path.lexists(new):
            os.rename(new, old)


CODES = {
    "create": (errno.ENOSPC, errno.EMFILE, errno.EIO),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.ENOSPC),
    "remove": (errno.EIO,),
    "mkdir": (errno.ENOSPC, errno.EIO),
    "rmdir": (errno.EIO,),
    "open": (errno.EIO, errno.EMFILE),
    "read": (errno.EIO,),
    "list": (errno.EIO, errno.EMFILE),
    "stat": (errno.EIO,),
}
"""Errors of each call."""
