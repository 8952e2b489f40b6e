"""Sessions and products that are not in a folder: a ZIP file, a web server, an object store."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import sys
import threading
import uuid
import zipfile

import numpy as np
import pytest
import xarray

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.event_loop import drivers_loop
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.session import Session

STEPS = {"skydiff": {"skip": False}}


@pytest.fixture
def session(make_session):
    return make_session(channels=24, scans=2)


@pytest.fixture
def local(session, calibrate):
    return calibrate(session, "local.zarr", **STEPS)


def assert_same(one, other):
    """Check that two products hold the same."""
    assert one.numbers == other.numbers == [1, 2]
    for number in one.numbers:
        xarray.testing.assert_identical(*(p.open_scan(number).load().drop_attrs(deep=False) for p in (one, other)))


@pytest.mark.slow
def test_a_zip_file_is_read(session, local, calibrate, tmp_path):
    path = tmp_path / "packed.zarr.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for root, _, files in os.walk(session):
            for file in files:
                full = os.path.join(root, file)
                packed.write(full, os.path.relpath(full, session))
    assert_same(local, calibrate(path, "zip.zarr", **STEPS))


def test_a_zip_file_is_not_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a", "b")
    with pytest.raises(StoreError, match="read only"):
        open_store(tmp_path / "x.zip", write=True)


def recorded_steps(product):
    """Return what the product of the fixture `calibrate` was given."""
    table = product.attributes(1)["provenance"]["parameters"]["steps"]["atmosphere"]["override_atm"]
    return {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": table}} | STEPS


@pytest.fixture
def bucket(monkeypatch):
    """Address of an empty bucket of an S3 server on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = f"night-{uuid.uuid4().hex[:8]}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
