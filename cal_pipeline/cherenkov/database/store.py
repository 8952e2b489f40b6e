"""Database of observatories, reference models of the atmosphere, and selections.

This module is importable without SQLAlchemy, which :func:`open_database` needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from cal_pipeline.cherenkov.atmosphere_tables import PROFILE_COLUMNS
from cal_pipeline.cherenkov.database.location import DEFAULT_URL
from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.extras import import_extra
from cal_pipeline.cherenkov.observatory import Observatory, Season
from cal_pipeline.cherenkov.selection import sort_key

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cal_pipeline.cherenkov.database.tables import ExtinctionRow, ProfileRow


@dataclass(frozen=True)
class ReferenceModel:
    """Reference model of the atmosphere.

    Attributes
    ----------
    version : str
        Version of the model.
    season : str
        ``SUMMER``, ``WINTER`` or ``INTERMEDIATE``.
    density : float
        Number density at 15 km [1/cm3].
    profile : Table
        Atmospheric profile: ``altitude`` [km], ``atmospheric_density`` [g/cm3], ``atmospheric_thickness`` [g/cm2],
        ``refractive_index_m_1``, ``temperature`` [K], ``pressure`` [hPa], ``partial_water_pressure``.
    extinction : Table
        Optical depth: ``altitude_min``, ``altitude_max`` [km], and a column a wavelength such as ``200.0 nm``.
    co2 : float
        Concentration of CO2 [ppm].
    """

    version: str
    season: str
    density: float
    profile: Table
    extinction: Table
    co2: float


def import_connection() -> Any:
    """Import the module that connects to databases.

    Raises
    ------
    ConfigurationError
        If SQLAlchemy is not installed.
    """
    import_extra("sqlalchemy")
    from cal_pipeline.cherenkov.database import connection

    return connection


def open_database(url: str = DEFAULT_URL, must_have_tables: bool = True) -> Database:
    """Open a database.

    Parameters
    ----------
    url : str
        URL for SQLAlchemy, of a SQLite file or a PostgreSQL server.
    must_have_tables : bool
        Refuse a database that lacks tables.

    Returns
    -------
    Database

    Raises
    ------
    ConfigurationError
        If the URL is none, or SQLAlchemy or the driver is not installed.
    StorageError
        If the database cannot be reached, or lacks tables; the message names the command that makes them.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     database = open_database(f"sqlite:///{Path(folder, 'calibpipe.db').as_posix()}", must_have_tables=False)
    ...     made = database.make_tables()
    >>> len(made), "Observatory" in made
    (9, True)
    """
    connection = import_connection()
    engine = connection.make_engine(url)
    if must_have_tables:
        connection.require_tables(engine)
    return Database(engine)


class Database:
    """Database of a site; each method is one transaction.

    Parameters
    ----------
    engine : Engine
        SQLAlchemy's engine; see :func:`open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def location(self) -> str:
        """URL without the password."""
        text: str = import_connection().describe(self.engine)
        return text

    def make_tables(self) -> list[str]:
        """Make the tables that are missing and return their names; others stay as they are."""
        made: list[str] = import_connection().make_tables(self.engine)
        return made

    def observatory(self, name: str, version: str | int) -> Observatory:
        """Read an observatory.

        Parameters
        ----------
        name : str
            Name, in any case.
        version : str or int
            Version of the entry.

        Returns
        -------
        Observatory

        Raises
        ------
        ConfigurationError
            If there is none; the message names those that are there.
        """
        from sqlalchemy import select

        from cal_pipeline.cherenkov.database.tables import ObservatoryRow, SeasonRow

        key = (name.upper(), str(version))
        with import_connection().begin_transaction(self.engine) as session:
            row = session.get(ObservatoryRow, key)
            if row is None:
                known = sorted(f"{one.name} version {one.version}" for one in session.scalars(select(ObservatoryRow)))
                raise ConfigurationError(
                    f"database {self.location} has no observatory {key[0]} version {key[1]}; "
                    f"expected one of {', '.join(known) or 'none: upload it first'}"
                )
            seasons = session.scalars(
                select(SeasonRow)
                .where(SeasonRow.name_Observatory == key[0], SeasonRow.version_Observatory == key[1])
                .order_by(SeasonRow.start)
            )
            found = tuple(Season(season.name, season.start, season.stop) for season in seasons)
        return Observatory(row.name, row.version, row.latitude, row.longitude, row.elevation, found)

    def current_models(self, name: str, version: str | int) -> list[ReferenceModel]:
        """Read the current reference models of an observatory.

        Parameters
        ----------
        name : str
            Name of the observatory, in any case.
        version : str or int
            Version of its entry.

        Returns
        -------
        list of ReferenceModel
            In the order of their versions.
        """
        from sqlalchemy import select

        from cal_pipeline.cherenkov.database.tables import (
            AtmosphericModelRow,
            DensityRow,
            ExtinctionRow,
            MacobacRow,
            ProfileRow,
        )

        model = AtmosphericModelRow
        statement = (
            select(model, DensityRow, ProfileRow, ExtinctionRow, MacobacRow)
            .join(DensityRow, DensityRow.version == model.version)
            .join(ProfileRow, ProfileRow.version == model.version)
            .join(ExtinctionRow, ExtinctionRow.version == model.version)
            .join(MacobacRow, MacobacRow.version == model.version)
            .where(model.current, model.name_Observatory == name.upper(), model.version_Observatory == str(version))
        )
        with import_connection().begin_transaction(self.engine) as session:
            rows = session.execute(statement).all()
        models = [
            ReferenceModel(
                row.version,
                row.season,
                density.density,
                _make_profile(profile),
                _make_extinction(extinction),
                macobac.co2_concentration,
            )
            for row, density, profile, extinction, macobac in rows
        ]
        return sorted(models, key=lambda found: sort_key(found.version))

    def record_selection(
        self,
        date: Any,
        site: str,
        provenance: str,
        version: str,
        season: str,
        number_density_15km: float | None = None,
    ) -> None:
        """Record the model that was selected for a night; an earlier record with the same key is replaced.

        Parameters
        ----------
        date : date, numpy.datetime64 or str
            Date of the evening.
        site : str
            Name of the observatory.
        provenance : str
            Origin of the selection: ``GDAS``, ``ECMWF`` or ``timestamp``.
        version, season : str
            The model.
        number_density_15km : float, optional
            Number density of the night [1/cm3]; None without data.

        Raises
        ------
        StorageError
            If the database cannot be written, or has no such model.
        """
        from cal_pipeline.cherenkov.database.tables import SelectionRow

        row = SelectionRow(
            date=np.datetime64(date, "D").item(),
            site=site.upper(),
            provenance=provenance,
            version=version,
            season=season,
            number_density_15km=None if number_density_15km is None else float(number_density_15km),
            created=datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        )
        with import_connection().begin_transaction(self.engine, writes=True) as session:
            session.merge(row)

    def selections(self) -> Table:
        """Read all selections.

        Returns
        -------
        Table
            ``date``, ``site``, ``provenance``, ``version``, ``season``, ``number_density_15km`` [1/cm3] (NaN without
            data), ``created``; in the order of the key.
        """
        from sqlalchemy import select

        from cal_pipeline.cherenkov.database.tables import SelectionRow

        with import_connection().begin_transaction(self.engine) as session:
            order = (SelectionRow.date, SelectionRow.site, SelectionRow.provenance)
            rows = session.scalars(select(SelectionRow).order_by(*order)).all()
        table = Table(
            {
                "date": np.array([row.date.isoformat() for row in rows], dtype=str),
                **{
                    name: np.array([getattr(row, name) for row in rows], dtype=str)
                    for name in ("site", "provenance", "version", "season")
                },
                # None becomes NaN by the dtype.
                "number_density_15km": np.array([row.number_density_15km for row in rows], dtype=float),
                "created": np.array([row.created.isoformat() for row in rows], dtype=str),
            }
        )
        table["number_density_15km"].unit = "1 / cm3"
        return table


def _make_profile(row: ProfileRow) -> Table:
    """Make the table of a profile, with the columns of the published files."""
    table = Table()
    for name, unit in PROFILE_COLUMNS.values():
        table[name] = getattr(row, name)
        if unit:
            table[name].unit = unit
    return table


def _make_extinction(row: ExtinctionRow) -> Table:
    """Make the table of an extinction, with the columns of the published files."""
    table = Table({"altitude_min": row.altitude[:, 0], "altitude_max": row.altitude[:, 1]})
    table["altitude_min"].unit = table["altitude_max"].unit = "km"
    for name, values in zip(row.wavelength, row.AOD.T, strict=True):
        # Columns of one array share its memory; copies are contiguous.
        table[f"{name} nm"] = values.copy()
    return table
