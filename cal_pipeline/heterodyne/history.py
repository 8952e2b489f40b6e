"""Blank-sky spectra of earlier scans, and their differences from those of a new scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.observation import History
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.schema import L1

Layout = tuple[Any, ...]
"""Key shared by comparable skies: band, shape (C, R, A) of the spectra, pixel ids."""


@dataclass(frozen=True)
class SkyEntries:
    """Blank-sky spectra of one band of a scan.

    Parameters
    ----------
    scan : int
        Scan number.
    band : str
        Name of the band.
    n : int
        Number of earlier skies to compare each sky with.
    offs : list of int
        Zero-based subscans of the OFFs.
    mjds : list of float
        Times of observation (MJD) [d].
    spectra : ndarray, shape (C, R, A, E)
        S_obs [K].
    signal : ndarray, shape (C,)
        Sky frequencies [Hz].
    pixel : ndarray of str, shape (R, A)
        Pixel ids.
    """

    scan: int
    band: str
    n: int
    offs: list[int]
    mjds: list[float]
    spectra: NDArray[np.float64]
    signal: NDArray[np.float64]
    pixel: NDArray[np.str_]

    @property
    def layout(self) -> Layout:
        """Key shared by all skies that can be compared with these."""
        return self.band, self.spectra.shape[:3], *self.pixel.ravel().tolist()

    def skies(self) -> list[Sky]:
        """Split the entries into single skies."""
        return [
            Sky(self.scan, off, mjd, self.spectra[..., entry])
            for entry, (off, mjd) in enumerate(zip(self.offs, self.mjds, strict=True))
        ]


@dataclass(frozen=True)
class Sky:
    """One blank-sky spectrum.

    Parameters
    ----------
    scan : int
        Scan number.
    off : int
        Zero-based subscan of the OFF.
    mjd : float
        Time of observation (MJD) [d].
    spectrum : ndarray, shape (C, R, A)
        S_obs [K].
    """

    scan: int
    off: int
    mjd: float
    spectrum: NDArray[np.float64]


def sky_entries(scan: Scan) -> list[SkyEntries]:
    """Collect the blank-sky spectra of a scan after the step ``skydiff``, one entry per band."""
    return [
        SkyEntries(
            scan.number,
            band.name,
            band.skydiff.n,
            band.skydiff.offs.tolist(),
            band.skydiff.mjds.tolist(),
            band.skydiff.spectra,
            band.require_loads().sidebands.signal,
            band.coordinates.pixel,
        )
        for band in scan.bands
        if band.skydiff is not None
    ]


class SkyHistory(History):
    """Cache of the newest skies of each layout; scans must be added in time order."""

    def __init__(self) -> None:
        self._newest: dict[Layout, list[Sky]] = {}

    def complete(self, skies: list[SkyEntries], root: StorePath) -> bool:
        """Write the differences between the skies of a scan and those of earlier scans.

        Parameters
        ----------
        skies : list of SkyEntries
            Skies of each band.
        root : StorePath
            The L1 group of the scan.

        Returns
        -------
        bool
            True if any difference was written.
        """
        written = False
        for entries in skies:
            references = self._references(entries)
            if references:
                _write_differences(entries, root.child(entries.band) if entries.band else root, references)
                written = True
        return written

    def is_current(self, skies: list[SkyEntries], root: StorePath) -> bool:
        """Tell whether recorded differences are those that :meth:`complete` would write, bit for bit.

        Parameters
        ----------
        skies : list of SkyEntries
            Skies of each band.
        root : StorePath
            The L1 group of the scan, of an earlier run.
        """
        return all(
            _holds_differences(entries, root.child(entries.band) if entries.band else root, self._references(entries))
            for entries in skies
        )

    def add(self, skies: list[SkyEntries]) -> None:
        """Store the skies of a published scan."""
        for entries in skies:
            known = self._newest.get(entries.layout, [])
            newest = sorted(entries.skies() + known, key=lambda sky: -sky.mjd)[: entries.n]
            self._newest[entries.layout] = newest

    def copy(self) -> SkyHistory:
        """Return the cache as it is now."""
        copy = SkyHistory()
        copy._newest = dict(self._newest)
        return copy

    def _references(self, entries: SkyEntries) -> list[Sky]:
        return self._newest.get(entries.layout, [])[: entries.n]


def _pair(entries: SkyEntries, references: list[Sky]) -> list[tuple[Sky, Sky]]:
    """Pair each sky of a scan with all references, newest first."""
    return [(now, earlier) for now in entries.skies() for earlier in references]


def _describe_pairs(scan: int, pairs: list[tuple[Sky, Sky]]) -> dict[str, Any]:
    """Make the attributes of the group ``skydiff``."""
    return {
        "n_diffs": len(pairs),
        "current_scan": scan,
        "current_mjds": [now.mjd for now, _ in pairs],
        "current_offs": [now.off for now, _ in pairs],
        "ref_scans": [earlier.scan for _, earlier in pairs],
        "ref_mjds": [earlier.mjd for _, earlier in pairs],
        "ref_offs": [earlier.off for _, earlier in pairs],
    }


def _write_differences(entries: SkyEntries, group: StorePath, references: list[Sky]) -> None:
    """Write the group ``skydiff``: for each sky of the scan all references, newest first."""
    n_channels = entries.signal.size
    pairs = _pair(entries, references)
    coordinates = {"signal_freqs": entries.signal, "pixel": entries.pixel}
    L1.create_diagnostic(group, "skydiff", coordinates, n_channels, _describe_pairs(entries.scan, pairs))
    for index, (now, earlier) in enumerate(pairs):
        difference = now.spectrum - earlier.spectrum
        L1.write_array(group, f"skydiff/spectrum_{index}", difference, n_channels, {"signal_freqs", "pixel"})


def _holds_differences(entries: SkyEntries, group: StorePath, references: list[Sky]) -> bool:
    """Tell whether a group holds the differences of a scan to these references, and no others."""
    if not group.exists("skydiff/zarr.json"):
        return not references
    pairs = _pair(entries, references)
    if read_group_attributes(group, "skydiff") != _describe_pairs(entries.scan, pairs):
        return False
    found = (open_reader(group, f"skydiff/spectrum_{index}").read() for index in range(len(pairs)))
    expected = (now.spectrum - earlier.spectrum for now, earlier in pairs)
    return all(np.array_equal(one, two, equal_nan=True) for one, two in zip(found, expected, strict=True))
