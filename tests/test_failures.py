"""Scans that cannot be calibrated: said honestly, and in nobody's way."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import zarr
from helpers_l1 import assert_identical

from cal_pipeline import CalibratedSession
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.pipelines import calibration
from cal_pipeline.simulate import DeadChannels, Faults, preset, simulate

BAD = 2
"""The scan that is spoilt, of three."""


def group_of(session):
    return zarr.open_group(session, path=f"scan_{BAD:06d}", mode="r+")


def rewrite(group, name, values, **attributes):
    """Replace an array of a group."""
    dtype = str if np.asarray(values).dtype.kind in "UT" else np.asarray(values).dtype
    shape = np.shape(values)
    array = group.create_array(name, shape=shape, dtype=dtype, overwrite=True, attributes=attributes)
    array[...] = values


def no_loads(session):
    shutil.rmtree(session / f"scan_{BAD:06d}" / "calibration")
    rewrite(group_of(session)["source"], "lloadsn", np.full(n_subscans(session), 999, np.int32))


def n_subscans(session):
    return group_of(session)["source/data_5d"].shape[4]


def phases(session, replace):
    old = group_of(session)["source/sobsmode"][...].tolist()
    rewrite(group_of(session)["source"], "sobsmode", np.array([replace(p) for p in old]))


def swap_loads(session):
    old = group_of(session)["calibration/sobsmode"][...].tolist()
    names = {"HOT": "COL", "COL": "HOT", "COLD": "HOT"}
    rewrite(group_of(session)["calibration"], "sobsmode", np.array([names.get(p, p) for p in old]))


def far_frequency(session):
    for name in ("signal_freq", "image_freq"):
        values = group_of(session)[f"source/{name}"][...]
        rewrite(group_of(session)["source"], name, values + 200e9)


def zero_elevation(session):
    rewrite(group_of(session)["source"], "elevation", np.zeros(n_subscans(session), np.float32))


def break_chunk(group, position):
    """Spoil a chunk file of the counts."""

    def spoil(session):
        chunks = sorted((session / f"scan_{BAD:06d}" / group / "data_5d" / "c").rglob("*"))
        files = [path for path in chunks if path.is_file() and path.parts[-1] == str(position)]
        for path in files:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return spoil


def on_position(session):
    return next(i for i, p in enumerate(group_of(session)["source/sobsmode"][...].tolist()) if p.endswith("ON"))


# What is spoilt; the step in which it is noticed; the error; words that its message must hold.
CASES = {
    "no loads": (no_loads, "loads", "NoLoadsError", ["lloadsn", "999", "calibration_interval"]),
    "no OFF": (
        lambda s: phases(s, lambda p: p.replace("OFF", "ON")),
        "prepare",
        "NoReferenceError",
        ["0 OFF", "OTF-ON"],
    ),
    "no ON": (lambda s: phases(s, lambda p: p.replace("ON", "OFF")), "loads", "NoReferenceError", ["OTF-OFF"]),
    "beam without OFF": (
        lambda s: phases(s, lambda p: p.replace("OTF-ON", "SWB-ON").replace("OTF-OFF", "SWA-OFF")),
        "prepare",
        "NoReferenceError",
        ["no OFF of beam B", "SWA-OFF"],
    ),
    "wrong shape": (
        lambda s: rewrite(group_of(s)["source"], "mjd", np.zeros(3)),
        "load",
        "LayoutError",
        ["source/mjd", "(3,)", "data_5d"],
    ),
    "missing array": (
        lambda s: shutil.rmtree(s / f"scan_{BAD:06d}" / "source" / "tamb"),
        "load",
        "LayoutError",
        ["lacks tamb", "it holds"],
    ),
    "wrong type": (
        lambda s: rewrite(group_of(s)["source"], "exptime", np.array(["x"] * n_subscans(s))),
        "load",
        "LayoutError",
        ["exptime", "expected numbers"],
    ),
    "four axes": (
        lambda s: rewrite(group_of(s)["source"], "data_5d", np.zeros((4, 2, 1, 1), np.int32)),
        "load",
        "LayoutError",
        ["data_5d", "4 axes", "channel, dump, receiver, array, subscan"],
    ),
    "wrong number": (
        lambda s: group_of(s).attrs.update(scan_number=7),
        "load",
        "LayoutError",
        ["scan_number", "7", "expected 2"],
    ),
    "no metadata": (lambda s: (s / f"scan_{BAD:06d}" / "zarr.json").unlink(), "load", "LayoutError", ["000002"]),
    "frequency": (far_frequency, "atmosphere", "FrequencyRangeError", ["GHz", "450", "atm.asdf"]),
    "swapped loads": (swap_loads, "loads", "BadChannelsError", ["median HOT", "expected HOT > COLD"]),
    "elevation": (zero_elevation, "load", "LayoutError", ["elevation", "0.0"]),
    "broken HOT": (break_chunk("calibration", 0), "loads", "DataReadError", ["calibration/data_5d", "subscans 0"]),
    "broken OFF": (break_chunk("source", 0), "prepare", "DataReadError", ["source/data_5d", "subscans 0"]),
    "broken ON": (
        lambda s: break_chunk("source", on_position(s))(s),
        "write",
        "DataReadError",
        ["source/data_5d", "channels 0"],
    ),
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, atm_table):
    path = tmp_path_factory.mktemp("simulated") / "session.zarr"
    simulate(preset("ccat_chai", channels=16, pixels=2, mode="otf", table=str(atm_table), scans=3), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bad_scan_is_recorded_and_the_others_are_calibrated(case, simulated, calibrate, tmp_path):
    spoil, step, error_class, words = case
    session = shutil.copytree(simulated, tmp_path / "session.zarr")
    spoil(session)
    with pytest.raises(RunFailedError) as caught:
        calibrate(session, loads={"calibration_interval": 1.0})
    assert caught.value.exit_status == 2
    assert caught.value.product.numbers == [1, 3]
    (failure,) = json.loads((tmp_path / "l1.zarr" / "failures.json").read_text())
    assert failure["scan_number"] == BAD
    assert (failure["step"], failure["error_class"]) == (step, error_class)
    missing = [word for word in words if word not in failure["message"]]
    assert not missing, failure["message"]
    assert not (tmp_path / "l1.zarr.staging").exists()
    for number in (1, 3):
        assert np.isfinite(CalibratedSession(tmp_path / "l1.zarr").open_scan(number).spectra).all()


@pytest.mark.slow
def test_exit_status_1_when_no_scan_can_be_calibrated(make_session, calibrate):
    session = make_session(channels=16, faults=Faults(dead=(DeadChannels(0, 16),)))
    with pytest.raises(RunFailedError, match="1 of 1 scan could not be calibrated") as caught:
        calibrate(session)
    assert caught.value.exit_status == 1
    assert caught.value.product.failures[0]["error_class"] == "BadChannelsError"


@pytest.mark.slow
def test_a_chunk_that_is_not_there_is_missing_data_not_zero_counts(make_session, calibrate, caplog):
    session = make_session(channels=16, noise=False)
    metadata = session / "scan_000001/source/data_5d/zarr.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"fill_value": 0}))
    on = next(i for i, p in enumerate(zarr.open_array(session, path="scan_000001/source/sobsmode")) if "ON" in str(p))
    for path in (session / "scan_000001/source/data_5d/c").rglob("*"):
        if path.is_file() and path.name == str(on):
            path.unlink()
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        scan = calibrate(session).open_scan(1).load()
    assert "not in the store" in caplog.text
    assert (scan.flags.isel(subscan=0) == 2).all()
    assert np.isnan(scan.spectra.isel(subscan=0)).all()
    assert (scan.flags.isel(subscan=slice(1, None)) == 0).all()
    assert float(scan.t_int[0]) == 0.0
    assert float(scan.t_int[1]) > 0.0


@pytest.mark.slow
def test_a_flipped_bit_in_the_product_raises(make_session, calibrate):
    product = calibrate(make_session(channels=16))
    chunk = next((product.path / "scan_000001/spectra").glob("c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 16
    chunk.write_bytes(bytes(data))
    with pytest.raises(Exception, match=r"(?i)zstd|checksum|decompress|corrupt"):
        product.open_scan(1).spectra.load()


@pytest.mark.slow
def test_nothing_of_a_scan_is_listed_when_writing_it_fails(make_session, calibrate, monkeypatch, tmp_path):
    session = make_session(channels=16, scans=2)
    write_scan = calibration.write_scan

    def fail_late(scan, root, *others):
        written = write_scan(scan, root, *others)
        if scan.number == 1:
            raise OSError("no space left on device")
        return written

    monkeypatch.setattr(calibration, "write_scan", fail_late)
    with pytest.raises(RunFailedError):
        calibrate(session)
    product = CalibratedSession(tmp_path / "l1.zarr")
    assert product.numbers == [2]
    assert product.failures[0]["step"] == "write"
    assert "no space left" in product.failures[0]["message"]


@pytest.mark.slow
def test_a_lost_chunk_is_noticed_before_publishing(make_session, calibrate, monkeypatch, tmp_path):
    session = make_session(channels=16)
    write_scan = calibration.write_scan

    def lose_a_chunk(scan, root, *others):
        written = write_scan(scan, root, *others)
        next((root.path / "spectra").glob("c.*")).unlink()
        return written

    monkeypatch.setattr(calibration, "write_scan", lose_a_chunk)
    with pytest.raises(RunFailedError):
        calibrate(session)
    product = CalibratedSession(tmp_path / "l1.zarr")
    assert product.numbers == []
    assert product.failures[0]["error_class"] == "IncompleteWriteError"


_DIES_AT_THE_THIRD = """
import os, signal, sys
from cal_pipeline.pipelines import calibration
from stpipe._cli.strun import main
write_scan = calibration.write_scan
def write_and_die(scan, place, *others):
    written = write_scan(scan, place, *others)
    if scan.number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return written
