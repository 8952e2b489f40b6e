"""What a reader can find is on the disk before, and is found last: the order of fsync, rename and upload."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import Future
from pathlib import Path

import pytest

from cal_pipeline import CalibratedSession
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.drivers import CheckedStore
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.errors import RunInterruptedError, StoreError


class Disk:
    """Record of what was brought to the disk, and of what was renamed to where.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
        Puts it in the place of the calls.
    output : Path
        The product; renames to it and into it are judged.
    """

    def __init__(self, monkeypatch, output: Path) -> None:
        self.output = output
        self.renamed: list[Path] = []
        self.too_early: list[str] = []
        self.not_synced_after: set[Path] = set()
        self._synced: dict[int, int] = {}
        self._fsync, self._rename, self._replace = os.fsync, os.rename, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "rename", lambda *paths: self.move(self._rename, *paths))
        monkeypatch.setattr(os, "replace", lambda *paths: self.move(self._replace, *paths))

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        found = os.fstat(descriptor)
        self._synced[found.st_ino] = found.st_mtime_ns
        self.not_synced_after.discard(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    def move(self, call, source, target) -> None:
        target = Path(target)
        if target == self.output or self.output in target.parents:
            paths = [source, *Path(source).rglob("*")] if os.path.isdir(source) else [source]
            for path in paths:
                found = os.stat(path)
                if self._synced.get(found.st_ino) != found.st_mtime_ns:
                    self.too_early.append(f"{path} -> {target}")
            self.renamed.append(target)
            if target.is_dir() or os.path.isdir(source):
                self.not_synced_after.add(target.parent)
        call(source, target)


@pytest.fixture
def disk(monkeypatch, tmp_path):
    return Disk(monkeypatch, tmp_path / "l1.zarr")


@pytest.mark.slow
def test_what_is_renamed_into_a_product_is_on_the_disk(make_session, calibrate, disk):
    session = make_session(scans=2)
    # The differences of the skies are added to what a worker has finished.
    calibrate(session, skydiff={"skip": False})
    names = [path.name for path in disk.renamed]
    assert names[0] == "l1.zarr"
    assert [name for name in names if name.startswith("scan_")] == ["scan_000001", "scan_000002"]
    assert {"run.json", "failures.json"} >= set(names) - {"l1.zarr", "scan_000001", "scan_000002"}
    assert disk.too_early == []
    assert disk.not_synced_after == set()


@pytest.mark.slow
def test_a_product_that_replaces_another_is_on_the_disk(make_session, calibrate, disk):
    session = make_session(scans=1)
    product = calibrate(session)
    disk.renamed.clear()
    calibrate(session, overwrite=True)
    assert disk.renamed[-1] == product.path
    assert disk.too_early == []
    assert disk.not_synced_after == set()


class Cloud:
    """Record of what is written to and deleted from remote stores, in the order in which it was."""

    def __init__(self, monkeypatch) -> None:
        self.calls: list[tuple[str, str]] = []
        put, delete = CheckedStore.set, CheckedStore.delete

        async def recorded_put(store, key, value):
            await put(store, key, value)
            self.calls.append(("put", key))

        async def recorded_delete(store, key):
            await delete(store, key)
            self.calls.append(("delete", key))

        monkeypatch.setattr(CheckedStore, "set", recorded_put)
        monkeypatch.setattr(CheckedStore, "delete", recorded_delete)

    def of(self, scan: str) -> list[tuple[str, str]]:
        """Calls for what is under the name of a scan, by the key in it."""
        return [(verb, key.removeprefix(f"{scan}/")) for verb, key in self.calls if key.startswith(f"{scan}/")]


@pytest.fixture
def cloud(monkeypatch):
    pytest.importorskip("fsspec")
    return Cloud(monkeypatch)


@pytest.fixture
def calibrate_remotely(tmp_path, atm_table):
    """Calibrate a session to an address in the memory of this process."""
    from cal_pipeline import CalibrationPipeline

    address = f"memory://{uuid.uuid4().hex}/l1.zarr"

    def run(session, **settings):
        steps = {
            "loads": {"forward_efficiency": 0.95},
            "atmosphere": {"override_atm": str(atm_table)},
            "skydiff": {"skip": False},
        }
        settings |= {"output_file": address, "steps": steps, "configure_log": False}
        return CalibrationPipeline.call(str(session), **settings)

    run.address = address
    return run


class TestRemotely:
    @pytest.mark.slow
    def test_the_metadata_that_list_a_scan_are_put_last(self, make_session, calibrate_remotely, cloud):
        product = calibrate_remotely(make_session(scans=2))
        assert product.numbers == [1, 2]
        for scan in ("scan_000001", "scan_000002"):
            put = [key for verb, key in cloud.of(scan) if verb == "put"]
            assert len(put) > 50
            assert put.count("zarr.json") == 1
            assert put[-1] == "zarr.json"

    @pytest.mark.slow
    def test_a_scan_that_is_replaced_is_not_listed_meanwhile(self, make_session, calibrate_remotely, cloud):
        session = make_session(scans=1)
        calibrate_remotely(session)
        cloud.calls.clear()
        calibrate_remotely(session, overwrite=True)
        calls = cloud.of("scan_000001")
        assert calls[0] == ("delete", "zarr.json")
        assert calls[-1] == ("put", "zarr.json")
        assert calls.count(("put", "zarr.json")) == 1

    @pytest.mark.slow
    def test_a_scan_that_fails_is_not_listed(self, make_session, calibrate_remotely, cloud):
        session = make_session(scans=2)
        (session / "scan_000002" / "source" / "tamb" / "zarr.json").unlink()
        with pytest.raises(RunFailedError) as told:
            calibrate_remotely(session)
        assert told.value.exit_status == 2
        assert told.value.product.numbers == [1]
        assert ("put", "zarr.json") not in cloud.of("scan_000002")

    @pytest.mark.slow
    @pytest.mark.parametrize("error", [PermissionError("no"), KeyboardInterrupt()])
    def test_an_object_that_cannot_be_written_in_the_background_lists_no_scan(
        self, make_session, calibrate_remotely, monkeypatch, error
    ):
        put = RemoteStorePath.start_put

        def fail(place, key, *data):
            if place.name.endswith("scan_000002") and key.startswith("spectra/c."):
                if isinstance(error, KeyboardInterrupt):
                    raise error
                failed = Future()
                failed.set_exception(StoreError(f"{place}/{key} cannot be written: {error}"))
                return failed
            return put(place, key, *data)

        monkeypatch.setattr(RemoteStorePath, "start_put", fail)
        with pytest.raises((RunFailedError, RunInterruptedError)):
            calibrate_remotely(make_session(scans=3))
        monkeypatch.undo()
        product = CalibratedSession(calibrate_remotely.address)
        assert product.numbers == ([1] if isinstance(error, KeyboardInterrupt) else [1, 3])
        assert not [key for key in product.root.walk() if key.startswith(("scan_000002", "."))]
