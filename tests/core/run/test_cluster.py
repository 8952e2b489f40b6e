"""Dask clusters that grow, that have no workers, or whose workers cannot calibrate."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

import pytest
from helpers_l0 import write_scan
from helpers_wait import wait_until

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.run import cluster as dask_cluster
from cal_pipeline.core.run.cluster import ClusterError, DaskCluster
from cal_pipeline.core.run.job import Prepared, apply_steps
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.errors import CalibrationError
from cal_pipeline.heterodyne.session import Session

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.server, pytest.mark.slow]

LACKING = "import sys\nsys.modules['cal_pipeline'] = None\n"


class Idle(CalibrationPipeline):
    """A recipe that does nothing."""

    def prepare_for(self, scan):
        return Prepared({}, {})


@pytest.fixture
def l0(tmp_path):
    """Session of 40 scans of a few numbers."""
    for number in range(1, 41):
        write_scan(tmp_path / "l0.zarr", number)
    return Session(tmp_path / "l0.zarr")


@pytest.fixture
def empty_cluster():
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


def run(cluster, l0, tmp_path, numbers=None):
    output = LocalOutput(tmp_path / "l1.zarr", False, l0.path, CalibratedSession.kind)
    return DaskCluster(cluster.scheduler_address).calibrate(l0, numbers or l0.numbers, Idle(), output)


def test_twelve_scans_are_in_flight_once_six_workers_have_come(empty_cluster, l0, tmp_path, monkeypatch):
    seen, release = set(), threading.Event()

    def count():
        tasks = [key for key in list(empty_cluster.scheduler.tasks) if "calibrate_observation" in str(key)]
        seen.add(len(tasks))
        return len(tasks)

    def held(session, number, recipe):
        # No scan gets on until twelve are in flight.
        wait_until(lambda: count() >= 12 or release.is_set())
        release.set()
        return apply_steps(session, number, recipe)

    monkeypatch.setattr("cal_pipeline.core.run.workers.apply_steps", held)
    growing = threading.Timer(1.0, lambda: empty_cluster.scale(6))
    growing.start()
    outcomes = list(run(empty_cluster, l0, tmp_path))
    growing.join()
    assert sorted(outcome.number for outcome in outcomes) == l0.numbers
    assert not [outcome for outcome in outcomes if outcome.failed_in]
    # One that is done may not have been let go yet.
    assert max(seen) in (12, 13)


def test_a_cluster_that_adapts_itself_starts_a_worker(empty_cluster, l0, tmp_path):
    empty_cluster.adapt(minimum=0, maximum=2, interval="100ms")
    outcomes, done = [], threading.Event()

    def calibrate():
        outcomes.extend(run(empty_cluster, l0, tmp_path, [1, 2]))
        done.set()

    threading.Thread(target=calibrate, daemon=True).start()
    assert done.wait(60), "no worker was started"
    assert [outcome.failed_in for outcome in outcomes] == ["", ""]


def test_waiting_for_workers_is_said_again_and_again(empty_cluster, l0, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dask_cluster, "PATIENCE", 1.0)

    def grow():
        wait_until(lambda: caplog.text.count("no workers at") >= 2)
        empty_cluster.scale(1)

    growing = threading.Thread(target=grow)
    with caplog.at_level("WARNING", "cal_pipeline"):
        growing.start()
        outcomes = list(run(empty_cluster, l0, tmp_path, [1, 2]))
    growing.join()
    said = [record.getMessage() for record in caplog.records if "no workers at" in record.getMessage()]
    assert [o.failed_in for o in outcomes] == ["", ""]
    assert len(said) >= 2
    assert empty_cluster.scheduler_address in said[0]


def test_scans_of_workers_that_have_left_are_done_by_others(empty_cluster, l0, tmp_path, monkeypatch):
    started, left = threading.Event(), threading.Event()

    def held(session, number, recipe):
        if not left.is_set():
            started.set()
            left.wait(timeout=60)
        return apply_steps(session, number, recipe)

    monkeypatch.setattr("cal_pipeline.core.run.workers.apply_steps", held)

    def exchange():
        started.wait(timeout=60)
        empty_cluster.scale(0)
        wait_until(lambda: not empty_cluster.scheduler.workers)
        empty_cluster.scale(1)
        left.set()

    empty_cluster.scale(1)
    threading.Thread(target=exchange).start()
    outcomes = list(run(empty_cluster, l0, tmp_path, [1, 2, 3]))
    assert sorted((o.number, o.failed_in) for o in outcomes) == [(1, ""), (2, ""), (3, "")]


def test_workers_of_another_version_are_named_before_the_output_is_made(
    empty_cluster, make_session, calibrate, tmp_path, monkeypatch
):
    empty_cluster.scale(1)
    wait_until(lambda: empty_cluster.scheduler.workers)
    monkeypatch.setattr(dask_cluster, "__version__", "99.0")
    session = make_session(channels=16, scans=1)
    with pytest.raises(ClusterError, match=r"has version .*expected cal_pipeline 99\.0") as refused:
        calibrate(session, scheduler=empty_cluster.scheduler_address)
    assert next(iter(empty_cluster.scheduler.workers)) in str(refused.value)
    assert not (tmp_path / "l1.zarr").exists()


def start_lacking_worker(address, folder):
    """A worker in a process that cannot import the package."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(LACKING)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.Popen(
        [*command, "--no-dashboard"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture
def cluster_with_port():
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp://"
    ) as cluster:
        yield cluster


