"""Staging folders beside a product: one for each run, known by its marker."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.local_path import LocalStorePath, remove_tree, sync_file
from cal_pipeline.core.store.lock import Holder

logger = logging.getLogger(__name__)

KeyOf = Callable[[str], object]
"""Function that returns the key of the observation in a member of the root, None for other members."""

MARK = "cal_pipeline_run.json"
"""File that marks the staging folder of a run; only folders that hold it are ever removed."""

_BEGINNING = 10.0
"""Time after which a run has marked the folder that it made [s]."""

_MOST_NAMED = 5


def staging_folder(product: Path) -> Path:
    """Return the folder beside a product in which each run has its own."""
    return product.with_name(product.name + ".staging")


class RunFolder:
    """Staging folder of one run, ``<product>.staging/<run>``.

    Parameters
    ----------
    product : Path
        The product.
    run : str
        Id of the run.

    Attributes
    ----------
    path : Path
        The folder.
    unpublished : Path
        Folder of the observations that are being written.
    product : Path
        The product while it is built beside an older one.
    """

    def __init__(self, product: Path, run: str) -> None:
        self._target = product
        self.path = staging_folder(product) / run
        self.unpublished = self.path / "unpublished"
        self.product = self.path / "product"
        self._aside = self.path / "old"
        self._discarded = self.path / "discarded"

    def make(self, holder: Holder) -> None:
        """Make the folder, marked as that of a run."""
        self.path.mkdir(parents=True)
        mark = self.path / MARK
        mark.write_bytes(holder.as_json())
        sync_file(mark)
        sync_file(self.path)

    def is_marked(self) -> bool:
        """Tell whether a run of this package made the folder."""
        if self.path.is_symlink() or not self.path.is_dir():
            return False
        # A run that was killed while it made its folder leaves an empty one.
        return (self.path / MARK).is_file() or next(self.path.iterdir(), None) is None

    def is_of_living_run(self) -> bool:
        """Tell whether the run is still at work; one whose folder is new may be about to mark it."""
        try:
            return not Holder.from_json((self.path / MARK).read_bytes()).is_gone()
        except FileNotFoundError:
            with suppress(OSError):
                return time.time() - self.path.stat().st_mtime < _BEGINNING
        except (OSError, ValueError):
            pass
        return False

    def put_aside(self, path: Path) -> Path:
        """Move the product, or an observation of it, out of the way of what replaces it.

        Parameters
        ----------
        path : Path
            The product, or one of its groups.

        Returns
        -------
        Path
            Where it is.
        """
        aside = self._aside / ("product" if path == self._target else path.name)
        self._aside.mkdir(exist_ok=True)
        remove_tree(aside)
        path.rename(aside)
        return aside

    def discard(self, path: Path) -> None:
        """Remove the product or a group for good: one that is stopped meanwhile puts nothing back.

        Parameters
        ----------
        path : Path
            What is removed, on the same file system.

        Raises
        ------
        OSError
            If it cannot be moved out of its folder. What stays in the folder of the run is warned of.
        """
        self._discarded.mkdir(exist_ok=True)
        out = self._discarded / path.name
        remove_tree(out)
        path.rename(out)
        if path.parent != self._aside:
            sync_file(path.parent)
        remove_or_warn(out)

    def put_back(self) -> None:
        """Put back what a run that was stopped had put aside and not yet replaced.

        Raises
        ------
        OSError
            If it cannot be.
        """
        for aside, target in self._put_aside():
            if not target.exists() and target.parent.exists():
                aside.rename(target)
                sync_file(target.parent)
                logger.warning("%s is put back: the run that replaced it was stopped", target)

    def _put_aside(self) -> list[tuple[Path, Path]]:
        """List what is put aside, and where it belongs."""
        found = sorted(self._aside.iterdir()) if self._aside.is_dir() else []
        return [(path, self._target if path.name == "product" else self._target / path.name) for path in found]

    def tidy(self) -> None:
        """Remove all but the product and what has no replacement; that is put back where possible.

        Raises
        ------
        OSError
            If something cannot be put back; then nothing is removed.
        """
        self.put_back()
        for path in (self.unpublished, self._discarded):
            remove_or_warn(path)
        self._remove_replaced()

    def _remove_replaced(self) -> None:
        """Remove what was put aside and has been replaced."""
        for aside, target in self._put_aside():
            if target.exists():
                remove_or_warn(aside)
            else:
                logger.warning("%s is kept: %s, where it belongs, does not exist", aside, target)
        with suppress(OSError):
            self._aside.rmdir()

    def remove(self) -> None:
        """Remove the folder, and that of all runs where it is the last; warn of what stays.

        What was put aside and has no replacement is put back, or stays.

        Raises
        ------
        OSError
            If something cannot be put back; then nothing is removed.
        """
        # There can be no such path below a file, or with a name that is too long.
        if os.path.lexists(self.path):
            self._clear()
        with suppress(OSError):
            self.path.parent.rmdir()

    def _clear(self) -> None:
        self.put_back()
        # The marker is removed last: what a run that is killed meanwhile leaves is known as ours.
        for name in self._names():
            if name not in (MARK, self._aside.name):
                remove_or_warn(self.path / name)
        self._remove_replaced()
        if self._names() in ([], [MARK]):
            remove_or_warn(self.path)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except OSError:
            return []


def remove_or_warn(path: Path) -> None:
    """Remove something of ours in staging, where an error is no reason to end a run; the next run tries again.

    Parameters
    ----------
    path : Path
        Folder, file or link.
    """
    try:
        remove_tree(path)
    except StoreError as error:
        logger.warning("left behind: %s", error)


def refuse_strangers_in_staging(product: Path) -> None:
    """Refuse a staging folder that holds anything but the folders of runs.

    Parameters
    ----------
    product : Path
        The product.

    Raises
    ------
    StoreError
        If something else is there; the message names it.
    """
    folder = staging_folder(product)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise StoreError(f"{folder} is in the way of the staging folder: it is no folder of this package; rename it")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if not RunFolder(product, name).is_marked()]
    if foreign:
        raise StoreError(f"the staging folder {folder} holds what no run made: {name_some(foreign)}; move it elsewhere")


def take_up_leftovers(product: Path, key_of: KeyOf) -> tuple[list[Path], list[str]]:
    """Clear the staging folders of runs that are gone; the caller holds the lock.

    What such a run had put aside is put back. A product with finished observations is kept.

    Parameters
    ----------
    product : Path
        The product.
    key_of : callable
        Returns the number of the observation in a group; None for other groups.

    Returns
    -------
    products : list of Path
        Products that were to replace the present one and hold finished observations.
    removed : list of str
        Ids of the other runs, whose folders are removed.
    """
    folder = staging_folder(product)
    found: list[Path] = []
    removed: list[str] = []
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        left = RunFolder(product, name)
        if left.is_of_living_run():
            continue
        if finished_in(left.product, key_of):
            left.tidy()
            found.append(left.product)
        else:
            left.remove()
            removed.append(name)
    return found, removed


def find_abandoned(product: Path) -> bool:
    """Tell whether a run that is gone has left its staging folder beside a product.

    Parameters
    ----------
    product : Path
        The product.
    """
    folder = staging_folder(product)
    names = os.listdir(folder) if folder.is_dir() else []
    left = [RunFolder(product, name) for name in names]
    return any(run.is_marked() and not run.is_of_living_run() for run in left)


def find_put_aside(product: Path) -> Path | None:
    """Find a product that a run which was stopped had put aside and did not replace.

    Parameters
    ----------
    product : Path
        Where the product should be.

    Returns
    -------
    Path or None
        Where it is; None without such a run.
    """
    if product.exists():
        return None
    return next(staging_folder(product.resolve()).glob("*/old/product"), None)


def finished_in(product: Path, key_of: KeyOf) -> list[str]:
    """List the names of the finished observations of a product in a folder.

    Parameters
    ----------
    product : Path
        The product.
    key_of : callable
        Returns the number of the observation in a group; None for other groups.
    """
    names = [name for name in LocalStorePath(product).members() if key_of(name) is not None]
    return sorted(name for name in names if (product / name / "zarr.json").is_file())


def name_some(names: list[str]) -> str:
    """Join names for a message: the first five, and the number of the others."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
