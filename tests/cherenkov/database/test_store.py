"""Database of both kinds: tables, uploads, models, selections."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from astropy.table import Table
from helpers_database import describe_observatory, write_model

from cal_pipeline.cherenkov.database.store import Database, open_database
from cal_pipeline.cherenkov.database.tables import Base
from cal_pipeline.cherenkov.database.upload import upload_model, upload_observatories
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, StorageError
from cal_pipeline.cherenkov.model_upload import read_model
from cal_pipeline.cherenkov.observatory import read_observatories

pytestmark = pytest.mark.cherenkov

COLUMNS = {
    "Observatory": "name version latitude longitude elevation",
    "Season": "name_Observatory version_Observatory name alias start stop",
    "AtmosphericModel": "version start stop current season name_Observatory version_Observatory",
    "MolecularAtmosphericProfileMeta": "version data_assimilation_system dataset description",
    "MolecularAtmosphericProfile": "version altitude pressure temperature partial_water_pressure refractive_index_m_1 "
    "atmospheric_density atmospheric_thickness",
    "MolecularDensity": "version season density",
    "MACOBAC": "version co2_concentration estimation_date",
    "RayleighExtinction": "version wavelength altitude AOD",
    "SelectedAtmosphericModel": "date site provenance version season number_density_15km created",
}


@pytest.fixture
def database(empty_url: str) -> Database:
    """A database with tables and an observatory."""
    found = open_database(empty_url, must_have_tables=False)
    found.make_tables()
    upload_observatories(found, read_observatories([describe_observatory()]), overwrite=False)
    return found


def read_rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows as the database holds them, without SQLAlchemy's types of arrays."""
    found = {}
    with database.engine.connect() as connection:
        for name, columns in COLUMNS.items():
            names = ", ".join(f'"{column}"' for column in columns.split())
            rows = connection.exec_driver_sql(f'SELECT {names} FROM "{name}"').all()
            found[name] = sorted((tuple(row) for row in rows), key=str)
    return found


def test_tables_and_columns_have_their_published_names(database: Database):
    inspector = sqlalchemy.inspect(database.engine)
    assert set(inspector.get_table_names()) == set(COLUMNS)
    for name, columns in COLUMNS.items():
        assert {column["name"] for column in inspector.get_columns(name)} == set(columns.split())


def test_units_stand_in_comments_and_in_the_mapping(database: Database):
    table = Base.metadata.tables["MolecularDensity"]
    assert table.c.density.info["unit"] == "1 / cm3"
    assert all(column.comment for each in Base.metadata.tables.values() for column in each.columns)
    if database.engine.dialect.name == "postgresql":
        comments = {c["name"]: c["comment"] for c in sqlalchemy.inspect(database.engine).get_columns("Observatory")}
        assert comments["elevation"] == "Elevation above sea level [m]"


def test_tables_are_made_once_and_others_left_alone(empty_url: str):
    database = open_database(empty_url, must_have_tables=False)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE "Season" (mine INTEGER)')
        connection.exec_driver_sql('INSERT INTO "Season" VALUES (42)')
    assert set(database.make_tables()) == set(COLUMNS) - {"Season"}
    assert database.make_tables() == []
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql('SELECT * FROM "Season"').all() == [(42,)]


def test_several_may_make_the_tables_at_once(empty_url: str):
    made: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: made.append(open_database(empty_url, must_have_tables=False).make_tables()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, made)) == [0, 0, 0, len(COLUMNS)]


def test_database_without_tables_names_the_command(empty_url: str):
    if empty_url.startswith("postgresql"):
        with pytest.raises(StorageError, match=r"lacks the tables .*Season.*calibpipe-init-db"):
            open_database(empty_url)
        return
    with pytest.raises(StorageError, match="is not there; calibpipe-init-db"):
        open_database(empty_url)
    path = Path(empty_url.removeprefix("sqlite:///"))
    assert not path.exists()
    path.touch()
    with pytest.raises(StorageError, match="lacks the tables"):
        open_database(empty_url)


def test_observatory_comes_back(database: Database):
    (given,) = read_observatories([describe_observatory()])
    found = database.observatory("ridge", 1)
    assert found == database.observatory("RIDGE", "1")
    assert (found.latitude, found.longitude, found.elevation) == (28.7, -17.9, 2150.0)
    assert set(found.seasons) == set(given.seasons)
    assert found.season_of("2024-02-29").alias == "WINTER"


def test_unknown_observatory_is_an_error_of_the_configuration(database: Database):
    with pytest.raises(ConfigurationError, match="no observatory VALLEY version 1; expected one of RIDGE version 1"):
        database.observatory("Valley", 1)
    with pytest.raises(ConfigurationError, match="version 2"):
        database.observatory("Ridge", 2)


