"""Events that several telescopes of an array see: asymmetries and ratios of their energies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray

from cal_pipeline.cherenkov.mappings import find_value
from cal_pipeline.cherenkov.physics.cross_calibration import Ratios
from cal_pipeline.cherenkov.physics.energy_asymmetry import (
    calculate_asymmetry,
    find_pairs,
    match_events,
    propagate_asymmetry_error,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Telescopes of an array.

    Attributes
    ----------
    tel_id : ndarray of int, shape (telescopes,)
        Numbers, ascending.
    tel_type : ndarray of str, shape (telescopes,)
        Types.
    position : ndarray of float, shape (telescopes, 3)
        Positions in metres.
    """

    tel_id: Integers
    tel_type: NDArray[np.str_]
    position: Floats

    def look_up(self, mapping: dict[str, float]) -> Floats:
        """Return the value of each telescope in a mapping by type or number; NaN where it has none."""
        found = (
            find_value(mapping, str(kind), int(number)) for kind, number in zip(self.tel_type, self.tel_id, strict=True)
        )
        return np.array([np.nan if value is None else value for value in found], dtype=float)

    def is_of(self, beginning: str) -> NDArray[np.bool_]:
        """Tell for each telescope whether its type begins so."""
        return np.char.startswith(self.tel_type, beginning)

    def equals(self, other: Layout) -> bool:
        """Tell whether another layout has the same telescopes at the same places."""
        return (
            np.array_equal(self.tel_id, other.tel_id)
            and np.array_equal(self.tel_type, other.tel_type)
            and np.array_equal(self.position, other.position)
        )


@dataclass(frozen=True)
class Events:
    """Events of telescopes: one entry for each event of each telescope.

    Attributes
    ----------
    obs_id, event_id : ndarray of int, shape (entries,)
        Observation, and event in it.
    event : ndarray of int, shape (entries,)
        Number of the event, one for all telescopes that see it.
    telescope : ndarray of int, shape (entries,)
        Index of the telescope in the layout.
    energy, uncertainty : ndarray of float, shape (entries,)
        Reconstructed energy and its uncertainty, in TeV.
    distance : ndarray of float, shape (entries,)
        Impact distance in metres; NaN where it was not read.
    """

    obs_id: Integers
    event_id: Integers
    event: Integers
    telescope: Integers
    energy: Floats
    uncertainty: Floats
    distance: Floats

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.event)

    def by_telescope(self, size: int) -> list[Integers]:
        """Return the entries of each telescope, in order of their events.

        Parameters
        ----------
        size : int
            Number of telescopes of the layout.
        """
        order = np.lexsort((self.event, self.telescope)).astype(np.int64)
        edges = np.searchsorted(self.telescope[order], np.arange(size + 1))
        return [order[first:last] for first, last in pairwise(edges)]


