"""Following an input that is still being written: which observations are complete, found by polling."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.observation import Dataset, Growth, Lacks
from cal_pipeline.core.run.signals import Terminated, exposed
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.fingerprint import digest_listing, list_objects
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key, ProductKind
from cal_pipeline.core.text import format_count, format_ranges

logger = logging.getLogger(__name__)

SETTLING = 5.0
"""Default time without a change after which the last observation counts as written [s]."""

PATIENCE = 12
"""Settling times without a change after which absent samples count as missing, and faults as final."""

_LONGEST_INTERVAL = 1.0
"""Longest time between two looks at the input [s]."""

_LOOKS = 64
"""Number of observations whose files are listed in one look, and processed in one batch."""

_REVISITED = 4
"""Number of processed observations that are listed again in each look: the latest, and as many others in turn."""


class Followed(Protocol):
    """Knowledge of a family about an input that is still being written."""

    product_kind: ProductKind
    inputs_chosen_by: str

    def check_growing(self, root: StorePath) -> None:
        """Refuse an input of another kind."""

    def open_growing(self, location: str, complete: Sequence[Key]) -> Dataset:
        """Open the input with the observations that are complete."""

    def select_complete(self, dataset: Any, numbers: Sequence[Key]) -> list[Key]:
        """Select those observations among complete ones that are to be processed."""

    def find_lacks(self, root: StorePath, number: Key) -> Lacks:
        """Find what an observation lacks."""


class Batch(NamedTuple):
    """Observations that are complete, to be processed together.

    Parameters
    ----------
    dataset : Dataset
        The input, opened anew.
    numbers : list of int
        The observations.
    growth : Growth
        State of the input, for workers.
    """

    dataset: Dataset
    numbers: list[Key]
    growth: Growth


@dataclass
class _Seen:
    """Observation as it was seen last.

    Parameters
    ----------
    listing : str
        Digest of the names, sizes and stamps of its objects.
    since : float
        Time since which the listing is the same [s].
    """

    listing: str
    since: float
    is_confirmed: bool = False
    """Whether a second look has found the same listing."""

    lacks: Lacks | None = None
    judged: float = 0.0
    """Time at which `lacks` was found [s]."""

    taken: str = ""
    """Listing with which the observation was processed last; empty if it never was."""

    failed_in: str = ""
    """Step in which that failed."""

    @property
    def is_pending(self) -> bool:
        """Tell whether the observation is to be processed as it is now."""
        return self.taken != self.listing


class Follower:
    """Watcher of an input that is still being written, which finds the observations that are complete.

    An observation is complete if a family finds nothing that it lacks, and its listing has not
    changed for the settling time; two equal listings are enough where a later observation is
    there. Observations that may lack something for good, or that are faulty, take longer. They
    become complete in the order of their numbers, so that earlier ones, with what is chosen from
    them, are always whole.

    Parameters
    ----------
    location : str
        The input, a folder or URL.
    recipe : Followed
        The family.
    settling : float
        Settling time [s].
    timeout : float or None
        Time after the last new or changed observation at which following ends [s]; None: never.

    Raises
    ------
    StoreError
        If the input cannot grow, or its parent folder does not exist.
    """

    def __init__(self, location: str, recipe: Followed, settling: float, timeout: float | None) -> None:
        _refuse_what_cannot_grow(location)
        self.root = open_store(location)
        self._location, self._recipe, self._kind = location, recipe, recipe.product_kind
        self._settling, self._timeout = settling, timeout
        self._interval = min(_LONGEST_INTERVAL, settling / 4)
        self._seen: dict[Key, _Seen] = {}
        self._active = time.monotonic()
        self._turn = self._n_batches = 0
        self._is_checked = False
        self._ending = self._has_said_waiting = self._has_timed_out = False
        self._error = ""

    @property
    def has_timed_out(self) -> bool:
        """Tell whether following ended since nothing new came."""
        return self._has_timed_out

    def list_present(self) -> list[Key]:
        """List the observations that are there, complete or not."""
        return sorted(self._list_groups())

    def batches(self, on_wait: Callable[[], None]) -> Iterator[Batch]:
        """Yield observations as they get complete, until Ctrl-C while waiting, or the timeout.

        Parameters
        ----------
        on_wait : callable
            Called before each wait.

        Yields
        ------
        Batch
        """
        while not self._ending:
            self._check_input()
            ready = self._look()
            if not ready and self._is_over():
                self._ending = self._has_timed_out = True
                logger.info("nothing new for %g s: following %s ends", self._timeout, self.root)
                ready = [number for number, seen in sorted(self._seen.items()) if seen.is_pending]
            batch = self._make_batch(ready if self._ending else ready[:_LOOKS]) if ready else None
            if batch is None:
                self._ending = self._ending or not self._wait(on_wait)
            elif batch.numbers:
                yield batch
                self._active = time.monotonic()
        self._name_unfinished()

    def _check_input(self) -> None:
        """Let the family judge the input once, as soon as its root is there."""
        if self._is_checked:
            return
        try:
            read_group_attributes(self.root, "")
        except (OSError, CalibrationError):  # it is not there, half written or cannot be reached now
            return
        self._recipe.check_growing(self.root)
        self._is_checked = True

    def note(self, number: Key, failed_in: str) -> None:
        """Note the step in which a processed observation failed; empty for none."""
        if number in self._seen:
            self._seen[number].failed_in = failed_in

    def _wait(self, on_wait: Callable[[], None]) -> bool:
        """Wait for the next look; False after Ctrl-C."""
        on_wait()
        if not self._has_said_waiting:
            self._has_said_waiting = True
            logger.info("waiting for %ss in %s; Ctrl-C ends the run", self._kind.noun, self.root)
        try:
            with exposed():
                time.sleep(self._interval)
        except Terminated:
            raise
        except KeyboardInterrupt:
            logger.info("interrupted while waiting: following %s ends", self.root)
            return False
        return True

    def _look(self) -> list[Key]:
        """Look at the input; return the observations that are complete and not processed."""
        try:
            groups = self._list_groups()
            self._forget_absent(groups)
            numbers = self._choose_to_list(groups)
            listings = self.root.each(lambda number: self._digest(groups[number]), numbers)
        except (OSError, CalibrationError) as error:
            self._warn_once(f"{self.root} cannot be listed, and is tried again: {error}")
            return []
        for number, listing in zip(numbers, listings, strict=True):
            self._update(number, listing)
        return self._find_ready(max(groups, default=0))

    def _warn_once(self, message: str) -> None:
        """Warn of an error, unless the last one was the same."""
        if message != self._error:
            logger.warning("%s", message)
        self._error = message

    def _list_groups(self) -> dict[Key, str]:
        """List the groups of observations by number; none before the input itself is there."""
        self.root.forget_listings()
        names = self.root.members()
        if "zarr.json" not in names:
            return {}
        return {number: name for name in names if (number := self._kind.key_of(name)) is not None}

    def _digest(self, group: str) -> str:
        return digest_listing(list_objects(self.root, [group]))

    def _forget_absent(self, groups: dict[Key, str]) -> None:
        """Forget observations that were removed before they were processed."""
        for number in [n for n, seen in self._seen.items() if n not in groups and seen.is_pending]:
            del self._seen[number]

    def _choose_to_list(self, groups: dict[Key, str]) -> list[Key]:
        """Choose the observations to list: the first that wait, the latest processed, and some others in turn."""
        waiting = sorted(n for n in groups if n not in self._seen or self._seen[n].is_pending)
        taken = sorted(n for n in groups if n in self._seen and not self._seen[n].is_pending)
        latest, older = taken[-_REVISITED:], taken[:-_REVISITED]
        some = [older[(self._turn + i) % len(older)] for i in range(min(_REVISITED, len(older)))]
        self._turn += _REVISITED
        return [*waiting[:_LOOKS], *latest, *some]

    def _update(self, number: Key, listing: str) -> None:
        """Compare a listing with that of the last look."""
        now, seen = time.monotonic(), self._seen.get(number)
        if seen is None:
            self._seen[number] = _Seen(listing, now)
        elif seen.listing == listing:
            seen.is_confirmed = True
            return
        else:
            if not seen.is_pending and not seen.failed_in:
                noun = self._kind.noun
                logger.warning(f"{noun} %s has changed since it was read; it is processed again", number)
            self._seen[number] = _Seen(listing, now, taken=seen.taken, failed_in=seen.failed_in)
        self._active = now

    def _find_ready(self, last: Key) -> list[Key]:
        """Find the observations that are complete; a new one waits for those with lower numbers."""
        ready, is_held = [], False
        for number, seen in sorted(self._seen.items()):
            if not seen.is_pending:
                continue
            if self._is_complete(number, seen, number != last):
                ready += [number] if seen.taken or not is_held else []
            elif not seen.taken:
                is_held = True
        return ready

    def _is_complete(self, number: Key, seen: _Seen, has_later: bool) -> bool:
        """Tell whether an observation is complete, or will not get any better."""
        now = time.monotonic()
        quiet = now - seen.since
        if not (seen.is_confirmed if has_later else quiet >= self._settling):
            return False
        lacks, patience = self._find_lacks(number, seen, now), PATIENCE * self._settling
        if lacks.fault:
            return has_later and quiet >= patience
        if lacks.doubt:
            return quiet >= (self._settling if has_later else patience)
        return True

    def _find_lacks(self, number: Key, seen: _Seen, now: float) -> Lacks:
        """Find what an observation lacks; a fault, which may be one of reading, is looked at again now and then."""
        if seen.lacks is None or (seen.lacks.fault and now - seen.judged >= self._settling):
            try:
                seen.lacks = self._recipe.find_lacks(self.root, number)
            except (OSError, CalibrationError) as error:
                seen.lacks = Lacks(fault=str(error) or repr(error))
            seen.judged = now
        return seen.lacks

    def _is_over(self) -> bool:
        """Tell whether the time after the last new observation is over."""
        now = time.monotonic()
        if self._timeout is None or now - self._active < self._timeout:
            return False
        return all(now - seen.since >= self._settling for seen in self._seen.values() if seen.is_pending)

    def _make_batch(self, ready: list[Key]) -> Batch | None:
        """Open the input with what is complete, and select the observations to process; None if that fails."""
        complete = sorted({*ready, *(number for number, seen in self._seen.items() if not seen.is_pending)})
        try:
            dataset = self._recipe.open_growing(self._location, complete)
            numbers = self._recipe.select_complete(dataset, sorted({*ready, *self._hopeful()}))
        except (OSError, StoreError) as error:
            self._warn_once(f"{self.root} cannot be opened, and is tried again: {error}")
            return None
        for number in ready:
            seen = self._seen[number]
            seen.taken, seen.failed_in = seen.listing, ""
        self._n_batches += 1
        return Batch(dataset, numbers, Growth(tuple(complete), self._n_batches))

    def _hopeful(self) -> list[Key]:
        """List observations that lacked an input, which one that is complete now may be."""
        step = self._recipe.inputs_chosen_by
        return [number for number, seen in self._seen.items() if step and seen.failed_in == step]

    def _name_unfinished(self) -> None:
        """Warn of observations that were not complete in the end."""
        left = {number: seen for number, seen in sorted(self._seen.items()) if seen.is_pending}
        if left:
            fault = next((s.lacks.fault or s.lacks.doubt for s in left.values() if s.lacks is not None), "")
            noun = f"{self._kind.noun}s" if len(left) > 1 else self._kind.noun
            why = f": {fault}" if fault else ""
            logger.warning(
                f"{noun} %s left out, still being written when following ended%s", format_ranges(list(left)), why
            )


def find_absent_chunks(root: StorePath, group: str) -> Lacks:
    """Find what a group lacks of which every chunk is to be written.

    Parameters
    ----------
    root : StorePath
        The store.
    group : str
        Path of the group in it.

    Returns
    -------
    Lacks
        A fault if metadata cannot be read, there is no array, or a chunk is absent.

    Examples
    --------
    >>> find_absent_chunks(open_store("session.zarr"), "scan_000001")
    Lacks(fault='', doubt='')
    """
    arrays = 0
    try:
        read_group_attributes(root, group)
        for key in sorted(root.child(group).walk()):
            folder, _, name = key.rpartition("/")
            if name == "zarr.json" and json.loads(root.get(f"{group}/{key}") or b"{}").get("node_type") != "group":
                arrays += 1
                array = open_reader(root, f"{group}/{folder}")
                if absent := len(array.absent_chunks()):
                    return Lacks(fault=f"{array.name}: {format_count(absent, 'chunk is', 'chunks are')} not stored")
    except (OSError, ValueError, AttributeError, CalibrationError) as error:
        return Lacks(fault=str(error) or repr(error))
    return Lacks() if arrays else Lacks(fault=f"{root}/{group} holds no array")


def _refuse_what_cannot_grow(location: str) -> None:
    """Refuse a file, a folder whose parent is not there, and a URL without a store.

    Raises
    ------
    StoreError
        If so.
    """
    text = normalize_location(location)
    if is_url(text):
        if not open_store(text).exists("zarr.json"):
            raise StoreError(f"{text} is not there (no zarr.json); only a folder is waited for with follow=True")
        return
    path = Path(text).absolute()
    if path.is_file():
        raise StoreError(f"{path} is a file, which does not grow; follow=True expects a folder or URL")
    if not path.parent.is_dir():
        raise StoreError(
            f"{path} is not there, nor its folder {path.parent}; follow=True waits for an input in an existing folder"
        )
