"""Bad exposures are refused with array or attribute, what was found and what was expected."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import zarr
from astropy.time import Time

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.imager import RampModel
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.layout import (
    CUBE,
    check_attributes,
    check_image_arrays,
    check_ramp_arrays,
    determine_read_pattern,
    read_exposure_attributes,
)
from cal_pipeline.imager.subarray import Subarray, find_subarray
from cal_pipeline.imager.times import parse_time

pytestmark = pytest.mark.imager

GOOD = {
    "exposure_number": 1,
    "exp_type": "SCI",
    "tso": False,
    "instrument": "IRIS",
    "detector": "A",
    "filter": "H",
    "date_obs": "2026-11-30T02:15:00",
    "frame_time": 2.0,
    "gain": np.float32(2.0),
    "amplifiers": np.int64(4),
    "subarray": {"name": "FULL"},
    "observer": ["anyone"],
}


def arrays(**changes):
    data = np.zeros((2, 3, 6, 4), "u2")
    return {"data": data, "pixeldq": np.zeros((6, 4), "u4"), "groupdq": np.zeros(data.shape, "u1"), **changes}


def test_good_attributes_are_returned_as_stored(tmp_path):
    stored = {**GOOD, "gain": 2.0, "amplifiers": 4}
    zarr.create_group(tmp_path / "visit.zarr").create_group("exp_000001", attributes=stored)
    assert read_exposure_attributes(open_store(str(tmp_path / "visit.zarr")), "exp_000001") == stored
    check_attributes(GOOD, "exp_000001")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("frame_time", 0.0, r"a number above 0 \[s\]"),
        ("frame_time", float("nan"), "a number above 0"),
        ("frame_time", float("inf"), "a number above 0"),
        ("frame_time", "5", "a number above 0"),
        ("frame_time", True, "a number above 0"),
        ("exp_type", 7, "text"),
        ("exp_type", " ", "text"),
        ("tso", "false", "true or false"),
        ("date_obs", "yesterday", "an ISO 8601 time"),
        ("amplifiers", 0, "a whole number from 1"),
        ("amplifiers", 2.0, "a whole number from 1"),
        ("amplifiers", 10**12, "a whole number from 1 to 65536"),
        ("nframes", 10**9, "a whole number from 1 to 65536"),
        ("groupgap", 10**30, "a whole number from 0 to 65536"),
        ("frame_time", 1e308, "a number above 0"),
        ("frame_time", 1e-300, "a number above 0"),
        ("exposure_time", 1e308, "a number above 0"),
        ("gain", "two", "a number"),
        ("wcs", [1], "FITS keywords"),
        ("exposure_number", -1, "a whole number from 0"),
        ("airmass", -1.2, "a number above 0"),
    ],
)
def test_wrong_attributes_are_named(name, value, expected):
    with pytest.raises(LayoutError, match=f"^visit/exp_000001: attribute {name} is .*, expected {expected}"):
        check_attributes({**GOOD, name: value}, "visit/exp_000001")


def test_missing_attributes_are_named():
    attributes = {name: value for name, value in GOOD.items() if name != "frame_time"}
    check_attributes(attributes, "exp_000001")
    with pytest.raises(LayoutError, match="exp_000001: attribute frame_time is missing"):
        check_attributes(attributes, "exp_000001", required=["frame_time"])


@pytest.mark.parametrize(
    ("attributes", "pattern"),
    [
        ({}, [[1], [2], [3]]),
        ({"nframes": 4}, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]),
        ({"groupgap": 2}, [[1], [4], [7]]),
        ({"nframes": 2, "groupgap": 3}, [[1, 2], [6, 7], [11, 12]]),
        ({"read_pattern": [[2], [3, 4], [9]], "nframes": 5}, [[2], [3, 4], [9]]),
    ],
)
def test_reads_of_groups(attributes, pattern):
    assert determine_read_pattern(attributes, 3, "exp_000001") == pattern


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ([[1], [2]], "read_pattern is 2 lists"),
        ([1, 2, 3], r"read_pattern is \[1, 2, 3\]"),
        ("123", "read_pattern is '123'"),
        ([[1], [], [3]], r"read_pattern\[1\] is \[\]"),
        ([[0], [1], [2]], r"read_pattern\[0\] is \[0\]"),
        ([[1], [2.5], [3]], r"read_pattern\[1\] is \[2.5\]"),
        ([[1], [3, 2], [4]], r"read_pattern\[1\] has read 2 after read 3 of group 1"),
        ([[1, 2], [2, 3], [4]], r"read_pattern\[1\] has read 2 after read 2 of group 0"),
    ],
)
def test_wrong_read_patterns_are_refused(pattern, message):
    with pytest.raises(LayoutError, match=f"^exp_000001: .*{message}.*expected"):
        determine_read_pattern({"read_pattern": pattern}, 3, "exp_000001")


@pytest.mark.parametrize("name", ["nframes", "groupgap"])
def test_wrong_numbers_of_reads_are_refused(name):
    with pytest.raises(LayoutError, match=f"attribute {name} is -1"):
        determine_read_pattern({name: -1}, 3, "exp_000001")


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i8", "f4", "f8"])
def test_ramps_of_all_types_are_accepted(dtype):
    assert check_ramp_arrays(arrays(data=np.zeros((2, 3, 6, 4), dtype)), "exp_000001") == (2, 3, 6, 4)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("data", np.zeros((3, 6, 4), "u2"), r"has shape \(3, 6, 4\), expected \[integration, group, y, x\]"),
        ("data", np.zeros((2, 0, 6, 4), "u2"), "has shape"),
        ("data", np.zeros((2, 1, 6, 4), "u2"), "has 1 group, expected at least 2"),
        ("data", np.zeros((2, 3, 6, 4), "c8"), "has type complex64, expected uint8, .* or float64"),
        ("data", np.zeros((2, 3, 6, 4), bool), "has type bool"),
        ("pixeldq", np.zeros((4, 6), "u4"), r"has shape \(4, 6\), expected \[y, x\], \(6, 4\) as the data have"),
        ("pixeldq", np.zeros((6, 4), "i4"), "has type int32, expected uint32"),
        ("groupdq", np.zeros((2, 4, 6, 4), "u1"), r"has shape \(2, 4, 6, 4\), expected"),
        ("groupdq", np.zeros((2, 3, 6, 4), "f4"), "has type float32, expected uint8"),
    ],
)
def test_wrong_ramps_are_refused(name, array, message):
    given = arrays(**{name: array})
    if array.shape == (2, 1, 6, 4):
        given["groupdq"] = np.zeros(array.shape, "u1")
    with pytest.raises(LayoutError, match=f"^exp_000001/{name} {message}"):
        check_ramp_arrays(given, "exp_000001")


def test_ramps_without_data_are_refused():
    with pytest.raises(LayoutError, match="exp_000001: array data is missing; found pixeldq"):
        check_ramp_arrays({"pixeldq": np.zeros((6, 4), "u4")}, "exp_000001")


def test_axes_in_another_order_and_text_are_refused(tmp_path):
    group = zarr.create_group(tmp_path / "visit.zarr")
    group.create_array("data", data=np.zeros((2, 3, 6, 4), "u2"), dimension_names=("group", "integration", "y", "x"))
    reader = open_reader(open_store(str(tmp_path / "visit.zarr")), "data")
    with pytest.raises(LayoutError, match="transpose it"):
        check_ramp_arrays({"data": reader}, "exp_000001")


def test_images():
    assert check_image_arrays({"data": np.zeros((6, 4), "f4"), "dq": np.zeros((6, 4), "u4")}, "exp_000001") == (6, 4)
    assert check_image_arrays({"data": np.zeros((2, 6, 4), "f4")}, "exp_000001", CUBE) == (2, 6, 4)
    with pytest.raises(LayoutError, match=r"exp_000001/err has shape \(4, 6\)"):
        check_image_arrays({"data": np.zeros((6, 4), "f4"), "err": np.zeros((4, 6), "f4")}, "exp_000001")
    with pytest.raises(LayoutError, match="exp_000001/data has type uint16, expected float32 or float64"):
        check_image_arrays({"data": np.zeros((6, 4), "u2")}, "exp_000001")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, Subarray(1, 1, 4, 6)),
        ({"name": "FULL"}, Subarray(1, 1, 4, 6)),
        ({"xstart": 11, "ystart": 21}, Subarray(11, 21, 4, 6)),
        ({"name": "SUB", "xstart": 11, "ystart": 21, "xsize": 4, "ysize": 6}, Subarray(11, 21, 4, 6)),
    ],
)
def test_subarrays(given, found):
    assert find_subarray({"subarray": given}, (6, 4), "exp_000001") == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], r"subarray is \[1, 2\], expected"),
        ({"xstart": 0, "ystart": 1}, r"subarray.xstart is 0, expected a whole number from 1"),
        ({"xstart": 1.5, "ystart": 1}, r"subarray.xstart is 1.5"),
        ({"xsize": 4, "ysize": 6}, r"subarray.xstart is missing; found xsize, ysize"),
        ({"xstart": 1, "ystart": 1, "xsize": 6, "ysize": 4}, r"subarray.xsize is 6, expected 4 as the data have"),
    ],
)
def test_wrong_subarrays_are_refused(given, message):
    with pytest.raises(LayoutError, match=f"^exp_000001: .*{message}"):
        find_subarray({"subarray": given}, (6, 4), "exp_000001")


def test_pixels_of_a_subarray_are_where_they_were():
    detector, window = Subarray(5, 3, 20, 10), Subarray(11, 7, 4, 6)
    y, x = np.mgrid[3:13, 5:25]
    rows, columns = detector.locate(window)
    assert (y[rows, columns][0, 0], x[rows, columns][0, 0]) == (7, 11)
    assert y[rows, columns].shape == window.shape


NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-30T12:00:00",
        "2026-11-30 12:00:00.000000000Z",
        "2026-11-30T14:00:00+02:00",
        datetime(2026, 11, 30, 12),
        Time("2026-11-30T12:00:00", scale="utc"),
        Time("2026-11-30T12:00:37", scale="tai"),
    ],
)
def test_times_are_in_utc(value):
    assert parse_time(value) == NOON


@pytest.mark.parametrize("value", ["", "noon", 5, None])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        parse_time(value)


def test_a_subarray_of_another_size_than_the_data_needs_no_reference_file_to_be_refused(visit):
    store = ExposureStore(visit.visit)
    attributes = store.attributes(3) | {"subarray": {"name": "X", "xstart": 1, "ystart": 1, "xsize": 16, "ysize": 32}}
    store.attributes = lambda number: attributes
    with pytest.raises(LayoutError, match=r"exp_000003: subarray\.xsize is 16, expected 32 as the data have"):
        RampModel.from_store(store, 3)
