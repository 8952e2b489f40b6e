"""Motion of a telescope in the standards of rest, and velocities of spectral channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import astronomical_unit, speed_of_light

Floats = NDArray[np.float64]

C_KMS = speed_of_light * 1e-3
"""Speed of light [km/s]."""

FIRST_MJD, LAST_MJD = 15_020.0, 88_068.0
"""Times for which the motion of the Earth is known to better than 1 cm/s: the years 1900 to 2099."""

_JD_OF_MJD = 2_400_000.5
_TT_MINUS_UTC_D = 69.184 / 86_400.0
_AU_A_DAY_KMS = astronomical_unit * 1e-3 / 86_400.0

_LSRK_KMS = (0.28999707, -17.31726479, 10.00141200)
_LSRD_KMS = (-0.63823064, -14.58542448, 7.80115724)

FRAMES: dict[str, tuple[float, float, float] | None] = {
    "lsrk": _LSRK_KMS,
    "lsrd": _LSRD_KMS,
    "barycent": (0.0, 0.0, 0.0),
    "topocent": None,
}
"""Standards of rest, by their names in FITS, and the velocity of the Sun in them [km/s], on ICRS axes.

``lsrk``: 20 km/s towards 18h +30° (B1900), the kinematic local standard of rest (Gordon 1975, Methods of Experimental
Physics 12C, 277); ``lsrd``: (9, 12, 7) km/s on galactic axes, the dynamic one (Delhaye 1965, Galactic Structure, 61);
``barycent``: barycentre of the solar system; ``topocent``: the telescope.
"""


def find_site_velocity(mjd: ArrayLike, longitude_deg: float, latitude_deg: float, altitude_m: float) -> Floats:
    """Compute the velocity of a site relative to the barycentre of the solar system.

    Parameters
    ----------
    mjd : float or ndarray, shape (...)
        Times, modified Julian dates in UTC [d].
    longitude_deg, latitude_deg : float
        Geodetic position of the site (WGS84), east positive [deg].
    altitude_m : float
        Height above the ellipsoid [m].

    Returns
    -------
    ndarray, shape (..., 3)
        Velocity on ICRS axes [km/s].

    Raises
    ------
    ValueError
        If a time is outside the years 1900 to 2099.

    Notes
    -----
    Orbit of the Earth of VSOP2000 in the abridged form of SOFA (``epv00``), and its rotation (``pvtob``); see the IAU
    SOFA collection, http://www.iausofa.org. No table of leap seconds or of the Earth's rotation is used: UT1 is taken
    as UTC, which changes the velocity by less than 0.05 m/s, and TT - UTC as that of 2017, which changes it by less
    than 0.2 m/s since 1972.

    Examples
    --------
    The speed is that of the Earth, 30 km/s, and up to 0.5 km/s of its rotation:

    >>> velocity = find_site_velocity(60310.0, -67.74, -22.99, 5612.0)
    >>> 29.2 < float(np.linalg.norm(velocity)) < 30.9
    True
    """
    times = np.asarray(mjd, np.float64)
    unknown = ~((times >= FIRST_MJD) & (times <= LAST_MJD))
    if unknown.any():
        raise ValueError(
            f"time is MJD {times[unknown].flat[0]:g}, expected {FIRST_MJD:g} to {LAST_MJD:g} (1900 to 2099), for which "
            "the motion of the Earth is known"
        )
    terrestrial = (_JD_OF_MJD, times + _TT_MINUS_UTC_D)
    _, barycentric = erfa.epv00(*terrestrial)
    angle = erfa.era00(_JD_OF_MJD, times)
    spinning = erfa.pvtob(math.radians(longitude_deg), math.radians(latitude_deg), altitude_m, 0.0, 0.0, 0.0, angle)
    # The rotation is known on the axes of the intermediate pole of the date.
    turned = erfa.trxp(erfa.c2i06a(*terrestrial), spinning["v"])
    return np.asarray(barycentric["v"] * _AU_A_DAY_KMS + turned * 1e-3, np.float64)


def find_direction(
    longitude_deg: float, latitude_deg: float, offset_lon_deg: ArrayLike = 0.0, offset_lat_deg: ArrayLike = 0.0
) -> Floats:
    """Compute the unit vectors of directions, given by a position and small offsets from it.

    Parameters
    ----------
    longitude_deg, latitude_deg : float
        Position on a sphere [deg].
    offset_lon_deg, offset_lat_deg : float or ndarray, shape (...)
        Offsets on the plane that touches the sphere there, as true angles [deg].

    Returns
    -------
    ndarray, shape (..., 3)
        Unit vectors.

    Examples
    --------
    >>> find_direction(0.0, 90.0).round(6).tolist()
    [0.0, 0.0, 1.0]
    >>> find_direction(0.0, 0.0, offset_lat_deg=0.1).round(4).tolist()
    [1.0, 0.0, 0.0017]
    """
    lon, lat = math.radians(longitude_deg), math.radians(latitude_deg)
    centre = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
    east = np.array([-math.sin(lon), math.cos(lon), 0.0])
    north = np.array([-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat)])
    right, up = (np.radians(np.asarray(offset, np.float64))[..., None] for offset in (offset_lon_deg, offset_lat_deg))
    vectors = centre + right * east + up * north
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _from_galactic(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    found: tuple[Floats, Floats] = erfa.g2icrs(lon, lat)
    return found


def _from_b1950(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    found: tuple[Floats, Floats] = erfa.fk45z(lon, lat, 1950.0)
    return found


def _unchanged(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    return lon, lat


SKY_FRAMES: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "icrs": _unchanged,
    "fk5": _unchanged,
    "j2000": _unchanged,
    "fk4": _from_b1950,
    "b1950": _from_b1950,
    "galactic": _from_galactic,
}
"""Frames of positions, and functions that convert longitude and latitude to ICRS [rad].

