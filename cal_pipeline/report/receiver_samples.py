"""Spectra and flags of an L1 scan, read once by blocks: averages of pixels, flags in time, strength along the track."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.shared_noise import Averaged, SharedNoiseMean, combine_means

Floats = NDArray[np.float64]

_MOST_ROWS = 512
"""Rows of the waterfall of flags; dumps in a row are merged."""

_MOST_POINTS = 2**14
"""Points along the tracks of all pixels; consecutive dumps are averaged."""

_BINS = 256
"""Bins of channels in which flags are counted and the strength along the track is kept."""

ANY = "any flag"
"""Name of the waterfall of all flags."""


@dataclass(frozen=True)
class SampleReaders:
    """Arrays of a band that are read block by block; None where they are not known.

    Parameters
    ----------
    spectra, flags : ArrayReader
        Arrays [C,D,R,A,S].
    sigma : ArrayReader
        Array [C,R,A,S].
    share, off : ndarray, shape (K, P, S)
        Share of each OFF in the noise, and its subscan; NaN and -1 where they are not known.
    per_dump : bool
        Whether a dump shares noise with its namesakes alone.
    """

    spectra: ArrayReader
    flags: ArrayReader
    sigma: ArrayReader
    share: Floats
    off: NDArray[np.int64]
    per_dump: bool


@dataclass
class ScanSamples:
    """Figures of the samples of a band.

    Parameters
    ----------
    mean : Averaged
        Average of each pixel over dumps and ONs, arrays (C, P).
    in_time : dict
        Share of samples with a flag, (rows, bins), by its name; rows are dumps in the order of time.
    by_pixel : dict
        The same, (P, bins).
    per_row, per_bin : int
        Dumps of a row, and channels of a bin.
    strength : ndarray, shape (bins, P, S, groups)
        Mean T_A* of bins of channels for groups of consecutive dumps [K].
    per_group : int
        Dumps of a group.
    bad : ndarray of bool, shape (C, P)
        Channels that no dump has without the flag BAD_CHANNEL.
    """

    mean: Averaged
    in_time: dict[str, Floats]
    by_pixel: dict[str, Floats]
    per_row: int
    per_bin: int
    strength: Floats
    per_group: int
    bad: NDArray[np.bool_]

    @property
    def average(self) -> Averaged:
        """Average over all pixels, arrays (C,)."""
        return combine_means(self.mean)


@dataclass
class _Sums:
    """Sums of a band that grow block by block."""

    shape: tuple[int, int, int, int]
    per_row: int = field(init=False)
    per_bin: int = field(init=False)
    per_group: int = field(init=False)
    in_time: dict[str, Floats] = field(default_factory=dict)
    by_pixel: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_channels, n_dumps, n_pixels, n_ons = self.shape
        self.per_row = -(-n_dumps * n_ons // _MOST_ROWS)
        self.per_bin = -(-n_channels // _BINS)
        self.per_group = min(max(-(-n_dumps * n_pixels * n_ons // _MOST_POINTS), 1), max(n_dumps, 1))
        groups = (-(-n_channels // self.per_bin), n_pixels, n_ons, -(-n_dumps // self.per_group))
        self.bad = np.ones((n_channels, n_pixels), np.bool_)
        self.total, self.number = np.zeros(groups), np.zeros(groups, np.int64)

    def add_strength(self, samples: NDArray[Any], start: int, on: int) -> None:
        """Add T_A* (c, D, P) of an ON, NaN where it does not count, from channel `start` on."""
        bins, channels = _edges(start, len(samples), self.per_bin)
        _, dumps = _edges(0, samples.shape[1], self.per_group)
        known = np.isfinite(samples)
        if known.all():
            lengths = (
                np.diff(np.append(edges, end)) for edges, end in zip((channels, dumps), samples.shape, strict=False)
            )
            self.number[bins, :, on, :] += np.multiply.outer(*lengths)[:, None]
            counted: list[tuple[NDArray[Any], NDArray[Any]]] = [(self.total, samples)]
        else:
            counted = [(self.total, np.where(known, samples, 0.0)), (self.number, known)]
        for sums, values in counted:
            # Sums of booleans would be booleans.
            binned = np.add.reduceat(values, channels, axis=0, dtype=sums.dtype)
            sums[bins, :, on, :] += np.add.reduceat(binned, dumps, axis=1).transpose(0, 2, 1)

    def add_flags(self, flags: NDArray[Any], start: int, on: int) -> None:
        """Count flags (c, D, P) of an ON, from channel `start` on."""
        present = int(np.bitwise_or.reduce(flags, axis=None)) if flags.size else 0
        is_bad = ((flags & Flag.BAD_CHANNEL) != 0).all(axis=1) if present & Flag.BAD_CHANNEL else False
        self.bad[start : start + len(flags)] &= is_bad
        if not present:
            return
        bits = {ANY: present} | {str(flag.name): int(flag) for flag in Flag if present & flag}
        bins, channels = _edges(start, len(flags), self.per_bin)
        rows, dumps = _edges(on * flags.shape[1], flags.shape[1], self.per_row)
        n_channels, n_dumps, n_pixels, n_ons = self.shape
        n_bins = -(-n_channels // self.per_bin)
        for name, bit in bits.items():
            hit = (flags & bit) != 0
            of_time = self.in_time.setdefault(name, np.zeros((-(-n_dumps * n_ons // self.per_row), n_bins)))
            of_pixel = self.by_pixel.setdefault(name, np.zeros((n_pixels, n_bins)))
            in_bins = np.add.reduceat(hit, channels, axis=0, dtype=np.int64)
            of_time[rows, bins] += np.add.reduceat(in_bins.sum(axis=2), dumps, axis=1).T
            of_pixel[:, bins] += in_bins.sum(axis=1).T

    def shares(self) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Divide the counts of flags by the numbers of samples."""
        n_channels, n_dumps, n_pixels, n_ons = self.shape
        names = [name for name in (ANY, *(str(flag.name) for flag in Flag)) if name in self.in_time]
        width = _sizes(n_channels, self.per_bin)
        height = _sizes(n_dumps * n_ons, self.per_row)[:, None]
        return (
            {name: self.in_time[name] / (width * height * n_pixels) for name in names},
            {name: self.by_pixel[name] / (width * n_dumps * n_ons) for name in names},
        )


