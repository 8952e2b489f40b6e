"""Means and noise of the OFFs, for the step ``prepare``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.heterodyne.counts import Block, Counts
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.dump_noise import (
    change_of_dumps,
    dump_radiometer,
    find_noisy,
    sum_squared_changes,
)
from cal_pipeline.heterodyne.physics.spikes import average_without_spikes, blank_spikes, radiometer_noise
from cal_pipeline.heterodyne.scan import Band

Floats = NDArray[np.float64]

FEW_SAMPLES_OF_OFF = 2**22
"""Samples of an OFF up to which a thread takes it as a whole; beyond, threads share each OFF."""

MOST_HELD_SAMPLES = 2**23
"""Samples of an OFF in memory: the noise of a channel is known once the other channels are read."""

FEWEST_HELD_DUMPS = 16
"""Dumps of an OFF that are held however many samples they are."""

CHANNELS_OF_MEDIAN = 512
"""Channels that tell by how much all of them changed; their median has 6 % of the noise of one."""


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


class OffSurvey:
    """Means of the OFFs, and their noise from dump to dump.

    Parameters
    ----------
    band : Band
        The band.
    counts : Counts
        Its counts.
    off : ndarray of int, shape (O,)
        Zero-based subscans of the OFFs.
    clip_sigma : float
        Distance from the median beyond which a sample is a spike; 0: none is [sigma].
    with_noise : bool
        Whether to find out the noise, which takes the loads of the band.
    """

    def __init__(self, band: Band, counts: Counts, off: NDArray[np.int64], clip_sigma: float, with_noise: bool) -> None:
        self._band, self._counts, self._off, self._clip_sigma = band, counts, off, clip_sigma
        n_channels, n_dumps, *pixels, _ = counts.shape
        self._noise = radiometer_noise(band.channel_width, band.coordinates.exptime[off])
        self._column = {int(subscan): index for index, subscan in enumerate(off)}
        self._means = _empty_means(counts, off)
        self._spikes: list[NDArray[np.int64]] = [np.zeros(pixels, np.int64)]
        self._gamma: Floats | None = None
        if with_noise and band.loads is not None and n_dumps > 1:
            self._gamma = np.where(band.bad_channel, np.nan, band.loads.solution.gamma)
            self._stride = max(n_channels // CHANNELS_OF_MEDIAN, 1)
            self._held = min(n_dumps, max(MOST_HELD_SAMPLES // (n_channels * int(np.prod(pixels))), FEWEST_HELD_DUMPS))
            self._squares = np.empty(self._means.mean.shape, order="F")
            self._number = np.empty(self._means.mean.shape, np.int32, order="F")

    def run(self) -> tuple[OffMeans, DumpNoise]:
        """Read the OFFs, and work out their means and their noise."""
        counts, off = self._counts, self._off.tolist()
        groups = [off] if self._gamma is None else counts.groups(off)
        with counts.read_ahead(block for group in groups for block in counts.blocks(group)):
            return self._work_on(groups)

    def _work_on(self, groups: list[list[int]]) -> tuple[OffMeans, DumpNoise]:
        """Work on the OFFs, those of a chunk after the other if their noise is wanted."""
        counts, gamma = self._counts, self._gamma
        samples = int(np.prod(counts.shape))
        if gamma is None:
            map_in_threads(self._average, counts.blocks(groups[0]), samples)
            return self._finished_means(), DumpNoise()
        # The sums over a long OFF are shared by threads; a short one is the work of a single thread.
        if len(groups[0]) * int(np.prod(counts.shape[:4])) <= FEW_SAMPLES_OF_OFF:
            map_in_threads(lambda group: self._measure_noise(group, gamma), groups, samples)
        else:
            for group in groups:
                self._measure_noise(group, gamma)
        return self._finished_means(), self._compare_noise(gamma)

    def _finished_means(self) -> OffMeans:
        """Return the means, with the number of spikes."""
        spikes = np.sum(self._spikes, axis=0) if self._clip_sigma else None
        return self._means._replace(spikes=spikes)

    def _average(self, block: Block) -> NDArray[Any]:
        """Average a block of counts, and return them without spikes."""
        channels, members = block
        columns = [self._column[subscan] for subscan in members]
        counts = self._counts.read(channels, members)
        mean, dumps, spikes = average_without_spikes(counts, self._clip_sigma, self._noise[columns])
        _put(self._means, channels, columns, mean, dumps)
        if spikes is not None:
            # Threads append; they would lose what others add to a sum.
            self._spikes.append(spikes.sum(axis=(0, 1, 4)))
        return blank_spikes(counts, spikes)

    def _measure_noise(self, subscans: list[int], gamma: Floats) -> None:
        """Average the OFFs of a chunk, and sum the squared differences of their dumps."""
        n_channels, _, *pixels, _ = self._counts.shape
        samples = len(subscans) * int(np.prod(self._counts.shape[:4]))
        some = range(0, n_channels, self._stride)
        changes = np.empty((len(subscans), self._held - 1, *pixels, len(some)))

        def average(block: Block) -> tuple[slice, NDArray[Any]]:
            channels, counts = block[0], self._average(block)
            if self._held < counts.shape[1]:
                counts = counts[:, : self._held].copy()
            own = slice(-channels.start % self._stride, None, self._stride)
            place = slice(-(-channels.start // self._stride), -(-channels.stop // self._stride))
            for index in range(len(subscans)):
                changes[index, ..., place] = change_of_dumps(counts[own, ..., index], gamma[channels][own])
            return channels, counts

        def square(part: tuple[slice, NDArray[Any]]) -> None:
            channels, counts = part
            for index, subscan in enumerate(subscans):
                place = (channels, ..., self._column[subscan])
                found = sum_squared_changes(counts[..., index], gamma[channels], common[index])
                self._squares[place], self._number[place] = found

        held = map_in_threads(average, self._counts.blocks(subscans), samples)
        common = median_of_finite(changes, axis=-1)
        map_in_threads(square, held, samples)

    def _compare_noise(self, gamma: Floats) -> DumpNoise:
        """Compare the noise of all OFFs with the radiometer equation, and the channels with each other."""
        zero, level = self._band.require_loads().zero, self._means.mean
        if zero is not None:
            level = level - zero[..., None]
        ratio, number = dump_radiometer(self._squares, self._number, level, gamma, self._noise)
        return DumpNoise(ratio, find_noisy(ratio, number))


def _empty_means(counts: Counts, off: NDArray[np.int64]) -> OffMeans:
    """Make room for the means of OFFs."""
    n_channels, _, *pixels, _ = counts.shape
    shape = (n_channels, *pixels, off.size)
    return OffMeans(np.empty(shape, order="F"), np.empty(shape, np.int32, order="F"))


def _put(means: OffMeans, channels: slice, columns: list[int], mean: Floats, dumps: NDArray[np.integer[Any]]) -> None:
    """Enter means and numbers (c, R, A, columns) of a block."""
    for index, column in enumerate(columns):
        means.mean[channels, ..., column] = mean[..., index]
        means.dumps[channels, ..., column] = dumps[..., index]
