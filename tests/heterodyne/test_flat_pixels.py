"""One axis of named pixels: each sample where it was, nothing read before it is used, files that netCDF takes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray
from helpers_scans import PIXELS, A, C, D, R, S, place, write_scans
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline import open_l1
from cal_pipeline.heterodyne.flat_pixels import flatten_pixels


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return open_l1(write_scans(tmp_path_factory.mktemp("flat") / "l1.zarr", {"scan_000001": {}}))[1]


@pytest.mark.parametrize("name", PIXELS)
def test_a_pixel_by_name(scan, name):
    r, a = int(name[1]), int(name[2])
    chosen = scan.to_xarray().sel(pixel=name)
    assert (int(chosen.receiver), int(chosen.array)) == (r, a)
    found = chosen.spectra.isel(channel=5, dump=1, subscan=3)
    assert float(found) == place(5, 1, r, a, 3)
    assert float(chosen.t_sys[0, 0]) == 100.0 + 10.0 * r + a


def test_several_pixels_in_their_order(scan):
    chosen = scan.to_xarray().sel(pixel=["P21", "P00"])
    assert chosen.pixel.values.tolist() == ["P21", "P00"]
    assert chosen.spectra[0, 0, :, 0].values.tolist() == [place(0, 0, 2, 1, 0), 0.0]


def slices(size):
    """Slices; xarray refuses empty ones that count down."""
    return st.slices(size).filter(lambda part: part.step is None or part.step > 0 or len(range(size)[part]) > 0)


INDEX = st.one_of(st.integers(0, R * A - 1), slices(R * A), st.lists(st.integers(0, R * A - 1), min_size=1))


@given(pixel=INDEX, channel=st.one_of(st.integers(0, C - 1), slices(C)), subscan=slices(S))
@settings(max_examples=25)
def test_any_part_is_that_of_the_whole(scan, pixel, channel, subscan):
    flat = flatten_pixels(scan.dataset).spectra
    whole = scan.dataset.spectra.values.reshape(C, D, R * A, S)
    part = flat.isel(pixel=pixel, channel=channel, subscan=subscan)
    expected = xarray.DataArray(whole, dims=flat.dims).isel(pixel=pixel, channel=channel, subscan=subscan)
    np.testing.assert_array_equal(part.values, expected.values)


def test_nothing_is_read_before_it_is_used(scan, monkeypatch):
    from cal_pipeline.heterodyne import flat_pixels

    flat = scan.to_xarray()
    read = []
    kept = flat_pixels._FlatArray._read
    monkeypatch.setattr(
        flat_pixels._FlatArray, "_read", lambda array, key: read.append(array.variable.dims) or kept(array, key)
    )
    part = flat.spectra.sel(pixel="P10").isel(subscan=0)
    assert read == []
    assert part.shape == (C, D)
    assert float(part[0, 0]) == 100.0
    assert len(read) == 1


def test_coordinates_and_attributes(scan):
    flat = scan.to_xarray()
    assert flat.indexes["pixel"].tolist() == PIXELS
    assert set(flat.spectra.coords) >= {"signal_freqs", "mjd", "pixel", "velocity"}
    assert flat.velocity.attrs["units"] == "km/s"
    np.testing.assert_array_equal(flat.velocity.values, scan.velocity().value)
    assert flat.attrs["observing_mode"] == "otf"
    assert json.loads(flat.attrs["qa"])["verdict"] == scan.verdict == "pass"
    assert np.issubdtype(flat.mjd.dtype, np.datetime64)


def test_other_frames(scan):
    flat = scan.to_xarray("barycent")
    assert flat.velocity.attrs["long_name"] == "velocity (BARYCENT, radio convention)"
    np.testing.assert_array_equal(flat.velocity.values, scan.velocity("barycent").value)


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_round_trip_through_netcdf(scan, tmp_path, engine):
    """With SciPy alone too, which every installation has."""
    if engine == "h5netcdf":
        pytest.importorskip("h5netcdf")
    flat = scan.to_xarray()
    flat.to_netcdf(tmp_path / "scan.nc", engine=engine)
    with xarray.open_dataset(tmp_path / "scan.nc", engine=engine) as back:
        for name, array in flat.variables.items():
            np.testing.assert_array_equal(back[name].values, array.values, err_msg=str(name))
        assert back.sel(pixel="P11").spectra.shape == (C, D, S)
        assert {name: str(value) for name, value in back.attrs.items()} == {
            name: str(value) for name, value in flat.attrs.items()
        }


def test_without_a_site_there_is_no_velocity(tmp_path):
    scan = open_l1(write_scans(tmp_path / "l1.zarr", {"scan_000001": {"site_alt_m": None}}))[1]
    assert "velocity" not in scan.to_xarray().coords
    assert "velocity" not in scan.average().coords
    with pytest.raises(Exception, match="site_alt_m"):
        scan.to_xarray("lsrk")
