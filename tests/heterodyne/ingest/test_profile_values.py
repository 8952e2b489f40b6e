"""Every form of a value."""

from __future__ import annotations

import math
import tomllib

import numpy as np
import pytest

from cal_pipeline.core.files.declared import DeclaredFile, Entry
from cal_pipeline.heterodyne.ingest.columns import empty_column, make_column
from cal_pipeline.heterodyne.ingest.errors import ProfileError
from cal_pipeline.heterodyne.ingest.fields import MAP_FIELDS, PIXEL_FIELDS, SCAN_FIELDS
from cal_pipeline.heterodyne.ingest.value_forms import ValueForm

FIELDS = {**MAP_FIELDS, **SCAN_FIELDS, **PIXEL_FIELDS}


class Rows:
    """Three rows with keys."""

    def __init__(self, missing=(), **columns):
        self.missing = missing
        self.columns = {key: make_column(values) for key, values in columns.items()}
        self.mean_frequency = np.array([76e9, 77e9, 87e9])

    def __len__(self):
        return 3

    def column(self, key):
        return self.columns.get(key, empty_column(3))


def read(text, field, path):
    at = Entry(DeclaredFile(path / "my.toml", b"", ProfileError), f"map.{field}")
    return ValueForm(FIELDS[field]).read(tomllib.loads(f"v = {text}")["v"], at)


@pytest.fixture
def find(tmp_path):
    """Return a function that finds the numbers of a field for the text of a value."""
    return lambda text, field, rows: read(text, field, tmp_path).find_numbers(rows).values.tolist()


NAN = pytest.approx(math.nan, nan_ok=True)


def test_a_key(find):
    rows = Rows(A=[1, 2.5, "3"])
    assert find('"A"', "tamb", rows) == [1.0, 2.5, 3.0]
    assert find('"B"', "tamb", rows) == [NAN] * 3


@pytest.mark.parametrize("value", [None, "", "  ", "cold", math.nan, math.inf])
def test_blank_text_and_nan_are_not_there(find, value):
    assert find('"A"', "tamb", Rows(A=[value, 1, 2])) == [NAN, 1.0, 2.0]


@pytest.mark.parametrize(
    ("field", "unit", "factor"),
    [
        ("pixel_offset_lon", "arcsec", 1 / 3600),
        ("elevation", "deg", math.pi / 180),
        ("signal_freq", "MHz", 1e6),
        ("pamb", "hPa", 100 / (101325 / 760)),
        ("pamb", "mmHg", 1.0),
        ("velocity_source_kms", "m/s", 1e-3),
        ("mjd", "s", 1 / 86400),
    ],
)
def test_units(find, field, unit, factor):
    found = find(f'{{ key = "A", unit = "{unit}" }}', field, Rows(A=[1.0, -2.0, 360.5]))
    np.testing.assert_allclose(found, np.array([1.0, -2.0, 360.5]) * factor, rtol=2e-7 if unit == "mmHg" else 4e-16)


def test_degrees_celsius_come_before_what_is_added_and_the_range(find):
    rows = Rows(A=[-3.9, 0.0, 99.0], B=[0.5, 0.5, 0.5])
    found = find('{ key = "A", unit = "deg_C", plus = 1, minus = "B", range = [270, 300] }', "tamb", rows)
    assert found == [NAN, 273.65, NAN]
    found = find('{ key = "A", unit = "deg_C", plus = 1, minus = "B", range = [269, 300] }', "tamb", rows)
    assert found == [pytest.approx(269.75), 273.65, NAN]


def test_missing_is_as_recorded(find):
    # A column of 32 bits holds 99.9 as 99.9000015.
    rows = Rows(A=[99.0, float(np.float32(99.9)), "-99"])
    assert find('{ key = "A", unit = "deg_C", missing = 99 }', "tamb", rows)[0] == NAN
    assert find('{ key = "A", missing = [99.0, 99.9, -99] }', "tamb", rows) == [NAN] * 3
    assert find('{ key = "A", missing = 372.15, unit = "deg_C" }', "tamb", rows)[0] == 372.15


