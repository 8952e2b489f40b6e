"""Attributes that change what stored numbers mean are applied or refused."""

from __future__ import annotations

import base64
import struct

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.packing import Packing
from cal_pipeline.errors import LayoutError

FILL = -(2**31)


def decode(attributes, raw, unit=None):
    raw = np.asarray(raw)
    return Packing.from_attributes("g/a", attributes, raw.dtype, unit).decode(raw).tolist()


def as_base64(number):
    return base64.standard_b64encode(struct.pack("<d", number)).decode()


def assert_values(found, expected):
    np.testing.assert_array_equal(found, expected)


NAN = float("nan")


@pytest.mark.parametrize(
    ("attributes", "raw", "expected"),
    [
        ({}, np.array([-(2**15), 3], np.int16), [-32768.0, 3.0]),
        ({"long_name": "x", "dtype": "float64", "comment": 7}, np.array([1, 2], np.int8), [1.0, 2.0]),
        ({"scale_factor": 0.5, "add_offset": 3}, np.array([1, 4], np.int16), [3.5, 5.0]),
        ({"scale_factor": [2]}, np.array([1.5, NAN], np.float32), [3.0, NAN]),
        ({"_FillValue": -1, "scale_factor": 2.0}, np.array([-1, 4], np.int64), [NAN, 8.0]),
        # The marker counts stored numbers: 8 is what 4 decodes to.
        ({"_FillValue": 8, "scale_factor": 2.0}, np.array([8, 4], np.int64), [NAN, 8.0]),
        ({"_FillValue": None, "missing_value": [7, 9]}, np.array([7, 8, 9], np.uint8), [NAN, 8.0, NAN]),
        ({"_FillValue": -1.0, "missing_value": -2}, np.array([-1, -2, 0], np.int8), [NAN, NAN, 0.0]),
        # 0.1 of 32 bits is not 0.1 of 64.
        ({"_FillValue": 0.1}, np.array([0.1, 0.2], np.float32), [NAN, float(np.float32(0.2))]),
        ({"_FillValue": as_base64(-99.0)}, np.array([-99.0, 5.0], np.float32), [NAN, 5.0]),
        ({"_FillValue": as_base64(NAN)}, np.array([NAN, 5.0]), [NAN, 5.0]),
        ({"_FillValue": "NaN"}, np.array([NAN, 5.0]), [NAN, 5.0]),
        ({"valid_min": 2, "valid_max": 4}, np.array([1, 2, 4, 5], np.uint16), [NAN, 2.0, 4.0, NAN]),
        ({"valid_range": [2.5, 4.5]}, np.array([2.0, 3.0, 5.0, NAN]), [NAN, 3.0, NAN, NAN]),
        ({"valid_max": 4, "scale_factor": 10.0}, np.array([4, 5], np.int32), [40.0, NAN]),
        ({"valid_max": 70_000}, np.array([4, 5], np.int16), [4.0, 5.0]),
        ({"valid_range": [-(10**400), 10**400]}, np.array([4.0, 5.0], np.float32), [4.0, 5.0]),
        ({"valid_min": -(10**400), "valid_max": 10**400}, np.array([4, 5], np.int32), [4.0, 5.0]),
        ({"_Unsigned": "true"}, np.array([-1, 1], np.int8), [255.0, 1.0]),
        ({"_Unsigned": "true", "_FillValue": -1}, np.array([-1, -2], np.int8), [NAN, 254.0]),
        ({"_Unsigned": "true", "_FillValue": 255}, np.array([-1, -2], np.int8), [NAN, 254.0]),
        ({"_Unsigned": "false"}, np.array([255, 1], np.uint8), [-1.0, 1.0]),
        ({"_Unsigned": "true"}, np.array([-1, 1], ">i2"), [65535.0, 1.0]),
        # FITS, and what else changes nothing
        ({"BSCALE": 1.0, "BZERO": 0}, np.array([5], np.int16), [5.0]),
    ],
)
def test_attributes_are_applied(attributes, raw, expected):
    assert_values(decode(attributes, raw), expected)


@pytest.mark.parametrize("attribute", ["scale_factor", "add_offset"])
@pytest.mark.parametrize("value", [None, NAN, float("inf"), "2.0", [1.0, 2.0], [], {}, True, [True], 10**400])
def test_packing_by_no_number_is_refused(attribute, value):
    with pytest.raises(LayoutError, match=rf"g/a: attribute {attribute} is .*, expected one finite number"):
        Packing.from_attributes("g/a", {attribute: value}, np.dtype("int32"))


