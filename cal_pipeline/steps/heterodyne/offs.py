"""Means and noise of the OFFs, for the step ``prepare``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.heterodyne.counts import Block, Counts
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, sum_of_valid
from cal_pipeline.heterodyne.physics.dump_noise import (
    change_of_dumps,
    dump_radiometer,
    find_noisy,
    sum_squared_changes,
)
from cal_pipeline.heterodyne.physics.quality import channel_stride
from cal_pipeline.heterodyne.physics.spikes import blank_spikes, radiometer_noise, sum_without_spikes
from cal_pipeline.heterodyne.scan import Band

Floats = NDArray[np.float64]

HELD_SAMPLES = 2**24
"""Counts of OFFs in memory at a time: the noise of a channel is known once the others are read [samples]."""

FEWEST_HELD_DUMPS = 16
"""Dumps of an OFF that are held however many samples they are."""


class OffMeans(NamedTuple):
    """Means of the OFFs.

    Parameters
    ----------
    mean : ndarray, shape (C, R, A, O)
        Mean counts of the valid dumps of each OFF, NaN without any [ct].
    dumps : ndarray of int, shape (C, R, A, O)
        Number of dumps in each mean.
    spikes : ndarray of int, shape (R, A), or None
        Number of samples that were left out as spikes; None if they were not looked for.
    """

    mean: Floats
    dumps: NDArray[np.int32]
    spikes: NDArray[np.int64] | None = None


class DumpNoise(NamedTuple):
    """Noise of the OFFs from dump to dump; all None where it is unknown.

    Parameters
    ----------
    ratio : ndarray, shape (C, R, A), or None
        Its variance over that of the radiometer equation.
    noisy : ndarray of bool, shape (C, R, A), or None
        Channels that are much noisier than the others of their pixel.
    """

    ratio: Floats | None = None
    noisy: NDArray[np.bool_] | None = None


def average_offs(counts: Counts, off: NDArray[np.int64]) -> OffMeans:
    """Compute mean and number of all valid dumps of each OFF."""
    means = _empty_means(counts, off)
    column = {int(subscan): index for index, subscan in enumerate(off)}

    def add(block: Block) -> None:
        channels, members = block
        sums, dumps = sum_of_valid(counts.read(channels, members), axis=1)
        _put(means, channels, [column[subscan] for subscan in members], sums, dumps)

    map_in_threads(add, counts.blocks(off.tolist()), int(np.prod(counts.shape)))
    return means


class OffSurvey:
    """Means of the OFFs without spikes, and their noise from dump to dump.

    Parameters
    ----------
    band : Band
        The band; the noise is found out if its loads are known.
    counts : Counts
        Its counts.
    off : ndarray of int, shape (O,)
        Zero-based subscans of the OFFs.
    clip_sigma : float
        Distance from the median beyond which a sample is a spike, 0 to look for none [sigma].
    """

    def __init__(self, band: Band, counts: Counts, off: NDArray[np.int64], clip_sigma: float) -> None:
        self._band, self._counts, self._off, self._clip_sigma = band, counts, off, clip_sigma
        n_channels, n_dumps, *pixels, _ = counts.shape
        self._noise = radiometer_noise(band.channel_width, band.coordinates.exptime[off])
        self._column = {int(subscan): index for index, subscan in enumerate(off)}
        self._means = _empty_means(counts, off)
        self._spikes: list[NDArray[np.int64]] = [np.zeros(pixels, np.int64)]
        self._gamma: Floats | None = None
        if band.loads is not None and n_dumps > 1:
            self._gamma = np.where(band.bad_channel, np.nan, band.loads.solution.gamma)
            self._stride = channel_stride(n_channels)
            self._held = min(n_dumps, max(HELD_SAMPLES // (n_channels * int(np.prod(pixels))), FEWEST_HELD_DUMPS))
            self._squares = np.empty(self._means.mean.shape, order="F")
            self._number = np.empty(self._means.mean.shape, np.int32, order="F")

    def run(self) -> tuple[OffMeans, DumpNoise]:
        """Read the OFFs, and work out their means and their noise."""
        counts, off = self._counts, self._off.tolist()
        samples = int(np.prod(counts.shape))
        if self._gamma is None:
            map_in_threads(self._average, counts.blocks(off), samples)
        else:
            for batch in counts.batches(off, HELD_SAMPLES, self._held):
                self._measure_noise(batch, self._gamma, samples)
        spikes = np.sum(self._spikes, axis=0) if self._clip_sigma else None
        return self._means._replace(spikes=spikes), self._compare_noise()

    def _average(self, block: Block) -> NDArray[Any]:
        """Average a block of counts, and return them without spikes."""
        channels, members = block
        columns = [self._column[subscan] for subscan in members]
        counts = self._counts.read(channels, members)
        if not self._clip_sigma:
            _put(self._means, channels, columns, *sum_of_valid(counts, axis=1))
            return counts
        sums, dumps, spikes = sum_without_spikes(counts, self._clip_sigma, self._noise[columns])
        _put(self._means, channels, columns, sums, dumps)
        if spikes is not None:
            # Threads append; they would lose what others add to a sum.
            self._spikes.append(spikes.sum(axis=(0, 1, 4)))
        return blank_spikes(counts, spikes)

    def _measure_noise(self, batch: list[int], gamma: Floats, samples: int) -> None:
        """Average a batch of OFFs, and sum the squared differences of their dumps."""
        n_channels, _, *pixels, _ = self._counts.shape
        some = range(0, n_channels, self._stride)
        changes = {subscan: np.empty((self._held - 1, *pixels, len(some))) for subscan in batch}

        def average(block: Block) -> tuple[Block, NDArray[Any]]:
            channels, members = block
            counts = self._average(block)
            if self._held < counts.shape[1]:
                counts = counts[:, : self._held].copy()
            first = -channels.start % self._stride
            place = slice(-(-channels.start // self._stride), -(-channels.stop // self._stride))
            of_some = gamma[channels][first :: self._stride]
            for index, subscan in enumerate(members):
                changes[subscan][..., place] = change_of_dumps(counts[first :: self._stride, ..., index], of_some)
            return block, counts

        def square(part: tuple[Block, NDArray[Any]]) -> None:
            (channels, members), counts = part
            for index, subscan in enumerate(members):
                place = (channels, ..., self._column[subscan])
                found = sum_squared_changes(counts[..., index], gamma[channels], common[subscan])
                self._squares[place], self._number[place] = found

        held = map_in_threads(average, self._counts.blocks(batch), samples)
        medians = map_in_threads(lambda subscan: median_of_finite(changes[subscan], axis=-1), batch, samples)
        common = dict(zip(batch, medians, strict=True))
        map_in_threads(square, held, samples)

    def _compare_noise(self) -> DumpNoise:
        """Compare the noise of all OFFs with the radiometer equation, and the channels with each other."""
        if self._gamma is None:
            return DumpNoise()
        zero, level = self._band.require_loads().zero, self._means.mean
        if zero is not None:
            level = level - zero[..., None]
        ratio, number = dump_radiometer(self._squares, self._number, level, self._gamma, self._noise)
        return DumpNoise(ratio, find_noisy(ratio, number))


def _empty_means(counts: Counts, off: NDArray[np.int64]) -> OffMeans:
    """Make room for the means of OFFs."""
    n_channels, _, *pixels, _ = counts.shape
    shape = (n_channels, *pixels, off.size)
    return OffMeans(np.empty(shape, order="F"), np.empty(shape, np.int32, order="F"))


def _put(means: OffMeans, channels: slice, columns: list[int], sums: Floats, dumps: NDArray[np.int64]) -> None:
    """Enter the means of a block, from sums and numbers (c, R, A, columns)."""
    of_block = mean_from_sum(sums, dumps)
    for index, column in enumerate(columns):
        means.mean[channels, ..., column] = of_block[..., index]
        means.dumps[channels, ..., column] = dumps[..., index]
