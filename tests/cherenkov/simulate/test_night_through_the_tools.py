"""Tools run in order on a made-up night, whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.hdf5 import read_attributes, read_table
from cal_pipeline.cherenkov.simulate.air import compute_cross_section
from cal_pipeline.cherenkov.simulate.atmosphere import ELEVATION, ERA5_POINTS, Weather
from cal_pipeline.cherenkov.simulate.night import PRODUCTS, simulate_night
from cal_pipeline.cli.calibpipe import run_tool

pytestmark = pytest.mark.cherenkov

SEED = 4


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Folder of the products of all tools."""
    night = simulate_night(tmp_path_factory.mktemp("night") / "night", seed=SEED)
    statuses = {str(path.name): run_tool(command, ["-c", str(path)]) for command, path in night.commands}
    assert statuses == dict.fromkeys(statuses, 0)
    return night.folder / PRODUCTS


@pytest.fixture(scope="module")
def columns():
    """Air of all hours and places of the night."""
    weather = Weather.draw(np.random.default_rng(SEED))
    return [weather.column(hour, *point) for hour in range(-2, 5) for point in ERA5_POINTS]


def test_density_is_that_of_the_air(products, columns):
    found = Table.read(products / "contemporary_molecular_density_profile.ascii.ecsv")
    altitude = found["altitude"].quantity.to_value("km")[1:]
    true = np.mean([column.number_density(altitude) for column in columns], axis=0)
    assert found["number density"][1:] == pytest.approx(true, rel=2e-3)
    assert found.meta["number_density_15km"] == pytest.approx(true[altitude == 15.0][0], rel=5e-5)
    assert found.meta["completeness"] == 1.0


def test_season_is_that_of_the_air(products):
    selected = Table.read(products / "selected_atmospheric_profile.ascii.ecsv")
    assert selected.meta["selection"]["season"] == "SUMMER"
    uploaded = Table.read(products.parent / "models" / "profile_summer.ecsv")
    assert selected["pressure"].tolist() == uploaded["pressure"].tolist()


def test_profile_is_that_of_the_air(products, columns):
    found = Table.read(products / "contemporary_atmospheric_profile.ascii.ecsv")
    altitude = np.asarray(found["altitude"])
    within = (altitude > 0) & (altitude <= 18)
    pressure, temperature = (
        np.mean([getattr(column, name)(altitude) for column in columns], axis=0) for name in ("pressure", "temperature")
    )
    assert found["pressure"][within] == pytest.approx(pressure[within], rel=5e-5)
    assert found["temperature"][within] == pytest.approx(temperature[within], abs=0.15)


@pytest.mark.parametrize("wavelength", [350.0, 400.0, 500.0, 600.0])
def test_extinction_is_that_of_the_air(products, columns, wavelength):
    """The cross sections of two formulas differ by up to 0.3 %."""
    found = Table.read(products / "contemporary_rayleigh_extinction_profile.ascii.ecsv")
    altitude = np.asarray(found["altitude_max"])
    molecules = np.mean([column.column_density(ELEVATION, altitude) for column in columns], axis=0)
    ratio = found[f"{wavelength:.1f} nm"] / (compute_cross_section(wavelength) * molecules)
    assert ratio == pytest.approx(np.ones(altitude.size), abs=3e-3)
    assert np.ptp(ratio) < 6e-4


def test_aerosols_are_those_of_the_air(products):
    found = Table.read(products / "aerosol_extinction_profile.ascii.ecsv")
    true = Table.read(products.parent / "truth_aerosols.ecsv")
    low = found["altitude"].quantity.to_value("km") < 9.0
    assert np.abs(found["extinction"] - true["extinction"])[low].max() < 0.1 * true["extinction"].max()
    assert found["aod"][low][-1] == pytest.approx(0.081, abs=0.01)
    stars = read_table(products / "aerosol_clear_night.h5", "/dl1/monitoring/aerosol_calibration")
    assert stars["VAOD"][0] == pytest.approx(0.02, abs=0.002)
    key = "provenance_calibpipe-clear-night-assessment"
    provenance = json.loads(read_attributes(products / "aerosol_clear_night.h5")[key])
    assert provenance["inputs"][0]["name"].endswith("stars.ecsv")
