"""The L1 store while it is made: what is listed is complete."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.make_output import staging_path
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.output import check_complete, finish_group
from cal_pipeline.errors import IncompleteWriteError, StoreError, StoreLockedError
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.schema import L1, L1_ARRAYS

RUN = b'{"state": "running"}'


def make(tmp_path, name="l1.zarr", overwrite=False, **settings):
    source = str(tmp_path / "session.zarr")
    return LocalOutput(tmp_path / name, overwrite, source, CalibratedSession.kind, **settings)


@pytest.fixture
def output(tmp_path):
    with make(tmp_path) as made:
        made.begin(RUN)
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


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff{", b'{"node_type": "array", "shape": [3]}'])
def test_metadata_that_are_none_are_noticed(output, content):
    root = output.staging_of("scan_000001")
    fill(root)
    root.put("pwv/zarr.json", content)
    with pytest.raises(IncompleteWriteError, match=r"pwv/zarr\.json holds no metadata"):
        finish_group(root)


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


class TestLocked:
    def test_a_second_run_is_refused_and_leaves_nothing(self, output, tmp_path):
        publish(output, 1)
        for settings in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
                make(tmp_path, **settings)
        assert [path.name for path in (tmp_path / "l1.zarr.staging").iterdir()] == [output.run]
        publish(output, 2)
        assert output.published() == ["scan_000001", "scan_000002"]

    def test_an_error_gives_the_lock_back(self, tmp_path, monkeypatch):
        def fail(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr("cal_pipeline.core.store.local_output.write_group", fail)
            with pytest.raises(StoreError, match=r"l1\.zarr cannot be written: No space left on device"):
                make(tmp_path)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(OSError, match="no such scan"), make(tmp_path) as output:
            output.adopt(LocalStorePath(tmp_path), "no such scan")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written(self, tmp_path, monkeypatch):
        def refuse(path, *_, **__):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "mkdir", refuse)
        with pytest.raises(StoreError, match=r"output .*l1\.zarr cannot be written: Permission denied"):
            make(tmp_path)

    def test_nothing_is_written_once_another_run_has_taken_over(self, output):
        fill(output.staging_of("scan_000001"))
        output.lock._taken_by = output.holder
        for write in (
            lambda: output.publish("scan_000001"),
            lambda: output.put_record("run.json", b"{}"),
            lambda: output.drop("scan_000001"),
            lambda: output.finish([]),
        ):
            with pytest.raises(StoreLockedError, match="was taken over by another run"):
                write()
        assert output.published() == []

    def test_a_worker_whose_run_is_gone_does_not_make_its_staging_folder_again(self, output):
        root = output.staging_of("scan_000001").child("pwv")
        output.close()
        with pytest.raises(FileNotFoundError):
            root.put("c", b"late")
        assert not output.staging.path.parent.exists()


def test_all_of_a_scan_is_on_the_disk_before_it_is_listed(output, monkeypatch):
    events, fsync, rename = [], os.fsync, Path.rename

    def record_fsync(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def record_rename(path, target):
        events.append(("renamed", str(path)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "rename", record_rename)
    root = output.staging_of("scan_000001")
    fill(root)
    root.put("spectra/c.9", bytes(2**21))
    written = {str(path) for path in [root.path, *root.path.rglob("*")]}
    finish_group(root)
    output.publish("scan_000001")
    listed = events.index(("renamed", str(root.path)))
    assert len(written) > 10
    assert written - set(events[:listed]) == set()
    assert str(output.path) in events[listed:]


def test_a_new_product_is_on_the_disk_before_it_is_there(tmp_path, monkeypatch):
    synced, fsync = set(), os.fsync

    def record_fsync(descriptor):
        synced.add(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_fsync)
    with make(tmp_path) as output:
        output.begin(RUN)
        folder = f"l1.zarr.staging/{output.run}"
        made = {"", "/product", "/product/zarr.json", "/product/failures.json", "/run.json", "/lock"}
        assert {f"{folder}{name}" for name in made} <= synced
        assert f"{folder}/cal_pipeline_run.json" in synced


@pytest.mark.parametrize("key", ["run.json", "failures.json"])
def test_a_record_that_cannot_be_written_leaves_the_one_before(output, monkeypatch, key):
    output.put_record(key, b"[]\n")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        output.put_record(key, b'["more"]')
    assert (output.path / key).read_bytes() == b"[]\n"


def test_failures_that_cannot_be_written_are_kept_and_written_later(output, monkeypatch, caplog):
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        output.record_failure(1, "write", "OSError", "x")
        output.record_failure(2, "write", "OSError", "y")
    assert "No space left" in str(output.unsaved)
    assert caplog.text.count("failures.json cannot be written") == 1
    assert json.loads((output.path / "failures.json").read_text()) == []
    output.save_failures()
    assert output.unsaved is None
    assert [failure["scan_number"] for failure in CalibratedSession(output.path).failures] == [1, 2]
