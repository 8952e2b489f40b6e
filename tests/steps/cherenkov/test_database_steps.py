"""Steps that make tables and upload to the database, as steps and as commands."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers_database import describe_observatory, write_model

from cal_pipeline.cherenkov.database.store import open_database
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, MissingInputError, StorageError
from cal_pipeline.cli.calibpipe import run_tool
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.records import record_product
from cal_pipeline.steps.cherenkov import InitDatabaseStep, UploadAtmosphericModelStep, UploadObservatoryDataStep

pytestmark = pytest.mark.cherenkov

INIT, OBSERVATORY, MODEL = (
    "calibpipe-init-db",
    "calibpipe-upload-observatory-data",
    "calibpipe-upload-atmospheric-model-data",
)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a database with tables; paths are relative to the test's folder."""
    monkeypatch.chdir(tmp_path)
    InitDatabaseStep.call("sqlite:///site.db")
    return "sqlite:///site.db"


def write_yaml(path: Path, **sections: Any) -> str:
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return str(path)


def test_tables_are_made_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/site.db"
    assert len(InitDatabaseStep.call(url)) == 9
    assert len(InitDatabaseStep.call("database", database=url)) == 0
    step = InitDatabaseStep(database=url)
    assert len(step.run()) == 0
    assert step.exit_status == 0


def test_default_is_a_file_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    InitDatabaseStep.call("database")
    assert (tmp_path / "calibpipe.db").is_file()


def test_input_that_is_no_url():
    with pytest.raises(ConfigurationError, match=r"input site\.db is no URL"):
        InitDatabaseStep.call("site.db")
    # The input of a step is logged, a parameter is not.
    with pytest.raises(CalibrationError, match=r"me:\*\*\*@host/db holds a password"):
        InitDatabaseStep.call("postgresql://me:secret@host/db")


def test_no_password_is_recorded_or_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path):
    url = f"postgresql://me:secret@/db?host={tmp_path}"
    step = UploadObservatoryDataStep(database=url)
    assert step.get_pars()["database"] == f"postgresql://me:***@/db?host={tmp_path}"
    assert "secret" not in json.dumps(record_product("tool", step, []))
    with caplog.at_level(logging.DEBUG), pytest.raises(StorageError) as caught:
        step.run({"observatories": [describe_observatory()]})
    assert "secret" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("form", ["path", "text", "section", "content"])
def test_observatories_in_all_forms(url: str, tmp_path: Path, form: str):
    content = {"observatories": [describe_observatory(), describe_observatory("Valley")]}
    path = write_yaml(tmp_path / "site.yaml", UploadObservatoryData=content)
    source = {"path": Path(path), "text": path, "section": {"UploadObservatoryData": content}, "content": content}[form]
    table = UploadObservatoryDataStep.call(source, database=url)
    assert table["name"].tolist() == ["RIDGE", "VALLEY"]
    assert table["upload"].tolist() == ["new", "new"]
    assert str(table["elevation"].unit) == "m"
    assert UploadObservatoryDataStep.call(source, database=url)["upload"].tolist() == ["same", "same"]
    assert open_database(url).observatory("valley", 1).elevation == 2150.0


def test_file_without_the_name_of_its_section(url: str, tmp_path: Path):
    path = write_yaml(tmp_path / "site.yaml", observatories=[describe_observatory()])
    assert UploadObservatoryDataStep.call(path, database=url)["upload"].tolist() == ["new"]


def test_file_that_names_the_database(url: str, tmp_path: Path):
    content = {"observatories": [describe_observatory()]}
    named = {"url": url}
    path = write_yaml(tmp_path / "site.yaml", UploadObservatoryData=content, database_configuration=named)
    UploadObservatoryDataStep.call(path)
    assert open_database(url).observatory("Ridge", 1).latitude == 28.7
    # A parameter counts more.
    with pytest.raises(StorageError, match=r"other\.db is not there"):
        UploadObservatoryDataStep.call(path, database="sqlite:///other.db")


def test_useless_inputs(url: str, tmp_path: Path):
    with pytest.raises(MissingInputError, match=r"none\.yaml"):
        UploadObservatoryDataStep.call(str(tmp_path / "none.yaml"), database=url)
    with pytest.raises(ConfigurationError, match="'observatorys'; did you mean observatories"):
        UploadObservatoryDataStep.call({"observatorys": []}, database=url)
    with pytest.raises(ConfigurationError, match=r"UploadObservatoryData holds \[\]"):
        UploadObservatoryDataStep.call({"UploadObservatoryData": []}, database=url)


