"""The calibration equation: counts to antenna temperature, and beams merged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.power import PowerLimits, count_implausible
from cal_pipeline.heterodyne.physics.rows import by_channel, rows, rows_to_fill

Floats = NDArray[np.float64]


_FEW_PIXELS = 8
"""Pixels below which the innermost loop is over dumps instead."""

_SHORTEST_TILE, _LONGEST_TILE, _FEWEST_TILES = 16, 64, 3
"""Samples of tiles that make an innermost loop long, and tiles of a channel that make it worth their preparation."""


def kelvin_per_count(
    t_cal: Floats,
    load_difference: Floats,
    transmission: Floats,
    bad: NDArray[np.bool_],
    out: Floats | None = None,
) -> Floats:
    """Compute the factor that turns ON - REF into antenna temperature.

    Parameters
    ----------
    t_cal : ndarray, shape (C, R, A)
        Calibration temperature [K].
    load_difference : ndarray, shape (C, R, A)
        HOT - COLD [ct].
    transmission : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Transmission of the atmosphere in the signal sideband at the ON.
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.
    out : ndarray, shape (C, R, A), optional
        Output array, in Fortran order.

    Returns
    -------
    ndarray, shape (C, R, A)
        t_cal/(HOT - COLD)/t_r(nu_s), NaN in bad channels [K/ct].

    Raises
    ------
    ValueError
        If an array has another shape, or `out` is not in Fortran order.

    References
    ----------
    Penzias & Burrus 1973, ARA&A 11, 51; Kutner & Ulich 1981, ApJ 250, 341.

    Examples
    --------
    Half of a line is lost in an atmosphere of transmission 0.5, so a count stands for twice as much:

    >>> one, good = np.ones((1, 1, 1)), np.zeros((1, 1, 1), bool)
    >>> [kelvin_per_count(400.0 * one, 2e5 * one, t_r * one, good).item() for t_r in (1.0, 0.5)]
    [0.002, 0.004]
    """
    factor, shape = np.empty(bad.shape, order="F") if out is None else out, bad.shape
    _factor(
        rows(t_cal, shape),
        rows(load_difference, shape),
        rows(bad, shape),
        rows(transmission, shape, shared=True),
        rows_to_fill(factor, shape),
    )
    return factor


@compiled
def _factor(
    t_cal: Floats, load_difference: Floats, bad: NDArray[np.bool_], transmission: Floats, factor: Floats
) -> None:
    """Kelvin per count (P, C); the transmission may be the same for several pixels."""
    n_pixels, n_channels = bad.shape
    for p in range(n_pixels):
        # Receivers of an array are neighbours, so those that share a row are too.
        q = p * len(transmission) // n_pixels
        for c in range(n_channels):
            calibrated = t_cal[p, c] / load_difference[p, c] / transmission[q, c]
            factor[p, c] = np.nan if bad[p, c] else calibrated


def antenna_temperature(
    on: NDArray[Any],
    reference: Floats,
    factor: Floats,
    bad: NDArray[np.bool_],
    out: NDArray[np.floating[Any]] | None = None,
    shift: Floats | None = None,
    limits: PowerLimits | None = None,
    implausible: NDArray[np.int64] | None = None,
    moves: bool = False,
) -> tuple[NDArray[np.floating[Any]], NDArray[np.uint16], NDArray[np.bool_] | None]:
    """Calibrate the dumps of an ON.

    Parameters
    ----------
    on : ndarray, shape (C, D, R, A)
        Counts, integers or floats, NaN where a dump is missing [ct].
    reference : ndarray, shape (C, R, A) or (C, D, R, A)
        Counts of the reference [ct].
    factor : ndarray, shape (C, R, A)
        Kelvin per count [K/ct].
    bad : ndarray of bool, shape (C, R, A)
        Channels that are not calibrated.
    out : ndarray, shape (C, D, R, A), optional
        Output array for the spectra, of 32 or 64 bits, in C order.
    shift : ndarray, shape (C, R·A), optional
        Number that rounds T_A* to its noise
        (:func:`~cal_pipeline.heterodyne.physics.noise.rounding_shift`) [K]; exact without.
    limits : PowerLimits, optional
        Limits of plausible T_A* in these channels.
    implausible : ndarray of int, shape (R, A), optional
        Output array for the number of implausible samples; these keep their values.
    moves : bool
        Whether the telescope moves during the ON.

    Returns
    -------
    spectra : ndarray, shape (C, D, R, A)
        T_A* = (ON - REF)·factor [K], NaN where flagged.
    flags : ndarray of uint16, shape (C, D, R, A)
        BAD_CHANNEL and FILL_VALUE bits; not to be written to.
    missing : ndarray of bool, shape (C, D, R, A), or None
        True if ON or reference is missing, or T_A* is not finite in a channel that is not bad; None
        if nothing is missing.

    Raises
    ------
    ValueError
        If `out` has another shape or is not in C order, or if `reference`, `factor`, `bad` or
        `shift` has another shape.

    Notes
    -----
    The arithmetic is that of 64-bit floats; a quarter of the largest number of the type of `out`
    counts as not finite, so that the sum of two beams is finite.

    References
    ----------
    Penzias & Burrus 1973, ARA&A 11, 51; Kutner & Ulich 1981, ApJ 250, 341.

    Examples
    --------
    A line of 250 counts at 0.004 K/ct is 1 K; the second dump was lost:

    >>> on, one = np.array([1250.0, np.nan]).reshape(1, 2, 1, 1), np.ones((1, 1, 1))
    >>> spectra, flags, missing = antenna_temperature(on, 1000.0 * one, 0.004 * one, one < 0.0)
    >>> spectra.ravel().tolist(), flags.ravel().tolist(), missing.ravel().tolist()
    ([1.0, nan], [0, 2], [False, True])
    """
    n_channels, n_dumps, *pixels = on.shape
    flat, shape = (n_channels, n_dumps, int(np.prod(pixels))), (n_channels, *pixels)
    if reference.shape == on.shape:
        levels = np.ascontiguousarray(reference, np.float64).reshape(flat)
    else:
        levels = by_channel(reference, shape)[:, None]
    spectra = np.empty(on.shape) if out is None else out
    if spectra.shape != on.shape or not spectra.flags.c_contiguous:
        raise ValueError(f"the array to put spectra into has shape {spectra.shape}, expected {on.shape} in C order")
    if shift is not None and shift.shape != (n_channels, flat[2]):
        raise ValueError(f"the numbers to round with have shape {shift.shape}, expected {(n_channels, flat[2])}")
    largest = 2.0 ** (np.finfo(spectra.dtype).maxexp - 2)
    counts = np.ascontiguousarray(on).reshape(flat)
    scale, some_bad, missing = by_channel(factor, shape), bool(bad.any()), None
    if some_bad:
        # With a factor of 0 a sample of a bad channel is finite unless it is missing.
        bad_rows = by_channel(bad, shape)
        scale[bad_rows] = 0.0
    low, high = (None, None) if limits is None else (limits.low, limits.high)
    together = _dumps_together(n_dumps, flat[2])
    tiled = (n_channels, n_dumps // together, together * flat[2])
    if levels.shape == flat:
        levels = levels.reshape(tiled)
    loop = _calibrate if together == 1 else _calibrate_tiles
    # One test in the loop serves for both: most blocks hold neither missing nor implausible samples.
    if not loop(counts.reshape(tiled), levels, scale, spectra.reshape(tiled), shift, largest, low, high):
        missing = ~(np.abs(spectra) < largest)
        if limits is not None and implausible is not None:
            implausible[...] = count_implausible(spectra, missing, limits, moves)
        missing = missing if missing.any() else None
        if missing is not None:
            spectra[missing] = np.nan
    if missing is None and not some_bad:
        return spectra, np.broadcast_to(np.uint16(0), on.shape), None
    flags = np.zeros(on.shape, np.uint16)
    if some_bad:
        _blank(spectra.reshape(flat), bad_rows)
        flags[:] = (bad * np.uint16(Flag.BAD_CHANNEL))[:, None]
    if missing is not None:
        flags[missing] |= np.uint16(Flag.FILL_VALUE)
    return spectra, flags, missing


def _dumps_together(n_dumps: int, n_pixels: int) -> int:
    """Return how many dumps to take together, a divisor of their number; 1 where that does not pay.

    Examples
    --------
    >>> [_dumps_together(n_dumps, n_pixels) for n_dumps, n_pixels in [(20, 7), (19, 7), (20, 1), (20, 64)]]
    [4, 1, 1, 1]
    """
    if n_pixels == 1:
        return 1
    fitting = range(-(-_SHORTEST_TILE // n_pixels), min(_LONGEST_TILE // n_pixels, n_dumps // _FEWEST_TILES) + 1)
    return next((dumps for dumps in fitting if n_dumps % dumps == 0), 1)


@compiled
def _calibrate(
    counts: NDArray[Any],
    reference: Floats,
    factor: Floats,
    spectra: NDArray[np.floating[Any]],
    shift: Floats | None,
    largest: float,
    low: NDArray[np.float32] | None,
    high: NDArray[np.float32] | None,
) -> bool:
    """Calibrate counts (C, D, P) into `spectra`; return whether all values are finite and plausible.

    The reference has one value per dump, or one for all dumps. Rounding by `shift` and the limits
    `low` and `high` are compiled in where they are given.
    """
    n_channels, n_dumps, n_pixels = counts.shape
    unusual = False
    per_dump = 1 if reference.shape[1] > 1 else 0
    # Pixels are neighbours in memory, but a few of them make an innermost loop too short.
    few = n_pixels < _FEW_PIXELS
    n_outer, n_inner = (n_pixels, n_dumps) if few else (n_dumps, n_pixels)
    for c in range(n_channels):
        for outer in range(n_outer):
            for inner in range(n_inner):
                d, p = (inner, outer) if few else (outer, inner)
                above = counts[c, d, p] - reference[c, per_dump * d, p]
                kelvin = above * factor[c, p]
                if shift is not None:
                    kelvin = (kelvin + shift[c, p]) - shift[c, p]
                if low is None or high is None:
                    unusual |= not np.abs(kelvin) < largest
                else:
                    unusual |= not (low[c, p] < kelvin) & (kelvin < high[c, p])
                spectra[c, d, p] = kelvin
    return not unusual


@compiled
def _calibrate_tiles(
    counts: NDArray[Any],
    reference: Floats,
    factor: Floats,
    spectra: NDArray[np.floating[Any]],
    shift: Floats | None,
    largest: float,
    low: NDArray[np.float32] | None,
    high: NDArray[np.float32] | None,
) -> bool:
    """Calibrate as :func:`_calibrate` does, for few pixels: tiles (C, T, K·P) of K dumps each.

    What is the same for all dumps is repeated K times, so that the innermost loop is long and without gaps.
    """
    n_channels, n_tiles, tile = counts.shape
    n_pixels = factor.shape[1]
    per_dump = reference.shape[1] * reference.shape[2] > n_pixels
    same = np.empty((5, tile))
    unusual = False
    for c in range(n_channels):
        for first in range(0, tile, n_pixels):
            for p in range(n_pixels):
                if not per_dump:
                    same[0, first + p] = reference[c, 0, p]
                same[1, first + p] = factor[c, p]
                if shift is not None:
                    same[2, first + p] = shift[c, p]
                if low is not None and high is not None:
                    same[3, first + p], same[4, first + p] = low[c, p], high[c, p]
        for t in range(n_tiles):
            if per_dump:
                for i in range(tile):
                    same[0, i] = reference[c, t, i]
            for i in range(tile):
                above = counts[c, t, i] - same[0, i]
                kelvin = above * same[1, i]
                if shift is not None:
                    kelvin = (kelvin + same[2, i]) - same[2, i]
                if low is None or high is None:
                    unusual |= not np.abs(kelvin) < largest
                else:
                    unusual |= not (same[3, i] < kelvin) & (kelvin < same[4, i])
                spectra[c, t, i] = kelvin
    return not unusual


@compiled
def _blank(spectra: NDArray[np.floating[Any]], bad: NDArray[np.bool_]) -> None:
    """Put NaN into spectra (C, D, P) where a channel of a pixel (C, P) is bad."""
    n_channels, n_dumps, n_pixels = spectra.shape
    for c in range(n_channels):
        for p in range(n_pixels):
            if bad[c, p]:
                for d in range(n_dumps):
                    spectra[c, d, p] = np.nan


def couple_beams(
    first: tuple[NDArray[np.floating[Any]], NDArray[np.uint16]],
    second: tuple[NDArray[np.floating[Any]], NDArray[np.uint16]],
) -> tuple[NDArray[np.floating[Any]], NDArray[np.uint16]]:
    """Merge the two beams of a dual beam switch.

    Parameters
    ----------
    first, second : tuple of ndarray
        T_A* [K] and flags of beam A and of beam B, all of one shape.

    Returns
    -------
    spectra : ndarray
        0.5·(T_A + T_B) [K], NaN where either is.
    flags : ndarray of uint16
        Flags of either.

    Examples
    --------
    Baselines of 0.3 K in beam A and -0.3 K in beam B cancel:

    >>> good, flagged = np.zeros(2, np.uint16), np.array([0, 2], np.uint16)
    >>> spectra, flags = couple_beams((np.array([1.3, 1.3]), good), (np.array([0.7, np.nan]), flagged))
    >>> spectra.tolist(), flags.tolist()
    ([1.0, nan], [0, 2])
    """
    return 0.5 * (first[0] + second[0]), first[1] | second[1]


def either_missing(first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Find the samples that are missing in either of two beams.

    Parameters
    ----------
    first, second : ndarray of bool, or None
        Missing samples of each beam, of one shape; None if there are none.

    Returns
    -------
    ndarray of bool, or None
        ``first | second``.

    Examples
    --------
    >>> either_missing(None, np.array([True, False]))
    array([ True, False])
    """
    if first is None or second is None:
        return second if first is None else first
    return first | second


