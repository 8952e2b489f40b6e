"""Subscans and dumps of the rows of a band: which rows belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.rows import Floats, Integers
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

_HALF = 0.5
"""Part of an exposure to which the times of a subscan agree."""

_PAUSE = 3.0
"""Usual distances of dumps after which a new subscan starts."""


def label_agreeing(mjd: Floats, duration: Floats) -> Integers:
    """Label rows that agree in time to half an exposure with the first of them.

    Parameters
    ----------
    mjd : ndarray, shape (N,)
        Middle of each row, ascending [d].
    duration : ndarray, shape (N,)
        Exposure of each row [s]; of two that differ the longer counts.

    Returns
    -------
    ndarray of int, shape (N,)
        Labels 0, 1, … in order of time.

    Examples
    --------
    >>> seconds = np.array([0.0, 0.2, 1.0, 1.1, 2.0])
    >>> label_agreeing(60000.0 + seconds / 86400.0, np.ones(5))
    array([0, 0, 1, 1, 2])
    """
    seconds = (mjd - mjd[:1]) * SECONDS_A_DAY
    apart = np.diff(seconds) > _HALF * np.maximum(duration[:-1], duration[1:])
    starts = np.concatenate([[0], np.flatnonzero(apart) + 1, [mjd.size]])
    longest = np.maximum.reduceat(duration, starts[:-1])
    # A chain of rows, each close to the next, may be longer than its ends agree: it is cut from its start.
    long = seconds[starts[1:] - 1] - seconds[starts[:-1]] > _HALF * longest
    first = np.zeros(mjd.size, dtype=np.int64)
    first[starts[:-1]] = 1
    for chain in np.flatnonzero(long).tolist():
        first[_cut_chain(seconds, duration, int(starts[chain]), int(starts[chain + 1]))] = 1
    return np.cumsum(first) - 1


def _cut_chain(seconds: Floats, duration: Floats, start: int, stop: int) -> list[int]:
    """Cut a chain of rows where they no longer agree with the first since the last cut."""
    cuts = []
    while start < stop:
        inside = slice(start, stop)
        reach = _HALF * np.maximum(duration[start], duration[inside])
        disagree = np.flatnonzero(seconds[inside] - seconds[start] > reach)
        start = start + int(disagree[0]) if disagree.size else stop
        cuts.append(start)
    return cuts[:-1]


def find_repeated(mjd: Floats, duration: Floats, phase: Integers, pixel: Integers) -> tuple[int, int] | None:
    """Find two rows of one pixel and phase that were observed at the same time, to half an exposure.

    Parameters
    ----------
    mjd, duration : ndarray, shape (N,)
        Middle [d] and exposure [s] of each row, in order of time.
    phase, pixel : ndarray of int, shape (N,)
        Phase and pixel of each row.

    Returns
    -------
    tuple of int or None
        Their positions; None if there are none.

    Examples
    --------
    >>> find_repeated(np.array([60000.0, 60000.0]), np.ones(2), np.zeros(2, int), np.zeros(2, int))
    (0, 1)
    """
    order = np.lexsort((np.arange(mjd.size), pixel, phase))
    alike = (np.diff(phase[order]) == 0) & (np.diff(pixel[order]) == 0)
    reach = _HALF * np.maximum(duration[order][:-1], duration[order][1:])
    found = np.flatnonzero(alike & (np.diff(mjd[order]) * SECONDS_A_DAY <= reach))
    if not found.size:
        return None
    return int(order[found[0]]), int(order[found[0] + 1])


def find_runs(phase: Integers, pixel: Integers, recorded: Integers) -> tuple[NDArray[np.bool_], Integers]:
    """Find the rows that follow another phase, or another recorded scan, in their pixel.

    Parameters
    ----------
    phase, pixel, recorded : ndarray of int, shape (N,)
        Phase, pixel and recorded scan number of each row, in order of time.

    Returns
    -------
    ndarray of bool, shape (N,)
        True where a run of consecutive rows starts.
    ndarray of int, shape (N,)
        Position of the row before it in its pixel; -1 for the first.
    """
    order = np.lexsort((np.arange(phase.size), pixel))
    before = np.full(phase.size, -1)
    same_pixel = np.diff(pixel[order]) == 0
    before[order[1:][same_pixel]] = order[:-1][same_pixel]
    starts = (before < 0) | (phase != phase[before]) | (recorded != recorded[before])
    return starts, before


def number_dumps(labels: Integers, starts: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Join consecutive labels to subscans.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Label 0, 1, …, K - 1 of each row.
    starts : ndarray of bool, shape (K,)
        True for labels at which a subscan starts.

    Returns
    -------
    subscan, dump : ndarray of int, shape (N,)
        Place of each row.

    Examples
    --------
    >>> number_dumps(np.array([0, 1, 1, 2]), np.array([True, False, True]))
    (array([0, 0, 0, 1]), array([0, 1, 1, 0]))
    """
    subscan = np.cumsum(starts) - 1
    dump = np.arange(starts.size) - np.flatnonzero(starts)[subscan]
    return subscan[labels], dump[labels]


