"""Byte storage in a folder."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.run.threads import renew_after_fork
from cal_pipeline.core.store.paths import Stamp, StorePath

_LARGE = 2**20
"""Size of files from which on they are fsynced in the background, and hashed in parts [bytes]."""


_NONBLOCK = getattr(os, "O_NONBLOCK", 0)


class _Fsyncs:
    """Fsyncs of large files in a thread, while others are still being made.

    They are those of a folder and of all places below it that were made from it: the system tells of an error once,
    so that an fsync of the same file after it finds none.
    """

    def __init__(self) -> None:
        self._started: dict[str, Future[None]] = {}
        self._disk: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Forget pending fsyncs in a forked child, which has no thread for them."""
        self._started, self._disk, self._lock = {}, None, threading.Lock()

    def start(self, path: str) -> None:
        """Let the thread fsync a file."""
        # Another thread may be ending the fsyncs of what was written before: none is submitted to a pool that ended.
        with self._lock:
            if self._disk is None:
                self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
                renew_after_fork(self)
            self._started[path] = self._disk.submit(sync_file, path)

    def __contains__(self, path: str) -> bool:
        return path in self._started

    def wait(self) -> None:
        """Wait for all, and raise the error of one that failed."""
        while self._started:
            self._started.popitem()[1].result()

    def cancel(self, folder: str = "") -> None:
        """Cancel those of the files in a folder, or all, and wait for one that is running."""
        with self._lock:
            inside = [path for path in list(self._started) if path.startswith(f"{folder}/" if folder else "")]
            # Another thread may be waiting for some.
            cancelled = [future for path in inside if (future := self._started.pop(path, None)) is not None]
            disk = None if self._started else self._disk
            if disk is not None:
                self._disk = None
        wait([future for future in cancelled if not future.cancel()])
        if disk is not None:
            disk.shutdown()


