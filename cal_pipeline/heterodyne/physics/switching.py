"""Assignment of OFFs to ONs as their reference, with weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows

Floats = NDArray[np.float64]

_MILLISECONDS_PER_DAY = 86_400_000.0


def interpolation_weights(on_mjd: Floats, off_mjd: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Compute the weights of the OFFs in the reference of each ON by linear interpolation in time.

    Parameters
    ----------
    on_mjd : ndarray, shape (S,)
        Times of the ONs, in any order [d].
    off_mjd : ndarray, shape (O,)
        Times of the OFFs, in any order [d].
    valid : ndarray of bool, shape (R, A, O)
        Whether an OFF has a valid dump in a pixel; an OFF without one is skipped in that pixel.

    Returns
    -------
    ndarray, shape (R, A, S, O)
        Weights, which sum to 1 over the OFFs, or are all 0 in a pixel without a valid OFF. With
        OFFs on one side of the ON only, the nearest has weight 1.

    Examples
    --------
    >>> valid = np.ones((1, 1, 2), bool)
    >>> interpolation_weights(np.array([1.0, 5.0]), np.array([0.0, 4.0]), valid)[0, 0]
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    n_receivers, n_arrays, n_offs = valid.shape
    weights = np.zeros((n_receivers * n_arrays, len(on_mjd), n_offs))
    order = np.argsort(off_mjd, kind="stable")
    patterns, pixel_pattern = np.unique(valid.reshape(-1, n_offs), axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        usable = order[pattern[order]]
        if usable.size:
            interpolated = _weights_of_sorted(on_mjd, off_mjd[usable])
            pixels = np.flatnonzero(pixel_pattern.reshape(-1) == index)
            weights[np.ix_(pixels, np.arange(len(on_mjd)), usable)] = interpolated
    return weights.reshape(n_receivers, n_arrays, len(on_mjd), n_offs)


def _weights_of_sorted(on_mjd: Floats, off_mjd: Floats) -> Floats:
    """Interpolation weights, shape (S, O), for OFFs that ascend in time."""
    weights = np.zeros((len(on_mjd), len(off_mjd)))
    after = np.searchsorted(off_mjd, on_mjd)
    for on, index in enumerate(after):
        if index == 0:
            weights[on, 0] = 1.0
        elif index == len(off_mjd):
            weights[on, -1] = 1.0
        else:
            span = off_mjd[index] - off_mjd[index - 1]
            fraction = (on_mjd[on] - off_mjd[index - 1]) / span
            weights[on, index - 1] = 1.0 - fraction
            weights[on, index] = fraction
    return weights


def nearest_off(on_mjd: Floats, off_mjd: Floats, valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Find the OFF nearest in time to each ON.

    Parameters
    ----------
    on_mjd : ndarray, shape (S,)
        Times of the ONs [d].
    off_mjd : ndarray, shape (O,)
        Times of the OFFs [d].
    valid : ndarray of bool, shape (..., O)
        True for OFFs to choose from.

    Returns
    -------
    ndarray of int, shape (..., S)
        Position of the OFF, the earlier on a tie; -1 where none comes into question.

    Examples
    --------
    The first ON lies in the middle between two OFFs, so the earlier one is taken:

    >>> nearest_off(np.array([1.0, 3.0]), np.array([0.0, 2.0]), np.array([True, True])).tolist()
    [0, 1]
    """
    order = np.argsort(off_mjd, kind="stable")
    distance = np.abs(on_mjd[:, None] - off_mjd[order])
    masked = np.where(valid[..., None, order], distance, np.inf)
    # Of equal distances argmin finds the first, which is the earlier OFF.
    nearest = order[np.argmin(masked, axis=-1)]
    return np.where(np.isfinite(masked).any(axis=-1), nearest, -1)