def read_samples(readers: SampleReaders) -> ScanSamples:
    """Read the samples of a band, block by block, each once.

    Parameters
    ----------
    readers : SampleReaders
        The arrays.

    Returns
    -------
    ScanSamples

    Raises
    ------
    DataReadError
        If a block cannot be read.
    """
    n_channels, n_dumps, n_receivers, n_arrays, n_ons = readers.spectra.shape
    n_pixels = n_receivers * n_arrays
    sums = _Sums((n_channels, n_dumps, n_pixels, n_ons))

    def read_block(channels: slice) -> Averaged:
        length = channels.stop - channels.start
        sigma = readers.sigma.read((channels, *[slice(None)] * 3)).reshape(length, n_pixels, n_ons).astype(np.float64)
        mean = SharedNoiseMean(length, n_pixels, readers.per_dump)
        for on in range(n_ons):
            region = (channels, slice(0, n_dumps), slice(0, n_receivers), slice(0, n_arrays), slice(on, on + 1))
            samples, flags = (
                np.ascontiguousarray(reader.read(region)).reshape(length, n_dumps, n_pixels)
                for reader in (readers.spectra, readers.flags)
            )
            if flags.any():
                samples = np.where(flags == 0, samples, np.nan)
            of_on = np.where(sigma[..., on] > 0.0, sigma[..., on], np.nan)
            mean.add(samples, of_on, 1.0 / of_on**2, readers.share[..., on], readers.off[..., on])
            sums.add_flags(flags, channels.start, on)
            sums.add_strength(samples, channels.start, on)
        return mean.averaged()

    rows = readers.spectra.chunks[0]
    # Blocks that share a bin of channels must not add to it at the same time.
    shared = 0 if rows % sums.per_bin else n_channels * n_dumps * n_pixels * n_ons
    means = map_in_threads(read_block, _blocks(n_channels, rows), shared)
    in_time, by_pixel = sums.shares()
    strength = np.divide(sums.total, sums.number, out=np.full(sums.total.shape, np.nan), where=sums.number > 0)
    joined = Averaged(*(np.concatenate(arrays) for arrays in zip(*means, strict=True)))
    return ScanSamples(joined, in_time, by_pixel, sums.per_row, sums.per_bin, strength, sums.per_group, sums.bad)