@pytest.mark.parametrize(
    ("attributes", "dtype", "words"),
    [
        ({"scale_factor": 0}, "int32", "scale_factor is 0, expected one finite number other than 0"),
        ({"_FillValue": "AAAA"}, "float64", "_FillValue is 'AAAA', expected a number of type float64"),
        ({"_FillValue": [[1.0]]}, "float64", "_FillValue"),
        ({"_FillValue": as_base64(1.0)}, "int32", "expected a whole number that int32 can hold"),
        ({"_FillValue": -1.5}, "int32", "expected a whole number"),
        ({"_FillValue": NAN}, "int32", "expected a whole number"),
        ({"_FillValue": True}, "int32", "expected a whole number"),
        ({"_FillValue": 40_000}, "int16", "expected a whole number that int16 can hold"),
        ({"_FillValue": -1}, "uint16", "expected a whole number that uint16 can hold"),
        ({"_FillValue": 256, "_Unsigned": "true"}, "int8", "can hold"),
        ({"missing_value": "none"}, "int16", "missing_value is 'none'"),
        ({"valid_range": 3}, "int16", "valid_range is 3, expected two numbers"),
        ({"valid_range": [1, 3], "valid_min": 1}, "int16", "valid_range"),
        ({"valid_min": "low"}, "int16", "valid_min is 'low', expected a number"),
        ({"valid_max": NAN}, "float32", "valid_max is nan"),
        ({"valid_max": 4.0, "scale_factor": 10.0}, "int32", "valid_max is 4.0, expected a whole number, as stored"),
        ({"_Unsigned": "perhaps"}, "int8", "_Unsigned is 'perhaps'"),
        ({"_Unsigned": "true"}, "float32", "_Unsigned"),
        ({"BZERO": 32768}, "int16", "BZERO is 32768, .*expected add_offset if that is meant"),
        ({"bscale": 2.0}, "int16", "expected scale_factor"),
        ({"Scale_Factor": 2.0}, "int16", "expected scale_factor"),
        ({"SCALE_FACTOR": None}, "int16", "expected scale_factor"),
        ({"blank": 0}, "int16", "expected _FillValue"),
        ({"fill_value": 0}, "int16", "expected _FillValue"),
        ({"unsigned": "true"}, "int16", "expected _Unsigned"),
    ],
)
def test_attributes_that_cannot_be_applied_are_refused_by_name(attributes, dtype, words):
    with pytest.raises(LayoutError, match=f"^g/a: attribute .*{words}"):
        Packing.from_attributes("g/a", attributes, np.dtype(dtype))


@pytest.mark.parametrize(
    ("units", "unit", "raw", "expected"),
    [
        ("rad", "rad", 0.7, 0.7),
        ("radians", "rad", 0.7, 0.7),
        ("degrees", "rad", 180.0, np.pi),
        ("deg", "deg", 10.0, 10.0),
        ("arcsec", "deg", 3600.0, 1.0),
        ("degrees_north", "deg", 10.0, 10.0),
        ("GHz", "Hz", 461.0, 461e9),
        ("MHz", "Hz", 1.0, 1e6),
        ("hertz", "Hz", 5.0, 5.0),
        ("degC", "K", 20.0, 293.15),
        ("kelvin", "K", 77.0, 77.0),
        ("mmHg", "Torr", 380.0, 380.0),
        ("hPa", "Torr", 1013.25, 760.0),
        ("ms", "s", 250.0, 0.25),
        ("seconds", "s", 2.0, 2.0),
        ("days", "d", 60000.5, 60000.5),
        ("MJD", "d", 60000.5, 60000.5),
        ("channel", "", 12.0, 12.0),
        ("anything", None, 12.0, 12.0),
        # 2020-01-01 is MJD 58849, 1970-01-01 MJD 40587.
        ("days since 1858-11-17 00:00:00", "d", 60000.25, 60000.25),
        ("days since 2020-01-01 00:00:00", "d", 1.5, 58850.5),
        ("seconds since 1970-01-01", "d", 43200.0, 40587.5),
        ("fortnights since 1970-01-01", "d", 1.0, 40601.0),
        ("hours since 1970-01-01T12:00:00Z", "d", 12.0, 40588.0),
        ("microseconds since 2020-01-01T00:00:00+01:00", "d", 3.6e9, 58849.0),
        ("milliseconds since 1970-01-01 00:00:00 UTC", "d", 8.64e7, 40588.0),
    ],
)
def test_units_are_converted(units, unit, raw, expected):
    (found,) = decode({"units": units}, np.array([raw]), unit)
    assert found == pytest.approx(expected, rel=1e-15, abs=1e-10)


@pytest.mark.parametrize(
    ("units", "unit", "expected"),
    [
        ("K", "rad", "rad or a unit that converts to it"),
        ("parsnips", "Hz", "Hz or a unit that converts to it"),
        ("Hz", "", "no unit"),
        ("days since yesterday", "d", "days since 1858-11-17"),
        ("years since 2000-01-01", "d", "days since 1858-11-17"),
        ("months since 2000-01-01", "d", "days since 1858-11-17"),
    ],
)
def test_units_that_do_not_convert_are_refused(units, unit, expected):
    with pytest.raises(LayoutError, match=f"g/a: attribute units is '{units}'.*expected.*{expected}"):
        Packing.from_attributes("g/a", {"units": units}, np.dtype("float64"), unit)


def test_another_calendar_is_refused():
    attributes = {"units": "days since 2000-01-01", "calendar": "noleap"}
    with pytest.raises(LayoutError, match="noleap"):
        Packing.from_attributes("g/mjd", attributes, np.dtype("float64"), "d")