def test_model_is_uploaded_and_replaced(url: str, tmp_path: Path):
    UploadObservatoryDataStep.call({"observatories": [describe_observatory()]}, database=url)
    section = write_model(tmp_path / "model")
    table = UploadAtmosphericModelStep.call({"UploadAtmosphericModel": section}, database=url)
    assert (table["version"][0], table["season"][0], table["upload"][0]) == ("1.0.0", "WINTER", "new")
    assert UploadAtmosphericModelStep.call(section, database=url)["upload"][0] == "same"
    section["molecular_atmospheric_profile"]["description"] = "another"
    with pytest.raises(StorageError, match=r"MolecularAtmosphericProfileMeta\.description.*overwrite"):
        UploadAtmosphericModelStep.call(section, database=url)
    assert UploadAtmosphericModelStep.call(section, database=url, overwrite=True)["upload"][0] == "replaced"


def test_model_of_another_season_writes_nothing(url: str, tmp_path: Path):
    UploadObservatoryDataStep.call({"observatories": [describe_observatory()]}, database=url)
    section = write_model(tmp_path / "model")
    section["atmospheric_model"]["season"] = "SUMMER"
    with pytest.raises(CorruptedInputError, match="season is winter"):
        UploadAtmosphericModelStep.call(section, database=url)
    assert open_database(url).current_models("Ridge", 1) == []


def test_commands_with_their_exit_statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    database = write_yaml(tmp_path / "db.yaml", database_configuration={"url": "sqlite:///site.db"})
    site = write_yaml(tmp_path / "site.yaml", UploadObservatoryData={"observatories": [describe_observatory()]})
    section = write_model(tmp_path / "model")
    model = write_yaml(tmp_path / "model.yaml", UploadAtmosphericModel=section)
    assert run_tool(OBSERVATORY, ["-c", database, "-c", site]) == 102
    assert run_tool(INIT, ["-c", database]) == 0
    assert run_tool(MODEL, ["-c", database, "-c", model]) == 104
    assert run_tool(OBSERVATORY, ["-c", database, "-c", site]) == 0
    assert run_tool(OBSERVATORY, ["-c", database, "-c", site]) == 0
    assert run_tool(MODEL, ["-c", database, "-c", model]) == 0
    changed = ["--UploadAtmosphericModel.atmospheric_model.current=false"]
    assert run_tool(MODEL, ["-c", database, "-c", model, *changed]) == 102
    assert run_tool(MODEL, ["-c", database, "-c", model, *changed, "--overwrite"]) == 0
    assert open_database("sqlite:///site.db").current_models("Ridge", 1) == []
    (tmp_path / "model" / "density.ecsv").unlink()
    assert run_tool(MODEL, ["-c", database, "-c", model]) == 105
    bad = write_yaml(tmp_path / "bad.yaml", UploadObservatoryData={"observatory": []})
    assert run_tool(OBSERVATORY, ["-c", database, "-c", bad]) == 101
    assert run_tool(OBSERVATORY, ["-c", database]) == 105


def test_published_configurations(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert run_tool(INIT, []) == 0
    assert run_tool(OBSERVATORY, ["-c", str(shared / "observatories.yaml")]) == 0
    model = {"start": "2023-09-28", "current": True, "name_Observatory": "CTAO-NORTH", "version_Observatory": 1}
    for number, season in enumerate(("winter", "summer", "intermediate")):
        for kind in ("atmosphere", "extinction", "density"):
            shutil.copy(shared / f"reference_{kind}_north_{season}.ecsv", tmp_path / f"{kind}.ecsv")
        section = {
            "atmospheric_model": {**model, "version": f"1.{number}.0", "season": season.upper()},
            "molecular_atmospheric_profile": {
                "data_assimilation_system": "ECMWF",
                "dataset": "ERA5",
                "data_path": "atmosphere.ecsv",
            },
            "rayleigh_extinction_data_path": "extinction.ecsv",
            "macobac_data_path": str(shared / "macobac_2023-07-10.ecsv"),
            "molecular_density_data_path": "density.ecsv",
        }
        config = write_yaml(tmp_path / "model.yaml", UploadAtmosphericModel=section)
        assert run_tool(MODEL, ["-c", config]) == 0
    database = open_database()
    assert [found.season for found in database.current_models("CTAO-North", 1)] == ["WINTER", "SUMMER", "INTERMEDIATE"]
    assert database.observatory("ctao-south", 1).season_of("2023-01-19").alias == "SUMMER"
