"""The fingerprint of an input changes with every object that is written again."""

from __future__ import annotations

import os
import shutil
import zipfile

import pytest

from cal_pipeline.core.store.fingerprint import compute_fingerprint, list_objects
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import DataReadError

FILES = {"a/zarr.json": b"{}", "a/x/c/0": b"\x00" * 5, "b/zarr.json": b"[]"}


def fingerprint(store, *groups):
    return compute_fingerprint(list_objects(store, groups or ["a", "b"]))


@pytest.fixture
def store(tmp_path):
    root = LocalStorePath(tmp_path / "s.zarr")
    for key, content in FILES.items():
        root.put(key, content)
    return root


def test_lists_sizes_and_stamps_without_reading(store, monkeypatch):
    monkeypatch.setattr(LocalStorePath, "get", None)
    monkeypatch.setattr(LocalStorePath, "sha256", None)
    times = {key: str(os.stat(store.path / key).st_mtime_ns) for key in FILES}
    assert list_objects(store, ["b", "a", "a/x"]) == {key: (len(FILES[key]), times[key]) for key in FILES}
    assert len(fingerprint(store)) == 64


@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize("what", ["size", "time", "name", "gone"])
def test_changes_with_each_object(store, key, what):
    before, path = fingerprint(store), store.path / key
    status = path.stat()
    if what == "size":
        path.write_bytes(FILES[key] + b"x")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif what == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif what == "name":
        path.rename(f"{path}_")
    else:
        path.unlink()
    assert fingerprint(store) != before


def test_survives_a_copy_that_keeps_times(store, tmp_path):
    copy = shutil.copytree(store.path, tmp_path / "copy.zarr")
    assert fingerprint(LocalStorePath(copy)) == fingerprint(store)
    assert fingerprint(store, "a") != fingerprint(store)


def test_of_remote_objects_and_of_a_zip_file(store, tmp_path):
    remote = open_store("memory://fingerprint.zarr", write=True)
    for key, content in FILES.items():
        remote.put(key, content)
    before = fingerprint(remote)
    assert before is not None
    assert fingerprint(remote) == before
    remote.put("a/x/c/0", FILES["a/x/c/0"])
    assert fingerprint(remote) != before
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for key in FILES:
            packed.write(store.path / key, key)
        packed.writestr("zarr.json", "{}")
    before = fingerprint(open_store(path))
    os.utime(path, ns=(0, 0))
    assert before != fingerprint(open_store(path)) is not None


def test_is_unknown_where_the_store_gives_no_stamps(store, monkeypatch):
    assert compute_fingerprint({"a": (3, "x"), "b": (3, "")}) is None
    (store.path / "a" / "link").symlink_to(store.path / "nowhere")
    assert fingerprint(store) is None


def test_what_cannot_be_listed_is_named(store, monkeypatch):
    def fail(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalStorePath, "walk_stamped", fail)
    with pytest.raises(DataReadError, match=r"s\.zarr/a cannot be listed: PermissionError"):
        list_objects(store, ["a"])
