"""The provenance records a digest of what a scan was calibrated from."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from helpers_l0 import MJD, SECOND, write_scan

from cal_pipeline.core.store.digest import digest_objects
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.steps.heterodyne import writing


@pytest.fixture
def session(tmp_path):
    """Scan 2 takes the loads of scan 1; the loads of scan 3 follow it."""
    store = tmp_path / "s.zarr"
    loads = {"mjd": MJD - SECOND * np.array([600.0, 590.0])}
    write_scan(store, 1, source=False, calibration=loads)
    write_scan(store, 2, calibration=False)
    write_scan(store, 3, source=False, calibration={"mjd": MJD + SECOND * np.array([600.0, 610.0])})
    write_scan(store, 4, source=False, calibration={"mjd": MJD + SECOND * np.array([900.0, 910.0])})
    return store


@pytest.fixture
def digest_of(calibrate):
    stores = iter(f"{k}.zarr" for k in range(20))

    def run(session, **settings):
        product = calibrate(session, next(stores), atmosphere={"strategy": "fixed", "pwv": 1.0}, **settings)
        return product.attributes(product.numbers[0])["provenance"].get("l0_digest")

    return run


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_covers_the_scan_and_the_loads_before_and_after_it(session, digest_of):
    found = digest_of(session)
    groups = ["scan_000002", "scan_000001/calibration", "scan_000003/calibration"]
    assert found == digest_objects(open_store(session), groups)
    # One bit of the counts on the loads of another scan.
    flip(session / "scan_000001/calibration/data_5d/c/0/0/0/0/0")
    other = digest_of(session)
    assert other != found
    flip(session / "scan_000001/calibration/data_5d/c/0/0/0/0/0")
    flip(session / "scan_000004/calibration/data_5d/c/0/0/0/0/0")
    assert digest_of(session) == found


@pytest.mark.slow
def test_of_one_flipped_bit_of_the_counts_is_another(session, digest_of):
    found = digest_of(session)
    flip(session / "scan_000002/source/data_5d/c/0/0/0/0/0")
    assert digest_of(session) != found


@pytest.mark.slow
def test_does_not_depend_on_where_the_session_is_and_who_works(session, digest_of, tmp_path):
    found = digest_of(session)
    assert len(found) == 64
    moved = shutil.copytree(session, tmp_path / "moved.zarr")
    packed = shutil.make_archive(str(tmp_path / "packed.zarr"), "zip", session)
    assert {digest_of(moved), digest_of(packed), digest_of(session, threads=2)} == {found}


@pytest.mark.slow
def test_of_workers_is_the_same(session, digest_of):
    assert digest_of(session, workers=2) == digest_of(session)


@pytest.mark.slow
def test_bands_of_a_scan_share_theirs(tmp_path, calibrate):
    for band in ("band_0", "band_1"):
        write_scan(tmp_path / "s.zarr", 1, band=band)
    product = calibrate(tmp_path / "s.zarr", atmosphere={"strategy": "fixed", "pwv": 1.0})
    found = {product.open_scan(1, band).attrs["provenance"]["l0_digest"] for band in (0, 1)}
    assert found == {digest_objects(open_store(tmp_path / "s.zarr"), ["scan_000001"])}


@pytest.mark.slow
def test_is_left_out_if_asked_to(session, digest_of):
    assert digest_of(session, l0_digest=False) is None


def test_a_scan_whose_input_changes_while_it_is_written_is_redone_by_a_run_that_resumes(
    session, calibrate, monkeypatch, caplog
):
    """Fingerprint and digest are those of the counts that were read, before the change."""
    settings = {"atmosphere": {"strategy": "fixed", "pwv": 1.0}}
    write_arrays = writing._write_arrays

    def write_and_change(*args):
        tally = write_arrays(*args)
        flip(session / "scan_000002/source/data_5d/c/0/0/0/0/0")
        return tally

    with monkeypatch.context() as changing:
        changing.setattr(writing, "_write_arrays", write_and_change)
        calibrate(session, **settings)
    with caplog.at_level("INFO", "cal_pipeline"):
        calibrate(session, resume=True, **settings)
    assert "1 redone (1 L0 changed)" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "cal_pipeline"):
        calibrate(session, resume=True, **settings)
    assert "L0 changed" not in caplog.text
