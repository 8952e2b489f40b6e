"""Objects that are going to be read are fetched before, some at a time, and each of them once."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
import pytest
from helpers_delaying import make_slow_place

from cal_pipeline.core.store import read_ahead
from cal_pipeline.core.store.arrays import create_writer, open_reader
from cal_pipeline.core.store.digest import digest_objects
from cal_pipeline.core.store.event_loop import drivers_loop
from cal_pipeline.core.store.interface import each_index
from cal_pipeline.errors import StoreError

KEYS = [f"c.{number}" for number in range(30)]
OBJECTS = {key: key.encode() * 10 for key in KEYS}


@pytest.fixture
def slow():
    return make_slow_place(OBJECTS, read_only=True)


def test_objects_are_read_together_once(slow):
    place, store = slow
    with place.read_ahead(KEYS, 1):
        assert [place.get(key) for key in KEYS] == list(OBJECTS.values())
    assert sorted(store.read_keys) == sorted(KEYS)
    assert store.most_in_flight > 1


@pytest.mark.parametrize("guessed", [1, 100])
def test_what_is_held_is_bounded(monkeypatch, guessed):
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 500)
    monkeypatch.setattr(read_ahead, "MOST_REQUESTS", 8)
    place, store = make_slow_place({key: bytes(100) for key in KEYS}, read_only=True)
    with place.read_ahead(KEYS, guessed):
        assert place.get(KEYS[0]) == bytes(100)
        # The one that was handed over may have been on its way still.
        assert store.most_in_flight <= 1 + (8 if guessed == 1 else 5)
        read = len(store.read_keys)
        assert [place.get(key) for key in KEYS[1:]] == [bytes(100)] * 29
        assert read <= 10
    assert sorted(store.read_keys) == sorted(KEYS)


def test_one_object_is_fetched_however_large_it_is(monkeypatch):
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 10)
    place, store = make_slow_place({key: bytes(100) for key in KEYS}, read_only=True)
    with place.read_ahead(KEYS, 100):
        assert [place.get(key) for key in KEYS] == [bytes(100)] * 30
    assert sorted(store.read_keys) == sorted(KEYS)


def test_others_are_read_when_they_are_asked_for(slow):
    place, store = slow
    with place.read_ahead(KEYS[:2], 1):
        assert place.get("c.20") == OBJECTS["c.20"]
        assert place.get("nothing") is None
        assert [place.get(KEYS[0]), place.get(KEYS[0])] == [OBJECTS[KEYS[0]]] * 2
    assert store.read_keys.count(KEYS[0]) == 2


def test_who_is_faster_than_what_is_fetched_reads_once_too(slow):
    place, store = slow
    with place.read_ahead(KEYS, read_ahead.MOST_BYTES):
        assert place.get(KEYS[20]) == OBJECTS[KEYS[20]]
        assert [place.get(key) for key in KEYS if key != KEYS[20]] == [OBJECTS[k] for k in KEYS if k != KEYS[20]]
    assert sorted(store.read_keys) == sorted(KEYS)


def test_an_object_that_cannot_be_read_fails_its_reader_alone(slow):
    place, store = slow
    store.broken.add(KEYS[3])
    with place.read_ahead(KEYS, 1):
        assert place.get(KEYS[2]) == OBJECTS[KEYS[2]]
        with pytest.raises(StoreError, match=r"memory/c\.3 cannot be read: access is forbidden"):
            place.get(KEYS[3])
        assert place.get(KEYS[4]) == OBJECTS[KEYS[4]]


def test_nothing_more_is_read_after_an_error(slow, monkeypatch):
    monkeypatch.setattr(read_ahead, "MOST_REQUESTS", 4)
    place, store = slow

    def stumble():
        with place.read_ahead(KEYS, 1):
            place.get(KEYS[0])
            raise KeyError

    with pytest.raises(KeyError):
        stumble()
    # What had been asked for may be begun until the loop has heard that nobody waits for it.
    drivers_loop.run(asyncio.sleep(0.0))
    read = len(store.read_keys)
    assert read <= 5
    assert place.get(KEYS[20]) == OBJECTS[KEYS[20]]
    assert len(store.read_keys) == read + 1


def test_the_digest_reads_no_object_that_was_read(slow):
    place, store = slow
    objects = {f"group/{key}": data for key, data in OBJECTS.items()}
    place, store = make_slow_place(objects, read_only=True)
    place.note_digests()
    with place.read_ahead(objects, 1):
        for key in list(objects)[:20]:
            place.get(key)
    read = len(store.read_keys)
    lines = sorted(f"{key} {hashlib.sha256(data).hexdigest()}\n" for key, data in objects.items())
    assert digest_objects(place, ["group"]) == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert sorted(store.read_keys[read:]) == sorted(list(objects)[20:])


def test_digests_are_not_kept_of_what_may_be_written():
    place, _ = make_slow_place(OBJECTS)
    assert place.get(KEYS[0]) == OBJECTS[KEYS[0]]
    place.put(KEYS[0], b"new")
    assert place.sha256(KEYS[0]) == hashlib.sha256(b"new").hexdigest()


def test_parts_of_an_array_are_read_ahead_chunk_by_chunk():
    place, store = make_slow_place()
    values = np.arange(24.0 * 4).reshape(24, 4)
    create_writer(place, "a", (24, 4), (2, 4), "float64", ("x", "y"), {}).write(values)
    reader = open_reader(place, "a")
    store.read_keys.clear()
    store.most_in_flight = 0
    parts = [(slice(start, start + 4), slice(None)) for start in range(4, 20, 4)]
    with reader.read_ahead(parts):
        found = np.concatenate([reader.read(part) for part in parts])
    np.testing.assert_array_equal(found, values[4:20])
    wanted = [reader.chunk_key(index) for index in each_index((24, 4), (2, 4)) if 2 <= index[0] < 10]
    assert sorted(store.read_keys) == sorted(wanted)
    assert store.most_in_flight > 1
