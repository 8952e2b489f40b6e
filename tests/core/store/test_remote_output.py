"""Products in object stores: listed last, unlisted first, one run at a time."""

from __future__ import annotations

import json
import uuid

import pytest
from helpers_delaying import make_slow_place
from test_output import RUN, fill, publish

from cal_pipeline.core.store.lock import Holder
from cal_pipeline.core.store.make_output import make_output, staging_path
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.output import discard_group, finish_group
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.errors import IncompleteWriteError, OutputExistsError, StoreError, StoreLockedError
from cal_pipeline.heterodyne.product import CalibratedSession

pytest.importorskip("fsspec")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def address():
    # Memory belongs to the process, and folders of tests may have the same name one after the other.
    return f"memory://{uuid.uuid4().hex}/l1.zarr"


@pytest.fixture
def events(monkeypatch):
    """Keys written (+) and removed (-), in order."""
    seen, put, delete, remove = [], RemoteStorePath.put, RemoteStorePath.delete, RemoteStorePath.remove

    def record(sign, function):
        def recorded(self, key="", *data):
            seen.append(f"{sign}{self.name.partition('l1.zarr')[2]}/{key}".rstrip("/"))
            return function(self, *([key] if key else []), *data)

        return recorded

    monkeypatch.setattr(RemoteStorePath, "put", record("+", put))
    monkeypatch.setattr(RemoteStorePath, "delete", record("-", delete))
    monkeypatch.setattr(RemoteStorePath, "remove", record("-", remove))
    return seen


def make(address, overwrite=False, source="session.zarr", **settings):
    return make_output(address, overwrite, source, CalibratedSession.kind, **settings)


def write(address, *numbers):
    with make(address) as output:
        output.begin(RUN)
        publish(output, *numbers)
        output.finish([f"scan_{number:06d}" for number in numbers])


def test_what_makes_a_scan_visible_is_written_last(address, events):
    with make(address) as output:
        output.begin(RUN)
        root = output.staging_of("scan_000001")
        root.remove()
        fill(root)
        finish_group(root)
        assert CalibratedSession(address).numbers == []
        events.clear()
        output.publish("scan_000001")
        assert events == ["+/scan_000001/zarr.json", f"-/.unpublished/{output.run}/scan_000001/zarr.json"]
        assert CalibratedSession(address).numbers == [1]
        assert output.published() == ["scan_000001"]
    assert not [key for key in output.root.walk() if key.startswith(".")]


def test_the_root_is_written_after_the_record_of_the_run(address, events):
    with make(address) as output:
        events.clear()
        output.begin(RUN)
        assert events == ["+/run.json", "+/failures.json", "+/zarr.json"]


def test_a_scan_that_is_replaced_is_unlisted_before_its_chunks_go(address, events):
    write(address, 1, 2)
    with make(address, overwrite=True) as output:
        output.begin(RUN)
        events.clear()
        output.staging_of("scan_000001").remove()
        assert events[:2] == ["-/scan_000001/zarr.json", "-/scan_000001"]
        assert CalibratedSession(address).numbers == [2]
        events.clear()
        output.drop("scan_000002")
        assert events == ["-/scan_000002/zarr.json", "-/scan_000002"]


def test_a_late_worker_of_a_run_that_was_taken_over_removes_nothing(address, monkeypatch):
    with make(address) as late:
        late.begin(RUN)
        place = staging_path(address, late.run, "scan_000001")
        with monkeypatch.context() as patch:
            patch.setattr(Holder, "is_gone", lambda holder: holder.run == late.run)
            with make(address, resume=True) as other:
                other.begin(RUN)
                publish(other, 1)
        with pytest.raises(StoreLockedError, match="no longer locked by this run"):
            place.remove()
    assert CalibratedSession(address).numbers == [1]


def test_scans_that_were_not_asked_for_go_at_the_end(address):
    write(address, 1, 2, 3)
    with make(address, overwrite=True) as output:
        output.begin(RUN)
        output.staging_of("scan_000002").remove()
        publish(output, 2, 5)
        assert CalibratedSession(address).numbers == [1, 2, 3, 5]
        output.keep_only(["scan_000002", "scan_000005"])
    assert CalibratedSession(address).numbers == [2, 5]
    assert {key.partition("/")[0] for key in output.root.walk()} == {
        "zarr.json",
        "run.json",
        "failures.json",
        "scan_000002",
        "scan_000005",
    }


