"""Steps that describe the air of a night: figures of real nights, fallback, products, errors."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.configuration import read_yaml
from cal_pipeline.cherenkov.errors import (
    ConfigurationError,
    CorruptedInputError,
    MissingInputError,
    StorageError,
)
from cal_pipeline.cherenkov.simulate.night import simulate_night
from cal_pipeline.core.errors import CalibrationError, OutputExistsError
from cal_pipeline.steps.cherenkov import (
    AtmosphericModelStep,
    DensityProfileStep,
    InitDatabaseStep,
    SelectModelStep,
    UploadAtmosphericModelStep,
    UploadObservatoryDataStep,
)

pytestmark = pytest.mark.cherenkov

PROFILE = "contemporary_molecular_density_profile.ascii.ecsv"
REAL_NIGHTS = [
    ("gdas_2023-07-10", "2023-07-10T00:00:00", "GDASDataHandler", 4.644145761612368e18, 1.0),
    ("era5_2023-07-10", "2023-07-10T00:00:00", "ECMWFDataHandler", 4.668408267906712e18, 1.0),
    ("era5_2022-07-01", "2022-07-01T00:00:00", "ECMWFDataHandler", 4.665444614440194e18, 5 / 7),
]
REAL_TABLES = {
    "gdas_2023-07-10": "meteo_gdas_2023-07-10_north.ecsv",
    "era5_2023-07-10": "meteo_era5_2023-07-10_north.ecsv",
    "era5_2022-07-01": "meteo_era5_2022-07-01_north_9points.ecsv",
}


def upload_models(folder, shared, database):
    """Upload the reference models of the real site, each with its own version."""
    for number, season in enumerate(("summer", "winter", "intermediate")):
        section = {
            "atmospheric_model": {
                "version": f"1.{number}.0",
                "current": True,
                "season": season.upper(),
                "name_Observatory": "CTAO-North",
                "version_Observatory": 1,
            },
            "molecular_atmospheric_profile": {
                "data_assimilation_system": "ECMWF",
                "dataset": "ERA5",
                "data_path": str(shared / f"reference_atmosphere_north_{season}.ecsv"),
            },
            "rayleigh_extinction_data_path": str(shared / f"reference_extinction_north_{season}.ecsv"),
            "macobac_data_path": str(shared / "macobac_2023-07-10.ecsv"),
            "molecular_density_data_path": str(shared / f"reference_density_north_{season}.ecsv"),
        }
        UploadAtmosphericModelStep.call(section, database=database)


@pytest.fixture(scope="module")
def real_database(shared, tmp_path_factory):
    """Database of the real site."""
    folder = tmp_path_factory.mktemp("real")
    database = f"sqlite:///{folder / 'calibpipe.db'}"
    InitDatabaseStep.call("database", database=database)
    UploadObservatoryDataStep.call(str(shared / "observatories.yaml"), database=database)
    upload_models(folder, shared, database)
    return database


@pytest.fixture
def real(real_database, tmp_path):
    """Parameters of a real night."""
    return {"observatory_name": "ctao-north", "database": real_database, "output_path": str(tmp_path / "out")}


@pytest.mark.parametrize(("name", "timestamp", "handler", "density", "completeness"), REAL_NIGHTS)
def test_density_of_real_nights(real, shared, name, timestamp, handler, density, completeness):
    product = DensityProfileStep.call(
        str(shared / REAL_TABLES[name]), timestamp=timestamp, meteo_data_handler=handler, **real
    )
    expected = Table.read(shared / "expected" / f"density_profile_{name}.ecsv")
    np.testing.assert_allclose(product["number density"], expected["number density"], rtol=1e-12)
    np.testing.assert_array_equal(product["altitude"], expected["altitude"])
    assert product.meta["number_density_15km"] == pytest.approx(density, rel=1e-12)
    assert product.meta["completeness"] == completeness


def test_request_of_a_real_night(real, shared):
    product = DensityProfileStep.call(str(shared / REAL_TABLES["era5_2023-07-10"]), timestamp="2023-07-10", **real)
    assert product.meta["night"] == {"dusk": "2023-07-09T21:46:05", "dawn": "2023-07-10T04:47:49"}
    assert product.meta["evening"] == "2023-07-09"
    assert [time[11:13] for time in product.meta["request"]["times"]] == ["22", "23", "00", "01", "02", "03", "04"]
    assert product.meta["request"]["points"] == [[28.75, -18.0], [28.75, -17.75], [29.0, -18.0], [29.0, -17.75]]


@pytest.mark.parametrize(("name", "timestamp", "handler", "density", "completeness"), REAL_NIGHTS)
def test_selection_for_real_nights(real, shared, name, timestamp, handler, density, completeness):
    selected = SelectModelStep.call(
        str(shared / REAL_TABLES[name]), timestamp=timestamp, meteo_data_handler=handler, **real
    )
    assert selected.profile.meta["selection"]["season"] == "SUMMER"
    assert selected.profile.meta["selection"]["by"] == "density"
    uploaded = Table.read(shared / "reference_extinction_north_summer.ecsv")
    for column in uploaded.colnames:
        assert selected.extinction[column].tolist() == uploaded[column].tolist()


@pytest.mark.parametrize("timestamp", ["2023-05-20T00:00:00", "2023-10-20T00:00:00"])
def test_season_without_data(real, shared, timestamp, tmp_path):
    step = SelectModelStep(timestamp=timestamp, **real)
    selected = step.run(str(shared / REAL_TABLES["era5_2023-07-10"]))
    assert step.exit_status == 100
    assert selected.profile.meta["selection"]["season"] == "INTERMEDIATE"
    assert selected.profile.meta["selection"]["provenance"] == "timestamp"
    assert selected.profile.meta["selection"]["number_density_15km"] is None
    request = json.loads((tmp_path / "out" / "meteo_request.json").read_text())
    assert request["dataset"] == "ERA5"
    assert len(request["levels"]) == 37


@pytest.mark.parametrize("name", ["gdas_2023-07-10", "era5_2023-07-10"])
def test_atmospheric_model_of_real_nights(real, shared, name):
    expected = Table.read(shared / "expected" / f"atmospheric_profile_{name}.ecsv")
    extinction = Table.read(shared / "expected" / f"extinction_rule_peer_{name}.ecsv")
    model = AtmosphericModelStep.call(
        str(shared / REAL_TABLES[name]),
        timestamp="2023-07-10",
        meteo_data_handler="GDASDataHandler" if name.startswith("gdas") else "ECMWFDataHandler",
        macobac12_table_path=str(shared / "macobac_2023-07-10.ecsv"),
        bin_rule="peer",
        **real,
    )
    for column in expected.colnames:
        tolerance = 1e-9 if column == "refractive_index_m_1" else 1e-12
        np.testing.assert_allclose(model.profile[column], expected[column], rtol=tolerance)
    for column in extinction.colnames:
        np.testing.assert_allclose(model.extinction[column], extinction[column], rtol=1e-10)
    assert any("4 % too low" in text for text in model.extinction.meta["provenance"]["warnings"])


@pytest.mark.parametrize(
    ("name", "level", "at_350", "at_500"),
    [
        ("gdas_2023-07-10", 2.1, 0.49866, 0.11341),
        ("era5_2023-07-10", 2.1, 0.49843, 0.11336),
        ("gdas_2023-07-10", None, None, 0.11275),
    ],
)
def test_extinction_of_real_nights(real, shared, name, level, at_350, at_500):
    model = AtmosphericModelStep.call(
        str(shared / REAL_TABLES[name]),
        timestamp="2023-07-10",
        meteo_data_handler="GDASDataHandler" if name.startswith("gdas") else "ECMWFDataHandler",
        macobac12_table_path=str(shared / "macobac_2023-07-10.ecsv"),
        observation_level=level,
        **real,
    )
    assert model.extinction["500.0 nm"][-1] == pytest.approx(at_500, abs=5.1e-6)
    if at_350 is not None:
        assert model.extinction["350.0 nm"][-1] == pytest.approx(at_350, abs=5.1e-6)
    assert model.extinction.colnames[2] == "200.0 nm"
    assert model.extinction.colnames[-1] == "699.0 nm"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Folder of a made-up night, and its database."""
    folder = simulate_night(tmp_path_factory.mktemp("steps") / "night", seed=2).folder
    database = folder / "steps.db"
    InitDatabaseStep.call("database", database=f"sqlite:///{database}")
    UploadObservatoryDataStep.call(str(folder / "upload_observatory.yaml"), database=f"sqlite:///{database}")
    for path in sorted(folder.glob("upload_model_*.yaml")):
        UploadAtmosphericModelStep.call(str(path), database=f"sqlite:///{database}")
    return folder


