"""Spectra of a scan, calibrated block by block on the way from L0 to L1."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cal_pipeline.engine.store import create_array, write_array
from cal_pipeline.models.clock import StageClock
from cal_pipeline.models.counts import Counts
from cal_pipeline.models.product import band_attributes, small_arrays
from cal_pipeline.models.scan import Band, Scan
from cal_pipeline.physics.calibration import antenna_temperature
from cal_pipeline.physics.flags import Flag
from cal_pipeline.physics.switching import weighted_sum

CHUNK_SAMPLES = 2**18
"""Samples a chunk of spectra is filled up to: 2 MB, where each costs about 2 ms beside its codec."""


@dataclass
class Tally:
    """What is learnt of a band while its samples pass by.

    Parameters
    ----------
    n_dumps : ndarray of int, shape (S_on,)
        Dumps with any valid sample.
    flagged : Counter
        Samples with each flag bit; 0 for any.
    n_samples : int
        Samples.
    """

    n_dumps: NDArray[np.int64]
    flagged: Counter[int] = field(default_factory=Counter)
    n_samples: int = 0


def write_scan(scan: Scan, folder: Path, provenance: dict[str, Any]) -> list[Tally]:
    """Write a calibrated scan as an L1 group.

    Parameters
    ----------
    scan : Scan
        The scan, with what the steps have made.
    folder : Path
        Where to write it.
    provenance : dict
        Engine, parameters and time of the run.

    Returns
    -------
    list of Tally
        One a band.
    """
    root = zarr.create_group(folder)
    tallies = []
    for band in scan.bands:
        with scan.clock("write"):
            group = root.create_group(band.name) if band.name else root
            arrays = small_arrays(band)
            present = set(arrays) | ({"spectra", "flags", "t_int"} if band.calibration else set())
            counts = band.source_counts(scan.clock)
            step = counts.channel_step(CHUNK_SAMPLES)
            for name, values in arrays.items():
                write_array(group, name, values, step, present)
            tally = _write_spectra(band, counts, group, step, present, scan.clock)
            group.update_attributes(band_attributes(band, scan, tally.flagged, tally.n_samples, provenance))
        tallies.append(tally)
    if root.name != group.name:
        common = {"scan_number": scan.number, "bands": [band.name for band in scan.bands]}
        root.update_attributes(common)
    return tallies


def _write_spectra(
    band: Band, counts: Counts, group: zarr.Group, channel_step: int, present: set[str], clock: StageClock
) -> Tally:
    """Calibrate and write the samples of the ONs; a block is read and written once."""
    if band.calibration is None:
        return Tally(np.zeros(0, np.int64))
    calibration, reference = band.calibration, band.require_reference()
    shape = (*counts.shape[:4], reference.on.size)
    chunks = (min(channel_step, shape[0]), *shape[1:4], 1)
    spectra, flags = (create_array(group, name, shape, chunks, present) for name in ("spectra", "flags"))
    position = {int(subscan): index for index, subscan in enumerate(reference.on)}
    valid_dumps = np.zeros((shape[1], shape[4]), np.bool_)
    tally = Tally(np.zeros(shape[4], np.int64), n_samples=int(np.prod(shape)))
    for channels, subscans in counts.blocks(reference.on.tolist(), channel_step):
        block = counts.read(channels, subscans)
        for index, subscan in enumerate(subscans):
            on = position[subscan]
            with clock("calibrate"):
                off = weighted_sum(reference.off_mean[channels], reference.weights[:, :, on])
                bad = calibration.bad_channel[channels, ..., on]
                kelvin, bits = antenna_temperature(block[..., index], off, calibration.factor[channels, ..., on], bad)
                valid_dumps[:, on] |= ((bits & Flag.FILL_VALUE) == 0).any(axis=(0, 2, 3))
                tally.flagged[0] += int(np.count_nonzero(bits))
                for flag in (Flag.BAD_CHANNEL, Flag.FILL_VALUE):
                    tally.flagged[int(flag)] += int(np.count_nonzero(bits & flag))
            spectra[channels, ..., on] = kelvin
            flags[channels, ..., on] = bits
    tally.n_dumps = valid_dumps.sum(axis=0)
    t_int = band.coordinates.exptime[reference.on] * tally.n_dumps
    write_array(group, "t_int", t_int, channel_step, present)
    return tally
