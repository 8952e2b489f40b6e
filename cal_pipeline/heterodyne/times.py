"""Times of subscans: what cannot be is refused, what is odd is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.heterodyne.phases import Mask, Texts
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LONGEST_BREAK = 1.0
"""Longest time between successive subscans of a scan [d]."""

LONG_BREAK = 3600.0
"""Time between successive subscans from which on they are odd [s]."""

FARTHEST_DATE = 1.5
"""Largest time between the first subscan and ``date_obs``, which may be a local date [d]."""

FARTHEST_NEIGHBOUR = 30.0
"""Largest time of a scan before or after the loads of both the scan before and the one after it [d]."""

_SAME_TIME = 0.1
"""Part of the duration of a dump within which two subscans have the same time."""

_SAME_MOMENT = 1e-3
"""Time that clocks and rounding make of nothing [s]."""

_TOUCHING = 0.9
"""Part of the duration of two subscans by which their middles are apart at least; times may be rounded."""

_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def check_times(where: str, phases: Texts, mjd: Floats, exptime: Floats, observed: Mask, per_dump: bool) -> Floats:
    """Refuse times at which the subscans of a scan cannot have been observed.

    Parameters
    ----------
    where : str
        Name of the group, for messages.
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of the subscans.
    mjd, exptime : ndarray, shape (S,)
        Middle of each subscan (MJD) [d], and the integration time of its dumps [s].
    observed : ndarray of bool, shape (S,)
        Subscans that take part.
    per_dump : bool
        Whether ON and OFF may share their time, as the chopper goes from one to the other.

    Returns
    -------
    ndarray, shape (S,)
        The times; NaN in place of one that is far from the others at a subscan that takes no part.

    Raises
    ------
    LayoutError
        If a subscan was observed a day or more before or after the others, or two at a time.

    Examples
    --------
    The last subscan takes no part; its time is that of another day:

    >>> phases, observed = np.array(["OFF", "ON", "MOON"]), np.array([True, True, False])
    >>> check_times("scan", phases, np.array([60000.1, 60000.2, 59000.0]), np.full(3, 2.0), observed, False).tolist()
    [60000.1, 60000.2, nan]
    """
    taken = np.flatnonzero(observed)
    if taken.size < 2:
        return mjd
    order = taken[np.argsort(mjd[taken], kind="stable")]
    refuse_break(f"{where}/mjd", order, mjd[order])
    kinds = np.char.upper(phases[order]) if per_dump else None
    for together in [order] if kinds is None else [order[kinds == kind] for kind in np.unique(kinds)]:
        _refuse_overlap(where, together, mjd, exptime)
    low, high = mjd[order[0]] - LONGEST_BREAK, mjd[order[-1]] + LONGEST_BREAK
    far = (mjd < low) | (mjd > high)
    return np.where(far, np.nan, mjd) if far.any() else mjd


def refuse_break(name: str, subscans: Indices, mjd: Floats) -> None:
    """Refuse times of which some are far from the others.

    Parameters
    ----------
    name : str
        Name of the array, for messages.
    subscans : ndarray of int, shape (N,)
        Zero-based subscans.
    mjd : ndarray, shape (N,)
        Their times (MJD), ascending [d].

    Raises
    ------
    LayoutError
        If there is a break of more than `LONGEST_BREAK` between two of them.
    """
    if mjd[-1] - mjd[0] <= LONGEST_BREAK:
        return
    together = np.split(np.arange(mjd.size), np.flatnonzero(np.diff(mjd) > LONGEST_BREAK) + 1)
    if len(together) == 1:
        return
    most = max(together, key=len)
    far = np.setdiff1d(np.arange(mjd.size), most)
    low, high = mjd[most[0]], mjd[most[-1]]
    distance = np.maximum(low - mjd[far], mjd[far] - high).max()
    raise LayoutError(
        f"{name} of subscans {np.sort(subscans[far]).tolist()} is {_listed(mjd[far])} d, up to {distance:.6g} d from "
        f"the others ({low:.6f} to {high:.6f} d); expected subscans of a scan within {LONGEST_BREAK:g} d of each other"
    )


def _refuse_overlap(where: str, subscans: Indices, mjd: Floats, exptime: Floats) -> None:
    """Refuse subscans, in time order, of which two were observed at a time."""
    apart = np.diff(mjd[subscans]) * SECONDS_A_DAY
    least = _SAME_TIME * 0.5 * (exptime[subscans[1:]] + exptime[subscans[:-1]])
    wrong = np.flatnonzero(apart < least)
    if not wrong.size:
        return
    first = int(wrong[0])
    pair, number = subscans[first : first + 2], np.union1d(wrong, wrong + 1).size
    raise LayoutError(
        f"{where}/mjd of subscans {pair.tolist()} is {_listed(mjd[pair])} d, {apart[first]:.3g} s apart, expected "
        f"{least[first]:.3g} s or more, as a dump takes {exptime[pair[0]]:.6g} s (exptime)"
        + (f"; so are {number} of {subscans.size} subscans" if number > 2 else "")
    )


def find_odd_times(
    where: str,
    subscans: Indices,
    phases: Texts,
    mjd: Floats,
    exptime: Floats,
    dumps: Indices,
    per_dump: bool,
    date: object = None,
) -> list[str]:
    """Find what is odd about the times of a scan, though it may be so.

    Parameters
    ----------
    where : str
        Name of the group.
    subscans : ndarray of int, shape (N,)
        Zero-based subscans that take part, ascending.
    phases : ndarray of str, shape (S,)
        Phases of all subscans.
    mjd, exptime : ndarray, shape (S,)
        Their times (MJD) [d], and the integration time of their dumps [s].
    dumps : ndarray of int, shape (S,)
        Number of dumps that each has at least.
    per_dump : bool
        Whether ON and OFF may share their time, as the chopper goes from one to the other.
    date : object
        Attribute ``date_obs``.

    Returns
    -------
    list of str
        A message for each thing.

    Notes
    -----
    The format does not ask for subscans in time order. In chopped scans, and where the subscans of
    each phase are stored together, only the order within a phase is looked at, and that of all
    subscans otherwise. Steps back of less than a dump, or a millisecond, say nothing of the order.

    Examples
    --------
    >>> phases, mjd = np.array(["OFF", "ON", "OFF"]), 60000.0 + np.array([0.0, 30.0, 20.0]) / 86400
    >>> find_odd_times("scan", np.arange(3), phases, mjd, np.full(3, 2.0), np.ones(3, int), False)
    ['scan/mjd runs backwards in the order of the store, by up to 10 s, at subscans [2]']
    """
    name, order = f"{where}/mjd", subscans[np.argsort(mjd[subscans], kind="stable")]
    apart = np.diff(mjd[order]) * SECONDS_A_DAY
    found = []
    backwards = _find_backwards(subscans, phases, mjd, exptime, per_dump)
    if backwards:
        most, at = max(step for _, step in backwards), [subscan for subscan, _ in backwards]
        found.append(f"{name} runs backwards in the order of the store, by up to {most:.4g} s, at subscans {at}")
    if (apart > LONG_BREAK).any():
        at = order[1:][apart > LONG_BREAK].tolist()
        found.append(
            f"{name} has a break of {apart.max():.4g} s before subscans {at}, expected {LONG_BREAK:g} s or less"
        )
    seconds = exptime * dumps * (not per_dump)
    needed = 0.5 * (seconds[order[1:]] + seconds[order[:-1]])
    close = np.flatnonzero(apart < _TOUCHING * needed)
    if close.size:
        first = int(close[0])
        found.append(
            f"{name} of subscans {order[first : first + 2].tolist()} is {apart[first]:.4g} s apart, expected "
            f"{needed[first]:.4g} s or more, as exptime and the number of valid dumps say"
        )
    begin, dated = float(mjd[order[0]]), _read_date(date)
    if dated is not None and abs(begin - dated) > FARTHEST_DATE:
        found.append(
            f"{name} begins at {begin:.6f} d, {abs(begin - dated):.6g} d from date_obs ({date}), expected "
            f"{FARTHEST_DATE:g} d or less"
        )
    return found


def find_odd_loads(
    where: str, loads: Floats, own: bool, mjd: Floats, exptime: Floats, around: tuple[float, float] | None
) -> list[str]:
    """Find what is odd about the times of a scan against those of loads.

    Parameters
    ----------
    where : str
        Name of the group of the scan.
    loads : ndarray, shape (N,)
        Times of the subscans on its loads (MJD) [d]; NaN where unknown.
    own : bool
        Whether they are those of the scan itself.
    mjd, exptime : ndarray, shape (S,)
        Times (MJD) [d] and integration times of a dump [s] of the subscans that take part.
    around : tuple of float, or None
        Times of the loads of the scan before and of the one after it (MJD) [d]; None if unknown.

    Returns
    -------
    list of str
        A message for each thing.

    Examples
    --------
    >>> mjd, exptime = 60000.0 + np.array([0.0, 30.0]) / 86400, np.array([2.0, 2.0])
    >>> find_odd_loads("scan", mjd - 365.0, True, mjd, exptime, None)
    ['scan/mjd begins at 60000.000000 d, 365 d from its own loads (59635.000174 d), expected 1 d or less']
    """
    found = []
    name, begin, middle = f"{where}/mjd", float(mjd.min()), float(loads.mean())
    shared = np.abs(loads[:, None] - mjd) * SECONDS_A_DAY < 0.5 * exptime
    if shared.any():
        times = np.unique(loads[shared.any(axis=1)])
        found.append(f"{name} has subscans at the times of its loads, {_listed(times)} d, expected others")
    if own and abs(begin - middle) > LONGEST_BREAK:
        found.append(
            f"{name} begins at {begin:.6f} d, {abs(begin - middle):.6g} d from its own loads ({middle:.6f} d), "
            f"expected {LONGEST_BREAK:g} d or less"
        )
    if around is not None and not min(around) - FARTHEST_NEIGHBOUR < begin < max(around) + FARTHEST_NEIGHBOUR:
        found.append(
            f"{name} begins at {begin:.6f} d, more than {FARTHEST_NEIGHBOUR:g} d before or after the loads of the "
            f"scans with the next lower and higher number ({_listed(np.array(around))} d)"
        )
    return found


def _find_backwards(
    subscans: Indices, phases: Texts, mjd: Floats, exptime: Floats, per_dump: bool
) -> list[tuple[int, float]]:
    """List the subscans that were observed before those stored before them, and by how much [s]."""
    if (np.diff(mjd[subscans]) >= 0.0).all():
        return []
    names = np.char.upper(phases[subscans])
    kinds = np.unique(names)
    grouped = np.count_nonzero(names[1:] != names[:-1]) + 1 == kinds.size
    found = []
    for together in [subscans[names == kind] for kind in kinds] if per_dump or grouped else [subscans]:
        steps = -np.diff(mjd[together]) * SECONDS_A_DAY
        least = np.maximum(0.5 * (exptime[together[1:]] + exptime[together[:-1]]), _SAME_MOMENT)
        found += [(int(together[at + 1]), float(steps[at])) for at in np.flatnonzero(steps > least)]
    return sorted(found)


def _read_date(date: object) -> float | None:
    """Read a date in ISO 8601 (MJD) [d]; None for anything else."""
    try:
        moment = datetime.fromisoformat(str(date).strip())
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) / timedelta(days=1)


def _listed(mjd: Floats) -> str:
    """Format times for a message, only the first of many."""
    shown = ", ".join(f"{time:.6f}" for time in mjd[:_SHOWN].tolist())
    return f"[{shown}, ... ({mjd.size} values)]" if mjd.size > _SHOWN else f"[{shown}]"


_SHOWN = 6
"""Times that a message shows."""
