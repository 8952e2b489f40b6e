"""Power of the dumps of an ON relative to its reference: samples and dumps that no sky makes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.averages import mean_from_sum, sum_of_valid
from cal_pipeline.heterodyne.physics.rows import by_channel

Floats = NDArray[np.float64]

LOWEST, HIGHEST = -0.5, 2.0
"""Changes of power, relative to that of the reference, that a source or its reference may make: a planet that fills the
beam doubles the power, and leaves half of it where it is in the reference."""

BRIGHTEST = 2e4
"""T_A* that no source exceeds: the Sun has 6000 to 10000 K from radio to far infrared [K]."""

_ALIKE_AT_REST, _ALIKE_IN_MOTION = 0.9, 0.4
"""Part of its power that a bright source has in all dumps, and in the dump beside with two dumps a beam."""

_SIGMA = 10.0
_MOST_CHANNELS = 128
"""Channels that tell the power of a dump well enough."""

_FEWEST_CHANNELS = 16
"""Channels from which on dumps of equal counts are no chance."""

_FEWEST_DUMPS_OF_ROW = 4
"""Dumps from which on a row of a map begins or ends beside a source that it crosses."""


class PowerLimits(NamedTuple):
    """Limits of plausible T_A* in some channels.

    Parameters
    ----------
    low, high : ndarray of float32, shape (c, R·A)
        Limits [K]; beyond all numbers where the scale is unknown.
    alike : float
        Least part of a bright sample that a bright source leaves in the other dumps.

    Examples
    --------
    >>> limits = power_limits(np.full((2, 1, 1), 300.0), noise=0.0)
    >>> limits.high.tolist()
    [[600.0], [600.0]]
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    alike: float


def power_limits(system: Floats, noise: float, moves: bool = False) -> PowerLimits:
    """Compute the limits of plausible T_A*.

    Parameters
    ----------
    system : ndarray, shape (c, R, A)
        Power of the reference on the scale of T_A*, t_sys·gamma·factor [K]; NaN where unknown.
    noise : float
        Expected relative 1-sigma noise of a sample, 1/sqrt(B t).
    moves : bool
        Whether the telescope moves during an ON.

    Returns
    -------
    PowerLimits

    Examples
    --------
    >>> limits = power_limits(np.full((1, 1, 1), 300.0), noise=0.01)
    >>> limits.low.item(), limits.high.item()
    (-180.0, 630.0)
    """
    known = np.isfinite(system) & (system > 0.0)
    largest = math.sqrt(float(np.finfo(np.float32).max))
    margin = _SIGMA * noise if math.isfinite(noise) else np.inf
    low, high = (np.where(known, system * (limit + sign * margin), sign * np.inf) for limit, sign in _SIDES)
    low, high = np.maximum(low, -largest), np.minimum(high, largest)
    alike = max((_ALIKE_IN_MOTION if moves else _ALIKE_AT_REST) - margin, 0.0)
    # They are kept for all channels until the last ON; single precision will do.
    first, second = (by_channel(limit, limit.shape).astype(np.float32) for limit in (low, high))
    return PowerLimits(first, second, alike)


_SIDES = ((LOWEST, -1.0), (HIGHEST, 1.0))


def count_implausible(
    kelvin: NDArray[np.floating[Any]], missing: NDArray[np.bool_], limits: PowerLimits, moves: bool = False
) -> NDArray[np.int64]:
    """Count the samples of an ON whose power no sky makes.

    Masers, the Sun and the Moon are brighter than the limits, but so in all dumps of an ON alike
    (within 10 % and 10 sigma of noise), and in a map with two dumps a beam in a dump beside (at least
    0.4 of it). Such samples count only above `BRIGHTEST`; so do those of an ON with a single dump.

    Parameters
    ----------
    kelvin : ndarray, shape (c, D, R, A)
        T_A* [K].
    missing : ndarray of bool, shape (c, D, R, A)
        Samples that do not count.
    limits : PowerLimits
        Limits of these channels.
    moves : bool
        Whether the telescope moves during the ON.

    Returns
    -------
    ndarray of int, shape (R, A)

    Examples
    --------
    A spike, and a maser:

    >>> kelvin = np.array([[0.0, 0.0, 900.0], [900.0, 910.0, 890.0]]).reshape(2, 3, 1, 1)
    >>> limits = power_limits(np.full((2, 1, 1), 100.0), noise=0.0)
    >>> count_implausible(kelvin, kelvin < -1e9, limits).item()
    1
    """
    flat = (*kelvin.shape[:2], -1)
    values, lost = kelvin.reshape(flat), missing.reshape(flat)
    valid = ~lost & (values > limits.low[:, None])
    above = valid & ~(values < limits.high[:, None])
    some = np.flatnonzero(above.any(axis=(1, 2)))
    bright, known = values[some].astype(np.float64), valid[some]
    if moves:
        around = np.pad(np.where(known, bright, -np.inf), ((0, 0), (1, 1), (0, 0)), constant_values=-np.inf)
        others = np.maximum(around[:, 2:], around[:, :-2])
    else:
        others = np.where(known, bright, np.inf).min(axis=1, keepdims=True)
    others = np.where(np.count_nonzero(known, axis=1, keepdims=True) == 1, bright, others)
    above[some] &= ~((others >= limits.alike * bright) & (bright < np.maximum(limits.high[some], BRIGHTEST)[:, None]))
    wrong = above | ~(lost | valid)
    return np.asarray(np.count_nonzero(wrong, axis=(0, 1)).reshape(kelvin.shape[2:]))


