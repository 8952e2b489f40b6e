"""Compiled loops through the layers of the atmosphere, a tile of channels at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled

Floats = NDArray[np.float64]

_WIDEST_TILE = 2048
"""Channels of a tile, whose layers stay in the cache from one step of the arithmetic to the next."""

_NARROWEST_TILE = 256
"""Channels below which tiles cost more than the cache gives: then all are one."""


def in_tiles(values: Floats) -> Floats:
    """View an array in tiles of channels: the last axis, of length C, as two (C/W, W), W a divisor of C.

    Raises
    ------
    ValueError
        If it is not C-contiguous: what is written to the tiles of a copy would be lost.

    Examples
    --------
    >>> in_tiles(np.zeros((2, 16384))).shape, in_tiles(np.zeros(5000)).shape
    ((2, 8, 2048), (4, 1250))
    """
    if not values.flags.c_contiguous:
        raise ValueError(f"an array of shape {values.shape} is not C-contiguous, expected one that has views in tiles")
    *before, n_channels = values.shape
    n_tiles = next(n for n in range(max(-(-n_channels // _WIDEST_TILE), 1), n_channels + 1) if n_channels % n == 0)
    if n_channels // n_tiles < _NARROWEST_TILE:
        n_tiles = 1
    return values.reshape(*before, n_tiles, n_channels // n_tiles)


@compiled
def attenuate(b: Floats, c: Floats, tile: int, pwv: float, airmass: float, minus_depth: Floats) -> None:
    """Write minus the opacity of a tile of (B, L, T, W) along the line of sight to `minus_depth` (B, L, W).

    Examples
    --------
    >>> minus_depth = np.empty((1, 1, 2))
    >>> attenuate(np.full((1, 1, 1, 2), 0.5), np.full((1, 1, 1, 2), 0.1), 0, 1.0, 2.0, minus_depth)
    >>> minus_depth.tolist()
    [[[-1.2, -1.2]]]
    """
    n_bands, n_layers, n_channels = minus_depth.shape
    for s in range(n_bands):
        for j in range(n_layers):
            for k in range(n_channels):
                minus_depth[s, j, k] = -airmass * (b[s, j, tile, k] * pwv + c[s, j, tile, k])


@compiled
def look_through(
    opaque: Floats,
    brightness: Floats,
    b: Floats,
    c: Floats,
    pwv: float,
    airmass: float,
    array: int,
    share: Floats,
    through: Floats,
    q: int,
    tile: int,
    found: Floats,
) -> None:
    """Write temperature, slope and error of the sky of a pixel in a tile, or temperature, to `found` (3 or 1, Q, T, W).

    Inputs are the arrays of an :class:`Air` and its opacity in tiles, and the transmission of the layers, (B, L, W).

    Examples
    --------
    One layer of 250 K with half transmission, before nothing:

    >>> found, nothing = np.empty((1, 1, 1, 1)), np.zeros((1, 1, 1, 1))
    >>> brightness = np.array([250.0, 0.0]).reshape(1, 2, 1, 1)
    >>> opaque, half = np.full((1, 1, 1), 250.0), np.full((1, 1, 1), 0.5)
    >>> look_through(opaque, brightness, nothing, nothing, 0.0, 1.0, 0, np.ones(1), half, 0, 0, found)
    >>> float(found[0, 0, 0, 0])
    125.0
    """
    n_bands, n_layers, n_channels = through.shape
    for k in range(n_channels):
        found[0, q, tile, k] = opaque[array, tile, k]
    for i in range(1, len(found)):
        for k in range(n_channels):
            found[i, q, tile, k] = 0.0
    for s in range(n_bands):
        for j in range(n_layers):
            if len(found) == 1:
                for k in range(n_channels):
                    contrast = brightness[s, j, tile, k] - brightness[s, j + 1, tile, k]
                    found[0, q, tile, k] -= share[s] * through[s, j, k] * contrast
                continue
            # An error of the opacity does not change the background.
            behind = 1.0 if j == n_layers - 1 else 0.0
            for k in range(n_channels):
                passed = share[s] * through[s, j, k]
                contrast = brightness[s, j, tile, k] - brightness[s, j + 1, tile, k]
                found[0, q, tile, k] -= passed * contrast
                found[1, q, tile, k] += passed * contrast * airmass * b[s, j, tile, k]
                emitted = contrast + behind * brightness[s, j + 1, tile, k]
                found[2, q, tile, k] += passed * emitted * airmass * (b[s, j, tile, k] * pwv + c[s, j, tile, k])


@compiled
def respond(
    brightness: Floats,
    slopes: Floats,
    offset: Floats,
    dry: Floats,
    airmass: float,
    share: Floats,
    through: Floats,
    q: int,
    tile: int,
    found: Floats,
) -> None:
    """Add the responses of the sky's emission in a tile to `found` (3 + B, Q, T, W).

    See :meth:`.SkyDirection.respond_rows`.

    Examples
    --------
    One layer of 250 K with half transmission, before nothing, whose brightness rises by 1 K for a kelvin:

    >>> found, nothing = np.zeros((4, 1, 1, 1)), np.zeros((1, 1, 1, 1))
    >>> brightness = np.array([250.0, 0.0]).reshape(1, 2, 1, 1)
    >>> slopes, half = np.ones((1, 1, 1, 1)), np.full((1, 1, 1), 0.5)
    >>> respond(brightness, slopes, np.zeros(1), nothing, 1.0, np.ones(1), half, 0, 0, found)
    >>> found[:, 0, 0, 0].tolist()
    [0.5, 0.0, 0.0, 125.0]
    """
    n_bands, n_layers, n_channels = through.shape
    for s in range(n_bands):
        for c in range(n_channels):
            found[3 + s, q, tile, c] = brightness[s, 0, tile, c]
        for j in range(n_layers):
            for c in range(n_channels):
                below = through[s, j - 1, c] if j else 1.0
                warming = share[s] * (below - through[s, j, c]) * slopes[s, j, tile, c]
                seen = (brightness[s, j, tile, c] - brightness[s, j + 1, tile, c]) * through[s, j, c]
                found[0, q, tile, c] += warming
                found[1, q, tile, c] += warming * offset[j]
                found[2, q, tile, c] += share[s] * seen * airmass * dry[s, j, tile, c]
                found[3 + s, q, tile, c] -= seen
