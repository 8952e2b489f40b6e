"""Meteorological tables: levels of pressure at points and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.physics.altitude import compute_altitude, compute_number_density, convert_geopotential
from cal_pipeline.cherenkov.physics.levels import LevelProfile
from cal_pipeline.cherenkov.physics.limits import RANGES
from cal_pipeline.cherenkov.products import PROVENANCE, read_ecsv

Array = NDArray[np.float64]
Times = NDArray[np.datetime64]

_SAME_POINT = 1e-6
"""Greatest difference of coordinates of one point [deg]."""

_SAME_VALUE = 1e-6
"""Greatest relative difference between a given and a computed quantity."""

_UNITS = {
    "Latitude": "deg",
    "Longitude": "deg",
    "Pressure": "hPa",
    "Temperature": "K",
    "Relative humidity": "%",
    "Geopotential": "m2 / s2",
    "Geopotential Height": "m",
}
"""Columns that are read, with their units."""

_NEEDED = ("Latitude", "Longitude", "Timestamp", "Pressure", "Temperature")

_GRIB = (".grib", ".grib2")
"""Suffixes of files in GRIB; all others are ECSV."""

_GPM = "gpm"
"""Unit of geopotential heights [geopotential metre], which astropy does not know."""


@dataclass(frozen=True)
class MeteoSelection:
    """Levels at the times and points of a request.

    Attributes
    ----------
    profile : LevelProfile
        Means over times and points.
    completeness : float
        Columns of (time, point) that were used over those that were asked for.
    warnings : list of str
        Dropped columns and the like.
    """

    profile: LevelProfile
    completeness: float
    warnings: list[str]


@dataclass(frozen=True)
class MeteoTable:
    """Rows of a meteorological table: the air at a level of pressure, a point and a time.

    Attributes
    ----------
    name : str
        File or folder, for messages.
    files : list of Path
        Files that were read.
    latitude, longitude : ndarray, shape (rows,)
        Point [deg].
    time : ndarray of datetime64[s], shape (rows,)
        Time (UTC).
    pressure : ndarray, shape (rows,)
        Pressure [hPa].
    temperature : ndarray, shape (rows,)
        Temperature [K].
    humidity : ndarray, shape (rows,)
        Relative humidity (a fraction).
    height : ndarray, shape (rows,)
        Geopotential height [m].
    warnings : list of str
        Contradictions that do not matter.
    """

    name: str
    files: list[Path]
    latitude: Array
    longitude: Array
    time: Times
    pressure: Array
    temperature: Array
    humidity: Array
    height: Array
    warnings: list[str]

    @classmethod
    def read(cls, path: str | Path) -> MeteoTable:
        """Read a file, or all files of a folder.

        Parameters
        ----------
        path : str or Path
            An ECSV file, or a folder with ``*.ecsv``, ``*.grib`` and ``*.grib2`` files, of which products of this
            package (tables with a provenance, without the columns) are left out.

        Raises
        ------
        MissingInputError
            If there is none.
        CorruptedInputError
            If one cannot be read, or a column is missing or has another unit.
        """
        path = Path(path)
        files, parts = [], []
        for file in list_files(path):
            table = _read_table(file)
            # A folder may be that of the products too.
            if path.is_dir() and PROVENANCE in table.meta and not set(_NEEDED) <= set(table.colnames):
                continue
            files.append(file)
            parts.append(cls.from_table(table, file))
        if not files:
            raise MissingInputError(f"folder {path} holds no meteorological table, only products of this package")
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("latitude", "longitude", "time", "pressure", "temperature", "humidity", "height")
        }
        return cls(str(path), files, **joined, warnings=[text for part in parts for text in part.warnings])

    @classmethod
    def from_table(cls, table: Table, path: Path) -> MeteoTable:
        """Take the columns of a table.

        Parameters
        ----------
        table : Table
            Columns ``Latitude``, ``Longitude``, ``Timestamp``, ``Pressure``, ``Temperature``, ``Geopotential`` or
            ``Geopotential Height``, and ``Relative humidity`` (0 where it is missing); others are ignored.
        path : Path
            File, for messages.

        Raises
        ------
        CorruptedInputError
            If a column is missing or has another unit.
        """
        missing = [name for name in _NEEDED if name not in table.colnames]
        if not {"Geopotential", "Geopotential Height"} & set(table.colnames):
            missing.append("Geopotential (or Geopotential Height)")
        if missing:
            raise CorruptedInputError(
                f"meteorological table {path} lacks {', '.join(missing)}; it has {', '.join(table.colnames)}"
            )
        has_geopotential = "Geopotential" in table.colnames
        height = (
            convert_geopotential(_column(table, "Geopotential", path))
            if has_geopotential
            else _column(table, "Geopotential Height", path)
        )
        humidity = (
            0.01 * _column(table, "Relative humidity", path, missing=0.0)
            if "Relative humidity" in table.colnames
            else np.zeros(len(table))
        )
        made = cls(
            str(path),
            [path],
            _column(table, "Latitude", path),
            _column(table, "Longitude", path),
            _read_times(table, path),
            _column(table, "Pressure", path),
            _column(table, "Temperature", path),
            humidity,
            height,
            [],
        )
        placeless = ~(np.isfinite(made.latitude) & np.isfinite(made.longitude))
        if placeless.any():
            # Left out without a word, it would be a level less.
            raise CorruptedInputError(
                f"meteorological table {path}: row {int(placeless.argmax())} has no Latitude or Longitude; expected deg"
            )
        made.warnings.extend([*made._compare_given(table, path), *made._doubt_humidity(path)])
        return made

    def _doubt_humidity(self, path: Path) -> list[str]:
        """Doubt humidities that are all below 1 %, which air near the ground never has."""
        highest = 100.0 * np.nanmax(self.humidity, initial=0.0)
        if not 0.0 < highest <= 1.0:
            return []
        return [f"{path}: Relative humidity is nowhere above {highest:g} %; fractions need the unit 1, not %"]

    def _compare_given(self, table: Table, path: Path) -> list[str]:
        """Compare altitudes and densities of a table with those that are computed, which count."""
        computed: dict[str, tuple[str, Callable[[], Array]]] = {
            "Altitude": ("m", lambda: compute_altitude(self.height, self.latitude)),
            "Density": ("1 / cm3", lambda: compute_number_density(self.pressure, self.temperature)),
        }
        found = []
        for name, (unit, compute) in computed.items():
            if name not in table.colnames:
                continue
            given, own = _column(table, name, path, unit=unit), compute()
            scale = np.where(own == 0.0, 1.0, np.abs(own))
            relative = np.abs(given - own) / scale
            differs = relative > _SAME_VALUE
            if differs.any():
                found.append(
                    f"{path}: column {name} differs from the computed one in {differs.sum()} of {len(table)} rows, "
                    f"by up to {relative[differs].max():.2g} relative; the computed one is used"
                )
        return found

    def select(self, times: Times, points: Sequence[tuple[float, float]], rule: str = "cubic") -> MeteoSelection:
        """Average the levels over times and points.

        Levels that more than half of the columns of (time, point) hold count; a column that lacks one is dropped.

        Parameters
        ----------
        times : ndarray of datetime64[s]
            Times (UTC).
        points : sequence of (float, float)
            Latitude and longitude [deg].
        rule : str
            Interpolation between levels; see :class:`.LevelProfile`.

        Raises
        ------
        MissingInputError
            If no column can be used.
        CorruptedInputError
            If rows contradict each other, hold NaN, or make no profile.
        """
        rows, columns = self._find_columns(times, points)
        asked = len(times) * len(points)
        if rows.size == 0:
            raise MissingInputError(
                f"{self.name} has no data at the {len(times)} times from {times[0]} to {times[-1]} "
                f"and the points {_format_points(points)}"
            )
        rows, columns = self._drop_duplicates(rows, columns)
        self._check_values(rows, "pressure")
        pressures, level_of_row = np.unique(self.pressure[rows], return_inverse=True)
        held = np.zeros((asked, pressures.size), dtype=bool)
        row_of = np.zeros((asked, pressures.size), dtype=int)
        held[columns, level_of_row], row_of[columns, level_of_row] = True, rows
        present = held.any(axis=1)
        counted = held.sum(axis=0) > 0.5 * present.sum()
        complete = present & held[:, counted].all(axis=1)
        if not counted.any() or not complete.any():
            raise MissingInputError(f"{self.name}: no column of time and point holds all levels that most of them hold")
        used_rows = row_of[np.ix_(complete, counted)]
        self._check_values(used_rows.ravel(), "temperature", "humidity", "height")
        warnings = list(self.warnings)
        dropped = np.flatnonzero(present & ~complete)
        if dropped.size:
            warnings.append(f"{self.name}: {self._describe_dropped(dropped, held, counted, pressures, times, points)}")
        used = complete.sum()
        completeness = float(used / asked)
        if completeness < 1.0:
            warnings.append(f"{self.name}: {used} of {asked} columns of time and point are used")
        try:
            profile = self._average(used_rows, rule)
        except CorruptedInputError as error:
            raise CorruptedInputError(f"{self.name}: {error}") from error
        return MeteoSelection(profile, completeness, warnings)

    def _find_columns(
        self, times: Times, points: Sequence[tuple[float, float]]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Find the rows at times and points, and the column (time, point) of each."""
        asked = np.asarray(times, dtype="datetime64[s]")
        rows, columns = [], []
        for j, (latitude, longitude) in enumerate(points):
            # Longitudes may count from -180 or from 0 deg.
            east = np.abs((self.longitude - longitude + 180.0) % 360.0 - 180.0)
            here = (np.abs(self.latitude - latitude) <= _SAME_POINT) & (east <= _SAME_POINT)
            for i, time in enumerate(asked):
                found = np.flatnonzero(here & (self.time == time))
                rows.append(found)
                columns.append(np.full(found.size, i * len(points) + j))
        return np.concatenate(rows), np.concatenate(columns)

    def _drop_duplicates(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Keep one of equal rows; refuse unequal ones of one column and level."""
        keys = np.column_stack([columns, self.pressure[rows]])
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        group = group.ravel()
        for name in ("temperature", "humidity", "height"):
            values = getattr(self, name)[rows]
            kept = values[first][group]
            differs = (values != kept) & ~(np.isnan(values) & np.isnan(kept))
            if differs.any():
                row = rows[np.flatnonzero(differs)[0]]
                raise CorruptedInputError(
                    f"{self.name}: rows of {self.pressure[row]:g} hPa at {self.time[row]}, "
                    f"({self.latitude[row]:g}, {self.longitude[row]:g}) deg differ in {name}; "
                    "expected one, or equal ones"
                )
        return rows[first], columns[first]

    def _check_values(self, rows: NDArray[np.intp], *names: str) -> None:
        """Refuse values that are not finite, and pressures and temperatures that air cannot have."""
        for name in names:
            values = getattr(self, name)[rows]
            low, high, unit = RANGES.get(name, (-np.inf, np.inf, ""))
            bad = ~(np.isfinite(values) & (values >= low) & (values <= high))
            if bad.any():
                row = rows[bad][0]
                expected = f"{low:g} to {high:g} {unit}" if unit else "a number"
                raise CorruptedInputError(
                    f"{self.name}: {name} {values[bad][0]:g} at {self.pressure[row]:g} hPa, {self.time[row]}, "
                    f"({self.latitude[row]:g}, {self.longitude[row]:g}) deg; expected {expected}"
                )

    def _describe_dropped(
        self,
        dropped: NDArray[np.intp],
        held: NDArray[np.bool_],
        counted: NDArray[np.bool_],
        pressures: Array,
        times: Times,
        points: Sequence[tuple[float, float]],
    ) -> str:
        column = int(dropped[0])
        level = pressures[counted & ~held[column]][0]
        return (
            f"{dropped.size} columns lack levels that most have and are dropped, the first at "
            f"{times[column // len(points)]}, {_format_points([points[column % len(points)]])}, without {level:g} hPa"
        )

    def _average(self, rows: NDArray[np.intp], rule: str) -> LevelProfile:
        """Average rows of shape (columns, levels), whose pressures ascend."""

        def average(values: Array) -> Array:
            mean: Array = values.mean(axis=0)[::-1]
            return mean

        return LevelProfile(
            altitude=average(compute_altitude(self.height[rows], self.latitude[rows])),
            pressure=average(self.pressure[rows]),
            density=average(compute_number_density(self.pressure[rows], self.temperature[rows])),
            temperature=average(self.temperature[rows]),
            humidity=average(self.humidity[rows]),
            rule=rule,
        )


def list_files(path: Path) -> list[Path]:
    """List the meteorological files of a path.

    Parameters
    ----------
    path : Path
        A file or a folder.

    Raises
    ------
    MissingInputError
        If there is none.
    """
    if not path.is_dir():
        if not path.exists():
            raise MissingInputError(f"meteorological table {path} is not there; expected a file or folder")
        return [path]
    found = (file for suffix in (".ecsv", *_GRIB) for file in path.glob(f"*{suffix}"))
    # A name that begins with a dot is that of an unfinished product of a run that was killed.
    files = sorted(file for file in found if not file.name.startswith("."))
    if not files:
        raise MissingInputError(f"folder {path} holds no meteorological table; expected *.ecsv, *.grib or *.grib2")
    return files


def _read_table(path: Path) -> Table:
    """Read a file of either format."""
    if path.suffix in _GRIB:
        from cal_pipeline.cherenkov.grib import read_grib

        return read_grib(path)
    return read_ecsv(path, "meteorological table")


def _format_points(points: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"({latitude:g}, {longitude:g}) deg" for latitude, longitude in points)


def _column(table: Table, name: str, path: Path, missing: float = np.nan, unit: str | None = None) -> Array:
    """Return a column in its unit; masked values become `missing`."""
    column = table[name]
    expected = unit or _UNITS[name]
    given = str(column.unit) if column.unit is not None else expected
    factor = 1.0
    # A geopotential in gpm would be a height, 9.8 times smaller; humidity of unit 1 is a fraction, not percent.
    accepted = (expected, _GPM) if expected == "m" else (expected,) if expected == "%" else (expected, "")
    if given not in accepted:
        try:
            factor = units.Unit(given).to(units.Unit(expected))
        except (ValueError, TypeError) as error:
            raise CorruptedInputError(
                f"meteorological table {path}: column {name} is in {given!r}; expected {expected}"
            ) from error
    try:
        values = np.ma.filled(np.ma.asarray(column).astype(float), missing)
    except (TypeError, ValueError) as error:
        raise CorruptedInputError(f"meteorological table {path}: column {name} holds no numbers") from error
    result: Array = values * factor if factor != 1.0 else values
    return result


def _read_times(table: Table, path: Path) -> Times:
    """Return the times of the rows, to the second."""
    column: Any = table["Timestamp"]
    try:
        time = column if isinstance(column, Time) else Time(np.asarray(column).astype(str), scale="utc")
        # Rounded: 23:59:59.9999 is midnight.
        milliseconds = time.utc.to_value("datetime64").astype("datetime64[ms]").astype("int64")
    except Exception as error:
        raise CorruptedInputError(f"meteorological table {path}: column Timestamp holds no times") from error
    rounded: Times = np.round(milliseconds / 1000.0).astype("int64").astype("datetime64[s]")
    return rounded
