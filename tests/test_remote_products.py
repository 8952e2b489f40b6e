"""What reads L1 stores reads them from an object store too: replay, compare, info."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers_l1 import record, write_array, write_product
from test_remote import bucket  # noqa: F401

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.replay import replay_and_compare, restore_pipeline
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.heterodyne.compare import compare_l1_stores

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


def upload(path, url):
    root = open_store(url, write=True)
    source = LocalStorePath(path)
    for key in source.walk():
        root.put(key, source.get(key))


def test_compare_tells_what_differs_between_a_folder_and_a_bucket(bucket, tmp_path, capsys):  # noqa: F811
    scans = {"scan_000001/band_0": record(1), "scan_000001/band_1": record(1), "scan_000002": record(2)}
    here = write_product(tmp_path / "l1.zarr", scans)
    upload(here, f"{bucket}/same.zarr")
    assert main(["compare", str(here), f"{bucket}/same.zarr"]) == 0
    assert "all 9 arrays are identical" in capsys.readouterr().out

    scans["scan_000002"] = record(2, engine_version="0.2.0")
    there = write_product(tmp_path / "other.zarr", scans)
    write_array(LocalStorePath(there), "scan_000002/spectra", np.arange(12.0).reshape(4, 3) + 0.5)
    upload(there, f"{bucket}/other.zarr")
    assert main(["compare", f"{bucket}/same.zarr", f"{bucket}/other.zarr"]) == 1
    text = capsys.readouterr().out
    assert "  version: 0.1.0 -> 0.2.0  [scan 2]" in text
    assert "scan_000002/spectra" in text
    assert "8 arrays are identical" in text
    first_scan = compare_l1_stores(here, f"{bucket}/other.zarr", [1]).arrays
    assert len(first_scan) == 6
    assert [item.path for item in first_scan if not item.identical] == []

    assert main(["info", "--json", f"{bucket}/other.zarr"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "L1 store"
    assert [(band["scan"], band["band"]) for band in found["bands"]] == [(1, "band_0"), (1, "band_1"), (2, "")]
    assert main(["info", f"{bucket}/nothing.zarr"]) == 1
    assert f"{bucket}/nothing.zarr is not there" in capsys.readouterr().err
    assert main(["compare", str(here), f"{bucket}/nothing.zarr"]) == 3
    assert "is no L1 store: it is not there" in capsys.readouterr().err


def test_check_reads_a_bucket(bucket, make_session, capsys):  # noqa: F811
    session, store = make_session(channels=24), f"{bucket}/checked.zarr"
    upload(session, store)
    assert main(["check", store]) == 0
    assert f"{store}: L0 session, 1 scan, " in capsys.readouterr().out
    open_store(store, write=True).put("scan_000001/source/mjd/c/0", b"damaged")
    assert main(["check", store]) == 1
    assert f"{store}/scan_000001/source/mjd, chunk c/0: found " in capsys.readouterr().out


def test_replay_from_and_to_a_bucket(bucket, make_session, atm_table, capsys):  # noqa: F811
    upload(make_session(channels=24, scans=2), f"{bucket}/session.zarr")
    steps = {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": str(atm_table), "t_atm": 261.5}}
    store = f"{bucket}/l1.zarr"
    CalibrationPipeline.call(f"{bucket}/session.zarr", output_file=store, steps=steps, configure_log=False)
    assert restore_pipeline(CalibrationPipeline, store, 2).atmosphere.t_atm == 261.5

    assert main(["replay", store, "2"]) == 0
    text = capsys.readouterr().out
    assert "arrays are identical" in text
    assert store in text

    differences = replay_and_compare(CalibrationPipeline, store, 2, f"{bucket}/again.zarr").arrays
    assert len(differences) > 20
    assert all(item.identical for item in differences)
    assert CalibratedSession(f"{bucket}/again.zarr").numbers == [2]
    assert main(["replay", store, "9"]) == 1
    assert "has no scan 9" in capsys.readouterr().err
