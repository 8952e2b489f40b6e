"""Calibration scans of a session: which become one, and which are the last before a scan."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cal_pipeline.heterodyne.ingest.checks import find_durations
from cal_pipeline.heterodyne.ingest.frequency_axes import find_axes
from cal_pipeline.heterodyne.ingest.rows import Integers, RowTable
from cal_pipeline.heterodyne.load_axes import Axis, are_tuned_alike
from cal_pipeline.heterodyne.phases import CALIBRATION, COLD, HOT
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

NO_SCAN = -1
"""Scan number that stands for none."""


@dataclass(frozen=True)
class ScanOutline:
    """Outline of a scan number in a session.

    Parameters
    ----------
    number : int
        Scan number.
    first, start, end : float
        Middle of its first row, its start and its end (MJD) [d].
    only_loads : bool
        Whether it has calibration phases only.
    has_loads : bool
        Whether it has a hot or cold load.
    frontends : frozenset of str
        Frontends of its rows; empty where not known.
    channels : mapping of str to int
        Number of channels by band.
    axes : mapping of str to tuple
        Frequency axis of the first row of each band.
    failed : bool
        Whether it fails for what it holds.
    """

    number: int
    first: float
    start: float
    end: float
    only_loads: bool
    has_loads: bool
    frontends: frozenset[str]
    channels: Mapping[str, int]
    axes: Mapping[str, Axis] = field(default_factory=dict)
    failed: bool = False

    def may_share_loads(self, other: ScanOutline) -> bool:
        """Tell whether the loads of one may calibrate the other: no frontend speaks against it."""
        return not (self.frontends and other.frontends) or not self.frontends.isdisjoint(other.frontends)

    def is_tuned_like(self, other: ScanOutline) -> bool:
        """Tell whether the bands that both have are tuned alike."""
        return all(are_tuned_alike(self.axes[band], other.axes[band]) for band in self.axes.keys() & other.axes.keys())

    def is_continued_by(self, other: ScanOutline) -> bool:
        """Tell whether another calibration scan has the same setup: frontends, channels and tuning of common bands."""
        common = self.channels.keys() & other.channels.keys()
        alike = all(self.channels[band] == other.channels[band] for band in common)
        return alike and self.may_share_loads(other) and self.is_tuned_like(other)


def outline_scan(rows: RowTable, number: int, index: Integers, *, failed: bool) -> ScanOutline:
    """Outline a scan number.

    Parameters
    ----------
    rows : RowTable
        The table.
    number : int
        Scan number.
    index : ndarray, shape (n,)
        Its rows.
    failed : bool
        Whether it fails for what it holds.

    Returns
    -------
    ScanOutline
        Times are infinite where none of its rows has one.
    """
    # Rows of a file that cannot be read have no phase.
    phases = set(rows.phase[index].tolist()) - {""}
    frontend = rows.scan_values.get("frontend")
    frontends = () if frontend is None else {str(name) for name in frontend[index].tolist()}
    middle, half = rows.values["mjd"][index], find_durations(rows, index) / (2.0 * SECONDS_A_DAY)
    return ScanOutline(
        number=number,
        first=float(np.fmin.reduce(middle, initial=np.inf)),
        start=float(np.fmin.reduce(middle - half, initial=np.inf)),
        end=float(np.fmax.reduce(middle + half, initial=-np.inf)),
        only_loads=bool(phases) and phases <= set(CALIBRATION),
        has_loads=not phases.isdisjoint((*HOT, *COLD)),
        frontends=frozenset(name for name in frontends if name not in ("", "nan")),
        channels=dict(zip(rows.band[index].tolist(), rows.n_channels[index].tolist(), strict=True)),
        axes=find_axes(rows, index),
        failed=failed,
    )


def merge_load_scans(outlines: Iterable[ScanOutline], loads_gap: float) -> dict[int, int]:
    """Merge consecutive calibration scans.

    Parameters
    ----------
    outlines : iterable of ScanOutline
        All scan numbers of a session. A failed calibration scan between others neither joins nor separates them;
        scans that overlap in time, or of other frontends, numbers of channels or tunings, stay apart.
    loads_gap : float
        Time between the end of one and the start of the next below which they become one [s]; 0 merges none.

    Returns
    -------
    dict of int to int
        Number of the scan that each merged one becomes part of, by number.

    Examples
    --------
    >>> vane, sky = (
    ...     ScanOutline(number, mjd, mjd, mjd + 1e-4, True, number == 329, frozenset(), {"0": 1024})
    ...     for number, mjd in ((329, 60000.0), (330, 60000.0003))
    ... )
    >>> merge_load_scans([sky, vane], loads_gap=300.0)
    {330: 329}
    """
    merged: dict[int, int] = {}
    chain: ScanOutline | None = None
    first, busy_until = NO_SCAN, -np.inf
    for scan in sorted(outlines, key=lambda outline: (outline.first, outline.number)):
        if not scan.only_loads:
            chain, busy_until = None, max(busy_until, scan.end)
        elif not scan.failed:
            joins = (
                loads_gap > 0.0
                and chain is not None
                and busy_until <= chain.end
                and scan.first >= chain.end
                and (scan.start - chain.end) * SECONDS_A_DAY < loads_gap
                and chain.is_continued_by(scan)
            )
            if joins:
                merged[scan.number] = first
            else:
                first = scan.number
            chain = scan
    return merged


class LoadHistory:
    """Scans with loads of a session in order of time.

    Parameters
    ----------
    outlines : iterable of ScanOutline
        All scan numbers.
    merged : mapping of int to int
        Scans by the number of those that became part of them.
    """

    def __init__(self, outlines: Iterable[ScanOutline], merged: Mapping[int, int]) -> None:
        known = [outline for outline in outlines if outline.has_loads and np.isfinite(outline.first)]
        self._loads = sorted(known, key=lambda outline: (outline.first, outline.number))
        self._merged = merged

    def find_last(self, scan: ScanOutline) -> int:
        """Find the number of the last loads of a scan.

        Parameters
        ----------
        scan : ScanOutline
            The scan.

        Returns
        -------
        int
            Its own where it has a hot or cold load, else that of the latest scan before it that has, of a frontend
            in common where both are known, and tuned alike if any is; -1 where there is none. A scan that fails
            counts, since a later run may add it.
        """
        if scan.has_loads:
            return self._merged.get(scan.number, scan.number)
        earlier = bisect_left(self._loads, scan.first, key=lambda outline: outline.first)
        shared = [loads for loads in reversed(self._loads[:earlier]) if loads.may_share_loads(scan)]
        chosen = next(filter(scan.is_tuned_like, shared), shared[0] if shared else None)
        return NO_SCAN if chosen is None else self._merged.get(chosen.number, chosen.number)
