"""Rows of files: values, phases, what is left out."""

from __future__ import annotations

import gzip
import time

import numpy as np
import pytest
from astropy.io import fits
from helpers_fits import (
    IMAGE_PROFILE,
    dish_columns,
    make_table,
    write_image,
    write_profile,
    write_table,
)

from cal_pipeline.heterodyne.ingest.headers import read_headers
from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.rows import LeftOut
from cal_pipeline.heterodyne.ingest.tabulate import tabulate


@pytest.fixture
def tabulate_with(tmp_path):
    """Return a function that tabulates tables, in one file, with a profile of some lines."""

    def make(*tables, cards=(), **parts):
        path = tmp_path / "a.fits"
        path.unlink(missing_ok=True)
        write_table(path, *tables, **dict(cards))
        return tabulate([path], open_profile(write_profile(tmp_path / "my.toml", **parts)))

    return make


def columns(**changed):
    return make_table(dish_columns(**changed))


def test_rows_of_a_table(tabulate_with, tmp_path):
    found = tabulate_with()
    rows = found.rows
    assert (found.left_out, found.failures, dict(rows.problems)) == ([], [], {})
    assert rows.files == (str(tmp_path / "a.fits"),)
    assert (rows.file.tolist(), rows.hdu.tolist(), rows.row.tolist()) == ([0] * 4, [1] * 4, [0, 1, 2, 3])
    assert rows.number.tolist() == [7, 7, 8, 8]
    assert rows.phase.tolist() == ["ON", "OFF", "ON", "OFF"]
    assert rows.pixel_id.tolist() == ["PX00"] * 4
    assert (rows.receiver.tolist(), rows.array.tolist(), rows.band.tolist()) == (["0"] * 4, ["0"] * 4, ["0"] * 4)
    assert (rows.n_dumps.tolist(), rows.n_channels.tolist()) == ([1] * 4, [8] * 4)
    seconds = 36600.5 + np.arange(4)
    np.testing.assert_allclose(rows.values["mjd"], 57788.0 + seconds / 86400.0, rtol=0, atol=1e-11)
    np.testing.assert_allclose(rows.values["elevation"], np.pi / 6)
    np.testing.assert_allclose(rows.values["tamb"], 263.15)
    assert rows.scan_values["source"].tolist() == ["M82"] * 4
    assert rows.recorded_number is None


def test_fields_without_a_value(tabulate_with):
    values = tabulate_with().rows.values
    assert np.isnan(values["thot"]).all()
    assert np.isnan(values["tcold"]).all()
    absent = {"azimuth", "lloadsn", "otf_lon", "lon", "pixel_offset_lon", "freq_off", "ref_channel", "image_freq"}
    assert absent.isdisjoint(values)


def test_fields_that_some_rows_have(tabulate_with):
    table = columns(AZ=np.array([10.0, np.nan, 20.0, 30.0]), IMAG=np.array([5.0, 0.0, np.nan, 6.0]))
    lines = 'azimuth = { key = "AZ", unit = "deg" }\nimage_freq = "IMAG"\nlloadsn = "NONE"\nfreq_off = "NONE"'
    values = tabulate_with(table, map=lines).rows.values
    np.testing.assert_allclose(values["azimuth"], np.radians([10.0, np.nan, 20.0, 30.0]))
    # The planner fills these, with a warning as the profile expects them.
    np.testing.assert_array_equal(values["image_freq"], [5.0, 0.0, np.nan, 6.0])
    assert np.isnan(values["freq_off"]).all()
    assert "lloadsn" not in values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('ref_channel = "WORD"', "no ref_channel: WORD is 'x'; expected a number"),
        ('thot = { key = "WORD", unit = "deg_C", plus = 1 }', "no thot: WORD is 'x'; expected a number [K]"),
        ('thot = { key = "TAMBIENT", minus = "WORD" }', "no thot: TAMBIENT is -10, WORD is 'x'; expected a number [K]"),
        ('tcold = { sum = ["TAMBIENT", "WORD"] }', "no tcold: TAMBIENT is -10, WORD is 'x'; expected a number [K]"),
        ('lloadsn = "HALF"', "no lloadsn: HALF is 1.5; expected a whole number"),
    ],
)
def test_a_text_in_the_place_of_a_number_is_a_problem(tabulate_with, line, message):
    table = columns(WORD=np.array(["1", "x", "nan", ""]), HALF=np.array([1.0, 1.5, -1.0, np.nan]))
    problems = tabulate_with(table, map=line).rows.problems
    assert list(problems) == [1]
    assert message in problems[1]


