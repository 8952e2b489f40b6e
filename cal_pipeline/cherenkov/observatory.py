"""Observatories and the seasons of their atmospheres."""

from __future__ import annotations

import calendar
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError

ALIASES = {
    "SPRING": "INTERMEDIATE",
    "SUMMER": "SUMMER",
    "FALL": "INTERMEDIATE",
    "WINTER": "WINTER",
    "INTERMEDIATE": "INTERMEDIATE",
}
"""Seasons of reference atmospheres, by the seasons of a calendar."""

_LEAP_YEAR = 2000
"""Year whose days seasons must cover."""

_DAYS = [date(_LEAP_YEAR, 1, 1) + timedelta(days) for days in range(366)]

_RANGES = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 360.0), "elevation": (-500.0, 9000.0)}
"""Ranges of coordinates [deg, deg, m]."""

_OBSERVATORY_KEYS = ("name", "version", "latitude", "longitude", "elevation", "seasons")
_SEASON_KEYS = ("name", "start_month", "start_day", "stop_month", "stop_day")
_OPTIONAL = ("start_day", "stop_day")


def find_alias(season: str, where: str) -> str:
    """Find the season of reference atmospheres that a season of a calendar belongs to.

    Parameters
    ----------
    season : str
        Name, in any case.
    where : str
        Place of the name, for messages.

    Returns
    -------
    str
        ``SUMMER``, ``WINTER`` or ``INTERMEDIATE``.

    Raises
    ------
    ConfigurationError
        If it is none.

    Examples
    --------
    >>> find_alias("spring", "CTAO-NORTH")
    'INTERMEDIATE'
    """
    name = season.upper()
    if name not in ALIASES:
        raise ConfigurationError(f"{where}: unknown season {season!r}; expected one of {', '.join(ALIASES)}")
    return ALIASES[name]


@dataclass(frozen=True)
class Season:
    """Season of an observatory: days of the year from its start to its stop, both included.

    Attributes
    ----------
    name : str
        Name, upper-case.
    start, stop : str
        First and last day, ``MM-DD``; the season wraps the year if the stop comes before the start.

    Examples
    --------
    >>> winter = Season("WINTER", "11-16", "04-30")
    >>> winter.contains(date(2023, 1, 1)), winter.contains(date(2023, 7, 1))
    (True, False)
    """

    name: str
    start: str
    stop: str

    @property
    def alias(self) -> str:
        """Season of the reference atmospheres: SUMMER, WINTER or INTERMEDIATE."""
        return find_alias(self.name, "season")

    def contains(self, day: date) -> bool:
        """Tell if a day lies in the season."""
        text = f"{day.month:02d}-{day.day:02d}"
        if self.start <= self.stop:
            return self.start <= text <= self.stop
        return text >= self.start or text <= self.stop


@dataclass(frozen=True)
class Observatory:
    """Observatory with its coordinates and seasons.

    Attributes
    ----------
    name : str
        Name, upper-case.
    version : str
        Version of the entry.
    latitude, longitude : float
        Coordinates [deg], longitude to the east from -180 to 180.
    elevation : float
        Elevation above sea level [m].
    seasons : tuple of Season
        Seasons, which cover each day of a leap year exactly once.

    Raises
    ------
    CorruptedInputError
        If the seasons do not; the message names the days.
    """

    name: str
    version: str
    latitude: float
    longitude: float
    elevation: float
    seasons: tuple[Season, ...]

    def __post_init__(self) -> None:
        check_coverage(self.seasons, f"observatory {self.name}, version {self.version}")

    def season_of(self, day: Any) -> Season:
        """Find the season of a day.

        Parameters
        ----------
        day : date, numpy.datetime64 or str
            The day.

        Returns
        -------
        Season
        """
        found = _read_day(day)
        return next(season for season in self.seasons if season.contains(found))


def _read_day(day: Any) -> date:
    if isinstance(day, date):
        return day
    return date.fromisoformat(str(day)[:10])


def check_coverage(seasons: Iterable[Season], where: str) -> None:
    """Check that seasons cover each day of a leap year exactly once.

    Parameters
    ----------
    seasons : iterable of Season
        Seasons of an observatory.
    where : str
        Name of the observatory, for messages.

    Raises
    ------
    CorruptedInputError
        If a day belongs to no season or to several; the message names all such days.
    """
    seasons = tuple(seasons)
    counts = [sum(season.contains(day) for season in seasons) for day in _DAYS]
    none = [day for day, count in zip(_DAYS, counts, strict=True) if count == 0]
    several = [day for day, count in zip(_DAYS, counts, strict=True) if count > 1]
    found = []
    if none:
        found.append(f"no season covers {_format_days(none)}")
    if several:
        names = [season.name for season in seasons if any(season.contains(day) for day in several)]
        found.append(f"several ({', '.join(names)}) cover {_format_days(several)}")
    if found:
        raise CorruptedInputError(
            f"seasons of {where}: {'; '.join(found)} (MM-DD); expected exactly one a day, in leap years too"
        )