def number_events(obs_id: Integers, event_id: Integers) -> Integers:
    """Number the events, those of all observations together.

    Parameters
    ----------
    obs_id, event_id : ndarray of int, shape (entries,)
        Observation, and event in it.

    Returns
    -------
    ndarray of int, shape (entries,)
        Numbers, ascending with observation and event.

    Examples
    --------
    >>> import numpy as np
    >>> number_events(np.array([7, 7, 8, 7]), np.array([1, 2, 1, 1])).tolist()
    [0, 1, 2, 0]
    """
    observation = np.unique(obs_id, return_inverse=True)[1].reshape(-1)
    events, event = np.unique(event_id, return_inverse=True)
    # Codes, unlike the numbers themselves, are small: their product does not overflow.
    code = observation * max(len(events), 1) + event.reshape(-1)
    return np.asarray(np.unique(code, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def find_type_pairs(layout: Layout, reach: Floats) -> Integers:
    """Find the pairs of telescopes of one type within their reach.

    Parameters
    ----------
    layout : Layout
        Telescopes.
    reach : ndarray of float, shape (telescopes,)
        Largest impact distance of each, in metres.

    Returns
    -------
    ndarray of int, shape (pairs, 2)
        Indices of the telescopes.
    """
    pairs = find_pairs(layout.position, reach)
    alike = layout.tel_type[pairs[:, 0]] == layout.tel_type[pairs[:, 1]]
    return np.asarray(pairs[alike])


def find_cross_pairs(layout: Layout, reach: Floats, reference: NDArray[np.bool_], target: str) -> Integers:
    """Find the pairs of a reference telescope and one of a target type within their reach.

    Parameters
    ----------
    layout : Layout
        Telescopes.
    reach : ndarray of float, shape (telescopes,)
        Largest impact distance of each, in metres.
    reference : ndarray of bool, shape (telescopes,)
        True for reference telescopes.
    target : str
        Type of the others.

    Returns
    -------
    ndarray of int, shape (pairs, 2)
        Indices of the telescopes, the reference first.
    """
    pairs = find_pairs(layout.position, reach)
    pairs = np.asarray(np.where(reference[pairs[:, :1]], pairs, pairs[:, ::-1]), dtype=np.int64)
    chosen = reference[pairs[:, 0]] & (layout.tel_type[pairs[:, 1]] == target)
    return np.asarray(pairs[chosen])


def tabulate_asymmetries(
    events: Events,
    layout: Layout,
    pairs: Integers,
    limits: Floats,
    column: str = "energy",
    pair_energy_min: float = 0.0,
) -> Table:
    """Tabulate the asymmetries of the energies of pairs.

    Parameters
    ----------
    events : Events
        Events after cuts.
    layout : Layout
        Telescopes.
    pairs : ndarray of int, shape (pairs, 2)
        Indices of the telescopes.
    limits : ndarray of float, shape (telescopes,)
        Upper limit of the asymmetry of the impact distances; the smaller of a pair's counts; NaN: no limit.
    column : str
        Beginning of the names of the energies' columns.
    pair_energy_min : float
        Lower limit of the geometric mean of both energies, in TeV.

    Returns
    -------
    Table
        A row for each event of each pair; see the step.
    """
    entries = events.by_telescope(len(layout.tel_id))
    tables = [
        _tabulate_pair(
            events,
            layout,
            (first, second),
            _match_pair(events, entries[first], entries[second], pair_energy_min),
            limits,
            column,
        )
        for first, second in pairs.tolist()
    ]
    return vstack(tables, metadata_conflicts="silent") if tables else _make_table(events, layout, column)


def _match_pair(
    events: Events, entries_1: Integers, entries_2: Integers, pair_energy_min: float
) -> tuple[Integers, Integers]:
    """Match the entries of two telescopes, whose energies have a geometric mean above the limit."""
    rows_1, rows_2 = match_events(events.event[entries_1], events.event[entries_2])
    one, two = entries_1[rows_1], entries_2[rows_2]
    # Unlike a cut on either energy, one on their product does not prefer events that bring both together.
    high = np.sqrt(events.energy[one] * events.energy[two]) > pair_energy_min
    return one[high], two[high]


def _tabulate_pair(
    events: Events,
    layout: Layout,
    pair: tuple[int, int],
    entries: tuple[Integers, Integers],
    limits: Floats,
    column: str,
) -> Table:
    one, two = entries
    limit = np.fmin(*limits[list(pair)])
    if np.isfinite(limit):
        with np.errstate(invalid="ignore"):
            near = np.abs(calculate_asymmetry(events.distance[two], events.distance[one])) < limit
        one, two = one[near], two[near]
    return _make_table(events, layout, column, pair, one, two)


def _make_table(
    events: Events,
    layout: Layout,
    column: str,
    pair: tuple[int, int] | None = None,
    one: Integers | None = None,
    two: Integers | None = None,
) -> Table:
    none = np.zeros(0, dtype=np.int64)
    one, two = (none if one is None else one), (none if two is None else two)
    first, second = pair or (0, 0)
    energies, errors = (events.energy[one], events.energy[two]), (events.uncertainty[one], events.uncertainty[two])
    table = Table(
        {
            "obs_id": events.obs_id[one],
            "event_id": events.event_id[one],
            "tel_type": np.full(len(one), layout.tel_type[first]),
            "tel_id_1": np.full(len(one), layout.tel_id[first]),
            "tel_id_2": np.full(len(one), layout.tel_id[second]),
            f"{column}_1": energies[0],
            f"{column}_2": energies[1],
            "energy_asymmetry": calculate_asymmetry(*energies),
            f"{column}_uncert_1": errors[0],
            f"{column}_uncert_2": errors[1],
            "energy_asymmetry_uncertainty": propagate_asymmetry_error(*energies, *errors),
        }
    )
    for name in (f"{column}_1", f"{column}_2", f"{column}_uncert_1", f"{column}_uncert_2"):
        table[name].unit = "TeV"
    return table


def count_telescopes(events: Events, chosen: NDArray[np.bool_]) -> Integers:
    """Count the chosen telescopes that see each event.

    Parameters
    ----------
    events : Events
        Events after cuts.
    chosen : ndarray of bool, shape (telescopes,)
        True for telescopes that count.

    Returns
    -------
    ndarray of int, shape (entries,)
        Number of telescopes, for each entry that of its event.
    """
    size = int(events.event.max(initial=-1)) + 1
    counts = np.bincount(events.event[chosen[events.telescope]], minlength=size).astype(np.int64)
    return np.asarray(counts[events.event])


def calculate_ratios(
    events: Events, pairs: Integers, throughputs: Floats, used: NDArray[np.bool_], pair_energy_min: float = 0.0
) -> Ratios:
    """Calculate the ratios of the energies of target and reference telescopes.

    Parameters
    ----------
    events : Events
        Events after cuts.
    pairs : ndarray of int, shape (pairs, 2)
        Indices of the telescopes, the reference first.
    throughputs : ndarray of float, shape (telescopes,)
        Throughputs, by which the energies are divided; NaN: the telescope makes no ratio.
    used : ndarray of bool, shape (entries,)
        True for entries of events with enough telescopes.
    pair_energy_min : float
        Lower limit of the geometric mean of both energies, in TeV.

    Returns
    -------
    Ratios
    """
    logs = np.log10(events.energy / throughputs[events.telescope])
    entries = [rows[used[rows]] for rows in events.by_telescope(len(throughputs))]
    known = np.isfinite(throughputs)
    found = [
        _match_pair(events, entries[reference], entries[target], pair_energy_min)
        for reference, target in pairs[known[pairs].all(axis=1)].tolist()
    ]
    one = np.concatenate([rows for rows, _ in found]) if found else np.zeros(0, dtype=np.int64)
    two = np.concatenate([rows for _, rows in found]) if found else np.zeros(0, dtype=np.int64)
    return Ratios(logs[two] - logs[one], events.event[one], events.telescope[one], events.telescope[two])
