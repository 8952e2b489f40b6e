"""Writing of products: each observation is written to staging, checked, then published as a whole."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cal_pipeline.core.errors import IncompleteWriteError, LayoutError, OutputExistsError, StoreError
from cal_pipeline.core.store.interface import chunk_name
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.metadata import read_group_attributes, write_group
from cal_pipeline.core.store.paths import LocalStorePath, StorePath, open_store, sync_file
from cal_pipeline.core.store.product import MARKER, ProductKind
from cal_pipeline.core.text import format_count


class OutputStore(ABC):
    """A product under construction.

    Attributes
    ----------
    root : StorePath
        The store.
    kind : ProductKind
        Kind of the product.
    failures : list of dict
        Observations that could not be calibrated.
    """

    root: StorePath
    kind: ProductKind
    failures: list[dict[str, Any]]

    @abstractmethod
    def staging_of(self, name: str) -> StorePath:
        """Return the staging path of an observation, invisible to readers of the store."""

    @abstractmethod
    def publish(self, name: str, changed: bool = False) -> None:
        """Publish a finished observation.

        Parameters
        ----------
        name : str
            Name of its group, such as ``scan_NNNNNN``.
        changed : bool
            Whether the group was modified since :func:`finish_group`, so that the check and fsync are
            repeated.

        Raises
        ------
        IncompleteWriteError
            If it is not complete.
        """

    @abstractmethod
    def close(self) -> None:
        """Remove temporary files beside the store."""

    def discard(self) -> None:
        """Remove the store: nothing was published and nothing failed."""
        self.root.remove()

    @abstractmethod
    def _write_failures(self) -> None:
        """Write ``failures.json``."""

    def record_failure(self, number: int, step: str, error_class: str, message: str) -> None:
        """Add a failed observation to ``failures.json``."""
        key = self.kind.number_key
        self.failures.append({key: number, "step": step, "error_class": error_class, "message": message})
        self.failures.sort(key=lambda failure: failure[key])
        self._write_failures()

    def _failures_as_json(self) -> bytes:
        return (json.dumps(self.failures, indent=2) + "\n").encode()


class LocalOutput(OutputStore):
    """A product in a folder: observations are written to a staging folder and renamed into the store.

    Parameters
    ----------
    path : Path
        The store to make.
    overwrite : bool
        Whether an existing store may be replaced.
    source : str
        The input, never modified.
    kind : ProductKind
        Kind of the product.

    Raises
    ------
    StoreError
        If something exists at `path` and may not be replaced.
    """

    def __init__(self, path: Path, overwrite: bool, source: str, kind: ProductKind) -> None:
        self.path, self.kind = path.absolute(), kind
        if not self.path.name:
            raise StoreError(f"output {self.path} is the root folder; name the store, as in l1.zarr")
        self.root = LocalStorePath(self.path)
        self.staging = _staging(self.path)
        self.failures = []
        written, read = self.path.resolve(), Path(source).resolve()
        if not is_url(source) and (written == read or written in read.parents or read in written.parents):
            raise StoreError(
                f"output {self.path} and input {source} are the same store, or one contains the other; "
                "name another output"
            )
        try:
            if _holds_anything(self.path):
                _refuse_to_replace(self.root, kind, overwrite)
                self.root.remove()
            self.staging.remove()
            # The folder beside has the longer name: what cannot be made fails before there is a store.
            self.staging.path.mkdir(parents=True)
            write_group(self.root, "", kind.root_attributes)
            sync_file(self.path / "zarr.json")
            self._write_failures()
        except OSError as error:
            self.close()
            raise StoreError(f"output {self.path} cannot be written: {error.strerror or error}") from error

    def staging_of(self, name: str) -> StorePath:
        """Return a folder in the staging folder."""
        return staging_path(self.root.name, name)

    def publish(self, name: str, changed: bool = False) -> None:
        """Rename an observation into the store."""
        staging_of = self.staging.child(name)
        if changed:
            finish_group(staging_of)
        staging_of.path.rename(self.path / name)
        sync_file(self.path)

    def close(self) -> None:
        """Remove the staging folder."""
        self.staging.remove()

    def _write_failures(self) -> None:
        self.staging.put("failures.json", self._failures_as_json())
        draft = self.staging.path / "failures.json"
        sync_file(draft)
        draft.replace(self.path / "failures.json")


class RemoteOutput(OutputStore):
    """A product at a URL: the ``zarr.json`` that makes an observation visible is written last.

    Parameters
    ----------
    address : str
        The store to make.
    overwrite : bool
        Whether an existing store may be replaced.
    kind : ProductKind
        Kind of the product.

    Raises
    ------
    StoreError
        If something exists there and may not be replaced.
    """

    def __init__(self, address: str, overwrite: bool, kind: ProductKind) -> None:
        self.root, self.kind = open_store(address, write=True), kind
        self.failures = []
        if self.root.members():
            _refuse_to_replace(self.root, kind, overwrite)
            self.root.remove()
        write_group(self.root, "", kind.root_attributes)
        self._write_failures()

    def staging_of(self, name: str) -> StorePath:
        """Return the final path of the observation, with its ``zarr.json`` under a temporary key."""
        return staging_path(self.root, name)

    def publish(self, name: str, changed: bool = False) -> None:
        """Write the ``zarr.json`` of an observation."""
        if changed:
            finish_group(self.root.child(name))
        draft = self.root.child(f"{_UNPUBLISHED}/{name}")
        content = draft.get("zarr.json")
        if content is None:
            raise IncompleteWriteError(f"{self.root}/{name} has no metadata")
        self.root.put(f"{name}/zarr.json", content)
        draft.remove()

    def close(self) -> None:
        """Do nothing: a remote store has no staging folder."""

    def _write_failures(self) -> None:
        self.root.put("failures.json", self._failures_as_json())


_UNPUBLISHED = ".unpublished"
"""Key prefix for the metadata of unpublished observations."""


class _WithoutRoot(StorePath):
    """Unpublished observation in an object store, with its own ``zarr.json`` under another key."""

    def __init__(self, store: StorePath, name: str) -> None:
        self._inner, self._draft = store.child(name), store.child(f"{_UNPUBLISHED}/{name}")
        self.name = self._inner.name

    def _of(self, key: str) -> StorePath:
        return self._draft if key == "zarr.json" else self._inner

    def get(self, key: str) -> bytes | None:
        return self._of(key).get(key)

    def put(self, key: str, *data: bytes) -> None:
        self._of(key).put(key, *data)

    def exists(self, key: str) -> bool:
        return self._of(key).exists(key)

    def members(self, key: str = "") -> list[str]:
        return self._inner.members(key)

    def walk(self) -> Iterator[str]:
        return self._inner.walk()

    def remove(self) -> None:
        self._inner.remove()
        self._draft.remove()

    def make_durable(self) -> None:
        self._inner.make_durable()

    def child(self, key: str) -> StorePath:
        return self._inner.child(key)

    def as_zarr(self) -> Any:
        return self._inner.as_zarr()


def staging_path(store: str | StorePath, name: str) -> StorePath:
    """Return the staging path of an observation, identical in all processes that write to the store.

    Parameters
    ----------
    store : str or StorePath
        The product, or its name; workers pass the store that they opened once for all jobs.
    name : str
        Name of the observation's group, such as ``scan_NNNNNN``.
    """
    root = open_store(store, write=True) if isinstance(store, str) else store
    if isinstance(root, LocalStorePath):
        return _staging(root.path).child(name)
    return _WithoutRoot(root, name)


def _staging(path: Path) -> LocalStorePath:
    """Return the staging folder beside a store."""
    return LocalStorePath(path.with_name(path.name + ".staging"))


def finish_group(root: StorePath) -> None:
    """Check that a group is complete and fsync it, so that it survives a loss of power.

    Raises
    ------
    IncompleteWriteError
        If it is not complete.
    """
    check_complete(root)
    root.make_durable()


def make_output(where: str, overwrite: bool, source: str, kind: ProductKind) -> OutputStore:
    """Create a product, in a folder or at a URL.

    Parameters
    ----------
    where : str
        Folder or URL.
    overwrite : bool
        Whether an existing store may be replaced.
    source : str
        The input.
    kind : ProductKind
        Kind of the product.

    Raises
    ------
    StoreError
        If something exists there and may not be replaced.
    """
    where = normalize_location(where)
    if is_url(where):
        return RemoteOutput(where, overwrite, kind)
    return LocalOutput(Path(where), overwrite, source, kind)


def _holds_anything(path: Path) -> bool:
    """Tell whether something is at a path; an empty folder is nothing."""
    return path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None)


def _refuse_to_replace(root: StorePath, kind: ProductKind, overwrite: bool) -> None:
    """Raise unless `root` is a product that may be replaced."""
    try:
        known = MARKER in read_group_attributes(root, "")
    except LayoutError:
        known = False
    if not known:
        raise StoreError(f"output {root} exists and is no {kind.name}, so it is never replaced; name another output")
    if not overwrite:
        raise OutputExistsError(f"output {root} exists; give overwrite=True to replace it")


def check_complete(root: StorePath) -> None:
    """Check that every chunk of every array below a group is in the store.

    Raises
    ------
    IncompleteWriteError
        If one is not.
    """
    keys = set(root.walk())
    for key in sorted(keys):
        if not key.endswith("zarr.json"):
            continue
        metadata = json.loads(root.get(key) or b"{}")
        if metadata.get("node_type") == "array":
            path = key.removesuffix("zarr.json")
            chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            grid = [-(-n // c) for n, c in zip(metadata["shape"], chunks, strict=True)]
            expected = {path + chunk_name(index) for index in np.ndindex(*grid)}
            present = len(expected & keys)
            if present != len(expected):
                where = f"{root}/{path}".rstrip("/")
                raise IncompleteWriteError(f"{where} holds {format_count(present, 'chunk')}, expected {len(expected)}")
