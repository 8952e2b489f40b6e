"""Benchmarks run on every commit, on tiny sessions; what they measure there means nothing."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import math
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.heterodyne.references.shipped import shipped_atm_table
from cal_pipeline.simulate import TotalPower, preset, simulate

ROOT = Path(__file__).parents[1]
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(ROOT / "benchmarks")]) if not module.ispkg)


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Import modules of the benchmarks, whose sessions are tiny and in a folder of the test."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("CAL_PIPELINE_BENCHMARK_FOLDER", str(tmp_path))
    monkeypatch.setenv("CAL_PIPELINE_BENCHMARK_TINY", "1")
    before = logging.getLogger("stpipe").level
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    # Benchmarks have a process of their own, which they silence.
    logging.disable(logging.NOTSET)
    logging.getLogger("stpipe").setLevel(before)
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def list_classes(module):
    """List the classes of benchmarks of a module."""
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == module.__name__]
    return [cls for cls in classes if any(name.startswith("track_") for name in vars(cls))]


def list_figures(cls):
    """List the figures of a class: names of their methods, and their parameters."""
    for name in (name for name in vars(cls) if name.startswith("track_")):
        given = getattr(getattr(cls, name), "params", getattr(cls, "params", ()))
        axes = given if all(isinstance(axis, list | tuple) for axis in given) else [given]
        # Figures of measurements that are done are taken one by one, others measure each time.
        number = None if hasattr(cls, "setup_cache") else 2
        yield from ((name, values) for values in itertools.islice(itertools.product(*axes), number))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_runs(load, name):
    module = load(name)
    for cls in list_classes(module):
        benchmark = cls()
        cache = [benchmark.setup_cache()] if hasattr(benchmark, "setup_cache") else []
        for figure, values in list_figures(cls):
            measure = getattr(benchmark, figure)
            assert measure.unit, figure
            value = measure(*cache, *values)
            assert isinstance(value, int | float), (figure, values)
            if (cls.__name__, values[:1]) != ("Doors", ("fused",)):
                assert math.isfinite(value), (figure, values)


@pytest.mark.slow
def test_runs_of_two_commits_in_turn(load):
    run = load("rounds").Run()
    for name in run.params:
        run.setup(name)
        run.time_run(name)
        assert (run.folder / "l1.zarr" / "scan_000001").is_dir()
        run.teardown(name)
        assert not run.folder.exists()


def test_the_careful_script_calibrates_as_the_pipeline_does(load, tmp_path):
    session, product = tmp_path / "l0.zarr", tmp_path / "l1.zarr"
    sequence = TotalPower(pattern=("OFF", "ON"), cycles=3, dumps=6)
    simulate(preset("sofia_hfa", channels=256, pixels=2, sequence=sequence), session)
    scan = CalibrationPipeline.call(str(session), output_file=str(product), configure_log=False).open_scan(1)
    written = load("tools.careful").calibrate_scan(
        session / "scan_000001", tmp_path / "script.zarr", shipped_atm_table("sofia"), 0.97
    )
    assert len(written) > 15
    for name, values in written.items():
        np.testing.assert_allclose(scan[name], values, rtol=2e-6, atol=1e-7, err_msg=name)