def test_a_text_that_is_missing_or_has_a_value_after_it_is_no_problem(tabulate_with):
    table = columns(WORD=np.array(["1", "x", "n/a", ""]))
    line = '[{ key = "WORD", missing = "n/a" }, { value = 5 }]'
    found = tabulate_with(table, map=f"thot = {line}").rows
    assert (dict(found.problems), found.values["thot"].tolist()) == ({}, [1.0, 5.0, 5.0, 5.0])
    found = tabulate_with(table, scan='rest_freq_hz = { key = "WORD", missing = ["n/a", "x"] }').rows
    assert not found.problems
    np.testing.assert_array_equal(found.scan_values["rest_freq_hz"], [1.0, np.nan, np.nan, np.nan])
    problems = tabulate_with(table, scan='rest_freq_hz = { key = "WORD", missing = "n/a" }').rows.problems
    assert "no rest_freq_hz: WORD is 'x'; expected a number [Hz]" in problems[1]


def test_a_column_goes_before_the_name_of_the_file_and_headers(tabulate_with):
    table = make_table({**dish_columns(), "COL": np.arange(4)}, TABKEY=2, BOTH=3)
    found = tabulate_with(
        table,
        cards={"BOTH": 4, "PRIM": 5, "COL": 9, "name": 8}.items(),
        top="file_name = '(?P<name>[a-z])\\.fits'\ncarry = ['COL', 'TABKEY', 'BOTH', 'PRIM', 'name', 'ABSENT']",
    )
    carried = found.rows.carried
    assert carried["col"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert (carried["tabkey"][0], carried["both"][0], carried["prim"][0]) == (2.0, 3.0, 5.0)
    assert carried["name"].tolist() == ["a"] * 4
    assert np.isnan(carried["absent"]).all()


def test_every_extension_of_the_name(tabulate_with):
    other = make_table(dish_columns(), name="OTHER")
    rows = tabulate_with(columns(), other, make_table(dish_columns(), name="Single Dish")).rows
    assert rows.hdu.tolist() == [1] * 4 + [3] * 4
    assert rows.row.tolist() == [0, 1, 2, 3] * 2


def test_an_extension_by_its_number(tmp_path):
    path = write_table(tmp_path / "a.fits", make_table(dish_columns()), make_table(dish_columns(rows=2)))
    text = write_profile(tmp_path / "my.toml").read_text().replace('hdu = "SINGLE DISH"', "hdu = 2")
    (tmp_path / "my.toml").write_text(text)
    assert tabulate([path], open_profile(tmp_path / "my.toml")).rows.hdu.tolist() == [2, 2]


def test_rows_that_do_not_match_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.fits"
    frontends = np.array(["W", "W", "Q", "X"])
    write_table(path, columns(FRONTEND=frontends), make_table(dish_columns(), TELESCOP="OTHER"))
    text = write_profile(tmp_path / "my.toml").read_text().replace("[match]", '[match]\nFRONTEND = ["W", "Q*"]')
    (tmp_path / "my.toml").write_text(text)
    found = tabulate([path], open_profile(tmp_path / "my.toml"))
    assert found.rows.row.tolist() == [0, 1, 2]
    assert sorted(found.left_out, key=lambda left: left.n_rows) == [
        LeftOut(str(path), 1, "FRONTEND is 'X', expected 'W' or 'Q*'"),
        LeftOut(str(path), 4, "FRONTEND is not there, expected 'W' or 'Q*'"),
    ]


def test_ignored_rows_are_left_out_and_counted(tabulate_with, tmp_path):
    found = tabulate_with(columns(CAL=np.array([False, True, False, True])))
    assert found.rows.row.tolist() == [0, 2]
    assert found.rows.values["signal_freq"].tolist() == [87e9, 87e9 + 2]
    assert found.left_out == [LeftOut(str(tmp_path / "a.fits"), 2, "CAL is 'T': ignored")]


def test_rows_that_fail_by_name_and_rows_without_a_phase(tabulate_with):
    found = tabulate_with(columns(SIG=np.array(["T", "F", "F", "T"]), OBSMODE=np.array(["Nod", "Nod", "Nod", "Track"])))
    problems = found.rows.problems
    assert sorted(problems) == [1, 2, 3]
    assert problems[1].endswith("a.fits: HDU 1, row 1: SIG is 'F': frequency switching")
    assert problems[3].endswith(
        "row 3: no [[phase]] holds, found SIG is 'T', CAL is 'F', OBSMODE is 'Track', SEQN is 2"
    )
    assert found.rows.phase.tolist() == ["ON", "", "", ""]


def test_a_problem_is_told_once_for_each_scan(tabulate_with):
    found = tabulate_with(columns(SIG=np.array(["F"] * 4)))
    assert sorted(found.rows.problems) == [0, 2]
    assert found.rows.problems[0].endswith("frequency switching (and 1 more row of the scan)")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"TAMBIENT": np.array([1, 99.0, 1, 1], np.float32)},
         "no tamb: TAMBIENT is 99; expected a number from 200 to 320 [K]"),
        ({"TAMBIENT": np.array([1, 70.0, 1, 1])}, "no tamb: TAMBIENT is 70; expected a number from 200 to 320 [K]"),
        ({"TAMBIENT": np.array([1, np.nan, 1, 1])}, "no tamb: TAMBIENT is blank or NaN; expected a number from 200"),
        ({"TAMBIENT": np.array(["1", "warm", "1", "1"])}, "no tamb: TAMBIENT is 'warm'; expected a number from 200"),
        ({"DATE-OBS": np.array(["2017-02-04", "04/02/17", "2017-02-04", "2017-02-04"])},
         "no mjd: DATE-OBS is '04/02/17'; expected a date in ISO 8601 or a Modified Julian Date"),
        ({"PRESSURE": np.array([1, np.inf, 1, 1])}, "no pamb: PRESSURE is inf; expected a number [Torr]"),
        ({"FDNUM": np.array(["0", "", "0", "0"])}, "no receiver: FDNUM is blank or NaN; expected text or a number"),
        ({"FDNUM": np.array(["0", "H", "0", "0"])},
         "no id of the pixel: receiver is 'H'; expected what fits 'PX{receiver:02d}'"),
    ],
)  # fmt: skip
def test_required_values_that_are_not_there(tabulate_with, changed, message):
    found = tabulate_with(columns(**changed))
    assert list(found.rows.problems) == [1]
    assert f"a.fits: HDU 1, row 1: {message}" in found.rows.problems[1]


