"""The pipeline of a night's air: one reading of the data, parameters handed down, skips, fallback, truth."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import stpipe._cli.strun
from astropy.table import Table
from helpers_pages import read_pages

from cal_pipeline import MolecularAtmospherePipeline
from cal_pipeline.cherenkov.database.store import open_database
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.meteo import MeteoTable
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.steps.cherenkov import AtmosphericModelStep, DensityProfileStep, SelectModelStep

pytestmark = pytest.mark.cherenkov

CFG = Path(__file__).parents[1] / "cfg"
CLASS = "cal_pipeline.MolecularAtmospherePipeline"
DENSITY = "contemporary_molecular_density_profile.ascii.ecsv"
SELECTED = ("selected_atmospheric_profile.ascii.ecsv", "selected_rayleigh_extinction_profile.ascii.ecsv")
MODEL = ("contemporary_atmospheric_profile.ascii.ecsv", "contemporary_rayleigh_extinction_profile.ascii.ecsv")
NIGHT = {
    "timestamp": "2023-07-10T00:00:00",
    "observatory_name": "EXAMPLE-RIDGE",
    "database": "sqlite:///night/calibpipe.db",
    "output_path": "out",
}
ERA5, GDAS, MACOBAC = "night/meteo_era5.ecsv", "night/meteo_gdas.ecsv", "night/products/macobac.ecsv"
FEW = {"atmospheric_model": {"macobac12_table_path": MACOBAC, "wavelength_step": 100.0}}
"""Wavelengths that are quickly made."""


@pytest.fixture(autouse=True)
def _in_the_folder_of_a_night(made_up_night):
    yield
    logging.getLogger("cal_pipeline").setLevel(logging.NOTSET)


@pytest.fixture
def strun(monkeypatch, capsys):
    def run(*words):
        options = [f"--{name}={value}" for name, value in NIGHT.items()]
        monkeypatch.setattr("sys.argv", ["strun", *map(str, words), *options])
        with pytest.raises(SystemExit) as caught:
            stpipe._cli.strun.main()
        return int(caught.value.code or 0), capsys.readouterr().err

    return run


def names(folder="out"):
    return sorted(os.listdir(folder)) if Path(folder).exists() else []


def meta(name):
    return Table.read(f"out/{name}").meta


@pytest.mark.parametrize("suffix", ["asdf", "cfg"])
def test_category_b_makes_all_but_the_model(strun, suffix):
    status, messages = strun(CFG / f"cherenkov_category_b.{suffix}", GDAS)
    assert (status, names()) == (0, sorted([DENSITY, *SELECTED])), messages
    assert meta(SELECTED[0])["selection"]["provenance"] == "GDAS"


@pytest.mark.parametrize("suffix", ["asdf", "cfg"])
def test_category_c_takes_carbon_dioxide_as_a_reference_file(strun, suffix):
    status, messages = strun(
        CFG / f"cherenkov_category_c.{suffix}",
        ERA5,
        f"--steps.atmospheric_model.override_macobac={MACOBAC}",
        "--steps.atmospheric_model.wavelength_step=100",
    )
    assert (status, names()) == (0, sorted([DENSITY, *SELECTED, *MODEL])), messages
    assert meta(SELECTED[0])["selection"]["provenance"] == "ECMWF"
    concentration = float(Table.read(MACOBAC)["co2_concentration"][0])
    assert meta(MODEL[0])["co2_concentration"] == concentration
    inputs = [entry["name"] for entry in meta(MODEL[1])["provenance"]["inputs"]]
    # The override of a reference file is noted with its folder.
    assert (inputs[0], str(Path(inputs[1]).relative_to(Path.cwd()))) == (ERA5, MACOBAC)


def test_products_are_those_of_the_tools(monkeypatch):
    """Each file of the pipeline has the numbers of the same step alone, and the table is read once."""
    readings = []
    read = MeteoTable.read
    monkeypatch.setattr(MeteoTable, "read", lambda path: readings.append(path) or read(path))
    made = MolecularAtmospherePipeline.call(ERA5, steps=FEW, **NIGHT)
    assert len(readings) == 1
    alone = NIGHT | {"output_path": "alone"}
    tables = [
        DensityProfileStep.call(ERA5, **alone),
        *SelectModelStep.call(ERA5, **alone),
        *AtmosphericModelStep.call(ERA5, **FEW["atmospheric_model"], **alone),
    ]
    together = [made.density_profile, *made.selected_model, *made.atmospheric_model]
    for ours, theirs in zip(together, tables, strict=True):
        assert ours.colnames == theirs.colnames
        assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours.colnames)
        assert {key: value for key, value in ours.meta.items() if key != "provenance"} == {
            key: value for key, value in theirs.meta.items() if key != "provenance"
        }
    assert names() == names("alone")


def test_air_is_that_of_the_truth():
    """The mean air of the night is known from formulas that no step uses."""
    made = MolecularAtmospherePipeline.call(ERA5, steps=FEW, **NIGHT)
    truth = Table.read("night/truth.ecsv")
    altitude = truth["altitude"].quantity.to_value("km")
    profile = made.atmospheric_model.profile
    # Above 18 km the spline has to follow the temperature through the tropopause.
    shared = [z for z in np.asarray(profile["altitude"]) if 2.0 <= z <= 18.0 and z in altitude]
    assert len(shared) >= 10
    ours = profile[np.isin(profile["altitude"], shared)]
    theirs = truth[np.isin(altitude, shared)]
    np.testing.assert_allclose(ours["pressure"], theirs["pressure"], rtol=1e-4)
    np.testing.assert_allclose(ours["temperature"], theirs["temperature"], atol=0.15)
    density = made.density_profile
    column = next(name for name in truth.colnames if "density" in name)
    ours = density[np.isin(density["altitude"] / 1e3, shared)]
    np.testing.assert_allclose(ours["number density"], theirs[column].quantity.to_value("1/cm3"), rtol=1e-3)


def test_parameters_are_handed_down_with_their_origins():
    steps = {"density_profile": {"interpolation": "log", "altitude_max": 16000.0}, "atmospheric_model": {"skip": True}}
    MolecularAtmospherePipeline.call(ERA5, steps=steps, interpolation="cubic", **NIGHT)
    density, selected = (meta(name)["provenance"] for name in (DENSITY, SELECTED[0]))
    assert (density["parameters"]["interpolation"], selected["parameters"]["interpolation"]) == ("log", "cubic")
    assert len(Table.read(f"out/{DENSITY}")) == 17
    for provenance in (density, selected):
        for name, value in NIGHT.items():
            assert provenance["parameters"][name] == (value + ".000" if name == "timestamp" else value)
            assert provenance["parameter_origins"][name] == "argument"
        # No one chose it.
        assert "overwrite" not in provenance["parameter_origins"]


def test_a_parameter_file_is_the_origin_of_what_it_sets(strun):
    assert strun(CFG / "cherenkov_category_b.cfg", GDAS)[0] == 0
    origins = meta(DENSITY)["provenance"]["parameter_origins"]
    assert "cherenkov_category_b.cfg" in origins["meteo_data_handler"]
    assert origins["timestamp"] == "argument"


def test_a_step_may_have_a_folder_of_its_own():
    steps = {"density_profile": {"output_path": "elsewhere"}, "atmospheric_model": {"skip": True}}
    MolecularAtmospherePipeline.call(ERA5, steps=steps, **NIGHT)
    assert (names("elsewhere"), names()) == ([DENSITY], sorted(SELECTED))


def test_skipped_steps_make_nothing():
    steps = {"density_profile": {"skip": True}, "select_model": {"skip": True}} | FEW
    made = MolecularAtmospherePipeline.call(ERA5, steps=steps, **NIGHT)
    assert (made.density_profile, made.selected_model, names()) == (None, None, sorted(MODEL))
    assert len(open_database(NIGHT["database"]).selections()) == 0


def test_warnings_of_the_reading_stand_in_each_product():
    """An hour is missing, which the pipeline finds and not the steps."""
    table = Table.read(ERA5)
    hours = np.unique(table["Timestamp"].isot)
    table[table["Timestamp"].isot != hours[2]].write("night/fewer.ecsv")
    MolecularAtmospherePipeline.call("night/fewer.ecsv", steps=FEW, **NIGHT)
    for name in (DENSITY, *SELECTED, *MODEL):
        warnings = meta(name)["provenance"]["warnings"]
        assert [text for text in warnings if "24 of 28 columns" in text], name
        assert meta(name)["completeness"] == 24 / 28


@pytest.mark.parametrize("source", [ERA5, "night/none.ecsv"])
def test_without_data_the_season_selects(source, caplog):
    """The data are of another night, or not there at all."""
    step = MolecularAtmospherePipeline(**NIGHT | {"timestamp": "2023-10-20"})
    step.atmospheric_model.skip = True
    made = step.run(source)
    assert step.exit_status == 100
    assert (made.density_profile, made.atmospheric_model) == (None, None)
    assert made.selected_model.profile.meta["selection"]["season"] == "INTERMEDIATE"
    assert "density_profile is not made" in caplog.text
    assert names() == sorted(["meteo_request.json", *SELECTED])


def test_the_status_of_the_fallback_is_that_of_strun(strun):
    (Path("night/meteo_era5.ecsv")).unlink()
    status, messages = strun(CFG / "cherenkov_category_b.cfg", ERA5)
    assert (status, "Traceback" in messages) == (100, False), messages


def test_without_data_nothing_but_a_selection_can_be_made():
    steps = {"select_model": {"skip": True}} | FEW
    with pytest.raises(MissingInputError, match="not there"):
        MolecularAtmospherePipeline.call("night/none.ecsv", steps=steps, **NIGHT)
    assert names() == ["meteo_request.json"]


@pytest.mark.parametrize(
    ("changes", "steps", "error", "words"),
    [
        ({"timestamp": None}, FEW, ConfigurationError, "no timestamp"),
        ({}, {"atmospheric_model": {"macobac12_table_path": "none.ecsv"}}, MissingInputError, "CO2 table"),
        ({}, {"atmospheric_model": FEW["atmospheric_model"] | {"wavelength_min": 900.0}}, ConfigurationError, "below"),
        ({}, {"atmospheric_model": FEW["atmospheric_model"] | {"bin": 1}}, ParameterError, "bin_rule"),
        ({"timestamp": "2023-07-10T12:00:00"}, FEW, ConfigurationError, "by day"),
    ],
)
def test_what_one_step_refuses_is_refused_before_any_product(changes, steps, error, words):
    with pytest.raises(error, match=words):
        MolecularAtmospherePipeline.call(ERA5, steps=steps, **NIGHT | changes)
    assert names() == []


@pytest.mark.parametrize("name", [DENSITY, SELECTED[1], MODEL[1]])
def test_one_existing_product_stops_all(name):
    Path("out").mkdir()
    Path("out", name).write_text("mine")
    with pytest.raises(OutputExistsError, match=name) as caught:
        MolecularAtmospherePipeline.call(ERA5, steps=FEW, **NIGHT)
    assert (caught.value.exit_status, names(), Path("out", name).read_text()) == (102, [name], "mine")
    MolecularAtmospherePipeline.call(ERA5, steps=FEW, overwrite=True, **NIGHT)
    assert names() == sorted([DENSITY, *SELECTED, *MODEL])


def test_levels_below_15_km_make_no_product_at_all():
    table = Table.read(ERA5)
    table[table["Pressure"] > 200].write("night/low.ecsv")
    with pytest.raises(CorruptedInputError, match="15000 m"):
        MolecularAtmospherePipeline.call("night/low.ecsv", steps=FEW, **NIGHT)
    assert names() == []


def test_messages_of_strun_are_short(strun):
    status, messages = strun(
        "molecular_atmosphere", "night/none.ecsv", f"--steps.atmospheric_model.macobac12_table_path={MACOBAC}"
    )
    assert status == 100, messages
    words = ["--steps.atmospheric_model.override_macobac=none.ecsv", "--overwrite=true"]
    status, messages = strun(CLASS, ERA5, *words)
    assert (status, "Traceback" in messages) == (105, False), messages
    assert "none.ecsv is not there" in messages.splitlines()[-1]


def test_products_in_the_folder_of_the_data():
    Path("both").mkdir()
    shutil.copy(ERA5, "both")
    for _ in range(2):
        MolecularAtmospherePipeline.call("both", steps=FEW, overwrite=True, **NIGHT | {"output_path": "both"})
    assert len(names("both")) == 6


def test_no_socket_is_opened(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "create_connection", None)
    MolecularAtmospherePipeline.call(ERA5, steps=FEW, **NIGHT)
    assert len(names()) == 5


def test_a_report_beside_the_products():
    few = {**FEW, "density_profile": {"skip": True}}
    MolecularAtmospherePipeline.call(ERA5, **NIGHT, steps=few, report=True)
    pages = read_pages(Path("out/molecular_atmosphere_report.html"))
    assert list(pages) == ["atmosphere", "overview"]
    assert len(pages["atmosphere"]["subtitle"].split(", ")) == 4
    others = Path("others")
    others.mkdir()
    (others / "molecular_atmosphere_report.html").touch()
    with pytest.raises(OutputExistsError, match="molecular_atmosphere_report"):
        MolecularAtmospherePipeline.call(ERA5, **(NIGHT | {"output_path": "others"}), steps=few, report=True)
    # Refused before anything is made.
    assert len(list(others.iterdir())) == 1