def test_units_come_after_packing():
    attributes = {"units": "deg", "scale_factor": 0.5, "add_offset": 45.0, "_FillValue": 0}
    assert_values(decode(attributes, np.array([0, 90], np.int16), "rad"), [NAN, np.pi / 2])


@pytest.mark.parametrize(
    ("dtype", "raw", "expected"),
    [
        ("int8", [-128, 1, 126, 127], [NAN, 1.0, 126.0, NAN]),
        ("int16", [-(2**15), 1, 2**15 - 1], [NAN, 1.0, NAN]),
        ("int32", [FILL, 1, 2**31 - 2, 2**31 - 1], [NAN, 1.0, 2.0**31 - 2, NAN]),
        ("int64", [-(2**63), FILL, 1, 2**31 - 1, 2**63 - 1], [NAN, NAN, 1.0, 2.0**31 - 1, NAN]),
        ("uint8", [0, 254, 255], [0.0, 254.0, NAN]),
        ("uint32", [0, 2**31, 2**32 - 2, 2**32 - 1], [0.0, 2.0**31, 2.0**32 - 2, NAN]),
        ("float32", [NAN, np.inf, -np.inf, FILL, 1], [NAN, NAN, NAN, NAN, 1.0]),
        ("float64", [NAN, np.inf, FILL, -1.0], [NAN, NAN, NAN, -1.0]),
    ],
)
def test_markers_of_counts_go_by_the_type(dtype, raw, expected):
    raw = np.array(raw, dtype)
    packing = Packing.for_counts("g/data_5d", {"scale_factor": 1.0}, raw.dtype)
    assert_values(packing.decode(raw), expected)


def test_a_marker_of_counts_adds_to_that_of_the_type():
    packing = Packing.for_counts("g/data_5d", {"_FillValue": 0, "add_offset": 5.0}, np.dtype("int16"))
    assert_values(packing.decode(np.array([0, -(2**15), 7], np.int16)), [NAN, NAN, 12.0])
    unsigned = Packing.for_counts("g/data_5d", {"_Unsigned": "true"}, np.dtype("int16"))
    assert_values(unsigned.decode(np.array([-(2**15), -2, -1], np.int16)), [32768.0, 65534.0, NAN])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.1, 0.0), (3.0, -7.0), (-0.3, 500.0)])
@pytest.mark.parametrize("limit", [1.0, 99.9, 300.0, 300.1, 1e12])
def test_values_from_the_limit_on_are_saturated(dtype, scale, offset, limit):
    raw = np.arange(1, 2000).astype(dtype)
    attributes = {"scale_factor": scale, "add_offset": offset}
    packing = Packing.for_counts("g/data_5d", attributes, raw.dtype)
    unpacked = packing.decode(raw)
    assert_values(packing.saturated_at(limit).decode(raw), np.where(unpacked >= limit, NAN, unpacked))


def test_a_saturation_limit_widens_no_valid_range():
    packing = Packing.for_counts("g/data_5d", {"valid_max": 50}, np.dtype("int16")).saturated_at(70.0)
    assert_values(packing.decode(np.array([50, 60, 70], np.int16)), [50.0, NAN, NAN])


def test_known_extremes_give_the_same_missing_values():
    packing = Packing.for_counts("g/data_5d", {}, np.dtype("int16"))
    for raw in ([1, 2], [-(2**15), 2], [1, 2**15 - 1]):
        stored = np.array(raw, np.int16)
        one, other = packing.find_missing(stored), packing.find_missing(stored, (min(raw), max(raw)))
        np.testing.assert_array_equal(one, other)


def test_counts_in_decibels_are_refused():
    with pytest.raises(LayoutError, match="units is 'dBm', expected counts on a linear scale"):
        Packing.for_counts("g/data_5d", {"units": "dBm"}, np.dtype("float32"))
    Packing.for_counts("g/data_5d", {"units": "counts"}, np.dtype("float32"))


@pytest.mark.slow
@given(
    dtype=st.sampled_from(["int16", "int32", "float32"]),
    scale=st.sampled_from([0.25, 2.0, -4.0]),
    offset=st.sampled_from([0.0, 8.0]),
    fill=st.integers(-100, 100),
    data=st.data(),
)
@settings(deadline=None, max_examples=15)
def test_what_xarray_packs_is_unpacked(tmp_path_factory, dtype, scale, offset, fill, data):
    folder = tmp_path_factory.mktemp("packed")
    stored = np.array(data.draw(st.lists(st.integers(-100, 100), min_size=1, max_size=6)))
    values = np.where(stored == fill, np.nan, stored * scale + offset)
    encoding = {"dtype": dtype, "scale_factor": scale, "add_offset": offset, "_FillValue": np.dtype(dtype).type(fill)}
    xr.Dataset({"a": ("x", values)}).to_zarr(
        folder, encoding={"a": encoding}, zarr_format=3, consolidated=False, mode="w"
    )
    array = open_reader(LocalStorePath(folder), "a")
    packing = Packing.from_attributes(array.name, array.attributes, array.dtype)
    assert_values(packing.decode(array.read()), values)