def test_a_column_that_is_not_there_fails_all_scans(tabulate_with):
    problems = tabulate_with(columns(PRESSURE=None)).rows.problems
    assert sorted(problems) == [0, 2]
    assert "no pamb: PRESSURE is not there; expected a number [Torr]" in problems[0]


def test_a_misspelt_key_is_told_with_the_one_that_is_there(tabulate_with):
    problems = tabulate_with(columns(PRESSURE=None, PRESURE=np.ones(4))).rows.problems
    assert "no pamb: PRESSURE is not there; did you mean 'PRESURE'?; expected a number [Torr]" in problems[0]


def test_scan_numbers_that_are_computed(tmp_path):
    table = columns(SCAN=np.array([7, 8, 9, 10], np.int32))
    text = write_profile(tmp_path / "my.toml").read_text()
    number = '{ key = "SCAN", minus = "SEQN", plus = 1 }'
    (tmp_path / "my.toml").write_text(text.replace('number = "SCAN"', f"number = {number}"))
    rows = tabulate([write_table(tmp_path / "a.fits", table)], open_profile(tmp_path / "my.toml")).rows
    assert rows.number.tolist() == [7, 7, 9, 9]
    assert rows.recorded_number.tolist() == [7, 8, 9, 10]


@pytest.mark.parametrize("scan", [np.array([7.0, 7.5, -1.0, 3e9]), np.array(["7", "7.5", "-1", "x"])])
def test_rows_without_a_scan_are_failures_of_their_file(tabulate_with, tmp_path, scan):
    found = tabulate_with(columns(SCAN=scan))
    assert found.rows.row.tolist() == [0]
    (failure,) = found.failures
    assert (failure.scan_number, failure.file, failure.error_class) == (None, str(tmp_path / "a.fits"), "IngestError")
    assert "row 1: no scan number: SCAN is" in failure.message
    assert failure.message.endswith("expected a whole number from 0 (and 2 more rows of the file)")


