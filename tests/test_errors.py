"""The exceptions of the package have one base, and the package lists what it offers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import pydoc
import subprocess
import sys

import pytest

import cal_pipeline
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.errors import CalibrationError


def exception_classes():
    """Every exception that a module of the package defines; what ends a process is none of them."""
    found = set()
    for module in pkgutil.walk_packages(cal_pipeline.__path__, "cal_pipeline."):
        if module.name.endswith("__main__"):
            continue
        for _, item in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(item, Exception) and item.__module__.startswith("cal_pipeline"):
                found.add(item)
    return sorted(found, key=lambda item: item.__qualname__)


CLASSES = exception_classes()


def test_the_walk_finds_them():
    assert {"StoreError", "AtmTableError", "SimulationError", "RunFailedError"} <= {item.__name__ for item in CLASSES}


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_one_base(item):
    assert issubclass(item, CalibrationError)
    assert item.__doc__


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("AtmTableError", ValueError),
        ("AtmRangeError", ValueError),
        ("RecipeError", ValueError),
        ("SimulationError", ValueError),
        ("AtmModelError", RuntimeError),
    ],
)
def test_what_was_caught_before_is_caught_still(name, base):
    (item,) = (item for item in CLASSES if item.__name__ == name)
    assert issubclass(item, base)


def test_a_failed_run_carries_its_status():
    error = RunFailedError(2, "1 of 2 scans", None)
    assert error.exit_status == 2
    assert str(error) == "1 of 2 scans"


class TestPublicNames:
    def test_dir_lists_them(self):
        assert set(cal_pipeline.__all__) <= set(dir(cal_pipeline))

    def test_dir_lists_them_before_anything_is_imported(self):
        code = (
            "import sys, cal_pipeline; names = dir(cal_pipeline);"
            "assert {'CalibratedSession', 'CalibrationPipeline', '__version__'} <= set(names), names;"
            "assert 'cal_pipeline.pipelines.calibration' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_help_shows_them_and_how_to_begin(self):
        text = pydoc.plain(pydoc.render_doc(cal_pipeline))
        for words in ("CalibrationPipeline.call(", "open_scan", "class CalibratedSession", "class CalibrationPipeline"):
            assert words in text

    def test_other_names_are_refused(self):
        with pytest.raises(AttributeError, match="has no attribute 'CalibratonPipeline'"):
            cal_pipeline.CalibratonPipeline  # noqa: B018
