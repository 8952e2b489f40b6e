"""Meteorological tables: what is read, which rows count, what is refused."""

import numpy as np
import pytest
from astropy import units
from astropy.table import MaskedColumn, Table, vstack
from astropy.time import Time
from helpers_air import NIGHTS, make_isothermal, read_columns, select_night

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.meteo import MeteoTable, list_files
from cal_pipeline.cherenkov.physics.altitude import compute_altitude, compute_number_density
from cal_pipeline.cherenkov.products import write_ecsv

pytestmark = pytest.mark.cherenkov

LEVELS = np.array([1000.0, 850.0, 700.0, 500.0, 300.0, 200.0, 100.0, 50.0])
TIMES = np.array(["2023-07-09T23:00", "2023-07-10T00:00", "2023-07-10T01:00"], dtype="datetime64[s]")
POINTS = [(28.75, -18.0), (29.0, -17.75)]
ONE = (TIMES[:1], POINTS[:1])
SCALE = -1.0 / np.log(make_isothermal(250.0)(1.0) / 1000.0)


def make_table(times=TIMES, points=POINTS, levels=LEVELS):
    """Air whose temperature depends on time, point and level; rows in no order."""
    rows = [
        (latitude, longitude, str(time), level, 250.0 + i + 10.0 * j + 0.01 * level, 20.0 + i + j)
        for i, time in enumerate(times)
        for j, (latitude, longitude) in enumerate(points)
        for level in levels
    ]
    names = ["Latitude", "Longitude", "Timestamp", "Pressure", "Temperature", "Relative humidity"]
    table = Table(rows=rows, names=names, units=["deg", "deg", "", "hPa", "K", "%"])
    table["Geopotential Height"] = SCALE * np.log(1013.25 / table["Pressure"]) + table["Relative humidity"]
    table["Geopotential Height"].unit = "m"
    return table[np.random.default_rng(3).permutation(len(table))]


def take(table):
    return MeteoTable.from_table(table, "table.ecsv")


def write(table, path):
    table.write(path, format="ascii.ecsv")
    return path


def is_row(table, time=TIMES[0], point=POINTS[0], level=None):
    """Find the rows of a column of (time, point), or its row at a level."""
    here = (table["Timestamp"] == str(time)) & (table["Latitude"] == point[0]) & (table["Longitude"] == point[1])
    return np.asarray(here if level is None else here & (table["Pressure"] == level))


def test_means_over_times_and_points():
    selected = take(make_table()).select(TIMES, POINTS)
    profile = selected.profile
    assert (selected.completeness, selected.warnings) == (1.0, [])
    np.testing.assert_array_equal(profile.pressure, LEVELS)
    np.testing.assert_allclose(profile.temperature, 250.0 + 1.0 + 5.0 + 0.01 * LEVELS, rtol=1e-14)
    np.testing.assert_allclose(profile.humidity, 0.215, rtol=1e-14)
    height = SCALE * np.log(1013.25 / LEVELS)
    columns = [(i, j) for i in range(3) for j in range(2)]
    altitude = np.mean([compute_altitude(height + 20.0 + i + j, POINTS[j][0]) for i, j in columns], axis=0)
    density = np.mean(
        [compute_number_density(LEVELS, 250.0 + i + 10.0 * j + 0.01 * LEVELS) for i, j in columns], axis=0
    )
    np.testing.assert_allclose(profile.altitude, altitude, rtol=1e-13)
    # The mean of densities is not the density of means.
    np.testing.assert_allclose(profile.density, density, rtol=1e-13)
    assert np.abs(profile.density / compute_number_density(LEVELS, profile.temperature) - 1.0).max() > 1e-4


def test_other_times_and_points_do_not_count():
    profile = take(make_table()).select(TIMES[1:2], POINTS[1:]).profile
    np.testing.assert_allclose(profile.temperature, 261.0 + 0.01 * LEVELS, rtol=1e-14)


def test_longitudes_may_count_from_0_to_360_and_points_have_a_tolerance():
    table = make_table()
    table["Longitude"] = table["Longitude"] % 360.0 + 9e-7
    table["Latitude"] -= 9e-7
    assert take(table).select(TIMES, POINTS).completeness == 1.0
    table["Latitude"] -= 2e-7
    with pytest.raises(MissingInputError, match=r"no data at the 3 times from 2023-07-09T23:00:00"):
        take(table).select(TIMES, POINTS)


