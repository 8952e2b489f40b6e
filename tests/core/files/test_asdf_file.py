"""ASDF files are written completely or not at all."""

from __future__ import annotations

import asdf
import numpy as np
import pytest

from cal_pipeline.core.files.asdf_file import open_asdf, write_asdf


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "folder" / "one.asdf"
    write_asdf(path, {"data": np.arange(3), "meta": {"name": "one"}})
    with open_asdf(path) as file:
        assert (file.tree["data"].tolist(), file.tree["meta"]) == ([0, 1, 2], {"name": "one"})
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "one.asdf"
    write_asdf(path, {"meta": 1})
    before = path.read_bytes()

    def fail(self, file, **settings):
        file.write(b"#ASDF")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asdf.AsdfFile, "write_to", fail)
    with pytest.raises(OSError, match="No space"):
        write_asdf(path, {"meta": 2})
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])
