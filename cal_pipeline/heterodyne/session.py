"""An L0 session: its scans, and which loads belong to which."""

from __future__ import annotations

import logging
import math
import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError, LayoutError, ObservationError, StoreError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import open_store
from cal_pipeline.core.text import format_ranges, list_few
from cal_pipeline.heterodyne.coordinates import read_first_time, read_phases
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.errors import NoLoadsError, describe_failed_read
from cal_pipeline.heterodyne.kinds import Kind, identify_store
from cal_pipeline.heterodyne.l0 import (
    CalibrationGroup,
    LoadChoice,
    LoadCounts,
    LoadRules,
    read_attributes,
    read_coordinates,
    time_of_loads,
)
from cal_pipeline.heterodyne.modes import determine_mode
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY
from cal_pipeline.heterodyne.scan import Band, Scan

logger = logging.getLogger(__name__)

_SCAN = re.compile(r"scan_([0-9]{6})")
_BAND = re.compile(r"band_[0-9]+")
_NO_SCANS = {"zarr.json", "__MACOSX"}
"""Members of a session beside its scans; the second one is made by a program that packs ZIP files."""

_MARGIN = 1e-8
_REMEMBERED_LOADS = 4
_REMEMBERED_GROUPS = 64
"""Calibration groups that stay open: those of a few bands and of the earlier loads that `evaluate_loads` asks for."""

_SAME = 1e-6
"""Relative difference up to which rest frequencies are the same."""

Floats = NDArray[np.float64]
T = TypeVar("T")


