"""Threads that share the work on a scan."""

from __future__ import annotations

import threading
import time

import pytest

from cal_pipeline.core.run.threads import BlockThreads, available_cores, map_in_threads


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
