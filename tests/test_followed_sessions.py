"""Scans of a session that is still being written are calibrated as they get complete."""

from __future__ import annotations

import logging
import shutil
import time

import pytest
import zarr
from helpers_l1 import assert_identical
from helpers_wait import followed_writers, wait_until

from cal_pipeline import CalibratedSession
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.observation import Lacks
from cal_pipeline.core.run.follow import Follower
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.lacks import find_lacks
from cal_pipeline.pipelines.calibration import CalibrationPipeline
from cal_pipeline.simulate import Otf, Scan

pytestmark = pytest.mark.slow

FOLLOW = {"follow": True, "follow_settling": 0.4, "follow_timeout": 1.0}


@pytest.fixture
def session(make_session):
    scans = tuple(Scan(sequence=Otf(rows=2, dumps=3)) for _ in range(3))
    return make_session("whole.zarr", channels=24, scans=scans, sky_waves=())


@pytest.fixture
def night(session, tmp_path):
    """A session without scans, into which `move` brings those of the other one."""
    path = tmp_path / "night.zarr"
    path.mkdir()
    shutil.copy(session / "zarr.json", path)
    return path


def move(session, night, number):
    """Write a scan in another folder, and rename it into the session."""
    name = f"scan_{number:06d}"
    shutil.copytree(session / name, night.parent / "draft")
    (night.parent / "draft").rename(night / name)


def wait_for(path):
    wait_until(path.exists)


def write_in_place(session, night, product):
    """Write scans chunk by chunk, all metadata of a scan first."""
    for number in (1, 2, 3):
        name = f"scan_{number:06d}"
        files = [path for path in (session / name).rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: (path.name != "zarr.json", path)):
            target = night / path.relative_to(session)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            time.sleep(0.002)


def write_one_by_one(session, night, product):
    """Write each scan once the one before is calibrated, so that none knows of later loads."""
    for number in (1, 2, 3):
        move(session, night, number)
        wait_for(product / f"scan_{number:06d}")


