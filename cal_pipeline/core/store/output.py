"""Writing of products: each observation is written to staging, checked, then published as a whole."""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, ClassVar, Self

from cal_pipeline.core.errors import CalibrationError, IncompleteWriteError, LayoutError, OutputExistsError, StoreError
from cal_pipeline.core.store.interface import chunk_name
from cal_pipeline.core.store.lock import Holder, StoreLock
from cal_pipeline.core.store.metadata import MOST_CHUNKS, make_group, read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import FAILED, RUN_RECORD, Key, ProductKind
from cal_pipeline.core.store.staging import name_some
from cal_pipeline.core.text import add_article, format_count

logger = logging.getLogger(__name__)

_ALIKE = 512
"""Number of metadata whose chunks are remembered: most arrays have the same ones in each observation."""

_LONG = 4096
"""Length of metadata that no two observations share [bytes]."""


class OutputStore(ABC):
    """A product under construction, locked by one run.

    Attributes
    ----------
    root : StorePath
        The store, under its final name.
    product : StorePath
        Where observations are published meanwhile: the store, or its replacement beside it.
    kind : ProductKind
        Kind of the product.
    run : str
        Id of the run.
    failures : list of dict
        Observations that could not be calibrated.
    leftovers : list of StorePath
        Products of runs that were stopped before they replaced the present one; each holds finished
        observations.
    removed_runs : list of str
        Ids of runs that were stopped, whose staging folders were removed.
    earlier_failures : list of dict
        Failures that an earlier run recorded of observations that this one was not asked for, and those
        of which no observation is known.
    entries : dict
        Entries of the ledger by observation, for a kind of product that has one.
    """

    root: StorePath
    product: StorePath
    lock: StoreLock
    leftovers: list[StorePath]
    removed_runs: list[str]
    earlier_failures: list[dict[str, Any]]

    keeps_records: ClassVar[bool] = True
    """Whether failures and the run are recorded in the product."""

    def __init__(self, kind: ProductKind) -> None:
        self.kind = kind
        self.run = uuid.uuid4().hex
        self.failures: list[dict[str, Any]] = []
        self.leftovers = []
        self.removed_runs = []
        self.earlier_failures = []
        self.entries: dict[Key, Mapping[str, Any]] = {}
        self.unsaved: Exception | None = None
        """Error of the last attempt to write the failures; None if they were written."""

    @property
    def holder(self) -> Holder:
        """The run, as its lock names it."""
        return self.lock.holder

    @abstractmethod
    def begin(self, record: bytes) -> Exception | None:
        """Make the store visible, with the record of the run in it.

        Parameters
        ----------
        record : bytes
            Content of ``run.json``; of no effect where the kind of product has a ledger.

        Returns
        -------
        Exception or None
            Error of writing the record, without which the store is visible too.

        Raises
        ------
        OSError, StoreError
            If the store cannot be made.
        """

    @abstractmethod
    def staging_of(self, name: str) -> StorePath:
        """Return the staging path of an observation, invisible to readers of the store."""

    @abstractmethod
    def publish(self, name: str, changed: bool = False) -> None:
        """Publish a finished observation; one of this name is replaced.

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
        StoreLockedError
            If another run has taken the store over.
        """

    @abstractmethod
    def published(self) -> list[str]:
        """List the names of the finished observations."""

    @abstractmethod
    def adopt(self, leftover: StorePath, name: str) -> None:
        """Move a finished observation of a leftover into the product.

        Parameters
        ----------
        leftover : StorePath
            One of :attr:`leftovers`.
        name : str
            Name of its group.
        """

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove an observation from the product; readers see it whole or not at all."""

    @abstractmethod
    def put_record(self, key: str, content: bytes) -> None:
        """Write a file at the root of the product, as a whole.

        Parameters
        ----------
        key : str
            One of the records of the product, or ``zarr.json``.
        content : bytes
            Its content.

        Raises
        ------
        OSError, StoreError
            If it cannot be written; the former one is intact.
        """

    @abstractmethod
    def keep_only(self, names: Collection[str]) -> None:
        """Remove what else a product holds that was written in place.

        Parameters
        ----------
        names : collection of str
            Names of the observations that belong in the product.

        Raises
        ------
        StoreLockedError
            If another run has taken the store over.
        """

    @abstractmethod
    def finish(self, done: Collection[str]) -> None:
        """Complete the product of a run that was not interrupted.

        An older product is replaced, unless no observation was calibrated. What this run has calibrated
        anew is removed from :attr:`leftovers`; those that hold other finished observations stay.

        Parameters
        ----------
        done : collection of str
            Names of the observations that this run has calibrated or taken up.

        Raises
        ------
        StoreError
            If the older product cannot be replaced.
        StoreLockedError
            If another run has taken the store over.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove a new store in which nothing was published and nothing failed."""

    @abstractmethod
    def close(self) -> None:
        """Remove the staging folder of the run, unless it holds observations, and release the lock."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record_failure(self, number: Key, where: str, error_class: str, message: str) -> None:
        """Add a failed observation to the failures; if they cannot be written, that is tried again later.

        Parameters
        ----------
        number : int
            Number of the observation.
        where : str
            Step in which it failed; of a kind with a ledger, the input file.
        error_class, message : str
            Class and message of the error.
        """
        key = self.kind.number_key
        self.failures.append(dict(zip(self.kind.failure_keys, (number, where, error_class, message), strict=True)))
        self.failures.sort(key=lambda failure: failure[key])
        self._save_failures_now()

    def forget_failure(self, number: Key) -> dict[str, Any] | None:
        """Remove an observation from the failures, as it is tried again; return what was recorded of it."""
        key = self.kind.number_key
        found = next((failure for failure in self.failures if failure[key] == number), None)
        if found is not None:
            self.failures.remove(found)
            self._save_failures_now()
        return found

    def _save_failures_now(self) -> None:
        """Write failures as they come; a ledger, which may be large, is written now and then."""
        if not self.kind.ledger:
            self.save_failures()

    def renew_root(self) -> None:
        """Write the attributes of the root anew, in a product that an earlier version made."""
        if read_group_attributes(self.root, "") != self.kind.root_attributes:
            self.put_record("zarr.json", make_group(self.kind.root_attributes))

    def try_record(self, key: str, content: bytes) -> Exception | None:
        """Write a file at the root of the product; return the error if that fails.

        Parameters
        ----------
        key : str
            One of the records of the product.
        content : bytes
            Its content.
        """
        try:
            self.put_record(key, content)
        except (OSError, CalibrationError) as error:
            return error
        return None

    def try_record_run(self, content: bytes) -> Exception | None:
        """Write the record of the run, if the kind of product has one; return the error if that fails."""
        return None if self.kind.ledger else self.try_record(RUN_RECORD, content)

    def save_failures(self) -> None:
        """Write the failures, and keep the error in :attr:`unsaved` if that fails.

        A ledger is written only where its content changes.
        """
        name, content = self.kind.failures_file, self.describe_failures()
        error = None if self.kind.ledger and self._holds(name, content) else self.try_record(name, content)
        if error is not None and self.unsaved is None:
            logger.warning("%s/%s cannot be written, and is tried again: %s", self.product, name, error)
        self.unsaved = error

    def _holds(self, key: str, content: bytes) -> bool:
        """Tell whether a file at the root has some content already."""
        try:
            return self.product.get(key) == content
        except (OSError, CalibrationError):
            return False

    def describe_failures(self) -> bytes:
        """Return the content of the file that lists failures: a list, or the ledger of the product."""
        return describe_failures(self.kind, [*self.earlier_failures, *self.failures], self.entries)