def test_times_may_be_astropy_times_of_any_scale(tmp_path):
    table = make_table()
    table["Timestamp"] = Time(list(table["Timestamp"]), scale="utc").tai
    read = MeteoTable.read(write(table, tmp_path / "meteo.ecsv"))
    assert read.select(TIMES, POINTS).completeness == 1.0


@pytest.mark.parametrize(
    "form", ["2023-07-10 00:00:00", "2023-07-10T00:00:00.000", "2023-07-10T00:00", "2023-07-10T00:00:00Z"]
)
def test_times_may_be_iso_text(form):
    table = make_table(times=TIMES[:1])
    table["Timestamp"] = [form] * len(table)
    np.testing.assert_array_equal(take(table).time, np.datetime64("2023-07-10T00:00:00"))


def test_units_are_converted(tmp_path):
    table = make_table()
    expected = take(table)
    table["Pressure"], table["Temperature"] = table["Pressure"].to("Pa"), table["Temperature"].to("mK")
    table["Geopotential Height"].unit = "gpm"
    table["Latitude"].unit = table["Longitude"].unit = None
    read = MeteoTable.read(write(table, tmp_path / "meteo.ecsv"))
    for name in ("latitude", "pressure", "temperature", "height"):
        np.testing.assert_allclose(getattr(read, name), getattr(expected, name), rtol=1e-14)


@pytest.mark.parametrize("unit", ["deg_C", "Pa", "kelvins?"])
def test_other_units_are_refused(tmp_path, unit):
    table = make_table()
    table["Temperature"].unit = unit
    with pytest.raises(CorruptedInputError, match=r"meteo\.ecsv: column Temperature is in .*; expected K"):
        MeteoTable.read(write(table, tmp_path / "meteo.ecsv"))


def test_humidity_without_dimension_is_a_fraction(tmp_path):
    table = make_table()
    expected = take(table).humidity
    table["Relative humidity"] = np.asarray(table["Relative humidity"]) / 100.0
    table["Relative humidity"].unit = units.dimensionless_unscaled
    read = MeteoTable.read(write(table, tmp_path / "meteo.ecsv"))
    np.testing.assert_allclose(read.humidity, expected, rtol=1e-14)
    assert read.warnings == []


def test_fractions_taken_as_percent_are_doubted():
    table = make_table()
    table["Relative humidity"] = np.asarray(table["Relative humidity"]) / 100.0
    table["Relative humidity"].unit = None
    (warning,) = take(table).warnings
    assert "nowhere above 0.23 %" in warning


@pytest.mark.parametrize("name", ["Latitude", "Longitude"])
def test_rows_without_a_place_are_refused(name):
    table = make_table()
    table[name] = MaskedColumn(table[name], mask=np.arange(len(table)) == 3)
    with pytest.raises(CorruptedInputError, match="row 3 has no Latitude or Longitude"):
        take(table)


def test_a_height_named_geopotential_is_refused():
    """Its unit is that of heights: taken as m2/s2 it would put the air 9.8 times too low."""
    table = make_table()
    table.rename_column("Geopotential Height", "Geopotential")
    table["Geopotential"].unit = "gpm"
    with pytest.raises(CorruptedInputError, match=r"column Geopotential is in 'gpm'; expected m2 / s2"):
        take(table)


def test_geopotential_wins_over_its_height():
    table = make_table()
    table["Geopotential"] = 9.80665 * (table["Geopotential Height"].value + 111.0)
    np.testing.assert_allclose(take(table).height, table["Geopotential Height"].value + 111.0, rtol=1e-14)


def test_missing_humidity_is_0():
    table = make_table()
    humid = take(table).humidity
    mask = np.arange(len(table)) % 3 == 0
    table["Relative humidity"] = MaskedColumn(table["Relative humidity"], mask=mask, unit="%")
    np.testing.assert_array_equal(take(table).humidity, np.where(mask, 0.0, humid))
    table.remove_column("Relative humidity")
    assert not take(table).humidity.any()


@pytest.mark.parametrize("name", ["Latitude", "Timestamp", "Pressure", "Temperature", "Geopotential Height"])
def test_missing_columns_are_named(name):
    table = make_table()
    table.remove_column(name)
    with pytest.raises(CorruptedInputError, match=rf"table\.ecsv lacks .*{name.split()[0]}"):
        take(table)