def count_without_factor(
    factor: Floats, bad: NDArray[np.bool_], first: NDArray[np.int64], second: NDArray[np.int64]
) -> int:
    """Count channels of spectra that are good but have no finite factor.

    Parameters
    ----------
    factor : ndarray, shape (C, R, A, S)
        Kelvin per count at each ON.
    bad : ndarray of bool, shape (C, R, A, S)
        Channels that are not calibrated.
    first, second : ndarray of int, shape (S_out,)
        Indices of the one or two ONs of a spectrum; -1 for one ON.

    Returns
    -------
    int
        Number of channels of all pixels and spectra whose ONs are all good and of which one has no
        finite factor.

    Examples
    --------
    >>> factor = np.array([[[[np.nan, 1.0]]], [[[np.inf, np.nan]]]])
    >>> bad = np.array([[[[True, False]]], [[[False, False]]]])
    >>> count_without_factor(factor, bad, np.array([0, 1]), np.array([-1, -1]))
    2
    """
    lacking = ~np.isfinite(factor) & ~bad
    # The index -1 picks the last ON, which the condition then discards.
    merged = lacking[..., first] | (lacking[..., second] & (second >= 0))
    either_bad = bad[..., first] | (bad[..., second] & (second >= 0))
    return int(np.count_nonzero(merged & ~either_bad))


