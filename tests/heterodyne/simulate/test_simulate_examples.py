"""The examples on the page of the simulator run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "simulator.rst"


@pytest.mark.slow
def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text(), flags=re.M)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(re.sub("^   ", "", block, flags=re.M), names)
    assert (tmp_path / "deceptive.zarr").is_dir()
