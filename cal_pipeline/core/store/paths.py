"""Byte storage of Zarr stores: a folder, or anything else that zarr can open."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import zarr
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.run.threads import renew_after_fork
from cal_pipeline.core.store.driver_errors import translate_driver_errors
from cal_pipeline.core.store.drivers import CheckedStore, open_checked
from cal_pipeline.core.store.event_loop import drivers_loop
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.time_limits import limit_driver

Item = TypeVar("Item")
Result = TypeVar("Result")

Stamp = tuple[int, str]
"""Size of an object [bytes], and what changes when it is written again; the latter is empty if unknown."""


class StorePath(ABC):
    """Bytes by key, below some root.

    Attributes
    ----------
    name : str
        Name in messages and in the provenance.
    repeated : sequence of str
        Keys that a ZIP file holds more than once.
    """

    name: str
    repeated: Sequence[str] = ()

    is_witnessed = False
    """Whether chunks that are written here are noted, to compare them with what is read back."""

    def note_chunk(self, path: str, index: tuple[int, ...], values: NDArray[Any]) -> None:
        """Note the values of a chunk that is written, where chunks are witnessed."""
        return

    def drop_cached(self, key: str) -> None:
        """Let the next reading of a key come from the device itself, where that can be asked for."""
        return

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """Read the bytes of a key; None if absent."""

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read part of the bytes of a key; fewer at its end, None if absent.

        Parameters
        ----------
        key : str
            The key.
        start : int
            First byte; counted from the end where negative.
        length : int
            Number of bytes.
        """
        data = self.get(key)
        return None if data is None else data[start:][:length]

    def sha256(self, key: str) -> str | None:
        """Compute the hexadecimal SHA-256 digest of the bytes of a key; None if absent."""
        data = self.get(key)
        return None if data is None else hashlib.sha256(data).hexdigest()

    @abstractmethod
    def put(self, key: str, *data: bytes) -> None:
        """Write the bytes of a key, given in one piece or several."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Tell whether there are bytes for a key."""

    @abstractmethod
    def members(self, key: str = "") -> list[str]:
        """List the names directly below a key."""

    @abstractmethod
    def walk(self) -> Iterator[str]:
        """Yield the keys of all stored bytes."""

    def walk_stamped(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the keys of all stored bytes with their sizes and stamps, from one listing."""
        yield from ((key, (-1, "")) for key in self.walk())

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the bytes of a key, if there are any."""

    @abstractmethod
    def remove(self) -> None:
        """Remove all stored bytes.

        Raises
        ------
        StoreError
            If something cannot be removed; the message names it.
        """

    @abstractmethod
    def make_durable(self) -> None:
        """Wait until all written bytes survive a loss of power (fsync)."""

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Read each item with a function; concurrently on high-latency stores."""
        return [read(item) for item in items]

    @abstractmethod
    def child(self, key: str) -> StorePath:
        """Return the place below a key."""

    @abstractmethod
    def as_zarr(self) -> Any:
        """Return the object or path that zarr and xarray can open."""

    def __str__(self) -> str:
        return self.name


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
        self._on_their_way: dict[str, Future[None]] = {}
        self._disk: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalStorePath, (self.path, self._base)

    def after_fork(self) -> None:
        """Forget pending fsyncs in a forked child, which has no thread for them."""
        self._on_their_way, self._disk, self._lock = {}, None, threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Read the bytes of a file; None if absent."""
        try:
            with open(os.path.join(self.name, key), "rb", buffering=0, opener=open_regular) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

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
        """Compute the digest of a file, of which a part at a time is in memory; None if absent."""
        try:
            with open(os.path.join(self.name, key), "rb", buffering=0, opener=open_regular) as file:
                # For a small file the buffer of `file_digest` would cost more than the hash.
                whole = os.fstat(file.fileno()).st_size <= _LARGE
                digest = hashlib.sha256(file.read()) if whole else hashlib.file_digest(file, "sha256")
                return digest.hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, *data: bytes) -> None:
        """Write a file and missing folders; a large file is fsynced in the background at once."""
        path = os.path.join(self.name, key)
        folder = os.path.dirname(path)
        if folder not in self._made:
            self._make_folder(folder)
            self._made.add(folder)
        with open(path, "wb", buffering=0) as file:
            for piece in data:
                rest = memoryview(piece)
                # A disk that fills up takes a part first, and raises when asked again.
                while rest:
                    rest = rest[file.write(rest) :]
        if sum(map(len, data)) >= _LARGE:
            self._start_sync(path)

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

    def _start_sync(self, path: str) -> None:
        """Let a thread fsync a file while others are still being made."""
        # Another thread may be ending the syncs of what was written before: none is submitted to a pool that ended.
        with self._lock:
            if self._disk is None:
                self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
                renew_after_fork(self)
            self._on_their_way[path] = self._disk.submit(sync_file, path)

    def _end_sync(self) -> None:
        with self._lock:
            disk = self._disk
            self._on_their_way, self._disk = {}, None
        if disk is not None:
            disk.shutdown(cancel_futures=True)

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
                entries = os.scandir(os.path.join(self.name, inner))
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    key = f"{inner}/{entry.name}" if inner else entry.name
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
        self._end_sync()
        self._made.clear()
        remove_tree(self.path)

    def make_durable(self) -> None:
        """Bring all files and folders to the disk."""
        paths = []
        for root, _, files in os.walk(self.name):
            paths += [os.path.join(root, file) for file in files] + [root]
        try:
            for path in paths:
                if path not in self._on_their_way:
                    sync_file(path)
            while self._on_their_way:
                self._on_their_way.popitem()[1].result()
        finally:
            self._end_sync()

    def child(self, key: str) -> LocalStorePath:
        """Return the place of a folder in this one."""
        return LocalStorePath(self.path / key, self._base)

    def as_zarr(self) -> Path:
        """The folder."""
        return self.path


