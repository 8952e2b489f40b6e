"""Empty skies of the scans so far, and how those of a new scan differ from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cal_pipeline.engine.store import create_diagnostic, write_array
from cal_pipeline.models.scan import Band, Scan, SkydiffStage

Layout = tuple[Any, ...]
"""What two skies must have in common to be compared: band, channels and pixels."""


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


class SkyHistory:
    """The newest skies of each layout; scans must come in the order of time."""

    def __init__(self) -> None:
        self._newest: dict[Layout, list[Sky]] = {}

    def write(self, scan: Scan, folder: Path) -> None:
        """Write how the skies of a scan differ from those of the scans before it.

        Parameters
        ----------
        scan : Scan
            A scan that passed the step ``skydiff``.
        folder : Path
            Its L1 group.
        """
        root = zarr.open_group(folder, mode="r+")
        for band, stage in _stages(scan):
            group = root[band.name] if band.name else root
            references = self._newest.get(_layout(band), [])[: stage.n]
            if references and isinstance(group, zarr.Group):
                _write_differences(band, group, _skies(band, stage), references)

    def add(self, scan: Scan) -> None:
        """Remember the skies of a scan that was published."""
        for band, stage in _stages(scan):
            known = self._newest.setdefault(_layout(band), [])
            known[:] = sorted(_skies(band, stage) + known, key=lambda sky: -sky.mjd)[: stage.n]


def _stages(scan: Scan) -> Iterator[tuple[Band, SkydiffStage]]:
    return ((band, band.skydiff) for band in scan.bands if band.skydiff is not None)


def _layout(band: Band) -> Layout:
    n_channels, _, n_receivers, n_arrays, _ = band.coordinates.shape
    return band.name, n_channels, n_receivers, n_arrays, *band.coordinates.pixel.ravel().tolist()


def _skies(band: Band, stage: SkydiffStage) -> list[Sky]:
    return [
        Sky(band.scan_number, int(off), float(mjd), stage.spectra[..., entry])
        for entry, (off, mjd) in enumerate(zip(stage.offs, stage.mjds, strict=True))
    ]


def _write_differences(band: Band, parent: zarr.Group, current: list[Sky], references: list[Sky]) -> None:
    """Write the group ``skydiff``: over the skies of the scan, then the references from the newest on."""
    n_channels = band.coordinates.shape[0]
    group = create_diagnostic(band, parent, "skydiff", n_channels)
    pairs = [(now, earlier) for now in current for earlier in references]
    for index, (now, earlier) in enumerate(pairs):
        difference = now.spectrum - earlier.spectrum
        write_array(parent, f"skydiff/spectrum_{index}", difference, n_channels, {"signal_freqs", "pixel"})
    group.update_attributes(
        {
            "n_diffs": len(pairs),
            "current_scan": band.scan_number,
            "current_mjds": [now.mjd for now, _ in pairs],
            "current_offs": [now.off for now, _ in pairs],
            "ref_scans": [earlier.scan for _, earlier in pairs],
            "ref_mjds": [earlier.mjd for _, earlier in pairs],
            "ref_offs": [earlier.off for _, earlier in pairs],
        }
    )
