"""Merging of a model atmosphere's layers into the few layers of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.references.atm_recipe import RecipeError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of the layers of a model atmosphere, each within one merged layer.

    Parameters
    ----------
    layer : ndarray of int, shape (S,)
        Model layer of each slice, from the telescope up.
    share : ndarray, shape (S,)
        Height of the slice as a fraction of that of its model layer.
    merged : ndarray of int, shape (S,)
        Merged layer of each slice.

    Examples
    --------
    Two layers of 1 and 2 km, the second of which is cut at 1.5 km:

    >>> slices = slice_layers(np.array([1.0, 2.0]), [1.5])
    >>> accumulated = slices.accumulate(np.array([[0.5], [1.0]]))
    >>> accumulated.ravel().tolist(), slices.tops(accumulated).ravel().tolist()
    ([0.5, 0.75, 1.5], [0.75, 1.5])
    """

    layer: NDArray[np.intp]
    share: Floats
    merged: NDArray[np.intp]

    def accumulate(self, opacity: Floats) -> Floats:
        """Accumulate the opacities of model layers from the telescope up to the top of each slice.

        Parameters
        ----------
        opacity : ndarray, shape (N, F)
            Zenith opacity of each model layer, or a coefficient of it. A layer that is cut shares
            its opacity by height.

        Returns
        -------
        ndarray, shape (S, F)
        """
        return np.cumsum(opacity[self.layer] * self.share[:, None], axis=0)

    def tops(self, accumulated: Floats) -> Floats:
        """Select the tops of the merged layers from accumulated opacities.

        Parameters
        ----------
        accumulated : ndarray, shape (S, F)
            Opacities up to the top of each slice, from `accumulate`.

        Returns
        -------
        ndarray, shape (L, F)
            Opacities up to the top of each merged layer.
        """
        last = np.flatnonzero(np.diff(self.merged, append=self.merged[-1] + 1))
        return accumulated[last]


def slice_layers(thickness_km: Floats, tops_km: Sequence[float]) -> Slices:
    """Cut the layers of a model atmosphere at the tops of the merged layers.

    Parameters
    ----------
    thickness_km : ndarray, shape (N,)
        Thickness of each model layer, from the telescope up [km]. A layer that is empty, or
        negative by rounding, stays whole.
    tops_km : sequence of float
        Tops of the merged layers above the telescope, ascending, without the topmost, which ends
        with the model [km].

    Returns
    -------
    Slices
        For L = ``len(tops_km) + 1`` merged layers.

    Raises
    ------
    RecipeError
        If a top lies above the model atmosphere, or the tops do not ascend from above 0.

    Examples
    --------
    >>> slices = slice_layers(np.array([1.0, 2.0]), [1.5])
    >>> slices.layer.tolist(), slices.share.tolist(), slices.merged.tolist()
    ([0, 1, 1], [1.0, 0.25, 0.75], [0, 0, 1])
    """
    heights = np.concatenate([[0.0], np.cumsum(np.maximum(thickness_km, 0.0))])
    edges = np.concatenate([[0.0], np.asarray(tops_km, np.float64), [heights[-1]]])
    if np.any(np.diff(edges) <= 0.0):
        raise RecipeError(
            f"layer_tops_km is {list(tops_km)}, expected heights that ascend from above 0 to below the top of the "
            f"model atmosphere, {heights[-1]:.4g} km above the telescope"
        )
    layer, share, merged = [], [], []
    for n, (bottom, top) in enumerate(pairwise(heights)):
        first = min(int(np.searchsorted(edges, bottom, side="right")) - 1, len(edges) - 2)
        for j in range(first, len(edges) - 1):
            part = min(top, edges[j + 1]) - max(bottom, edges[j])
            if part <= 0.0 and j > first:
                break
            layer.append(n)
            share.append(part / (top - bottom) if top > bottom else 1.0)
            merged.append(j)
    return Slices(np.array(layer), np.array(share), np.array(merged))


def emission_weights(opacity: Floats, airmass: float) -> Floats:
    """Compute the share of each slice in the emission that reaches the telescope.

    Parameters
    ----------
    opacity : ndarray, shape (S, F)
        Zenith opacity from the telescope up to the top of each slice [Np].
    airmass : float
        Airmass.

    Returns
    -------
    ndarray, shape (S,)
        exp(-airmass·tau_bottom) - exp(-airmass·tau_top), summed over the frequencies.

    Examples
    --------
    >>> emission_weights(np.log([[2.0], [4.0]]), 1.0).tolist()
    [0.5, 0.25]
    """
    transmitted = np.exp(-airmass * opacity)
    above = np.concatenate([np.ones_like(transmitted[:1]), transmitted])
    return np.asarray(-np.diff(above, axis=0).sum(axis=1))


def layer_offsets(slices: Slices, weights: Floats, temperature: Floats, t_ground: float) -> Floats:
    """Average the temperatures of the merged layers, weighted with emission.

    Parameters
    ----------
    slices : Slices
        Slices of the model layers.
    weights : ndarray, shape (S,)
        Emission of each slice that reaches the telescope, from `emission_weights`.
    temperature : ndarray, shape (N,)
        Temperature of each model layer [K].
    t_ground : float
        Temperature at the telescope [K].

    Returns
    -------
    ndarray, shape (L,)
        Mean temperature of each merged layer minus `t_ground` [K]. In a layer of which no emission
        reaches the telescope, slices count equally.

    Examples
    --------
    >>> slices = slice_layers(np.array([1.0, 2.0]), [1.5])
    >>> layer_offsets(slices, np.array([0.3, 0.1, 0.2]), np.array([270.0, 250.0]), 280.0).tolist()
    [-15.0, -30.0]
    """
    total = np.bincount(slices.merged, weights)
    weights = np.where(total[slices.merged] > 0.0, weights, 1.0)
    offset = temperature[slices.layer] - t_ground
    return np.bincount(slices.merged, weights * offset) / np.bincount(slices.merged, weights)
