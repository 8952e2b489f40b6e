"""What an L1 store holds."""

from __future__ import annotations

import shutil

import asdf
import numpy as np
import pytest
import zarr
from helpers_l0 import write_scan
from helpers_l1 import record, write_product

from cal_pipeline import CalibratedSession
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.session import Session


@pytest.fixture
def product(tmp_path):
    root = LocalStorePath(tmp_path / "l1.zarr")
    for path in ("", "scan_000001", "scan_000002", *(f"scan_000002/band_{band}" for band in (10, 0, 2))):
        write_group(root, path, {"name": path})
    return CalibratedSession(tmp_path / "l1.zarr")


def test_bands_are_counted_not_spelt(product):
    assert product.bands(1) == ["scan_000001"]
    assert product.bands(2) == [f"scan_000002/band_{band}" for band in (0, 2, 10)]
    assert product.attributes(2) == {"name": "scan_000002/band_0"}


def test_a_scan_that_is_not_there(product):
    with pytest.raises(StoreError, match=r"has no scan 3; it has scans \[1, 2\]"):
        product.bands(3)


class TestOpenScan:
    @pytest.fixture
    def divided(self, tmp_path):
        """A store whose scan 1 has two bands, scan 2 one band by name, scan 3 none."""
        root = zarr.create_group(tmp_path / "l1.zarr", attributes={"cal_schema_version": "1.0"})
        for path, value in (
            ("scan_000001/band_0", 10.0),
            ("scan_000001/band_1", 11.0),
            ("scan_000002/band_1", 21.0),
            ("scan_000003", 30.0),
        ):
            root.create_group(path).create_array("t", data=np.array([value]), dimension_names=["channel"])
        return CalibratedSession(tmp_path / "l1.zarr")

    def value(self, product, *args, **kwargs):
        return float(product.open_scan(*args, **kwargs).t[0])

    @pytest.mark.parametrize("band", [1, "1", "band_1", np.int64(1), "01"])
    def test_a_band_by_any_name(self, divided, band):
        assert self.value(divided, 1, band) == 11.0

    def test_the_first_band_is_not_mistaken_for_none(self, divided):
        assert self.value(divided, 1, band=0) == 10.0

    def test_several_bands_must_be_named(self, divided):
        with pytest.raises(StoreError, match=r"scan 1 has bands 0, 1; name one, as in band=0"):
            divided.open_scan(1)

    def test_the_only_one_needs_no_name(self, divided):
        assert self.value(divided, 2) == 21.0
        assert self.value(divided, np.int32(3)) == 30.0

    @pytest.mark.parametrize("band", [2, "band_2", "two", -1])
    def test_a_band_that_is_not_there(self, divided, band):
        with pytest.raises(StoreError, match=r"scan 1 has no band .*; it has bands 0, 1"):
            divided.open_scan(1, band)

    def test_a_band_of_a_scan_without_any(self, divided):
        with pytest.raises(StoreError, match=r"scan 3 has no bands"):
            divided.open_scan(3, 0)

    def test_a_scan_that_is_not_there(self, divided):
        with pytest.raises(StoreError, match=r"has no scan 7; it has scans \[1:3\]"):
            divided.open_scan(7)

    def test_from_a_zip_file(self, divided, tmp_path):
        shutil.make_archive(str(tmp_path / "l1.zarr"), "zip", divided.path)
        packed = CalibratedSession(tmp_path / "l1.zarr.zip")
        assert packed.numbers == [1, 2, 3]
        assert self.value(packed, 1, "band_1") == 11.0
        assert self.value(packed, 3) == 30.0


@pytest.mark.parametrize(
    ("scans", "words"), [(0, "0 scans, 0 failed"), (1, "1 scan, 0 failed"), (2, "2 scans, 0 failed")]
)
def test_how_it_is_shown(tmp_path, scans, words):
    root = LocalStorePath(tmp_path / "l1.zarr")
    write_group(root, "", {"cal_schema_version": "1.0"})
    for number in range(scans):
        write_group(root, f"scan_{number:06d}", {})
    first, *rows = repr(CalibratedSession(tmp_path / "l1.zarr")).splitlines()
    assert first.endswith(f"l1.zarr: {words}>")
    assert [row.split()[0] for row in rows] == (["scan", *map(str, range(scans))] if scans else [])


