"""Sessions opened from Python: the wrong store is refused by what it is, and what opens it is named."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import zarr
from helpers_l0 import write_scan
from helpers_scans import write_scans

from cal_pipeline import CalibratedSession, open_l0, open_l1
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.raw_session import RawSession


@pytest.fixture
def stores(tmp_path):
    write_scan(tmp_path / "session.zarr", 1)
    write_scans(tmp_path / "l1.zarr", {"scan_000001": {}})
    return tmp_path


def test_folders_and_zip_files(stores):
    for name, kind, opened in (("session", RawSession, open_l0), ("l1", CalibratedSession, open_l1)):
        shutil.make_archive(str(stores / f"{name}.zarr"), "zip", stores / f"{name}.zarr")
        for path in (stores / f"{name}.zarr", str(stores / f"{name}.zarr"), stores / f"{name}.zarr.zip"):
            session = opened(path)
            assert isinstance(session, kind)
            assert list(session) == [1]
            assert session[1].number == 1


def test_each_names_the_other(stores):
    with pytest.raises(
        StoreError, match=r"session\.zarr is an L0 session of 1 scan, not an L1 store; open_l0 opens it"
    ):
        open_l1(stores / "session.zarr")
    with pytest.raises(StoreError, match=r"l1\.zarr is an L1 store of 1 scan, not an L0 session; open_l1 opens it"):
        open_l0(stores / "l1.zarr")


@pytest.mark.parametrize(
    ("product", "words"),
    [
        ("rate", r"of kind 'rate'; cal_pipeline\.imager\.product\.RateProduct\('.*x\.zarr'\) opens it"),
        ("cal", r"of kind 'cal'; cal_pipeline\.imager\.product\.CalProduct"),
        ("mosaic", r"of kind 'mosaic'; cal_pipeline\.imager\.product\.MosaicProduct"),
        ("ramp", r"of kind 'ramp'; cal_pipeline\.imager\.exposures\.ExposureStore"),
        ("spectrogram\x1b", r"of kind 'spectrogram\\\\x1b'$"),
    ],
)
@pytest.mark.parametrize("opened", [open_l0, open_l1])
def test_stores_of_imagers(tmp_path, product, words, opened):
    zarr.create_group(tmp_path / "x.zarr", attributes={"cal_schema_version": "1.0", "product": product})
    if product == "ramp":  # the visit of a simulator has no version of a product
        del zarr.open_group(tmp_path / "x.zarr").attrs["cal_schema_version"]
    with pytest.raises(StoreError, match=f"is a product of another family of instruments, {words}"):
        opened(tmp_path / "x.zarr")


@pytest.mark.imager
def test_the_classes_that_are_named_are_there():
    from cal_pipeline.heterodyne.opening import OPENERS
    from cal_pipeline.imager import exposures, product
    from cal_pipeline.imager.kinds import RAMP

    assert {kind: f"cal_pipeline.imager.product.{cls.__name__}" for kind, cls in product.PRODUCTS.items()} == {
        kind: opener for kind, opener in OPENERS.items() if kind != RAMP
    }
    assert OPENERS[RAMP] == f"{exposures.__name__}.{exposures.ExposureStore.__name__}"


@pytest.mark.parametrize("opened", [open_l0, open_l1])
def test_nothing_there(tmp_path, opened):
    with pytest.raises(StoreError, match="not there"):
        opened(tmp_path / "none.zarr")


def test_the_package_imports_nothing_heavy():
    script = "import sys, cal_pipeline; assert not {'astropy', 'matplotlib', 'xarray', 'specutils'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