def describe_failures(
    kind: ProductKind, failures: Iterable[Mapping[str, Any]], entries: Mapping[Key, Mapping[str, Any]]
) -> bytes:
    """Return the content of the file that lists the failures of a product.

    Parameters
    ----------
    kind : ProductKind
        Kind of the product.
    failures : iterable of mapping
        Records of failures; those of no known observation are listed first.
    entries : mapping
        Entries of the ledger by observation; of no effect where the kind has none.

    Examples
    --------
    >>> kind = ProductKind("scan", "session", "1.0", "file", ledger="made.json")
    >>> json.loads(describe_failures(kind, [], {2: {"files": ["a.fits"]}}))
    {'scans': {'2': {'files': ['a.fits']}}, 'failures': []}
    """
    key = kind.number_key
    ordered = sorted(failures, key=lambda item: (item[key] is not None, item[key] or 0))
    content: Any = ordered
    if kind.ledger:
        content = {kind.plural: {str(number): entries[number] for number in sorted(entries)}, FAILED: ordered}
    return (json.dumps(content, indent=2) + "\n").encode()


def finish_group(root: StorePath) -> None:
    """Check that a group is complete and fsync it, so that it survives a loss of power.

    Raises
    ------
    IncompleteWriteError
        If it is not complete.
    """
    check_complete(root)
    root.make_durable()


