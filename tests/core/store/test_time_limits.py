"""Stores that hang, die or are busy: each request ends within its time limit, and what may pass is asked again."""

from __future__ import annotations

import asyncio
import http.server
import logging
import socket
import threading
import time
from pathlib import Path

import pytest
from zarr.storage import MemoryStore, WrapperStore

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli import calibrate as cli
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store import drivers, time_limits
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.errors import StoreError


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch):
    """Limits that are short enough to wait for."""
    monkeypatch.setattr(drivers, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(time_limits, "READ_LIMIT_S", 0.5)


class Moody(WrapperStore):
    """A store whose answers are errors first, or that keeps silent."""

    def __init__(self, *errors, silent=False):
        super().__init__(MemoryStore())
        self.errors, self.silent, self.asked = list(errors), silent, 0

    async def set(self, *arguments, **settings):
        self.asked += 1
        await asyncio.sleep(60)

    async def get(self, *arguments, **settings):
        self.asked += 1
        if self.silent:
            await asyncio.sleep(60)
        if self.errors:
            raise self.errors.pop(0)
        return await super().get(*arguments, **settings)


class Busy(Exception):  # noqa: N818 - named as drivers name theirs
    """As aiohttp's."""

    status = 503


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError(), Busy()], ids=repr)
def test_what_passes_is_asked_again(error):
    store = Moody(error, error)
    assert RemoteStorePath(store, "s3://night/x").get("a") is None
    assert store.asked == 3


@pytest.mark.parametrize("error", [PermissionError("no"), FileNotFoundError("no bucket"), ValueError("odd")], ids=repr)
def test_what_does_not_pass_is_asked_once(error):
    store = Moody(error, error)
    with pytest.raises(StoreError, match="s3://night/x/a cannot be read"):
        RemoteStorePath(store, "s3://night/x").get("a")
    assert store.asked == 1


def test_a_store_that_stays_away_is_asked_three_times_then_once_until_it_is_back():
    store = Moody(*[ConnectionError("refused")] * 4)
    root = RemoteStorePath(store, "s3://night/x")
    for asked in (3, 4):
        with pytest.raises(StoreError, match=r"s3://night/x/a cannot be read: no connection \(refused\)"):
            root.get("a")
        assert store.asked == asked
    assert root.get("a") is None
    store.errors.append(ConnectionError("refused"))
    assert root.get("a") is None


@pytest.mark.slow
def test_a_driver_without_limits_has_that_of_the_whole_request(monkeypatch):
    monkeypatch.setattr(drivers, "REQUEST_LIMIT_S", 0.2)
    with pytest.raises(StoreError, match=r"sftp://x/y/a cannot be read: no answer in time \(none within 0.2 s\)"):
        RemoteStorePath(Moody(silent=True), "sftp://x/y").get("a")


@pytest.mark.slow
def test_what_is_not_taken_is_not_written_for_ever(monkeypatch):
    monkeypatch.setattr(time_limits, "WRITE_LIMIT_S", 0.1)
    monkeypatch.setattr(time_limits, "SLOWEST_WRITE", 100.0)
    store, start = Moody(), time.monotonic()
    with pytest.raises(StoreError, match=r"s3://night/x/a cannot be written: no answer in time \(none within 0.2 s\)"):
        RemoteStorePath(store, "s3://night/x").put("a", b"0123456789")
    assert store.asked == 3
    assert 0.6 <= time.monotonic() - start < 10


@pytest.mark.slow
def test_one_silent_request_does_not_make_all_others_wait(monkeypatch):
    monkeypatch.setattr(drivers, "REQUEST_LIMIT_S", 0.3)
    store = Moody(silent=True)
    with pytest.raises(StoreError, match="no answer in time"):
        RemoteStorePath(store, "sftp://x/y", n_requests=2).each(lambda key: open_and_get(store, key), range(40))
    assert store.asked < 10


def open_and_get(store, key):
    return RemoteStorePath(store, "sftp://x/y").get(str(key))


def test_the_configuration_of_the_user_is_kept(monkeypatch):
    conf = pytest.importorskip("fsspec.config").conf
    pytest.importorskip("aiohttp")
    monkeypatch.setitem(conf, "s3", {"config_kwargs": {"read_timeout": 200, "user_agent": "me"}, "anon": True})
    monkeypatch.setitem(conf, "http", {"client_kwargs": {"timeout": 90, "trust_env": True}})
    s3, client = time_limits.limit_driver("s3")["config_kwargs"], time_limits.limit_driver("https")["client_kwargs"]
    assert (s3["read_timeout"], s3["connect_timeout"], s3["user_agent"]) == (200, 10.0, "me")
    assert (client["timeout"].sock_read, client["timeout"].total, client["trust_env"]) == (90, None, True)


@pytest.fixture
def silent_port():
    """Port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_server_that_never_answers_is_one_line(silent_port, scheme, monkeypatch, capsys):
    pytest.importorskip("aiohttp")
    address = f"http://127.0.0.1:{silent_port}/session.zarr"
    if scheme == "s3":
        pytest.importorskip("s3fs")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
        address = "s3://night/session.zarr"
    start = time.monotonic()
    assert cli.main(["info", address]) == 1
    assert time.monotonic() - start < 20
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"{address}/zarr.json cannot be read: no answer in time" in error
    assert "s3cret" not in error


class Server(http.server.ThreadingHTTPServer):
    """Web server for a folder that keeps silent or hangs up where the key holds a word."""

    daemon_threads = True
    word = mood = ""

    def __init__(self, folder: Path):
        server, self.released = self, threading.Event()

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self):
                if server.word and server.word in self.path:
                    if server.mood == "silent":
                        server.released.wait(60)
                    if server.mood == "half":
                        self.send_response(200)
                        self.send_header("Content-Length", "1000")
                        self.end_headers()
                        self.wfile.write(b"half of")
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                super().do_GET()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp")
    with Server(tmp_path) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving
        serving.released.set()
        serving.shutdown()


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("mood", ["silent", "dead", "half"])
def test_the_scan_fails_whose_counts_do_not_come_and_the_others_go_on(make_session, tmp_path, server, mood, atm_table):
    make_session(channels=16, scans=3, noise=False)
    server.word, server.mood = "scan_000002/source/data_5d/c", mood
    address = f"http://127.0.0.1:{server.server_address[1]}/session.zarr"
    steps = {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": str(atm_table)}}
    with pytest.raises(RunFailedError) as failed:
        CalibrationPipeline.call(address, output_file=str(tmp_path / "l1.zarr"), steps=steps, configure_log=False)
    product = failed.value.product
    assert product.numbers == [1, 3]
    (failure,) = product.failures
    assert f"{address}/scan_000002/source/data_5d/c" in failure["message"]
    assert len(failure["message"].splitlines()) == 1
    assert {"silent": "no answer in time", "dead": "no connection"}.get(mood, "") in failure["message"]


@pytest.mark.slow
@pytest.mark.server
def test_what_hung_up_once_is_read_at_the_next_attempt(make_session, server, caplog):
    make_session(channels=16, noise=False)
    root = open_store(f"http://127.0.0.1:{server.server_address[1]}/session.zarr")
    expected = root.get("zarr.json")
    server.word, server.mood = "zarr.json", "dead"
    threading.Timer(0.2, lambda: setattr(server, "word", "")).start()
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(drivers, "PAUSES_S", (0.5, 0.5))
        assert root.get("zarr.json") == expected
