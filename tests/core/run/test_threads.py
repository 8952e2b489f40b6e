"""Threads that share the work on a scan."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from cal_pipeline.core.run.threads import BlockThreads, StoppedThreads, available_cores, map_in_threads


def map_in(number, function, items):
    """Call `map_in_threads` in a run with a number of threads."""
    with BlockThreads(number) as threads:
        return threads.run(map_in_threads, function, items)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 5])
def test_results_keep_the_order(number):
    assert map_in(number, lambda x: (time.sleep(0.001 * (5 - x % 5)), x)[1], range(30)) == list(range(30))


def test_work_is_shared():
    meet = threading.Barrier(3, timeout=60)
    assert map_in(3, lambda _: meet.wait() >= 0, range(3)) == [True] * 3


def test_no_more_is_taken_than_can_be_worked_on():
    taken, done = [], []

    def items():
        for k in range(40):
            taken.append(k)
            yield k

    def work(k):
        time.sleep(0.001)
        done.append(k)
        assert len(taken) - len(done) <= 6

    map_in(2, work, items())
    assert sorted(done) == list(range(40))


@pytest.mark.parametrize("number", [1, 3])
def test_an_error_ends_it(number):
    started = []

    def work(k):
        started.append(k)
        if k == 3:
            raise ZeroDivisionError("three")

    with pytest.raises(ZeroDivisionError, match="three"):
        map_in(number, work, range(1000))
    assert len(started) < 100


def test_there_is_a_core():
    assert available_cores() >= 1


def test_a_thread_that_is_free_helps_another_call():
    """Two calls share the threads: neither waits for the end of the other."""
    first_runs, second_done = threading.Event(), threading.Event()

    def first(_):
        first_runs.set()
        assert second_done.wait(60)

    with BlockThreads(2) as threads:
        other = threading.Thread(target=threads.run, args=(map_in_threads, first, [0]))
        other.start()
        assert first_runs.wait(60)
        assert threads.run(map_in_threads, abs, range(20)) == list(range(20))
        second_done.set()
        other.join()


def test_threads_that_are_stopped_end_what_they_do():
    with BlockThreads(2) as threads:
        with pytest.raises(StoppedThreads):
            threads.run(map_in_threads, lambda k: threads.stop() if k == 5 else None, range(10**9))
        with pytest.raises(StoppedThreads):
            threads.run(map_in_threads, abs, [1])


@pytest.mark.parametrize("number", [1, 3])
def test_an_error_of_the_items_ends_it(number):
    def items():
        yield 1
        raise ZeroDivisionError("items")

    with pytest.raises(ZeroDivisionError, match="items"):
        map_in(number, abs, items())


@pytest.mark.parametrize("number", [1, 3])
def test_a_function_that_raises_stop_iteration_is_no_end(number):
    with pytest.raises(StopIteration):
        map_in(number, lambda _: next(iter(())), range(3))


LATE = """
import threading, time
from cal_pipeline.core.run.threads import BlockThreads, map_in_threads

def work(_):
    time.sleep(0.5)

def run(threads):
    try:
        threads.run(map_in_threads, work, range(3))
    except RuntimeError as error:
        print(error)

threads = BlockThreads(2)
for _ in range(2):
    threading.Thread(target=run, args=(threads,)).start()
time.sleep(0.2)  # the end of the main thread closes all pools
"""


def test_two_calls_end_when_the_main_thread_has_ended_before_them():
    subprocess.run([sys.executable, "-c", LATE], check=True, timeout=60)
