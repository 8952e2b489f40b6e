"""The table of a session, from stores whose attributes are known."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
import zarr
from astropy.table import Table

from cal_pipeline import CalibratedSession
from cal_pipeline.core.limits import Limit, Limits
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.figures import QUALITY
from cal_pipeline.heterodyne.quality_rows import COLUMNS
from cal_pipeline.report.quality_table import quality_table, refuse_foreign_table, write_quality_table

PIXEL = np.array([["PX00"], ["PX01"], ["PX02"]])
LIMITS = Limits({"noise_ratio": Limit("the noise is not as expected", 1.2, 2.0)}, "q.toml", "0" * 64)


def scan_attributes(number: int, ratios: tuple[float, ...]) -> dict[str, Any]:
    measured = {
        "noise_ratio": np.array(ratios)[:, None],
        "t_sys_K": np.array([[150.0], [np.nan], [170.0]]),
        "pwv_mm": np.full((3, 1), 0.5),
        "flagged_fraction": {"": np.zeros((3, 1)), "FILL_VALUE": np.full((3, 1), 0.25)},
    }
    qa = QUALITY.judge(measured, PIXEL, LIMITS)
    return {"scan_number": number, "source": "A source, named", "mode": "otf", "qa": qa}


@pytest.fixture
def make_store(tmp_path: Path) -> Any:
    def make(groups: dict[str, dict[str, Any]]) -> Path:
        root = zarr.create_group(tmp_path / "night.zarr", overwrite=True)
        for name, attributes in groups.items():
            root.create_group(name, attributes=attributes)
        return tmp_path / "night.zarr"

    return make


@pytest.mark.slow
def test_it_reads_back_with_units(make_store):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    written = write_quality_table(path)
    assert written == str(path.with_name("night_quality.ecsv"))
    assert [file.name for file in path.parent.glob("*ecsv*")] == ["night_quality.ecsv"]
    table = Table.read(written)
    assert len(table) == 3
    for name, (unit, _) in COLUMNS.items():
        assert u.Unit(table[name].unit or "") == u.Unit(unit)
        assert table[name].description
    assert list(table["scan"]) == [7, 7, 7]
    assert list(table["source"]) == ["A source, named"] * 3
    assert list(table["pixel"]) == ["PX00", "PX01", "PX02"]
    np.testing.assert_array_equal(table["t_sys_K"], [150.0, np.nan, 170.0])
    np.testing.assert_array_equal(table["flagged_fraction_FILL_VALUE"], 0.25)
    assert np.isnan(table["gain_drift"]).all()
    assert list(table["verdict"]) == ["pass"] * 3
    assert list(table["checks"]) == list(table["band"]) == ["-"] * 3
    assert not table.has_masked_values


@pytest.mark.parametrize(
    ("ratios", "of_scan", "unpack_rows"),
    [
        ((1.0, 3.0, 1.5), "questionable", ["pass", "fail", "questionable"]),
        ((3.0, 3.0, 1.5), "fail", ["fail", "fail", "questionable"]),
    ],
)
def test_a_pixel_has_a_verdict_of_its_own(make_store, ratios, of_scan, unpack_rows):
    attributes = scan_attributes(1, ratios)
    assert attributes["qa"]["verdict"] == of_scan
    table = quality_table(make_store({"scan_000001": attributes}))
    assert list(table["verdict"]) == unpack_rows
    assert list(table["checks"]) == ["-" if verdict == "pass" else "noise_ratio" for verdict in unpack_rows]


def test_scans_that_do_not_name_the_failing_pixels(make_store):
    attributes = scan_attributes(1, (1.0, 3.0, 3.0))
    del attributes["qa"]["verdicts"][0]["failing_pixels"]
    assert list(quality_table(make_store({"scan_000001": attributes}))["verdict"]) == ["pass", "fail", "fail"]


def test_scans_bands_and_what_was_not_judged(make_store):
    path = make_store(
        {
            "scan_000002/band_0": scan_attributes(2, (1.0, 1.0, 1.0)),
            "scan_000002/band_1": scan_attributes(2, (1.0, 1.0, 1.5)),
            "scan_000003": {"scan_number": 3},
        }
    )
    table = quality_table(CalibratedSession(path))
    assert list(table["band"]) == ["band_0"] * 3 + ["band_1"] * 3
    assert list(table["verdict"]) == ["pass"] * 5 + ["questionable"]


def test_a_store_without_scans_has_none(make_store):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    write_quality_table(path)
    path = make_store({})
    assert write_quality_table(path) is None
    assert not path.with_name("night_quality.ecsv").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("night_quality.ecsv", "my notes"),
        ("night_quality.ecsv", ""),
        ("night_quality.ecsv", "# %ECSV 1.0\n# ---\n# datatype:\na\n1\n"),
        ("night_quality.ecsv", "\x00\xff"),
        ("night_quality.ecsv.part", "my notes"),
    ],
)
def test_a_file_of_others_is_named_and_stays(make_store, name, content):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    path.with_name(name).write_text(content)
    for attempt in (write_quality_table, lambda path: refuse_foreign_table(LocalStorePath(path))):
        with pytest.raises(
            StoreError, match=f"{re.escape(name)} is in the way of the table of quality figures of night"
        ):
            attempt(path)
    assert path.with_name(name).read_text() == content


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 100, None])
def test_a_draft_of_a_run_that_was_killed_is_no_stranger(make_store, length):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    table = Path(write_quality_table(path))
    table.with_name("night_quality.ecsv.part").write_bytes(table.read_bytes()[:length])
    write_quality_table(path)
    assert [file.name for file in path.parent.glob("*ecsv*")] == ["night_quality.ecsv"]


def test_a_folder_in_the_place_of_the_table_is_named(make_store):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    path.with_name("night_quality.ecsv").mkdir()
    with pytest.raises(StoreError, match=r"night_quality\.ecsv is in the way"):
        write_quality_table(path)


@pytest.mark.parametrize("name", ["night", "Nacht für 2: {#}"])
def test_the_table_of_another_store_stays_until_that_store_is_gone(make_store, name):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    other = path.rename(path.with_name(name))
    table = path.with_name("night_quality.ecsv")
    Path(write_quality_table(other)).rename(table)
    path = make_store({"scan_000008": scan_attributes(8, (1.0, 1.1, 0.9))})
    with pytest.raises(StoreError, match=f"it is the table of {re.escape(name)}"):
        write_quality_table(path)
    shutil.rmtree(other)
    assert write_quality_table(path) == str(table)
    assert list(Table.read(table)["scan"]) == [8, 8, 8]


def test_a_name_that_is_no_text_is_no_hindrance(make_store):
    path = make_store({"scan_000007": scan_attributes(7, (1.0, 1.1, 0.9))})
    path = path.rename(path.with_name(os.fsdecode(b"\xff.zarr")))
    for _ in range(2):  # the second time over the table of the first
        assert list(Table.read(write_quality_table(path))["scan"]) == [7, 7, 7]


def test_a_run_is_refused_before_it_writes(make_session, calibrate, tmp_path):
    (tmp_path / "l1_quality.ecsv").write_text("my notes")
    with pytest.raises(StoreError, match=r"l1_quality\.ecsv is in the way"):
        calibrate(make_session(channels=16))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("l1.zarr")]


def test_a_bucket_has_no_place_for_a_table():
    pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match=r"memory://night lies in no folder .*; name memory://night/l1\.zarr"):
        refuse_foreign_table(open_store("memory://night", write=True))


def test_what_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no L1 store"):
        write_quality_table(tmp_path / "nothing.zarr")
