"""Tables of the database.

Units stand in the comment of a column, where the database keeps comments, and in its ``info``.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import JSON, Date, DateTime, Dialect, Double, ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column
from sqlalchemy.types import TypeDecorator

Array = NDArray[np.float64]


class JsonArray(TypeDecorator[Array]):
    """Array of numbers as a JSON list, with null for NaN.

    Numbers are written with the digits that make them unique and come back bit for bit.
    """

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Turn an array into nested lists."""
        if value is None:
            return None
        array = np.asarray(value, dtype=float)
        if np.isinf(array).any():
            raise ValueError("an array holds infinity, which JSON cannot")
        values = array.astype(object)
        values[np.isnan(array)] = None
        return values.tolist()

    def process_result_value(self, value: Any, dialect: Dialect) -> Array | None:
        """Turn nested lists into an array."""
        # None becomes NaN by the dtype.
        return None if value is None else np.array(value, dtype=float)

    def compare_values(self, x: Any, y: Any) -> bool:
        """Compare two arrays; SQLAlchemy leaves a row alone if they are equal."""
        return x is y or (x is not None and y is not None and np.array_equal(x, y, equal_nan=True))


def _describe(description: str, unit: str = "", type_: Any = None, *keys: Any, **options: Any) -> MappedColumn[Any]:
    """Make a column with its description and unit."""
    comment = f"{description} [{unit}]" if unit else description
    info = {"description": description, "unit": unit}
    return mapped_column(type_, *keys, comment=comment, info=info, **options)


def _number(description: str, unit: str = "", **options: Any) -> MappedColumn[Any]:
    return _describe(description, unit, Double, **options)


def _array(description: str, unit: str = "") -> MappedColumn[Any]:
    return _describe(description, unit, JsonArray)


def _text(description: str, **options: Any) -> MappedColumn[Any]:
    return _describe(description, "", String, **options)


def _model_version() -> MappedColumn[Any]:
    """Make the key of a table that holds one row a model."""
    key = ForeignKey("AtmosphericModel.version")
    return _describe("Version of the atmospheric model", "", String, key, primary_key=True)


class Base(DeclarativeBase):
    """Base of the tables."""


class ObservatoryRow(Base):
    """Observatory."""

    __tablename__ = "Observatory"

    name: Mapped[str] = _text("Name, upper-case", primary_key=True)
    version: Mapped[str] = _text("Version of the entry", primary_key=True)
    latitude: Mapped[float] = _number("Latitude", "deg")
    longitude: Mapped[float] = _number("Longitude, to the east", "deg")
    elevation: Mapped[float] = _number("Elevation above sea level", "m")


class SeasonRow(Base):
    """Season of an observatory."""

    __tablename__ = "Season"
    __table_args__ = (
        ForeignKeyConstraint(["name_Observatory", "version_Observatory"], ["Observatory.name", "Observatory.version"]),
    )

    name_Observatory: Mapped[str] = _text("Name of the observatory", primary_key=True)
    version_Observatory: Mapped[str] = _text("Version of the observatory", primary_key=True)
    name: Mapped[str] = _text("Name, upper-case", primary_key=True)
    alias: Mapped[str] = _text("Season of the atmospheric models: SUMMER, WINTER or INTERMEDIATE")
    start: Mapped[str] = _text("First day, MM-DD")
    stop: Mapped[str] = _text("Last day, MM-DD")


class AtmosphericModelRow(Base):
    """Reference model of the atmosphere."""

    __tablename__ = "AtmosphericModel"
    __table_args__ = (
        ForeignKeyConstraint(["name_Observatory", "version_Observatory"], ["Observatory.name", "Observatory.version"]),
    )

    version: Mapped[str] = _text("Version", primary_key=True)
    start: Mapped[date | None] = _describe("First day of use", "", Date)
    stop: Mapped[date | None] = _describe("Last day of use", "", Date)
    current: Mapped[bool] = _describe("True if it may be selected")
    season: Mapped[str] = _text("Season: SUMMER, WINTER or INTERMEDIATE")
    name_Observatory: Mapped[str] = _text("Name of the observatory")
    version_Observatory: Mapped[str] = _text("Version of the observatory")


class ProfileMetaRow(Base):
    """Origin of an atmospheric profile."""

    __tablename__ = "MolecularAtmosphericProfileMeta"

    version: Mapped[str] = _model_version()
    data_assimilation_system: Mapped[str | None] = _text("System that assimilated the data")
    dataset: Mapped[str | None] = _text("Data set")
    description: Mapped[str | None] = _text("Description")


class ProfileRow(Base):
    """Atmospheric profile of a model."""

    __tablename__ = "MolecularAtmosphericProfile"

    version: Mapped[str] = _model_version()
    altitude: Mapped[Array] = _array("Altitude above sea level", "km")
    pressure: Mapped[Array] = _array("Pressure", "hPa")
    temperature: Mapped[Array] = _array("Temperature", "K")
    partial_water_pressure: Mapped[Array] = _array("Pressure of water vapour over the pressure")
    refractive_index_m_1: Mapped[Array] = _array("Refractive index less 1")
    atmospheric_density: Mapped[Array] = _array("Density", "g / cm3")
    atmospheric_thickness: Mapped[Array] = _array("Mass of the air above", "g / cm2")


class DensityRow(Base):
    """Number density of a model at 15 km."""

    __tablename__ = "MolecularDensity"

    version: Mapped[str] = _model_version()
    season: Mapped[str] = _text("Season: SUMMER, WINTER or INTERMEDIATE")
    density: Mapped[float] = _number("Number density at 15 km", "1 / cm3")


class MacobacRow(Base):
    """Concentration of CO2 of a model."""

    __tablename__ = "MACOBAC"

    version: Mapped[str] = _model_version()
    co2_concentration: Mapped[float] = _number("Concentration of CO2, mean of 12 months", "ppm")
    estimation_date: Mapped[date] = _describe("Date of the estimate", "", Date)


class ExtinctionRow(Base):
    """Extinction of a model by Rayleigh scattering."""

    __tablename__ = "RayleighExtinction"

    version: Mapped[str] = _model_version()
    wavelength: Mapped[Array] = _array("Wavelength [wavelength]", "nm")
    altitude: Mapped[Array] = _array("Altitude above sea level [bin, (lowest, highest)]", "km")
    AOD: Mapped[Array] = _array("Optical depth up to the bin, vertical [bin, wavelength]")


class SelectionRow(Base):
    """Reference model that was selected for a night."""

    __tablename__ = "SelectedAtmosphericModel"

    date: Mapped[date] = _describe("Date of the evening", "", Date, primary_key=True)
    site: Mapped[str] = _text("Name of the observatory", primary_key=True)
    provenance: Mapped[str] = _text("Origin of the selection: GDAS, ECMWF or timestamp", primary_key=True)
    version: Mapped[str] = _describe(
        "Version of the atmospheric model", "", String, ForeignKey("AtmosphericModel.version")
    )
    season: Mapped[str] = _text("Season of the model")
    number_density_15km: Mapped[float | None] = _number("Number density of the night at 15 km", "1 / cm3")
    created: Mapped[datetime] = _describe("Time of the selection (UTC)", "", DateTime)
