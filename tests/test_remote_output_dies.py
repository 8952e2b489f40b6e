"""An object store that hangs or hangs up while a run writes to it: the run ends, and goes on when the store is back."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from stpipe.exceptions import StpipeExitException
from test_remote import bucket  # noqa: F401 - a fixture

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.store import drivers, time_limits
from cal_pipeline.errors import CalibrationError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


class Gate:
    """Way to a server: open, silent (connections are accepted, nothing passes) or closed (they are hung up)."""

    def __init__(self, port: int):
        self.mood, self._port, self._all = "open", port, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                if self.mood == "closed":
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._port))
                self._all += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source, target):
        with suppress(OSError):
            while data := source.recv(2**16):
                if self.mood == "closed":
                    break
                if self.mood == "open":
                    target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def end(self):
        for end in (self._listener, *self._all):
            end.close()


@pytest.fixture
def gate(bucket, monkeypatch):  # noqa: F811
    import os

    gate = Gate(urlsplit(os.environ["AWS_ENDPOINT_URL"]).port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{gate.port}")
    monkeypatch.setattr(drivers, "PAUSES_S", (0.1, 0.1))
    monkeypatch.setattr(time_limits, "READ_LIMIT_S", 2.0)
    monkeypatch.setattr(time_limits, "WRITE_LIMIT_S", 2.0)
    yield gate
    gate.end()


class Switch(logging.Handler):
    """Sets the gate once a number of scans is done."""

    def __init__(self, gate, **moods):
        super().__init__()
        self.gate, self.moods = gate, moods

    def emit(self, record):
        words = record.getMessage().split()
        if words[:1] == ["scan"]:
            self.gate.mood = self.moods.get(f"after_{words[1].rstrip(':')}", self.gate.mood)


@pytest.fixture
def run(make_session, bucket, gate, atm_table):  # noqa: F811
    session = make_session(channels=16, scans=4, noise=False)
    steps = {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": str(atm_table)}}
    logger = logging.getLogger("cal_pipeline")

    def calibrate(settings=None, **moods):
        switch = Switch(gate, **moods)
        logger.addHandler(switch)
        try:
            return CalibrationPipeline.call(
                str(session), output_file=f"{bucket}/l1.zarr", steps=steps, configure_log=False, **(settings or {})
            )
        finally:
            logger.removeHandler(switch)

    logging.getLogger("cal_pipeline").setLevel(logging.INFO)
    return calibrate


@pytest.mark.parametrize("mood", ["silent", "closed"])
def test_the_run_ends_with_the_store_away(run, gate, mood, monkeypatch):
    start = time.monotonic()
    with pytest.raises((CalibrationError, StpipeExitException)) as ended:
        run(after_2=mood)
    assert time.monotonic() - start < 120
    assert ended.value.exit_status == 3
    gate.mood = "open"
    # A server on a busy machine may take longer to answer than the other side of the gate is waited for.
    for name in ("READ_LIMIT_S", "WRITE_LIMIT_S"):
        monkeypatch.setattr(time_limits, name, 60.0)
    product = run({"resume": True})
    assert product.numbers == [1, 2, 3, 4]


@pytest.mark.parametrize("mood", ["silent", "closed"])
def test_the_run_goes_on_when_the_store_is_back(run, gate, mood, bucket):  # noqa: F811
    with pytest.raises(StpipeExitException) as ended:
        run(after_1=mood, after_2="open")
    assert ended.value.exit_status == 2
    product = CalibratedSession(f"{bucket}/l1.zarr")
    assert product.numbers == [1, 3, 4]
    (failure,) = product.failures
    assert failure["scan_number"] == 2
    assert "cannot be" in failure["message"]
    assert json.loads(product.root.get("run.json"))["state"] == "finished"
