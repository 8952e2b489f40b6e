"""Files on their way to the disk, and what is asked of places that are far away."""

from __future__ import annotations

import errno
import os
import queue
import threading

import pytest
from helpers_wait import wait_until
from zarr.storage import MemoryStore

from cal_pipeline.core.store import local_path as storage
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.remote_path import RemoteStorePath


@pytest.fixture
def root(tmp_path):
    return LocalStorePath(tmp_path / "store")


@pytest.fixture
def synced(monkeypatch):
    """Names of what was brought to the disk, in order."""
    names = []
    monkeypatch.setattr(storage, "sync_file", lambda path: names.append(str(path)))
    return names


def test_every_file_and_folder_is_brought_to_the_disk_once(root, synced):
    root.put("a/large", bytes(storage._LARGE))
    root.put("a/small", b"1")
    root.make_durable()
    assert sorted(synced) == [f"{root}{key}" for key in ("", "/a", "/a/large", "/a/small")]


def test_a_large_file_starts_on_its_way_at_once(root, monkeypatch):
    synced = queue.SimpleQueue()
    monkeypatch.setattr(storage, "sync_file", synced.put)
    root.put("large", bytes(storage._LARGE // 2), bytes(storage._LARGE // 2))
    assert synced.get(timeout=30) == f"{root}/large"


def test_a_disk_that_fails_later_is_told_of(root, monkeypatch):
    def fail(path):
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(storage, "sync_file", fail)
    root.put("large", bytes(storage._LARGE))
    monkeypatch.setattr(storage, "sync_file", lambda path: None)
    with pytest.raises(OSError, match="large"):
        root.make_durable()


def test_pieces_are_joined(root):
    root.put("key", b"ab", b"", b"c")
    assert root.get("key") == b"abc"


def test_a_disk_that_takes_a_part_is_asked_again(root, monkeypatch):
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
    root.put("key", b"abcdefgh", b"ij")
    monkeypatch.undo()
    assert root.get("key") == b"abcdefghij"


def test_a_store_far_away_is_asked_for_several_things_at_once():
    # None of the readers gets on before all have been called.
    far, together = RemoteStorePath(MemoryStore(), "far"), threading.Barrier(8)
    root = far.child("deeper")

    def read(item):
        together.wait(timeout=30)
        return -item

    assert root.each(read, range(8)) == [-item for item in range(8)]
    with pytest.raises(ZeroDivisionError):
        root.each(lambda item: 1 // item, [1, 0, 2])


def test_a_folder_is_read_one_thing_after_the_other(tmp_path):
    assert LocalStorePath(tmp_path).each(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3


def test_files_are_written_while_earlier_ones_are_brought_to_the_disk(root, monkeypatch):
    monkeypatch.setattr(storage, "_LARGE", 1)
    stop = threading.Event()
    errors = []

    def bring():
        while not stop.is_set():
            try:
                root.make_durable()
            except Exception as error:
                errors.append(error)

    root.put("0", b"1")
    other = threading.Thread(target=bring)
    other.start()
    try:
        for k in range(300):
            root.put(str(k), b"1")
    finally:
        stop.set()
        other.join()
    assert not errors
    assert len(list(root.walk())) == 300


def test_an_error_of_the_disk_is_no_absence(tmp_path, monkeypatch):
    place = LocalStorePath(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert not place.exists("nothing")
    assert not place.exists("loop/zarr.json")

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match="Input/output error"):
        place.exists("calibration")


@pytest.fixture
def failing_disk(monkeypatch):
    """Let the first fsync of each large file fail: the system tells of an error once."""
    fsync, told = os.fsync, set()

    def fail_once(descriptor):
        found = os.fstat(descriptor)
        if found.st_size >= 2**20 and found.st_ino not in told:
            told.add(found.st_ino)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    return told


def test_a_file_of_a_place_below_that_did_not_reach_the_disk_is_not_durable(tmp_path, failing_disk):
    root = LocalStorePath(tmp_path / "scan")
    band = root.child("band_0")
    band.put("spectra/c.0", bytes(2**20))
    wait_until(lambda: failing_disk)
    with pytest.raises(OSError, match="Input/output error"):
        root.make_durable()


def test_removing_a_place_below_leaves_the_errors_of_others(tmp_path, failing_disk):
    root = LocalStorePath(tmp_path / "scan")
    root.child("band_0").put("spectra/c.0", bytes(2**20))
    band = root.child("band_1")
    band.put("spectra/c.0", bytes(2**20))
    wait_until(lambda: len(failing_disk) == 2)
    band.remove()
    with pytest.raises(OSError, match="Input/output error"):
        root.make_durable()
    root.remove()
    root.put("c.0", b"1")
    root.make_durable()
