"""The examples of the simulator, in docstrings and on its page, run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import cal_pipeline.heterodyne.simulate

PAGE = Path(__file__).parents[3] / "docs" / "simulator.rst"
PACKAGE = cal_pipeline.heterodyne.simulate
MODULES = [f"{PACKAGE.__name__}.{module.name}" for module in pkgutil.iter_modules(PACKAGE.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.slow
def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text(), flags=re.M)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(re.sub("^   ", "", block, flags=re.M), names)
    assert (tmp_path / "deceptive.zarr").is_dir()
