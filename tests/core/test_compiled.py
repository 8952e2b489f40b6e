"""Functions that are compiled, and where what was compiled of them is kept."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import cal_pipeline
from cal_pipeline.core.compiled import compiled


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same():
    scope: dict = {}
    # A function without a file has no place for what was compiled of it.
    exec("def ratio(a, b): return a / b", scope)
    ratio = compiled(scope["ratio"])
    assert ratio(1.0, 4.0) == 0.25
    assert ratio(1.0, 0.0) == np.inf


SOURCE = """
from cal_pipeline.core.compiled import compiled

@compiled
def scaled(value):
    return {factor} * value
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder of a user who set none for numba; no bytecode, which sources of one size and second share."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load_scaled(folder: Path, factor: float | None = None):
    """Import `scaled` anew, as another process would; write its source first if a factor is given."""
    path = folder / "loops.py"
    if factor is not None:
        folder.mkdir(exist_ok=True)
        path.write_text(SOURCE.format(factor=factor))
    spec = importlib.util.spec_from_file_location("loops", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.scaled


def count_cached(folder: Path) -> int:
    return len(list(folder.rglob("*.nbc")))


class TestCache:
    def test_lies_in_the_cache_folder_of_the_user_and_not_beside_the_source(self, tmp_path, cache):
        assert load_scaled(tmp_path / "package", 3.0)(2.0) == 6.0
        assert count_cached(cache / "cal_pipeline") == 1
        assert count_cached(tmp_path / "package") == 0
        assert numba.config.CACHE_DIR == ""  # other packages keep their own place

    def test_serves_the_next_run(self, tmp_path, cache):
        load_scaled(tmp_path / "package", 3.0)(2.0)
        again = load_scaled(tmp_path / "package")
        assert again(2.0) == 6.0
        assert sum(again.stats.cache_hits.values()) == 1

    def test_lies_where_the_user_says(self, tmp_path, cache, monkeypatch):
        chosen = str(tmp_path / "chosen")
        monkeypatch.setattr(numba.config, "CACHE_DIR", chosen)
        load_scaled(tmp_path / "package", 3.0)(2.0)
        assert count_cached(Path(chosen)) == 1
        assert not cache.exists()
        assert chosen == numba.config.CACHE_DIR

    @pytest.mark.parametrize("chosen", [True, False])
    def test_is_left_out_where_its_folder_cannot_be_written(self, tmp_path, cache, monkeypatch, chosen):
        (tmp_path / "file").touch()
        if chosen:
            monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert load_scaled(tmp_path / "package", 3.0)(2.0) == 6.0
        assert count_cached(tmp_path) == 0

    def test_of_another_checkout_is_not_taken(self, tmp_path, cache):
        for name, factor in [("one", 3.0), ("two", 5.0)]:
            load_scaled(tmp_path / name, factor)(2.0)
            # The same size and time stamp: only the folder differs.
            os.utime(tmp_path / name / "loops.py", (1e9, 1e9))
        assert load_scaled(tmp_path / "one")(2.0) == 6.0
        assert load_scaled(tmp_path / "two")(2.0) == 10.0

    def test_of_another_version_in_the_same_folder_is_not_taken(self, tmp_path, cache):
        load_scaled(tmp_path / "package", 3.0)(2.0)
        assert load_scaled(tmp_path / "package", 5.0)(2.0) == 10.0


def test_compiled_functions_use_nothing_of_other_files():
    # numba does not notice that another file changed: it would run what it compiled before.
    compiled_functions = 0
    for path in Path(cal_pipeline.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "@compiled" not in text:
            continue
        tree = ast.parse(text)
        foreign = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cal_pipeline")
            for alias in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "compiled" for d in node.decorator_list):
                compiled_functions += 1
                used = {name.id for name in ast.walk(ast.Module(node.body, [])) if isinstance(name, ast.Name)}
                assert not foreign & used, f"{path}: {node.name}"
    assert compiled_functions >= 15