class TestWhatElseIsThere:
    """Whoever names something else is told what it is."""

    def refused(self, path):
        with pytest.raises(StoreError) as raised:
            CalibratedSession(path)
        message = str(raised.value)
        assert str(path) in message
        assert "is no L1 store: it is " in message
        return message.partition("it is ")[2]

    def test_a_missing_path_is_refused(self, tmp_path):
        assert self.refused(tmp_path / "none.zarr") == "not there"

    def test_an_empty_folder(self, tmp_path):
        assert self.refused(tmp_path) == "an empty folder"

    def test_a_session(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1)
        assert self.refused(tmp_path / "s.zarr") == "an L0 session of 1 scan"

    def test_a_session_of_loads_and_bands(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1, source=False)
        write_scan(tmp_path / "s.zarr", 2, band="band_0")
        assert self.refused(tmp_path / "s.zarr") == "an L0 session of 2 scans"
        write_scan(tmp_path / "b.zarr", 2, band="band_0")
        assert self.refused(tmp_path / "b.zarr") == "an L0 session of 1 scan"

    def test_one_scan_of_a_session(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1)
        assert "one scan of an L0 session" in self.refused(tmp_path / "s.zarr" / "scan_000001")

    def test_the_folder_that_holds_it(self, tmp_path):
        write_group(LocalStorePath(tmp_path / "night"), "l1.zarr", {})
        assert self.refused(tmp_path / "night") == "a folder that holds l1.zarr"

    def test_the_folder_that_holds_many(self, tmp_path):
        for number in range(9):
            write_group(LocalStorePath(tmp_path / "night"), f"{number}.zarr", {})
            (tmp_path / "night" / f"{number}.txt").touch()
        assert self.refused(tmp_path / "night") == "a folder that holds 0.zarr, 1.zarr, 2.zarr"

    def test_other_zarr(self, tmp_path):
        zarr.create_group(tmp_path / "g.zarr").create_array("x", data=np.zeros(3))
        assert self.refused(tmp_path / "g.zarr") == "a Zarr group without groups scan_NNNNNN"
        assert self.refused(tmp_path / "g.zarr" / "x") == "a single Zarr array"
        zarr.create_group(tmp_path / "v2.zarr", zarr_format=2)
        assert self.refused(tmp_path / "v2.zarr") == "a Zarr v2 store"

    def test_a_scan_folder_without_its_root(self, tmp_path):
        write_group(LocalStorePath(tmp_path / "x"), "scan_000001", {})
        assert self.refused(tmp_path / "x") == "a folder of scans that lacks its zarr.json"

    @pytest.mark.parametrize("content", [b"not JSON", b"[]", b'{"zarr_format": 2}', b"null"])
    def test_broken_metadata(self, tmp_path, content):
        (tmp_path / "zarr.json").write_bytes(content)
        assert "zarr.json is not one of Zarr v3" in self.refused(tmp_path)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("l1_quality.ecsv", "a table of quality figures"),
            ("mine.cfg", "a parameter file"),
            ("telescope.toml", "a TOML file"),
            ("x.fits", "a FITS file"),
            ("x", "a file that is no Zarr store"),
            ("broken.asdf", "an ASDF file that cannot be read"),
        ],
    )
    def test_other_files_are_refused_by_kind(self, tmp_path, name, words):
        (tmp_path / name).write_text("something")
        assert words in self.refused(tmp_path / name)

    @pytest.mark.parametrize(
        ("tree", "words"),
        [
            ({"cal_pipeline_scan": {"scan_number": 25650}}, "a file that a step wrote of scan 25650"),
            ({"class": "cal_pipeline.CalibrationPipeline", "parameters": {}}, "a parameter file"),
            ({"frequency": 1, "pressure": 1, "b": 1, "c": 1}, "an atmosphere table"),
            ({"x": 1}, "an ASDF file of another kind"),
        ],
    )
    def test_asdf_files_are_refused_by_kind(self, tmp_path, tree, words):
        asdf.AsdfFile(tree).write_to(tmp_path / "x.asdf")
        assert words in self.refused(tmp_path / "x.asdf")

    def test_failures_that_cannot_be_read(self, tmp_path):
        write_group(LocalStorePath(tmp_path), "", {"cal_schema_version": "1.0"})
        for content in ("{", '{"a": 1}', "[1]"):
            (tmp_path / "failures.json").write_text(content)
            with pytest.raises(StoreError, match=r"failures\.json"):
                CalibratedSession(tmp_path)


def test_an_l1_store_in_place_of_a_session(tmp_path):
    write_product(tmp_path / "l1.zarr", {"scan_000001": record(1)})
    with pytest.raises(StoreError, match=r"l1\.zarr is an L1 store of 1 scan; expected an L0 session"):
        Session(tmp_path / "l1.zarr").select(None)