def test_the_old_scans_stay_where_nothing_was_calibrated(address):
    write(address, 1)
    with make(address, overwrite=True) as output:
        output.begin(RUN)
        output.keep_only([])
        output.finish([])
        output.discard()
    assert CalibratedSession(address).numbers == [1]


def test_a_new_store_without_scans_is_discarded(address):
    with make(address) as output:
        output.begin(RUN)
        output.discard()
    assert list(output.root.walk()) == []


def test_a_scan_without_metadata_is_not_published(address):
    with make(address) as output:
        output.begin(RUN)
        with pytest.raises(IncompleteWriteError, match="has no metadata"):
            output.publish("scan_000001")


def test_a_second_run_is_refused(address):
    with make(address) as output:
        output.begin(RUN)
        publish(output, 1)
        for settings in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(StoreLockedError, match="is being written by another run: host"):
                make(address, **settings)
        publish(output, 2)
        assert staging_path(address, output.run, "scan_000003").name == output.staging_of("scan_000003").name
    assert CalibratedSession(address).numbers == [1, 2]
    with pytest.raises(OutputExistsError):
        make(address)
    assert not [key for key in output.root.walk() if key.startswith(".")]


def test_debris_of_a_run_that_was_killed_is_no_stranger(address):
    write(address, 1)
    root = open_store(address, write=True)
    root.put(".unpublished/gone/scan_000002/zarr.json", b"{}")
    # Chunks whose metadata were removed first.
    root.put("scan_000002/pwv/c", b"0")
    with make(address, resume=True) as output:
        output.begin(RUN)
        assert output.published() == ["scan_000001"]
        output.staging_of("scan_000002").remove()
        publish(output, 2)
        with pytest.raises(StoreError, match="no leftovers"):
            output.adopt(output.root, "scan_000003")
    assert CalibratedSession(address).numbers == [1, 2]


@pytest.mark.parametrize("name", ["notes.txt", "scan_000001/notes.txt", "thesis/c.0"])
def test_files_of_others_are_named_and_stay(address, name):
    write(address, 1)
    root = open_store(address, write=True)
    root.put(name, b"mine")
    with pytest.raises(StoreError, match=f"not part of an L1 store.*: {name}; move it"):
        make(address, overwrite=True)
    assert root.get(name) == b"mine"
    assert CalibratedSession(address).numbers == [1]
    assert not [key for key in root.walk() if key.startswith(".")]


def test_another_store_is_never_replaced(address):
    open_store(address, write=True).put("zarr.json", json.dumps({"zarr_format": 3, "node_type": "group"}).encode())
    with pytest.raises(StoreError, match="is no L1 store, so it is never replaced"):
        make(address, overwrite=True)


@pytest.mark.parametrize("name", ["", "/l1.zarr"])
def test_an_output_in_the_input(tmp_path, name):
    session = f"memory://{tmp_path}/session.zarr"
    with pytest.raises(StoreError, match="are the same store, or one contains the other"):
        make(f"{session}{name}", source=session)
    make(f"{session}.old", source=session).close()


def slow_output(monkeypatch):
    root, store = make_slow_place(delay=0.05)
    monkeypatch.setattr("cal_pipeline.core.store.remote_output.open_store", lambda *_, **__: root)
    return make("memory://slow/l1.zarr"), store


@pytest.mark.parametrize("changed", [False, True])
def test_metadata_that_is_on_its_way_is_waited_for(monkeypatch, changed):
    output, _ = slow_output(monkeypatch)
    with output:
        write_group(output.staging_of("scan_000001"), "", {"n_channels": 0})
        output.publish("scan_000001", changed)
        assert output.published() == ["scan_000001"]


def test_a_scan_whose_metadata_did_not_arrive_is_not_published(monkeypatch):
    output, store = slow_output(monkeypatch)
    with output:
        store.broken.add(f".unpublished/{output.run}/scan_000001/zarr.json")
        write_group(output.staging_of("scan_000001"), "", {"n_channels": 0})
        with pytest.raises(StoreError, match=r"scan_000001/zarr\.json cannot be written: access is forbidden"):
            output.publish("scan_000001")
        store.broken.clear()
        discard_group(output.staging_of("scan_000001"))
        assert output.published() == []
        write_group(output.staging_of("scan_000001"), "", {"n_channels": 0})
        output.publish("scan_000001")
        assert output.published() == ["scan_000001"]