class Session:
    """An L0 session.

    Parameters
    ----------
    path : str or Path
        The Zarr store: a folder, a ZIP file, or an address such as ``s3://bucket/session.zarr``.

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
    The session in the example of :class:`~cal_pipeline.CalibrationPipeline`:

    >>> session = Session("session.zarr")
    >>> session.numbers, session.describe(1)
    ([1], {'telescope': 'CCAT', 'frontend': 'CHAI_LFA', 'mode': 'otf'})
    """

    def __init__(self, path: str | Path) -> None:
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
            found = f"; it holds {list_few(self._left_out)}" if self._left_out else ""
            raise StoreError(f"{self.path} holds no scan{found}; expected groups scan_NNNNNN, six digits")
        self._calibration: dict[tuple[int, str], CalibrationGroup | ObservationError | None] = {}
        self._times: dict[str, list[tuple[float, int]]] = {}
        self._loads: dict[Any, LoadCounts] = {}
        # By scan within what all scans of a night have in common: a long key for each would be most of the memory.
        self._evaluated: dict[Hashable, dict[int, Floats | None]] = defaultdict(dict)
        self._fitting: dict[Hashable, dict[int, bool]] = defaultdict(dict)

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

    def open_scan(self, number: int) -> Scan:
        """Open a scan; of its counts nothing is read yet.

        Parameters
        ----------
        number : int
            Scan number.

        Returns
        -------
        Scan

        Raises
        ------
        ObservationError
            If the scan is not laid out as the format says.

        Examples
        --------
        >>> band = Session("session.zarr").open_scan(1).bands[0]
        >>> band.coordinates.sobsmode.tolist()
        ['OTF-OFF', 'OTF-ON', 'OTF-ON', 'OTF-OFF', 'OTF-ON', 'OTF-ON', 'OTF-OFF']
        """
        if number not in self._groups:
            raise LayoutError(f"{self.path} has no scan {number}")
        clock = StageClock()
        with clock("load"):
            attributes = read_attributes(self.root, self._groups[number])
            recorded = attributes.get("scan_number", number)
            if recorded != number or isinstance(recorded, bool):
                raise LayoutError(
                    f"{self.path}/{self._groups[number]}: attribute scan_number is {recorded!r}, expected {number}"
                )
            try:
                found = [band for band in self._bands(number) if "source" in self.root.members(band[0])]
            except OSError as error:
                raise DataReadError(
                    f"{self.path}/{self._groups[number]} cannot be listed: {type(error).__name__}: {error}"
                ) from error
            bands = [self._open_band(number, group, name, attributes, clock) for group, name in found]
        if not bands:
            reason = "nor 'calibration', expected either" if self._is_observed(number) else "(calibration only)"
            raise LayoutError(f"{self.path}/{self._groups[number]} has no group 'source' {reason}")
        self._warn_of_strangers(number, {name for _, name in found})
        return Scan(number, attributes, bands, clock=clock, session=self)

    def _warn_of_strangers(self, number: int, bands: set[str]) -> None:
        """Warn of members of a scan that are neither its groups nor bands to calibrate."""
        scan = self._groups[number]
        known = {"zarr.json", "source", "calibration"} if bands == {""} else {"zarr.json", *bands}
        left = sorted(set(self.root.members(scan)) - known)
        if left:
            expected = "source and calibration, or bands band_B that hold these"
            logger.warning("%s/%s: %s left out, expected %s", self.path, scan, list_few(left), expected)

    def _open_band(self, number: int, group: str, name: str, attributes: dict[str, Any], clock: StageClock) -> Band:
        counts = Counts(self.root, f"{group}/source/data_5d", clock)
        attributes = attributes | (read_attributes(self.root, group) if name else {})
        instmode = str(attributes.get("instmode", ""))
        coordinates = read_coordinates(self.root, f"{group}/source", counts.shape, instmode)
        return Band(name, self.path, group, number, coordinates, attributes).read_from(self.root)

    def _bands(self, number: int) -> list[tuple[str, str]]:
        """Return path and name of each band of a scan; the name is empty for an undivided scan."""
        scan = self._groups[number]
        members = self.root.members(scan)
        names = sorted(
            (name for name in members if _BAND.fullmatch(name)), key=lambda name: int(name.removeprefix("band_"))
        )
        beside = [name for name in ("source", "calibration") if name in members]
        if names and beside:
            raise LayoutError(
                f"{self.path}/{scan} holds {' and '.join(beside)} beside {', '.join(names)}, expected either; remove "
                "what is left over"
            )
        return [(f"{scan}/{name}", name) for name in names] or [(scan, "")]

    def find_loads(
        self,
        band: Band,
        interval: float,
        on_broken: str = "fail",
        read: Callable[[CalibrationGroup], object] | None = None,
    ) -> LoadChoice:
        """Find the hot and cold load that belong to a band of a scan.

        In this order: its own; those of the scan that the first ON names (``lloadsn``); the nearest
        in the past within the interval of the scan's first subscan; the nearest in the future
        within it. Those of another layout, or without HOT or COLD, are passed over with a warning,
        and so are those of other scans that cannot be read.

        Parameters
        ----------
        band : Band
            The band to calibrate.
        interval : float
            Longest time between loads and scan [s].
        on_broken : {"fail", "neighbour"}
            What to do where loads of the scan itself are there and cannot be read: raise an error,
            or pass them over as well.
        read : callable, optional
            Function that reads the loads, for errors that opening does not show.

        Returns
        -------
        LoadChoice

        Raises
        ------
        NoLoadsError
            If there are none; says where was searched.
        ObservationError
            If the scan's own loads cannot be read; says why.

        Examples
        --------
        >>> session = Session("session.zarr")
        >>> choice = session.find_loads(session.open_scan(1).bands[0], interval=3600.0)
        >>> choice.group.scan_number, choice.reason
        (1, 'own')
        """
        at = band.coordinates
        searched: list[str] = []
        passed_over: list[str] = []
        for number, reason in self._load_candidates(band, interval):
            found = self._calibration_group(number, band.name)
            where = f"scan {number} ({reason})"
            if found is None and number in self._groups:
                searched.append(f"{where}: no calibration group")
                continue
            objection = self._object_to(found, band, read)
            if objection is None and isinstance(found, CalibrationGroup):
                return LoadChoice(found, reason, tuple(passed_over))
            if isinstance(objection, ObservationError) and on_broken == "fail" and number == band.scan_number:
                raise type(objection)(
                    f"{band}: its own loads are there and cannot be read: {objection}. Mend them, or give "
                    "--steps.loads.on_broken_loads=neighbour to take those of another scan"
                )
            words = f"cannot be read: {objection}" if isinstance(objection, ObservationError) else objection
            passed_over.append(f"{where}: {words}")
            logger.warning("%s: loads of %s are passed over: %s", band, where, words)
        searched += passed_over
        raise NoLoadsError(
            f"{band} in {self.path}: no hot and cold load found. Searched: "
            + ("; ".join(searched) if searched else "its own calibration group, lloadsn")
            + f"; all scans within calibration_interval = {interval:g} s of MJD {at.time_span[0]:.6f}"
        )

    def _object_to(
        self,
        found: CalibrationGroup | ObservationError | None,
        band: Band,
        read: Callable[[CalibrationGroup], object] | None,
    ) -> str | ObservationError | None:
        """Explain why loads cannot calibrate a band, by an error if they cannot be read; None if they can."""
        if found is None:
            return "no such scan in the session"
        if isinstance(found, ObservationError):
            return found
        objection = found.objection(band.coordinates.shape, band.coordinates.pixel)
        if objection is None and read is not None:
            try:
                read(found)
            except MemoryError:
                raise
            except Exception as error:
                return describe_failed_read(error)
        return objection

    def find_following(self, band: Band, interval: float) -> CalibrationGroup | None:
        """Find the first loads after a scan.

        Parameters
        ----------
        band : Band
            The band to calibrate.
        interval : float
            Longest time from the scan's last subscan to them [s].

        Returns
        -------
        CalibrationGroup or None
            None where there are none that fit.
        """
        at = band.coordinates
        for age, number in reversed(self._ages(band.name, at.time_span[1], interval)):
            group = self._calibration_group(number, band.name) if age < 0 else None
            if isinstance(group, CalibrationGroup) and group.objection(at.shape, at.pixel) is None:
                return group
        return None

    def times_around(self, band: Band) -> tuple[float, float] | None:
        """Return the times (MJD) of the loads of the scans with the next lower and higher number [d].

        None where there are no loads on one side.
        """
        known = [(number, time) for time, number in self._times_of_loads(band.name)]
        before = max((item for item in known if item[0] < band.scan_number), default=None)
        after = min((item for item in known if item[0] > band.scan_number), default=None)
        return None if before is None or after is None else (before[1], after[1])

    def read_loads(self, group: CalibrationGroup, band: Band, clock: StageClock, rules: LoadRules) -> LoadCounts:
        """Read the counts on the loads of a scan, in a band's pixel order, through a small cache.

        The cache pays: loads are measured after one scan and before the next.
        """
        key = (group.scan_number, band.name, tuple(band.coordinates.pixel.ravel().tolist()), rules)
        if key not in self._loads:
            self._loads[key] = group.means(band.coordinates.pixel, clock, rules)
            while len(self._loads) > _REMEMBERED_LOADS:
                self._loads.pop(next(iter(self._loads)))
        return self._loads[key]

    def evaluate_loads(
        self, loads: CalibrationGroup, band: Band, n: int, evaluate: Callable[[CalibrationGroup], Floats], key: Hashable
    ) -> list[Floats]:
        """Evaluate loads and the nearest ones before them that fit the band, each once for every key.

        Which scans are calibrated, and by which process, makes no difference to the result.

        Parameters
        ----------
        loads : CalibrationGroup
            The loads to start from.
        band : Band
            A band that they calibrate. Earlier loads fit if they have its pixels and channels, and
            if their scan has its rest frequency, where both are recorded.
        n : int
            Largest number of earlier loads.
        evaluate : callable
            Function of the loads. Those that it cannot read are passed over.
        key : hashable
            What the result depends on, beside loads and pixels.

        Returns
        -------
        list of ndarray
            Results for `loads` and for up to `n` earlier ones, the latest first.
        """
        layout = (band.name, band.coordinates.shape[0], tuple(band.coordinates.pixel.ravel().tolist()))
        now = self._evaluate(loads.scan_number, band, (*layout, key), evaluate)
        earlier: list[Floats] = []
        known = self._times_of_loads(band.name)
        for position in range(bisect_left(known, (loads.mjd, 0)) - 1, -1, -1):
            if len(earlier) == n:
                break
            number = known[position][1]
            if self._fits(number, band, layout):
                value = self._evaluate(number, band, (*layout, key), evaluate)
                earlier += [] if value is None else [value]
        return [evaluate(loads) if now is None else now, *earlier]

    def _evaluate(
        self, number: int, band: Band, key: Hashable, evaluate: Callable[[CalibrationGroup], Floats]
    ) -> Floats | None:
        """Evaluate the loads of a scan through a cache; None where they cannot be read."""
        known = self._evaluated[key]
        if number not in known:
            group = self._calibration_group(number, band.name)
            try:
                known[number] = evaluate(group) if isinstance(group, CalibrationGroup) else None
            except MemoryError:
                raise
            except Exception:  # what is wrong with these loads must not end the scans that look back at them
                logger.debug("scan %d: its loads cannot be compared with", number, exc_info=True)
                known[number] = None
        return known[number]

    def _fits(self, number: int, band: Band, layout: Hashable) -> bool:
        """Tell whether a scan has loads of the layout and the rest frequency of a band; what is not recorded fits."""
        own = band.attributes.get("rest_freq_hz")
        known = self._fitting[layout, own]
        if number not in known:
            group = self._calibration_group(number, band.name)
            at, scan = band.coordinates, self._groups[number]
            fits = isinstance(group, CalibrationGroup) and group.objection(at.shape, at.pixel) is None
            other = self._attempt(lambda: self._attributes(scan, band.name).get("rest_freq_hz"), None, scan)
            numbers = [value for value in (own, other) if isinstance(value, (int, float))]
            known[number] = fits and (len(numbers) < 2 or math.isclose(*numbers, rel_tol=_SAME))
        return known[number]

    def _attributes(self, scan: str, band_name: str) -> dict[str, Any]:
        """Read the attributes of a scan, and over them those of its band."""
        attributes = read_group_attributes(self.root, scan)
        return attributes | (read_group_attributes(self.root, f"{scan}/{band_name}") if band_name else {})

    def _ages(self, band_name: str, mjd: float, interval: float) -> list[tuple[float, int]]:
        """List the ages of the loads of all scans at a time (MJD) [d], with the scan numbers.

        Ages [s] are positive for loads before that time and at most `interval` [s] in size.
        """
        known = self._times_of_loads(band_name)
        span = interval / SECONDS_A_DAY
        first = bisect_left(known, (mjd - span - _MARGIN, 0))
        last = bisect_left(known, (mjd + span + _MARGIN, 0))
        ages = [((mjd - measured) * SECONDS_A_DAY, number) for measured, number in known[first:last]]
        return sorted(item for item in ages if abs(item[0]) <= interval)

    def _times_of_loads(self, band_name: str) -> list[tuple[float, int]]:
        """List the times of all loads (MJD) [d] with their scan numbers, in time order."""
        if band_name not in self._times:
            times = self.root.each(lambda number: self._time_of_loads(number, band_name), self.numbers)
            known = zip(times, self.numbers, strict=True)
            self._times[band_name] = sorted(item for item in known if np.isfinite(item[0]))
        return self._times[band_name]

    def _load_candidates(self, band: Band, interval: float) -> Iterator[tuple[int, str]]:
        """Yield candidate scans for the loads, best first, with the reason; read times lazily."""
        named = self._last_load(band)
        tried = {band.scan_number, named}
        yield band.scan_number, "own"
        if named is not None and named != band.scan_number:
            yield named, "lloadsn"
        ages = self._ages(band.name, band.coordinates.time_span[0], interval)
        for age, number in (item for item in ages if item[0] >= 0 and item[1] not in tried):
            yield number, f"nearest in the past, {age:.0f} s before"
        for age, number in sorted((-age, number) for age, number in ages if age < 0 and number not in tried):
            yield number, f"nearest in the future, {age:.0f} s after"

    def _last_load(self, band: Band) -> int | None:
        """Return the scan that the first ON names for its last load; None if unknown."""
        at = band.coordinates
        if at.lloadsn is None:
            return None
        if not band.mode.find_ons(at.sobsmode).any():
            return None
        named = int(at.lloadsn[band.first_on])
        return named if named >= 0 else None

    def _calibration_group(self, number: int, band_name: str) -> CalibrationGroup | ObservationError | None:
        """Return the calibration group of a scan; None if it has none, the error if it cannot be opened."""
        key = (number, band_name)
        found = self._calibration.pop(key) if key in self._calibration else self._open_calibration(number, band_name)
        self._calibration[key] = found  # as the newest
        while len(self._calibration) > _REMEMBERED_GROUPS:
            self._calibration.pop(next(iter(self._calibration)))
        return found

    def _open_calibration(self, number: int, band_name: str) -> CalibrationGroup | ObservationError | None:
        try:
            group = self._calibration_path(number, band_name)
            return None if group is None else CalibrationGroup(self.root, group, number)
        except MemoryError:
            raise
        except Exception as error:  # what is wrong with these loads must not end the scans that look for some
            return _log_unreadable(number, error)

    def _time_of_loads(self, number: int, band_name: str) -> float:
        """Read the time of the loads of a scan (MJD) [d]; NaN without loads or if unreadable."""
        try:
            group = self._calibration_path(number, band_name)
            return time_of_loads(self.root, group) if group else float("nan")
        except MemoryError:
            raise
        except Exception as error:  # as above
            _log_unreadable(number, error)
            return float("nan")

    def _calibration_path(self, number: int, band_name: str) -> str | None:
        """Return the path of the calibration group of a scan; None if it has none.

        Raises
        ------
        LayoutError
            If there is something in its place that is no group.
        """
        bands = self._bands(number) if number in self._groups else []
        group = {name: path for path, name in bands}.get(band_name)
        if group is None:
            return None
        path = f"{group}/calibration"
        if self.root.exists(f"{path}/zarr.json"):
            return path
        if "calibration" in self.root.members(group):
            raise LayoutError(f"{self.path}/{path} is there, but has no zarr.json, expected a group of loads")
        return None

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
        >>> Session("session.zarr").select("1:10")
        [1]
        """
        found = identify_store(self.root)
        if found.kind is Kind.PRODUCT:
            raise StoreError(f"{self.path} is {found.description}; expected an L0 session")
        sources = self.root.each(self.has_source, self.numbers)
        observed = [number for number, has_source in zip(self.numbers, sources, strict=True) if has_source]
        self._log_left_out(observed)
        named = set(observed) if wanted is None else _parse_scans(wanted, self.numbers, self.path)
        chosen = sorted(named & set(observed))
        if not chosen:
            raise StoreError(
                f"{self.path}: no scan to calibrate is chosen by scans={wanted!r}; "
                f"it has {format_ranges(observed) or 'calibration-only scans'}"
            )
        return chosen

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


def _log_unreadable(number: int, error: Exception) -> ObservationError:
    """Warn of loads that cannot be read, and return the error to raise for them."""
    found = describe_failed_read(error)
    logger.warning("scan %d: its loads cannot be read: %s", number, found)
    logger.debug("scan %d: its loads", number, exc_info=error)
    return found


def _parse_scans(wanted: list[Any] | str, present: list[int], path: str) -> set[int]:
    items = wanted.split(",") if isinstance(wanted, str) else [w for x in wanted for w in str(x).split(",")]
    chosen: set[int] = set()
    for item in (text.strip() for text in items):
        match = re.fullmatch(r"([0-9]+)\s*(?::\s*([0-9]+))?", item)
        if not match:
            hint = "; numbers are 0 or more" if re.match("-[0-9]", item) else ""
            raise StoreError(f"scans: {item!r} is neither a scan number nor a range like 25660:25670{hint}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise StoreError(f"scans: the range {item!r} runs backwards; expected {last}:{first}")
        found = {number for number in present if first <= number <= last}
        if not found:
            raise StoreError(f"scans: {path} has no scan {item}; it has {format_ranges(present)}")
        chosen |= found
    return chosen
