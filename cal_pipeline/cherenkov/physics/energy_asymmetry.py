"""Asymmetry of the energies that two telescopes reconstruct for one shower."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def calculate_asymmetry(value_1: ArrayLike, value_2: ArrayLike) -> Floats:
    """Calculate the asymmetry (v1 - v2)/(v1 + v2) of two positive quantities.

    Parameters
    ----------
    value_1, value_2 : array_like
        Quantities of both telescopes, in one unit.

    Returns
    -------
    ndarray of float
        Asymmetry, -1 … 1.

    References
    ----------
    Mitchell, A. M. W., Parsons, R. D., Hofmann, W., Bernlöhr, K., 2016, Astropart. Phys. 75, 1.

    Examples
    --------
    >>> calculate_asymmetry([3.0], [1.0])
    array([0.5])
    """
    first, second = np.asarray(value_1, dtype=float), np.asarray(value_2, dtype=float)
    return np.asarray((first - second) / (first + second))


def propagate_asymmetry_error(value_1: ArrayLike, value_2: ArrayLike, error_1: ArrayLike, error_2: ArrayLike) -> Floats:
    """Propagate independent errors of two quantities to their asymmetry.

    Parameters
    ----------
    value_1, value_2 : array_like
        Quantities of both telescopes, in one unit.
    error_1, error_2 : array_like
        Standard errors, in that unit.

    Returns
    -------
    ndarray of float
        Standard error 2/(v1 + v2)² √((v1 s2)² + (v2 s1)²) of the asymmetry.

    Examples
    --------
    >>> propagate_asymmetry_error([1.0], [1.0], [0.3], [0.4])
    array([0.25])
    """
    first, second = np.asarray(value_1, dtype=float), np.asarray(value_2, dtype=float)
    spread = np.hypot(first * np.asarray(error_2, dtype=float), second * np.asarray(error_1, dtype=float))
    return np.asarray(2 * spread / (first + second) ** 2)


def find_pairs(positions: Floats, reach: Floats) -> Integers:
    """Find the pairs of telescopes that can see one shower from within their reach.

    Parameters
    ----------
    positions : ndarray of float, shape (telescopes, 3)
        Positions in metres.
    reach : ndarray of float, shape (telescopes,)
        Largest distance of a telescope from the shower axis, in metres; NaN: the telescope is in no pair.

    Returns
    -------
    ndarray of int, shape (pairs, 2)
        Indices of the telescopes of each pair, the smaller one first. Their distance is at most the sum of their
        reaches.

    Examples
    --------
    >>> import numpy as np
    >>> positions = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0], [100.0, 0.0, 0.0]])
    >>> find_pairs(positions, np.array([2.5, 2.5, 2.5])).tolist()
    [[0, 1]]
    """
    first, second = np.triu_indices(len(positions), 1)
    distance = np.linalg.norm(positions[first] - positions[second], axis=1)
    near = distance <= reach[first] + reach[second]
    return np.column_stack([first[near], second[near]]).astype(np.int64)


def match_events(events_1: Integers, events_2: Integers) -> tuple[Integers, Integers]:
    """Match the events of two telescopes.

    Parameters
    ----------
    events_1, events_2 : ndarray of int, shape (n_1,) and (n_2,)
        Numbers of the events of each telescope, ascending, each once.

    Returns
    -------
    rows_1, rows_2 : ndarray of int, shape (common,)
        Rows of the events that both have.

    Examples
    --------
    >>> import numpy as np
    >>> match_events(np.array([1, 3, 8]), np.array([3, 4, 8, 9]))
    (array([1, 2]), array([0, 2]))
    """
    if not len(events_2):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = np.searchsorted(events_2, events_1)
    common = events_2[np.minimum(places, len(events_2) - 1)] == events_1
    return np.flatnonzero(common).astype(np.int64), places[common].astype(np.int64)
