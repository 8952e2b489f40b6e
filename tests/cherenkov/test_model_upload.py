"""Reference models in a configuration and its files: what is read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.table import QTable, Table
from astropy.time import Time
from helpers_database import write_model

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.model_upload import list_files, read_macobac_row, read_model

pytestmark = pytest.mark.cherenkov


@pytest.fixture
def section(tmp_path: Path) -> dict[str, Any]:
    return write_model(tmp_path)


@pytest.fixture
def change(tmp_path: Path) -> Callable[[str, Callable[[Table], Any]], None]:
    """Change the table of a file of the model."""

    def change_table(name: str, edit: Callable[[Table], Any]) -> None:
        path = tmp_path / f"{name}.ecsv"
        table = Table.read(path, format="ascii.ecsv")
        changed = edit(table)
        (table if changed is None else changed).write(path, format="ascii.ecsv", overwrite=True)

    return change_table


def test_rows_of_a_model(section: dict[str, Any], tmp_path: Path):
    rows = read_model(section)
    assert rows["AtmosphericModel"] == {
        "version": "1.0.0",
        "start": date(2023, 9, 28),
        "stop": None,
        "current": True,
        "season": "WINTER",
        "name_Observatory": "RIDGE",
        "version_Observatory": "1",
    }
    assert rows["MolecularAtmosphericProfileMeta"]["dataset"] == "ERA5"
    assert rows["MACOBAC"] == {
        "version": "1.0.0",
        "co2_concentration": 419.3125,
        "estimation_date": date(2023, 7, 10),
    }
    extinction = rows["RayleighExtinction"]
    assert extinction["wavelength"].tolist() == [200.0, 201.0, 202.0]
    assert (extinction["altitude"].shape, extinction["AOD"].shape) == ((4, 2), (4, 3))
    assert list_files(section) == [
        str(tmp_path / f"{name}.ecsv") for name in ("profile", "extinction", "macobac", "density")
    ]


def test_other_units_are_converted_and_equal_ones_kept(section: dict[str, Any], change: Any):
    before = read_model(section)["MolecularAtmosphericProfile"]

    def to_metre(table: Table) -> None:
        table["altitude"] = 1000.0 * table["altitude"]
        table["altitude"].unit = "m"

    change("profile", to_metre)
    after = read_model(section)["MolecularAtmosphericProfile"]
    assert after["altitude"] == pytest.approx(before["altitude"])
    assert np.array_equal(after["temperature"], before["temperature"])


@pytest.mark.parametrize("name", ["temperature", "partial_water_pressure"])
def test_unknown_values_are_nan(section: dict[str, Any], change: Any, name: str):
    def forget(table: Table) -> Table:
        masked = Table(table, masked=True)
        masked[name].mask[2] = True
        masked[name][3] = np.nan
        return masked

    change("profile", forget)
    values = read_model(section)["MolecularAtmosphericProfile"][name]
    assert np.flatnonzero(np.isnan(values)).tolist() == [2, 3]


def test_published_form_of_co2(tmp_path: Path):
    path = tmp_path / "macobac.ecsv"
    ppm = units.def_unit("ppm", 1e-6 * units.dimensionless_unscaled)
    table = QTable({"co2_concentration": [419.3125] * ppm, "version": [-1]})
    table["estimation_date"] = Time(["2023-07-10 00:00:00.000"])
    with units.add_enabled_units(ppm):
        table.write(path, format="ascii.ecsv")
    assert read_macobac_row(path) == {"co2_concentration": 419.3125, "estimation_date": date(2023, 7, 10)}


@pytest.mark.parametrize("start", [date(2023, 9, 28), datetime(2023, 9, 28, 5), "2023-09-28", "2023-09-28 00:00:00"])
def test_dates_in_many_forms(section: dict[str, Any], start: Any):
    section["atmospheric_model"]["start"] = start
    assert read_model(section)["AtmosphericModel"]["start"] == date(2023, 9, 28)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("atmospheric_model.version", 1.1, ["1.1", "quote it"]),
        ("atmospheric_model.version", None, ["lacks version"]),
        ("atmospheric_model.current", "yes", ["current is 'yes'"]),
        ("atmospheric_model.season", "monsoon", ["'monsoon'", "SUMMER"]),
        ("atmospheric_model.start", "soon", ["start is 'soon'"]),
        ("atmospheric_model.stop", "2020-01-01", ["2020-01-01", "2023-09-28"]),
        ("atmospheric_model.versoin", "1", ["'versoin'", "did you mean version"]),
        ("molecular_atmospheric_profile.data_path", None, ["lacks data_path"]),
        ("molecular_atmospheric_profile.path", "x", ["'path'", "data_path"]),
        ("macobac_data_path", None, ["lacks macobac_data_path"]),
        ("atmospheric_model", None, ["lacks atmospheric_model"]),
        ("atmospheric_model", "x", ["'x'", "expected keys version"]),
        ("rayleigh_data_path", "x", ["'rayleigh_data_path'", "rayleigh_extinction_data_path"]),
    ],
)
def test_useless_sections(section: dict[str, Any], path: str, value: Any, words: list[str]):
    *outer, key = path.split(".")
    inner = section[outer[0]] if outer else section
    inner[key] = value
    with pytest.raises(ConfigurationError) as caught:
        read_model(section)
    assert all(word in str(caught.value) for word in words)


def set_value(name: str, value: Any) -> Callable[[Table], None]:
    def edit(table: Table) -> None:
        table[name] = value

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("profile", lambda table: table.remove_column("pressure"), ["lacks the column pressure"]),
        ("profile", lambda table: table[::-1], ["ascending"]),
        ("profile", set_value("pressure", np.inf), ["pressure", "not finite"]),
        ("profile", set_value("pressure", ["a"] * 12), ["pressure", "no numbers"]),
        ("profile", lambda table: setattr(table["pressure"], "unit", "K"), ["pressure is in K", "hPa"]),
        ("extinction", lambda table: table.remove_column("altitude_min"), ["lacks the column altitude_min"]),
        ("extinction", lambda table: table.rename_column("200.0 nm", "aod"), ["holds aod", "'200.0 nm'"]),
        ("extinction", set_value("202 nm", 1.0), ["4 wavelengths", "once"]),
        ("extinction", lambda table: table[["altitude_min", "altitude_max"]], ["no wavelength"]),
        ("extinction", set_value("altitude_max", 2.0), ["altitude_min below altitude_max"]),
        ("extinction", lambda table: table[:0], ["0 bins"]),
        ("macobac", lambda table: table.remove_column("co2_concentration"), ["co2_concentration"]),
        ("macobac", lambda table: table.remove_column("estimation_date"), ["estimation_date is missing"]),
        ("macobac", set_value("estimation_date", "July"), ["estimation_date is July"]),
        ("macobac", lambda table: table[[0, 0]], ["2 rows"]),
        ("density", lambda table: table.remove_column("density"), ["lacks the column density"]),
        ("density", lambda table: table.remove_column("season"), ["season"]),
        ("density", set_value("season", "spring"), ["spring (INTERMEDIATE)", "expected the model's, WINTER"]),
        ("density", set_value("season", ["monsoon"]), ["'monsoon'"]),
        ("density", set_value("density", -1.0), ["density > 0"]),
    ],
)
def test_corrupted_files(section: dict[str, Any], change: Any, tmp_path: Path, name: str, edit: Any, words: list[str]):
    change(name, edit)
    with pytest.raises(CorruptedInputError) as caught:
        read_model(section)
    assert all(word in str(caught.value) for word in [str(tmp_path / name), *words])


@pytest.mark.parametrize("name", ["profile", "extinction", "macobac", "density"])
def test_missing_files(section: dict[str, Any], tmp_path: Path, name: str):
    (tmp_path / f"{name}.ecsv").unlink()
    with pytest.raises(MissingInputError, match=name):
        read_model(section)


@pytest.mark.parametrize("season", ["winter", "summer", "intermediate"])
def test_real_models(section: dict[str, Any], shared: Path, season: str):
    section["atmospheric_model"]["season"] = season
    section["molecular_atmospheric_profile"]["data_path"] = shared / f"reference_atmosphere_north_{season}.ecsv"
    section["rayleigh_extinction_data_path"] = shared / f"reference_extinction_north_{season}.ecsv"
    section["molecular_density_data_path"] = shared / f"reference_density_north_{season}.ecsv"
    section["macobac_data_path"] = shared / "macobac_2023-07-10.ecsv"
    rows = read_model(section)
    assert rows["MACOBAC"]["co2_concentration"] == 419.3125
    assert rows["RayleighExtinction"]["AOD"].shape == (50, 32)
    assert rows["MolecularAtmosphericProfile"]["altitude"].size == 61
    assert 4.3e18 < rows["MolecularDensity"]["density"] < 4.8e18