def test_times_in_tai_and_their_middle(tabulate_with):
    middle = tabulate_with().rows.values["mjd"]
    found = tabulate_with(scale="tai", moment="start").rows.values["mjd"]
    np.testing.assert_allclose(found, middle - 37.0 / 86400 + 1.0 / 86400, rtol=0, atol=1e-11)
    found = tabulate_with(moment="end").rows.values["mjd"]
    np.testing.assert_allclose(found, middle - 1.0 / 86400, rtol=0, atol=1e-11)


def test_frequencies_of_the_frame_of_the_source(tabulate_with):
    table = columns(V=np.array([0.0, 1e-4, -1e-4, np.nan]), OFF=np.full(4, 100.0))
    end = '[frequency]\nframe = "source"\ndoppler = "V"'
    lines = 'freq_off = "OFF"\nref_channel = { value = 3 }\ntcold = { linear_in_frequency = [0, 1, 0] }'
    lines += '\nimage_freq = { sum = ["CRVAL1", "CRVAL1"] }'
    found = tabulate_with(table, map=lines, end=end)
    values = found.rows.values
    factor = np.array([1.0, 1.0001, 0.9999, np.nan])
    recorded = 87e9 + np.arange(4)
    np.testing.assert_allclose(values["signal_freq"], recorded * factor, rtol=1e-15)
    np.testing.assert_allclose(values["image_freq"], 2 * recorded * factor, rtol=1e-15)
    np.testing.assert_allclose(values["freq_res"], 1e6 * factor, rtol=1e-15)
    np.testing.assert_allclose(values["freq_off"][:3], 100.0 * factor[:3], rtol=1e-15)
    # Eight channels about channel 3 have their mean half a channel above it.
    np.testing.assert_allclose(values["tcold"], (recorded + 100.0 + 0.5e6) * factor / 1e9, rtol=1e-13)
    assert list(found.rows.problems) == [3]
    assert "no doppler: V is blank or NaN; expected a number" in found.rows.problems[3]


def test_counts_in_the_heap(tabulate_with):
    spectra = np.empty(4, object)
    spectra[:] = [np.ones(length, np.float32) for length in (8, 8, 6, 8)]
    rows = tabulate_with(columns(DATA=fits.Column("DATA", "PE()", array=spectra))).rows
    assert rows.n_channels.tolist() == [8, 8, 6, 8]


def test_a_table_without_rows(tabulate_with, tmp_path):
    table = make_table(dish_columns())
    found = tabulate_with(fits.BinTableHDU(table.data[:0], table.header))
    assert len(found.rows) == 0
    assert found.left_out == [LeftOut(str(tmp_path / "a.fits"), 0, "its table has no rows")]


def test_no_files():
    found = tabulate([], open_profile("gbt_wband"))
    assert (len(found.rows), found.left_out, found.failures) == (0, [], [])