def _format_days(days: Sequence[date]) -> str:
    """Format days as ``MM-DD``, runs of days as ``MM-DD to MM-DD``."""
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == timedelta(1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(f"{run[0]:%m-%d}" + (f" to {run[-1]:%m-%d}" if len(run) > 1 else "") for run in runs)


def read_observatories(entries: Any) -> list[Observatory]:
    """Read observatories of a configuration.

    Parameters
    ----------
    entries : list
        Mappings ``Observatory: {name, version, latitude, longitude, elevation, seasons}``, where ``seasons`` is a list
        of ``Season: {name, start_month, start_day, stop_month, stop_day}``; the first day of a month is the default
        start, the last day of a month (29 in February) the default stop. The outer names may be left out.

    Returns
    -------
    list of Observatory

    Raises
    ------
    ConfigurationError
        If a key is unknown or missing, or a value is out of its range.
    CorruptedInputError
        If seasons overlap or leave days out.
    """
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"observatories: found {entries!r}; expected a list of Observatory: {{name, …}}")
    found = [_read_observatory(entry, f"observatories, entry {number}") for number, entry in enumerate(entries, 1)]
    for key, count in Counter((entry.name, entry.version) for entry in found).items():
        if count > 1:
            raise ConfigurationError(f"observatory {key[0]}, version {key[1]} is given {count} times; expected once")
    return found


def _read_observatory(entry: Any, where: str) -> Observatory:
    values = _read_entry(entry, "Observatory", _OBSERVATORY_KEYS, where)
    name = str(values["name"]).upper()
    where = f"observatory {name}"
    coordinates = {key: _read_number(values[key], key, where) for key in _RANGES}
    # Longitudes are compared with those of meteorological tables and shift the date of an evening.
    longitude = coordinates["longitude"] - 360.0 if coordinates["longitude"] > 180.0 else coordinates["longitude"]
    seasons = values["seasons"]
    if not isinstance(seasons, list) or not seasons:
        raise ConfigurationError(f"{where}: seasons holds {seasons!r}; expected a list of Season: {{name, …}}")
    read = tuple(_read_season(season, f"{where}, season {number}") for number, season in enumerate(seasons, 1))
    for season, count in Counter(season.name for season in read).items():
        if count > 1:
            raise ConfigurationError(f"{where}: season {season} is given {count} times; expected once")
    return Observatory(
        name,
        read_version(values["version"], where),
        coordinates["latitude"],
        180.0 if longitude == -180.0 else longitude,
        coordinates["elevation"],
        read,
    )


def read_version(version: Any, where: str) -> str:
    """Read a version as text.

    Parameters
    ----------
    version : str or int
        The version; YAML makes a number of 1.10, and 1.1 of that.
    where : str
        Place of the version, for messages.

    Raises
    ------
    ConfigurationError
        If it is neither text nor a whole number.

    Examples
    --------
    >>> read_version(1, "observatory CTAO-NORTH")
    '1'
    """
    if isinstance(version, bool) or not isinstance(version, (str, int)) or not str(version).strip():
        raise ConfigurationError(
            f'{where}: version is {version!r}; expected text or a whole number: quote it, as "1.10"'
        )
    return str(version).strip()


def _read_season(entry: Any, where: str) -> Season:
    values = _read_entry(entry, "Season", _SEASON_KEYS, where)
    name = str(values["name"]).upper()
    find_alias(name, where)
    start = _read_day_of_year(values["start_month"], values.get("start_day"), f"{where} ({name}): start", first=True)
    stop = _read_day_of_year(values["stop_month"], values.get("stop_day"), f"{where} ({name}): stop", first=False)
    return Season(name, start, stop)


def _read_entry(entry: Any, noun: str, keys: Sequence[str], where: str) -> Mapping[str, Any]:
    if isinstance(entry, Mapping) and set(entry) == {noun}:
        entry = entry[noun]
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"{where}: found {entry!r}; expected {noun}: {{{', '.join(keys)}}}")
    for key in entry:
        if key not in keys:
            near = difflib.get_close_matches(str(key).lower(), keys, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(keys)}"
            raise ConfigurationError(f"{where}: unknown key {key!r}; {hint}")
    missing = [key for key in keys if entry.get(key) is None and key not in _OPTIONAL]
    if missing:
        raise ConfigurationError(f"{where} lacks {', '.join(missing)}; expected {', '.join(keys)}")
    return entry


def _read_number(value: Any, key: str, where: str) -> float:
    lowest, highest = _RANGES[key]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not lowest <= number <= highest:
        raise ConfigurationError(f"{where}: {key} is {value!r}; expected a number from {lowest:g} to {highest:g}")
    return number


def _read_day_of_year(month: Any, day: Any, where: str, first: bool) -> str:
    if isinstance(month, bool) or not isinstance(month, int) or not 1 <= month <= 12:
        raise ConfigurationError(f"{where}_month is {month!r}; expected a number from 1 to 12")
    last = calendar.monthrange(_LEAP_YEAR, month)[1]
    if day is None:
        day = 1 if first else last
    if isinstance(day, bool) or not isinstance(day, int) or not 1 <= day <= last:
        raise ConfigurationError(f"{where}_day is {day!r}; expected a number from 1 to {last}")
    return f"{month:02d}-{day:02d}"