@pytest.fixture
def night(made_up, tmp_path):
    """Parameters of the made-up night, with a database of their own."""
    shutil.copy(made_up / "steps.db", tmp_path / "night.db")
    return {
        "timestamp": "2023-07-10T00:00:00",
        "observatory_name": "EXAMPLE-RIDGE",
        "database": f"sqlite:///{tmp_path / 'night.db'}",
        "output_path": str(tmp_path / "out"),
    }


@pytest.fixture
def source(made_up):
    return str(made_up / "meteo_era5.ecsv")


def rows_of(path):
    return path.read_text().splitlines()


def test_density_profile_is_as_long_as_asked_for(night, source):
    product = DensityProfileStep.call(source, altitude_max=16000.0, altitude_step=500.0, **night)
    assert product["altitude"].tolist() == [500.0 * i for i in range(33)]
    assert np.isnan(product["number density"][0])
    assert np.isfinite(product["number density"][-1])


def test_interpolation_of_logarithms_differs_little(night, source):
    cubic = DensityProfileStep.call(source, **night)
    log = DensityProfileStep.call(source, interpolation="log", overwrite=True, **night)
    inside = np.asarray(cubic["altitude"]) >= 2000
    np.testing.assert_allclose(log["number density"][inside], cubic["number density"][inside], rtol=1e-3)
    assert log["number density"].tolist() != cubic["number density"].tolist()