def find_line(samples: ScanSamples) -> tuple[slice, bool]:
    """Find the bins of the strongest line in the average spectrum.

    Parameters
    ----------
    samples : ScanSamples
        Samples of a band.

    Returns
    -------
    bins : slice
        Bins of the line; all bins where there is none of five times the scatter of the bins.
    is_line : bool
        Whether there is a line.
    """
    spectrum = samples.average.mean
    starts = np.arange(0, len(spectrum), samples.per_bin)
    known = np.isfinite(spectrum)
    number = np.add.reduceat(known, starts, dtype=np.int64)
    total = np.add.reduceat(np.where(known, spectrum, 0.0), starts)
    binned = np.divide(total, number, out=np.full(len(starts), np.nan), where=number > 0)
    binned = binned - _median(binned)
    scatter = 1.4826 * _median(np.abs(binned))
    strong = np.nan_to_num(np.abs(binned))
    peak = int(strong.argmax())
    if not (scatter > 0.0 and strong[peak] > 5.0 * scatter):
        return slice(0, len(binned)), False
    of_line = strong > max(0.25 * strong[peak], 2.5 * scatter)
    first, last = peak, peak + 1
    while first > 0 and of_line[first - 1]:
        first -= 1
    while last < len(binned) and of_line[last]:
        last += 1
    return slice(first, last), True


def measure_strength(samples: ScanSamples, line: slice) -> Floats:
    """Average T_A* over the bins of a line, less the median of all other bins.

    Parameters
    ----------
    samples : ScanSamples
        Samples of a band.
    line : slice
        Bins of the line; of all bins, nothing is subtracted.

    Returns
    -------
    ndarray, shape (P, S, groups)
        Strength for groups of consecutive dumps; NaN without a sample [K].
    """
    strength = samples.strength
    rest = np.concatenate([strength[: line.start], strength[line.stop :]])
    inside = strength[line]
    known = np.isfinite(inside)
    number = known.sum(axis=0)
    mean = np.divide(
        np.where(known, inside, 0.0).sum(axis=0), number, out=np.full(number.shape, np.nan), where=number > 0
    )
    found: Floats = mean - _median_along(rest) if len(rest) else mean
    return found


def _median_along(values: Floats) -> Floats:
    """Compute the medians of finite values along the first axis; NaN without any."""
    ordered = np.sort(values, axis=0)  # NaN comes last.
    number = np.isfinite(values).sum(axis=0)
    low, high = np.maximum(number - 1, 0) // 2, np.minimum(number // 2, len(values) - 1)
    middle = [np.take_along_axis(ordered, index[None], axis=0)[0] for index in (low, high)]
    return np.where(number > 0, (middle[0] + middle[1]) / 2.0, np.nan)


def _median(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _edges(start: int, length: int, per: int) -> tuple[slice, NDArray[np.int64]]:
    """Return the bins that a range touches, and where each begins in it."""
    first, last = start // per, (start + length - 1) // per
    edges = np.arange(first, last + 1) * per - start
    return slice(first, last + 1), np.maximum(edges, 0)


def _sizes(length: int, per: int) -> NDArray[np.int64]:
    """Return the numbers of elements in bins."""
    return np.diff(np.append(np.arange(0, length, per), length))