def discard_group(root: StorePath) -> None:
    """Remove an unpublished group after an error, which an error of removing must not hide."""
    try:
        root.remove()
    except (OSError, CalibrationError) as error:
        logger.warning("left behind: %s", error)


def refuse_to_replace(root: StorePath, kind: ProductKind, overwrite: bool) -> None:
    """Refuse to replace a store that is no product, or one that may not be replaced.

    Parameters
    ----------
    root : StorePath
        The store.
    kind : ProductKind
        Kind of product that may be replaced.
    overwrite : bool
        Whether it may.

    Raises
    ------
    StoreError
        If it is no product of this kind.
    OutputExistsError
        If it may not be replaced.
    """
    try:
        known = kind.marks(read_group_attributes(root, ""))
    except LayoutError:
        known = False
    if not known:
        raise StoreError(f"output {root} exists and is no {kind.name}, so it is never replaced; name another output")
    if not overwrite:
        raise OutputExistsError(f"output {root} exists; give overwrite=True to replace it")


_OWN_NAMES = re.compile(r"zarr\.json|c(\.\d+)*")
"""Names of files in the groups of observations: metadata and chunks."""


def refuse_strangers(root: StorePath, keys: Iterable[str], kind: ProductKind) -> None:
    """Refuse to replace or remove files in a product that are not part of it.

    Parameters
    ----------
    root : StorePath
        The product.
    keys : iterable of str
        Keys of all that it holds.
    kind : ProductKind
        Its kind.

    Raises
    ------
    StoreError
        If there are others; the message names them.
    """
    foreign = [key for key in keys if not _is_part(PurePosixPath(key), kind)]
    if foreign:
        raise StoreError(
            f"output {root} holds what is not part of {add_article(kind.name)}, so it is never replaced: "
            f"{name_some(sorted(foreign))}; move it elsewhere, or name another output"
        )


def _is_part(key: PurePosixPath, kind: ProductKind) -> bool:
    if len(key.parts) == 1:
        return key.name in ("zarr.json", *kind.record_files)
    return kind.key_of(key.parts[0]) is not None and _OWN_NAMES.fullmatch(key.name) is not None


def check_complete(root: StorePath) -> None:
    """Check that every chunk of every array below a group is in the store, and the array of every chunk.

    Raises
    ------
    IncompleteWriteError
        If one is not.
    """
    keys = set(root.walk())
    folders = {key.rpartition("/")[0] for key in keys}
    lost = sorted(folder for folder in folders if folder and f"{folder}/zarr.json" not in keys)
    if lost:
        raise IncompleteWriteError(f"{root}/{lost[0]} holds chunks and no zarr.json, expected one")
    documents = sorted(key for key in keys if key.endswith("zarr.json"))
    for key, document in zip(documents, root.each(root.get_written, documents), strict=True):
        try:
            grid = _find_chunk_grid(document or b"")
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise IncompleteWriteError(f"{root}/{key} holds no metadata, expected those written: {error!r}") from error
        if grid is not None:
            path = key.removesuffix("zarr.json")
            expected = {path + chunk_name(index) for index in itertools.product(*map(range, grid))}
            present = len(expected & keys)
            if present != len(expected):
                where = f"{root}/{path}".rstrip("/")
                raise IncompleteWriteError(f"{where} holds {format_count(present, 'chunk')}, expected {len(expected)}")


def _find_chunk_grid(document: bytes) -> tuple[int, ...] | None:
    """Read the chunk grid from metadata, once for all arrays alike; metadata as long as a group's are not kept."""
    return (_read_chunk_grid if len(document) > _LONG else _remembered_chunk_grid)(document)


def _read_chunk_grid(document: bytes) -> tuple[int, ...] | None:
    """Return the number of chunks along each axis of an array, by its metadata; None for a group.

    Raises
    ------
    ValueError
        If there are more of them than any array has.
    """
    metadata = json.loads(document)
    if metadata["node_type"] != "array":
        return None
    chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    grid = tuple(-(-n // c) for n, c in zip(metadata["shape"], chunks, strict=True))
    if math.prod(grid) > MOST_CHUNKS:
        raise ValueError(f"{math.prod(grid)} chunks, expected at most {MOST_CHUNKS}")
    return grid


_remembered_chunk_grid = lru_cache(_ALIKE)(_read_chunk_grid)
