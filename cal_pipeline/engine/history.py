"""Empty skies of the scans so far, and how those of a new scan differ from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.engine.store import create_diagnostic, write_array
from cal_pipeline.models.scan import Scan
from cal_pipeline.models.storage import Place

Layout = tuple[Any, ...]
"""What two skies must have in common to be compared: band, channels and pixels."""


@dataclass(frozen=True)
class SkyEntries:
    """The empty skies of a band of a scan.

    Parameters
    ----------
    scan : int
        Scan number.
    band : str
        Name of the band.
    n : int
        Number of earlier skies that each is compared with.
    offs : list of int
        Zero-based subscans of the OFFs.
    mjds : list of float
        When they were seen [d].
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
        """What others must have in common with it to be compared."""
        return self.band, self.spectra.shape[:3], *self.pixel.ravel().tolist()

    def skies(self) -> list[Sky]:
        """One by one."""
        return [
            Sky(self.scan, off, mjd, self.spectra[..., entry])
            for entry, (off, mjd) in enumerate(zip(self.offs, self.mjds, strict=True))
        ]


@dataclass(frozen=True)
class Sky:
    """One empty sky.

    Parameters
    ----------
    scan : int
        Number of its scan.
    off : int
        Zero-based subscan of the OFF.
    mjd : float
        When it was seen [d].
    spectrum : ndarray, shape (C, R, A)
        S_obs [K].
    """

    scan: int
    off: int
    mjd: float
    spectrum: NDArray[np.float64]


def sky_entries(scan: Scan) -> list[SkyEntries]:
    """The empty skies of a scan that passed the step ``skydiff``, one a band."""
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


class SkyHistory:
    """The newest skies of each layout; scans must come in the order of time."""

    def __init__(self) -> None:
        self._newest: dict[Layout, list[Sky]] = {}

    def write(self, skies: list[SkyEntries], place: Place) -> bool:
        """Write how the skies of a scan differ from those of the scans before it.

        Parameters
        ----------
        skies : list of SkyEntries
            Those of each band.
        place : Place
            The L1 group of the scan.

        Returns
        -------
        bool
            Whether there was anything to write.
        """
        written = False
        for entries in skies:
            references = self._newest.get(entries.layout, [])[: entries.n]
            if references:
                _write_differences(entries, place.below(entries.band) if entries.band else place, references)
                written = True
        return written

    def add(self, skies: list[SkyEntries]) -> None:
        """Remember the skies of a scan that was published."""
        for entries in skies:
            known = self._newest.setdefault(entries.layout, [])
            known[:] = sorted(entries.skies() + known, key=lambda sky: -sky.mjd)[: entries.n]


def _write_differences(entries: SkyEntries, group: Place, references: list[Sky]) -> None:
    """Write the group ``skydiff``: over the skies of the scan, then the references from the newest on."""
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
    create_diagnostic(group, "skydiff", entries.signal, entries.pixel, n_channels, attributes)
    for index, (now, earlier) in enumerate(pairs):
        difference = now.spectrum - earlier.spectrum
        write_array(group, f"skydiff/spectrum_{index}", difference, n_channels, {"signal_freqs", "pixel"})