def test_numbers_that_are_missing_for_every_field(find):
    rows = Rows((0.0, -999.0), A=[0, 5, 7], B=[1, -999, 2])
    assert find('{ key = "A", minus = "B" }', "tamb", rows) == [NAN, NAN, 5.0]


def test_a_constant(find):
    assert find("{ value = 4 }", "tamb", Rows()) == [4.0] * 3
    assert find('{ value = "2017-02-04T12:00:00" }', "mjd", Rows()) == [57788.5] * 3


def test_a_sum_is_there_where_all_parts_are(find):
    rows = Rows(A=[1, 2, None], B=[10, None, 10])
    assert find('{ sum = ["A", { key = "B", plus = 1 }, { value = 0.5 }] }', "tamb", rows) == [12.5, NAN, NAN]


def test_a_date_and_the_seconds_of_the_day(find):
    rows = Rows(DATE=["2017-02-04"] * 3, UT=[0, 43200, 86400])
    assert find('{ sum = ["DATE", { key = "UT", unit = "s" }] }', "mjd", rows) == [57788.0, 57788.5, 57789.0]


def test_dates_and_numbers_of_days(find):
    rows = Rows(A=["2017-02-04T12:00:00", 57788.5, "yesterday"])
    assert find('{ key = "A", plus = 1 }', "mjd", rows) == [57789.5, 57789.5, NAN]


def test_a_ramp(tmp_path):
    text = """{ base = { sum = [{ key = "A", unit = "arcsec" }, { key = "S", unit = "arcsec" }] },
                ramp = { key = "V", unit = "arcsec" } }""".replace("\n", " ")
    rows = Rows(A=[3600, 3600, None], S=[0, 360, 0], V=[36, None, 36])
    numbers = read(text, "otf_lon", tmp_path).find_numbers(rows)
    assert numbers.values.tolist() == [pytest.approx(1.0), NAN, NAN]
    assert numbers.ramps.tolist() == [pytest.approx(0.01), NAN, NAN]
    # Rows without a track have the first value of the list that is there.
    numbers = read(f'[{text}, {{ key = "A", unit = "deg" }}]', "otf_lon", tmp_path).find_numbers(rows)
    assert numbers.values.tolist() == [pytest.approx(1.0), 3600.0, NAN]
    assert numbers.ramps.tolist() == [pytest.approx(0.01), NAN, NAN]
    # Only the part of a sum that is a ramp changes.
    numbers = read(f'{{ sum = ["A", {text}] }}', "otf_lon", tmp_path).find_numbers(rows)
    assert numbers.values.tolist() == [pytest.approx(3601.0), NAN, NAN]
    assert numbers.ramps.tolist() == [pytest.approx(0.01), NAN, NAN]


def test_linear_in_frequency(find):
    assert find("{ linear_in_frequency = [54.0, -0.6, 77e9] }", "tcold", Rows()) == pytest.approx([54.6, 54.0, 48.0])


def test_a_translation(find, tmp_path):
    rows = Rows(A=["GLON", "RA", 3])
    value = read('{ key = "A", table = { GLON = "galactic", 3 = "three" } }', "coord_frame", tmp_path)
    assert value.find_column(rows).as_texts().tolist() == ["galactic", "", "three"]
    assert find('{ key = "A", table = { RA = 5, GLON = 6.5 } }', "tamb", rows) == [6.5, 5.0, NAN]


def test_the_first_that_is_there(find, tmp_path):
    rows = Rows(A=["x", None, ""], B=["y", "y", 99])
    value = read('["A", { key = "B", missing = 99 }, { value = "none" }]', "source", tmp_path)
    assert value.find_column(rows).as_texts().tolist() == ["x", "y", "none"]
    assert value.keys == ("A", "B")
    rows = Rows(A=[99.0, 1.0, None], B=[5.0, 5.0, 5.0])
    assert find('[{ key = "A", missing = 99, unit = "deg_C" }, "B"]', "thot", rows) == [5.0, 274.15, 5.0]