def test_images(tmp_path):
    profile = open_profile(write_profile(tmp_path / "my.toml", IMAGE_PROFILE, map='thot = "THOT"'))
    paths = [
        write_image(tmp_path / "000012_0001_AB_PX03.fits", THOT=300.5),
        write_image(tmp_path / "000013_0001_AB_PX11.fits", np.zeros(8, np.int16), SCANNUM=None, SOBSMODE="HOT"),
        write_image(tmp_path / "000014_0001_AB_PX00.fits", np.zeros((1, 2, 8)), SCANNUM=None, **{"MJD-OBS": 60000.25}),
    ]
    packed = tmp_path / "000015_0001_AB_PX00.fits.gz"
    packed.write_bytes(gzip.compress(paths[0].read_bytes()))
    found = tabulate([*paths, packed], profile)
    rows = found.rows
    assert (found.failures, dict(rows.problems)) == ([], {})
    assert rows.number.tolist() == [12, 13, 14, 12]
    assert rows.phase.tolist() == ["ON", "HOT", "ON", "ON"]
    assert rows.pixel_id.tolist() == ["AB_PX03", "AB_PX11", "AB_PX00", "AB_PX00"]
    assert rows.receiver.tolist() == ["03", "11", "00", "00"]
    assert (rows.n_dumps.tolist(), rows.n_channels.tolist()) == ([3, 1, 2, 3], [8, 8, 8, 8])
    starts = np.array([60436.5, 60436.5, 60000.25, 60436.5])
    np.testing.assert_allclose(rows.values["mjd"], starts + rows.n_dumps / 86400.0, rtol=0, atol=1e-11)
    np.testing.assert_allclose(rows.values["pamb"], 500.0 * 100.0 * 760 / 101325)
    np.testing.assert_array_equal(rows.values["thot"], [300.5, np.nan, np.nan, 300.5])


def test_images_in_compressed_tiles(tmp_path):
    path = tmp_path / "000012_0001_AB_PX03.fits"
    text = write_profile(tmp_path / "my.toml", IMAGE_PROFILE).read_text().replace("hdu = 0", "hdu = 1")
    (tmp_path / "my.toml").write_text(text)
    source = write_image(tmp_path / "plain.fits")
    with fits.open(source) as hdus:
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header)]).writeto(path)
    rows = tabulate([path], open_profile(tmp_path / "my.toml")).rows
    assert (dict(rows.problems), rows.n_dumps.tolist(), rows.n_channels.tolist()) == ({}, [3], [8])


@pytest.mark.slow
def test_a_hundred_thousand_rows_in_well_under_a_second(tmp_path):
    rows, times = 2000, 50
    moments = np.datetime64("2017-02-04T10:10:45.00", "ms") + np.arange(rows) * np.timedelta64(10, "ms")
    table = {name: np.resize(values, (rows, *values.shape[1:])) for name, values in dish_columns().items()}
    path = write_table(tmp_path / "a.fits", make_table({**table, "DATE-OBS": np.datetime_as_string(moments)}))
    unit = list(read_headers(path))[1]
    content = path.read_bytes()
    head = content[: unit.data_start].replace(
        f"NAXIS2  = {rows:>20}".encode(), f"NAXIS2  = {rows * times:>20}".encode()
    )
    path.write_bytes(head + content[unit.data_start :][: unit.data_bytes] * times)
    profile = open_profile(write_profile(tmp_path / "my.toml"))
    best = np.inf
    for _ in range(3):
        begin = time.process_time()
        found = tabulate([path], profile).rows
        best = min(best, time.process_time() - begin)
    assert len(found) == rows * times
    assert not found.problems
    # Measured: 0.2 s.
    assert best < 1.0


def test_the_primary_by_its_name_and_bounds_on_one_side(tmp_path):
    text = write_profile(tmp_path / "my.toml", IMAGE_PROFILE).read_text().replace("hdu = 0", 'hdu = "primary"')
    (tmp_path / "my.toml").write_text(text.replace('tamb = "TAMB"', 'tamb = { key = "TAMB", range = [0, inf] }'))
    path = write_image(tmp_path / "000012_0001_AB_PX03.fits")
    rows = tabulate([path], open_profile(tmp_path / "my.toml")).rows
    assert (dict(rows.problems), rows.values["tamb"].tolist()) == ({}, [268.0])