def reduction_groups(
    on_mjd: Floats, off_mjd: Floats, on_beam: NDArray[np.str_], off_beam: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Find the OFF of each ON of a chopped scan: the nearest in time of the same beam.

    Parameters
    ----------
    on_mjd, off_mjd : ndarray, shape (S,), (O,)
        Times [d].
    on_beam, off_beam : ndarray of str, shape (S,), (O,)
        Beams.

    Returns
    -------
    ndarray of int, shape (S,)
        Position of the OFF, the earlier on a tie; -1 where the beam has none.

    Examples
    --------
    The nearest OFF of all is of the other beam:

    >>> on_beam, off_beam = np.array(["A", "B"]), np.array(["A", "B"])
    >>> reduction_groups(np.array([4.0, 5.0]), np.array([0.0, 4.5]), on_beam, off_beam).tolist()
    [0, 1]
    """
    groups = np.full(on_mjd.size, -1)
    for beam in np.unique(on_beam):
        ons, same = np.flatnonzero(on_beam == beam), off_beam == beam
        groups[ons] = nearest_off(on_mjd[ons], off_mjd, same)
    return groups


def pair_beams(mjd: Floats, beam: NDArray[np.str_]) -> list[tuple[int, int]]:
    """Pair the groups of beams A and B of a dual beam switch by nearest time, one to one.

    Parameters
    ----------
    mjd : ndarray, shape (S,)
        Times of the tagged ONs [d].
    beam : ndarray of str, shape (S,)
        ``"A"`` or ``"B"``.

    Returns
    -------
    list of tuple of int
        Positions (A, B), in the order of A. The nearest are paired first, among equally near ones
        the earlier. Time differences are compared in whole milliseconds, coarser than the rounding
        of a 64-bit MJD.

    Examples
    --------
    >>> pair_beams(np.array([0.0, 1.0, 2.0, 3.0]), np.array(["A", "B", "B", "A"]))
    [(0, 1), (3, 2)]
    """
    first, second = np.flatnonzero(beam == "A"), np.flatnonzero(beam == "B")
    candidates = sorted(
        (round(abs(mjd[a] - mjd[b]) * _MILLISECONDS_PER_DAY), mjd[a], mjd[b], int(a), int(b))
        for a in first
        for b in second
    )
    pairs: dict[int, int] = {}
    for *_, a, b in candidates:
        if a not in pairs and b not in pairs.values():
            pairs[a] = b
    return sorted(pairs.items())


def merge_order(mjd: Floats, beam: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order the spectra of a dual beam switch, with beams A and B merged.

    Parameters
    ----------
    mjd : ndarray, shape (S,)
        Times of the tagged ONs [d].
    beam : ndarray of str, shape (S,)
        ``"A"`` or ``"B"``.

    Returns
    -------
    first, second : ndarray of int, shape (S_out,)
        Positions of each ON that is not merged into another one, and of its partner; -1 without a
        partner.

    Examples
    --------
    >>> merge_order(np.array([0.0, 1.0, 2.0]), np.array(["A", "B", "B"]))
    (array([0, 2]), array([ 1, -1]))
    """
    partner = dict(pair_beams(mjd, beam))
    merged = set(partner.values())
    first = np.array([on for on in range(mjd.size) if on not in merged])
    return first, np.array([partner.get(int(on), -1) for on in first])


def weighted_sum(values: Sequence[Floats], weights: Floats) -> Floats:
    """Sum weighted values over OFFs; ignore an OFF of weight zero, even NaN.

    Parameters
    ----------
    values : sequence of ndarray, shape (C, R, A)
        A quantity of each OFF.
    weights : ndarray, shape (R, A, O)
        Its weights.

    Returns
    -------
    ndarray, shape (C, R, A)
        The sum; NaN in a pixel whose weights are all zero.

    Examples
    --------
    An ON after a quarter of the time from one OFF to the next; a third OFF is missing:

    >>> offs = [np.full((1, 1, 1), counts) for counts in (1000.0, 1040.0, np.nan)]
    >>> weighted_sum(offs, np.array([[[0.75, 0.25, 0.0]]])).item()
    1010.0
    """
    by_pixel, shape = weights.reshape(-1, weights.shape[2], order="F"), (len(values[0]), *weights.shape[:2])
    total = np.zeros((len(by_pixel), len(values[0])))
    total[~by_pixel.any(axis=1)] = np.nan
    for off in np.flatnonzero(by_pixel.any(axis=0)).tolist():
        _add_weighted(total, rows(values[off], shape), np.ascontiguousarray(by_pixel[:, off]))
    return unpack_rows(total, weights.shape[:2])


@compiled
def _add_weighted(total: Floats, values: Floats, weights: Floats) -> None:
    """Add weighted rows (P, C) where the weight is not zero."""
    n_rows, n_channels = total.shape
    for p in range(n_rows):
        if weights[p] != 0.0:
            for c in range(n_channels):
                total[p, c] += weights[p] * values[p, c]
