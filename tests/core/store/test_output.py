"""The L1 store while it is made: what is listed is complete."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.core.store.make_output import staging_path
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.output import check_complete, finish_group
from cal_pipeline.core.store.paths import LocalStorePath
from cal_pipeline.errors import IncompleteWriteError, StoreError
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.schema import L1, L1_ARRAYS


def make(tmp_path, name="l1.zarr", overwrite=False, **settings):
    source = str(tmp_path / "session.zarr")
    return LocalOutput(tmp_path / name, overwrite, source, CalibratedSession.kind, **settings)


@pytest.fixture
def output(tmp_path):
    with make(tmp_path) as made:
        made.begin(b"{}")
        yield made


def fill(root, names=("spectra", "pwv")):
    write_group(root, "", {})
    for name in names:
        shape = (5, 3, 2, 1, 4)[: len(L1_ARRAYS[name].dims[0])]
        L1.write_array(root, name, np.zeros(shape), 2, set(names))


def publish(output, *numbers, names=("pwv",)):
    """Publish scans of small arrays."""
    for number in numbers:
        name = f"scan_{number:06d}"
        fill(output.staging_of(name), names)
        finish_group(output.staging_of(name))
        output.publish(name)


def test_a_scan_appears_all_at_once(output):
    root = output.staging_of("scan_000001")
    fill(root)
    finish_group(root)
    assert not (output.path / "scan_000001").exists()
    output.publish("scan_000001")
    assert set(zarr.open_group(output.path, path="scan_000001", mode="r").array_keys()) == {"spectra", "pwv"}
    output.close()
    assert not output.staging.path.parent.exists()


def test_whoever_writes_a_scan_finds_the_same_place(output):
    assert staging_path(output.root.name, output.run, "scan_000001").name == output.staging_of("scan_000001").name


@pytest.mark.parametrize("lost", ["spectra/c.2.0.0.0.0", "pwv/c"])
def test_a_chunk_that_is_lost_is_noticed(output, lost):
    root = output.staging_of("scan_000001")
    fill(root)
    (output.staging.unpublished / "scan_000001" / lost).unlink()
    with pytest.raises(IncompleteWriteError, match="chunks, expected"):
        finish_group(root)
    with pytest.raises(IncompleteWriteError, match="chunks, expected"):
        output.publish("scan_000001", changed=True)
    assert not (output.path / "scan_000001").exists()


def test_chunks_of_fill_values_are_written_too(tmp_path):
    group = LocalStorePath(tmp_path / "g")
    L1.write_array(group, "spectra", np.full((5, 1, 1, 1, 2), np.nan), 2, {"spectra"})
    L1.write_array(group, "flags", np.zeros((5, 1, 1, 1, 2), np.uint16), 2, {"flags"})
    check_complete(group)


@pytest.mark.parametrize("name", L1_ARRAYS)
def test_every_array_of_the_schema_can_be_made(tmp_path, name):
    spec = L1_ARRAYS[name]
    for k, dims in enumerate(spec.dims):
        group = LocalStorePath(tmp_path / f"g{k}")
        shape = tuple(range(2, 2 + len(dims)))
        array = L1.create_array(group, name, shape, shape, {name})
        metadata = json.loads((tmp_path / f"g{k}" / name / "zarr.json").read_text())
        assert metadata["dimension_names"] == list(dims)
        checksummed = {"zstd": {"level": -1, "checksum": True}, "crc32c": None}
        assert checksummed[metadata["codecs"][-1]["name"]] == metadata["codecs"][-1].get("configuration")
        assert array.shape == shape
        if spec.dtype.startswith("f"):
            assert metadata["fill_value"] == "NaN"
        array.write(np.full(shape, "x", object) if spec.dtype == "str" else np.ones(shape))
        read = zarr.open_array(tmp_path / f"g{k}" / name, mode="r")
        assert read.shape == shape
        assert (read[...] == ("x" if spec.dtype == "str" else 1)).all()


def test_failures_are_listed_as_they_come(output):
    listed = output.path / "failures.json"
    assert json.loads(listed.read_text()) == []
    output.record_failure(8, "write", "KeyError", "x")
    output.record_failure(7, "loads", "ValueError", "no such thing")
    first, second = json.loads(listed.read_text())
    assert first == {"scan_number": 7, "step": "loads", "error_class": "ValueError", "message": "no such thing"}
    assert second["scan_number"] == 8


class TestWhatIsInTheWay:
    def test_a_file_is_never_replaced(self, tmp_path):
        (tmp_path / "l1.zarr").write_text("not a store")
        with pytest.raises(StoreError, match="no L1 store, so it is never replaced"):
            make(tmp_path, overwrite=True)
        assert (tmp_path / "l1.zarr").read_text() == "not a store"

    def test_another_zarr_store(self, tmp_path):
        zarr.create_group(tmp_path / "l0.zarr", attributes={"mine": 1})
        with pytest.raises(StoreError, match="no L1 store"):
            make(tmp_path, "l0.zarr", overwrite=True)
        assert (tmp_path / "l0.zarr" / "zarr.json").exists()

    def test_an_l1_store(self, output, tmp_path):
        publish(output, 1)
        output.close()
        with pytest.raises(StoreError, match="give overwrite=True to replace it"):
            make(tmp_path)
        assert CalibratedSession(output.path).numbers == [1]

    @pytest.mark.parametrize("path", ["s.zarr", "s.zarr/l1.zarr", ""])
    def test_the_session_itself(self, tmp_path, path):
        with pytest.raises(StoreError, match="are the same store, or one contains the other"):
            LocalOutput(tmp_path / path, True, str(tmp_path / "s.zarr"), kind=CalibratedSession.kind)
