"""What goes wrong on the way to a store is told in one line; listings are made anew at each opening."""

from __future__ import annotations

import asyncio
import gc
import http.server
import multiprocessing
import os
import shutil
import socket
import ssl
import sys
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from helpers_l0 import write_scan
from zarr.abc.store import SuffixByteRequest
from zarr.storage import MemoryStore, WrapperStore

from cal_pipeline import CalibratedSession
from cal_pipeline.cli import calibrate as cli
from cal_pipeline.core.pipeline import default_output
from cal_pipeline.core.store import drivers
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.driver_errors import translate_driver_errors
from cal_pipeline.core.store.event_loop import EventLoopThread, drivers_loop
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.core.store.through_zarr import ZarrReader
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.session import Session


class ClientResponseError(Exception):
    """As aiohttp's."""

    def __init__(self, status):
        super().__init__(f"{status}, message='…',\n url='http://x/y'")
        self.status = status


class NoCredentialsError(Exception):
    """As botocore's."""


class ConnectTimeoutError(Exception):
    """As botocore's."""


class EndpointConnectionError(Exception):
    """As botocore's."""


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, status):
        super().__init__("An error occurred (SlowDown)")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(drivers, "PAUSES_S", (0.0, 0.0))


def caused(error, cause):
    error.__cause__ = cause
    return error


CAUSES = [
    (NoCredentialsError("Unable to locate credentials"), "FSSPEC_S3_ANON=true"),
    (PermissionError("Forbidden"), "access is forbidden"),
    # Of its own accord: it is no Exception there, and would pass the handlers of failed observations.
    (asyncio.CancelledError(), "no connection (its driver cancelled the request)"),
    (ClientResponseError(403), "access is forbidden"),
    (ClientResponseError(401), "access is forbidden"),
    (ClientResponseError(500), "answers 500 Internal Server Error"),
    (ClientError(503), "answers 503 Service Unavailable"),
    (caused(OSError(5, "x"), ClientError(429)), "answers 429 Too Many Requests"),
    (EndpointConnectionError("Could not connect"), "no connection"),
    (ConnectionResetError("reset"), "no connection"),
    (caused(EndpointConnectionError("x"), socket.gaierror(-2, "Name or service not known")), "host is not known"),
    (ConnectTimeoutError("x"), "no answer in time"),
    (TimeoutError(), "no answer in time"),
    (caused(OSError("x"), ssl.SSLCertVerificationError("self-signed")), "no secure connection"),
    (FileNotFoundError("The specified bucket does not exist"), "not there"),
    (RuntimeError("two\nlines"), "RuntimeError: two lines"),
]


class Faulty(WrapperStore):
    """A store whose driver fails."""

    def __init__(self, error):
        super().__init__(MemoryStore())
        self.error = error

    async def _fail(self, *_):
        raise self.error

    get = exists = set = delete_dir = _fail

    async def list_dir(self, prefix):
        raise self.error
        yield prefix

    async def list_prefix(self, prefix):
        raise self.error
        yield prefix