def test_text_in_place_of_numbers_is_refused():
    table = make_table()
    table["Temperature"] = ["warm"] * len(table)
    with pytest.raises(CorruptedInputError, match="column Temperature holds no numbers"):
        take(table)
    table = make_table()
    table["Timestamp"] = ["yesterday"] * len(table)
    with pytest.raises(CorruptedInputError, match="column Timestamp holds no times"):
        take(table)


@pytest.mark.parametrize(("name", "unit"), [("Altitude", "m"), ("Density", "1 / cm3")])
def test_given_altitudes_and_densities_are_compared_not_used(name, unit):
    table = make_table()
    plain = take(table).select(TIMES, POINTS).profile
    computed = {
        "Altitude": compute_altitude(table["Geopotential Height"], table["Latitude"]),
        "Density": compute_number_density(table["Pressure"], table["Temperature"]),
    }
    table[name] = np.asarray(computed[name]) * (1.0 + 5e-7)
    table[name].unit = unit
    assert take(table).warnings == []
    table[name][:4] *= 1.03
    selected = take(table).select(TIMES, POINTS)
    assert len(selected.warnings) == 1
    assert (
        f"column {name} differs from the computed one in 4 of {len(table)} rows, by up to 0.03" in selected.warnings[0]
    )
    np.testing.assert_array_equal(selected.profile.density, plain.density)
    np.testing.assert_array_equal(selected.profile.altitude, plain.altitude)


def test_a_column_that_lacks_a_level_is_dropped():
    table = make_table()
    selected = take(table[~is_row(table, level=500.0)]).select(TIMES, POINTS)
    assert selected.completeness == pytest.approx(5 / 6)
    assert any("2023-07-09T23:00:00, (28.75, -18) deg, without 500 hPa" in text for text in selected.warnings)
    assert any("5 of 6 columns" in text for text in selected.warnings)
    complete = take(table[~is_row(table)]).select(TIMES, POINTS)
    np.testing.assert_array_equal(selected.profile.temperature, complete.profile.temperature)
    assert complete.completeness == pytest.approx(5 / 6)


@pytest.mark.parametrize(("holders", "counts"), [(1, False), (3, False), (4, True)])
def test_levels_of_more_than_half_of_the_columns_count(holders, counts):
    table = make_table()
    columns = [(time, point) for time in TIMES for point in POINTS]
    without = np.any([is_row(table, *column, level=50.0) for column in columns[holders:]], axis=0)
    selected = take(table[~without]).select(TIMES, POINTS)
    assert (50.0 in selected.profile.pressure) is counts
    assert selected.completeness == pytest.approx(4 / 6 if counts else 1.0)


def test_no_column_with_all_levels_is_missing_data():
    table = make_table()
    columns = [(time, point) for time in TIMES for point in POINTS]
    gaps = [is_row(table, *column, level=level) for column, level in zip(columns, LEVELS, strict=False)]
    with pytest.raises(MissingInputError, match="no column of time and point holds all levels"):
        take(table[~np.any(gaps, axis=0)]).select(TIMES, POINTS)


def test_equal_duplicates_count_once():
    table = make_table()
    doubled = vstack([table, table[is_row(table)]])
    once, twice = (take(each).select(TIMES, POINTS) for each in (table, doubled))
    np.testing.assert_array_equal(once.profile.temperature, twice.profile.temperature)
    assert twice.completeness == 1.0


def test_unequal_duplicates_are_refused_where_they_are_used():
    table = make_table()
    table.add_row(dict(table[int(np.flatnonzero(is_row(table, level=300.0))[0])]))
    table["Temperature"][-1] += 1e-6
    with pytest.raises(
        CorruptedInputError, match=r"rows of 300 hPa at 2023-07-09T23:00:00, \(28\.75, -18\) deg differ in temp"
    ):
        take(table).select(TIMES, POINTS)
    assert take(table).select(TIMES[1:], POINTS).completeness == 1.0


