"""Astronomical night at a site: dusk, dawn and the date of its evening."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import erfa
import numpy as np
from astropy.time import Time
from astropy.utils import iers
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from cal_pipeline.cherenkov.errors import ConfigurationError

Array = NDArray[np.float64]

NIGHT_ALTITUDE = -18.0
"""Altitude of the Sun's centre at dusk and dawn [deg]."""

_J2000 = np.datetime64("2000-01-01T12:00:00", "ms")
_J2000_JD = 2451545.0

_TT_UTC = 69.0 / 86400.0
"""Terrestrial time less UTC [day]; leap seconds before and after it move the Sun by less than 1 arcsecond."""

_DAY_LIGHT = 173.1446326846693
"""Speed of light [au/day]."""

_SOLAR_PARALLAX = 8.794143 / 3600.0
"""Horizontal parallax of the Sun at 1 au [deg]."""

_NODE = 0.25
"""Spacing of the nodes of the Sun's direction [day]; a cubic spline between them is good to a milliarcsecond."""

_STEP = 4.0 / 1440.0
"""Spacing of the altitudes among which dusk and dawn are looked for [day]."""

_REACHES = (2.0, 12.0, 100.0, 370.0)
"""Days to look around a timestamp, the more only where days or nights last for weeks."""

_YEARS = (1902, 2098)
"""Years of the ephemeris of the Earth, 1900 to 2100, less the greatest reach."""


@dataclass(frozen=True)
class Night:
    """Night at a site.

    Attributes
    ----------
    dusk, dawn : numpy.datetime64
        Ends of the night (UTC), to 1 s.
    evening : numpy.datetime64
        Date of the evening in local mean solar time: the night's name.
    """

    dusk: np.datetime64
    dawn: np.datetime64
    evening: np.datetime64


def find_night(timestamp: Any, latitude: float, longitude: float) -> Night:
    """Find the night that a timestamp lies in.

    The Sun's centre is below -18 deg, without refraction and dip of the horizon. A polar night is one night.

    Parameters
    ----------
    timestamp : str, datetime, Time or numpy.datetime64
        Time (UTC).
    latitude, longitude : float
        Site [deg], longitude to the east.

    Returns
    -------
    Night

    Raises
    ------
    ConfigurationError
        If it is day; the message names the nearest dusk and dawn.

    Examples
    --------
    >>> night = find_night("2023-07-10T00:00:00", 28.761795, -17.890701)
    >>> str(night.dusk), str(night.dawn), str(night.evening)
    ('2023-07-09T21:46:05', '2023-07-10T04:47:49', '2023-07-09')
    """
    moment = _read_timestamp(timestamp)
    for reach in _REACHES:
        dusks, dawns = _find_events(moment, latitude, longitude, reach)
        before, after = dusks[dusks <= moment], dawns[dawns >= moment]
        if before.size and after.size and not np.any((dawns > before[-1]) & (dawns < moment)):
            return _name_night(before[-1], after[0], longitude)
        if before.size and after.size and np.any(dusks > moment) and np.any(dawns < moment):
            break
    raise ConfigurationError(
        f"timestamp {moment.astype('datetime64[s]')} is by day at latitude {latitude:g}, longitude {longitude:g} deg; "
        f"expected a time at night: the nearest dusk is {_find_nearest(dusks, moment)}, "
        f"the nearest dawn {_find_nearest(dawns, moment)}; {_describe_nights(dusks, dawns, moment)} (UTC)"
    )


def _find_nearest(events: NDArray[np.datetime64], moment: np.datetime64) -> np.datetime64:
    nearest: np.datetime64 = events[np.argmin(np.abs(events - moment))]
    return nearest


def _describe_nights(dusks: NDArray[np.datetime64], dawns: NDArray[np.datetime64], moment: np.datetime64) -> str:
    """Describe the nights before and after a time by day."""
    last, following = dawns[dawns < moment], dusks[dusks > moment]
    described = []
    if last.size and np.any(dusks < last[-1]):
        described.append(f"the night before lasted from {dusks[dusks < last[-1]][-1]} to {last[-1]}")
    if following.size and np.any(dawns > following[0]):
        described.append(f"the next one lasts from {following[0]} to {dawns[dawns > following[0]][0]}")
    return ", ".join(described)


def compute_sun_altitude(times: NDArray[np.datetime64], latitude: float, longitude: float) -> Array:
    """Compute the altitude of the Sun's centre as seen from a site, without refraction.

    Parameters
    ----------
    times : ndarray of datetime64, shape (times,)
        Times (UTC).
    latitude, longitude : float
        Site [deg], longitude to the east.

    Returns
    -------
    ndarray, shape (times,)
        Altitude [deg].

    Notes
    -----
    IAU 2006/2000A precession and nutation with the ephemeris of the Earth of ERFA, annual aberration and diurnal
    parallax. UT1 comes from the table that astropy brings, its last value beyond its end; polar motion (0.5 arcsecond)
    is left out.
    """
    days = (np.asarray(times).astype("datetime64[ms]") - _J2000) / np.timedelta64(86_400_000, "ms")
    return _compute_altitude(days, _SunTrack(days.min(), days.max()), latitude, longitude)


