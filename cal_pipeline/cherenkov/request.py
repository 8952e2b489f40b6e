"""Times and points at which meteorological data of a night are needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.night import Night
from cal_pipeline.cherenkov.observatory import Observatory

Point = tuple[float, float]
"""Latitude and longitude [deg]."""

_ORIGIN = np.datetime64("2000-01-01T00:00:00", "s")
"""Time from which the times of all data count in steps of their update."""

_LARGEST = {"gridstep": 90.0, "update_frequency": 24.0}
"""Greatest spacings: of points [deg], and of times [h] such that each day has data."""

_SAME = 1e-9
"""Distance from a grid line, in steps, below which a site lies on it."""


@dataclass(frozen=True)
class DataHandler:
    """Source of meteorological data.

    Attributes
    ----------
    gridstep : float
        Spacing of its points [deg].
    update_frequency : float
        Spacing of its times [h].
    nearest : bool
        True if only the nearest corner of the grid cell around a site is used; else all are.
    provenance : str
        Name of the source in products and in the database.
    dataset : str
        Name of the data set, for a request of missing data.
    levels : tuple of int
        Levels of pressure to ask for [hPa].
    """

    gridstep: float
    update_frequency: float
    nearest: bool
    provenance: str
    dataset: str
    levels: tuple[int, ...]


_LOW_LEVELS = (1000, 975, 950, 925, 900)
_GDAS_LEVELS = (*_LOW_LEVELS, *range(850, 50, -50), 50, 20)
_ERA5_LEVELS = (
    *(*_LOW_LEVELS, 875, 850, 825, 800, 775, *range(750, 250, -50), 250, 225, 200, 175, 150, 125, 100),
    *(70, 50, 30, 20, 10, 7, 5, 3, 2, 1),
)

HANDLERS = {
    "GDASDataHandler": DataHandler(1.0, 6.0, True, "GDAS", "ds083.2", _GDAS_LEVELS),
    "ECMWFDataHandler": DataHandler(0.25, 1.0, False, "ECMWF", "ERA5", _ERA5_LEVELS),
}
"""Sources by the names of their sections: analyses within hours (category B), and a reanalysis later (category C)."""


@dataclass(frozen=True)
class Request:
    """Times and points of meteorological data.

    Attributes
    ----------
    times : ndarray of datetime64[s]
        Times (UTC), ascending.
    points : list of (float, float)
        Latitude and longitude [deg].
    warnings : list of str
        Compromises.
    """

    times: NDArray[np.datetime64]
    points: list[Point]
    warnings: list[str]


def get_handler(name: str) -> DataHandler:
    """Get a source of meteorological data by the name of its section.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    if name not in HANDLERS:
        raise ConfigurationError(f"unknown meteo_data_handler {name!r}; expected one of {', '.join(HANDLERS)}")
    return HANDLERS[name]


def make_request(
    night: Night,
    observatory: Observatory,
    handler_name: str,
    gridstep: float | None = None,
    update_frequency: float | None = None,
) -> Request:
    """Make the request of meteorological data of a night.

    Parameters
    ----------
    night : Night
        The night.
    observatory : Observatory
        Site.
    handler_name : str
        One of :data:`HANDLERS`.
    gridstep : float, optional
        Spacing of the points [deg]; that of the source if not given.
    update_frequency : float, optional
        Spacing of the times [h]; that of the source if not given.

    Returns
    -------
    Request

    Raises
    ------
    ConfigurationError
        If there is no such source, or a spacing is not positive, above 90 deg or above 24 h.
    """
    handler = get_handler(handler_name)
    step = handler.gridstep if gridstep is None else gridstep
    hours = handler.update_frequency if update_frequency is None else update_frequency
    for name, value in (("gridstep", step), ("update_frequency", hours)):
        if not 0.0 < value <= _LARGEST[name]:
            raise ConfigurationError(
                f"{handler_name}: {name} is {value!r}; expected a positive number, at most {_LARGEST[name]:g}"
            )
    corners = find_corners(observatory.latitude, observatory.longitude, step)
    if handler.nearest:
        corners = [find_nearest(corners, observatory.latitude, observatory.longitude)]
    times = find_times(night, hours)
    warnings = []
    if not times.size:
        times = find_time_nearest_midnight(night, hours)
        warnings.append(
            f"no data time of every {hours:g} h lies in the night from {night.dusk} to {night.dawn}; "
            f"{times[0]}, the nearest to its middle, is used"
        )
    return Request(times, corners, warnings)


