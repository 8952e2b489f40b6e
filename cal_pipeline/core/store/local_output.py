"""Products in folders: built in staging, published by renaming, replaced as a whole."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.local_path import LocalStorePath, sync_file
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.lock import Holder, LocalLock
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.output import OutputStore, finish_group, refuse_strangers, refuse_to_replace
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import MARKER, ProductKind
from cal_pipeline.core.store.staging import (
    RunFolder,
    find_put_aside,
    finished_in,
    refuse_strangers_in_staging,
    staging_folder,
    take_up_leftovers,
)
from cal_pipeline.core.text import add_article, format_ranges

logger = logging.getLogger(__name__)

_MOST_LINKS = 40
"""Links on the way to an output, from which on they are taken to point to each other."""


class LocalOutput(OutputStore):
    """A product in a folder.

    A new product is made in staging and renamed to its place by :meth:`begin`; observations are then
    renamed into it. One that replaces another is built in staging to its end. One that is resumed
    stays where it is, and observations are replaced one by one.

    Parameters
    ----------
    path : Path
        The store to make; links in it are followed.
    overwrite : bool
        Whether an existing store may be replaced.
    source : str
        The input, never modified; empty for inputs that the caller judges.
    kind : ProductKind
        Kind of the product.
    resume : bool
        Whether an existing store is continued in place.

    Raises
    ------
    StoreError
        If something exists at `path` and may not be replaced.
    StoreLockedError
        If another run is writing it.
    """

    def __init__(self, path: Path, overwrite: bool, source: str, kind: ProductKind, resume: bool = False) -> None:
        super().__init__(kind)
        self.path = _follow(path)
        self.root = self.product = LocalStorePath(self.path)
        _refuse_overlap(self.path, source)
        _refuse_inside_of_product(self.path, kind)
        self.staging = RunFolder(self.path, self.run)
        self.lock = LocalLock(self.path, self.staging.path, Holder.of_this_process(self.run))
        self._is_new = self._in_place = False
        try:
            self.lock.refuse_if_held()
            refuse_strangers_in_staging(self.path)
            self.staging.make(self.holder)
            self.lock.acquire()
            self._prepare(overwrite, resume)
        except OSError as error:
            self.close()
            raise StoreError(f"output {self.path} cannot be written: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def _prepare(self, overwrite: bool, resume: bool) -> None:
        """Judge what is in the way, and make a new product in staging unless one is continued."""
        leftovers, self.removed_runs = take_up_leftovers(self.path, self.kind.key_of)
        self.leftovers = [LocalStorePath(left) for left in leftovers]
        self._is_new = not _holds_anything(self.path)
        if not self._is_new:
            refuse_to_replace(self.root, self.kind, overwrite or resume)
            refuse_strangers(self.root, _all_names(self.path), self.kind)
            self._in_place = resume
            if not resume:
                _refuse_unremovable(self.path)
            elif not os.access(self.path, os.W_OK):
                # Every observation would be made, and only its renaming fail.
                raise PermissionError(errno.EACCES, "Permission denied to add to it")
        if not self._in_place:
            self.product = LocalStorePath(self.staging.product)
            write_group(self.product, "", self.kind.root_attributes)
            self.product.put(self.kind.failures_file, self.describe_failures())
            self.product.make_durable()

    def begin(self, record: bytes) -> Exception | None:
        """Rename a new product to its place; one that replaces another stays in staging."""
        if self._in_place and not self.kind.ledger:
            self.save_failures()
        unwritten = self.try_record_run(record)
        if self._is_new:
            sync_file(self.staging.product)
            self._rename_product()
        return unwritten

    def _rename_product(self) -> None:
        self.staging.product.rename(self.path)
        self.product = self.root
        sync_file(self.path.parent)

    def staging_of(self, name: str) -> StorePath:
        """Return a folder in the staging folder of the run."""
        return local_staging_path(self.path, self.run, name)

    def publish(self, name: str, changed: bool = False) -> None:
        """Rename an observation into the product."""
        self.lock.ensure_held()
        if changed:
            finish_group(self.staging_of(name))
        self._move_in(self.staging.unpublished / name)

    def _move_in(self, group: Path) -> None:
        """Rename an observation into the product; one in its place is put aside before."""
        target = self._folder / group.name
        aside = self.staging.put_aside(target) if target.exists() else None
        try:
            group.rename(target)
            try:
                sync_file(target.parent)
            except BaseException:
                # One that is reported as failed is not to be listed.
                target.rename(group)
                raise
        except BaseException:
            if aside is not None and not target.exists():
                aside.rename(target)
            raise
        if aside is not None:
            with _warned():
                self.staging.discard(aside)

    @property
    def _folder(self) -> Path:
        return self.path if self.product is self.root else self.staging.product

    def published(self) -> list[str]:
        """List the names of the finished observations."""
        return finished_in(self._folder, self.kind.key_of)

    def adopt(self, leftover: StorePath, name: str) -> None:
        """Rename a finished observation of a leftover into the product."""
        assert isinstance(leftover, LocalStorePath)
        self.lock.ensure_held()
        self._move_in(leftover.path / name)

    def drop(self, name: str) -> None:
        """Rename an observation out of the product, and remove it."""
        self.lock.ensure_held(again=True)
        self.staging.discard(self._folder / name)

    def put_record(self, key: str, content: bytes) -> None:
        """Write a file in staging, and rename it into the product."""
        self.lock.ensure_held()
        draft = self.staging.path / key
        with open(draft, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        draft.replace(self._folder / key)

    def keep_only(self, names: Collection[str]) -> None:
        """Remove other observations from a product that is continued in place."""
        self.lock.ensure_held(again=True)
        if self._in_place:
            for name in sorted(set(self.published()) - set(names)):
                self.drop(name)

    def finish(self, done: Collection[str]) -> None:
        """Put a product that was built in staging in the place of the older one."""
        self.lock.ensure_held(again=True)
        if self.product is not self.root and done:
            self._replace()
        superseded = set(done) & set(finished_in(self.path, self.kind.key_of)) if done else set()
        for left in self.leftovers:
            with _warned():
                self._clear_leftover(RunFolder(self.path, Path(left.name).parent.name), superseded)

    def _clear_leftover(self, left: RunFolder, superseded: set[str]) -> None:
        """Remove from a leftover what this run has made anew, and all of it where nothing else is finished."""
        key_of = self.kind.key_of
        finished = set(finished_in(left.product, key_of))
        if finished <= superseded:
            left.remove()
            return
        for name in sorted(finished & superseded):
            left.discard(left.product / name)
        kept = format_ranges(sorted(number for name in finished - superseded if (number := key_of(name)) is not None))
        logger.warning(
            f"finished {self.kind.noun}s %s of an interrupted run are kept in %s; give resume=True to take them up",
            kept,
            left.product,
        )

    def _replace(self) -> None:
        """Swap the older product and the new one."""
        built = self.staging.product
        sync_file(built)
        try:
            aside = self.staging.put_aside(self.path) if self.path.exists() else None
            try:
                self._rename_product()
            except BaseException:
                if aside is not None and not self.path.exists():
                    aside.rename(self.path)
                raise
        except OSError as error:
            where = f"the new product is in {built if built.exists() else self.path}"
            if (older := find_put_aside(self.path)) is not None:
                where += f", the older one in {older}, from where the next run puts it back"
            raise StoreError(f"output {self.path} cannot be replaced: {error.strerror or error}; {where}") from error

    def discard(self) -> None:
        """Remove a new store that holds nothing but the records of the run."""
        if self._is_new and self.product is self.root:
            if set(os.listdir(self.path)) <= {"zarr.json", *self.kind.record_files}:
                self.staging.discard(self.path)
            else:
                logger.warning("%s is left: it holds more than this run wrote", self.path)

    def close(self) -> None:
        """Remove the staging folder of the run, unless it holds observations, and release the lock."""
        with _warned():
            if self.product is not self.root and self.published():
                self.staging.tidy()
            else:
                self.staging.remove()
        self.lock.release()


@contextmanager
def _warned() -> Iterator[None]:
    """Warn of an error in staging, which is no reason to end a run; the next run tries again."""
    try:
        yield
    except (OSError, StoreError) as error:
        logger.warning("left behind: %s", error)


def local_staging_path(product: Path, run: str, name: str) -> LocalStorePath:
    """Return the staging path of an observation of a product in a folder."""
    folder = RunFolder(product, run)
    return LocalStorePath(folder.unpublished / name, base=folder.path)


def _follow(path: Path) -> Path:
    """Return the path that a link leads to, which need not exist.

    Links among the folders above are left alone: workers on other hosts may have others.

    Raises
    ------
    StoreError
        If it is the root folder, or if links point to each other.
    """
    followed = path.absolute()
    for _ in range(_MOST_LINKS):
        try:
            followed = followed.resolve() if ".." in followed.parts else followed
        except (OSError, RuntimeError) as error:
            raise StoreError(f"output {path} cannot be found: {error}") from error
        if not followed.name:
            raise StoreError(f"output {followed} is the root folder; name the store, as in l1.zarr")
        try:
            if not followed.is_symlink():
                return followed
            followed = followed.parent / followed.readlink()
        except OSError as error:
            raise StoreError(f"output {path} cannot be written: {error.strerror or error}") from error
    raise StoreError(f"output {path} cannot be found: its links point to each other")


def _refuse_overlap(path: Path, source: str) -> None:
    """Refuse an output that contains the input, or lies in it, by whatever links."""
    if not source or is_url(source):
        return
    read = Path(normalize_location(source)).resolve()
    inputs = [read]
    if read.is_dir():
        # Parts of an input may lie elsewhere. A link to itself is no error here, as it is to Path.resolve.
        with os.scandir(read) as entries:
            inputs += [Path(os.path.realpath(entry.path)) for entry in entries if entry.is_symlink()]
    target = path.resolve()
    for written in (target, staging_folder(target)):
        for found in inputs:
            if _contains(written, found) or _contains(found, written):
                raise StoreError(
                    f"output {path} and input {source} are the same store, or one contains the other; "
                    "name another output"
                )


def _contains(folder: Path, path: Path) -> bool:
    """Tell whether a path is a folder, or lies in it, by whatever name the folder has."""
    if folder == path or folder in path.parents:
        return True
    try:
        found = folder.stat()
    except OSError:
        return False
    for parent in (path, *path.parents):
        try:
            if os.path.samestat(parent.stat(), found):
                return True
        except OSError:
            continue
    return False


def _refuse_inside_of_product(path: Path, kind: ProductKind) -> None:
    """Refuse an output within another product, which would hold it as a stranger."""
    for parent in path.resolve().parents:
        try:
            attributes = json.loads(LocalStorePath(parent).get("zarr.json") or b"{}")["attributes"]
            inside = MARKER in attributes
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if inside:
            raise StoreError(f"output {path} lies in {parent}, which is {add_article(kind.name)}; name another output")


def _holds_anything(path: Path) -> bool:
    """Tell whether something is at a path; an empty folder is nothing."""
    return path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None)


def _all_names(folder: Path, inside: str = "") -> Iterator[str]:
    """Yield the paths of all files below a folder; links, which no run makes, are marked as such."""
    with os.scandir(folder / inside) as entries:
        for entry in entries:
            name = f"{inside}{entry.name}"
            if entry.is_symlink():
                yield f"{name} (a link)"
            elif entry.is_dir():
                yield from _all_names(folder, f"{name}/")
            else:
                yield name


def _refuse_unremovable(path: Path) -> None:
    """Refuse to replace a product of which a part may not be removed, before anything is written.

    Raises
    ------
    StoreError
        If so; the message names the part.
    """
    parent = path.parent
    if path.stat().st_dev != parent.stat().st_dev:
        raise StoreError(f"output {path} cannot be replaced: it is the root of a file system; name a folder in it")
    if _is_shared(parent) and not _is_ours(path):
        raise StoreError(f"output {path} cannot be replaced: it belongs to another account, and {parent} is shared")
    for root, _, files in os.walk(path, onerror=_refuse_unlisted):
        if not os.access(root, os.W_OK | os.X_OK):
            raise StoreError(f"output {path} cannot be replaced: {root} cannot be removed (no right to write)")
        foreign = [name for name in files if not _is_ours(Path(root, name))] if _is_shared(Path(root)) else []
        if foreign:
            raise StoreError(f"output {path} cannot be replaced: {root}/{foreign[0]} belongs to another account")


def _refuse_unlisted(error: OSError) -> None:
    raise StoreError(f"{error.filename} cannot be removed: {error.strerror}") from error


def _is_shared(folder: Path) -> bool:
    """Tell whether what is in a folder may be removed by its owner only (sticky bit)."""
    found = folder.stat()
    return bool(found.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, found.st_uid)


def _is_ours(path: Path) -> bool:
    return path.lstat().st_uid == os.geteuid()
