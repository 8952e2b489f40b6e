import json
from dataclasses import replace

import numpy as np
import pytest
import zarr

from cal_pipeline.heterodyne.physics.constants import TORR
from cal_pipeline.heterodyne.simulate.writer import default_chunks
from cal_pipeline.simulate import (
    DeadChannels,
    Faults,
    Loads,
    MissingDumps,
    Otf,
    Scan,
    SimulationError,
    TotalPower,
    simulate,
    truth_path,
)

SINGLE, DOUBLE = np.float32, np.float64
COORDINATES = {
    "mjd": DOUBLE,
    "exptime": SINGLE,
    "elevation": SINGLE,
    "azimuth": SINGLE,
    "pamb": SINGLE,
    "tamb": SINGLE,
    "signal_freq": DOUBLE,
    "image_freq": DOUBLE,
    "freq_res": DOUBLE,
    "freq_off": DOUBLE,
    "ref_channel": SINGLE,
    "lloadsn": np.int32,
}


def write(config, path, **changes):
    return simulate(replace(config, **changes), path, overwrite=True)


@pytest.mark.slow
def test_the_layout_is_that_of_l0(config, tmp_path):
    write(config, tmp_path / "s.zarr", dtype="int32")
    root = zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert root.metadata.zarr_format == 3
    assert sorted(root.group_keys()) == ["scan_000001"]
    for name, subscans in (("source", 4), ("calibration", 2)):
        group = root[f"scan_000001/{name}"]
        expected = dict(COORDINATES) if name == "source" else {**COORDINATES, "thot": SINGLE, "tcold": SINGLE}
        for key, dtype in expected.items():
            assert (key, group[key].dtype, group[key].shape) == (key, np.dtype(dtype), (subscans,))
        dumps = 3 if name == "source" else 4
        assert (group["data_5d"].dtype, group["data_5d"].shape) == (np.int32, (24, dumps, 2, 2, subscans))
        assert group["data_5d"].metadata.dimension_names == (
            "channel",
            "dump",
            "receiver",
            "array",
            "subscan",
        )
        assert group["frontend_backends"][:].tolist() == [
            "TESTH_PX00",
            "TESTV_PX00",
            "TESTH_PX01",
            "TESTV_PX01",
        ]
        others = {"data_5d", "sobsmode", "frontend_backends"}
        pointing = {"otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat"} if name == "source" else set()
        assert set(group.array_keys()) == set(expected) | others | pointing
    assert root["scan_000001/source/sobsmode"][:].tolist() == ["OFF", "ON", "ON", "OFF"]
    assert root["scan_000001/calibration/sobsmode"][:].tolist() == ["HOT", "COL"]


@pytest.mark.slow
def test_coordinates_hold_what_was_simulated(config, tmp_path):
    write(config, tmp_path / "s.zarr", loads=Loads(pattern=("HOT", "COL", "ZERO", "SKY"), t_hot=300.1))
    source = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r")
    calibration = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/calibration", mode="r")
    np.testing.assert_allclose(source["pamb"][:] * TORR, 51500.0, rtol=1e-6)
    np.testing.assert_allclose(source["tamb"][:], 268.0)
    np.testing.assert_allclose(calibration["thot"][:], 300.1, rtol=1e-6)
    np.testing.assert_allclose(calibration["tcold"][:], 77.0)
    np.testing.assert_array_equal(source["lloadsn"][:], 1)
    nu = source["signal_freq"][0] + (np.arange(24) - source["ref_channel"][0]) * source["freq_res"][0]
    np.testing.assert_allclose(nu, config.receivers[0].frequencies()[0], rtol=1e-15)
    assert nu.mean() == pytest.approx(461.0e9)
    assert np.all(np.diff(source["mjd"][:]) > 0.0)
    assert calibration["mjd"][-1] < source["mjd"][0]


@pytest.mark.slow
def test_a_pointed_scan_has_one_offset_per_subscan(config, tmp_path):
    write(config, tmp_path / "s.zarr")
    source = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r")
    assert source["otf_lon"][:].tolist() == [0.5, 0.0, 0.0, 0.5]
    assert source["pixel_offset_lon"].shape == (2, 2, 4)
    np.testing.assert_array_equal(source["pixel_offset_lon"][:, 1, 2], [0.0, 0.01])