The axes of FK5 at J2000 are within 0.1 arcsec of those of ICRS; FK4 is that of B1950, without proper motion.
"""


def convert_to_icrs(direction: Floats, frame: str) -> Floats:
    """Convert unit vectors to ICRS axes.

    Parameters
    ----------
    direction : ndarray, shape (..., 3)
        Unit vectors on the axes of `frame`.
    frame : str
        Key of :data:`SKY_FRAMES`.

    Returns
    -------
    ndarray, shape (..., 3)
        Unit vectors on ICRS axes.

    Examples
    --------
    The north galactic pole is at RA 192.86°, Dec 27.13°:

    >>> lon, lat = erfa.c2s(convert_to_icrs(np.array([0.0, 0.0, 1.0]), "galactic"))
    >>> round(math.degrees(lon), 2) % 360.0, round(math.degrees(lat), 2)
    (192.86, 27.13)
    """
    lon, lat = erfa.c2s(direction)
    return np.asarray(erfa.s2c(*SKY_FRAMES[frame](lon, lat)))


def find_frequency_ratio(site_velocity: Floats, direction: Floats, frame: str = "lsrk") -> Floats:
    """Compute the frequency in a standard of rest over that at the telescope.

    Parameters
    ----------
    site_velocity : ndarray, shape (..., 3)
        Velocity of the site relative to the barycentre of the solar system [km/s].
    direction : ndarray, shape (..., 3)
        Unit vectors to the source, on the same axes.
    frame : str
        Key of :data:`FRAMES`.

    Returns
    -------
    ndarray, shape (...)
        Ratio of frequencies: below 1 if the telescope approaches the source.

    Notes
    -----
    Relativistic Doppler effect of an observer who moves with beta through the frame, 1/[gamma (1 + beta n)] (e.g.
    Rybicki & Lightman, Radiative Processes in Astrophysics, 1979, eq. 4.12). The gravity of Sun and Earth, which would
    change it by 3 m/s, is left out, as is custom for the local standard of rest.

    Examples
    --------
    An approach at 30 km/s shifts a line to higher frequencies by 1e-4:

    >>> towards = np.array([1.0, 0.0, 0.0])
    >>> round(1.0 - float(find_frequency_ratio(30.0 * towards, towards, "barycent")), 6)
    0.0001
    >>> float(find_frequency_ratio(30.0 * towards, towards, "topocent"))
    1.0
    """
    sun = FRAMES[frame]
    if sun is None:
        return np.ones(np.broadcast_shapes(site_velocity.shape, direction.shape)[:-1])
    beta = (site_velocity + np.asarray(sun)) / C_KMS
    inverse_gamma = np.sqrt(1.0 - (beta * beta).sum(axis=-1))
    return np.asarray(inverse_gamma / (1.0 + (beta * direction).sum(axis=-1)))


def _radio(ratio: Floats) -> Floats:
    return 1.0 - ratio


def _optical(ratio: Floats) -> Floats:
    return 1.0 / ratio - 1.0


def _relativistic(ratio: Floats) -> Floats:
    square = ratio * ratio
    return (1.0 - square) / (1.0 + square)


VELOCITY_CONVENTIONS: dict[str, Callable[[Floats], Floats]] = {
    "radio": _radio,
    "optical": _optical,
    "relativistic": _relativistic,
}
"""Velocity over c as a function of the frequency over the rest frequency, by convention; all grow with recession."""


def convert_to_velocity(frequencies: NDArray[Any], rest_frequency: float, convention: str = "radio") -> Floats:
    """Convert frequencies to velocities relative to a rest frequency.

    Parameters
    ----------
    frequencies : ndarray, shape (C,)
        Frequencies in the standard of rest of the velocities [Hz].
    rest_frequency : float
        Rest frequency of the line [Hz].
    convention : str
        Key of :data:`VELOCITY_CONVENTIONS`: ``"radio"`` is c (1 - nu/nu_0), ``"optical"`` c (nu_0/nu - 1),
        ``"relativistic"`` c (nu_0² - nu²)/(nu_0² + nu²).

    Returns
    -------
    ndarray, shape (C,)
        Velocities [km/s].

    Notes
    -----
    Definitions of Greisen et al. 2006, A&A 446, 747, table 3.

    Examples
    --------
    >>> convert_to_velocity(np.array([461.0e9, 461.0e9 * (1 - 1e-4)]), 461.0e9).round(3).tolist()
    [0.0, 29.979]
    """
    ratio = np.asarray(frequencies, np.float64) / rest_frequency
    return np.asarray(C_KMS * VELOCITY_CONVENTIONS[convention](ratio))
