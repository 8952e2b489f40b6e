"""Real files of the W-band receiver of the Green Bank Telescope against the session made of them by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.heterodyne.ingest.plan import plan_scans
from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.tabulate import tabulate
from cal_pipeline.heterodyne.ingest.write_scan import write_scan

FOLDER = Path(os.environ.get("CAL_PIPELINE_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
FILES, SESSION = FOLDER / "gbt_sdfits" / "wband_m82", FOLDER / "gbt_wband_m82.zarr"

pytestmark = pytest.mark.skipif(
    not (FILES.is_dir() and SESSION.is_dir()),
    reason="the real files are not there: CAL_PIPELINE_REAL_DATA names their folder",
)

SCANS = {"source": "scan_000131", "calibration": "scan_000130"}
"""Scans of the groups; the session by hand has the loads in the scan that they belong to."""


@pytest.fixture(scope="module", params=["gbt_wband", str(FOLDER / "gbt_sdfits" / "gbt_wband.toml")])
def session(request, tmp_path_factory):
    root = open_store(tmp_path_factory.mktemp("wband") / "s.zarr", write=True)
    write_group(root, "", {})
    profile = open_profile(request.param)
    table = tabulate(sorted(map(str, FILES.rglob("*.fits"))), profile)
    plans = plan_scans(table.rows, profile)
    assert (table.failures, plans.failures) == ([], [])
    for number, plan in plans.scans.items():
        write_scan(plan, table.rows, profile, root.child(f"scan_{number:06d}"))
    return zarr.open_group(root.as_zarr(), mode="r")


@pytest.mark.parametrize("name", SCANS)
def test_every_array_bit_for_bit(session, name):
    expected, found = zarr.open_group(SESSION, mode="r")[f"scan_000131/{name}"], session[f"{SCANS[name]}/{name}"]
    assert sorted(session) == ["scan_000130", "scan_000131"]
    assert set(found) - set(expected) <= {"otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat"}
    assert set(expected) <= set(found)
    for array in expected:
        wanted, values = expected[array][...], found[array][...]
        if array in ("thot", "tcold"):
            assert values.dtype == np.float64
            values = values.astype(np.float32)
        if array == "lloadsn":
            wanted = np.full_like(wanted, 130)
        assert (values.dtype, values.shape) == (wanted.dtype, wanted.shape), array
        if wanted.dtype.kind == "T":
            assert values.tolist() == wanted.tolist()
        else:
            assert values.tobytes() == wanted.tobytes(), array