def test_labels_of_pixels_may_be_counted_from_one(tmp_path):
    rows = Rows(FEED=[9, "011", "H"])
    value = read('{ key = "FEED", plus = -1 }', "receiver", tmp_path)
    assert value.find_column(rows).as_texts().tolist() == ["8", "10", ""]
    assert read('"FEED"', "receiver", tmp_path).find_column(rows).as_texts().tolist() == ["9", "011", "H"]


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("5", "tamb", "map.tamb is 5, expected a key"),
        ('""', "tamb", "map.tamb is '', expected a key"),
        ("[]", "tamb", "expected a key"),
        ('{ ky = "A" }', "tamb", "map.tamb has 'ky'; did you mean 'key'?"),
        ("{ }", "tamb", "map.tamb has no key; expected one of key, value, sum, base, linear_in_frequency"),
        ('{ key = "A", uint = "K" }', "tamb", "map.tamb.uint is not known; did you mean 'unit'?"),
        (
            '{ key = "A", unit = "arcsecs" }',
            "otf_lon",
            "unit: there is no unit 'arcsecs'; did you mean 'arcsec",
        ),
        ('{ key = "A", unit = "Arcsec" }', "otf_lon", "there is no unit 'Arcsec'; did you mean 'arcsec'?"),
        ('{ key = "A", unit = "ghz" }', "freq_off", "there is no unit 'ghz'; did you mean 'GHz'?"),
        ('{ key = "A", unit = "deg" }', "tamb", "map.tamb.unit: 'deg' cannot be converted to 'K'"),
        ('{ key = "A", unit = "m/s" }', "ref_channel", "'m/s' cannot be converted to 'a number'"),
        ('{ key = "A", unit = "K" }', "source", "map.source.unit is not known"),
        ('{ key = "A", plus = 1 }', "source", "plus is for numbers, expected none for the text source"),
        ('{ key = "A", range = [3, 1] }', "tamb", r"map.tamb.range is \[3, 1\], expected \[lowest, highest\] in K"),
        ('{ key = "A", plus = "1" }', "tamb", "map.tamb.plus is '1', expected a finite number"),
        ('{ value = "warm" }', "tamb", "map.tamb.value is 'warm', expected a number"),
        ('{ value = "04/02/17" }', "mjd", "map.mjd.value is '04/02/17', expected a date or a number"),
        ("{ value = true }", "tamb", "map.tamb.value is True, expected text or a number"),
        ('{ key = "A", table = { X = "warm" } }', "tamb", "map.tamb.table.X is 'warm', expected a number"),
        ('{ key = "A", table = { } }', "tamb", "map.tamb.table is {}, expected a table"),
        ('{ key = "A", table = { X = 1 }, unit = "K" }', "tamb", "map.tamb.unit is not known"),
        ("{ sum = [] }", "tamb", "map.tamb.sum is empty"),
        ('{ sum = "A" }', "tamb", "map.tamb.sum is 'A', expected a list in brackets"),
        ('{ sum = ["A", 1] }', "tamb", r"map.tamb.sum\[1\] is 1, expected a key"),
        ('{ sum = ["A"] }', "source", "map.source is a sum, which is a number; expected text"),
        ('{ base = "A" }', "otf_lon", "map.otf_lon.ramp is missing"),
        ('{ ramp = "A" }', "otf_lon", "map.otf_lon.base is missing"),
        ("{ linear_in_frequency = [54.0, -0.6] }", "tcold", r"expected \[T0, slope per GHz, nu0 in Hz\]"),
        ("{ linear_in_frequency = [1, 1, 1] }", "freq_res", "cannot be for freq_res: frequencies are made of it"),
    ],
)
def test_what_is_no_value(tmp_path, text, field, message):
    with pytest.raises(ProfileError, match=message) as error:
        read(text, field, tmp_path)
    assert "my.toml" in str(error.value)
