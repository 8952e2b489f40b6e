"""L0 sessions and their scans, for work in Python; no counts are read until they are asked for."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.text import format_count, list_few, make_printable
from cal_pipeline.heterodyne.coordinates import Coordinates
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY
from cal_pipeline.heterodyne.physics.planck import channel_frequencies
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.scan_collection import ScanCollection
from cal_pipeline.heterodyne.scan_table import UNREADABLE, build_table
from cal_pipeline.heterodyne.session import Session

if TYPE_CHECKING:
    import xarray
    from astropy.table import QTable

CALIBRATION_INTERVAL_S = 3600.0
"""Longest time between loads and scan by default, that of the step ``loads`` [s]."""

CALIBRATION_ONLY = "calibration only"
"""Mode in the table of a scan of loads alone."""

_TEXTS = {
    "scan": "scan number",
    "band": "band of a divided scan",
    "source": "source",
    "line": "line",
    "telescope": "telescope",
    "mode": "observing mode",
    "pixels": "number of pixels; 0 where unknown",
    "channels": "number of channels; 0 where unknown",
    "dumps": "dumps of a subscan; 0 where unknown",
    "subscans": "number of subscans; 0 where unknown",
    "verdict": "readable or unreadable",
    "reason": "why a scan is unreadable",
}

_NUMBERS = {
    "mjd": ("d", "middle of the scan"),
    "duration": ("s", "from the start of the first to the end of the last subscan"),
    "frequency": ("GHz", "middle of the signal sideband"),
    "size": ("Mbyte", "counts, of 32 bits each"),
}

_COLUMNS = (
    *("scan", "band", "source", "line", "telescope", "mode", "pixels", "channels", "dumps", "subscans"),
    *("mjd", "duration", "frequency", "size", "verdict", "reason"),
)


class RawSession(ScanCollection["RawScan"]):
    """L0 session: raw scans by number.

    ``session[25650]`` is a :class:`RawScan`; iteration yields numbers, ``values()`` scans.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL such as ``s3://bucket/session.zarr``.

    Attributes
    ----------
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
    >>> from cal_pipeline import open_l0
    >>> session = open_l0("session.zarr")
    >>> len(session), list(session)
    (1, [1])
    >>> session.select(mode="otf").table()["subscans"].tolist()
    [7]
    """

    shown_columns = ("scan", "band", "source", "mode", "line", "pixels", "channels", "subscans", "duration", "verdict")

    def __init__(self, path: str | Path) -> None:
        self._session = Session(path)
        self.path = self._session.path
        self.numbers = list(self._session.numbers)

    def _open(self, number: int) -> RawScan:
        return RawScan(self._session, number)

    def _make_table(self) -> QTable:
        of_scans = self._session.root.each(self._describe, self.numbers)
        return build_table([row for rows in of_scans for row in rows], _COLUMNS, _TEXTS, _NUMBERS)

    def _describe(self, number: int) -> list[dict[str, Any]]:
        """Describe the bands of a scan; a broken scan must not hide the others."""
        start = {"scan": number, "band": ""}
        if not self._session.has_source(number):
            return [{**start, "mode": CALIBRATION_ONLY, "verdict": "readable"}]
        try:
            return [{"scan": number, **_describe_band(band)} for band in self._session.open_scan(number).bands]
        except (CalibrationError, OSError) as error:
            texts = dict.fromkeys(("source", "line", "telescope", "mode"), "")
            return [{**start, **texts, "verdict": UNREADABLE, "reason": f"{type(error).__name__}: {error}"}]

    def _explain_missing(self, number: int) -> str:
        return ""

    def _headline(self) -> str:
        return f"<RawSession {make_printable(self.path)}: {format_count(len(self.numbers), 'scan')}>"


def _describe_band(band: Band) -> dict[str, Any]:
    at, attributes = band.coordinates, band.attributes
    channels, dumps, receivers, arrays, subscans = at.shape
    first, last = _find_span(at)
    return {
        "band": band.name,
        **{name: str(attributes.get(name) or "") for name in ("source", "line", "telescope")},
        "mode": band.mode.name,
        "pixels": receivers * arrays,
        "channels": channels,
        "dumps": dumps,
        "subscans": subscans,
        "mjd": (first + last) / 2.0,
        "duration": (last - first) * SECONDS_A_DAY,
        "frequency": float(np.mean(_find_frequencies(band))) * 1e-9,
        "size": float(np.prod(at.shape)) * 4e-6,
        "verdict": "readable",
    }


def _find_span(at: Coordinates) -> tuple[float, float]:
    """Find start and end (MJD) of a scan from the middles of its subscans [d]."""
    half = at.exptime * at.shape[1] / (2.0 * SECONDS_A_DAY)
    return float(np.nanmin(at.mjd - half)), float(np.nanmax(at.mjd + half))


def _find_frequencies(band: Band) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Compute the frequencies of the signal sideband (C,) at the first ON [Hz]."""
    signal, _ = channel_frequencies(band.coordinates.shape[0], **band.coordinates.frequency_axis(band.first_on))
    return np.asarray(signal, np.float64)