calibration.write_scan = write_and_die
sys.argv = ["strun", "cal_pipeline.CalibrationPipeline", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_a_killed_run_leaves_complete_scans_only(make_session, calibrate, tmp_path, atm_table):
    """The third scan is written, but neither synced nor published, when the process is killed."""
    session = make_session(channels=24, scans=4)
    whole = calibrate(session, "whole.zarr", loads={"forward_efficiency": None})
    output = tmp_path / "killed.zarr"
    options = [f"--output_file={output}", f"--steps.atmosphere.override_atm={atm_table}"]
    command = [sys.executable, "-c", _DIES_AT_THE_THIRD, str(session), *options]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == -signal.SIGKILL
    assert CalibratedSession(output).numbers == [1, 2]
    assert_identical(output, whole.path, [1, 2])
    for number in (1, 2):
        assert CalibratedSession(output).attributes(number)["provenance"]


@pytest.mark.slow
def test_loads_of_another_scan(make_session, calibrate, caplog):
    session = make_session(channels=16, scans=4)
    for number in (2, 3):
        shutil.rmtree(session / f"scan_{number:06d}" / "calibration")
    group = zarr.open_group(session, path="scan_000002/source", mode="r+")
    rewrite(group, "lloadsn", np.full(group["data_5d"].shape[4], 4, np.int32))
    group = zarr.open_group(session, path="scan_000003/source", mode="r+")
    rewrite(group, "lloadsn", np.zeros(group["data_5d"].shape[4], np.int32))
    product = calibrate(session)
    chosen = {
        number: (found["calibration_scans"], found["calibration_reason"].split(",")[0])
        for number in product.numbers
        if (found := product.open_scan(number).attrs["provenance"])
    }
    assert chosen == {
        1: ([1], "own"),
        2: ([4], "lloadsn"),
        3: ([1], "nearest in the past"),
        4: ([4], "own"),
    }
    shutil.rmtree(session / "scan_000001")
    later = calibrate(session, "later.zarr", scans="3").open_scan(3).attrs["provenance"]
    assert later["calibration_scans"] == [4]
    assert later["calibration_reason"].startswith("nearest in the future")
    with pytest.raises(RunFailedError):
        calibrate(session, "never.zarr", scans="3", loads={"calibration_interval": 1.0})


@pytest.mark.slow
def test_loads_of_another_layout_are_passed_over(make_session, calibrate, caplog):
    session = make_session(channels=16, scans=3)
    ids = zarr.open_group(session, path="scan_000002/calibration", mode="r+")
    rewrite(ids, "frontend_backends", np.array(["OTHER_PX00", "OTHER_PX01"]))
    group = zarr.open_group(session, path="scan_000002/source", mode="r+")
    rewrite(group, "lloadsn", np.full(group["data_5d"].shape[4], 2, np.int32))
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        product = calibrate(session, scans=2)
    assert "passed over" in caplog.text
    assert "OTHER_PX00" in caplog.text
    assert product.open_scan(2).attrs["provenance"]["calibration_scans"] == [1]


@pytest.mark.slow
def test_calibration_only_scans_are_not_calibrated(make_session, calibrate):
    session = make_session(channels=16, scans=2)
    shutil.rmtree(session / "scan_000001" / "source")
    product = calibrate(session)
    assert product.numbers == [2]
    assert product.failures == []