def find_times(night: Night, hours: float) -> NDArray[np.datetime64]:
    """Find the data times of a night: strictly after dusk, at or before dawn.

    Parameters
    ----------
    night : Night
        The night.
    hours : float
        Spacing of data times since 2000-01-01T00 UTC [h].

    Returns
    -------
    ndarray of datetime64[s]
        Times (UTC); there may be none.

    Examples
    --------
    >>> night = Night(*map(np.datetime64, ("2023-07-09T18:00:00", "2023-07-10T06:00:00", "2023-07-09")))
    >>> find_times(night, 6.0).astype(str).tolist()
    ['2023-07-10T00:00:00', '2023-07-10T06:00:00']
    """
    seconds = _to_seconds(hours)
    dusk, dawn = _count_seconds(night.dusk), _count_seconds(night.dawn)
    return _ORIGIN + (np.arange(dusk // seconds + 1, dawn // seconds + 1) * seconds).astype("timedelta64[s]")


def find_time_nearest_midnight(night: Night, hours: float) -> NDArray[np.datetime64]:
    """Find the data time that is nearest to the middle of a night, as an array of one; the earlier of two."""
    seconds = _to_seconds(hours)
    middle = 0.5 * (_count_seconds(night.dusk) + _count_seconds(night.dawn))
    return _ORIGIN + (np.array([math.ceil(middle / seconds - 0.5)]) * seconds).astype("timedelta64[s]")


def _to_seconds(hours: float) -> int:
    return max(1, round(3600.0 * hours))


def _count_seconds(time: np.datetime64) -> int:
    return int((time - _ORIGIN) / np.timedelta64(1, "s"))


def find_corners(latitude: float, longitude: float, step: float) -> list[Point]:
    """Find the corners of the grid cell around a site.

    Parameters
    ----------
    latitude, longitude : float
        Site [deg].
    step : float
        Spacing of the grid [deg].

    Returns
    -------
    list of (float, float)
        Four points; two if the site lies on a grid line, one if it lies on a point.

    Examples
    --------
    >>> find_corners(28.76, -18.0, 0.25)
    [(28.75, -18.0), (29.0, -18.0)]
    """
    return [(north, east) for north in _bracket(latitude, step) for east in _bracket(longitude, step)]


def _bracket(value: float, step: float) -> list[float]:
    """Find the grid values below and above a coordinate, or the one that it is."""
    steps = value / step
    near = round(steps)
    found = [near] if abs(steps - near) < _SAME else [math.floor(steps), math.ceil(steps)]
    # Rounding: 287 steps of 0.1 deg are 28.7 deg, not 28.700000000000003.
    return [round(number * step, 9) + 0.0 for number in found]


def find_nearest(points: Sequence[Point], latitude: float, longitude: float) -> Point:
    """Find the point with the least great-circle distance from a site; the first of several.

    Parameters
    ----------
    points : sequence of (float, float)
        Latitude and longitude [deg].
    latitude, longitude : float
        Site [deg].

    Returns
    -------
    (float, float)
    """
    north, east = np.radians(np.asarray(points)).T
    phi, lam = np.radians(latitude), np.radians(longitude)
    # The haversine keeps its precision at small distances, where a cosine loses it.
    haversine = np.sin(0.5 * (north - phi)) ** 2 + np.cos(north) * np.cos(phi) * np.sin(0.5 * (east - lam)) ** 2
    return points[int(np.argmin(haversine))]