def test_workers_that_lack_the_package_are_refused_first_and_left_out_later(
    cluster_with_port, l0, tmp_path, monkeypatch, caplog
):
    lacking = start_lacking_worker(cluster_with_port.scheduler_address, tmp_path / "path")
    try:
        wait_until(lambda: cluster_with_port.scheduler.workers)
        with pytest.raises(ClusterError, match="cannot import cal_pipeline") as refused:
            DaskCluster(cluster_with_port.scheduler_address).check()
        assert len(str(refused.value).splitlines()) == 1
    finally:
        lacking.terminate()
        lacking.wait()
    wait_until(lambda: not cluster_with_port.scheduler.workers)
    cluster_with_port.scale(1)
    wait_until(lambda: cluster_with_port.scheduler.workers)
    late: list[subprocess.Popen] = []

    def held(session, number, recipe):
        if not late:
            late.append(start_lacking_worker(cluster_with_port.scheduler_address, tmp_path / "other"))
        wait_until(lambda: "get no scans" in caplog.text)
        return apply_steps(session, number, recipe)

    monkeypatch.setattr("cal_pipeline.core.run.workers.apply_steps", held)
    try:
        with caplog.at_level("WARNING", "cal_pipeline"):
            outcomes = list(run(cluster_with_port, l0, tmp_path, l0.numbers[:12]))
    finally:
        for process in late:
            process.terminate()
            process.wait()
    assert "get no scans" in caplog.text
    assert [o.failed_in for o in outcomes] == [""] * 12


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(dask_cluster, "PATIENCE", 1.0)
    with pytest.raises(CalibrationError, match=r"tcp://127\.0\.0\.1:9 .*Dask scheduler") as refused:
        DaskCluster("tcp://127.0.0.1:9").check()
    assert len(str(refused.value).splitlines()) == 1


def test_an_address_that_is_none_is_one_line(monkeypatch):
    monkeypatch.setattr(dask_cluster, "PATIENCE", 1.0)
    with pytest.raises(CalibrationError, match="expected the address"):
        DaskCluster("carrier-pigeon://head").check()


def test_lines_are_heard_once_from_threads_of_a_cluster_in_this_process(empty_cluster, make_session, calibrate, caplog):
    empty_cluster.scale(2)
    session = make_session(channels=16, scans=4)
    before = {name: logging.getLogger(name).level for name in ("stpipe", "cal_pipeline")}
    handlers = list(logging.getLogger("cal_pipeline").handlers)
    with caplog.at_level("INFO"):
        calibrate(session, scheduler=empty_cluster.scheduler_address, gain={"skip": False})
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("cal_pipeline.steps.heterodyne.gain")]
    assert len(lines) == len(set(lines)) > 0
    assert {name: logging.getLogger(name).level for name in before} == before
    assert logging.getLogger("cal_pipeline").handlers == handlers
