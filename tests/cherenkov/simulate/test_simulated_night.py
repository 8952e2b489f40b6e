"""Made-up nights: air in balance, seasons in order, files that repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.simulate.air import AirColumn, Climate, compute_altitude
from cal_pipeline.cherenkov.simulate.atmosphere import CLIMATES, LATITUDE, WAVELENGTHS
from cal_pipeline.cherenkov.simulate.night import SEASONS, simulate_night
from cal_pipeline.cli import simulate as cal_simulate
from cal_pipeline.core.errors import OutputExistsError

pytestmark = pytest.mark.cherenkov

SUMMER = AirColumn(replace(CLIMATES["summer"], wave_amplitude=0.7), LATITUDE)


def test_isothermal_air_has_a_scale_height():
    """Dry air of 250 K loses half of its pressure every R T ln 2 / (M g)."""
    column = AirColumn(Climate(temperature=250.0, lapse_rate=0.0, tropopause=60.0, humidity=0.0), 45.5)
    halving = 8.314462618 * 250.0 * np.log(2) / (0.0289647 * 9.80665) / 1e3
    height = column.height_of(column.pressure(0.0) / 2.0)
    assert height == pytest.approx(halving, rel=2e-4)


def test_air_is_in_hydrostatic_balance():
    """The weight of a layer is the difference of its pressures, with gravity as it decreases with the distance."""
    altitude = np.linspace(0.0, 40.0, 4001)
    gravity = 9.7926 * (6373.0 / (6373.0 + altitude)) ** 2
    vapour = SUMMER.vapour_fraction(altitude)
    mass = SUMMER.number_density(altitude) * 1e6 * ((1 - vapour) * 28.9647 + vapour * 18.0153) * 1.66053907e-27
    weight = np.sum(0.5 * (mass * gravity)[1:] + 0.5 * (mass * gravity)[:-1]) * 10.0 / 100.0
    assert SUMMER.pressure(0.0) - SUMMER.pressure(40.0) == pytest.approx(weight, rel=5e-5)


def test_altitude_exceeds_height_where_gravity_is_weak():
    assert compute_altitude(10.0, 0.0) > compute_altitude(10.0, 90.0)
    assert compute_altitude(0.0, 30.0) == 0.0


def test_seasons_are_told_apart_by_density():
    density = [AirColumn(climate, LATITUDE).number_density(15.0) for climate in CLIMATES.values()]
    assert np.all(np.diff(density) < -0.05e18)
    assert {season["name"] for season in SEASONS} == {"spring", "summer", "fall", "winter"}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return simulate_night(tmp_path_factory.mktemp("night"), seed=5)


def test_night_is_nearest_to_summer(night):
    truth = Table.read(night.truth)
    density = dict(zip(truth["altitude"], truth["number density"], strict=True))[15.0]
    far = {
        season: abs(Table.read(night.folder / f"models/density_{season}.ecsv")["density"][0] - density)
        for season in CLIMATES
    }
    assert min(far, key=far.get) == "summer"


def test_models_have_the_published_columns(night):
    extinction = Table.read(night.folder / "models/extinction_winter.ecsv")
    assert extinction.colnames[:2] == ["altitude_max", "altitude_min"]
    assert extinction.colnames[2:] == [f"{wavelength}.0 nm" for wavelength in WAVELENGTHS]
    depths = np.array([extinction[name] for name in extinction.colnames[2:]])
    assert np.all(np.diff(depths, axis=1) > 0)
    assert np.all(np.diff(depths, axis=0) < 0)
    profile = Table.read(night.folder / "models/profile_winter.ecsv")
    assert profile["altitude"][-1] == 120.0
    assert len(profile.colnames) == 7


def test_tables_hold_several_hours_and_places(night):
    era5 = Table.read(night.folder / "meteo_era5.ecsv")
    assert len(era5) == 12 * 4 * 37
    assert era5["Timestamp"].scale == "utc"
    gdas = Table.read(night.folder / "meteo_gdas.ecsv")
    assert len(gdas) == 4 * 25
    assert str(gdas["Geopotential Height"].unit) == "gpm"
    level = era5[era5["Pressure"] == 500]
    assert 10.0 < np.ptp(level["Geopotential"]) / 9.80665 < 60.0


def test_record_of_carbon_dioxide_has_gaps(night):
    rows = (night.folder / "monthly_in_situ_co2.csv").read_text().splitlines()[4:]
    values = np.array([float(row.split(",")[4]) for row in rows])
    assert np.count_nonzero(values < 0) == 1 + 6
    assert 412 < values[-18:-6].mean() < 424


def test_same_seed_same_files(night, tmp_path):
    again = simulate_night(tmp_path / "again", seed=5)
    other = simulate_night(tmp_path / "other", seed=6)
    name = "meteo_gdas.ecsv"
    assert (again.folder / name).read_bytes() == (night.folder / name).read_bytes()
    assert (other.folder / name).read_bytes() != (night.folder / name).read_bytes()


def test_files_that_exist_stay(tmp_path):
    (tmp_path / "models").mkdir()
    kept = tmp_path / "models" / "macobac.ecsv"
    kept.write_text("mine")
    with pytest.raises(OutputExistsError, match="macobac"):
        simulate_night(tmp_path)
    assert kept.read_text() == "mine"
    assert not (tmp_path / "meteo_gdas.ecsv").exists()


def test_command_lists_the_tools_in_order(tmp_path, capsys):
    assert cal_simulate.main(["cherenkov", str(tmp_path / "night"), "--seed", "2"]) == 0
    told = capsys.readouterr().out
    assert told.index("calibpipe-init-db") < told.index("calibpipe-select-reference-atmospheric-model")
    assert cal_simulate.main(["cherenkov", str(tmp_path / "night")]) != 0
    assert "exists" in capsys.readouterr().err