class LocalStorePath(StorePath):
    """A folder.

    Parameters
    ----------
    path : Path
        The folder.
    base : Path, optional
        Folder above that must exist already: once it is removed nothing can be written.
    """

    def __init__(self, path: Path, base: Path | None = None) -> None:
        self.path = path
        self._base = base
        self.name = str(path)
        self._made: set[str] = set()
        self._fsyncs = _Fsyncs()

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalStorePath, (self.path, self._base)

    def get(self, key: str) -> bytes | None:
        """Read the bytes of a file; None if absent."""
        try:
            descriptor, size = _open_sized(f"{self.name}/{key}", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            data = _read_all(descriptor, size)
        finally:
            os.close(descriptor)
        self._note_digest(key, data)
        return data

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of a file; a negative start counts from its end."""
        try:
            with open(os.path.join(self.name, key), "rb", buffering=0, opener=open_regular) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(start + size, 0) if start < 0 else start)
                return file.read(length)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def sha256(self, key: str) -> str | None:
        """Compute the digest of a file, a part at a time in memory, or return the one noted; None if absent."""
        if (noted := self._find_noted(key)) is not None:
            return noted
        try:
            descriptor, size = _open_sized(f"{self.name}/{key}", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            # For a small file the buffer of `file_digest` would cost more than the hash.
            if size <= _LARGE:
                return hashlib.sha256(_read_all(descriptor, size)).hexdigest()
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            os.close(descriptor)

    def put(self, key: str, *data: bytes) -> None:
        """Write a file and missing folders; a large file is fsynced in the background at once."""
        path = f"{self.name}/{key}"
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            self._make_folder(folder)
            self._made.add(folder)
        # Python's file objects take as long again as the file itself, of which a small observation has many.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            for piece in data:
                rest = memoryview(piece)
                # A disk that fills up takes a part first, and raises when asked again.
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        if sum(map(len, data)) >= _LARGE:
            self._fsyncs.start(path)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and missing ones above, up to the base."""
        if self._base is None:
            os.makedirs(folder, exist_ok=True)
            return
        base, missing = str(self._base), []
        while folder != base and folder not in self._made:
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(path)
            self._made.add(path)

    def drop_cached(self, key: str) -> None:
        """Drop a file, fsynced before, from the memory of the system."""
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError), open(os.path.join(self.name, key), "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def exists(self, key: str) -> bool:
        """Tell whether a file or folder exists; an error of the disk is no absence."""
        try:
            return bool(os.stat(os.path.join(self.name, key)))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return False

    def members(self, key: str = "") -> list[str]:
        """List the names in a folder."""
        try:
            return os.listdir(os.path.join(self.name, key))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self) -> Iterator[str]:
        """Yield the paths of all files, relative to the folder."""
        yield from (key for key, _ in self._files())

    def walk_stamped(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the paths of all files with their sizes and times of modification [ns]."""
        for key, entry in self._files():
            try:
                status = entry.stat()
            except FileNotFoundError:
                yield key, (-1, "")
            else:
                yield key, (status.st_size, str(status.st_mtime_ns))

    def _files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        # os.walk takes three times as long, and passes over folders that are links.
        folders = [""]
        while folders:
            inner = folders.pop()
            try:
                entries = os.scandir(f"{self.name}/{inner}")
            except (FileNotFoundError, NotADirectoryError):
                continue
            start = f"{inner}/" if inner else ""
            with entries:
                for entry in entries:
                    key = start + entry.name
                    if entry.is_dir():
                        folders.append(key)
                    else:
                        yield key, entry

    def delete(self, key: str) -> None:
        """Delete a file, if there is one."""
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(os.path.join(self.name, key))

    def remove(self) -> None:
        """Remove the folder."""
        self._fsyncs.cancel(self.name)
        self._made.clear()
        remove_tree(self.path)

    def make_durable(self) -> None:
        """Bring all files and folders to the disk."""
        try:
            for path in self._list_all():
                if path not in self._fsyncs:
                    sync_file(path)
            self._fsyncs.wait()
        finally:
            self._fsyncs.cancel()

    def _list_all(self) -> list[str]:
        """List the paths of all files and folders, each folder after its files."""
        # os.walk takes twice the time.
        paths: list[str] = []
        folders = [self.name]
        while folders:
            folder = folders.pop()
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    (folders if entry.is_dir(follow_symlinks=False) else paths).append(entry.path)
                paths.append(folder)
        return paths

    def child(self, key: str) -> LocalStorePath:
        """Return the place of a folder in this one."""
        inner = LocalStorePath(self.path / key, self._base)
        inner._fsyncs = self._fsyncs
        return inner

    def as_zarr(self) -> Path:
        """The folder."""
        return self.path


def open_regular(path: str, flags: int) -> int:
    """Open a regular file; anything else could make its reader wait, or read, without end."""
    return _open_sized(path, flags)[0]


def _open_sized(path: str, flags: int) -> tuple[int, int]:
    """Open a regular file, and tell its size [bytes]."""
    descriptor = os.open(path, flags | _NONBLOCK)
    status = os.fstat(descriptor)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return descriptor, status.st_size
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, "is no regular file", path)


def _read_all(descriptor: int, size: int) -> bytes:
    """Read a file that was just opened to its end."""
    # One byte more than there is: where it does not come, no other call must ask for the end.
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    pieces = [data]
    while piece := os.read(descriptor, _LARGE):
        pieces.append(piece)
    return b"".join(pieces)


def remove_tree(path: str | Path) -> None:
    """Remove a folder with everything in it; a link is removed, not what it points to.

    Parameters
    ----------
    path : str or Path
        Folder, file or link; one that does not exist is no error.

    Raises
    ------
    StoreError
        If something cannot be removed; the message names it.
    """
    try:
        if os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
            return
        with os.scandir(path) as entries:
            inner = [entry.path for entry in entries]
        for entry in inner:
            remove_tree(entry)
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be removed: {error.strerror or error}") from error


def sync_file(path: str | Path) -> None:
    """Bring a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
