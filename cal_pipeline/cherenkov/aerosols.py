"""Inputs of the aerosol tools: photometry of stars, signals of a LIDAR, a profile of the air."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from cal_pipeline.cherenkov.atmosphere_tables import get_column, read_profile_table
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.physics.atmosphere import ReferenceAtmosphere
from cal_pipeline.cherenkov.products import read_ecsv

Array = NDArray[np.float64]

DEFAULT_CO2 = 420.0
"""Concentration of CO2 for profiles that do not tell theirs [ppm]."""

CO2_KEY = "co2_concentration"
"""Key of the concentration of CO2 [ppm] in the metadata of a profile."""

_FITS = (".fits", ".fit", ".fits.gz", ".fit.gz")


@dataclass(frozen=True)
class StarTable:
    """Aerosol optical depths towards stars.

    Attributes
    ----------
    depth, error : ndarray, shape (stars,)
        Aerosol optical depth along the line of sight, and its error (1 sigma).
    zenith_angle : ndarray, shape (stars,)
        Zenith angle [deg].
    wavelength : ndarray, shape (stars,)
        Wavelength [nm].
    time : Time, shape (stars,)
        Times.
    """

    depth: Array
    error: Array
    zenith_angle: Array
    wavelength: Array
    time: Time

    @property
    def duration(self) -> float:
        """Time between the first and the last row [h]."""
        return float((self.time.max() - self.time.min()).to_value("h")) if self.depth.size else 0.0


def read_star_table(path: Path) -> StarTable:
    """Read the photometry of stars.

    Parameters
    ----------
    path : Path
        FITS file (its first extension) or ECSV file, with the columns `aod`, `aod_err`, `zenith_angle` [deg],
        `wavelength` [nm] and `timestamp` (ISO text or Time, UTC).

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If a column is not there, or holds a value that cannot be.
    """
    table = _read_fits(path) if path.name.lower().endswith(_FITS) else read_ecsv(path, "table of stars")
    if "timestamp" not in table.colnames:
        raise CorruptedInputError(f"{path} has no column timestamp; it has {', '.join(table.colnames)}")
    stars = StarTable(
        depth=get_column(table, "aod", "", str(path)),
        error=get_column(table, "aod_err", "", str(path)),
        zenith_angle=get_column(table, "zenith_angle", "deg", str(path)),
        wavelength=get_column(table, "wavelength", "nm", str(path)),
        time=_read_times(table["timestamp"], path),
    )
    _refuse(path, "aod_err", stars.error, stars.error < 0, "0 or above")
    _refuse(path, "zenith_angle", stars.zenith_angle, ~(np.abs(stars.zenith_angle - 45) <= 45), "0 to 90 deg")
    _refuse(path, "wavelength", stars.wavelength, stars.wavelength <= 0, "a positive number of nm")
    return stars


def _read_fits(path: Path) -> Table:
    if not path.is_file():
        raise MissingInputError(f"table of stars {path} is not there; expected a file")
    try:
        return Table.read(path, format="fits", hdu=1, astropy_native=True, unit_parse_strict="silent")
    except Exception as error:
        raise CorruptedInputError(f"table of stars {path} cannot be read as FITS: {error}") from error


def _read_times(column: Any, path: Path) -> Time:
    if isinstance(column, Time):
        return column.utc
    # FITS has text as bytes.
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in column]
    try:
        times = np.array([text.strip().removesuffix("Z") for text in texts], dtype="datetime64[ms]")
    except ValueError as error:
        raise CorruptedInputError(f"{path}: column timestamp: {error}; expected ISO text") from error
    if np.isnat(times).any():
        row = int(np.flatnonzero(np.isnat(times))[0])
        raise CorruptedInputError(f"{path}: column timestamp, row {row} has {texts[row]!r}; expected ISO text")
    return Time(times, scale="utc")


def _refuse(path: Path, name: str, values: Array, bad: NDArray[np.bool_], expected: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise CorruptedInputError(f"{path}: column {name}, row {row} has {values[row]:g}; expected {expected}")


def read_signal(path: Path) -> tuple[Array, Array]:
    """Read the signal of a LIDAR.

    Parameters
    ----------
    path : Path
        ECSV file with the columns `range` [m] and `signal`, the latter without background.

    Returns
    -------
    distance, signal : ndarray, shape (bins,)
        Distance from the station, ascending [m]; signal.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If a column is not there, holds NaN, or the distances are not positive and ascending.
    """
    table = read_ecsv(path, "signal")
    distance, signal = get_column(table, "range", "m", str(path)), get_column(table, "signal", "", str(path))
    if distance.size < 2:
        raise CorruptedInputError(f"{path} has {distance.size} rows; expected at least 2")
    before = np.concatenate([[0.0], distance[:-1]])
    _refuse(path, "range", distance, distance <= before, "distances above 0 that ascend")
    return distance, signal


def read_profile(path: Path) -> tuple[ReferenceAtmosphere, float | None]:
    """Read a profile of the air, as the atmospheric model of a night has it.

    Parameters
    ----------
    path : Path
        ECSV file.

    Returns
    -------
    profile : ReferenceAtmosphere
        Profile.
    co2 : float or None
        Concentration of CO2 in its metadata [ppm]; None if they have none.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If a column is not there or holds NaN, or the altitudes do not ascend.
    """
    table = read_ecsv(path, "profile")
    profile = read_profile_table(table, f"profile {path}")
    co2 = table.meta.get(CO2_KEY)
    return profile, None if co2 is None else float(co2)
