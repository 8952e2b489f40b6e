"""Observations that overlap in one process."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections import namedtuple
from types import MappingProxyType, SimpleNamespace

import pytest
import stpipe.step

from cal_pipeline.core.run import this_process
from cal_pipeline.core.run.job import JobResult
from cal_pipeline.core.run.this_process import ThisProcess
from cal_pipeline.core.run.threads import FEW_SAMPLES, StoppedThreads, map_in_threads
from cal_pipeline.core.run.workers import AHEAD

Place = namedtuple("Place", "name")
OUTPUT = SimpleNamespace(kind=SimpleNamespace(group_name=str), staging_of=Place)
WAIT = 60.0


class Observation:
    """An observation after its steps."""

    def __init__(self, number, n_samples=FEW_SAMPLES):
        self.number, self.n_samples = number, n_samples


@pytest.fixture
def calibrate(monkeypatch):
    """Calibrate observations with given functions in the place of steps and writing; yields the numbers done."""

    def start(numbers, begin=Observation, end=lambda _: None, threads=2, state=MappingProxyType({})):
        def write(processed, place, recipe):
            assert place == Place(str(processed.number))
            end(processed)
            return JobResult(processed.number, **state)

        monkeypatch.setattr(this_process, "begin_observation", lambda dataset, number, recipe, earlier: begin(number))
        monkeypatch.setattr(this_process, "write_processed", write)
        for result in ThisProcess(threads).calibrate(None, numbers, None, OUTPUT):
            yield result.number

    return start


def test_the_end_of_one_overlaps_the_samples_of_the_next(calibrate):
    next_is_at_its_samples, first_is_handed_over = threading.Event(), threading.Event()

    def end(processed):
        if processed.number == 1:
            assert next_is_at_its_samples.wait(WAIT)
        if processed.number == 2:
            map_in_threads(lambda _: next_is_at_its_samples.set(), range(4))
            assert first_is_handed_over.wait(WAIT)

    results = calibrate([1, 2, 3, 4, 5], end=end)
    assert next(results) == 1
    first_is_handed_over.set()
    assert sorted(results) == [2, 3, 4, 5]


def test_one_that_is_done_is_handed_over_while_an_earlier_one_goes_on(calibrate):
    last_is_handed_over = threading.Event()

    def end(processed):
        if processed.number == 0:
            assert last_is_handed_over.wait(WAIT)

    results = calibrate(range(20), end=end)
    # None starts more than `AHEAD` places ahead of the slow one.
    assert [next(results) for _ in range(AHEAD)] == list(range(1, AHEAD + 1))
    last_is_handed_over.set()
    assert next(results) == 0
    assert sorted(results) == list(range(AHEAD + 1, 20))


def test_small_ones_overtake_a_slow_large_one(calibrate):
    handed_over = threading.Event()

    def begin(number):
        return Observation(number, FEW_SAMPLES if number == 0 else 1)

    def end(processed):
        if processed.number == 0:
            assert handed_over.wait(WAIT)

    results = calibrate(range(12), begin, end)
    assert [next(results) for _ in range(3)] == [1, 2, 3]
    handed_over.set()
    assert sorted(results) == [0, *range(4, 12)]


def test_two_are_in_work_at_a_time_and_steps_of_one(calibrate):
    lock, in_steps, in_work, most = threading.Lock(), [], [], []

    def begin(number):
        with lock:
            in_steps.append(number)
            in_work.append(number)
            assert in_steps == [number]
            most.append(len(in_work))
        with lock:
            in_steps.remove(number)
        return Observation(number)

    def end(processed):
        with lock:
            in_work.remove(processed.number)

    assert sorted(calibrate(range(20), begin, end)) == list(range(20))
    assert max(most) <= 2


@pytest.mark.parametrize(("threads", "n_samples"), [(1, FEW_SAMPLES), (2, FEW_SAMPLES - 1)])
def test_one_thread_and_small_observations_do_not_overlap(calibrate, threads, n_samples):
    names = set()

    def begin(number):
        names.add(threading_name())
        return Observation(number, n_samples)

    assert list(calibrate([1, 2, 3], begin, lambda _: names.add(threading_name()), threads)) == [1, 2, 3]
    assert names == {threading_name()}


def threading_name():
    return threading.current_thread().name


def test_small_and_large_ones_may_alternate(calibrate):
    sizes = [1, FEW_SAMPLES, 1, 1, FEW_SAMPLES, FEW_SAMPLES, 1]
    assert sorted(calibrate(range(7), lambda number: Observation(number, sizes[number]))) == list(range(7))


def test_an_interruption_keeps_what_was_finished_and_stops_the_others_at_once(calibrate):
    stopped, begun = [], threading.Barrier(2, timeout=WAIT)

    def end(processed):
        if processed.number == 1:
            return
        begun.wait()
        try:
            if processed.number == 3:
                raise KeyboardInterrupt
            while True:  # samples without end
                map_in_threads(lambda _: None, range(10))
        except StoppedThreads:
            stopped.append(processed.number)
            raise

    done = []

    def fail_second(processed):
        # The second is interrupted; the third, in work beside it, never ends of itself.
        end(SimpleNamespace(number={1: 1, 2: 3, 3: 2}[processed.number]))

    with pytest.raises(KeyboardInterrupt):
        done.extend(iter_into(done, calibrate([1, 2, 3, 4], end=fail_second)))
    assert done == [1]
    assert stopped == [2]


def iter_into(done, results):
    """Note each result as it comes."""
    for number in results:
        done.append(number)
    return ()


@pytest.mark.parametrize("state", [{}, {"kept_in": "l1.zarr"}, {"failed_in": "write"}])
def test_an_end_discards_what_was_finished_and_not_handed_over(calibrate, monkeypatch, state):
    removed, finished = [], threading.Semaphore(0)
    monkeypatch.setattr(this_process, "discard_group", removed.append)
    results = calibrate([1, 2, 3, 4], end=lambda processed: finished.release(), state=state)
    assert next(results) in (1, 2)
    assert finished.acquire(timeout=WAIT)
    assert finished.acquire(timeout=WAIT)
    results.close()
    # One of an earlier run that is kept is in its place; one that failed has left nothing.
    assert len(removed) == (0 if state else 1)


def test_an_interruption_keeps_what_was_finished_after_the_one_that_it_stops(calibrate, monkeypatch):
    removed, handed_over = [], threading.Event()
    monkeypatch.setattr(this_process, "discard_group", removed.append)

    def end(processed):
        if processed.number == 2:
            assert handed_over.wait(WAIT)
            raise KeyboardInterrupt

    results = calibrate([1, 2, 3], end=end)
    assert [next(results), next(results)] == [1, 3]
    handed_over.set()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert removed == []


def test_an_observation_is_let_go_when_it_is_done(calibrate):
    alive = []

    def begin(number):
        observation = Observation(number)
        alive.append(weakref.ref(observation))
        return observation

    for number in calibrate(range(8), begin):
        gc.collect()
        assert sum(one() is not None for one in alive) <= 2, number
        assert alive[0]() is None


def test_garbage_is_collected_once_an_observation_and_threads_take_short_turns_meanwhile(calibrate):
    interval, seen = sys.getswitchinterval(), set()
    collected, alive = [], []

    class Cycle:
        """Garbage that only a collection finds."""

        def __init__(self):
            self.itself = self

    def begin(number):
        seen.add((stpipe.step.gc is gc, sys.getswitchinterval() < interval))
        stpipe.step.gc.collect()
        alive.append(weakref.ref(Cycle()))
        return Observation(number, 1)

    gc.disable()
    try:
        for number in calibrate(range(5), begin):
            collected.append([one() is None for one in alive])
            assert len(alive) == number + 1
    finally:
        gc.enable()
        gc.unfreeze()
    assert seen == {(False, True)}
    assert collected == [[True] * number + [False] for number in range(5)]
    assert stpipe.step.gc is gc
    assert sys.getswitchinterval() == pytest.approx(interval)