@pytest.mark.slow
def test_a_map_has_a_track(config, tmp_path):
    sequence = Otf(rows=2, dumps=5, step_deg=0.1, row_step_deg=0.2, rows_per_off=2)
    write(config, tmp_path / "s.zarr", sequence=sequence)
    scan = zarr.open_group(tmp_path / "s.zarr", path="scan_000001", mode="r")
    assert scan.attrs["instmode"] == "OTF"
    lon, lat = scan["source/otf_lon"][:], scan["source/otf_lat"][:]
    assert lon.dtype == np.float64
    ramp = [-0.2, -0.1, 0.0, 0.1, 0.2]
    np.testing.assert_allclose(lon.T, [[0.5] * 5, ramp, ramp[::-1], [0.5] * 5], atol=1e-12)
    np.testing.assert_allclose(lat.T, [[0.0] * 5, [-0.1] * 5, [0.1] * 5, [0.0] * 5], atol=1e-12)


@pytest.mark.slow
def test_scan_attributes(config, tmp_path):
    write(config, tmp_path / "s.zarr", attributes={"observer": "me"})
    attributes = dict(zarr.open_group(tmp_path / "s.zarr", path="scan_000001", mode="r").attrs)
    assert attributes["scan_number"] == 1
    assert attributes["telescope"] == "CCAT"
    assert attributes["instmode"] == "TP"
    assert attributes["frontend"] == "TEST"
    assert attributes["rest_freq_hz"] == 461.0e9
    assert attributes["date_obs"] == "2024-01-01T06:00:04"
    assert attributes["observer"] == "me"
    assert {
        "source",
        "line",
        "velocity_source_kms",
        "coord_frame",
        "source_lon_deg",
        "source_lat_deg",
    } <= set(attributes)


@pytest.mark.slow
def test_raw_headers_are_json_and_optional(config, tmp_path):
    write(config, tmp_path / "s.zarr", raw_headers=True)
    headers = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r")["raw_fits_headers"][:]
    assert [json.loads(header)["SOBSMODE"] for header in headers] == ["OFF", "ON", "ON", "OFF"]


@pytest.mark.slow
def test_a_calibration_scan_has_no_source(config, tmp_path):
    scans = (Scan(number=5, calibration_only=True), Scan(loads=Loads(pattern=())))
    written = write(config, tmp_path / "s.zarr", scans=scans)
    root = zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert written.scans == (5, 6)
    assert sorted(root["scan_000005"].group_keys()) == ["calibration"]
    assert sorted(root["scan_000006"].group_keys()) == ["source"]
    assert root["scan_000006/source/lloadsn"][0] == 5


@pytest.mark.slow
def test_several_receivers_are_bands(config, receiver, tmp_path):
    other = replace(receiver, name="OTHER", signal_freq=470e9, image_freq=482e9, channels=8, line="X")
    write(config, tmp_path / "s.zarr", receivers=(receiver, other))
    scan = zarr.open_group(tmp_path / "s.zarr", path="scan_000001", mode="r")
    assert sorted(scan.group_keys()) == ["band_0", "band_1"]
    assert scan["band_1/source/data_5d"].shape == (8, 3, 2, 2, 4)
    assert scan["band_1"].attrs["frontend"] == "OTHER"
    np.testing.assert_array_equal(scan["band_0/source/mjd"][:], scan["band_1/source/mjd"][:])


@pytest.mark.slow
def test_a_fault_can_concern_one_band_only(config, receiver, tmp_path):
    small = replace(receiver, name="SMALL", channels=8)
    faults = Faults(dead=(DeadChannels(10, 20, band=0),), missing=(MissingDumps(1, band=1),))
    write(config, tmp_path / "s.zarr", receivers=(receiver, small), faults=faults)
    scan = zarr.open_group(tmp_path / "s.zarr", path="scan_000001", mode="r")
    first, second = (scan[f"band_{band}/source/data_5d"][:] for band in (0, 1))
    assert not first[10:20].any()
    assert np.isfinite(first).all()
    assert np.isnan(second[..., 1]).all()
    assert (second[..., 0] > 0.0).all()


@pytest.mark.slow
def test_missing_dumps_are_filled(config, tmp_path):
    faults = Faults(missing=(MissingDumps(2, dumps=(1,), receiver=0, array=1),))
    for dtype, is_missing in (("int32", lambda d: d == np.iinfo(np.int32).min), ("float64", np.isnan)):
        write(config, tmp_path / "s.zarr", faults=faults, dtype=dtype)
        data = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r")["data_5d"][:]
        lost = np.zeros(data.shape, dtype=bool)
        lost[:, 1, 0, 1, 2] = True
        np.testing.assert_array_equal(is_missing(data), lost)


