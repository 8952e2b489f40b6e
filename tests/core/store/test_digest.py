"""The digest of an input tells of every byte that changed, and of nothing else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import zarr

from cal_pipeline.core.store.digest import digest_objects
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import DataReadError

FILES = {"a/zarr.json": b"{}", "a/x/c/0": b"\x00" * 5, "b/zarr.json": b"[]", "b/y": b"", "zarr.json": b"root"}


@pytest.fixture
def store(tmp_path):
    root = LocalStorePath(tmp_path / "s.zarr")
    for key, content in FILES.items():
        root.put(key, content)
    return root


def test_is_that_of_sha256sum(store):
    # Keys are what `sha256sum` puts behind the digests.
    lines = subprocess.run(
        ["sha256sum", *(key for key in FILES if "/" in key)], cwd=store.path, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    pairs = sorted(" ".join(reversed(line.split("  "))) + "\n" for line in lines)
    assert digest_objects(store, ["a", "b"]) == hashlib.sha256("".join(pairs).encode()).hexdigest()


def test_only_named_groups_count_and_each_object_once(store):
    whole = digest_objects(store, ["a", "b"])
    assert digest_objects(store, ["b", "a", "a/x"]) == whole
    store.put("zarr.json", b"other")
    store.put("c/zarr.json", b"{}")
    assert digest_objects(store, ["a", "b"]) == whole
    assert digest_objects(store, ["a"]) != whole


@pytest.mark.parametrize("key", [key for key in FILES if "/" in key])
def test_one_flipped_bit_or_another_name_changes_it(store, key):
    before = digest_objects(store, ["a", "b"])
    content = FILES[key]
    store.put(key, bytes([content[0] ^ 1]) + content[1:] if content else b"\x01")
    assert digest_objects(store, ["a", "b"]) != before
    store.put(key, content)
    assert digest_objects(store, ["a", "b"]) == before
    (store.path / key).rename(store.path / f"{key}_")
    assert digest_objects(store, ["a", "b"]) != before


def test_files_larger_than_what_is_read_at_a_time(store):
    content = np.random.default_rng(1).bytes(3 * 2**20 + 7)
    store.put("a/large", content)
    assert store.sha256("a/large") == hashlib.sha256(content).hexdigest()
    assert store.sha256("a/absent") is None


def test_links_to_folders_are_followed(store, tmp_path):
    before = digest_objects(store, ["a"])
    shutil.move(store.path / "a" / "x", tmp_path / "elsewhere")
    (store.path / "a" / "x").symlink_to(tmp_path / "elsewhere")
    assert digest_objects(store, ["a"]) == before


def test_a_zip_file_and_memory_hold_the_same(store, tmp_path):
    wanted = digest_objects(store, ["a", "b"])
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for key in FILES:
            packed.write(store.path / key, f"s.zarr/{key}")
    assert digest_objects(open_store(tmp_path / "s.zip"), ["a", "b"]) == wanted
    remote = open_store("memory://digest.zarr", write=True)
    for key, content in FILES.items():
        remote.put(key, content)
    assert digest_objects(remote, ["a", "b"]) == wanted


def test_shards_count_as_they_are_stored(tmp_path):
    group = zarr.create_group(tmp_path / "s.zarr")
    array = group.create_array("x", shape=(8,), dtype="i4", chunks=(2,), shards=(4,))
    array[...] = np.arange(8)
    root = LocalStorePath(tmp_path / "s.zarr")
    before = digest_objects(root, ["x"])
    shard = tmp_path / "s.zarr" / "x" / "c" / "1"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert digest_objects(root, ["x"]) != before


def test_what_cannot_be_read_is_named(store, monkeypatch):
    monkeypatch.setattr(LocalStorePath, "sha256", lambda self, key: None)
    with pytest.raises(DataReadError, match=r"s\.zarr/a/.* was listed and is gone"):
        digest_objects(store, ["a"])

    def fail(self, key):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalStorePath, "sha256", fail)
    with pytest.raises(DataReadError, match=r"s\.zarr/a/.* cannot be read: PermissionError"):
        digest_objects(store, ["a"])


def test_noted_while_reading_is_of_what_was_read(store):
    wanted = digest_objects(store, ["a", "b"])
    store.note_digests()
    assert store.get("a/x/c/0") == FILES["a/x/c/0"]
    # What was used counts, not what is there by now.
    store.path.joinpath("a/x/c/0").write_bytes(b"another")
    assert digest_objects(store, ["a", "b"]) == wanted
    assert digest_objects(LocalStorePath(store.path), ["a", "b"]) != wanted
    store.get("a/x/c/0")
    assert digest_objects(store, ["a", "b"]) == digest_objects(LocalStorePath(store.path), ["a", "b"])


def test_notes_that_another_thread_clears_are_no_error(store):
    class Cleared(dict):
        """Notes that are cleared after it was asked whether there is one."""

        def __contains__(self, key):
            return True

    store._noted = Cleared()
    assert store.sha256("a/zarr.json") == hashlib.sha256(FILES["a/zarr.json"]).hexdigest()
