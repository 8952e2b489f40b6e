"""Blank-sky spectra of earlier scans, and their differences from those of a new scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.observation import History
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
            references = self._newest.get(entries.layout, [])[: entries.n]
            if references:
                _write_differences(entries, root.child(entries.band) if entries.band else root, references)
                written = True
        return written

    def add(self, skies: list[SkyEntries]) -> None:
        """Store the skies of a published scan."""
        for entries in skies:
            known = self._newest.setdefault(entries.layout, [])
            known[:] = sorted(entries.skies() + known, key=lambda sky: -sky.mjd)[: entries.n]


def _write_differences(entries: SkyEntries, group: StorePath, references: list[Sky]) -> None:
    """Write the group ``skydiff``: for each sky of the scan all references, newest first."""
    n_channels = entries.signal.size
    pairs = [(now, earlier) for now in entries.skies() for earlier in references]
    attributes = {
        "n_diffs": len(pairs),
        "current_scan": entries.scan,
        "current_mjds": [now.mjd for now, _ in pairs],
        "current_offs": [now.off for now, _ in pairs],
        "ref_scans": [earlier.scan for _, earlier in pairs],
        "ref_mjds": [earlier.mjd for _, earlier in pairs],
        "ref_offs": [earlier.off for _, earlier in pairs],
    }
    coordinates = {"signal_freqs": entries.signal, "pixel": entries.pixel}
    L1.create_diagnostic(group, "skydiff", coordinates, n_channels, attributes)
    for index, (now, earlier) in enumerate(pairs):
        difference = now.spectrum - earlier.spectrum
        L1.write_array(group, f"skydiff/spectrum_{index}", difference, n_channels, {"signal_freqs", "pixel"})
