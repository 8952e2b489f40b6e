"""An L0 session: its scans, and which loads belong to which."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError, LayoutError, ObservationError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.errors import NoLoadsError, describe_failed_read
from cal_pipeline.heterodyne.l0 import (
    CalibrationGroup,
    LoadChoice,
    LoadCounts,
    LoadRules,
    read_attributes,
    read_coordinates,
    time_of_loads,
)
from cal_pipeline.heterodyne.listing import ScanListing, name_strangers
from cal_pipeline.heterodyne.load_axes import are_tuned_alike, describe_axis, find_axis
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY
from cal_pipeline.heterodyne.scan import Band, Scan

logger = logging.getLogger(__name__)

_MARGIN = 1e-8
_REMEMBERED_LOADS = 4
_REMEMBERED_GROUPS = 64
"""Calibration groups that stay open: those of a few bands and of the earlier loads that `evaluate_loads` asks for."""

_SAME = 1e-6
"""Relative difference up to which rest frequencies are the same."""

Floats = NDArray[np.float64]


class Session(ScanListing):
    """An L0 session.

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
    The session in the example of :class:`~cal_pipeline.CalibrationPipeline`:

    >>> session = Session("session.zarr")
    >>> session.numbers, session.describe(1)
    ([1], {'telescope': 'CCAT', 'frontend': 'CHAI_LFA', 'mode': 'otf'})
    """

    def __init__(self, path: str | Path, only: Collection[int] | None = None) -> None:
        super().__init__(path, only)
        self._calibration: dict[tuple[int, str], CalibrationGroup | ObservationError | None] = {}
        self._times: dict[str, list[tuple[float, int]]] = {}
        self._times_by_number: dict[str, list[tuple[int, float]]] = {}
        self._loads: dict[Any, LoadCounts] = {}
        # By scan within what all scans of a night have in common: a long key for each would be most of the memory.
        self._evaluated: dict[Hashable, dict[int, Floats | None]] = defaultdict(dict)
        self._fitting: dict[Hashable, dict[int, bool]] = defaultdict(dict)

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
                    f"{self.path}/{self._groups[number]}: attribute scan_number is {recorded!r:.80}, expected {number}"
                )
            try:
                found = [band for band in self._bands(number) if "source" in self.root.members(band[0])]
            except OSError as error:
                raise DataReadError(
                    f"{self.path}/{self._groups[number]} cannot be listed: {type(error).__name__}: {error}"
                ) from error
            bands = [self._open_band(number, group, name, attributes, clock) for group, name in found]
        if not bands:
            reason = "nor 'calibration', expected either" if self.has_source(number) else "(calibration only)"
            raise LayoutError(f"{self.path}/{self._groups[number]} has no group 'source' {reason}")
        if strangers := name_strangers(self.root.members(self._groups[number]), {name for _, name in found}):
            logger.warning("%s/%s: %s", self.path, self._groups[number], strangers)
        return Scan(number, attributes, bands, clock=clock, session=self)

    def _open_band(self, number: int, group: str, name: str, attributes: dict[str, Any], clock: StageClock) -> Band:
        counts = Counts(self.root, f"{group}/source/data_5d", clock)
        attributes = attributes | (read_attributes(self.root, group) if name else {})
        instmode = str(attributes.get("instmode", ""))
        coordinates = read_coordinates(self.root, f"{group}/source", counts.shape, instmode)
        return Band(name, self.path, group, number, coordinates, attributes).read_from(self.root)

    def find_loads(
        self,
        band: Band,
        interval: float,
        on_broken: str = "fail",
        read: Callable[[CalibrationGroup], object] | None = None,
        single_load: bool = False,
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
        single_load : bool
            Whether SKY may stand for COLD.

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
            objection = self._object_to(found, band, read, single_load)
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
        single_load: bool,
    ) -> str | ObservationError | None:
        """Explain why loads cannot calibrate a band, by an error if they cannot be read; None if they can."""
        if found is None:
            return "no such scan in the session"
        if isinstance(found, ObservationError):
            return found
        objection = found.objection(band.coordinates.shape, band.coordinates.pixel, single_load)
        objection = objection or _object_to_tuning(found, band)
        if objection is None and read is not None:
            try:
                read(found)
            except MemoryError:
                raise
            except Exception as error:
                return describe_failed_read(error)
        return objection

    def find_following(
        self,
        band: Band,
        interval: float,
        read: Callable[[CalibrationGroup], object] | None = None,
        single_load: bool = False,
    ) -> CalibrationGroup | None:
        """Find the first loads after a scan; those that cannot be read are passed over with a warning.

        Parameters
        ----------
        band : Band
            The band to calibrate.
        interval : float
            Longest time from the scan's last subscan to them [s].
        read : callable, optional
            Function that reads the loads, for errors that opening does not show.
        single_load : bool
            Whether SKY may stand for COLD.

        Returns
        -------
        CalibrationGroup or None
            None where there are none that fit.
        """
        for age, number in reversed(self._ages(band.name, band.coordinates.time_span[1], interval)):
            group = self._calibration_group(number, band.name) if age < 0 else None
            if not isinstance(group, CalibrationGroup):
                continue
            objection = self._object_to(group, band, read, single_load)
            if objection is None:
                return group
            if isinstance(objection, ObservationError):
                logger.warning("%s: loads of scan %d, which follow it, are passed over: %s", band, number, objection)
        return None

    def times_around(self, band: Band) -> tuple[float, float] | None:
        """Return the times (MJD) of the loads of the scans with the next lower and higher number [d].

        None where there are no loads on one side.
        """
        if band.name not in self._times_by_number:
            known = self._times_of_loads(band.name)
            self._times_by_number[band.name] = sorted((number, time) for time, number in known)
        by_number = self._times_by_number[band.name]
        first = bisect_left(by_number, (band.scan_number, -math.inf))
        last = bisect_left(by_number, (band.scan_number + 1, -math.inf))
        return None if first == 0 or last == len(by_number) else (by_number[first - 1][1], by_number[last][1])

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
        self,
        loads: CalibrationGroup,
        band: Band,
        n: int,
        evaluate: Callable[[CalibrationGroup], Floats],
        key: Hashable,
        single_load: bool = False,
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
        single_load : bool
            Whether SKY may stand for COLD.

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
            if self._fits(number, band, layout, single_load):
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

    def _fits(self, number: int, band: Band, layout: Hashable, single_load: bool) -> bool:
        """Tell whether a scan has loads of the layout and the rest frequency of a band; what is not recorded fits."""
        own = band.attributes.get("rest_freq_hz")
        known = self._fitting[layout, own, single_load]
        if number not in known:
            group = self._calibration_group(number, band.name)
            at, scan = band.coordinates, self._groups[number]
            fits = isinstance(group, CalibrationGroup) and group.objection(at.shape, at.pixel, single_load) is None
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


def _log_unreadable(number: int, error: Exception) -> ObservationError:
    """Warn of loads that cannot be read, and return the error to raise for them."""
    found = describe_failed_read(error)
    logger.warning("scan %d: its loads cannot be read: %s", number, found)
    logger.debug("scan %d: its loads", number, exc_info=error)
    return found


def _object_to_tuning(loads: CalibrationGroup, band: Band) -> str | None:
    """Explain that the receiver was tuned to other frequencies for loads than for a band, or None.

    Loads of the scan itself are taken as they are, with a warning.
    """
    at = band.coordinates
    if not band.mode.find_ons(at.sobsmode).any():
        return None
    axis = at.frequency_axis(band.first_on)
    own = find_axis(at.shape[0], *(axis[name] for name in ("signal_freq", "freq_off", "ref_channel", "freq_res")))
    if are_tuned_alike(own, loads.axis):
        return None
    words = f"{loads.name} was observed at {describe_axis(loads.axis)}, expected {describe_axis(own)} as the first ON"
    if loads.scan_number != band.scan_number:
        return words
    logger.warning("%s: %s; its own loads are taken all the same", band, words)
    return None
