"""Tables of the atmosphere: what is in them, and what is refused on reading."""

from dataclasses import fields

import numpy as np
import pytest
from astropy import units
from astropy.table import QTable, Table
from helpers_air import make_isothermal, make_levels, make_reference, select_night

from cal_pipeline.cherenkov.atmosphere_tables import (
    PROFILE_COLUMNS,
    compute_density_15km,
    make_density_table,
    make_extinction_table,
    make_profile_table,
    make_steps,
    read_co2,
    read_profile_table,
)
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError

pytestmark = pytest.mark.cherenkov


@pytest.fixture
def levels():
    altitude = np.linspace(150.0, 18e3, 25)
    return make_levels(altitude, make_isothermal(230.0)(altitude), 230.0, rule="log")


@pytest.mark.parametrize(
    ("limits", "count", "last"),
    [
        ((0.0, 19e3, 1e3), 20, 19e3),
        ((200.0, 699.0, 1.0), 500, 699.0),
        ((0.0, 0.3, 0.1), 4, 0.3),
        ((5.0, 5.9, 1.0), 1, 5.0),
    ],
)
def test_steps_include_both_ends_and_nothing_beyond(limits, count, last):
    steps = make_steps(*limits)
    assert steps.size == count
    assert steps[0] == limits[0]
    assert steps[-1] == pytest.approx(last, rel=1e-14)


def test_density_table_is_nan_outside_of_the_levels(levels):
    table = make_density_table(levels, 19e3, 1e3)
    assert (table.colnames, len(table)) == (["altitude", "number density"], 20)
    assert (str(table["altitude"].unit), str(table["number density"].unit)) == ("m", "1 / cm3")
    expected = 1e-4 * make_isothermal(230.0)(table["altitude"]) / (1.380649e-23 * 230.0)
    inside = (table["altitude"] >= 1e3) & (table["altitude"] <= 18e3)
    np.testing.assert_allclose(table["number density"][inside], expected[inside], rtol=1e-12)
    assert np.isnan(table["number density"][~inside]).all()


def test_density_at_15_km(levels):
    expected = 1e-4 * float(make_isothermal(230.0)(15e3)) / (1.380649e-23 * 230.0)
    assert compute_density_15km(levels, "table") == pytest.approx(expected, rel=1e-12)
    low = make_levels(levels.altitude * 0.8, levels.pressure, 230.0)
    with pytest.raises(
        CorruptedInputError, match="table: the levels reach from 120 to 14400 m; expected 15000 m within"
    ):
        compute_density_15km(low, "table")


def test_profiles_come_back_bit_equal(tmp_path):
    reference = make_reference(water=1e-3)
    table = make_profile_table(reference)
    assert table.colnames == [name for name, _ in PROFILE_COLUMNS.values()]
    table.write(tmp_path / "profile.ecsv", format="ascii.ecsv")
    back = read_profile_table(Table.read(tmp_path / "profile.ecsv", format="ascii.ecsv"), "profile")
    for field in fields(reference):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(reference, field.name))


def test_units_of_profiles_are_converted():
    table = make_profile_table(make_reference())
    table["altitude"], table["pressure"] = table["altitude"].to("m"), table["pressure"].to("Pa")
    np.testing.assert_allclose(read_profile_table(table, "profile").pressure, make_reference().pressure, rtol=1e-14)
    np.testing.assert_allclose(read_profile_table(table, "profile").altitude, make_reference().altitude, rtol=1e-14)


def spoil_unit(table):
    table["pressure"].unit = "K"


def spoil_value(table):
    table["temperature"][3] = np.nan


def spoil_order(table):
    table["altitude"][3] = table["altitude"][2]


