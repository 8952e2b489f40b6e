"""Spectra of a scan, calibrated block by block on the way from L0 to L1."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.threads import in_threads
from cal_pipeline.core.store.interface import ArrayWriter
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.output import create_array, create_diagnostic, write_array
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.errors import NotFiniteError
from cal_pipeline.heterodyne.l1_content import Tally, band_attributes, small_arrays
from cal_pipeline.heterodyne.physics.calibration import antenna_temperature, couple_beams, round_to_noise
from cal_pipeline.heterodyne.physics.diagnostics import chop_phase_differences
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.switching import weighted_sum
from cal_pipeline.heterodyne.scan import Band, Scan

CHUNK_SAMPLES = 2**18
"""Samples a chunk of spectra is filled up to, 2 MB: what a core works on stays in its cache."""

Floats = NDArray[np.float64]
Missing = NDArray[np.bool_] | None
Samples = NDArray[Any]
"""Counts as they are read: integers, or floats that are NaN where a dump is missing."""

Spectra = tuple[Floats, NDArray[np.uint16], Missing]
Block = tuple[slice, list[int], list[int]]
"""Channels, spectra that can be made of a block, and the subscans that are needed for them."""


class WrittenBand(NamedTuple):
    """Band that was written: its attributes in L1, and what was learnt of its samples."""

    attributes: dict[str, Any]
    tally: Tally


def write_scan(scan: Scan, root: StorePath, provenance: dict[str, Any]) -> list[WrittenBand]:
    """Write a calibrated scan as an L1 group.

    Parameters
    ----------
    scan : Scan
        The scan, with what the steps have made.
    root : StorePath
        Destination of the scan.
    provenance : dict
        Engine, parameters and time of the run.

    Returns
    -------
    list of WrittenBand
        In the order of the bands.

    Raises
    ------
    NotFiniteError
        If no sample of the scan is good, or good ones have no noise or system temperature.
    """
    written = []
    for band in scan.bands:
        group = root.child(band.name) if band.name else root
        tally = _BandWriter(band, scan, group).write()
        # The disk works while the quality is judged.
        with _in_background(group.make_durable), scan.clock("write"):
            attributes = band_attributes(band, scan, tally, provenance)
            write_group(group, "", attributes)
        written.append(WrittenBand(attributes, tally))
    _refuse_without_samples(scan, [band.tally for band in written])
    if scan.bands[0].name:
        write_group(root, "", {"scan_number": scan.number, "bands": [band.name for band in scan.bands]})
    return written


def _refuse_without_samples(scan: Scan, tallies: list[Tally]) -> None:
    """Refuse a scan none of whose samples is a number, and say why there is none."""
    calibrated = [(band, tally) for band, tally in zip(scan.bands, tallies, strict=True) if band.calibration]
    total = sum(tally.n_samples * band.coordinates.pixel.size for band, tally in calibrated)
    flagged = sum(int(np.sum(tally.flagged[""])) for _, tally in calibrated)
    if not calibrated or flagged < total:
        return
    bad = sum(int(np.sum(tally.flagged["BAD_CHANNEL"])) for _, tally in calibrated)
    unknown = sum(_n_without_factor(band) for band, _ in calibrated)
    raise NotFiniteError(
        f"scan {scan.number}: none of its {total} samples of T_A* is a number: {bad} are of bad channels, in {unknown} "
        f"the factor from counts to kelvin is not finite, in {total - bad - unknown} ON or reference is missing "
        "(or T_A* exceeds the numbers). Expected at least one; look at the counts of its ONs and OFFs, at its loads "
        "and at the efficiencies given"
    )


def _n_without_factor(band: Band) -> int:
    """Count samples in good channels without a finite factor from counts to kelvin."""
    calibration, (first, second) = band.require_calibration(), band.outputs
    lacking = ~np.isfinite(calibration.factor) & ~calibration.bad_channel
    merged = lacking[..., first] | (lacking[..., second] & (second >= 0))
    bad = calibration.bad_channel[..., first] | (calibration.bad_channel[..., second] & (second >= 0))
    return int(np.count_nonzero(merged & ~bad)) * band.coordinates.shape[1]


def _find_noiseless(sigma: NDArray[np.float32], t_sys: Floats) -> NDArray[np.bool_] | None:
    """Find channels [C,R,A,S] without finite noise or system temperature; None if there are none."""
    with np.errstate(over="ignore", invalid="ignore"):
        # A finite sum proves that all values are finite.
        if np.isfinite(sigma.sum(dtype=np.float64) + t_sys.sum()):
            return None
    lacking = ~(np.isfinite(sigma) & np.isfinite(t_sys))
    return lacking if lacking.any() else None


@contextmanager
def _in_background(task: Callable[[], None]) -> Iterator[None]:
    """Run a task concurrently with the block; its errors are raised at the end of the block."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(task)
        yield
        future.result()


