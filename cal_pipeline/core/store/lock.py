"""Lock of a product: one run writes it at a time, and a run that is gone is recognised."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import CalibrationError, StoreError, StoreLockedError
from cal_pipeline.core.store.local_path import LocalStorePath, sync_file
from cal_pipeline.core.store.paths import StorePath

logger = logging.getLogger(__name__)

RENEWAL = 60.0
"""Interval at which a run renews its lock [s]."""

STALE = 600.0
"""Age of a lock of another host from which on its run counts as gone [s]."""

CLAIMS = ".lock"
"""Folder of the claims of runs in a remote store."""

_PATIENCE = 10.0
"""Time to wait for a run that claims a remote store concurrently, or for the guard of a folder [s]."""

_POLLING = 0.1
"""Polling interval meanwhile [s]."""

_running: set[str] = set()
"""Runs of this process that hold a lock."""


@dataclass(frozen=True)
class Holder:
    """Run that holds a lock.

    Parameters
    ----------
    host : str
        Name of its machine.
    pid : int
        Its process.
    process_started : str
        Boot, process namespace and start of the process (clock ticks since the boot), which tell it
        from a later one with its number; empty on systems that do not say.
    started : str
        Start of the run (UTC, ISO 8601).
    run : str
        Id of the run.
    renewed : str
        Last renewal of the lock (UTC, ISO 8601).
    machine : str
        Id of the machine, which tells it from others of its name; empty if it is not known.
    """

    host: str
    pid: int
    process_started: str
    started: str
    run: str
    renewed: str
    machine: str = ""

    @classmethod
    def of_this_process(cls, run: str) -> Holder:
        """Make the holder of a run that this process begins."""
        now = _now()
        stamp = process_stamp(os.getpid()) or ""
        return cls(socket.gethostname(), os.getpid(), stamp, now, run, now, find_machine_id())

    @classmethod
    def from_json(cls, content: bytes) -> Holder:
        """Read a holder from the content of a lock.

        Raises
        ------
        ValueError
            If it is no lock.
        """
        found = json.loads(content)
        if not isinstance(found, dict) or not isinstance(found.get("host"), str) or type(found.get("pid")) is not int:
            raise ValueError("no host and process")
        texts = {name: str(found.get(name, "")) for name in ("process_started", "started", "run", "renewed", "machine")}
        return cls(found["host"], found["pid"], **texts)

    def as_json(self, **more: Any) -> bytes:
        """Return the content of a lock."""
        return (json.dumps(asdict(self) | more) + "\n").encode()

    def is_gone(self) -> bool:
        """Tell whether the run has ended without giving its lock back.

        On this host its process is looked for; one of an earlier boot is gone. A process of another host,
        of another machine with the name of this one, or of another container, cannot be seen; it counts as
        gone :data:`STALE` seconds after the last renewal.
        """
        if self.host == socket.gethostname():
            here = process_stamp(os.getpid()) or ""
            if self.pid == os.getpid() and self.process_started == here:
                return self.run not in _running
            (boot, space), (its_boot, its_space) = _origin(here), _origin(self.process_started)
            if boot != its_boot:
                return bool(self.machine and self.machine == find_machine_id()) or self._is_old()
            if space == its_space:
                found = process_stamp(self.pid)
                return found is None or (found != self.process_started if found else self._is_old())
        return self._is_old()

    def _is_old(self) -> bool:
        try:
            renewed = datetime.fromisoformat(self.renewed).timestamp()
        except ValueError:
            return True
        return time.time() - renewed > STALE

    def __str__(self) -> str:
        return f"host {self.host}, process {self.pid}, started {self.started}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _origin(stamp: str) -> tuple[str, str]:
    """Return the boot and the process namespace in the stamp of a process."""
    boot, _, rest = stamp.partition("/")
    return boot, rest.partition("/")[0]


_MACHINE_ID = Path("/etc/machine-id")


@cache
def find_machine_id() -> str:
    """Return the id of this machine, or of this container; empty if none is known that lasts."""
    with suppress(OSError, ValueError):
        if re.fullmatch("[0-9a-f]{32}", found := _MACHINE_ID.read_text().strip()):
            return found
    node = uuid.getnode()
    # A machine without a network card gets a random number each time, marked as such.
    return "" if node >> 40 & 1 else f"{node:012x}"


def process_stamp(pid: int) -> str | None:
    """Return what tells a process from a later one with its number.

    Parameters
    ----------
    pid : int
        The process.

    Returns
    -------
    str or None
        Empty if the process lives but the system does not say; None if there is no such process.
    """
    if pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    # A zombie has ended; nobody has asked for its status yet.
    return None if fields[0] in "ZX" else f"{boot}/{space}/{fields[19]}"


class StoreLock(ABC):
    """Lock of a product, renewed by a thread until it is released.

    Parameters
    ----------
    store : str
        Name of the product.
    holder : Holder
        The run.

    Attributes
    ----------
    holder : Holder
        The run.
    """

    def __init__(self, store: str, holder: Holder) -> None:
        self.holder = holder
        self._store = store
        self._confirmed = 0.0
        self._taken_by: Holder | None = None
        self._is_lost = False
        self._ended = threading.Event()
        self._renewing = threading.Lock()

    @abstractmethod
    def refuse_if_held(self) -> None:
        """Refuse to go on, before anything is written, where another run holds the lock.

        Raises
        ------
        StoreLockedError
            If one does.
        """

    @abstractmethod
    def _take(self) -> None:
        """Take the lock, or raise :class:`StoreLockedError`."""

    @abstractmethod
    def _find(self) -> Holder | None:
        """Return the holder of the lock that this run took: another run after a takeover, None if it is gone."""

    @abstractmethod
    def _write_again(self) -> None:
        """Write the lock with the time of this renewal."""

    @abstractmethod
    def _remove(self) -> None:
        """Remove the lock of this run."""

    def acquire(self) -> None:
        """Take the lock, and begin to renew it.

        Raises
        ------
        StoreLockedError
            If another run holds it.
        """
        _running.add(self.holder.run)
        try:
            self._take()
        except BaseException:
            _running.discard(self.holder.run)
            raise
        self._confirmed = time.time()
        threading.Thread(target=self._keep, name="lock", daemon=True).start()

    def release(self) -> None:
        """Give the lock back; one that another run has taken over is left alone."""
        self._ended.set()
        if self.holder.run not in _running:
            return
        _running.discard(self.holder.run)
        with self._renewing:
            try:
                if self._is_ours():
                    self._remove()
            except (OSError, CalibrationError) as error:
                logger.warning("the lock of %s could not be removed: %s", self._store, error)

    def ensure_held(self, again: bool = False) -> None:
        """Check that no other run has taken the lock over.

        The lock is read again where the last renewal is long ago, as after a machine was suspended.

        Parameters
        ----------
        again : bool
            Whether it is read again in any case, as before something is removed or replaced. A lock that
            cannot be read is not lost.

        Raises
        ------
        StoreLockedError
            If one has, or if the lock is gone.
        """
        is_old = time.time() - self._confirmed > STALE / 2
        if not self._is_lost and (again or is_old):
            try:
                self._is_ours()
            except (OSError, CalibrationError, ValueError):
                if is_old:
                    raise
        if self._taken_by is not None:
            raise StoreLockedError(f"output {self._store} was taken over by another run: {self._taken_by}")
        if self._is_lost:
            raise StoreLockedError(
                f"the lock of output {self._store} is gone: another run took the output over and has ended, "
                "or somebody removed the lock"
            )

    def _is_ours(self) -> bool:
        found = self._find()
        if found is not None and found.run != self.holder.run:
            self._taken_by = found
        if found is None or self._taken_by is not None:
            # One that is gone is not made again: whoever took it over and has ended left a finished product.
            self._is_lost = True
        else:
            self._confirmed = time.time()
        return not self._is_lost

    def _keep(self) -> None:
        while not self._ended.wait(RENEWAL) and not self._is_lost:
            # A full disk or a network that fails is no reason to give up: the next renewal may succeed.
            with suppress(OSError, CalibrationError, ValueError):
                self.renew()

    def renew(self) -> None:
        """Renew the lock, unless another run has taken it over or it is gone."""
        with self._renewing:
            if not self._ended.is_set() and self._is_ours():
                self.holder = replace(self.holder, renewed=_now())
                self._write_again()
                self._confirmed = time.time()


def _refusal(store: str, holder: Holder) -> StoreLockedError:
    return StoreLockedError(f"output {store} is being written by another run: {holder}; wait until it has ended")


class LocalLock(StoreLock):
    """Lock of a product in a folder: the file ``<product>.lock`` beside it.

    Parameters
    ----------
    path : Path
        The product.
    drafts : Path
        Folder of the run on the same file system, in which the lock is prepared.
    holder : Holder
        The run.
    """

    def __init__(self, path: Path, drafts: Path, holder: Holder) -> None:
        super().__init__(str(path), holder)
        self.path = lock_path(path)
        self._draft = drafts / "lock"

    def refuse_if_held(self) -> None:
        """Refuse to go on where another run holds the lock, or where a file is in its way."""
        found = self._find()
        if found is not None and not found.is_gone():
            raise _refusal(self._store, found)

    def _find(self) -> Holder | None:
        return _read_lock(self.path)

    def _take(self) -> None:
        self._write_draft()
        with _guarded(self.path.parent):
            self.refuse_if_held()
            self._put_stale_aside()
            try:
                _link(self._draft, self.path)
            except FileExistsError as error:
                self.refuse_if_held()
                raise StoreLockedError(f"{self.path} appeared while output {self._store} was locked") from error
        self._draft.unlink()

    def _put_stale_aside(self) -> None:
        """Remove the lock of a run that is gone."""
        judged = self._find()
        if judged is None:
            return
        aside = self._draft.with_name("stale")
        self.path.rename(aside)
        found = _read_lock(aside)
        if found is not None and found.run != judged.run and not found.is_gone():
            # Without a guard, another run may have replaced the lock that was judged.
            with suppress(FileExistsError):
                _link(aside, self.path)
            raise _refusal(self._store, found)
        logger.warning("the run that was writing %s is gone (%s); its lock is taken over", self._store, judged)
        aside.unlink()

    def _write_again(self) -> None:
        self._write_draft()
        with _guarded(self.path.parent):
            if self._is_ours():
                self._draft.replace(self.path)

    def _write_draft(self) -> None:
        # The lock appears with its content in one step: no run that is killed leaves an empty one.
        self._draft.write_bytes(self.holder.as_json())
        sync_file(self._draft)

    def _remove(self) -> None:
        with _guarded(self.path.parent):
            if self._is_ours():
                self.path.unlink(missing_ok=True)


def lock_path(product: Path) -> Path:
    """Return the lock file of a product in a folder."""
    return product.with_name(product.name + ".lock")


def _read_lock(path: Path) -> Holder | None:
    """Read a lock file; None if there is none.

    Raises
    ------
    StoreError
        If something else is there.
    """
    try:
        content = LocalStorePath(path.parent).get(path.name)
        if content is None:
            return None
        if not content and time.time() - path.stat().st_mtime > _PATIENCE:
            # Of a run that was killed while it made its lock, on a file system without hard links.
            return Holder("unknown host", 0, "", "", "", "")
        return Holder.from_json(content)
    except ValueError as error:
        cause: Exception = error
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EISDIR):
            raise
        cause = error
    raise StoreError(f"{path} is in the way: it is no lock of a run ({cause}); remove it or rename it") from cause


def _link(draft: Path, path: Path) -> None:
    """Make a file with the content of a draft, unless there is one.

    Raises
    ------
    FileExistsError
        If there is one.
    """
    try:
        os.link(draft, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # A file system without hard links.
        with open(path, "xb", buffering=0) as file:
            file.write(draft.read_bytes())
            os.fsync(file.fileno())


@contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Exclude other runs from taking locks in a folder; a file system may not know how."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_POLLING)
            except OSError:
                break
        yield
    finally:
        # A child that was forked meanwhile holds the descriptor too.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


class RemoteLock(StoreLock):
    """Lock of a remote product: the claim ``.lock/<run>.json`` in it, next to no living other.

    A run that finds another one which holds the store, or which claimed it earlier, withdraws; the
    earlier one of two that claim it at once waits for that.

    Parameters
    ----------
    root : StorePath
        The product.
    holder : Holder
        The run.
    """

    def __init__(self, root: StorePath, holder: Holder) -> None:
        super().__init__(str(root), holder)
        self._claims = root.child(CLAIMS)
        self._key = f"{holder.run}.json"

    def refuse_if_held(self) -> None:
        """Refuse to go on where another run claims the store."""
        for other, _ in self._others():
            raise _refusal(self._store, other)

    def _others(self) -> list[tuple[Holder, bool]]:
        """List the living other runs that claim the store, and whether they hold it; remove claims of others."""
        found = []
        for key in self._claims.members():
            content = self._claims.get(key) if key.endswith(".json") and key != self._key else None
            if content is None:
                continue
            try:
                other, holds = _read_claim(content)
            except ValueError as error:
                raise StoreError(f"{self._claims}/{key} is no claim of a run ({error}); remove it") from error
            if other.is_gone():
                logger.warning("the run that was writing %s is gone (%s); its lock is removed", self._store, other)
                self._claims.delete(key)
            else:
                found.append((other, holds))
        return found

    def _take(self) -> None:
        self._write(holds=False)
        end = time.monotonic() + _PATIENCE
        try:
            while others := self._others():
                for other, holds in others:
                    first = (other.started, other.run) < (self.holder.started, self.holder.run)
                    if holds or first or time.monotonic() > end:
                        raise _refusal(self._store, other)
                time.sleep(_POLLING)
            self._write(holds=True)
        except BaseException:
            self._remove()
            raise

    def _write(self, holds: bool) -> None:
        self._claims.put(self._key, self.holder.as_json(holds=holds))

    def _find(self) -> Holder | None:
        content = self._claims.get(self._key)
        if content is not None:
            return Holder.from_json(content)
        # A run that took this one for gone has removed its claim.
        others = [other for other, holds in self._others() if holds]
        return others[0] if others else None

    def _write_again(self) -> None:
        self._write(holds=True)

    def _remove(self) -> None:
        self._claims.delete(self._key)


def _read_claim(content: bytes) -> tuple[Holder, bool]:
    """Read a claim: the run, and whether it holds the store."""
    return Holder.from_json(content), bool(json.loads(content).get("holds"))


def read_holder(root: StorePath) -> Holder | None:
    """Return the run that holds the lock of a product, whether it lives or is gone.

    Parameters
    ----------
    root : StorePath
        The product.

    Returns
    -------
    Holder or None
        None if no run holds the lock, or the lock cannot be read.
    """
    with suppress(CalibrationError, OSError, ValueError):
        if isinstance(root, LocalStorePath):
            return _read_lock(lock_path(root.path.resolve()))
        claims = root.child(CLAIMS)
        found = [_read_claim(claims.get(key) or b"") for key in claims.members()]
        return next((holder for holder, holds in found if holds), None)
    return None
