"""Spectra of a scan, calibrated block by block on the way from L0 to L1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cal_pipeline.engine.store import create_array, create_diagnostic, write_array
from cal_pipeline.models.counts import Counts
from cal_pipeline.models.product import Tally, band_attributes, small_arrays
from cal_pipeline.models.scan import Band, Scan
from cal_pipeline.physics.calibration import antenna_temperature, couple_beams
from cal_pipeline.physics.diagnostics import chop_phase_differences
from cal_pipeline.physics.flags import Flag
from cal_pipeline.physics.switching import weighted_sum

CHUNK_SAMPLES = 2**18
"""Samples a chunk of spectra is filled up to: 2 MB, where each costs about 2 ms beside its codec."""

Floats = NDArray[np.float64]
Spectra = tuple[Floats, NDArray[np.uint16]]


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
            tally = _BandWriter(band, scan, group).write()
            group.update_attributes(band_attributes(band, scan, tally, provenance))
        tallies.append(tally)
    if root.name != group.name:
        common = {"scan_number": scan.number, "bands": [band.name for band in scan.bands]}
        root.update_attributes(common)
    return tallies


class _BandWriter:
    """Writes the arrays of a band; every chunk of counts is read once, every chunk of spectra written once."""

    def __init__(self, band: Band, scan: Scan, group: zarr.Group) -> None:
        self.band, self.group, self.clock = band, group, scan.clock
        self.counts: Counts = band.source_counts(scan.clock)
        self.step = self.counts.channel_step(CHUNK_SAMPLES)

    def write(self) -> Tally:
        """Write all arrays; what was learnt of the samples."""
        band, arrays = self.band, small_arrays(self.band)
        present = set(arrays) | ({"spectra", "flags", "t_int"} if band.calibration else set())
        for name, values in arrays.items():
            write_array(self.group, name, values, self.step, present)
        if band.calibration is None:
            return Tally(np.zeros(0, np.int64))
        reference, (first, second) = band.require_reference(), band.outputs
        shape = (*self.counts.shape[:4], first.size)
        chunks = (min(self.step, shape[0]), *shape[1:4], 1)
        spectra, flags = (create_array(self.group, name, shape, chunks, present) for name in ("spectra", "flags"))
        chop = self._chop_arrays()
        n_channels, n_dumps, *pixels = shape[:4]
        probe = np.full((n_channels, *pixels, first.size), np.nan, np.float32)
        tally = Tally(np.zeros(first.size, np.int64), n_channels * n_dumps * first.size, probe=probe)
        valid = np.zeros((n_dumps, reference.on.size), np.bool_)
        for channels, outputs, read in self._blocks():
            for out in outputs:
                with self.clock("calibrate"):
                    kelvin, bits = self._spectra(channels, out, read, valid)
                    self._count(tally, bits)
                    probe[channels, ..., out] = kelvin[:, n_dumps // 2]
                spectra[channels, ..., out] = kelvin
                flags[channels, ..., out] = bits
                if chop:
                    self._write_chop(chop[out], channels, out, read)
        exposure = np.append(valid.sum(axis=0) * band.coordinates.exptime[reference.on], 0.0)
        tally.n_dumps = valid.sum(axis=0)[first]
        write_array(self.group, "t_int", exposure[first] + exposure[second], self.step, present)
        return tally

    def _blocks(self) -> Iterator[tuple[slice, list[int], dict[int, Floats]]]:
        """Channels, the spectra that can be made of what was read, and the counts that were, by subscan."""
        needed = self._needed_subscans()
        for outputs in _sharing(needed, self.counts.subscans_in_chunk):
            subscans = sorted(set().union(*(needed[out] for out in outputs)))
            for first in range(0, self.counts.shape[0], self.step):
                channels = slice(first, min(first + self.step, self.counts.shape[0]))
                read: dict[int, Floats] = {}
                for _, members in self.counts.blocks(subscans, self.counts.shape[0]):
                    block = self.counts.read(channels, members)
                    read |= {subscan: block[..., index] for index, subscan in enumerate(members)}
                yield channels, outputs, read

    def _needed_subscans(self) -> list[set[int]]:
        """Zero-based subscans whose dumps go into each spectrum."""
        reference = self.band.require_reference()
        needed = []
        for pair in zip(*self.band.outputs, strict=True):
            ons = [on for on in pair if on >= 0]
            subscans = set(reference.on[ons].tolist())
            if reference.per_dump:
                subscans |= {self._off_of(on) for on in ons}
            needed.append(subscans)
        return needed

    def _off_of(self, on: int) -> int:
        """Zero-based subscan of the OFF in the reduction group of an ON."""
        reference = self.band.require_reference()
        return int(reference.off[reference.moment[on].argmax()])

    def _spectra(self, channels: slice, out: int, read: dict[int, Floats], valid: NDArray[np.bool_]) -> Spectra:
        """T_A* and flags of some channels of one spectrum of each dump; notes the dumps with a valid sample."""
        first, second = (int(ons[out]) for ons in self.band.outputs)
        result = self._of_on(channels, first, read, valid)
        return result if second < 0 else couple_beams(result, self._of_on(channels, second, read, valid))

    def _of_on(self, channels: slice, on: int, read: dict[int, Floats], valid: NDArray[np.bool_]) -> Spectra:
        band, calibration = self.band, self.band.require_calibration()
        subscan = int(band.require_reference().on[on])
        result = antenna_temperature(
            self._level(read[subscan], subscan, channels),
            self._reference(channels, on, read),
            calibration.factor[channels, ..., on],
            calibration.bad_channel[channels, ..., on],
        )
        valid[:, on] |= ((result[1] & Flag.FILL_VALUE) == 0).any(axis=(0, 2, 3))
        return result

    def _level(self, counts: Floats, subscan: int, channels: slice) -> Floats:
        """Counts without drift; the zero level cancels where there is none to correct."""
        drifts = self.band.gain is not None and self.band.gain.drift is not None
        return self.band.corrected(counts, subscan, channels) if drifts else counts

    def _reference(self, channels: slice, on: int, read: dict[int, Floats]) -> Floats:
        """Counts of the reference of an ON: those of a dump, (c, D, R, A), or means, (c, R, A)."""
        reference = self.band.require_reference()
        if reference.per_dump:
            off = self._off_of(on)
            return self._level(read[off], off, channels)
        weights = reference.weights[:, :, on]
        used = np.flatnonzero(weights.any(axis=(0, 1)))
        means = [self._level(reference.off_mean[channels, ..., k], int(reference.off[k]), channels) for k in used]
        if not means:
            return np.full((*reference.off_mean[channels].shape[:3],), np.nan)
        return weighted_sum(np.stack(means, axis=-1), weights[..., used])

    @staticmethod
    def _count(tally: Tally, bits: NDArray[np.uint16]) -> None:
        """Count the flagged samples of each pixel."""
        any_flag = np.count_nonzero(bits, axis=(0, 1))
        counts = {"": any_flag}
        for flag in (Flag.BAD_CHANNEL, Flag.FILL_VALUE):
            counts[str(flag.name)] = np.count_nonzero(bits & flag, axis=(0, 1)) if any_flag.any() else any_flag
        for name, number in counts.items():
            tally.flagged[name] = tally.flagged.get(name, 0) + number

    def _chop_arrays(self) -> list[list[zarr.Array[Any]]]:
        """Empty arrays for the differences of chop phases, of each spectrum those of phases 1 … D - 1."""
        chop = self.band.chop
        if chop is None:
            return []
        reference, (n_channels, n_dumps, *pixels, _) = self.band.require_reference(), self.counts.shape
        on = reference.on[chop.ons]
        group = create_diagnostic(self.band, self.group, "skychopdiff", self.step)
        names = [[f"skychopdiff/spectrum_{subscan}_{j}" for j in range(1, n_dumps)] for subscan in on]
        shape, chunks = (n_channels, *pixels), (min(self.step, n_channels), *pixels)
        present = {"signal_freqs", "pixel"}
        group.update_attributes(
            {
                "on_indices": on.tolist(),
                "on_mjds": self.band.coordinates.mjd[on].tolist(),
                "n_spectra_per_on": [n_dumps - 1] * on.size,
            }
        )
        return [[create_array(self.group, name, shape, chunks, present) for name in row] for row in names]

    def _write_chop(self, arrays: list[zarr.Array[Any]], channels: slice, out: int, read: dict[int, Floats]) -> None:
        """Write the differences of chop phases of some channels."""
        ons = [int(on[out]) for on in self.band.outputs if on[out] >= 0]
        with self.clock("calibrate"):
            sky = sum(self._reference(channels, on, read) for on in ons) / len(ons)
            factor = self.band.require_calibration().factor[channels, ..., ons[0]]
            differences = chop_phase_differences(np.asarray(sky), factor)
        for j, array in enumerate(arrays):
            array[channels] = differences[:, j]


def _sharing(needed: list[set[int]], subscans_in_chunk: int) -> list[list[int]]:
    """Spectra by place, those together that need counts of the same chunk."""
    groups: list[tuple[set[int], list[int]]] = []
    for out, subscans in enumerate(needed):
        columns = {subscan // subscans_in_chunk for subscan in subscans}
        touching = [group for group in groups if group[0] & columns]
        groups = [group for group in groups if not group[0] & columns]
        for other in touching:
            columns |= other[0]
        groups.append((columns, sorted(sum((members for _, members in touching), [out]))))
    return sorted(members for _, members in groups)
