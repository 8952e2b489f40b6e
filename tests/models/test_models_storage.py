"""Files on their way to the disk, and what is asked of places that are far away."""

from __future__ import annotations

import queue
import threading

import pytest
from zarr.storage import MemoryStore

from cal_pipeline.models import storage
from cal_pipeline.models.storage import LocalPlace, RemotePlace


@pytest.fixture
def place(tmp_path):
    return LocalPlace(tmp_path / "store")


@pytest.fixture
def synced(monkeypatch):
    """Names of what was brought to the disk, in order."""
    names = []
    monkeypatch.setattr(storage, "sync_file", lambda path: names.append(str(path)))
    return names


def test_every_file_and_folder_is_brought_to_the_disk_once(place, synced):
    place.put("a/large", bytes(storage._LARGE))
    place.put("a/small", b"1")
    place.make_durable()
    assert sorted(synced) == [f"{place}{key}" for key in ("", "/a", "/a/large", "/a/small")]


def test_a_large_file_starts_on_its_way_at_once(place, monkeypatch):
    synced = queue.SimpleQueue()
    monkeypatch.setattr(storage, "sync_file", synced.put)
    place.put("large", bytes(storage._LARGE // 2), bytes(storage._LARGE // 2))
    assert synced.get(timeout=30) == f"{place}/large"


def test_a_disk_that_fails_later_is_told_of(place, monkeypatch):
    def fail(path):
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(storage, "sync_file", fail)
    place.put("large", bytes(storage._LARGE))
    monkeypatch.setattr(storage, "sync_file", lambda path: None)
    with pytest.raises(OSError, match="large"):
        place.make_durable()


def test_pieces_are_joined(place):
    place.put("key", b"ab", b"", b"c")
    assert place.get("key") == b"abc"


def test_a_disk_that_takes_a_part_is_asked_again(place, monkeypatch):
    class Reluctant:
        def __init__(self, path, *_, **__):
            self.file = open_file(path, "wb")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            return self.file.write(data[:3])

    open_file = open
    monkeypatch.setattr(storage, "open", Reluctant, raising=False)
    place.put("key", b"abcdefgh", b"ij")
    monkeypatch.undo()
    assert place.get("key") == b"abcdefghij"


def test_a_store_far_away_is_asked_for_several_things_at_once():
    # None of the readers gets on before all have been called.
    far, together = RemotePlace(MemoryStore(), "far"), threading.Barrier(8)
    place = far.below("deeper")

    def read(item):
        together.wait(timeout=30)
        return -item

    assert place.each(read, range(8)) == [-item for item in range(8)]
    with pytest.raises(ZeroDivisionError):
        place.each(lambda item: 1 // item, [1, 0, 2])


def test_a_folder_is_read_one_thing_after_the_other(tmp_path):
    assert LocalPlace(tmp_path).each(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3
