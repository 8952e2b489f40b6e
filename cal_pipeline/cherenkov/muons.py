"""Muon rings of a telescope, with their times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from astropy.time import Time

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import list_telescopes, read_table, take_numbers
from cal_pipeline.cherenkov.physics.muon_throughput import ClippedStatistics
from cal_pipeline.cherenkov.quality_criteria import Criterion, select_rows

MUONS = "/dl1/event/telescope/muon"
"""Group of the muon rings, a table for each telescope."""

TRIGGER = "/dl1/event/telescope/trigger"
"""Table of the times of the events of all telescopes."""

THROUGHPUT = "/dl1/monitoring/telescope/calibration/optical_throughput/muon"
"""Group of the optical throughputs."""

METHOD = "Muon Rings"

_KEYS = ("obs_id", "event_id", "tel_id")
_EFFICIENCY = "muonefficiency_optical_efficiency"


@dataclass(frozen=True)
class Rings:
    """Muon rings of a telescope in the order of time.

    Attributes
    ----------
    time : array of float, shape (n,)
        MJD (TAI).
    obs_id : array of int, shape (n,)
        Observations.
    throughput : array of float, shape (n,)
        Optical throughputs.
    found : int
        Rings in the file, before the selection.
    timeless : int
        Selected rings that were left out because no trigger has their time.
    """

    time: npt.NDArray[np.float64]
    obs_id: npt.NDArray[np.int64]
    throughput: npt.NDArray[np.float64]
    found: int
    timeless: int


def find_muon_telescopes(path: Path) -> dict[int, str]:
    """Find the telescopes that a file has muon rings of.

    Parameters
    ----------
    path : Path
        HDF5 file.

    Returns
    -------
    dict of int to str
        Paths of the tables, by the number of the telescope.

    Raises
    ------
    MissingInputError
        If there is none.
    """
    found = list_telescopes(path, MUONS)
    if not found:
        raise MissingInputError(f"{path} has no tables {MUONS}/tel_NNN; expected muon rings")
    return found


def read_trigger(path: Path) -> Table:
    """Read the times of all events.

    Parameters
    ----------
    path : Path
        HDF5 file.

    Returns
    -------
    Table
        Columns obs_id, event_id, tel_id and time, MJD (TAI).

    Raises
    ------
    MissingInputError
        If the file has no such table.
    CorruptedInputError
        If the table lacks a column, or has two rows for one event of a telescope.
    """
    table = read_table(path, TRIGGER, [*_KEYS, "time"])
    _refuse_repeats(table, f"{path}: table {TRIGGER}")
    return table


def read_rings(path: Path, node: str, trigger: Table, criteria: Sequence[Criterion]) -> Rings:
    """Read the muon rings of a telescope.

    Parameters
    ----------
    path : Path
        HDF5 file.
    node : str
        Path of their table.
    trigger : Table
        Times; see :func:`read_trigger`.
    criteria : sequence of Criterion
        Conditions of the selection; the throughput must be finite besides.

    Returns
    -------
    Rings

    Raises
    ------
    CorruptedInputError
        If the table lacks a column or has two rows for one event.
    """
    columns = [*_KEYS, _EFFICIENCY, *(criterion.column for criterion in criteria)]
    table = read_table(path, node, list(dict.fromkeys(columns)))
    where = f"{path}: table {node}"
    _refuse_repeats(table, where)
    kept = table[select_rows(table, criteria, where) & np.isfinite(take_numbers(table, _EFFICIENCY, where))]
    rows = _match_rows(kept, trigger)
    timed, rows = kept[rows >= 0], rows[rows >= 0]
    time = take_numbers(trigger, "time", f"{path}: table {TRIGGER}")[rows]
    if not np.isfinite(time).all():
        raise CorruptedInputError(f"{path}: table {TRIGGER} has a time that is not finite; expected MJD")
    # Equal times in the order of the events: the result does not depend on the order of the file.
    order = np.lexsort((timed["event_id"], timed["obs_id"], time))
    return Rings(
        time[order],
        np.asarray(timed["obs_id"], dtype=np.int64)[order],
        np.asarray(timed[_EFFICIENCY], dtype=float)[order],
        found=len(table),
        timeless=len(kept) - len(timed),
    )


def tabulate_throughput(rings: Rings, chunks: Iterable[tuple[int, int, ClippedStatistics]]) -> Table:
    """Make the table of the optical throughputs of a telescope.

    Parameters
    ----------
    rings : Rings
        The rings.
    chunks : iterable of (int, int, ClippedStatistics)
        First ring, ring after the last, and statistics of each chunk.

    Returns
    -------
    Table
        A row for each chunk.
    """
    chunks = list(chunks)
    names = ("mean", "median", "std", "sem", "n_events")
    table = Table({name: [getattr(statistics, name) for _, _, statistics in chunks] for name in names})
    first, last = np.array([start for start, _, _ in chunks]), np.array([stop - 1 for _, stop, _ in chunks])
    table["time_start"] = Time(rings.time[first], format="mjd", scale="tai")
    table["time_end"] = Time(rings.time[last], format="mjd", scale="tai")
    table["obs_id"] = rings.obs_id[first]
    table["method"] = [METHOD] * len(chunks)
    return table


def _stack_keys(table: Table) -> npt.NDArray[np.int64]:
    return np.stack([np.asarray(table[name], dtype=np.int64) for name in _KEYS], axis=1)


def _refuse_repeats(table: Table, where: str) -> None:
    keys, counts = np.unique(_stack_keys(table), axis=0, return_counts=True)
    if np.any(counts > 1):
        obs_id, event_id, tel_id = keys[counts > 1][0]
        raise CorruptedInputError(
            f"{where} has {counts.max()} rows of obs_id {obs_id}, event_id {event_id}, tel_id {tel_id}; expected one"
        )


def _match_rows(table: Table, trigger: Table) -> npt.NDArray[np.intp]:
    """Find the row of each event in the table of triggers; -1 where there is none."""
    own, other = _stack_keys(table), _stack_keys(trigger)
    _, codes = np.unique(np.concatenate([own, other]), axis=0, return_inverse=True)
    rows = np.full(len(own) + len(other), -1, dtype=np.intp)
    codes = codes.reshape(-1)
    rows[codes[len(own) :]] = np.arange(len(other))
    matched: npt.NDArray[np.intp] = rows[codes[: len(own)]]
    return matched
