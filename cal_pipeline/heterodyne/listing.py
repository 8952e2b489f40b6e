"""The scans of an L0 session: which there are, and which are to be calibrated."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cal_pipeline.core.errors import LayoutError, StoreError
from cal_pipeline.core.inputs import select_numbers
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_ranges, list_few
from cal_pipeline.heterodyne.coordinates import read_first_time, read_phases
from cal_pipeline.heterodyne.kinds import INGEST_RECORD, refuse_product
from cal_pipeline.heterodyne.l0 import read_attributes
from cal_pipeline.heterodyne.modes import determine_mode

logger = logging.getLogger(__name__)

_SCAN = re.compile(r"scan_([0-9]{6})")
_BAND = re.compile(r"band_[0-9]+")
_NO_SCANS = {"zarr.json", INGEST_RECORD, "__MACOSX"}
"""Members of a session beside its scans; the last one is made by a program that packs ZIP files."""

T = TypeVar("T")


class ScanListing:
    """Scans of an L0 session, by number.

    Parameters
    ----------
    path : str or Path
        The Zarr store: a folder, a ZIP file, or an address such as ``s3://bucket/session.zarr``.
    only : collection of int, optional
        Scans that exist for this object, of a session that is still being written; all if not given.

    Attributes
    ----------
    root : StorePath
        The store.
    path : str
        Name of the store.
    numbers : list of int
        Numbers of all scans, ascending, calibration-only ones too.

    Raises
    ------
    StoreError
        If there is no such store, or no scan in it.

    Examples
    --------
    >>> listing = ScanListing("session.zarr")
    >>> listing.numbers, listing.has_source(1)
    ([1], True)
    """

    def __init__(self, path: str | Path, only: Collection[int] | None = None) -> None:
        self.root = open_store(path)
        self.path = self.root.name
        names = self.root.members()
        if "zarr.json" not in names:
            what = "no Zarr v3 group (no zarr.json in it)" if self._is_there(path, names) else "not there"
            raise StoreError(f"{self.path} is {what}; expected an L0 session with groups scan_NNNNNN")
        self._groups = {int(match[1]): match[0] for name in names if (match := _SCAN.fullmatch(name))}
        self.numbers = sorted(self._groups)
        self._left_out = sorted(set(names) - set(self._groups.values()) - _NO_SCANS)
        if not self.numbers:
            found = f" but {list_few(self._left_out)}" if self._left_out else ""
            raise StoreError(f"{self.path} holds no scan{found}; expected groups scan_NNNNNN, six digits")
        if only is not None:
            self._groups = {number: name for number, name in self._groups.items() if number in only}
            self.numbers = sorted(self._groups)

    def _is_there(self, path: str | Path, names: list[str]) -> bool:
        """Tell whether anything exists at a path, even an empty ZIP file."""
        return bool(names) or self.root.exists("") or os.path.exists(path)

    def has_source(self, number: int) -> bool:
        """Tell whether a scan has a source group; False for a calibration-only scan.

        An unreadable scan counts as having one, and so does one that has neither group.
        """
        return self._attempt(lambda: self._is_observed(number), otherwise=True, of=self._groups[number])

    def _attempt(self, read: Callable[[], T], otherwise: T, of: str) -> T:
        """Read something of a scan, whose errors must not end the others: opening it later reports them."""
        try:
            return read()
        except MemoryError:
            raise
        except Exception:
            logger.debug("%s/%s cannot be read", self.path, of, exc_info=True)
            return otherwise

    def _is_observed(self, number: int) -> bool:
        held = {name for group, _ in self._bands(number) for name in self.root.members(group)}
        return "source" in held or "calibration" not in held

    def describe(self, number: int) -> dict[str, str | None] | None:
        """Read telescope, frontend and observing mode of a scan from attributes and phases.

        Parameters
        ----------
        number : int
            Scan number.

        Returns
        -------
        dict or None
            Keys for the choice of parameter files; None if unreadable, which opening the scan
            explains.
        """
        return self._attempt(lambda: self._describe(number), None, self._groups[number])

    def _describe(self, number: int) -> dict[str, str | None]:
        group, name = next(band for band in self._bands(number) if "source" in self.root.members(band[0]))
        attributes = read_attributes(self.root, self._groups[number])
        if name:
            attributes |= read_attributes(self.root, group)
        phases = read_phases(self.root, f"{group}/source")
        mode = determine_mode(phases, str(attributes.get("instmode", "")))
        return {"telescope": attributes.get("telescope"), "frontend": attributes.get("frontend"), "mode": mode.name}

    def in_order_of_time(self, numbers: list[int]) -> list[int]:
        """Sort scans by the time of their first subscan; unreadable ones are last."""
        unknown = float("inf")

        def first_time(number: int) -> float:
            none: list[tuple[str, str]] = []
            bands = self._attempt(lambda: self._bands(number), none, self._groups[number])
            sources = [f"{group}/source" for group, _ in bands]
            times = [self._attempt(partial(read_first_time, self.root, path), unknown, path) for path in sources]
            return min(times, default=unknown)

        times = self.root.each(first_time, numbers)
        return [number for _, number in sorted(zip(times, numbers, strict=True))]

    def _bands(self, number: int) -> list[tuple[str, str]]:
        """Return path and name of each band of a scan; the name is empty for an undivided scan."""
        return list_bands(self.root, self._groups[number])

    def select(self, wanted: list[Any] | str | None) -> list[int]:
        """Select the numbers of the scans to calibrate.

        Parameters
        ----------
        wanted : list, str or None
            Numbers and inclusive ranges, as in ``"25650,25660:25670"``; None for all.

        Returns
        -------
        list of int
            Those that have something to calibrate, ascending.

        Raises
        ------
        StoreError
            If a number is not in the session, or nothing is left.

        Examples
        --------
        >>> ScanListing("session.zarr").select("1:10")
        [1]
        """
        refuse_product(self.root)
        observed = self.filter_observed(self.numbers)
        self._log_left_out(observed)
        named = set(observed) if wanted is None else select_numbers(wanted, self.numbers, self.path, "scan")
        chosen = sorted(named & set(observed))
        if not chosen:
            raise StoreError(
                f"{self.path}: no scan to calibrate is chosen by scans={wanted!r}; "
                f"it has {format_ranges(observed) or 'calibration-only scans'}"
            )
        return chosen

    def filter_observed(self, numbers: Sequence[int]) -> list[int]:
        """Filter the scans that have something to calibrate."""
        sources = self.root.each(self.has_source, numbers)
        return [number for number, has_source in zip(numbers, sources, strict=True) if has_source]

    def _log_left_out(self, observed: list[int]) -> None:
        """Name the members of the session that are not calibrated, once a run."""
        if self._left_out:
            expected = "groups scan_NNNNNN, six digits"
            logger.warning("%s: %s left out, expected %s", self.path, list_few(self._left_out), expected)
        if self.root.repeated:
            names = list_few(sorted(self.root.repeated))
            logger.warning("%s holds %s more than once, expected each once; the last one counts", self.path, names)
        only_loads = sorted(set(self.numbers) - set(observed))
        if only_loads:
            logger.info("calibration-only scans: %s", format_ranges(only_loads))


def list_bands(root: StorePath, scan: str) -> list[tuple[str, str]]:
    """List path and name of each band of a scan; the name is empty for an undivided scan.

    Parameters
    ----------
    root : StorePath
        The session.
    scan : str
        Path of the scan in it.

    Raises
    ------
    LayoutError
        If bands are mixed with groups of an undivided scan.

    Examples
    --------
    >>> list_bands(open_store("session.zarr"), "scan_000001")
    [('scan_000001', '')]
    """
    members = root.members(scan)
    names = sorted(
        (name for name in members if _BAND.fullmatch(name)), key=lambda name: int(name.removeprefix("band_"))
    )
    beside = [name for name in ("source", "calibration") if name in members]
    if names and beside:
        raise LayoutError(
            f"{root}/{scan} holds {' and '.join(beside)} beside {', '.join(names)}, expected either; remove "
            "what is left over"
        )
    return [(f"{scan}/{name}", name) for name in names] or [(scan, "")]


def name_strangers(members: Collection[str], bands: Collection[str]) -> str:
    """Name the members of a scan that are neither its groups nor bands to calibrate; empty without any.

    Parameters
    ----------
    members : collection of str
        Members of the group of the scan.
    bands : collection of str
        Names of the bands that are calibrated; the empty name for an undivided scan.

    Examples
    --------
    >>> name_strangers(["zarr.json", "source", "notes"], [""])
    'notes left out, expected source and calibration, or bands band_B that hold these'
    """
    known = {"zarr.json", *({"source", "calibration"} if set(bands) == {""} else bands)}
    left = sorted(set(members) - known)
    expected = "source and calibration, or bands band_B that hold these"
    return f"{list_few(left)} left out, expected {expected}" if left else ""