class RawScan:
    """Scan of an L0 session.

    ``session[25650]`` makes it.

    Parameters
    ----------
    session : Session
        The session.
    number : int
        Scan number.

    Attributes
    ----------
    number : int
        Scan number.

    Examples
    --------
    >>> from cal_pipeline import open_l0
    >>> scan = open_l0("session.zarr")[1]
    >>> print(str(scan).splitlines()[0])
    <RawScan 1: SIM-ORION, otf, CCAT CO4-3>
    >>> scan.loads
    {'': 'scan 1 (own)'}
    """

    def __init__(self, session: Session, number: int) -> None:
        self.number = number
        self._session = session

    @cached_property
    def _scan(self) -> Scan:
        return self._session.open_scan(self.number)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes as recorded."""
        return dict(self._scan.attributes)

    @property
    def bands(self) -> list[str]:
        """Names of the bands; empty for a scan with one frequency axis."""
        return [band.name for band in self._scan.bands if band.name]

    @property
    def pixels(self) -> list[str]:
        """Names of the pixels of all bands."""
        return list(dict.fromkeys(str(name) for band in self._scan.bands for name in band.coordinates.pixel.ravel()))

    @property
    def loads(self) -> dict[str, str]:
        """Loads that a calibration would use by default, by band, with the reason; or why there are none."""
        found = {}
        for band in self._scan.bands:
            try:
                choice = self._session.find_loads(band, CALIBRATION_INTERVAL_S)
                found[band.name] = f"scan {choice.group.scan_number} ({choice.reason})"
            except CalibrationError as error:
                found[band.name] = f"none: {error}"
        return found

    def table(self, band: str = "") -> QTable:
        """Return the table of the subscans.

        Parameters
        ----------
        band : str
            Band of a divided scan; by default the first one.

        Returns
        -------
        astropy.table.QTable
            Position from 0, phase, time, exposure of a dump, elevation and ambient conditions.

        Raises
        ------
        ValueError
            If there is no such band.

        Examples
        --------
        >>> from cal_pipeline import open_l0
        >>> open_l0("session.zarr")[1].table()["phase"].tolist()[:3]
        ['OTF-OFF', 'OTF-ON', 'OTF-ON']
        """
        at = self._choose(band).coordinates
        rows = [
            {
                "subscan": k,
                "phase": str(at.sobsmode[k]),
                "mjd": at.mjd[k],
                "exptime": at.exptime[k],
                "elevation": np.degrees(at.elevation[k]),
                "tamb": at.tamb[k],
                "pamb": at.pamb[k] / 100.0,
            }
            for k in range(at.sobsmode.size)
        ]
        return build_table(rows, list(rows[0]), _OF_SUBSCANS, _NUMBERS_OF_SUBSCANS)

    def _choose(self, band: str) -> Band:
        for found in self._scan.bands:
            if band in ("", found.name):
                return found
        raise ValueError(f"scan {self.number} has no band {band!r:.80}; it has {list_few(self.bands) or 'none'}")

    def to_xarray(self, band: str = "") -> xarray.Dataset:
        """Open the counts as a dataset with one axis of named pixels, lazily.

        Parameters
        ----------
        band : str
            Band of a divided scan; by default the first one.

        Returns
        -------
        xarray.Dataset
            ``counts`` (channel, dump, pixel, subscan) [ct], NaN where missing; ``pixel`` is an index of
            names. No counts are read until they are used.

        Raises
        ------
        ValueError
            If there is no such band.

        Examples
        --------
        >>> from cal_pipeline import open_l0
        >>> raw = open_l0("session.zarr")[1].to_xarray()
        >>> raw.sel(pixel="CHAI_PX00").counts.isel(channel=32).mean("dump").dims
        ('subscan',)
        """
        from cal_pipeline.heterodyne.lazy_counts import open_counts

        return open_counts(self._choose(band))

    def __repr__(self) -> str:
        title, facts = self._describe()
        return "\n".join([title, *(f"  {name:<14}{text}" for name, text in facts)])

    def _repr_html_(self) -> str:
        title, facts = self._describe()
        rows = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts)
        return f"<p>{html.escape(title)}</p><table>{''.join(rows)}</table>"

    def _describe(self) -> tuple[str, list[tuple[str, str]]]:
        """Describe the scan by a line and facts; names from the data are escaped."""
        try:
            if not self._session.has_source(self.number):
                return f"<RawScan {self.number}: {CALIBRATION_ONLY}>", []
            bands = self._scan.bands
            attributes = self._scan.attributes
            instrument = " ".join(str(attributes[key]) for key in ("telescope", "line") if attributes.get(key))
            words = filter(None, [str(attributes.get("source") or ""), bands[0].mode.name, instrument])
            facts = [fact for band in bands for fact in self._list_facts(band)]
            return f"<RawScan {self.number}: {make_printable(', '.join(words))}>", facts
        except MemoryError:
            raise
        except Exception as error:  # a scan must be shown in a debugger even when its store is broken
            return f"<RawScan {self.number}>", [(UNREADABLE, make_printable(f"{type(error).__name__}: {error}")[:300])]

    def _list_facts(self, band: Band) -> list[tuple[str, str]]:
        at = band.coordinates
        nouns = ("channel", "dump", "receiver", "array", "subscan")
        layout = ", ".join(format_count(size, noun) for size, noun in zip(at.shape, nouns, strict=True))
        names = [str(name) for name in at.pixel.ravel().tolist()]
        frequency = _find_frequencies(band) * 1e-9
        return [
            *([("band", make_printable(band.name))] if band.name else []),
            ("layout", f"{layout}; {np.prod(at.shape) * 4e-6:.1f} MB"),
            ("subscans", _format_phases(at.sobsmode.tolist())),
            ("pixels", f"{len(names)}: {list_few(names, 4)}"),
            ("frequency", f"{frequency.min():.4f} to {frequency.max():.4f} GHz"),
            ("loads", make_printable(self.loads[band.name])),
        ]


_OF_SUBSCANS = {"subscan": "position in the scan, from 0", "phase": "observing phase"}
_NUMBERS_OF_SUBSCANS = {
    "mjd": ("d", "middle of the subscan"),
    "exptime": ("s", "integration time of a dump"),
    "elevation": ("deg", "elevation"),
    "tamb": ("K", "ambient temperature"),
    "pamb": ("hPa", "pressure"),
}


def _format_phases(phases: Sequence[str]) -> str:
    """Write phases in short: repeated ones once, with their number.

    Examples
    --------
    >>> _format_phases(["OFF", "ON", "ON", "OFF"])
    'OFF, 2 ON, OFF'
    """
    runs: list[list[Any]] = []
    for phase in phases:
        if runs and runs[-1][1] == phase:
            runs[-1][0] += 1
        else:
            runs.append([1, phase])
    return list_few([f"{number} {phase}" if number > 1 else str(phase) for number, phase in runs], 12)
