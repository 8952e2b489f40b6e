"""Objects are written in the background, and none is taken for written before it is."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from helpers_delaying import make_slow_place

from cal_pipeline.core.run.threads import BlockThreads, map_in_threads
from cal_pipeline.core.store.background import BackgroundPuts, BackgroundStorePath
from cal_pipeline.errors import StoreError


@pytest.fixture
def slow():
    return make_slow_place()


def test_objects_are_on_their_way_together_and_all_there_at_the_end(slow):
    inner, store = slow
    place = BackgroundStorePath(inner, BackgroundPuts(most_requests=5))
    for number in range(40):
        place.put(f"c.{number}", bytes([number]), b"!")
    place.make_durable()
    assert 1 < store.most_in_flight <= 5
    assert sorted(inner.walk()) == sorted(f"c.{number}" for number in range(40))
    assert inner.get("c.7") == b"\x07!"


def test_no_more_bytes_are_on_their_way_than_there_is_room_for(slow):
    inner, store = slow
    place = BackgroundStorePath(inner, BackgroundPuts(most_bytes=250))
    for number in range(20):
        place.put(f"c.{number}", bytes(100))
    place.put("large", bytes(1000))
    place.make_durable()
    assert store.most_bytes == 1000
    assert store.most_in_flight == 2
    assert inner.get("large") == bytes(1000)


@pytest.mark.parametrize(
    "access",
    [
        lambda place: place.get("c.0") == b"1",
        lambda place: place.get_part("c.0", 0, 1) == b"1",
        lambda place: place.exists("c.0"),
        lambda place: place.members() == ["c.0"],
        lambda place: list(place.walk()) == ["c.0"],
        lambda place: place.delete("c.0") is None and list(place.walk()) == [],
    ],
)
def test_what_was_written_is_seen_at_once(slow, access):
    place = BackgroundStorePath(slow[0], BackgroundPuts())
    place.put("c.0", b"1")
    assert access(place)


def test_metadata_are_known_without_asking_for_them(slow):
    inner, store = slow
    place = BackgroundStorePath(inner.child("scan"), BackgroundPuts())
    inner.put("scan/other/zarr.json", b"of another way")
    place.put("zarr.json", b"{", b"}")
    place.child("band").put("flags/zarr.json", b"[]")
    assert place.get_written("zarr.json") == b"{}"
    assert place.get_written("band/flags/zarr.json") == place.child("band").get_written("flags/zarr.json") == b"[]"
    assert store.read_keys == []
    assert sorted(inner.walk()) == ["scan/band/flags/zarr.json", "scan/other/zarr.json", "scan/zarr.json"]
    assert place.get_written("other/zarr.json") == b"of another way"
    assert place.get_written("none/zarr.json") is None
    place.delete("zarr.json")
    assert place.get_written("zarr.json") is None
    place.remove()
    assert place.get_written("band/flags/zarr.json") is None


def test_metadata_that_did_not_arrive_are_not_known(slow):
    inner, store = slow
    store.broken.add("zarr.json")
    place = BackgroundStorePath(inner, BackgroundPuts())
    place.put("zarr.json", b"{}")
    with pytest.raises(StoreError, match=r"zarr\.json cannot be written"):
        place.get_written("zarr.json")


def test_places_below_are_written_together(slow):
    place = BackgroundStorePath(slow[0], BackgroundPuts())
    place.child("inner").put("a", b"2")
    place.make_durable()
    assert slow[0].get("inner/a") == b"2"


def test_an_object_that_cannot_be_written_fails_the_place_and_no_other(slow):
    inner, store = slow
    store.broken.add("one/c.3")
    one, other = (BackgroundStorePath(inner.child(name), BackgroundPuts()) for name in ("one", "other"))
    for number in range(4):
        one.put(f"c.{number}", b"1")
        other.put(f"c.{number}", b"1")
    with pytest.raises(StoreError, match=r"one/c\.3 cannot be written: access is forbidden"):
        one.make_durable()
    with pytest.raises(StoreError, match=r"one/c\.3 cannot be written"):
        one.put("c.4", b"1")
    other.make_durable()
    assert sorted(other.walk()) == [f"c.{number}" for number in range(4)]


def test_nothing_comes_after_what_was_removed(slow):
    inner, store = slow
    store.broken.add("c.1")
    place = BackgroundStorePath(inner, BackgroundPuts())
    place.put("c.0", b"1")
    place.put("c.1", b"2")
    place.remove()
    assert store.in_flight == 0
    assert list(inner.walk()) == []
    store.broken.clear()
    place.put("c.1", b"3")
    place.make_durable()
    assert inner.get("c.1") == b"3"


def test_who_waits_for_room_is_told_of_an_error():
    puts, stuck = BackgroundPuts(most_requests=1), Future()
    puts.add(1, lambda: stuck)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(puts.add, 1, Future)
        stuck.set_exception(StoreError("full"))
        with pytest.raises(StoreError, match="full"):
            waiting.result()
    puts.give_up()
    puts.wait()


def test_an_object_whose_request_is_cancelled_is_not_taken_for_written():
    puts, stuck = BackgroundPuts(), Future()
    puts.add(1, lambda: stuck)
    stuck.cancel()
    with pytest.raises(StoreError, match="cannot be written: its driver cancelled the request"):
        puts.wait()


def test_a_forked_child_does_not_wait_for_its_parent():
    puts = BackgroundPuts()
    puts.add(1, Future)
    puts.after_fork()
    ended = threading.Thread(target=puts.wait)
    ended.start()
    ended.join(10.0)
    assert not ended.is_alive()


def test_threads_that_wait_for_room_let_another_call_go_on(slow):
    inner, store = slow
    place = BackgroundStorePath(inner, BackgroundPuts(most_requests=1))
    store.delay, other_is_done, waiting = 0.05, threading.Event(), threading.Barrier(3)

    def write(number):
        if number < 2:
            waiting.wait(60.0)
        while not other_is_done.is_set():
            place.put(f"c.{number}", b"1")

    def work(number):
        if number == 9:
            other_is_done.set()

    with BlockThreads(2) as threads, ThreadPoolExecutor(2) as pool:
        writing = pool.submit(threads.run, map_in_threads, write, range(2))
        waiting.wait(60.0)
        # Both threads have an item without end, which waits for room again and again.
        pool.submit(threads.run, map_in_threads, work, range(10)).result(60.0)
        writing.result()
    place.make_durable()
    assert sorted(inner.walk()) == ["c.0", "c.1"]