def test_observatory_uploaded_twice_changes_nothing(database: Database):
    before = read_rows(database)
    assert upload_observatories(database, read_observatories([describe_observatory("RIDGE")]), False) == ["same"]
    assert read_rows(database) == before


@pytest.mark.parametrize("changed", ["elevation", "seasons"])
def test_other_observatory_is_refused_as_a_whole_unless_it_may_be_replaced(database: Database, changed: str):
    seasons = [
        {"name": "spring", "start_month": 1, "stop_month": 6},
        {"name": "winter", "start_month": 7, "stop_month": 12},
    ]
    other = describe_observatory(**{changed: {"elevation": 2151.0, "seasons": seasons}[changed]})
    observatories = read_observatories([describe_observatory("Valley"), other])
    before = read_rows(database)
    with pytest.raises(StorageError, match=r"RIDGE.*(elevation|season SPRING).*overwrite"):
        upload_observatories(database, observatories, overwrite=False)
    assert read_rows(database) == before
    assert upload_observatories(database, observatories, overwrite=True) == ["new", "replaced"]
    found = database.observatory("Ridge", 1)
    assert found.elevation == (2151.0 if changed == "elevation" else 2150.0)
    assert {season.name for season in found.seasons} == (
        {"SPRING", "WINTER"} if changed == "seasons" else {"SUMMER", "WINTER"}
    )


def test_model_comes_back_bit_for_bit(database: Database, tmp_path: Path):
    section = write_model(tmp_path / "model", bins=50, wavelengths=800)
    assert upload_model(database, read_model(section), overwrite=False) == "new"
    (model,) = database.current_models("Ridge", 1)
    for found, name in ((model.profile, "profile"), (model.extinction, "extinction")):
        given = Table.read(tmp_path / "model" / f"{name}.ecsv", format="ascii.ecsv")
        assert set(found.colnames) == set(given.colnames)
        for column in given.colnames:
            assert np.asarray(found[column]).tobytes() == np.asarray(given[column]).tobytes()
            assert str(found[column].unit or "") == str(given[column].unit or "")
    assert model.extinction.colnames[:3] == ["altitude_min", "altitude_max", "200.0 nm"]
    density = Table.read(tmp_path / "model" / "density.ecsv", format="ascii.ecsv")
    assert (model.version, model.season, model.co2) == ("1.0.0", "WINTER", 419.3125)
    assert model.density == density["density"][0]


def test_extreme_numbers_and_unknown_ones_come_back(database: Database, tmp_path: Path):
    section = write_model(tmp_path / "model", wavelengths=4)
    path = tmp_path / "model" / "extinction.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    values = np.array([5e-324, 1.7976931348623157e308, 0.1 + 0.2, np.nan])
    table["201.0 nm"] = values
    table["202.0 nm"] = [-0.0, 1e-17, 1.0, 3.0]
    table.write(path, format="ascii.ecsv", overwrite=True)
    upload_model(database, read_model(section), overwrite=False)
    (model,) = database.current_models("Ridge", 1)
    assert np.asarray(model.extinction["201.0 nm"]).tobytes() == values.tobytes()
    assert np.signbit(model.extinction["202.0 nm"][0])
    assert upload_model(database, read_model(section), overwrite=False) == "same"


def test_same_model_twice_changes_nothing_and_another_is_refused(database: Database, tmp_path: Path):
    rows = read_model(write_model(tmp_path / "model"))
    upload_model(database, rows, overwrite=False)
    before = read_rows(database)
    assert upload_model(database, rows, overwrite=False) == "same"
    assert read_rows(database) == before
    rows["MolecularAtmosphericProfile"]["temperature"] = rows["MolecularAtmosphericProfile"]["temperature"] + 1e-12
    rows["AtmosphericModel"]["current"] = False
    with pytest.raises(
        StorageError, match=r"model 1\.0\.0.*AtmosphericModel\.current, .*Profile\.temperature.*overwri"
    ):
        upload_model(database, rows, overwrite=False)
    assert read_rows(database) == before
    assert upload_model(database, rows, overwrite=True) == "replaced"
    assert database.current_models("Ridge", 1) == []
    assert upload_model(database, rows, overwrite=False) == "same"


def test_current_model_retires_those_of_its_season_only(database: Database, tmp_path: Path):
    upload_observatories(database, read_observatories([describe_observatory("Valley")]), overwrite=False)
    for version, season, site in (
        ("1.9.0", "WINTER", "Ridge"),
        ("1.2.0", "SUMMER", "Ridge"),
        ("1.3.0", "WINTER", "Valley"),
        ("1.10.0", "WINTER", "Ridge"),
    ):
        section = write_model(tmp_path / version, version, season, name_Observatory=site)
        upload_model(database, read_model(section), overwrite=False)
    assert [model.version for model in database.current_models("ridge", 1)] == ["1.2.0", "1.10.0"]
    assert [model.version for model in database.current_models("valley", 1)] == ["1.3.0"]
    # A model that is not current retires none.
    section = write_model(tmp_path / "2", "2.0.0", "SUMMER", current=False)
    upload_model(database, read_model(section), overwrite=False)
    assert [model.version for model in database.current_models("ridge", 1)] == ["1.2.0", "1.10.0"]