class _BandWriter:
    """Writer of the arrays of a band, with one access to every chunk of counts and spectra."""

    def __init__(self, band: Band, scan: Scan, group: StorePath) -> None:
        self.band, self.group, self.clock = band, group, scan.clock
        self.counts: Counts = band.source_counts(scan.clock)
        self.step = self.counts.channel_step(CHUNK_SAMPLES)
        self._own: dict[tuple[int, int], Floats] = {}

    def write(self) -> Tally:
        """Write all arrays concurrently; return the statistics of the samples."""
        band = self.band
        with self.clock("write"):
            arrays = small_arrays(band)
        present = set(arrays) | ({"spectra", "flags", "t_int"} if band.calibration else set())
        work: list[Callable[[], None]] = [
            partial(self._write_small, name, values, present) for name, values in arrays.items()
        ]
        tally = Tally(np.zeros(0, np.int64))
        if band.calibration is not None:
            tally = self._prepare_spectra(present)
            work = [*work, *(partial(self._write_block, block) for block in self._blocks())]
        in_threads(lambda task: task(), work, int(np.prod(self.counts.shape)))
        if band.calibration is not None:
            self._conclude(tally, present)
        return tally

    def _write_small(self, name: str, values: NDArray[Any] | Callable[[], NDArray[Any]], present: set[str]) -> None:
        with self.clock("write"):
            write_array(self.group, name, values() if callable(values) else values, self.step, present)

    def _prepare_spectra(self, present: set[str]) -> Tally:
        """Make the arrays that blocks are written to."""
        calibration, (first, _) = self.band.require_calibration(), self.band.outputs
        shape = (*self.counts.shape[:4], first.size)
        chunks = (min(self.step, shape[0]), *shape[1:4], 1)
        with self.clock("write"):
            self.spectra = create_array(self.group, "spectra", shape, chunks, present)
            self.flags = create_array(self.group, "flags", shape, chunks, present)
            self.chop = self._chop_arrays()
        n_channels, n_dumps, *pixels = shape[:4]
        self.probe = np.full((n_channels, *pixels, first.size), np.nan, np.float32, order="F")
        # Blocks of different channels may learn of the same dumps; each has a row of its own.
        n_blocks = -(-n_channels // self.step)
        self.valid = np.zeros((n_blocks, n_dumps, self.band.require_pairing().on.size), np.bool_)
        self.missing = np.zeros((n_blocks, *pixels, first.size), np.int64)
        self.only_missing = np.zeros((n_blocks, *pixels, first.size), np.int64)
        self.bad = np.zeros((n_blocks, *pixels, first.size), np.int64)
        last = self.band.coupling or calibration
        self.noiseless = _find_noiseless(last.sigma, last.t_sys)
        self.sigma = last.sigma if calibration.precision == "radiometric" else None
        return Tally(np.zeros(first.size, np.int64), n_channels * n_dumps * first.size, probe=self.probe)

    def _conclude(self, tally: Tally, present: set[str]) -> None:
        """Combine the statistics of the blocks."""
        pairing, (first, second) = self.band.require_pairing(), self.band.outputs
        dumps = self.valid.any(axis=0).sum(axis=0)
        exposure = np.append(dumps * self.band.coordinates.exptime[pairing.on], 0.0)
        tally.n_dumps = dumps[first]
        n_dumps = self.counts.shape[1]
        bad = self.bad.sum(axis=(0, -1)) * n_dumps
        tally.flagged[""] = bad + self.only_missing.sum(axis=(0, -1))
        tally.flagged["BAD_CHANNEL"] = bad
        tally.flagged["FILL_VALUE"] = self.missing.sum(axis=(0, -1))
        self._write_small("t_int", exposure[first] + exposure[second], present)

    def _blocks(self) -> Iterator[Block]:
        """Yield the blocks: channels, output spectra and subscans to process at a time."""
        needed = self._needed_subscans()
        for outputs in _sharing(needed, self.counts.subscans_in_chunk):
            subscans = sorted(set().union(*(needed[out] for out in outputs)))
            for start in range(0, self.counts.shape[0], self.step):
                yield slice(start, min(start + self.step, self.counts.shape[0])), outputs, subscans

    def _write_block(self, block: Block) -> None:
        """Read, calibrate and write a block."""
        channels, outputs, subscans = block
        row = channels.start // self.step
        read: dict[int, Samples] = {}
        for _, members in self.counts.blocks(subscans, self.counts.shape[0]):
            counts = self.counts.read(channels, members)
            read |= {subscan: counts[..., index] for index, subscan in enumerate(members)}
        for out in outputs:
            bad = self._bad(channels, out)
            with self.clock("calibrate"):
                kelvin, bits, missing = self._spectra(channels, out, read)
                if missing is not None:
                    self.missing[row, ..., out] = missing.sum(axis=(0, 1))
                    self.only_missing[row, ..., out] = (bits == Flag.FILL_VALUE).sum(axis=(0, 1))
                self._refuse_without_noise(channels, out, bits, bad)
                with np.errstate(over="ignore"):
                    self.probe[channels, ..., out] = kelvin[:, kelvin.shape[1] // 2]
                if self.sigma is not None:
                    round_to_noise(kelvin, self.sigma[channels, ..., out])
            with self.clock("write"):
                self.spectra.write_chunk((row, 0, 0, 0, out), kelvin[..., None])
                index = (row, 0, 0, 0, out)
                if missing is not None or bad.any():
                    self.bad[row, ..., out] = np.count_nonzero(bad, axis=0)
                    self.flags.write_chunk(index, bits[..., None])
                else:
                    self.flags.write_zeros(index)
            if self.chop:
                self._write_chop(self.chop[out], channels, out, read)

    def _refuse_without_noise(
        self, channels: slice, out: int, bits: NDArray[np.uint16], bad: NDArray[np.bool_]
    ) -> None:
        """Raise an error for good samples whose noise or system temperature is not finite."""
        if self.noiseless is None:
            return
        lacking = self.noiseless[channels, ..., out] & ~bad
        good = lacking & (bits == 0).any(axis=1) if lacking.any() else lacking
        if good.any():
            channel, receiver, array = (int(index[0]) for index in np.nonzero(good))
            last = self.band.coupling or self.band.require_calibration()
            noise, t_sys = (values[channels, ..., out] for values in (last.sigma, last.t_sys))
            at, on = self.band.coordinates, int(self.band.require_pairing().on[self.band.outputs[0][out]])
            raise NotFiniteError(
                f"{self.band}: the noise of good samples is no number: of subscan {on}, channel "
                f"{channels.start + channel}, pixel {at.pixel[receiver, array]} sigma is "
                f"{noise[channel, receiver, array]:g} K and t_sys {t_sys[channel, receiver, array]:g} K; expected "
                f"finite ones. Look at freq_res ({self.band.channel_width:g} Hz), exptime ({at.exptime[on]:g} s) and "
                "the parameters of the step atmosphere"
            )

    def _needed_subscans(self) -> list[set[int]]:
        """Zero-based subscans whose dumps go into each spectrum."""
        pairing = self.band.require_pairing()
        needed = []
        for pair in zip(*self.band.outputs, strict=True):
            ons = [on for on in pair if on >= 0]
            subscans = set(pairing.on[ons].tolist())
            if pairing.per_dump:
                subscans |= {self._off_of(on) for on in ons}
            needed.append(subscans)
        return needed

    def _off_of(self, on: int) -> int:
        """Zero-based subscan of the OFF in the reduction group of an ON."""
        pairing = self.band.require_pairing()
        return int(pairing.off[pairing.time_weights[on].argmax()])

    def _spectra(self, channels: slice, out: int, read: dict[int, Samples]) -> Spectra:
        """Compute T_A*, flags and missing samples of one spectrum for some channels."""
        first, second = (int(ons[out]) for ons in self.band.outputs)
        one = self._of_on(channels, first, read, 0)
        if second < 0:
            return one
        two = self._of_on(channels, second, read, 1)
        missing = one[2] if two[2] is None else two[2] if one[2] is None else one[2] | two[2]
        return *couple_beams(one[:2], two[:2]), missing

    def _memory(self, shape: tuple[int, ...], beam: int) -> Floats:
        """Return the buffer for the spectra of a beam, reused for every block of a thread.

        Reuse pays: page faults of fresh memory take as long as the calculation.
        """
        key = threading.get_ident(), beam
        if key not in self._own or self._own[key].shape != shape:
            self._own[key] = np.empty(shape)
        return self._own[key]

    def _of_on(self, channels: slice, on: int, read: dict[int, Samples], beam: int) -> Spectra:
        """Compute T_A*, flags and missing samples of one ON; record its valid dumps."""
        band, calibration = self.band, self.band.require_calibration()
        subscan = int(band.require_pairing().on[on])
        result = antenna_temperature(
            self._level(read[subscan], subscan, channels),
            self._reference(channels, on, read),
            calibration.factor[channels, ..., on],
            calibration.bad_channel[channels, ..., on],
            self._memory(read[subscan].shape, beam),
        )
        missing = result[2]
        row = channels.start // self.step
        self.valid[row, :, on] = True if missing is None else ~missing.all(axis=(0, 2, 3))
        return result

    def _bad(self, channels: slice, out: int) -> NDArray[np.bool_]:
        """Find the bad channels of one spectrum."""
        bad = self.band.require_calibration().bad_channel
        of_ons = [bad[channels, ..., on[out]] for on in self.band.outputs if on[out] >= 0]
        return np.asarray(np.logical_or.reduce(of_ons))

    def _level(self, counts: Samples, subscan: int, channels: slice) -> Samples:
        """Correct counts for drift; unchanged without drift, since the zero level cancels."""
        drifts = self.band.gain is not None and self.band.gain.drift is not None
        return self.band.corrected(counts, subscan, channels) if drifts else counts

    def _reference(self, channels: slice, on: int, read: dict[int, Samples]) -> Floats:
        """Return the reference counts of an ON: one per dump, (c, D, R, A), or means, (c, R, A)."""
        pairing = self.band.require_pairing()
        if pairing.per_dump:
            off = self._off_of(on)
            return np.asarray(self._level(read[off], off, channels), np.float64)
        weights = pairing.weights[:, :, on]
        used = np.flatnonzero(weights.any(axis=(0, 1)))
        means = [self._level(pairing.off_mean[channels, ..., k], int(pairing.off[k]), channels) for k in used]
        if not means:
            return np.full((*pairing.off_mean[channels].shape[:3],), np.nan)
        return weighted_sum(means, weights[..., used])

    def _chop_arrays(self) -> list[list[ArrayWriter]]:
        """Allocate arrays for the differences of chop phases 1 … D - 1 of each spectrum."""
        chop = self.band.chop
        if chop is None:
            return []
        pairing, (n_channels, n_dumps, *pixels, _) = self.band.require_pairing(), self.counts.shape
        on = pairing.on[chop.ons]
        attributes = {
            "on_indices": on.tolist(),
            "on_mjds": self.band.coordinates.mjd[on].tolist(),
            "n_spectra_per_on": [n_dumps - 1] * on.size,
        }
        signal, pixel = self.band.require_loads().sidebands.signal, self.band.coordinates.pixel
        create_diagnostic(self.group, "skychopdiff", signal, pixel, self.step, attributes)
        names = [[f"skychopdiff/spectrum_{subscan}_{j}" for j in range(1, n_dumps)] for subscan in on]
        shape, chunks = (n_channels, *pixels), (min(self.step, n_channels), *pixels)
        present = {"signal_freqs", "pixel"}
        return [[create_array(self.group, name, shape, chunks, present) for name in row] for row in names]

    def _write_chop(self, arrays: list[ArrayWriter], channels: slice, out: int, read: dict[int, Samples]) -> None:
        """Write the differences of chop phases of some channels."""
        ons = [int(on[out]) for on in self.band.outputs if on[out] >= 0]
        with self.clock("calibrate"):
            sky = sum(self._reference(channels, on, read) for on in ons) / len(ons)
            factor = self.band.require_calibration().factor[channels, ..., ons[0]]
            differences = chop_phase_differences(np.asarray(sky), factor)
        with self.clock("write"):
            for j, array in enumerate(arrays):
                array.write_chunk((channels.start // self.step, 0, 0), differences[:, j])


def _sharing(needed: list[set[int]], subscans_in_chunk: int) -> list[list[int]]:
    """Group the spectra, by index, that need counts of the same chunk."""
    groups: list[tuple[set[int], list[int]]] = []
    for out, subscans in enumerate(needed):
        columns = {subscan // subscans_in_chunk for subscan in subscans}
        touching = [group for group in groups if group[0] & columns]
        groups = [group for group in groups if not group[0] & columns]
        for other in touching:
            columns |= other[0]
        groups.append((columns, sorted(sum((members for _, members in touching), [out]))))
    return sorted(members for _, members in groups)