def place_source(
    mjd: Floats, duration: Floats, phase: Integers, pixel: Integers, recorded: Integers, *, join_rows: bool
) -> tuple[Integers, Integers]:
    """Place the rows of source phases: those that agree in time make a subscan, or one of its dumps.

    Parameters
    ----------
    mjd, duration : ndarray, shape (N,)
        Middle [d] and exposure [s] of each row, in order of time.
    phase, pixel, recorded : ndarray of int, shape (N,)
        Phase, pixel and recorded scan number of each row.
    join_rows : bool
        Whether consecutive rows of a phase of one recorded scan are the dumps of one subscan. Calibration
        phases in between end a subscan as well, so all rows of the band are expected here; so does a pause in
        all pixels of more than three times the usual distance of dumps.

    Returns
    -------
    subscan, dump : ndarray of int, shape (N,)
        Place of each row. A subscan has one phase.
    """
    labels = np.empty(mjd.size, dtype=np.int64)
    number = 0
    for one in np.unique(phase).tolist():
        own = phase == one
        labels[own] = number + label_agreeing(mjd[own], duration[own])
        number = int(labels[own].max()) + 1
    if not join_rows:
        return labels, np.zeros_like(labels)
    return number_dumps(labels, _start_subscans(labels, mjd, duration, phase, pixel, recorded))


def _start_subscans(
    labels: Integers, mjd: Floats, duration: Floats, phase: Integers, pixel: Integers, recorded: Integers
) -> NDArray[np.bool_]:
    """Find the labels at which a subscan starts.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Labels of rows that agree in time, ascending with time within a phase; K in all.
    mjd, duration, phase, pixel, recorded : ndarray, shape (N,)
        The rows in order of time.

    Returns
    -------
    ndarray of bool, shape (K,)
    """
    _, first = np.unique(labels, return_index=True)
    starts = np.ones(first.size, dtype=np.bool_)
    starts[1:] = (np.diff(phase[first]) != 0) | (np.diff(recorded[first]) != 0)
    follows, before = find_runs(phase, pixel, recorded)
    other = np.flatnonzero(follows & (before >= 0))
    # A pixel that lacks rows sees another phase earlier: only what lies after the label before counts.
    latest = np.full(first.size, -np.inf)
    np.maximum.at(latest, labels[other], mjd[before[other]])
    starts[1:] |= latest[1:] >= mjd[first[:-1]] - _HALF * duration[first[:-1]] / SECONDS_A_DAY
    return starts | _find_gaps(mjd[first], duration[first], phase[first], starts)


def _find_gaps(mjd: Floats, duration: Floats, phase: Integers, starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find dumps after a pause, as for a slew whose rows are left out.

    A pause is longer than `_PAUSE` times the usual distance of dumps of that phase, the median.
    """
    distance = np.diff(mjd, prepend=mjd[:1]) * SECONDS_A_DAY
    gaps = np.zeros_like(starts)
    for one in np.unique(phase).tolist():
        inside = np.flatnonzero((phase == one) & ~starts)
        if inside.size:
            usual = max(float(np.median(distance[inside])), float(duration[inside].max()))
            gaps[inside] = distance[inside] > _PAUSE * usual
    return gaps


def place_loads(
    phase: Integers, pixel: Integers, recorded: Integers, of_loads: NDArray[np.bool_], *, join_rows: bool
) -> tuple[Integers, Integers]:
    """Place the rows of calibration phases: the k-th of each pixel are subscan k of that phase.

    Parameters
    ----------
    phase, pixel, recorded : ndarray of int, shape (N,)
        Phase, pixel and recorded scan number of each row of the band, in order of time.
    of_loads : ndarray of bool, shape (N,)
        Rows of calibration phases, n in all.
    join_rows : bool
        Whether consecutive rows of a phase of one recorded scan are the dumps of one subscan.

    Returns
    -------
    subscan, dump : ndarray of int, shape (n,)
        Place of each row among those of its phase and pixel.

    Examples
    --------
    Two pixels see their loads in turn:

    >>> hot_then_cold, pixel = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    >>> place_loads(hot_then_cold, pixel, np.zeros(4, int), np.ones(4, bool), join_rows=False)
    (array([0, 0, 0, 0]), array([0, 0, 0, 0]))
    """
    starts = find_runs(phase, pixel, recorded)[0][of_loads] if join_rows else np.ones(int(of_loads.sum()), np.bool_)
    phase, pixel = phase[of_loads], pixel[of_loads]
    order = np.lexsort((np.arange(phase.size), pixel, phase))
    first = np.ones(phase.size, dtype=np.bool_)
    first[1:] = (np.diff(phase[order]) != 0) | (np.diff(pixel[order]) != 0)
    run, dump_in_run = number_dumps(np.arange(phase.size), starts[order] | first)
    of_first = np.maximum.accumulate(np.where(first, run, 0))
    subscan, dump = np.empty_like(order), np.empty_like(order)
    subscan[order], dump[order] = run - of_first, dump_in_run
    return subscan, dump
