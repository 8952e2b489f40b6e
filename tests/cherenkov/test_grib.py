"""Meteorological tables in GRIB, as another library writes them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from helpers_air import select_night

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError
from cal_pipeline.cherenkov.meteo import MeteoTable

pytestmark = pytest.mark.cherenkov

LATITUDES, LONGITUDES = (29.0, 28.75), (-18.0, -17.75)
LEVELS = (1000, 850, 500, 200, 50)


def field(name, hour, level):
    """A value for each of four points."""
    height = 7e3 * np.log(1013.0 / level)
    base = {"t": 288.0 - level / 100.0, "z": 9.80665 * height, "gh": height, "r": 40.0, "u": 5.0}[name]
    return base + hour + 0.1 * np.arange(4)


def write_message(file, eccodes, edition, name, hour, level, values, **more):
    message = eccodes.codes_grib_new_from_samples(f"regular_ll_pl_grib{edition}")
    keys = {
        "Ni": 2,
        "Nj": 2,
        "latitudeOfFirstGridPointInDegrees": LATITUDES[0],
        "latitudeOfLastGridPointInDegrees": LATITUDES[1],
        "longitudeOfFirstGridPointInDegrees": LONGITUDES[0] % 360.0,
        "longitudeOfLastGridPointInDegrees": LONGITUDES[1] % 360.0,
        "iDirectionIncrementInDegrees": 0.25,
        "jDirectionIncrementInDegrees": 0.25,
        "dataDate": 20230710,
        "dataTime": hour * 100,
        "shortName": name,
        "bitsPerValue": 24,
        "bitmapPresent": int(np.isnan(values).any()),
        **more,
        "level": int(level),
    }
    for key, value in keys.items():
        eccodes.codes_set(message, key, value)
    absent = eccodes.codes_get(message, "missingValue", float)
    eccodes.codes_set_values(message, np.where(np.isnan(values), absent, values))
    eccodes.codes_write(message, file)
    eccodes.codes_release(message)


def write_grib(
    path, eccodes, edition, names=("t", "z", "r"), hours=(0, 3), levels=LEVELS, kind="isobaricInhPa", missing=None
):
    with open(path, "wb") as file:
        for name in names:
            for hour in hours:
                for level in levels:
                    values = field(name, hour, level)
                    values[(missing or {}).get((name, level), [])] = np.nan
                    write_message(file, eccodes, edition, name, hour, level, values, typeOfLevel=kind)


@pytest.fixture
def eccodes():
    return pytest.importorskip("eccodes", reason="the extra grib is not installed")


@pytest.mark.parametrize("edition", [1, 2])
def test_levels_of_a_file_are_read(tmp_path, eccodes, edition):
    write_grib(tmp_path / "era5.grib", eccodes, edition)
    table = MeteoTable.read(tmp_path)
    assert table.files == [tmp_path / "era5.grib"]
    assert table.pressure.size == 4 * 2 * len(LEVELS)
    times = np.array(["2023-07-10T03:00:00"], dtype="datetime64[s]")
    selected = table.select(times, [(28.75, -18.0), (28.75, -17.75)])
    assert selected.completeness == 1.0
    profile = selected.profile
    assert profile.pressure.tolist() == sorted(LEVELS, reverse=True)
    # The third and fourth point.
    expected = [field("t", 3, level)[2:].mean() for level in profile.pressure]
    np.testing.assert_allclose(profile.temperature, expected, atol=1e-4)
    np.testing.assert_allclose(profile.humidity, 0.4325, atol=1e-5)


def test_a_file_without_humidity_is_dry(tmp_path, eccodes):
    write_grib(tmp_path / "a.grib2", eccodes, 2, names=("t", "z"))
    assert not MeteoTable.read(tmp_path / "a.grib2").humidity.any()


def test_heights_in_place_of_geopotential_and_other_parameters(tmp_path, eccodes):
    write_grib(tmp_path / "gdas.grib2", eccodes, 2, names=("u", "gh", "t"), hours=(0,))
    table = MeteoTable.read(tmp_path)
    assert table.height.size == 4 * len(LEVELS)
    np.testing.assert_allclose(table.height[table.pressure == 850.0], field("gh", 0, 850), rtol=1e-6)


def test_levels_may_be_in_pascals(tmp_path, eccodes):
    write_grib(tmp_path / "a.grib2", eccodes, 2, hours=(0,), levels=(4000, 40), kind="isobaricInPa")
    np.testing.assert_allclose(np.unique(MeteoTable.read(tmp_path).pressure), [0.4, 40.0])


def test_missing_values_have_no_row_or_no_humidity(tmp_path, eccodes):
    path = tmp_path / "a.grib"
    write_grib(path, eccodes, 1, hours=(0,), missing={("t", 850): [0], ("z", 850): [0], ("r", 850): [0, 3]})
    table = MeteoTable.read(path)
    here = table.pressure == 850.0
    assert here.sum() == 3
    assert table.humidity[here].astype(bool).tolist() == [True, True, False]
    assert table.pressure.size == 4 * len(LEVELS) - 1


def test_a_night_in_grib_is_that_in_ecsv(tmp_path, eccodes, shared):
    night = Table.read(shared / "meteo_gdas_2023-07-10_north.ecsv", format="ascii.ecsv")
    with open(tmp_path / "gdas.grib2", "wb") as file:
        for row in night:
            values = {"t": row["Temperature"], "gh": row["Geopotential Height"], "r": row["Relative humidity"]}
            for name, value in values.items():
                write_message(file, eccodes, 2, name, 0, row["Pressure"], np.full(4, value), bitsPerValue=32)
    times = np.array(["2023-07-10T00:00:00"], dtype="datetime64[s]")
    made = MeteoTable.read(tmp_path).select(times, [(29.0, -18.0)]).profile
    expected = select_night(shared, "gdas_2023-07-10").profile
    np.testing.assert_allclose(made.altitude, expected.altitude, rtol=1e-7)
    np.testing.assert_allclose(made.density, expected.density, rtol=1e-7)
    np.testing.assert_allclose(made.humidity, expected.humidity, atol=1e-7)


@pytest.mark.parametrize("content", [b"", b"GRIB and then nothing", b"something else"])
def test_other_files_are_refused(tmp_path, eccodes, content):
    path = tmp_path / "a.grib"
    path.write_bytes(content)
    with pytest.raises(CorruptedInputError, match=r"a\.grib"):
        MeteoTable.read(path)


def test_a_truncated_file_is_refused(tmp_path, eccodes):
    path = tmp_path / "a.grib"
    write_grib(path, eccodes, 2)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptedInputError, match=r"a\.grib"):
        MeteoTable.read(path)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "eccodes", None)
    (tmp_path / "a.grib").write_bytes(b"GRIB")
    with pytest.raises(ConfigurationError, match=r"cal_pipeline\[grib\]"):
        MeteoTable.read(tmp_path)