class TestObjectStore:
    def upload(self, session, address):
        import s3fs

        s3fs.S3FileSystem().put(str(session), address, recursive=True)

    def test_from_bucket_to_bucket(self, session, local, calibrate, bucket, atm_table):
        from cal_pipeline import CalibrationPipeline

        self.upload(session, f"{bucket}/session.zarr")
        steps = {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": str(atm_table)}} | STEPS
        product = CalibrationPipeline.call(
            f"{bucket}/session.zarr", output_file=f"{bucket}/l1.zarr", steps=steps, configure_log=False
        )
        assert_same(local, product)
        import s3fs

        names = {name.rsplit("/", 1)[1] for name in s3fs.S3FileSystem().ls(bucket)}
        assert names == {"session.zarr", "l1.zarr", "l1_quality.ecsv"}
        found = s3fs.S3FileSystem().find(f"{bucket}/l1.zarr")
        assert not [name for name in found if "unpublished" in name]
        with pytest.raises(StoreError, match="overwrite"):
            CalibrationPipeline.call(str(session), output_file=f"{bucket}/l1.zarr", steps=steps, configure_log=False)

    def test_a_session_that_grows_is_followed(self, session, local, calibrate, bucket):
        import s3fs

        store, where = s3fs.S3FileSystem(), f"{bucket}/session.zarr"
        store.put(str(session / "zarr.json"), f"{where}/zarr.json")

        def write():
            for number in local.numbers:
                name = f"scan_{number:06d}"
                store.put(str(session / name), f"{where}/{name}", recursive=True)

        writer = threading.Thread(target=write)
        writer.start()
        given = {"follow": True, "follow_settling": 0.5, "follow_timeout": 10.0, "l0_digest": False}
        assert calibrate(where, "followed.zarr", **given).numbers == local.numbers
        writer.join()

    def test_a_run_is_resumed(self, session, local, calibrate, bucket, caplog):
        import s3fs

        self.upload(session, f"{bucket}/session.zarr")
        where = f"{bucket}/session.zarr"
        target, steps = f"{bucket}/l1.zarr", recorded_steps(local)
        CalibrationPipeline.call(where, output_file=target, steps=steps, configure_log=False)
        store = s3fs.S3FileSystem()
        store.rm(f"{target}/scan_000002/zarr.json")
        # The same bytes have the same ETag.
        self.upload(session / "scan_000001", f"{bucket}/session.zarr/")
        again = {"resume": True, "verify": True, "l0_digest": True}
        with caplog.at_level("INFO"):
            product = CalibrationPipeline.call(where, output_file=target, steps=steps, configure_log=False, **again)
        assert_same(local, product)
        assert "resume: 1 scan kept, 1 new; removed unfinished scan_000002" in caplog.text

    def test_scans_that_are_added_are_seen_by_the_next_run_and_opening(self, session, calibrate, bucket):
        import s3fs

        store, other = s3fs.S3FileSystem(), f"{bucket}/session.zarr"
        store.put(str(session / "zarr.json"), f"{other}/zarr.json")
        store.put(str(session / "scan_000001"), f"{other}/scan_000001", recursive=True)
        seen = Session(other)
        store.put(str(session / "scan_000002"), f"{other}/scan_000002", recursive=True)
        assert (seen.numbers, Session(other).numbers) == ([1], [1, 2])

    def test_a_product_that_another_program_removes_is_gone(self, session, bucket):
        import s3fs

        address = f"{bucket}/session.zarr"
        self.upload(session, address)
        root = open_store(address, write=True)
        assert root.members()
        s3fs.S3FileSystem().rm(address, recursive=True)
        assert (root.members(), root.exists("zarr.json"), list(root.walk())) == ([], False, [])

    def test_no_such_bucket_is_one_line(self, bucket):
        with pytest.raises(StoreError, match="no-such-bucket-here") as told:
            Session("S3://no-such-bucket-here/session.zarr")
        assert len(str(told.value).splitlines()) == 1

    def test_a_scan_that_fails_is_not_listed(self, session, bucket, atm_table):
        from cal_pipeline import CalibrationPipeline

        (session / "scan_000002" / "source" / "tamb" / "zarr.json").unlink()
        with pytest.raises(RunFailedError):
            CalibrationPipeline.call(
                str(session),
                output_file=f"{bucket}/l1.zarr",
                steps={"atmosphere": {"override_atm": str(atm_table)}},
                configure_log=False,
            )
        product = CalibratedSession(f"{bucket}/l1.zarr")
        assert product.numbers == [1]
        assert product.failures[0]["scan_number"] == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.server
def test_a_web_server_is_read(session, tmp_path):
    pytest.importorskip("aiohttp")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = Session(f"http://127.0.0.1:{server.server_address[1]}/session.zarr")
        assert found.numbers == [1, 2]
        here, there = (s.open_scan(1).bands[0] for s in (Session(session), found))
        np.testing.assert_array_equal(
            there.source_counts(here_clock()).read(slice(0, 24), [1]),
            here.source_counts(here_clock()).read(slice(0, 24), [1]),
        )
        server.shutdown()
        drivers_loop.run(found.root.store.fs._session.close())


def here_clock():
    from cal_pipeline.core.run.clock import StageClock

    return StageClock()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["output", "folder"])
def test_a_file_url_is_a_folder_without_any_driver(make_session, tmp_path, atm_table, monkeypatch, where):
    from cal_pipeline import CalibrationPipeline

    monkeypatch.setitem(sys.modules, "fsspec", None)
    session, folder = make_session(channels=16, scans=1), tmp_path / "my products"
    folder.mkdir()
    url = folder.as_uri()
    target = {"output_file": f"{url}/l1.zarr"} if where == "output" else {"output_dir": url, "output_file": "l1.zarr"}
    product = CalibrationPipeline.call(
        session.as_uri(), steps={"atmosphere": {"override_atm": str(atm_table)}}, configure_log=False, **target
    )
    assert str(product.path) == str(folder / "l1.zarr")
    assert CalibratedSession(f"{url}/l1.zarr").numbers == [1]
    assert not list(folder.glob("*.staging"))


def test_an_address_of_an_unknown_kind():
    with pytest.raises(StoreError, match=r"cal_pipeline\[remote\]"):
        open_store("gopher://example/x.zarr")


def test_nothing_in_a_folder_that_was_removed(tmp_path):
    root = open_store(tmp_path / "x")
    root.put("a/b", b"1")
    assert sorted(root.walk()) == ["a/b"]
    assert root.members("a") == ["b"]
    shutil.rmtree(tmp_path / "x")
    assert root.get("a/b") is None
    assert root.members() == []