@pytest.mark.parametrize("name", ["Temperature", "Relative humidity", "Geopotential Height"])
def test_nan_is_refused_where_it_is_used(name):
    table = make_table()
    table[name][is_row(table, level=300.0)] = np.nan
    with pytest.raises(
        CorruptedInputError, match=r"nan at 300 hPa, 2023-07-09T23:00:00, \(28\.75, -18\) deg; expected"
    ):
        take(table).select(TIMES, POINTS)
    assert take(table).select(TIMES[1:], POINTS).completeness == 1.0


def test_nan_on_a_level_that_few_columns_hold_does_not_matter():
    table = make_table()
    table.add_row(dict(table[int(np.flatnonzero(is_row(table, level=300.0))[0])]))
    table["Pressure"][-1], table["Temperature"][-1] = 7.0, np.nan
    assert 7.0 not in take(table).select(TIMES, POINTS).profile.pressure


def test_temperatures_of_another_scale_are_refused():
    table = make_table()
    table["Temperature"] = table["Temperature"].value - 273.15
    with pytest.raises(CorruptedInputError, match=r"temperature -2[0-9.]+ at .* expected 150 to 400 K"):
        take(table).select(TIMES, POINTS)


def test_too_few_levels_name_the_table():
    with pytest.raises(CorruptedInputError, match=r"table\.ecsv: 3 pressure levels; expected 4"):
        take(make_table(levels=LEVELS[:3])).select(TIMES, POINTS)


def test_a_folder_joins_its_tables(tmp_path):
    for i, time in enumerate(TIMES):
        part = make_table()
        write(part[part["Timestamp"] == str(time)], tmp_path / f"{2 - i}.ecsv")
    (tmp_path / "notes.txt").write_text("not a table")
    joined = MeteoTable.read(tmp_path)
    assert [file.name for file in joined.files] == ["0.ecsv", "1.ecsv", "2.ecsv"]
    whole = take(make_table()).select(TIMES, POINTS).profile
    np.testing.assert_allclose(joined.select(TIMES, POINTS).profile.density, whole.density, rtol=1e-14)


def test_a_folder_may_hold_products_and_unfinished_files(tmp_path):
    """Products of the tools are no data; made-up data are, although they have a provenance too."""
    table = make_table()
    table.meta["provenance"] = {"tool": "cal-simulate cherenkov", "version": "1"}
    write(table, tmp_path / "data.ecsv")
    product = Table({f"{wavelength}.0 nm": [0.1] for wavelength in range(200, 300)})
    product.meta["provenance"] = {"version": "1", "tool": "calibpipe-create-molecular-atmospheric-model"}
    write_ecsv(product, tmp_path / "extinction.ecsv")
    write(table[:5], tmp_path / ".123.data.ecsv")
    assert [file.name for file in MeteoTable.read(tmp_path).files] == ["data.ecsv"]
    (tmp_path / "data.ecsv").unlink()
    with pytest.raises(MissingInputError, match="holds no meteorological table"):
        MeteoTable.read(tmp_path)


def test_tables_that_are_not_there(tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.ecsv is not there"):
        MeteoTable.read(tmp_path / "none.ecsv")
    with pytest.raises(MissingInputError, match="holds no meteorological table"):
        list_files(tmp_path)


def test_a_file_of_another_form_is_refused_without_asking_for_the_extra(tmp_path):
    (tmp_path / "table.txt").write_text("some text")
    with pytest.raises(CorruptedInputError, match=r"table\.txt cannot be read as ECSV"):
        MeteoTable.read(tmp_path / "table.txt")


def test_log_rule_is_handed_on():
    assert take(make_table()).select(*ONE, "log").profile.rule == "log"


DENSITY_15KM = {
    "gdas_2023-07-10": 4.644145761612368e18,
    "era5_2023-07-10": 4.668408267906712e18,
    "era5_2022-07-01": 4.665444614440194e18,
}


@pytest.mark.parametrize("night", list(NIGHTS))
def test_density_of_real_nights(shared, night):
    selected = select_night(shared, night)
    assert float(selected.profile.interpolate("density", 15e3)) == pytest.approx(DENSITY_15KM[night], rel=1e-12)
    altitude, density = read_columns(shared / "expected" / f"density_profile_{night}.ecsv")
    np.testing.assert_allclose(selected.profile.interpolate("density", altitude), density, rtol=1e-12)
    assert selected.completeness == pytest.approx(5 / 7 if night == "era5_2022-07-01" else 1.0)
    assert len(selected.warnings) == (night == "era5_2022-07-01")
