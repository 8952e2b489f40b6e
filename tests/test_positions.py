"""Positions and pixel ids of L0 are those of L1, in every mode."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import xarray
import zarr
from helpers_l0 import write_array, write_scan

from cal_pipeline.heterodyne.schema import L1_ARRAYS
from cal_pipeline.report.quality_table import quality_table

POSITIONS = ("otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat")
SCAN = "scan_000001"


def source_of(session):
    return zarr.open_group(session, path=f"{SCAN}/source", mode="r+")


def open_with_xarray(product):
    return xarray.open_zarr(product.path, group=SCAN, consolidated=False, chunks=None)


def ons(source):
    """Subscans of the ONs in the order of time."""
    phases, mjd = source["sobsmode"][...].tolist(), source["mjd"][...]
    found = np.flatnonzero([phase.endswith("ON") for phase in phases])
    return found[np.argsort(mjd[found])]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["total_power", "otf", "otf_chopped"])
def test_every_position_of_l0_is_in_l1(make_session, calibrate, mode):
    session = make_session(channels=8, mode=mode)
    source = source_of(session)
    shape = source["data_5d"].shape[2:]
    offsets = np.arange(np.prod(shape), dtype=float).reshape(shape) / 1e3
    write_array(source, "pixel_offset_lon", offsets)
    write_array(source, "pixel_offset_lat", -offsets)
    on = ons(source)
    scan = open_with_xarray(calibrate(session))
    n_dumps = scan.sizes["dump"]
    for name, sign in (("pixel_offset_lon", 1.0), ("pixel_offset_lat", -1.0)):
        assert scan[name].dims == ("receiver", "array", "subscan")
        np.testing.assert_array_equal(scan[name], sign * offsets[..., on])
        assert name in scan.spectra.coords
        assert name in scan.t_sys.coords
        assert (scan[name].attrs["units"], scan[name].attrs["long_name"]) == ("deg", L1_ARRAYS[name].long_name)
    for name in ("otf_lon", "otf_lat"):
        recorded = source[name][...][..., on]
        assert scan[name].dims == ("dump", "subscan")
        np.testing.assert_array_equal(scan[name], np.broadcast_to(recorded, (n_dumps, on.size)))
    assert ("otf_airmass" in scan.variables) == (mode != "total_power")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["total_power", "otf", "otf_chopped"])
@pytest.mark.parametrize("per_dump", [False, True])
def test_offsets_of_subscans_or_of_dumps_in_every_mode(make_session, calibrate, mode, per_dump):
    session = make_session(channels=8, mode=mode)
    source = source_of(session)
    n_dumps, n_subscans = source["data_5d"].shape[1], source["data_5d"].shape[-1]
    offsets = np.arange(float(n_dumps * n_subscans)).reshape(n_dumps, n_subscans) / 1e3
    offsets = offsets if per_dump else offsets[0]
    for name, sign in (("otf_lon", 1.0), ("otf_lat", -1.0)):
        shutil.rmtree(session / SCAN / "source" / name)
        write_array(source, name, sign * offsets)
    on = ons(source)
    settings = {"dbs": {"skip": False}} if mode == "otf_chopped" else {}
    scan = open_with_xarray(calibrate(session, **settings))
    # Of two beams that are merged, the position is that of beam A.
    beams = [k for k in on if "SWB" not in source["sobsmode"][k]]
    for name, sign in (("otf_lon", 1.0), ("otf_lat", -1.0)):
        expected = np.broadcast_to(sign * offsets[..., beams], (n_dumps, len(beams)))
        np.testing.assert_array_equal(scan[name], expected)
        assert scan[name].dims == ("dump", "subscan")
    assert scan.pixel_offset_lon.dims == ("receiver", "array", "subscan")
    assert scan.sizes["subscan"] == len(beams)


@pytest.mark.slow
def test_a_position_that_l0_lacks_is_absent(make_session, calibrate):
    session = make_session(channels=8, mode="total_power")
    for name in ("otf_lat", "pixel_offset_lon", "pixel_offset_lat"):
        shutil.rmtree(session / SCAN / "source" / name)
    scan = open_with_xarray(calibrate(session))
    assert set(POSITIONS) & set(scan.variables) == {"otf_lon"}


@pytest.mark.slow
def test_merged_beams_have_the_position_of_beam_a(make_session, calibrate):
    session = make_session(channels=8, mode="otf_chopped")
    source = source_of(session)
    phases = source["sobsmode"][...].tolist()
    shape = source["data_5d"].shape[2:]
    offsets = np.where(["SWA" in phase for phase in phases], 1.0, 2.0) * np.ones(shape)
    assert set(offsets.ravel()) == {1.0, 2.0}
    write_array(source, "pixel_offset_lon", offsets)
    scan = open_with_xarray(calibrate(session, dbs={"skip": False}))
    assert scan.attrs["dbs"]["pairs"]
    assert (scan.pixel_offset_lon == 1.0).all()


@pytest.mark.slow
def test_seven_pixels_of_one_name_are_seven_rows_of_the_quality_table(make_session, calibrate, caplog):
    session = make_session(channels=8, pixels=7)
    for group in ("source", "calibration"):
        n_subscans = zarr.open_group(session, path=f"{SCAN}/{group}")["data_5d"].shape[4]
        write_array(
            zarr.open_group(session, path=f"{SCAN}/{group}", mode="r+"), "frontend_backends", ["HFAV"] * n_subscans
        )
    product = calibrate(session)
    assert caplog.text.count("repeats HFAV; its pixels are called HFAV_0, HFAV_1") >= 1
    scan = product.open_scan(1)
    names = [f"HFAV_{i}" for i in range(7)]
    assert scan.pixel.values.ravel().tolist() == names
    assert scan.attrs["provenance"]["calibration_reason"] == "own"
    assert list(scan.attrs["qa"]["pixels"]) == names
    assert [row["pixel"] for row in quality_table(product)] == names


@pytest.mark.slow
@pytest.mark.parametrize(("telescope", "site"), [("CCAT", (-67.740278, -22.985917, 5612.0)), ("X", (None, None, None))])
def test_the_site_of_the_telescope_is_in_l1(tmp_path, calibrate, telescope, site):
    write_scan(tmp_path / "s.zarr", 1).attrs["telescope"] = telescope
    attributes = calibrate(tmp_path / "s.zarr", atmosphere={"strategy": "fixed", "pwv": 1.0}).attributes(1)
    assert tuple(attributes[f"site_{name}"] for name in ("lon_deg", "lat_deg", "alt_m")) == site
    # The forward efficiency is given, the temperature of the cold load recorded.
    assert attributes["provenance"]["assumed"] == ["image_gain"]
    assert attributes["provenance"]["atm_version"] == 1