def test_model_of_an_unknown_observatory_writes_nothing(database: Database, tmp_path: Path):
    before = read_rows(database)
    rows = read_model(write_model(tmp_path / "model", name_Observatory="Valley"))
    with pytest.raises(CorruptedInputError, match=r"no observatory VALLEY version 1"):
        upload_model(database, rows, overwrite=False)
    assert read_rows(database) == before


def test_foreign_keys_are_enforced(database: Database):
    with pytest.raises(StorageError, match=r"(?i)foreign key"):
        database.record_selection("2023-07-09", "Ridge", "GDAS", "9.9.9", "SUMMER", 4.6e18)
    assert len(database.selections()) == 0


def test_selections_are_recorded_and_replaced_by_their_key(database: Database, tmp_path: Path):
    for version, season in (("1.0.0", "WINTER"), ("2.0.0", "SUMMER")):
        upload_model(database, read_model(write_model(tmp_path / season, version, season)), overwrite=False)
    evening = np.datetime64("2023-07-09")
    database.record_selection(evening, "Ridge", "GDAS", "1.0.0", "WINTER", 4.4e18)
    database.record_selection(evening, "Ridge", "timestamp", "1.0.0", "WINTER")
    database.record_selection(evening, "RIDGE", "GDAS", "2.0.0", "SUMMER", 4.644145761612368e18)
    found = database.selections()
    assert found["provenance"].tolist() == ["GDAS", "timestamp"]
    assert found["date"].tolist() == ["2023-07-09"] * 2
    assert found["version"].tolist() == ["2.0.0", "1.0.0"]
    assert found["number_density_15km"][0] == 4.644145761612368e18
    assert np.isnan(found["number_density_15km"][1])


@pytest.mark.server
def test_both_kinds_hold_the_same_rows(make_server_database: Callable[[], str], tmp_path: Path):
    rows = []
    for url in (f"sqlite:///{tmp_path / 'a.db'}", make_server_database()):
        database = open_database(url, must_have_tables=False)
        database.make_tables()
        upload_observatories(database, read_observatories([describe_observatory()]), overwrite=False)
        section = write_model(tmp_path / "model", bins=50, wavelengths=800)
        upload_model(database, read_model(section), overwrite=False)
        database.record_selection("2023-07-09", "Ridge", "GDAS", "1.0.0", "WINTER", 4.644145761612368e18)
        found = {}
        with database.engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                columns = [column for column in table.columns if column.name != "created"]
                found[table.name] = [
                    [value.tobytes() if isinstance(value, np.ndarray) else value for value in row]
                    for row in connection.execute(sqlalchemy.select(*columns))
                ]
                found[table.name].sort(key=str)
        rows.append(found)
    assert rows[0] == rows[1]
    assert len(rows[0]) == len(COLUMNS)
    assert all(rows[0].values())


def test_unreachable_server_is_an_error_of_storage_without_the_password(tmp_path: Path):
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError) as caught:
        open_database(f"postgresql://me:secret@/db?host={tmp_path}")
    assert f"postgresql+psycopg://me:***@/db?host={tmp_path}".replace("/", "") in str(caught.value).replace(
        "%2F", ""
    ).replace("/", "")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["calibpipe.db", "mysql://me:secret@host/db", "nonsense://me:secret@host/db", "sqlite+pysqlcipher:///x"]
)
def test_useless_urls(url: str):
    with pytest.raises(ConfigurationError, match="expected sqlite") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_database_in_a_folder_that_is_missing(tmp_path: Path):
    with pytest.raises(StorageError, match="unable to open database file"):
        open_database(f"sqlite:///{tmp_path}/no/calibpipe.db", must_have_tables=False).make_tables()


def test_file_that_is_no_database(tmp_path: Path):
    (tmp_path / "a.db").write_bytes(b"SIMPLE  =                    T" * 100)
    with pytest.raises(StorageError, match="not a database"):
        open_database(f"sqlite:///{tmp_path}/a.db")


@pytest.mark.parametrize(("library", "extra"), [("sqlalchemy", "cherenkov"), ("psycopg", "postgres")])
def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, library: str, extra: str):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigurationError, match=rf"cal_pipeline\[{extra}\]"):
        open_database("postgresql://me@host/db")


@pytest.mark.slow
def test_steps_of_the_database_can_be_imported_without_its_libraries():
    code = "import sys; sys.modules |= dict.fromkeys(['sqlalchemy', 'psycopg', 'tables'])"
    code += "; import cal_pipeline.steps.cherenkov, cal_pipeline.cherenkov.database.upload"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
