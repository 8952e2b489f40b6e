"""Products in object stores: what makes an observation visible is written last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from cal_pipeline.core.errors import IncompleteWriteError, StoreError, StoreLockedError
from cal_pipeline.core.store.background import BackgroundPuts, BackgroundStorePath
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.lock import CLAIMS, Holder, RemoteLock
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.output import (
    OutputStore,
    finish_group,
    logger,
    refuse_strangers,
    refuse_to_replace,
)
from cal_pipeline.core.store.paths import Item, Result, StorePath
from cal_pipeline.core.store.product import ProductKind
from cal_pipeline.core.store.remote_path import RemoteStorePath

_UNPUBLISHED = ".unpublished"
"""Key prefix for the metadata of unpublished observations."""


class RemoteOutput(OutputStore):
    """A product at a URL: the ``zarr.json`` that makes an observation visible is written last.

    Observations of an older product are replaced one by one.

    Parameters
    ----------
    address : str
        The store to make.
    overwrite : bool
        Whether an existing store may be replaced.
    source : str
        The input, never modified; empty for inputs that the caller judges.
    kind : ProductKind
        Kind of the product.
    resume : bool
        Whether an existing store is continued.

    Raises
    ------
    StoreError
        If something exists there and may not be replaced.
    StoreLockedError
        If another run is writing it.
    """

    def __init__(self, address: str, overwrite: bool, source: str, kind: ProductKind, resume: bool = False) -> None:
        super().__init__(kind)
        _refuse_overlap(address, source)
        self.root = self.product = open_store(address, write=True)
        self.lock = RemoteLock(self.root, Holder.of_this_process(self.run))
        self._staged: dict[str, StorePath] = {}
        self._is_new = False
        self.lock.refuse_if_held()
        self.lock.acquire()
        self._is_resumed = False
        try:
            self._prepare(overwrite, resume)
        except BaseException:
            self.close()
            raise

    def _prepare(self, overwrite: bool, resume: bool) -> None:
        """Judge what is in the way, and remove what runs that were stopped had not published."""
        # A run that was stopped as it began leaves its records alone.
        self._is_new = not set(self.root.members()) - {CLAIMS, _UNPUBLISHED, *self.kind.record_files}
        self._is_resumed = resume and not self._is_new
        if not self._is_new:
            refuse_to_replace(self.root, self.kind, overwrite or resume)
            others = (f"{CLAIMS}/", f"{_UNPUBLISHED}/")
            keys = (key for key in self.root.walk() if not key.startswith(others))
            refuse_strangers(self.root, keys, self.kind)
        self.root.child(_UNPUBLISHED).remove()

    def begin(self, record: bytes) -> Exception | None:
        """Write the records of the run, then the metadata of the root."""
        unwritten = self.try_record_run(record)
        if not (self._is_resumed and self.kind.ledger):
            self.save_failures()
        if not self._is_resumed:
            write_group(self.root, "", self.kind.root_attributes)
        return unwritten

    def staging_of(self, name: str) -> StorePath:
        """Return the final path of the observation, with its ``zarr.json`` under a temporary key."""
        if name not in self._staged:
            self._staged[name] = remote_staging_path(self.root, self.run, name)
        return self._staged[name]

    def publish(self, name: str, changed: bool = False) -> None:
        """Write the ``zarr.json`` of an observation."""
        self.lock.ensure_held()
        staged = self.staging_of(name)
        if changed:
            finish_group(staged)
        # The metadata may be on its way still.
        staged.make_durable()
        content = staged.get_written("zarr.json")
        if content is None:
            raise IncompleteWriteError(f"{self.root}/{name} has no metadata")
        self.root.put(f"{name}/zarr.json", content)
        staged.delete("zarr.json")
        del self._staged[name]

    def published(self) -> list[str]:
        """List the names of the finished observations."""
        names = sorted(name for name in self.root.members() if self.kind.key_of(name) is not None)
        listed = self.root.each(lambda name: self.root.exists(f"{name}/zarr.json"), names)
        return [name for name, is_listed in zip(names, listed, strict=True) if is_listed]

    def adopt(self, leftover: StorePath, name: str) -> None:
        """Refuse: observations are replaced in place, so that there are no leftovers.

        Raises
        ------
        StoreError
            Always.
        """
        raise StoreError(f"{self.root} has no leftovers; found {leftover}")

    def drop(self, name: str) -> None:
        """Remove the metadata of an observation, then the rest of it."""
        self.lock.ensure_held(again=True)
        self.root.delete(f"{name}/zarr.json")
        self.root.child(name).remove()

    def put_record(self, key: str, content: bytes) -> None:
        """Write an object."""
        self.lock.ensure_held()
        self.root.put(key, content)

    def keep_only(self, names: Collection[str]) -> None:
        """Remove observations of an older product, if any of this run is there to replace it."""
        self.lock.ensure_held(again=True)
        if names and not self._is_new:
            for name in sorted(set(self.published()) - set(names)):
                self.drop(name)

    def finish(self, done: Collection[str]) -> None:
        """Do nothing but look at the lock: observations are replaced in place."""
        self.lock.ensure_held(again=True)

    def discard(self) -> None:
        """Remove the records of a new store."""
        if self._is_new:
            for key in ("zarr.json", *self.kind.record_files):
                self.root.delete(key)

    def close(self) -> None:
        """Remove unpublished metadata of the run, and release the lock."""
        try:
            self.root.child(f"{_UNPUBLISHED}/{self.run}").remove()
        except StoreError as error:
            logger.warning("left behind: %s", error)
        finally:
            self.lock.release()


class _WithoutRoot(StorePath):
    """Unpublished observation in an object store, with its own ``zarr.json`` under another key."""

    def __init__(self, store: RemoteStorePath, run: str, name: str) -> None:
        self._puts = BackgroundPuts()
        self._inner = BackgroundStorePath(store.child(name), self._puts)
        self._draft = BackgroundStorePath(store.child(f"{_UNPUBLISHED}/{run}/{name}"), self._puts)
        self._store, self._name, self._claim = store, name, f"{CLAIMS}/{run}.json"
        self.name = self._inner.name

    def _of(self, key: str) -> StorePath:
        return self._draft if key == "zarr.json" else self._inner

    def get(self, key: str) -> bytes | None:
        return self._of(key).get(key)

    def get_written(self, key: str) -> bytes | None:
        return self._of(key).get_written(key)

    def put(self, key: str, *data: bytes) -> None:
        self._of(key).put(key, *data)

    def exists(self, key: str) -> bool:
        return self._of(key).exists(key)

    def members(self, key: str = "") -> list[str]:
        return self._inner.members(key)

    def walk(self) -> Iterator[str]:
        return self._inner.walk()

    def delete(self, key: str) -> None:
        self._of(key).delete(key)

    def remove(self) -> None:
        self._puts.give_up()
        # Listing what is not there takes three requests; a draft is written when there are chunks.
        if self._name not in self._store.members():
            return
        # What is removed may be of the run that took the store over meanwhile.
        if not self._store.exists(self._claim):
            raise StoreLockedError(f"output {self._store} is no longer locked by this run, so {self} is not removed")
        # An older observation of this name is no longer listed before its chunks are removed.
        self._inner.delete("zarr.json")
        self._inner.remove()
        self._draft.delete("zarr.json")

    def make_durable(self) -> None:
        self._puts.wait()

    def each(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        return self._inner.each(read, items)

    def child(self, key: str) -> StorePath:
        return self._inner.child(key)

    def as_zarr(self) -> Any:
        return self._inner.as_zarr()


def remote_staging_path(root: StorePath, run: str, name: str) -> StorePath:
    """Return the staging path of an observation of a product at a URL."""
    assert isinstance(root, RemoteStorePath)
    return _WithoutRoot(root, run, name)


def _refuse_overlap(address: str, source: str) -> None:
    """Refuse an output that contains the input, or lies in it."""
    if is_url(source):
        written, read = f"{normalize_location(address)}/", f"{normalize_location(source)}/"
        if written.startswith(read) or read.startswith(written):
            raise StoreError(
                f"output {address} and input {source} are the same store, or one contains the other; "
                "name another output"
            )