def test_provenance_names_tool_inputs_and_parameters(night, source, tmp_path):
    DensityProfileStep.call(source, **night)
    provenance = Table.read(tmp_path / "out" / PROFILE).meta["provenance"]
    assert provenance["tool"] == "calibpipe-create-molecular-density-profile"
    assert [entry["name"] for entry in provenance["inputs"]] == [source]
    assert len(provenance["inputs"][0]["sha256"]) == 64
    assert provenance["parameters"]["observatory_name"] == "EXAMPLE-RIDGE"
    assert provenance["parameter_origins"]["timestamp"] == "argument"
    assert provenance["warnings"] == []


def test_existing_products_stay(night, source, tmp_path):
    path = tmp_path / "out" / PROFILE
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrite=True") as caught:
        DensityProfileStep.call(source, **night)
    assert caught.value.exit_status == 102
    assert path.read_text() == "mine"
    assert [child.name for child in path.parent.iterdir()] == [PROFILE]
    DensityProfileStep.call(source, overwrite=True, **night)
    assert rows_of(path)[0] == "# %ECSV 1.0"


def test_a_folder_in_the_place_of_a_product(night, source, tmp_path):
    (tmp_path / "out" / PROFILE).mkdir(parents=True)
    with pytest.raises(StorageError, match="is a folder"):
        DensityProfileStep.call(source, **night)


@pytest.mark.parametrize("missing", ["timestamp", "observatory_name"])
def test_time_and_place_are_needed(night, source, missing):
    with pytest.raises(ConfigurationError, match=f"no {missing} given"):
        DensityProfileStep.call(source, **{**night, missing: None})


def test_day_unknown_observatory_and_unknown_time(night, source):
    with pytest.raises(ConfigurationError, match="is by day"):
        DensityProfileStep.call(source, **{**night, "timestamp": "2023-07-10T12:00:00"})
    with pytest.raises(ConfigurationError, match="ELSEWHERE"):
        DensityProfileStep.call(source, **{**night, "observatory_name": "elsewhere"})
    with pytest.raises(CalibrationError, match="yesterday") as caught:
        DensityProfileStep(**{**night, "timestamp": "yesterday"})
    assert DensityProfileStep.grade_error(caught.value).exit_status == 101


def test_data_of_another_night_are_missing(night, source, tmp_path):
    with pytest.raises(MissingInputError, match="has no data at the"):
        DensityProfileStep.call(source, **{**night, "timestamp": "2023-07-20T00:00:00"})
    assert json.loads((tmp_path / "out" / "meteo_request.json").read_text())["times"][0] == "2023-07-19T22:00:00"
    assert not (tmp_path / "out" / PROFILE).exists()


def test_levels_that_end_below_15_km(night, source, tmp_path):
    table = Table.read(source)
    low = tmp_path / "low.ecsv"
    table[table["Pressure"] > 200].write(low)
    with pytest.raises(CorruptedInputError, match="expected 15000 m within"):
        DensityProfileStep.call(str(low), **night)


