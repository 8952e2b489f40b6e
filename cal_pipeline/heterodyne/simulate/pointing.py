"""Pointing of the telescope: elevation and azimuth in time, raster maps, pixel layouts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SIDEREAL_RATE = 1.00273790935
"""Sidereal hours that pass in one hour of UT1."""

Offsets = tuple[tuple[float, float], ...]


def horizontal(hour_angle: float, declination: float, latitude: float) -> tuple[float, float]:
    """Return elevation and azimuth of a direction.

    Parameters
    ----------
    hour_angle, declination, latitude : float
        Hour angle and declination of the source, latitude of the site [rad].

    Returns
    -------
    elevation, azimuth : float
        [rad]; azimuth from north through east, in [0, 2 pi).

    Notes
    -----
    Spherical triangle pole-zenith-source, e.g. Meeus, Astronomical Algorithms (1998), eqs. 13.5 and
    13.6. Refraction, aberration and polar motion are left out: they shift the elevation by less
    than 0.1 deg.
    """
    sin_el = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour_angle
    )
    east = -math.cos(declination) * math.sin(hour_angle)
    north = math.cos(latitude) * math.sin(declination) - math.sin(latitude) * math.cos(declination) * math.cos(
        hour_angle
    )
    elevation = math.asin(min(1.0, max(-1.0, sin_el)))
    return elevation, math.atan2(east, north) % (2.0 * math.pi)


def raster_row(
    row: int, rows: int, dumps: int, step: float, row_step: float, *, zigzag: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the offsets along and across one row of a raster centred on (0, 0).

    Parameters
    ----------
    row, rows : int
        Zero-based row, and how many the map has.
    dumps : int
        Samples along the row (D).
    step, row_step : float
        Distance of neighbouring samples and of neighbouring rows [deg].
    zigzag : bool
        Odd rows run backwards.

    Returns
    -------
    along, across : ndarray, shape (D,)
        Offsets [deg] in the order in which they are observed.
    """
    along = (np.arange(dumps) - (dumps - 1) / 2.0) * step
    if zigzag and row % 2:
        along = along[::-1]
    return np.asarray(along), np.full(dumps, (row - (rows - 1) / 2.0) * row_step)


def hexagon(spacing_deg: float) -> Offsets:
    """Return the seven (longitude, latitude) offsets [deg] of a centre pixel and its hexagon."""
    angles = np.deg2rad(60.0 * np.arange(6))
    ring = [(spacing_deg * math.cos(a), spacing_deg * math.sin(a)) for a in angles]
    return ((0.0, 0.0), *ring)


def square_grid(side: int, spacing_deg: float) -> Offsets:
    """Return the `side`² (longitude, latitude) offsets [deg] of a square array, row by row."""
    axis = (np.arange(side) - (side - 1) / 2.0) * spacing_deg
    return tuple((float(lon), float(lat)) for lat in axis for lon in axis)
