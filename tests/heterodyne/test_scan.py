"""A scan survives being saved, with all that the steps have made of it."""

from __future__ import annotations

import dataclasses

import asdf
import numpy as np
import pytest
from helpers_l0 import write_scan

from cal_pipeline.errors import MissingInputError, StoreError
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep


def assert_alike(one, other, path="scan"):
    assert type(one) is type(other), path
    if dataclasses.is_dataclass(one):
        for item in dataclasses.fields(one):
            assert_alike(getattr(one, item.name), getattr(other, item.name), f"{path}.{item.name}")
    elif isinstance(one, np.ndarray):
        assert one.dtype.kind == other.dtype.kind, path
        np.testing.assert_array_equal(one, other, err_msg=path)
    else:
        assert one == other, path


@pytest.mark.slow
@pytest.mark.parametrize("band", ["", "band_0"])
@pytest.mark.parametrize("n_steps", range(5))
def test_a_saved_scan_comes_back(tmp_path, atm_table, band, n_steps):
    group = write_scan(tmp_path / "s.zarr", 3, band=band)
    group.attrs.update(source="M82", nested={"list": [1, 2.5, None, "x"], "flag": True})
    scan = Session(tmp_path / "s.zarr").open_scan(3)
    steps = [LoadsStep(), PrepareStep(), AtmosphereStep(override_atm=str(atm_table)), CalibrateStep()]
    for step in steps[:n_steps]:
        scan = step.run(scan)
    path = scan.save(str(tmp_path / "scan.asdf"))
    again = Scan.open(path)
    assert (again.number, again.attributes) == (3, scan.attributes)
    assert vars(again.meta.cal_step) == vars(scan.meta.cal_step)
    assert again.meta.filename == "scan.asdf"
    assert_alike(scan.bands[0], again.bands[0])


def test_save_into_another_folder(tmp_path):
    write_scan(tmp_path / "s.zarr", 3)
    scan = Session(tmp_path / "s.zarr").open_scan(3)
    assert scan.save("elsewhere/scan.asdf", dir_path=str(tmp_path)) == str(tmp_path / "scan.asdf")


@pytest.mark.parametrize("tree", [{"other": 1}, {"cal_pipeline_scan": {"scan_number": 3}}])
def test_other_asdf_files_are_refused(tmp_path, tree):
    asdf.AsdfFile(tree).write_to(tmp_path / "other.asdf")
    with pytest.raises(StoreError, match=r"other\.asdf"):
        Scan.open(tmp_path / "other.asdf")


@pytest.mark.parametrize("content", [None, b"not asdf", b""])
def test_what_is_no_asdf_file_is_refused(tmp_path, content):
    path = tmp_path / "broken.asdf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be read as a scan that a step wrote"):
        Scan.open(path)


@pytest.mark.parametrize("need", ["loads", "pairing", "atmosphere"])
def test_what_is_missing_is_named(tmp_path, need):
    write_scan(tmp_path / "s.zarr", 3)
    (band,) = Session(tmp_path / "s.zarr").open_scan(3).bands
    step = {"pairing": "prepare"}.get(need, need)
    with pytest.raises(MissingInputError, match=rf"scan 3 in .*s\.zarr: the result of step '{step}' is needed"):
        getattr(band, f"require_{need}")()


def test_printing_a_scan_is_brief(tmp_path):
    write_scan(tmp_path / "s.zarr", 3, band="band_0")
    scan = Session(tmp_path / "s.zarr").open_scan(3)
    assert repr(scan) == "<Scan 3: 1 band>"
    assert str(scan.bands[0]) == "scan 3 band_0"
    assert scan.bands[0].channel_width == 1e6


@pytest.mark.slow
def test_an_atmosphere_without_layers_of_an_earlier_release_is_refused(tmp_path, atm_table):
    write_scan(tmp_path / "s.zarr", 3)
    scan = AtmosphereStep(override_atm=str(atm_table)).run(PrepareStep().run(LoadsStep().run(str(tmp_path / "s.zarr"))))
    path = tmp_path / "scan.asdf"
    scan.save(str(path))
    with asdf.open(path, memmap=False) as file:
        tree = {"cal_pipeline_scan": {k: v for k, v in file["cal_pipeline_scan"].items() if k != "format"}}
        asdf.AsdfFile(tree).write_to(tmp_path / "older.asdf")
    with pytest.raises(StoreError, match=r"older\.asdf holds an atmosphere of format 1, expected 2.*run the step"):
        Scan.open(tmp_path / "older.asdf")