def relative_power(kelvin: NDArray[np.floating[Any]], system: Floats) -> tuple[Floats, int]:
    """Compute the power of each dump relative to that of the reference, minus 1, averaged over channels.

    Parameters
    ----------
    kelvin : ndarray, shape (c, D, R, A)
        T_A* [K].
    system : ndarray, shape (c, R, A)
        Power of the reference on the same scale [K]; NaN where unknown.

    Returns
    -------
    level : ndarray, shape (D, R, A)
        The power; NaN without a sample. Single samples count as at most three times the power of
        the reference more.
    n_channels : int
        Number of channels that were averaged, at most.

    Examples
    --------
    The second dump was counted twice:

    >>> level, n_channels = relative_power(np.array([[[[0.0]], [[300.0]]]]), np.full((1, 1, 1), 300.0))
    >>> level.ravel().tolist(), n_channels
    ([0.0, 1.0], 1)
    """
    some = slice(None, None, max(len(kelvin) // _MOST_CHANNELS, 1))
    change = np.clip(kelvin[some] / system[some, None], -1.0, HIGHEST + 1.0)
    return mean_from_sum(*sum_of_valid(change, axis=0)), len(change)


def count_repeated(counts: NDArray[Any], system: Floats) -> NDArray[np.int64]:
    """Count dumps whose counts are those of the dump before, which noise rules out.

    Parameters
    ----------
    counts : ndarray, shape (c, D, R, A)
        Counts of an ON.
    system : ndarray, shape (c, R, A)
        Power of the reference on the scale of T_A* [K]; NaN in channels that are not compared.

    Returns
    -------
    ndarray of int, shape (R, A)
        Number of dumps; 0 for pixels with few channels to compare.

    Examples
    --------
    >>> counts = np.random.default_rng(1).integers(1000, 2000, (32, 3, 1, 1))
    >>> counts[:, 2] = counts[:, 1]
    >>> count_repeated(counts, np.ones((32, 1, 1))).tolist()
    [[1]]
    """
    some = slice(None, None, max(len(counts) // _MOST_CHANNELS, 1))
    known = np.isfinite(system[some])
    same = (counts[some, 1:] == counts[some, :-1]) | ~known[:, None]
    enough = np.count_nonzero(known, axis=0) >= _FEWEST_CHANNELS
    return np.where(enough, np.count_nonzero(same.all(axis=0), axis=0), 0)


def largest_jump(levels: Floats, noise: float, one_position: Any = True, moves: bool = False) -> Floats:
    """Find the largest change of power from a dump to the more similar one of the dumps beside it.

    The same is looked for from ON to ON, in their means where all look at one position. In rows of
    a map it is looked for in their least powers, as a source does not fill a row. Other ONs are not
    compared: one may be on a planet, the next beside it.

    Parameters
    ----------
    levels : ndarray, shape (D, R, A, S)
        Power of the dumps of each ON in time order, relative to that of the reference, minus 1; NaN
        where missing.
    noise : float
        Their relative 1-sigma noise.
    one_position : bool or ndarray of bool, shape (R, A)
        Whether all ONs look at one position.
    moves : bool
        Whether the telescope moves during an ON.

    Returns
    -------
    ndarray, shape (R, A)
        Change over the power of the similar dump, or over that of the reference where this is
        larger, less 10 sigma of noise; NaN with fewer than two dumps to compare.

    Examples
    --------
    A dump that was counted twice, and the edge of a source:

    >>> once = np.array([0.0, 0.0, 1.0, 0.0, 0.0]).reshape(5, 1, 1, 1)
    >>> edge = np.array([0.0, 0.0, 1.0, 1.0, 1.0]).reshape(5, 1, 1, 1)
    >>> largest_jump(once, 0.0).item(), largest_jump(edge, 0.0).item()
    (1.0, 0.0)
    """
    n_dumps, *pixels, n_ons = levels.shape
    total, number = sum_of_valid(levels, axis=0)
    alike = np.broadcast_to(one_position, pixels)[..., None] & (not moves)
    rows = np.fmin.reduce(levels, axis=0)
    rows[(number < _FEWEST_DUMPS_OF_ROW) | (not moves)] = np.nan
    levels = np.where(alike | (number > 1), levels, np.nan)
    in_time = np.moveaxis(levels, -1, 0).reshape(n_ons * n_dumps, -1)
    of_ons = np.moveaxis(np.where(alike, mean_from_sum(total, number), rows), -1, 0).reshape(n_ons, -1)
    jumps = [max(_jump(in_time[:, p]), _jump(of_ons[:, p]), key=_or_least) for p in range(in_time.shape[1])]
    margin = _SIGMA * math.sqrt(2.0) * noise
    return np.maximum(np.array(jumps) - margin, 0.0).reshape(pixels)


def _or_least(value: float) -> float:
    return -1.0 if math.isnan(value) else value


def _jump(series: Floats) -> float:
    """Find the largest change in a series (T,) to the similar neighbour; NaN without neighbours."""
    known = series[np.isfinite(series)]
    if known.size < 2:
        return math.nan
    difference = np.abs(np.diff(known))
    # A dump beside a source changes by less than its own power; one beside an empty dump by no more.
    power = np.maximum(1.0 + known, 1.0)
    to_next, to_last = difference / power[1:], difference / power[:-1]
    return float(np.minimum(np.append(to_next, np.inf), np.insert(to_last, 0, np.inf)).max())
