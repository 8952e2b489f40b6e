"""Where the bytes of a Zarr store are: a folder, or anything else that zarr can open."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import zarr
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from cal_pipeline.errors import StoreError
from cal_pipeline.models.locations import is_url, normalize_location

Item = TypeVar("Item")
Result = TypeVar("Result")


class Place(ABC):
    """Bytes by key, below some root.

    Attributes
    ----------
    name : str
        What to call it in messages and in the provenance.
    """

    name: str

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """The bytes of a key; None where there are none."""

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of a key; fewer where it ends before, None where there are none.

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

    @abstractmethod
    def put(self, key: str, *data: bytes) -> None:
        """Write the bytes of a key, given in one piece or several."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there are bytes for a key."""

    @abstractmethod
    def members(self, key: str = "") -> list[str]:
        """Names of what lies directly below a key."""

    @abstractmethod
    def walk(self) -> Iterator[str]:
        """Keys of everything that is stored."""

    @abstractmethod
    def remove(self) -> None:
        """Remove everything that is stored."""

    @abstractmethod
    def make_durable(self) -> None:
        """Bring everything that was written to where it survives a loss of power."""

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """What a function reads of this place for each item; beside each other where every answer takes its time."""
        return [read(item) for item in items]

    @abstractmethod
    def below(self, key: str) -> Place:
        """The part of it below a key."""

    @abstractmethod
    def as_zarr(self) -> Any:
        """What zarr and xarray open it by."""

    def __str__(self) -> str:
        return self.name


class LocalPlace(Place):
    """A folder.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._made: set[str] = set()
        self._on_their_way: dict[str, Future[None]] = {}

    def get(self, key: str) -> bytes | None:
        """The bytes of a file; None where it is not there."""
        try:
            with open(os.path.join(self.name, key), "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of a file; a negative start counts from its end."""
        try:
            with open(os.path.join(self.name, key), "rb", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(start + size, 0) if start < 0 else start)
                return file.read(length)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def put(self, key: str, *data: bytes) -> None:
        """Write a file, and the folders that it needs; a large one starts on its way to the disk at once."""
        path = os.path.join(self.name, key)
        folder = os.path.dirname(path)
        if folder not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(folder)
        with open(path, "wb", buffering=0) as file:
            for piece in data:
                rest = memoryview(piece)
                # A disk that fills up takes a part first, and raises when asked again.
                while rest:
                    rest = rest[file.write(rest) :]
        if sum(map(len, data)) >= _LARGE:
            self._on_their_way[path] = _disk().submit(sync_file, path)

    def exists(self, key: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(os.path.join(self.name, key))

    def members(self, key: str = "") -> list[str]:
        """Names in a folder."""
        try:
            return os.listdir(os.path.join(self.name, key))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self) -> Iterator[str]:
        """Paths of all files, from the folder."""
        for root, _, files in os.walk(self.name):
            inner = os.path.relpath(root, self.name).replace(os.sep, "/")
            for file in files:
                yield file if inner == "." else f"{inner}/{file}"

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def make_durable(self) -> None:
        """Bring all files and folders to the disk."""
        paths = []
        for root, _, files in os.walk(self.name):
            paths += [os.path.join(root, file) for file in files] + [root]
        for path in paths:
            if path not in self._on_their_way:
                sync_file(path)
        while self._on_their_way:
            self._on_their_way.popitem()[1].result()

    def below(self, key: str) -> LocalPlace:
        """A folder in this one."""
        return LocalPlace(self.path / key)

    def as_zarr(self) -> Path:
        """The folder."""
        return self.path


