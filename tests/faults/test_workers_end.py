"""Workers end with the run that started them, whatever they are doing."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing.util import Finalize

import pytest
from helpers_wait import wait_until

from cal_pipeline.core.run import workers
from cal_pipeline.core.run.workers import Job

pytestmark = pytest.mark.slow

SLEEP = 60.0
"""Time that the work takes [s]."""


def work(begun):
    """Be at work for a minute."""
    begun.touch()
    time.sleep(SLEEP)


class Endless:
    """A recipe that a worker takes a minute to read, once it has made a file."""

    def __init__(self, begun):
        self.begun = begun

    def __reduce__(self):
        return work, (self.begun,)


@pytest.fixture
def busy(tmp_path):
    """A worker at work."""
    worker, begun = workers._Worker(), tmp_path / "begun"
    worker.start(Job("session.zarr", "l1.zarr", 1, pickle.dumps(Endless(begun)), 1))
    wait_until(begun.exists)
    yield worker
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def test_a_worker_at_work_is_asked_to_end(busy, monkeypatch):
    monkeypatch.setattr(workers, "_GRACE", SLEEP)
    started = time.monotonic()
    busy.stop()
    assert busy.process.exitcode == -signal.SIGTERM
    assert time.monotonic() - started < SLEEP


def test_a_worker_that_does_not_answer_is_killed(busy, monkeypatch):
    monkeypatch.setattr(workers, "_GRACE", 0.5)
    os.kill(busy.process.pid, signal.SIGSTOP)
    busy.stop()
    assert busy.process.exitcode == -signal.SIGKILL


def release(begun, done):
    """Take some time to release what a worker holds."""
    begun.touch()
    time.sleep(0.3)
    done.touch()


def hold(begun, done):
    """Hold something, as codecs hold semaphores, and be at work."""
    Finalize(None, release, args=(begun, done), exitpriority=10)
    begun.with_name("held").touch()
    time.sleep(SLEEP)


class Holding:
    """A recipe with which a worker holds what it must release when it ends."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return hold, (self.folder / "begun", self.folder / "done")


def test_a_second_signal_does_not_keep_a_worker_from_releasing_what_it_holds(tmp_path):
    worker = workers._Worker()
    worker.start(Job("session.zarr", "l1.zarr", 1, pickle.dumps(Holding(tmp_path)), 1))
    wait_until((tmp_path / "held").exists)
    # One from the system to all processes, and one from the run.
    worker.process.terminate()
    wait_until((tmp_path / "begun").exists)
    worker.stop()
    assert worker.process.exitcode == -signal.SIGTERM
    assert (tmp_path / "done").exists()


PARENT = """
import pathlib, pickle, sys, time
from test_workers_end import Endless
from cal_pipeline.core.run import workers
from cal_pipeline.core.run.workers import Job

if __name__ == "__main__":
    worker = workers._Worker()
    worker.start(Job("session.zarr", "l1.zarr", 1, pickle.dumps(Endless(pathlib.Path(sys.argv[1]))), 1))
    print(worker.process.pid, flush=True)
    time.sleep(60.0)
"""


def test_a_worker_ends_with_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    paths = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    begun = tmp_path / "begun"
    command = [sys.executable, str(script), str(begun)]
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        wait_until(begun.exists)
        parent.kill()
    wait_until(lambda: not is_alive(worker))


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