@pytest.mark.slow
def test_integers_are_the_rounded_floats(config, tmp_path):
    counts = []
    for dtype in ("int32", "float64"):
        write(config, tmp_path / "s.zarr", dtype=dtype, noise=True)
        counts.append(zarr.open_group(tmp_path / "s.zarr", mode="r")["scan_000001/source/data_5d"][:])
    np.testing.assert_array_equal(counts[0], np.rint(counts[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((7, 3, 1, 2, 1), marks=pytest.mark.slow),
        pytest.param((24, 2, 2, 1, 4), marks=pytest.mark.slow),
        (300, 99, 99, 99, 3),
    ],
)
def test_counts_depend_on_the_seed_and_not_on_the_chunks(config, tmp_path, chunks):
    config = replace(config, noise=True, receivers=(replace(config.receivers[0], channels=300),), dtype="int32")
    data = []
    for name, changes in (("a", {}), ("b", {"chunks": chunks}), ("c", {"seed": 1})):
        write(config, tmp_path / f"{name}.zarr", **changes)
        data.append(zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["scan_000001/source/data_5d"][:])
    np.testing.assert_array_equal(data[0], data[1])
    assert np.mean(data[0] == data[2]) < 0.01


def test_default_chunks_hold_a_subscan_and_a_bounded_number_of_samples():
    assert default_chunks((1024, 20, 7, 2, 30)) == (1024, 20, 7, 2, 1)
    assert default_chunks((65536, 20, 7, 1, 30)) == (2048, 20, 7, 1, 1)
    channels, *rest = default_chunks((65536, 500, 64, 1, 9))
    assert rest == [500, 64, 1, 1]
    assert channels * 500 * 64 <= 1 << 24


@pytest.mark.slow
def test_all_chunks_are_stored_with_a_checksum(config, tmp_path):
    write(config, tmp_path / "s.zarr", faults=Faults(dead=(DeadChannels(0, 12),)), chunks=(12, 3, 2, 2, 1))
    array = zarr.open_group(tmp_path / "s.zarr", mode="r")["scan_000001/source/data_5d"]
    assert array.nchunks_initialized == array.nchunks == 8
    meta = json.loads((tmp_path / "s.zarr/scan_000001/source/data_5d/zarr.json").read_text())
    assert meta["codecs"][-1] == {"name": "zstd", "configuration": {"level": 1, "checksum": True}}


@pytest.mark.slow
def test_an_existing_store_is_kept_unless_told(config, tmp_path):
    simulate(config, tmp_path / "s.zarr")
    with pytest.raises(SimulationError, match=r"s\.zarr exists"):
        simulate(config, tmp_path / "s.zarr")
    simulate(replace(config, sequence=TotalPower(cycles=2)), tmp_path / "s.zarr", overwrite=True)
    assert zarr.open_group(tmp_path / "s.zarr", mode="r")["scan_000001/source/mjd"].shape == (8,)
    (tmp_path / "notes.zarr").mkdir()
    (tmp_path / "notes.zarr" / "important.txt").write_text("x")
    with pytest.raises(SimulationError, match="no Zarr store"):
        simulate(config, tmp_path / "notes.zarr", overwrite=True)
    assert (tmp_path / "notes.zarr" / "important.txt").exists()


@pytest.mark.slow
def test_a_store_that_may_not_be_simulated_is_never_replaced(config, tmp_path):
    """Real observations and calibrated products have no truth beside them."""
    written = simulate(config, tmp_path / "s.zarr")
    written.truth.rename(tmp_path / "elsewhere.zarr")
    for overwrite in (False, True):
        with pytest.raises(SimulationError, match=r"s\.zarr exists without s\.truth\.zarr beside it"):
            simulate(config, tmp_path / "s.zarr", overwrite=overwrite)
    assert "scan_000001" in zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert not written.truth.exists()


def test_an_impossible_session_leaves_nothing_behind(config, receiver, tmp_path):
    wrong = replace(receiver, signal_freq=600e9)
    with pytest.raises(SimulationError, match=r"599\.52.* 450 to 500 GHz"):
        simulate(replace(config, scans=(Scan(), Scan(receivers=(wrong,)))), tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()
    assert not truth_path(tmp_path / "s.zarr").exists()