@pytest.fixture
def writing(session, night, tmp_path):
    with followed_writers() as writers:
        yield lambda write: writers.start(write, session, night, tmp_path / "l1.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_in_place, write_one_by_one])
def test_resuming_a_followed_session_makes_what_a_run_afterwards_makes(
    session, night, calibrate, writing, caplog, write
):
    writing(write)
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        product = calibrate(night, **FOLLOW)
        assert product.numbers == [1, 2, 3]
        assert not product.failures
        caplog.clear()
        resumed = calibrate(night, resume=True)
    if write is write_one_by_one:
        # The loads after a scan tell how stable the gain was; the last scan has none in any case.
        assert any(line.startswith("resume: 1 scan kept, 2 redone (2 L0 changed)") for line in caplog.messages)
    assert_identical(resumed.path, calibrate(night, "fresh.zarr").path)


@pytest.mark.slow
def test_gain_drift_is_corrected_once_the_loads_after_are_there(session, night, calibrate, writing, caplog):
    drift = {"gain": {"level": 3}}
    writing(write_one_by_one)
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        followed = calibrate(night, **drift, **FOLLOW)
    assert [followed.attributes(n)["provenance"]["gain_level"] for n in (1, 2, 3)] == [0, 0, 0]
    resumed = calibrate(night, resume=True, **drift)
    assert [resumed.attributes(n)["provenance"]["gain_level"] for n in (1, 2, 3)] == [3, 3, 0]
    assert_identical(resumed.path, calibrate(night, "fresh.zarr", **drift).path)


@pytest.mark.slow
def test_a_scan_without_loads_is_calibrated_once_later_ones_are_there(session, night, calibrate, writing, caplog):
    shutil.rmtree(session / "scan_000001/calibration")

    def write(session, night, product):
        move(session, night, 1)
        wait_for(product)
        failures = product / "failures.json"
        wait_until(lambda: failures.exists() and "NoLoadsError" in failures.read_text())
        move(session, night, 2)

    writing(write)
    product = calibrate(night, **FOLLOW)
    assert (product.numbers, product.failures) == ([1, 2], [])
    reason = product.attributes(1)["provenance"]["calibration_reason"]
    assert reason.startswith("nearest in the future")
    assert len([record for record in caplog.records if "scan 1 failed in step loads" in record.getMessage()]) == 1


@pytest.mark.slow
def test_a_scan_of_loads_alone_is_no_failure(session, night, calibrate, writing):
    shutil.rmtree(session / "scan_000001/source")
    shutil.rmtree(session / "scan_000002/calibration")
    for number in (1, 2):
        move(session, night, number)
    product = calibrate(night, **FOLLOW)
    assert product.numbers == [2]
    assert product.attributes(2)["provenance"]["calibration_scans"] == [1]


def test_a_session_without_scans_is_one_that_begins(night):
    CalibrationPipeline().check_growing(open_store(night))


def test_a_product_is_refused(session, calibrate, tmp_path):
    product = calibrate(session, scans="1")
    with pytest.raises(StoreError, match="expected an L0 session"):
        calibrate(product.path, "again.zarr", **FOLLOW)
    assert not (tmp_path / "again.zarr").exists()


class TestLacks:
    @pytest.fixture
    def scan(self, session):
        return session / "scan_000001"

    def lacks(self, session):
        return find_lacks(open_store(session), "scan_000001")

    def test_of_a_whole_scan_are_none(self, session):
        assert self.lacks(session) == Lacks()

    @pytest.mark.parametrize("absent", ["zarr.json", "source/zarr.json", "source/mjd", "source/data_5d/zarr.json"])
    def test_are_groups_and_arrays(self, session, scan, absent):
        path = scan / absent
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert self.lacks(session).fault

    def test_are_chunks_of_coordinates(self, session, scan):
        for chunk in (scan / "calibration/mjd").rglob("*"):
            if chunk.is_file() and chunk.name != "zarr.json":
                chunk.unlink()
        assert "calibration/mjd: 1 of its chunks are not stored" in self.lacks(session).fault

    def test_may_be_chunks_of_counts(self, session, scan):
        chunks = sorted(path for path in (scan / "source/data_5d").rglob("*") if path.is_file())[:-1]
        chunks[0].unlink()
        assert self.lacks(session) == Lacks(doubt=f"{scan}/source/data_5d: 1 chunk is not stored")
        for chunk in chunks[1:]:
            chunk.unlink()
        assert "none at all" in self.lacks(session).fault

    def test_are_subscans_of_arrays_that_grow(self, session, scan):
        array = zarr.open_array(scan / "source/tamb", mode="r+")
        array.resize(array.shape[0] - 1)
        assert "tamb has shape" in self.lacks(session).fault

    def test_are_halves_of_metadata(self, session, scan):
        path = scan / "source/tamb/zarr.json"
        path.write_bytes(path.read_bytes()[:100])
        assert self.lacks(session).fault


def test_loads_of_scans_that_are_not_complete_do_not_exist(session):
    pipeline = CalibrationPipeline()
    dataset = pipeline.open_growing(str(session), [1, 2])
    assert dataset.numbers == [1, 2]
    assert pipeline.select_complete(dataset, [1, 2]) == [1, 2]


def test_the_family_is_asked_what_is_lacking(session, tmp_path):
    follower = Follower(str(session), CalibrationPipeline(), 0.1, 0.1)
    found = [number for batch in follower.batches(lambda: None) for number in batch.numbers]
    assert found == [1, 2, 3]


@pytest.mark.slow
def test_the_command_follows(session, night, tmp_path, capsys, atm_table):
    move(session, night, 1)
    output = tmp_path / "l1.zarr"
    command = [str(night), "-o", str(output), "--atm-table", str(atm_table), "--foeff", "0.95", "-q"]
    assert main([*command, "--follow", "--follow-timeout", "0.5", "--set", "follow_settling=0.2"]) == 0
    assert capsys.readouterr().out == ""
    assert CalibratedSession(output).numbers == [1]
    assert main([*command, "--follow-timeout", "0.5"]) == 1
    assert "follow_timeout = 0.5 has no effect without follow=True" in capsys.readouterr().err
