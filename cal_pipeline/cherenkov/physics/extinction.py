"""Optical depth of Rayleigh scattering between a telescope and altitudes above it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.atmosphere import ReferenceAtmosphere
from cal_pipeline.cherenkov.physics.levels import LevelProfile
from cal_pipeline.cherenkov.physics.rayleigh import compute_extinction_coefficient

Array = NDArray[np.float64]

EDGES = np.concatenate(
    [
        [2.1, 2.2, 2.3, 2.4, 2.6, 2.8, 3.1, 3.5, 4.0, 4.5, 5.0, 5.5],
        np.arange(6.0, 46.0),
        np.arange(50.0, 121.0, 5.0),
    ]
)
"""Edges of the altitude bins [km]."""

PEER_LEVEL = 2.1
"""Observation level of the published package [km]."""

_PEER_CHANGE = 5.5
"""Altitude [km] above which the published package takes rows of the reference atmosphere."""


def make_edges(observation_level: float) -> Array:
    """Make the edges of the altitude bins above an observation level.

    Parameters
    ----------
    observation_level : float
        Altitude of the telescopes [km].

    Returns
    -------
    ndarray
        Edges [km]: the observation level, and the edges of :data:`EDGES` above it.

    Raises
    ------
    CorruptedInputError
        If no edge is above it.

    Examples
    --------
    >>> make_edges(2.25)[:4]
    array([2.25, 2.3 , 2.4 , 2.6 ])
    """
    edges = EDGES
    above = edges[edges > observation_level]
    if not (above.size and np.isfinite(observation_level)):
        raise CorruptedInputError(f"observation level {observation_level:g} km; expected one below {EDGES[-1]:g} km")
    return np.concatenate([[observation_level], above])


def compute_optical_depth(
    edges: ArrayLike,
    wavelengths: ArrayLike,
    pressure: ArrayLike,
    temperature: ArrayLike,
    humidity: ArrayLike,
    co2: float,
) -> Array:
    """Compute the optical depth from the lowest edge to the upper edge of each bin.

    Parameters
    ----------
    edges : array_like, shape (bins + 1,)
        Edges of the bins [km].
    wavelengths : array_like, shape (wavelengths,)
        Wavelengths [nm].
    pressure, temperature, humidity : array_like, shape (bins,)
        Pressure [hPa], temperature [K] and relative humidity (a fraction) that stand for each bin.
    co2 : float
        Concentration of CO2 [ppm].

    Returns
    -------
    ndarray, shape (bins, wavelengths)
        Optical depth.

    Raises
    ------
    CorruptedInputError
        If a value is outside of the range in which the formulas of air hold.
    """
    p, t, h = (np.asarray(values, dtype=float)[:, np.newaxis] for values in (pressure, temperature, humidity))
    coefficient = compute_extinction_coefficient(np.asarray(wavelengths, dtype=float), p, t, h, co2)
    depth: Array = np.cumsum(coefficient * np.diff(edges)[:, np.newaxis], axis=0)
    return depth


def sample_centres(
    edges: ArrayLike, levels: LevelProfile | None, reference: ReferenceAtmosphere
) -> tuple[Array, Array, Array]:
    """Sample the air at the centres of bins, from the data where these cover them, else from the reference.

    Parameters
    ----------
    edges : array_like, shape (bins + 1,)
        Edges of the bins [km].
    levels : LevelProfile or None
        The data; None: the reference is taken throughout.
    reference : ReferenceAtmosphere
        Reference atmosphere.

    Returns
    -------
    pressure, temperature, humidity : ndarray, shape (bins,)
        Pressure [hPa], temperature [K], relative humidity (a fraction).

    Raises
    ------
    CorruptedInputError
        If neither covers a centre.
    """
    edges = np.asarray(edges, dtype=float)
    centres = 0.5 * (edges[:-1] + edges[1:])
    covered = np.zeros(centres.size, dtype=bool) if levels is None else levels.covers(1e3 * centres)
    bare = ~covered & ~reference.covers(centres)
    if bare.any():
        low, high = reference.altitude[[0, -1]]
        raise CorruptedInputError(
            f"neither the data nor the reference atmosphere, which reaches from {low:g} to {high:g} km, "
            f"cover {centres[bare][0]:g} km"
        )
    air = reference.interpolate(centres)
    if levels is None:
        return air
    pressure, temperature, humidity = (
        np.where(covered, levels.interpolate(name, 1e3 * centres), values)
        for name, values in zip(("pressure", "temperature", "humidity"), air, strict=True)
    )
    return pressure, temperature, humidity


def sample_like_peer(
    edges: ArrayLike, levels: LevelProfile, reference: ReferenceAtmosphere
) -> tuple[Array, Array, Array]:
    """Sample the air as the published package does, whose optical depth is some 4 % too low.

    Bins up to 5.5 km have the data at their centres; bins above have the reference, dry, at their upper edge.

    Parameters
    ----------
    edges, levels, reference
        As in :func:`sample_centres`; the upper edges above 5.5 km are altitudes of the reference.

    Returns
    -------
    pressure, temperature, humidity : ndarray, shape (bins,)
        Pressure [hPa], temperature [K], relative humidity (a fraction).

    Raises
    ------
    CorruptedInputError
        If the data do not cover the bins up to 5.5 km, or the reference lacks an edge.
    """
    edges = np.asarray(edges, dtype=float)
    centres, upper = 0.5 * (edges[:-1] + edges[1:]), edges[1:]
    low = upper <= _PEER_CHANGE
    # The nearest row, as altitudes converted from metres may miss the edge by rounding.
    rows = np.abs(reference.altitude - upper[~low, np.newaxis]).argmin(axis=1)
    missing = np.abs(reference.altitude[rows] - upper[~low]) > 1e-9
    if missing.any():
        raise CorruptedInputError(
            f"the reference atmosphere has no row at {upper[~low][missing][0]:g} km; bin_rule peer needs one"
        )
    if not levels.covers(1e3 * centres[low]).all():
        raise CorruptedInputError(
            f"the data begin at {levels.altitude[0]:.0f} m; bin_rule peer needs them from {1e3 * centres[0]:.0f} m on"
        )
    pressure, temperature, humidity = (
        np.concatenate([levels.interpolate(name, 1e3 * centres[low]), above])
        for name, above in (
            ("pressure", reference.pressure[rows]),
            ("temperature", reference.temperature[rows]),
            ("humidity", np.zeros(rows.size)),
        )
    )
    return pressure, temperature, humidity