def test_selection_prefers_density_over_season(night, made_up, tmp_path):
    """Cold air of the calendar's summer gets the model of the winter."""
    table = Table.read(made_up / "meteo_gdas.ecsv")
    winter = float(Table.read(made_up / "models" / "density_winter.ecsv")["density"][0])
    summer = DensityProfileStep.call(
        str(made_up / "meteo_gdas.ecsv"), meteo_data_handler="GDASDataHandler", **night
    ).meta["number_density_15km"]
    # At given heights and pressures density goes with 1/T.
    table["Temperature"] *= summer / winter
    cold = tmp_path / "cold.ecsv"
    table.write(cold)
    selected = SelectModelStep.call(str(cold), meteo_data_handler="GDASDataHandler", overwrite=True, **night)
    assert selected.profile.meta["selection"]["season"] == "WINTER"
    assert selected.profile.meta["selection"]["candidates"] == 3


def test_selection_is_recorded_and_replaced(night, source):
    from cal_pipeline.cherenkov.database.store import open_database

    for _ in range(2):
        SelectModelStep.call(source, overwrite=True, **night)
    rows = open_database(night["database"]).selections()
    assert len(rows) == 1
    assert (rows["site"][0], rows["provenance"][0], rows["season"][0]) == ("EXAMPLE-RIDGE", "ECMWF", "SUMMER")


@pytest.mark.parametrize("table", ["no.ecsv", "folder"])
def test_selection_without_any_file(night, tmp_path, table):
    (tmp_path / "folder").mkdir()
    step = SelectModelStep(**night)
    step.run(str(tmp_path / table))
    assert step.exit_status == 100


def test_contradicting_data_are_no_missing_data(night, source, tmp_path):
    table = Table.read(source)
    table["Temperature"] += 1.0
    both = tmp_path / "both"
    both.mkdir()
    table.write(both / "a.ecsv")
    shutil.copy(source, both / "b.ecsv")
    with pytest.raises(CorruptedInputError, match="differ in temperature"):
        SelectModelStep.call(str(both), **night)
    assert list((tmp_path / "out").glob("*")) == []


def test_atmospheric_model_needs_data_and_co2(night, source, made_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError, match=r"macobac\.ecsv is not there"):
        AtmosphericModelStep.call(source, **night)
    shutil.copy(made_up / "models" / "macobac.ecsv", "macobac.ecsv")
    with pytest.raises(MissingInputError):
        AtmosphericModelStep.call("nothing.ecsv", **night)
    two = Table.read("macobac.ecsv")
    two.add_row(two[0])
    two.write("two.ecsv")
    with pytest.raises(CorruptedInputError, match="has 2 rows; expected 1"):
        AtmosphericModelStep.call(source, macobac12_table_path="two.ecsv", **night)
    with pytest.raises(ConfigurationError, match="wavelength_max"):
        AtmosphericModelStep.call(source, wavelength_max=199.0, **night)
    model = AtmosphericModelStep.call(source, wavelength_min=350.0, wavelength_max=352.0, plot=True, **night)
    assert model.extinction.colnames == ["altitude_max", "altitude_min", "350.0 nm", "351.0 nm", "352.0 nm"]
    assert (tmp_path / "out" / "contemporary_atmosphere.png").read_bytes()[:4] == b"\x89PNG"


def test_extinction_counts_from_the_observatory(night, source, made_up):
    macobac = str(made_up / "models" / "macobac.ecsv")
    own = AtmosphericModelStep.call(source, macobac12_table_path=macobac, **night).extinction
    elevation = read_yaml(made_up / "upload_observatory.yaml")["UploadObservatoryData"]["observatories"][0]
    assert own["altitude_min"][0] == pytest.approx(elevation["Observatory"]["elevation"] / 1e3)
    higher = AtmosphericModelStep.call(
        source, macobac12_table_path=macobac, observation_level=5.0, overwrite=True, **night
    ).extinction
    assert higher["altitude_min"][0] == 5.0
    # Depths of layers add up.
    below = own["400.0 nm"][own["altitude_max"] == 5.0][0]
    assert higher["400.0 nm"][-1] == pytest.approx(own["400.0 nm"][-1] - below, rel=1e-9)