OPERATIONS = {
    "get": lambda root: root.get("a"),
    "put": lambda root: root.put("a", b"1"),
    "exists": lambda root: root.exists("a"),
    "members": lambda root: root.members("a"),
    "walk": lambda root: list(root.walk()),
    "remove": lambda root: root.remove(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("error", "words"), CAUSES, ids=lambda item: item if isinstance(item, str) else "")
def test_no_error_of_a_driver_gets_through(error, words, operation):
    root = RemoteStorePath(Faulty(error), "s3://night/session.zarr")
    with pytest.raises(StoreError) as told:
        OPERATIONS[operation](root)
    text = str(told.value)
    assert text.startswith("s3://night/session.zarr")
    assert words in text
    assert len(text.splitlines()) == 1


def test_a_listing_that_is_forbidden_says_that_reading_needs_it():
    with pytest.raises(StoreError, match="right to list"):
        RemoteStorePath(Faulty(PermissionError("Forbidden")), "s3://night/x.zarr").members()


def test_a_driver_that_says_no_without_an_answer_is_asked_again():
    """File systems over HTTP answer that nothing exists where there is no connection."""

    class Shy(Faulty):
        async def exists(self, key):
            return False

    with pytest.raises(StoreError, match="no connection"):
        RemoteStorePath(Shy(ConnectionError("refused")), "http://x/y.zarr").exists("scan/c/0")


def test_a_missing_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(StoreError, match=r"Install cal_pipeline\[remote\]"):
        open_store("s3://night/session.zarr")


@pytest.fixture
def web(tmp_path):
    """Address of a web server for the test's folder, which answers listings with a status."""
    pytest.importorskip("aiohttp")

    class Handler(http.server.SimpleHTTPRequestHandler):
        status: int | None = None

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def list_directory(self, path):
            if Handler.status is None:
                return super().list_directory(path)
            self.send_error(Handler.status)
            return None

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", Handler
        server.shutdown()


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(("status", "words"), [(403, "right to list"), (404, "needs listings"), (500, "answers 500")])
def test_a_web_server_without_listings_is_one_line(tmp_path, web, capsys, status, words):
    write_scan(tmp_path / "session.zarr", 1)
    address, handler = web
    handler.status = status
    assert cli.main(["info", f"{address}/session.zarr"]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert f"{address}/session.zarr" in error
    assert len(error.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.server
def test_no_connection_is_not_taken_for_a_missing_product():
    pytest.importorskip("aiohttp")
    with pytest.raises(StoreError, match="no connection"):
        CalibratedSession("http://127.0.0.1:9/l1.zarr")


@pytest.mark.slow
@pytest.mark.server
def test_scans_added_to_a_server_are_seen_by_the_next_opening(tmp_path, web):
    write_scan(tmp_path / "session.zarr", 1)
    address = f"{web[0]}/session.zarr"
    first = Session(address)
    write_scan(tmp_path / "session.zarr", 2)
    assert (first.numbers, Session(address).numbers) == ([1], [1, 2])


def test_scans_added_to_a_zip_file_are_seen_by_the_next_opening(tmp_path):
    write_scan(tmp_path / "session.zarr", 1)
    pack(tmp_path, "session.zarr")
    first = Session(tmp_path / "session.zip")
    write_scan(tmp_path / "session.zarr", 2)
    pack(tmp_path, "session.zarr")
    assert (first.numbers, Session(tmp_path / "session.zip").numbers) == ([1], [1, 2])


def test_scans_added_behind_a_driver_of_another_kind_are_seen(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory, url = fsspec.filesystem("memory"), "memory://night/session.zarr"
    write_scan(tmp_path / "session.zarr", 1)
    memory.put(str(tmp_path / "session.zarr"), "/night/session.zarr", recursive=True)
    first = Session(url)
    write_scan(tmp_path / "session.zarr", 2)
    memory.put(str(tmp_path / "session.zarr/scan_000002"), "/night/session.zarr/scan_000002", recursive=True)
    assert (first.numbers, Session(url).numbers) == ([1], [1, 2])
    memory.rm("/night", recursive=True)


@pytest.mark.slow
@pytest.mark.server
def test_connections_are_closed_with_the_session(tmp_path, web):
    write_scan(tmp_path / "session.zarr", 1)
    session = Session(f"{web[0]}/session.zarr")
    client = session.root.store.fs._session
    assert not client.closed
    del session
    gc.collect()
    with ThreadPoolExecutor(1) as waiting:
        waiting.submit(_wait_until_closed, client).result(timeout=30)


def _wait_until_closed(client):
    pause = threading.Event()
    while not client.closed:
        pause.wait(0.01)


def test_a_zip_file_is_closed_with_the_session(tmp_path):
    write_scan(tmp_path / "session.zarr", 1)
    pack(tmp_path, "session.zarr")
    session = Session(tmp_path / "session.zip")
    file = session.root.store._store._zf
    del session
    gc.collect()
    assert file.fp is None


def pack(folder, *names, target="session"):
    """Pack folders with their names before every key, as zip -r and Finder do."""
    for index, name in enumerate(names):
        with zipfile.ZipFile(folder / f"{target}.zip", "a" if index else "w") as packed:
            for path in sorted((folder / name).rglob("*")):
                packed.write(path, path.relative_to(folder).as_posix())


def test_a_zip_file_is_opened_at_the_folder_of_its_store(tmp_path):
    write_scan(tmp_path / "night/session.zarr", 7)
    pack(tmp_path, "night")
    with zipfile.ZipFile(tmp_path / "session.zip", "a") as packed:
        packed.writestr("__MACOSX/night/session.zarr/zarr.json", "x")
        packed.writestr("__MACOSX/night/session.zarr/._zarr.json", "x")
    shutil.copy(tmp_path / "session.zip", tmp_path / "upper.ZARR.ZIP")
    for name in ("session.zip", "upper.ZARR.ZIP"):
        session = Session(tmp_path / name)
        assert session.numbers == [7]
        assert session.open_scan(7).bands[0].coordinates.shape == (4, 2, 2, 1, 4)
        assert default_output(session.path) == f"{name.split('.')[0]}_l1.zarr"


def test_a_zip_file_of_two_stores_names_them(tmp_path):
    for name in ("one.zarr", "two.zarr"):
        write_scan(tmp_path / name, 1)
    pack(tmp_path, "one.zarr", "two.zarr")
    with pytest.raises(StoreError, match=r"one\.zarr, two\.zarr"):
        Session(tmp_path / "session.zip")


def test_a_zip_file_of_scans_alone_misses_its_root(tmp_path):
    for number in (1, 2):
        write_scan(tmp_path / "s.zarr", number)
    pack(tmp_path / "s.zarr", "scan_000001", "scan_000002")
    with pytest.raises(StoreError, match=r"no zarr\.json"):
        Session(tmp_path / "s.zarr/session.zip")


def test_what_is_no_zip_file_is_one_line(tmp_path):
    (tmp_path / "session.zip").write_bytes(b"not packed")
    with pytest.raises(StoreError, match=r"session\.zip cannot be opened: BadZipFile"):
        Session(tmp_path / "session.zip")


def test_a_chain_of_causes_that_bites_its_tail_ends():
    one, two = OSError("one"), OSError("two")
    one.__cause__, two.__cause__ = two, one
    with pytest.raises(StoreError, match="one"), translate_driver_errors("s3://x", "read"):
        raise one


class TestEventLoop:
    def test_zarr_and_we_ask_a_driver_in_one_loop(self):
        """Connections belong to the loop that made them; zarr runs another."""
        loops = set()

        class Watched(MemoryStore):
            async def get(self, *arguments, **settings):
                loops.add(asyncio.get_running_loop())
                return await super().get(*arguments, **settings)

        root = RemoteStorePath(Watched(), "memory")
        values = np.arange(24).reshape(6, 4)
        zarr.create_array(root.as_zarr(), name="a", shape=(6, 4), chunks=(2, 2), shards=(6, 4), dtype=int)[...] = values
        found = open_reader(root, "a")
        assert isinstance(found, ZarrReader)
        np.testing.assert_array_equal(found.read(), values)
        np.testing.assert_array_equal(found.read((slice(1, 5), slice(3))), values[1:5, :3])
        assert found.absent_chunks() == []
        assert loops == {drivers_loop.get()}

    @pytest.mark.parametrize("shards", [None, (8,)])
    def test_errors_below_zarr_are_one_line(self, shards):
        class Dying(MemoryStore):
            async def get(self, key, prototype, byte_range=None):
                if written and key.endswith("c/0") and not isinstance(byte_range, SuffixByteRequest):
                    raise ConnectionResetError("reset")
                return await super().get(key, prototype, byte_range)

        written = False
        root = RemoteStorePath(Dying(), "s3://night")
        options = {"shape": (8,), "chunks": (2,), "shards": shards, "dtype": ">i4", "compressors": None}
        zarr.create_array(root.as_zarr(), name="a", **options)[...] = np.arange(8) + 1
        written = True
        with pytest.raises(StoreError, match="s3://night/a/c/0 cannot be read: no connection"):
            open_reader(root, "a").read((slice(1, 3),))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_a_forked_child_has_a_loop_of_its_own(self):
        loop = EventLoopThread()

        async def answer():
            return 42

        assert loop.run(answer()) == 42
        child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(loop.run(answer())))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
        child.join(timeout=30)
        assert child.exitcode == 42
        loop.stop()
        assert loop.run(answer()) == 42, "it starts again when it is needed"
        loop.stop()
        loop.stop()