def open_regular(path: str, flags: int) -> int:
    """Open a regular file; anything else could make its reader wait, or read, without end."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, "is no regular file", path)


class RemoteStorePath(StorePath):
    """A place reached through a zarr store: an object store, a web server, a ZIP file.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    name : str
        Name in messages and in the provenance.
    prefix : str
        Key prefix of this place in the store.
    n_requests : int
        Number of concurrent requests.
    """

    def __init__(self, store: Store, name: str, prefix: str = "", n_requests: int = 16) -> None:
        self.store = store if isinstance(store, CheckedStore) else CheckedStore(store, name)
        self.name = name
        self.prefix = prefix
        self.n_requests = n_requests

    def _key(self, key: str) -> str:
        return str(PurePosixPath(self.prefix, key)) if self.prefix else key

    def _list_anew(self) -> None:
        """Forget listings of a store that is being written, which workers write to as well."""
        if not self.store.read_only:
            self.store.forget_listings()

    def get(self, key: str) -> bytes | None:
        """Read the bytes of an object; None if absent."""
        buffer = drivers_loop.run(self.store.get(self._key(key), default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of an object; a negative start counts from its end."""
        wanted = SuffixByteRequest(-start) if start < 0 else RangeByteRequest(start, start + length)
        buffer = drivers_loop.run(self.store.get(self._key(key), default_buffer_prototype(), byte_range=wanted))
        if buffer is None:
            return None
        data = buffer.to_bytes()
        # A web server may send the whole object instead of a part.
        whole = len(data) > max(length, -start)
        return data[start:][:length] if whole else data[:length]

    def put(self, key: str, *data: bytes) -> None:
        """Write an object."""
        drivers_loop.run(self.store.set(self._key(key), default_buffer_prototype().buffer.from_bytes(b"".join(data))))

    def exists(self, key: str) -> bool:
        """Tell whether an object exists."""
        self._list_anew()
        return bool(drivers_loop.run(self.store.exists(self._key(key))))

    def members(self, key: str = "") -> list[str]:
        """List the names of objects and folders.

        Raises
        ------
        StoreError
            If the server gives no listing of a folder that holds a group.
        """
        self._list_anew()

        async def listed() -> list[str]:
            return [name async for name in self.store.list_dir(self._key(key))]

        names = [PurePosixPath(name).name for name in drivers_loop.run(listed())]
        if not names and self.get(f"{key}/zarr.json" if key else "zarr.json") is not None:
            where = f"{self.name}/{key}" if key else self.name
            raise StoreError(f"{where} holds a zarr.json, but is listed as empty; reading needs listings of folders")
        return names

    def walk(self) -> Iterator[str]:
        """Yield the keys of all objects."""
        self._list_anew()

        async def listed() -> list[str]:
            return [key async for key in self.store.list_prefix(f"{self.prefix}/" if self.prefix else "")]

        start = len(self.prefix) + 1 if self.prefix else 0
        # Entries for folders themselves, which some programs make, end in a slash.
        yield from (key[start:] for key in drivers_loop.run(listed()) if not key.endswith("/"))

    def walk_stamped(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the keys of all objects with sizes and stamps; of a ZIP file those of the whole file."""
        if self.store.fs is None:
            archive = os.stat(self.store.name)
            yield from ((key, (archive.st_size, str(archive.st_mtime_ns))) for key in self.walk())
            return
        self._list_anew()
        listed = drivers_loop.run(self.store.list_stamped(f"{self.prefix}/" if self.prefix else ""))
        start = len(self.prefix) + 1 if self.prefix else 0
        yield from ((key[start:], stamp) for key, stamp in listed if not key.endswith("/"))

    def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        drivers_loop.run(self.store.delete(self._key(key)))

    def remove(self) -> None:
        """Delete all objects."""
        self._list_anew()
        drivers_loop.run(self.store.delete_dir(self.prefix))

    def make_durable(self) -> None:
        """Do nothing: objects are durable once written."""

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Read each item with a function, concurrently."""
        with ThreadPoolExecutor(self.n_requests) as pool:
            waiting = [pool.submit(copy_context().run, read, item) for item in items]
            try:
                return [future.result() for future in waiting]
            except BaseException:
                # Each of the others might wait as long for a store that is silent.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def child(self, key: str) -> RemoteStorePath:
        """Return the place of a folder below this one."""
        return RemoteStorePath(self.store, f"{self.name}/{key}", self._key(key), self.n_requests)

    def as_zarr(self) -> Any:
        """Return the store with the path in it."""
        return zarr.storage.StorePath(self.store, self.prefix)


_NUMBERED = re.compile(r"(.*/)?[a-z]+_[0-9]{6}")
"""Paths of groups that hold one observation, of any family."""

_LARGE = 2**20
"""Size of files from which on they are fsynced in the background, and hashed in parts [bytes]."""


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


def open_store(where: str | Path, write: bool = False) -> StorePath:
    """Open a place by what it is called.

    Every call opens anew: listings, connections and open files belong to the place that is returned
    and to what is below it, and are let go with them.

    Parameters
    ----------
    where : str or Path
        A folder, a ZIP file (to read), or an address such as ``s3://bucket/session.zarr``.
    write : bool
        Whether it is to be written.

    Raises
    ------
    StoreError
        If it is an address of a kind that is not known here or has no driver, a ZIP file to be
        written, or one that holds several stores.
    """
    text = normalize_location(where)
    if is_url(text):
        return _open_url(text, write)
    path = Path(text).absolute()
    if path.suffix.lower() == ".zip" and path.is_file():
        if write:
            raise StoreError(f"{path} is a ZIP file; they are read only, name a folder")
        return _open_zip(path)
    return LocalStorePath(path)


def _open_zip(path: Path) -> StorePath:
    """Open a ZIP file at the folder of the store that it holds."""
    reopen = partial(_open_zip_store, path)
    store = open_checked(str(path), reopen)
    keys = Counter(RemoteStorePath(store, str(path)).walk())
    opened = RemoteStorePath(store, str(path), _root_of_store(keys, path), n_requests=1)
    opened.repeated = [key for key, number in keys.items() if number > 1]
    return opened


async def _open_zip_store(path: Path) -> Store:
    with translate_driver_errors(str(path), "opened"):
        return await zarr.storage.ZipStore.open(path, mode="r")


def _root_of_store(keys: Iterable[str], path: Path) -> str:
    """Find the folder in a ZIP file that a store lies in: the uppermost one with a ``zarr.json``.

    Programs that pack a folder put its name before every key, and some a folder ``__MACOSX`` beside
    it.
    """
    folders = {PurePosixPath(key).parent for key in keys if PurePosixPath(key).name == "zarr.json"}
    packed = {folder for folder in folders if folder.parts[:1] != ("__MACOSX",)}
    roots = sorted(str(folder) for folder in packed if not packed.intersection(folder.parents))
    if roots and all(_NUMBERED.fullmatch(root) for root in roots):
        # Groups without the zarr.json of their root; opening the root reports it.
        parents = {str(PurePosixPath(root).parent) for root in roots}
        roots = sorted(parents)
    if len(roots) > 1:
        raise StoreError(f"{path} holds {len(roots)} stores: {', '.join(roots)}; expected a ZIP file of one store")
    return "" if not roots or roots[0] == "." else roots[0]


def _open_url(url: str, write: bool) -> StorePath:
    reopen = partial(_open_url_store, url, write)
    return RemoteStorePath(open_checked(url, reopen), url)


async def _open_url_store(url: str, write: bool) -> Store:
    """Open the store at a URL with a file system of its own, which has listed nothing yet."""
    scheme = url.partition("://")[0]
    try:
        with translate_driver_errors(url, "opened"):
            options = {"skip_instance_cache": True, **limit_driver(scheme)}
            store = zarr.storage.FsspecStore.from_url(url, storage_options=options, read_only=not write)
            if hasattr(store.fs, "retries"):
                # Requests are repeated by `CheckedStore`, for all drivers in one way.
                store.fs.retries = 1
            return store
    except StoreError as error:
        if not isinstance(error.__cause__, (ImportError, ValueError)):
            raise
        raise StoreError(
            f"{url} cannot be opened: {error.__cause__}. Install cal_pipeline[remote] for s3, http and https; "
            f"{scheme}:// may need its own fsspec driver"
        ) from error.__cause__