class _SunTrack:
    """Apparent direction of the Sun in the celestial intermediate frame, and UT1, between two times."""

    def __init__(self, first: float, last: float) -> None:
        """Compute nodes from `first` to `last` [day of UTC since J2000.0]."""
        nodes = np.arange(first - 3 * _NODE, last + 4 * _NODE, _NODE)
        self.ut1_utc = _read_ut1_utc(0.5 * (first + last))
        heliocentric, barycentric = erfa.epv00(_J2000_JD, nodes + _TT_UTC)
        distance = np.linalg.norm(heliocentric["p"], axis=-1)
        # The Sun itself moves by 0.01 arcsecond in the time of its light.
        direction = -heliocentric["p"] / distance[:, None] + barycentric["v"] / _DAY_LIGHT
        matrix = erfa.c2i06a(_J2000_JD, nodes + _TT_UTC)
        self.direction = CubicSpline(nodes, np.einsum("nij,nj->ni", matrix, direction))
        self.distance = CubicSpline(nodes, distance)


def _read_ut1_utc(day: float) -> float:
    """Read UT1 - UTC [day] from the table that astropy brings; no other one is looked for."""
    seconds, _ = iers.IERS_B.open().ut1_utc(_J2000_JD, day, return_status=True)
    return float(seconds.to_value("day"))


def _compute_altitude(days: Array, track: _SunTrack, latitude: float, longitude: float) -> Array:
    """Compute the altitude of the Sun [deg] at days since J2000.0."""
    x, y, z = np.moveaxis(track.direction(days), -1, 0)
    local = erfa.era00(_J2000_JD, days + track.ut1_utc) + np.radians(longitude)
    # Towards the local meridian, and the pole.
    south, phi = np.cos(local) * x + np.sin(local) * y, np.radians(latitude)
    norm = np.sqrt(x * x + y * y + z * z)
    geocentric = np.degrees(np.arcsin(np.clip((np.sin(phi) * z + np.cos(phi) * south) / norm, -1.0, 1.0)))
    altitude: Array = geocentric - _SOLAR_PARALLAX / track.distance(days) * np.cos(np.radians(geocentric))
    return altitude


def _find_events(
    moment: np.datetime64, latitude: float, longitude: float, reach: float
) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Find dusks and dawns within some days of a time, to 1 s."""
    center = float((moment - _J2000) / np.timedelta64(86_400_000, "ms"))
    count = round(reach / _STEP)
    # The timestamp is one of the times: a night shorter than the spacing is not passed over if it is asked for.
    days: Array = center + _STEP * np.arange(-count, count + 1, dtype=np.float64)
    track = _SunTrack(days[0], days[-1])
    height = _compute_altitude(days, track, latitude, longitude) - NIGHT_ALTITUDE
    dusks, dawns = (
        _refine(days, np.flatnonzero(crossing), track, latitude, longitude)
        for crossing in ((height[:-1] >= 0.0) & (height[1:] < 0.0), (height[:-1] < 0.0) & (height[1:] >= 0.0))
    )
    return dusks, dawns


def _refine(
    days: Array, before: NDArray[np.intp], track: _SunTrack, latitude: float, longitude: float
) -> NDArray[np.datetime64]:
    """Bisect the steps in which the Sun crosses the altitude of dusk and dawn, to a millisecond."""
    low, high = days[before].copy(), days[before + 1].copy()
    below = _compute_altitude(low, track, latitude, longitude) < NIGHT_ALTITUDE
    for _ in range(20):
        middle = 0.5 * (low + high)
        same = (_compute_altitude(middle, track, latitude, longitude) < NIGHT_ALTITUDE) == below
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    seconds = np.round(0.5 * (low + high) * 86400.0).astype("timedelta64[s]")
    events: NDArray[np.datetime64] = _J2000.astype("datetime64[s]") + seconds
    return events


def _name_night(dusk: np.datetime64, dawn: np.datetime64, longitude: float) -> Night:
    # From above -180 to 180 deg, as observatories have it.
    east = 180.0 - (180.0 - longitude) % 360.0
    local = dusk + np.timedelta64(round(east / 15.0 * 3600.0), "s")
    return Night(dusk, dawn, local.astype("datetime64[D]"))


def _read_timestamp(timestamp: Any) -> np.datetime64:
    """Read a time as milliseconds of UTC."""
    try:
        if isinstance(timestamp, Time):
            timestamp = timestamp.utc.isot
        if isinstance(timestamp, str):
            timestamp = datetime.fromisoformat(timestamp)
        if isinstance(timestamp, datetime) and timestamp.tzinfo is not None:
            timestamp = timestamp.astimezone(UTC).replace(tzinfo=None)
        if not isinstance(timestamp, (date, np.datetime64)):
            raise TypeError(f"{type(timestamp).__name__} is no time")
        moment: np.datetime64 = np.datetime64(timestamp).astype("datetime64[ms]")
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"timestamp {timestamp!r} is no time; expected ISO text such as 2023-07-10T00:00:00"
        ) from error
    if not np.datetime64(f"{_YEARS[0]}") < moment < np.datetime64(f"{_YEARS[1]}"):
        raise ConfigurationError(f"timestamp {moment} lies outside the years {_YEARS[0]} to {_YEARS[1]}")
    return moment
