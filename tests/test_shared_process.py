"""Runs that share a process, and processes that were forked from one that has calibrated."""

from __future__ import annotations

import contextvars
import logging
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers_l1 import assert_identical

from cal_pipeline.core.run.log_records import quiet_stpipe, record_logs, this_process
from cal_pipeline.core.run.threads import BlockThreads, SharedSetting, _libraries, limit_blas_threads, map_in_threads
from cal_pipeline.core.store.local_path import LocalStorePath

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def in_child(function):
    """Call a function in a forked child and return its result; fail if the child does not end."""
    context = multiprocessing.get_context("fork")
    mine, other = context.Pipe(duplex=False)
    child = context.Process(target=lambda: other.send(function()))
    child.start()
    try:
        assert mine.poll(60), "the child does not end"
        return mine.recv()
    finally:
        child.kill()
        child.join()


@pytest.fixture
def as_if_large(monkeypatch):
    monkeypatch.setattr("cal_pipeline.core.run.threads.FEW_SAMPLES", 1)
    monkeypatch.setattr("cal_pipeline.core.run.this_process.FEW_SAMPLES", 1)
    monkeypatch.setattr("cal_pipeline.core.store.local_path._LARGE", 1)


@forks
@pytest.mark.slow
def test_a_forked_child_makes_the_same_product(make_session, calibrate, as_if_large, tmp_path):
    session = make_session(channels=24, scans=2)
    one = calibrate(session, "parent.zarr", threads=2)
    assert in_child(lambda: calibrate(session, "child.zarr", threads=2).numbers) == one.numbers
    assert_identical(one.path, tmp_path / "child.zarr")


@forks
def test_threads_of_a_run_are_made_anew_in_a_child_that_is_forked_within_it():
    with BlockThreads(2) as threads:
        assert threads.map(abs, range(-3, 0)) == [3, 2, 1]
        assert in_child(lambda: threads.run(map_in_threads, abs, range(-3, 0))) == [3, 2, 1]


@forks
def test_files_on_their_way_to_the_disk_do_not_hold_up_a_child(tmp_path, monkeypatch):
    monkeypatch.setattr("cal_pipeline.core.store.local_path._LARGE", 1)
    root = LocalStorePath(tmp_path / "store")
    root.put("large", b"12")

    def conclude():
        root.make_durable()
        return root.get("large")

    assert in_child(conclude) == b"12"
    root.make_durable()


@forks
def test_a_setting_that_a_run_holds_is_taken_back_in_a_child():
    quiet = logging.getLogger("stpipe")
    before = quiet.level
    with quiet_stpipe:
        assert quiet.level == logging.WARNING
        assert in_child(lambda: quiet.level) == before
    assert quiet.level == before


@forks
def test_a_child_is_another_process():
    assert in_child(this_process) != this_process()


def test_each_run_has_its_own_threads():
    """A run that ends leaves those of another alone; nested calls do not wait for their own pool."""
    with BlockThreads(2) as first:
        with BlockThreads(3) as second:
            meet = threading.Barrier(3, timeout=30)
            assert second.run(map_in_threads, lambda _: meet.wait() >= 0, range(3)) == [True] * 3
        nested = first.run(map_in_threads, lambda k: map_in_threads(lambda j: k * j, range(3)), range(4))
    assert nested == [[0, k, 2 * k] for k in range(4)]


def test_calls_in_threads_see_the_context_of_their_caller():
    name = contextvars.ContextVar("name", default="none")
    name.set("caller")
    with BlockThreads(2) as threads:
        assert threads.run(map_in_threads, lambda _: name.get(), range(3)) == ["caller"] * 3


@pytest.mark.slow
def test_two_runs_with_other_numbers_of_threads_make_what_each_makes_alone(
    make_session, calibrate, as_if_large, tmp_path
):
    sessions = [make_session(f"{k}.zarr", channels=24, scans=3) for k in range(2)]
    alone = [calibrate(session, f"alone{k}.zarr", threads=1) for k, session in enumerate(sessions)]
    failed = []

    def repeat(k, threads):
        try:
            for number in threads:
                calibrate(sessions[k], f"both{k}.zarr", threads=number, overwrite=True)
        except Exception as error:
            failed.append(error)

    runs = [threading.Thread(target=repeat, args=item) for item in ((0, (2, 2)), (1, (3, 2, 3)))]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert not failed
    for k, product in enumerate(alone):
        assert_identical(product.path, tmp_path / f"both{k}.zarr")


class Setting:
    """A context that notes when it is entered and left."""

    def __init__(self, notes):
        self.notes = notes

    def __enter__(self):
        self.notes.append("made")

    def __exit__(self, *_):
        self.notes.append("taken back")


def test_a_shared_setting_is_taken_back_by_its_last_user():
    notes: list[str] = []
    setting = SharedSetting(lambda: Setting(notes))
    setting.__enter__()
    setting.__enter__()
    setting.__exit__(None, None, None)
    assert notes == ["made"]
    setting.__exit__(None, None, None)
    with setting:
        pass
    assert notes == ["made", "taken back"] * 2


def test_overlapping_limits_of_linear_algebra_are_lifted_in_the_end():
    assert np.ones(1) @ np.ones(1) == 1.0
    controller = _libraries().select(user_api="blas")

    def numbers():
        return [library["num_threads"] for library in controller.info()]

    before = numbers()
    first, second = limit_blas_threads(), limit_blas_threads()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(numbers()) <= {1}
    second.__exit__(None, None, None)
    assert numbers() == before


def test_a_limit_of_linear_algebra_is_lifted_by_another_thread_than_set_it():
    assert np.ones(1) @ np.ones(1) == 1.0
    controller = _libraries().select(user_api="blas")
    before = controller.info()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as last:
        first.submit(limit_blas_threads().__enter__).result()
        # The thread that has set the limit is still there.
        last.submit(limit_blas_threads().__exit__, None, None, None).result()
        assert controller.info() == before


def test_lines_of_two_threads_of_a_worker_are_told_apart():
    meet, heard = threading.Barrier(2, timeout=30), {}
    logger = logging.getLogger("cal_pipeline.somewhere")

    def work(name):
        with record_logs("another process") as records:
            meet.wait()
            logger.info("%s", name)
            meet.wait()
        heard[name] = [message for _, _, message in records]

    before = logging.getLogger("cal_pipeline").level
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {"a": ["a"], "b": ["b"]}
    assert logging.getLogger("cal_pipeline").level == before


def test_nothing_is_recorded_where_the_run_hears_it_anyway(caplog):
    with caplog.at_level("INFO"), record_logs(this_process()) as records:
        logging.getLogger("cal_pipeline.somewhere").info("once")
    assert records == []
    assert [record.getMessage() for record in caplog.records] == ["once"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_host_program_hears_each_line_once(make_session, calibrate, caplog, workers):
    session = make_session(channels=16, scans=2)
    with caplog.at_level("INFO"):
        calibrate(session, workers=workers, gain={"skip": False})
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("cal_pipeline.steps.heterodyne.gain")]
    assert len(lines) == len(set(lines)) > 0


def test_steps_outside_of_a_run_have_threads_for_the_call():
    found = []
    thread = threading.Thread(target=lambda: found.append(map_in_threads(abs, [-1, 2])))
    thread.start()
    thread.join()
    assert found == [[1, 2]]
