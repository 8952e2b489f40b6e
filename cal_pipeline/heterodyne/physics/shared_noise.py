"""Noise that calibrated spectra share: that of their reference, and what it does to averages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, sum_of_valid

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

FEWEST_SLOTS = 2
"""Smallest length of the axis of the OFFs in a reference: an interpolation takes two."""


class ReferenceNoise(NamedTuple):
    """Origin of the noise of a reference.

    Parameters
    ----------
    share : ndarray, shape (K, R, A, S)
        Part of the variance of a dump that is due to each OFF; 0 in a slot without an OFF.
    off : ndarray of int, shape (K, R, A, S)
        OFF in each slot; -1 without one.

    Examples
    --------
    A tenth of the variance of an ON in one pixel comes from its OFF, the first of the scan:

    >>> noise = ReferenceNoise(np.array([0.1, 0.0]).reshape(2, 1, 1, 1), np.array([0, -1]).reshape(2, 1, 1, 1))
    >>> f"{1.0 - noise.share.sum():.1f} is its own"
    '0.9 is its own'
    """

    share: Floats
    off: Integers


def mean_number(dumps: NDArray[np.integer]) -> Floats:
    """Average the number of valid dumps over the channels that have any.

    Parameters
    ----------
    dumps : ndarray of int, shape (C, R, A, O)
        Number of dumps in the mean of each OFF.

    Returns
    -------
    ndarray, shape (R, A, O)
        Mean number; NaN in a pixel without a valid dump.

    Examples
    --------
    >>> mean_number(np.array([4, 4, 0, 2]).reshape(4, 1, 1, 1)).item()  # (4 + 4 + 2)/3
    3.3333333333333335
    """
    return mean_from_sum(dumps.sum(axis=0, dtype=np.float64), np.count_nonzero(dumps, axis=0))


def share_of_reference(variance: Floats, weights: Floats, on_time: Floats) -> ReferenceNoise:
    """Compute which part of the variance of a dump each OFF of its reference contributes.

    Parameters
    ----------
    variance : ndarray, shape (R, A, O)
        Variance 1/(n_k t_k) of each mean OFF, relative to T_sys²/B [1/s].
    weights : ndarray, shape (R, A, S, O)
        Weights a_k of the OFFs in the reference of each ON.
    on_time : ndarray, shape (S,)
        Integration time t_on of a dump of each ON [s].

    Returns
    -------
    ReferenceNoise
        Shares f_k = a_k²/(n_k t_k)/[1/t_on + Σ_k a_k²/(n_k t_k)] and the positions of the OFFs, in
        their order, in as many slots as the longest reference has OFFs, at least two.

    Notes
    -----
    The terms are those of the radiometer equation of
    :func:`~cal_pipeline.heterodyne.physics.noise.expected_noise`; the rest, 1 - Σ_k f_k, is the noise
    of the dump itself. T_sys at the OFF is taken to be that at the ON.

    Examples
    --------
    An ON in the middle between two OFFs of 4 s, in dumps of 1 s: 1/4·1/4 over 1 + 2/16 each:

    >>> noise = share_of_reference(np.full((1, 1, 2), 0.25), np.full((1, 1, 1, 2), 0.5), np.ones(1))
    >>> noise.share.ravel().round(4).tolist(), noise.off.ravel().tolist()
    ([0.0556, 0.0556], [0, 1])
    """
    n_receivers, n_arrays, n_ons, _ = weights.shape
    longest = int(np.count_nonzero(weights, axis=-1).max(initial=0))
    shape = (max(longest, FEWEST_SLOTS), n_receivers, n_arrays, n_ons)
    noise = ReferenceNoise(np.zeros(shape), np.full(shape, -1))
    for on in range(n_ons):
        used = np.flatnonzero(weights[:, :, on].any(axis=(0, 1)))
        part = np.zeros((n_receivers, n_arrays, used.size))
        weight = weights[:, :, on, used]
        np.multiply(weight**2, variance[..., used], out=part, where=weight > 0.0)
        share = part / (1.0 / on_time[on] + part.sum(axis=-1, keepdims=True))
        _fill_slots(noise, on, share, np.broadcast_to(used, share.shape), weight > 0.0)
    return noise


def _fill_slots(noise: ReferenceNoise, on: int, share: Floats, off: Integers, present: Mask) -> None:
    """Put OFFs (R, A, k) of an ON into the first slots; those that are absent in a pixel are left out."""
    # A stable sort of "absent" moves those that are present to the front, in their order.
    order = np.argsort(~present, axis=-1, kind="stable")[..., : len(noise.off)]
    for slot in range(order.shape[-1]):
        taken = order[..., slot : slot + 1]
        here = np.take_along_axis(present, taken, axis=-1)[..., 0]
        noise.share[slot, ..., on] = np.where(here, np.take_along_axis(share, taken, axis=-1)[..., 0], 0.0)
        noise.off[slot, ..., on] = np.where(here, np.take_along_axis(off, taken, axis=-1)[..., 0], -1)


def couple_shares(
    noise: ReferenceNoise, sigma: NDArray[np.float32], first: Integers, second: Integers
) -> ReferenceNoise:
    """Compute the shares of the OFFs in the noise of merged beams.

    Parameters
    ----------
    noise : ReferenceNoise, shapes (K, R, A, S)
        Shares of the OFFs in the noise of each ON.
    sigma : ndarray of float32, shape (C, R, A, S)
        Expected noise of a dump of each ON [K].
    first, second : ndarray of int, shape (S_out,)
        Indices of the ONs that are averaged; -1 for one without a partner.

    Returns
    -------
    ReferenceNoise
        Those of the OFFs of both beams, times sigma_A²/(sigma_A² + sigma_B²) and
        sigma_B²/(sigma_A² + sigma_B²), the medians over the channels.

    Examples
    --------
    Two beams of equal noise, half of which is that of their OFFs:

    >>> shares = np.array([[0.5, 0.5], [0.0, 0.0]]).reshape(2, 1, 1, 2)
    >>> offs = np.array([[3, 5], [-1, -1]]).reshape(2, 1, 1, 2)
    >>> sigma = np.ones((1, 1, 1, 2), np.float32)
    >>> merged = couple_shares(ReferenceNoise(shares, offs), sigma, np.array([0]), np.array([1]))
    >>> merged.share.ravel().tolist(), merged.off.ravel().tolist()
    ([0.25, 0.25], [3, 5])
    """
    n_slots, *pixels, _ = noise.off.shape
    shape = (2 * n_slots, *pixels, first.size)
    joined = ReferenceNoise(np.zeros(shape), np.full(shape, -1))
    for out, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        share, off = noise.share[..., one], noise.off[..., one]
        if other >= 0:
            part = _part_of_variance(sigma[..., one], sigma[..., other])
            share = np.concatenate([part * share, (1.0 - part) * noise.share[..., other]])
            off = np.concatenate([off, noise.off[..., other]])
        _fill_slots(joined, out, np.moveaxis(share, 0, -1), np.moveaxis(off, 0, -1), np.moveaxis(off, 0, -1) >= 0)
    used = np.flatnonzero((joined.off >= 0).any(axis=(1, 2, 3)))
    filled = slice(max(FEWEST_SLOTS, used.size))
    return ReferenceNoise(joined.share[filled], joined.off[filled])


def _part_of_variance(sigma: NDArray[np.float32], other: NDArray[np.float32]) -> Floats:
    """Compute sigma²/(sigma² + other²), the median over the channels (C, R, A); half where unknown."""
    variance, rest = sigma.astype(np.float64) ** 2, other.astype(np.float64) ** 2
    part = median_of_finite(variance / (variance + rest), axis=0)
    return np.where(np.isfinite(part), part, 0.5)


class Averaged(NamedTuple):
    """Weighted means of samples.

    Parameters
    ----------
    mean : ndarray, shape (C, P) or (C,)
        Weighted mean; NaN without a sample.
    sigma : ndarray, shape of `mean`
        Its 1-sigma error; NaN without a sample, or where the shares are unknown.
    weight : ndarray, shape of `mean`
        Sum of the weights.
    number : ndarray of int, shape of `mean`
        Number of samples.

    Examples
    --------
    >>> Averaged(np.array([1.5]), np.array([0.1]), np.array([400.0]), np.array([4])).sigma.tolist()
    [0.1]
    """

    mean: Floats
    sigma: Floats
    weight: Floats
    number: Integers


class SharedNoiseMean:
    r"""Weighted mean over the dumps of several ONs, with the error that the noise of their OFFs leaves.

    Parameters
    ----------
    n_channels, n_pixels : int
        Shape (C, P) of the means.
    per_dump : bool
        Whether dump d of an ON shares noise with dump d of other ONs (chopped), instead of all dumps
        with each other.

    Notes
    -----
    The noise of sample i, of ON s, is the sum of its own, of variance sigma_s² (1 - Σ_o f_so), and
    of that of its OFFs o, of variance sigma_s² f_so, which all samples with this OFF share. The mean
    Σ w_i T_i/Σ w_i has the variance

    .. math::

       \frac{1}{(\sum_i w_i)^2}\left[\sum_i w_i^2 \sigma_i^2 \Bigl(1 - \sum_o f_{io}\Bigr)
       + \sum_o \Bigl(\sum_i w_i \sigma_i \sqrt{f_{io}}\Bigr)^2\right];

    where dumps share noise only with their namesakes, the sum over i in the last term goes over the
    samples of one dump, and the square is summed over the dumps.

    Examples
    --------
    Four dumps of 1 K noise, half of it the OFF's: the error is sqrt(1/2 + 1/8) K instead of 1/2 K:

    >>> mean = SharedNoiseMean(1, 1, per_dump=False)
    >>> one = np.ones((1, 1))
    >>> number = mean.add(np.array([1.0, 2.0, 3.0, np.nan, 2.0]).reshape(1, 5, 1), one, one, 0.5 * one, 0 * one)
    >>> mean.averaged().mean.item(), round(mean.averaged().sigma.item() ** 2, 3), mean.averaged().number.item()
    (2.0, 0.625, 4)
    """

    def __init__(self, n_channels: int, n_pixels: int, per_dump: bool) -> None:
        self._per_dump = per_dump
        shape = (n_channels, n_pixels)
        self._sum, self._weight, self._variance = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._number = np.zeros(shape, np.int64)
        self._common: dict[int, Floats] = {}

    def add(
        self,
        samples: NDArray[np.floating],
        sigma: Floats,
        weight: Floats,
        share: Floats,
        off: NDArray[np.integer],
    ) -> Integers:
        """Add the dumps of an ON.

        Parameters
        ----------
        samples : ndarray, shape (C, D, P)
            T_A*, NaN where a sample does not count [K].
        sigma : ndarray, shape (C, P)
            Expected noise of a dump [K].
        weight : ndarray, shape (C, P)
            Weight of a dump.
        share : ndarray, shape (K, P)
            Share of the OFF in each slot of the variance of a dump; NaN if unknown.
        off : ndarray of int, shape (K, P)
            OFF in each slot; -1 without one.

        Returns
        -------
        ndarray of int, shape (C, P)
            Number of samples that count.
        """
        total, number = sum_of_valid(samples, axis=1)
        # A bad channel has no sample, and neither noise nor weight.
        known = number > 0
        weight = np.where(known, weight, 0.0)
        scaled = weight * np.where(known, sigma, 0.0)
        self._sum += weight * np.where(known, total, 0.0)
        self._weight += weight * number
        self._number += number
        self._variance += number * scaled**2 * (1.0 - share.sum(axis=0))
        for slot_share, slot_off in zip(np.sqrt(share), off, strict=True):
            for one in np.unique(slot_off[slot_off >= 0]).tolist():
                amplitude = scaled * np.where(slot_off == one, slot_share, 0.0)
                self._add_common(one, amplitude, number, samples)
        return number

    def _add_common(self, off: int, amplitude: Floats, number: Integers, samples: NDArray[np.floating]) -> None:
        """Add the noise of an OFF, which is added before it is squared."""
        part = np.isfinite(samples) * amplitude[:, None] if self._per_dump else number * amplitude
        if off in self._common:
            self._common[off] += part
        else:
            self._common[off] = part

    def finish(self, off: int) -> None:
        """Square the noise of an OFF that no further ON uses, so that it takes no memory any more."""
        if off in self._common:
            squares = self._common.pop(off) ** 2
            self._variance += squares.sum(axis=1) if self._per_dump else squares

    def averaged(self) -> Averaged:
        """Return the means over what was added."""
        for off in list(self._common):
            self.finish(off)
        mean, sigma = _divide(self._sum, self._weight), _divide(np.sqrt(self._variance), self._weight)
        return Averaged(mean, sigma, self._weight, self._number)


def combine_means(parts: Averaged, axis: int = -1) -> Averaged:
    """Average means of independent noise, weighted like all their samples.

    Parameters
    ----------
    parts : Averaged
        Means, such as those of the pixels, shape (C, P).
    axis : int
        Axis to average over.

    Returns
    -------
    Averaged
        Σ W_p m_p/Σ W_p with the error sqrt(Σ W_p² sigma_p²)/Σ W_p, without the axis.

    Examples
    --------
    >>> ones = np.ones((1, 2))
    >>> both = combine_means(Averaged(np.array([[1.0, 2.0]]), 0.1 * ones, np.array([[3.0, 1.0]]), 4 * ones))
    >>> both.mean.item(), round(both.sigma.item(), 3)
    (1.25, 0.079)
    """
    counts = parts.weight > 0.0
    total = parts.weight.sum(axis=axis)
    mean = _divide(np.where(counts, parts.weight * parts.mean, 0.0).sum(axis=axis), total)
    variance = np.where(counts, (parts.weight * parts.sigma) ** 2, 0.0).sum(axis=axis)
    return Averaged(mean, _divide(np.sqrt(variance), total), total, parts.number.sum(axis=axis))


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; NaN where the denominator is 0."""
    quotient = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0.0)
    return quotient
