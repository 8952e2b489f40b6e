"""SHA-256 digests of files against the published test vectors of the algorithm."""

from __future__ import annotations

import os

import pytest

from cal_pipeline.heterodyne.ingest import digests as module
from cal_pipeline.heterodyne.ingest.digests import FileStamp, digest_file, digest_files, stamp_files
from cal_pipeline.heterodyne.ingest.errors import FitsFileError

# FIPS 180-2, appendix B.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
MILLION = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


@pytest.mark.parametrize("small", [1, 2**20])
def test_published_vectors(tmp_path, monkeypatch, small):
    monkeypatch.setattr(module, "_SMALL", small)
    paths = [str(tmp_path / "abc"), str(tmp_path / "million")]
    for path, content in zip(paths, (b"abc", b"a" * 10**6), strict=True):
        with open(path, "wb") as file:
            file.write(content)
    found, errors = digest_files([*paths, paths[0]])
    assert {path: (item.size, item.sha256) for path, item in found.items()} == {
        paths[0]: (3, ABC),
        paths[1]: (10**6, MILLION),
    }
    assert errors == {}
    assert stamp_files(paths) == {path: FileStamp(item.size, item.mtime_ns) for path, item in found.items()}


def test_a_bad_file_costs_no_other(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path / name) for name in ("absent", "abc", "pipe", ".")]
    found, errors = digest_files(paths)
    assert [item.sha256 for item in found.values()] == [ABC]
    assert list(errors) == [paths[0], *paths[2:]]
    assert [error.file for error in errors.values()] == list(errors)
    assert [str(error).split(": ")[1].split(",")[0] for error in errors.values()] == [
        "No such file or directory",
        "is no regular file",
        "is no regular file",
    ]


def test_a_file_that_is_written_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    sha256 = module.hashlib.sha256

    def hash_and_append(content):
        with path.open("ab") as file:
            file.write(b"d")
        return sha256(content)

    monkeypatch.setattr(module.hashlib, "sha256", hash_and_append)
    with pytest.raises(FitsFileError, match="abc has 4 bytes, expected the 3 of when it was listed"):
        digest_file(str(path))


def test_a_file_of_another_stamp(tmp_path):
    path = str(tmp_path / "abc")
    (tmp_path / "abc").write_bytes(b"abc")
    _, errors = digest_files([path], {path: FileStamp(2, 0)})
    assert "has 3 bytes, expected the 2 of when it was listed" in str(errors[path])
