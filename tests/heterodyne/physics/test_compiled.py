"""Functions that are compiled, and the layout of what they are given."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import pkgutil
from pathlib import Path

import numba
import numpy as np
import pytest

import cal_pipeline.heterodyne.physics
from cal_pipeline.heterodyne.physics.compiled import by_channel, compiled, rows, rows_to_fill, unpack_rows


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("pixels", [(3, 2), (1, 2), (1, 1)])
def test_a_row_for_each_pixel_and_back(order, pixels):
    values = np.asarray(np.arange(4.0 * np.prod(pixels)).reshape(4, *pixels), order=order)
    table = rows(values)
    assert table.flags.c_contiguous
    for receiver, array in np.ndindex(*pixels):
        np.testing.assert_array_equal(table[receiver + pixels[0] * array], values[:, receiver, array])
    np.testing.assert_array_equal(unpack_rows(table, pixels), values)


def test_nothing_is_copied_that_is_in_order():
    values = np.zeros((4, 3, 2), order="F")
    rows(values)[1, 2] = 7.0
    assert values[2, 1, 0] == 7.0
    unpack_rows(rows(values), (3, 2))[3, 0, 1] = 8.0
    assert values[3, 0, 1] == 8.0


@pytest.mark.parametrize("found", [(4, 3, 1), (4, 1, 3), (3, 3, 2), (4, 2, 3)])
def test_another_shape_is_refused(found):
    # A compiled loop would read on behind the end of the array.
    for shared in (False, True):
        with pytest.raises(ValueError, match=r"has shape .*, expected \(4, 3, 2\)"):
            rows(np.zeros(found), (4, 3, 2), shared)
    with pytest.raises(ValueError, match="has shape"):
        by_channel(np.zeros(found), (4, 3, 2))


def test_what_pixels_share_is_said_to_be_shared():
    for found in [(4, 1, 2), (4, 1, 1)]:
        assert rows(np.zeros(found), (4, 3, 2), shared=True).shape == (found[2], 4)
        with pytest.raises(ValueError, match="has shape"):
            rows(np.zeros(found), (4, 3, 2))


def test_results_are_not_put_into_a_copy():
    with pytest.raises(ValueError, match="not in Fortran order"):
        rows_to_fill(np.zeros((4, 3, 2)), (4, 3, 2))


@pytest.mark.parametrize("dtype", [np.float64, np.bool_])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pixels_of_a_channel_lie_as_those_of_counts(dtype, order):
    values = np.asarray(np.arange(24).reshape(4, 3, 2) % 5, dtype, order)
    turned = by_channel(values, (4, 3, 2))
    assert turned.dtype == dtype
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, values.reshape(4, 6, order="C"))


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same():
    scope: dict = {}
    # A function without a file has no place for what was compiled of it.
    exec("def ratio(a, b): return a / b", scope)
    ratio = compiled(scope["ratio"])
    assert ratio(1.0, 4.0) == 0.25
    assert ratio(1.0, 0.0) == np.inf


SOURCE = """
from cal_pipeline.heterodyne.physics.compiled import compiled

@compiled
def scaled(value):
    return {factor} * value
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder of a user who set none for numba."""
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
    for info in pkgutil.iter_modules(cal_pipeline.heterodyne.physics.__path__, "cal_pipeline.heterodyne.physics."):
        module = importlib.import_module(info.name)
        imports = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
        foreign = {
            alias.asname or alias.name
            for node in imports
            if node.module and node.module.startswith("cal_pipeline")
            for alias in node.names
        }
        for value in vars(module).values():
            if isinstance(value, numba.core.dispatcher.Dispatcher):
                compiled_functions += 1
                assert not foreign & set(value.py_func.__code__.co_names), f"{info.name}: {value.__name__}"
    assert compiled_functions >= 15
