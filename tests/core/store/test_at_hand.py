"""Small objects of a group are read at once, each is handed over once, and large ones are left alone."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from helpers_wait import wait_until

from cal_pipeline.core.store import at_hand
from cal_pipeline.core.store.at_hand import SMALL
from cal_pipeline.core.store.drivers import CheckedStore
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import StoreError

OBJECTS = {
    "zarr.json": b"{}",
    "scan_000001/zarr.json": b"{1}",
    "scan_000001/source/mjd/zarr.json": b"[]",
    "scan_000001/source/mjd/c/0": b"123",
    "scan_000001/source/data/c/0": bytes(SMALL + 1),
    "scan_000002/zarr.json": b"{2}",
}


@pytest.fixture
def asked(monkeypatch):
    """Return what the store is asked, as it is asked: operation and key."""
    found, ask = [], CheckedStore._ask

    def note(self, key, operation, *rest):
        found.append((operation, key))
        return ask(self, key, operation, *rest)

    monkeypatch.setattr(CheckedStore, "_ask", note)
    return found


@pytest.fixture
def url(request):
    """Return the URL of a store with objects."""
    where = f"memory://{request.node.name}"
    place = open_store(where, write=True)
    for key, content in OBJECTS.items():
        place.put(key, content)
    return where


def test_small_objects_are_read_before_they_are_asked_for(url, asked):
    place = open_store(url)
    with place.at_hand("scan_000001"):
        wait_until(lambda: len(asked) == 4)
        assert sorted(asked) == [
            ("listed", "scan_000001/"),
            ("read", "scan_000001/source/mjd/c/0"),
            ("read", "scan_000001/source/mjd/zarr.json"),
            ("read", "scan_000001/zarr.json"),
        ]
        asked.clear()
        assert place.get("scan_000001/source/mjd/c/0") == b"123"
        assert place.get("scan_000001/zarr.json") == b"{1}"
        assert place.exists("scan_000001/source/data/c/0")
        assert sorted(place.members("scan_000001")) == ["source", "zarr.json"]
        assert sorted(place.members("scan_000001/source")) == ["data", "mjd"]
        assert asked == []
        # Each is handed over once; what is not small, not listed, or of another group, is asked for.
        assert place.get("scan_000001/zarr.json") == b"{1}"
        assert len(place.get("scan_000001/source/data/c/0")) == SMALL + 1
        assert place.get("scan_000002/zarr.json") == b"{2}"
        assert place.get("scan_000001/none") is None
        assert not place.exists("scan_000001/none")
        assert place.members("scan_000002") == ["zarr.json"]
        assert place.members("scan_000001/none") == []
        assert len(asked) >= 7
    asked.clear()
    assert place.get("scan_000001/source/mjd/zarr.json") == b"[]"
    assert place.exists("scan_000001/source/data/c/0")
    assert len(asked) == 2


def test_what_was_read_before_is_not_read_again_for_nothing(url, asked):
    place = open_store(url)
    place.note_digests()
    place.get("scan_000001/source/mjd/c/0")
    asked.clear()
    with place.at_hand("scan_000001"):
        wait_until(lambda: len(place._noted) == 3)
        assert ("read", "scan_000001/source/mjd/c/0") not in asked
        assert place.get("scan_000001/source/mjd/c/0") == b"123"
    asked.clear()
    # The digest of what was at hand is known, whether or not it was asked for.
    assert place.sha256("scan_000001/source/mjd/zarr.json") is not None
    assert asked == []


def test_a_store_that_others_write_to_is_asked_each_time(url, asked):
    place = open_store(url, write=True)
    with place.at_hand("scan_000001"):
        assert asked == []
        place.put("scan_000001/zarr.json", b"new")
        assert place.get("scan_000001/zarr.json") == b"new"


def test_a_group_that_is_not_there_has_nothing_at_hand(url, asked):
    place = open_store(url)
    with place.at_hand("scan_000003"):
        assert place.members("scan_000003") == []
        assert place.get("scan_000003/zarr.json") is None


@pytest.mark.parametrize("operation", ["listed", "read"])
def test_errors_are_those_of_what_is_asked_for(url, monkeypatch, operation):
    async def fail(*_, **__):
        raise StoreError("the store is away")

    place = open_store(url)
    with monkeypatch.context() as patched:
        patched.setattr(CheckedStore, "list_stamped" if operation == "listed" else "get", fail)
        with place.at_hand("scan_000001"):
            if operation == "read":
                with pytest.raises(StoreError, match="the store is away"):
                    place.get("scan_000001/zarr.json")
                assert place.exists("scan_000001/zarr.json")
    assert place.get("scan_000001/zarr.json") == b"{1}"


def test_few_objects_are_at_hand(url, asked, monkeypatch):
    monkeypatch.setattr(at_hand, "_MOST_OBJECTS", 2)
    with open_store(url).at_hand("scan_000001"):
        wait_until(lambda: len(asked) >= 3)
        assert [operation for operation, _ in asked] == ["listed", "read", "read"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_asks_for_itself(url):
    place = open_store(url)
    with place.at_hand("scan_000001"):
        child = multiprocessing.get_context("fork").Process(target=_read_and_exit, args=(place,))
        child.start()
        child.join(60.0)
        assert child.exitcode == 3


def _read_and_exit(place):
    os._exit(len(place.get("scan_000001/zarr.json")))


def test_who_reads_ahead_reads_what_is_at_hand_once(asked, request):
    where, keys = f"memory://{request.node.name}", [f"scan_000001/source/data/c/{number}" for number in range(120)]
    place = open_store(where, write=True)
    for number, key in enumerate(keys):
        place.put(key, bytes(10 if number % 2 else SMALL + 1))
    asked.clear()
    place = open_store(where)
    with place.at_hand("scan_000001"), place.read_ahead(keys, SMALL):
        assert [len(place.get(key)) for key in keys] == [10 if number % 2 else SMALL + 1 for number in range(120)]
    assert sorted(key for operation, key in asked if operation == "read") == sorted(keys)


def test_metadata_are_at_hand_before_chunks_as_small(url, asked, monkeypatch):
    monkeypatch.setattr(at_hand, "_MOST_OBJECTS", 2)
    with open_store(url).at_hand("scan_000001"):
        wait_until(lambda: len(asked) == 3)
    assert all(key.endswith("zarr.json") for operation, key in asked if operation == "read")


@pytest.mark.parametrize(
    ("protocol", "flat"), [("s3", True), (("gs", "gcs"), True), ("memory", True), ("sftp", False), ("https", False)]
)
def test_groups_are_at_hand_where_one_request_lists_them(protocol, flat):
    place = open_store("memory://protocols")
    place.store.fs.sync_fs.protocol = protocol
    assert place.store.lists_whole_groups is flat
