"""What a command loads before and while it calibrates: nothing heavy that the run does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNUSED = (
    "asyncio",
    "astropy",
    "crds.bestrefs",
    "crds.core.rmap",
    "dask",
    "distributed",
    "fsspec",
    "h5py",
    "matplotlib",
    "pandas",
    "plotly",
    "requests",
    "rich",
    "scipy.linalg._basic",
    "scipy.optimize",
    "xarray",
    "zarr",
)
"""Modules that a local session is calibrated without; astropy writes the table of figures at the end."""

COMPILER = ("llvmlite", "numba", "scipy")
"""Modules that the first call of a compiled function brings."""


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(script: str, names: tuple[str, ...]) -> list[str]:
    out = run(f"{script}\nimport sys\nprint('loaded', *[name for name in {names!r} if name in sys.modules])")
    return out.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "script",
    [
        "from cal_pipeline import CalibrationPipeline",
        "import cal_pipeline.cli.calibrate",
        "import cal_pipeline.cli.calibrate as c; c.COMMANDS['info']",
        "import cal_pipeline.core.run.workers, cal_pipeline.pipelines.calibration",
    ],
)
def test_a_start_loads_neither_compiler_nor_what_other_commands_need(script):
    assert loaded_by(script, UNUSED + COMPILER) == []


def test_strun_adds_nothing_to_what_stpipe_loads():
    # stpipe itself loads the client of the server of reference files, and that astropy.
    script = "import stpipe._cli.strun, sys; before = set(sys.modules)\n{}\nprint(*set(sys.modules) - before)"
    ours = run(script.format("from cal_pipeline import CalibrationPipeline\nimport cal_pipeline.cli.strun")).split()
    assert [name for name in (*UNUSED, *COMPILER) if name in ours] == []


@pytest.mark.slow
def test_a_run_loads_the_compiler_and_astropy_for_its_table_and_nothing_else(make_session, tmp_path):
    path = make_session()
    script = f"""
from cal_pipeline.cli.calibrate import main
assert main([{str(path)!r}, "-o", {str(tmp_path / "l1.zarr")!r}]) == 0
"""
    assert loaded_by(script, UNUSED) == ["astropy"]


class TestDeferredPackages:
    def test_work_once_they_are_used(self):
        script = """
import cal_pipeline, stpipe
import sys
print("crds.core.rmap" in sys.modules)
import crds
from crds.core import heavy_client
print(callable(crds.getreferences), callable(heavy_client.getreferences), "crds.core.rmap" in sys.modules)
"""
        assert run(script).split() == ["False", "True", "True", "True"]

    @pytest.mark.slow
    def test_of_numba_work_once_they_are_used(self):
        script = """
import cal_pipeline
import numba, numpy as np, sys

@numba.njit
def product(a, b):
    return a @ b

print(product(np.eye(2), np.ones((2, 2))).sum())
import scipy.linalg
print(scipy.linalg.inv(np.eye(2)).sum())
from scipy.linalg import blas, lapack
print(blas.ddot(np.ones(2), np.ones(2)))
"""
        assert run(script).split() == ["4.0", "2.0", "2.0"]

    def test_are_loaded_at_once_by_whoever_else_imports_them(self):
        script = """
import cal_pipeline
import scipy.linalg, sys, types
print(type(sys.modules["scipy.linalg"]) is types.ModuleType, "scipy.linalg._basic" in sys.modules)
"""
        assert run(script).split() == ["True", "True"]

    def test_that_cannot_be_loaded_say_so_each_time(self, tmp_path):
        (tmp_path / "broken.py").write_text("import nothing_of_this_name")
        (tmp_path / "importer.py").write_text("import broken")
        script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from cal_pipeline import _deferred
_deferred.DEFERRED["broken"] = "importer"
import importer
for attempt in range(2):
    try:
        importer.broken.name
    except ModuleNotFoundError as error:
        print(error.name)
"""
        assert run(script).split() == ["nothing_of_this_name"] * 2