class RemotePlace(Place):
    """What a zarr store reaches: an object store, a web server, a ZIP file.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    name : str
        What to call it.
    prefix : str
        The part of it that is meant.
    n_requests : int
        Requests that it is sent beside each other.
    """

    def __init__(self, store: Store, name: str, prefix: str = "", n_requests: int = 16) -> None:
        self.store = store
        self.name = name
        self.prefix = prefix
        self.n_requests = n_requests

    def _key(self, key: str) -> str:
        return str(PurePosixPath(self.prefix, key)) if self.prefix else key

    def get(self, key: str) -> bytes | None:
        """The bytes of an object; None where it is not there."""
        buffer = sync(self.store.get(self._key(key), default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Read some bytes of an object; a negative start counts from its end."""
        wanted = SuffixByteRequest(-start) if start < 0 else RangeByteRequest(start, start + length)
        buffer = sync(self.store.get(self._key(key), default_buffer_prototype(), byte_range=wanted))
        if buffer is None:
            return None
        data = buffer.to_bytes()
        # A web server may send the whole object instead of a part.
        whole = len(data) > max(length, -start)
        return data[start:][:length] if whole else data[:length]

    def put(self, key: str, *data: bytes) -> None:
        """Write an object."""
        sync(self.store.set(self._key(key), default_buffer_prototype().buffer.from_bytes(b"".join(data))))

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return bool(sync(self.store.exists(self._key(key))))

    def members(self, key: str = "") -> list[str]:
        """Names of objects and folders."""

        async def listed() -> list[str]:
            return [name async for name in self.store.list_dir(self._key(key))]

        return [PurePosixPath(name).name for name in sync(listed())]

    def walk(self) -> Iterator[str]:
        """Keys of all objects."""

        async def listed() -> list[str]:
            return [key async for key in self.store.list_prefix(f"{self.prefix}/" if self.prefix else "")]

        start = len(self.prefix) + 1 if self.prefix else 0
        yield from (key[start:] for key in sync(listed()))

    def remove(self) -> None:
        """Delete all objects."""
        sync(self.store.delete_dir(self.prefix))

    def make_durable(self) -> None:
        """Objects are durable once they are written."""

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """What a function reads of this place for each item, many beside each other."""
        with ThreadPoolExecutor(self.n_requests) as pool:
            return list(pool.map(read, items))

    def below(self, key: str) -> RemotePlace:
        """A folder of it."""
        return RemotePlace(self.store, f"{self.name}/{key}", self._key(key), self.n_requests)

    def as_zarr(self) -> Any:
        """The store and the path in it."""
        return zarr.storage.StorePath(self.store, self.prefix)


_LARGE = 2**20
"""Bytes from which on a file is brought to the disk while others are still being made."""


@cache
def _disk() -> ThreadPoolExecutor:
    """The thread that brings files to the disk."""
    return ThreadPoolExecutor(1, thread_name_prefix="disk")


def sync_file(path: str | Path) -> None:
    """Bring a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_place(where: str | Path, write: bool = False) -> Place:
    """Open a place by what it is called; one that is read is opened once in a process.

    Parameters
    ----------
    where : str or Path
        A folder, a ZIP file (to read), or an address such as ``s3://bucket/session.zarr``.
    write : bool
        Whether it is to be written.

    Raises
    ------
    StoreError
        If it is an address of a kind that is not known here, or a ZIP file to be written.
    """
    text = normalize_location(where)
    if is_url(text):
        return _open_address(text, write)
    path = Path(text).absolute()
    if path.suffix == ".zip" and path.is_file():
        if write:
            raise StoreError(f"{path} is a ZIP file; they are read only, name a folder")
        return _open_zip(path, path.stat().st_mtime_ns)
    return LocalPlace(path)


@lru_cache(maxsize=8)
def _open_zip(path: Path, mtime_ns: int) -> Place:
    return RemotePlace(sync(zarr.storage.ZipStore.open(path, mode="r")), str(path), n_requests=1)


@lru_cache(maxsize=8)
def _open_address(address: str, write: bool) -> Place:
    try:
        store = zarr.storage.FsspecStore.from_url(address, read_only=not write)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{address} cannot be opened: {error}. Install cal_pipeline[remote] and the fsspec driver of its kind"
        ) from error
    return RemotePlace(store, address)
