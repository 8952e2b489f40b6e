"""Pipeline of a night's atmosphere: one reading, parameters handed down, skipped steps, fallback, parameter files."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from stpipe._cli.strun import main

from cal_pipeline import MolecularAtmospherePipeline
from cal_pipeline.cherenkov.errors import MissingInputError
from cal_pipeline.cherenkov.meteo import MeteoTable
from cal_pipeline.cherenkov.simulate.night import simulate_night
from cal_pipeline.cli.calibpipe import run_tool
from cal_pipeline.core.errors import OutputExistsError

pytestmark = pytest.mark.cherenkov

CFG = Path(__file__).parents[1] / "cfg"
DENSITY = "contemporary_molecular_density_profile.ascii.ecsv"
SELECTED = "selected_atmospheric_profile.ascii.ecsv"
PROFILE = "contemporary_atmospheric_profile.ascii.ecsv"
NIGHT = {"timestamp": "2023-07-10", "observatory_name": "EXAMPLE-RIDGE", "output_path": "made"}
CO2 = {"atmospheric_model": {"macobac12_table_path": "models/macobac.ecsv"}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    start = Path.cwd()
    os.chdir(folder)
    try:
        night = simulate_night(Path())
        for command, path in night.commands[:5]:
            assert run_tool(command, ["-c", str(path)]) == 0
    finally:
        os.chdir(start)
    return folder


@pytest.fixture
def night(prepared, tmp_path, monkeypatch):
    folder = tmp_path / "night"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def strun(capsys, monkeypatch):
    def run_and_read(*words):
        monkeypatch.setattr(sys, "argv", ["strun", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            sys.exit(main())
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return ended.value.code or 0, captured.err

    return run_and_read


def names(folder="made"):
    return sorted(path.name for path in Path(folder).glob("*")) if Path(folder).exists() else []


def test_table_is_read_once_and_the_products_are_those_of_the_tools(night, monkeypatch):
    read, count = MeteoTable.read, []
    monkeypatch.setattr(MeteoTable, "read", classmethod(lambda cls, path: count.append(path) or read(path)))
    made = MolecularAtmospherePipeline.call("meteo_era5.ecsv", **NIGHT, steps=CO2)
    assert len(count) == 1
    assert run_tool("calibpipe-create-molecular-density-profile", ["-c", "density_profile.yaml", "-o", "alone"]) == 0
    alone = Table.read(f"alone/{DENSITY}")
    np.testing.assert_array_equal(made.density_profile["number density"], alone["number density"])
    assert made.selected_model.profile.meta["selection"]["by"] == "density"
    assert len(names()) == 5


def test_parameters_are_handed_down_with_their_origins_and_steps_keep_their_own(night, strun):
    words = ["molecular_atmosphere", "meteo_era5.ecsv", "--timestamp=2023-07-10", "--observatory_name=EXAMPLE-RIDGE"]
    own = ["--steps.density_profile.output_path=own", "--steps.atmospheric_model.skip=true"]
    status, message = strun(*words, "--output_path=made", "--interpolation=log", *own)
    assert status == 0, message
    assert names("own") == [DENSITY]
    provenance = Table.read(f"own/{DENSITY}").meta["provenance"]
    assert "log" in str(provenance)
    assert "2023-07-10" in str(provenance)
    assert SELECTED in names()
    assert PROFILE not in names()


def test_missing_data_end_in_the_fallback(night, strun):
    words = ["molecular_atmosphere", "none.ecsv", "--timestamp=2023-07-10", "--observatory_name=EXAMPLE-RIDGE"]
    co2 = "--steps.atmospheric_model.macobac12_table_path=models/macobac.ecsv"
    status, message = strun(*words, co2, "--output_path=made")
    assert status == 100, message
    assert SELECTED in names()
    assert DENSITY not in names()
    assert "meteo_request.json" in names()


def test_missing_data_are_an_error_without_the_selection(night):
    steps = {"select_model": {"skip": True}, **CO2}
    with pytest.raises(MissingInputError):
        MolecularAtmospherePipeline.call("none.ecsv", **NIGHT, steps=steps)


def test_product_of_a_later_step_is_refused_before_the_first_one_runs(night):
    Path("made").mkdir()
    Path("made", PROFILE).write_text("mine")
    with pytest.raises(OutputExistsError):
        MolecularAtmospherePipeline.call("meteo_era5.ecsv", **NIGHT, steps=CO2)
    assert names() == [PROFILE]
    assert Path("made", PROFILE).read_text() == "mine"


def test_missing_concentration_is_refused_before_the_first_step_runs(night, strun):
    words = ["molecular_atmosphere", "meteo_era5.ecsv", "--timestamp=2023-07-10", "--observatory_name=EXAMPLE-RIDGE"]
    assert strun(*words, "--output_path=made")[0] == 105
    assert names() == []


@pytest.mark.parametrize(("category", "table", "origin"), [("b", "gdas", "GDAS"), ("c", "era5", "ECMWF")])
def test_parameter_files_of_both_categories_run(night, strun, category, table, origin):
    words = [CFG / f"cherenkov_category_{category}.asdf", f"meteo_{table}.ecsv", "--timestamp=2023-07-10"]
    words += ["--observatory_name=EXAMPLE-RIDGE", "--output_path=made"]
    co2 = "--steps.atmospheric_model.override_macobac=models/macobac.ecsv"
    status, message = strun(*words, *([co2] if category == "c" else []))
    assert status == 0, message
    assert Table.read(f"made/{SELECTED}").meta["selection"]["provenance"] == origin
    assert (PROFILE in names()) == (category == "c")


def test_same_night_twice_replaces_products_and_row(night):
    for _ in range(2):
        made = MolecularAtmospherePipeline.call("meteo_era5.ecsv", **NIGHT, overwrite=True, steps=CO2)
    assert made.atmospheric_model is not None