def spoil_name(table):
    table.rename_column("pressure", "Pressure")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_unit, "profile: column pressure is in K; expected hPa"),
        (spoil_value, "profile: column temperature holds values that are not finite"),
        (spoil_order, "profile: 55 altitudes; expected 4 or more in ascending order"),
        (spoil_name, "profile lacks the column pressure; it has altitude"),
    ],
)
def test_bad_profiles_are_refused(spoil, message):
    table = make_profile_table(make_reference())
    spoil(table)
    with pytest.raises(CorruptedInputError, match=message):
        read_profile_table(table, "profile")


def test_extinction_table_has_a_column_a_wavelength():
    depth = np.array([[0.2, 0.1], [0.4, 0.2], [0.5, 0.25]])
    table = make_extinction_table(np.array([2.1, 2.2, 2.3, 2.5]), np.array([200.0, 350.5]), depth)
    assert table.colnames == ["altitude_max", "altitude_min", "200.0 nm", "350.5 nm"]
    assert table["altitude_max"].tolist() == [2.2, 2.3, 2.5]
    assert table["altitude_min"].tolist() == [2.1, 2.2, 2.3]
    assert (str(table["altitude_min"].unit), str(table["altitude_max"].unit)) == ("km", "km")
    np.testing.assert_array_equal(table["350.5 nm"], depth[:, 1])


@pytest.mark.parametrize("unit", [None, "ppm"])
def test_co2_may_be_a_plain_column(tmp_path, unit):
    table = Table({"co2_concentration": [419.3125]}, units=[unit])
    table.write(tmp_path / "macobac.ecsv", format="ascii.ecsv")
    assert read_co2(tmp_path / "macobac.ecsv") == 419.3125


def test_co2_may_be_a_quantity_of_a_unit_that_astropy_does_not_know(tmp_path):
    ppm = units.def_unit("ppm", 1e-6 * units.dimensionless_unscaled)
    QTable({"co2_concentration": [419.3125] * ppm}).write(tmp_path / "macobac.ecsv", format="ascii.ecsv")
    assert "Quantity" in (tmp_path / "macobac.ecsv").read_text()
    assert read_co2(tmp_path / "macobac.ecsv") == 419.3125


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table({"co2_concentration": [410.0, 420.0]}), "has 2 rows; expected 1"),
        (Table({"co2_concentration": np.array([])}), "has 0 rows; expected 1"),
        (Table({"co2": [410.0]}), "lacks the column co2_concentration"),
        (Table({"co2_concentration": ["much"]}), "column co2_concentration"),
        (Table({"co2_concentration": [np.nan]}), "not finite"),
    ],
)
def test_bad_co2_is_refused(tmp_path, table, message):
    table.write(tmp_path / "macobac.ecsv", format="ascii.ecsv")
    with pytest.raises(CorruptedInputError, match=message):
        read_co2(tmp_path / "macobac.ecsv")


def test_missing_co2(tmp_path):
    with pytest.raises(MissingInputError, match=r"macobac\.ecsv"):
        read_co2(tmp_path / "macobac.ecsv")


def test_co2_of_the_published_package(shared):
    assert read_co2(shared / "macobac_2023-07-10.ecsv") == 419.3125


def test_density_of_a_real_night_at_15_km(shared):
    profile = select_night(shared, "gdas_2023-07-10").profile
    assert compute_density_15km(profile, "gdas") == pytest.approx(4.644145761612368e18, rel=1e-12)
    assert np.isnan(make_density_table(profile, 19e3, 1e3)["number density"]).sum() == 1


def test_names_of_wavelengths_are_exact():
    wavelengths = make_steps(200.05, 200.4, 0.1)
    table = make_extinction_table(np.array([2.0, 3.0]), wavelengths, np.zeros((1, 4)))
    assert table.colnames[2:] == ["200.05 nm", "200.15 nm", "200.25 nm", "200.35 nm"]
    table = make_extinction_table(np.array([2.0, 3.0]), np.array([350.0, 532.1]), np.zeros((1, 2)))
    assert table.colnames[2:] == ["350.0 nm", "532.1 nm"]