def find_bad_channels(
    uncalibrated: NDArray[np.bool_], transmission: Floats, minimum: float, out: NDArray[np.bool_]
) -> None:
    """Find the channels of an ON that are not calibrated.

    Parameters
    ----------
    uncalibrated : ndarray of bool, shape (C, R, A)
        Channels that the loads cannot calibrate.
    transmission : ndarray, shape (C, R, A), (C, 1, A) or (C, 1, 1)
        Transmission of the atmosphere in the signal sideband at the ON.
    minimum : float
        Smallest transmission of a good channel.
    out : ndarray of bool, shape (C, R, A)
        Output array.

    Examples
    --------
    >>> bad = np.empty((3, 1, 1), bool)
    >>> transmission = np.array([0.9, 0.9, 1e-4])[:, None, None]
    >>> find_bad_channels(np.array([True, False, False])[:, None, None], transmission, 1e-3, bad)
    >>> bad.ravel()
    array([ True, False,  True])
    """
    np.logical_or(uncalibrated, transmission < minimum, out=out)


def blank_channels(values: NDArray[np.floating[Any]], bad: NDArray[np.bool_]) -> None:
    """Set values of bad channels to NaN, in place.

    Parameters
    ----------
    values : ndarray
        Values.
    bad : ndarray of bool, shape of `values`
        Channels that are not calibrated.

    Examples
    --------
    >>> noise = np.array([1.0, 2.0])
    >>> blank_channels(noise, np.array([False, True]))
    >>> noise
    array([ 1., nan])
    """
    np.copyto(values, np.nan, where=bad)
