"""The lines of the quickstart and of the page about Python, taken from the pages and run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray
from matplotlib import pyplot as plt

import cal_pipeline
from cal_pipeline.heterodyne.product import CalibratedSession

ROOT = Path(cal_pipeline.__file__).parents[1]
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def read_blocks(page, after=""):
    """Blocks of Python on a page, from a label on."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = [re.sub("^   ", "", block, flags=re.MULTILINE) for block in BLOCK.findall(text[text.index(after) :])]
    assert blocks
    return blocks


@pytest.fixture
def folder(make_session, calibrate, tmp_path, monkeypatch):
    """A folder with the session of the quickstart, of fewer channels, and what became of it."""
    calibrate(make_session(preset="ccat_chai", mode="otf", scans=2, channels=64, pixels=4, seed=1))
    monkeypatch.chdir(tmp_path)
    with mpl.rc_context({"figure.max_open_warning": 0}):
        yield tmp_path
    plt.close("all")


def is_mean(result):
    assert isinstance(result, xarray.Dataset)
    assert result.spectrum.dims == result.sigma.dims == ("channel",)
    # Less than that of a dump, more than if its 8 x 4 dumps were independent: they share OFFs.
    scan = CalibratedSession("l1.zarr").open_scan(1)
    of_dump = float(scan.sigma.isel(receiver=3, array=0).median())
    assert of_dump / np.sqrt(32) * 1.1 < float(result.sigma.median()) < of_dump / 2


def is_plot(x, y, n_lines):
    def check(axes):
        assert axes.get_xlabel().startswith(x)
        assert axes.get_ylabel().startswith(y)
        assert len(axes.get_lines()) >= n_lines
        assert all(np.isfinite(line.get_ydata()).any() for line in axes.get_lines()[:n_lines])

    return check


FIVE = {
    "weighted average": is_mean,
    "spectrum over LSR velocity": is_plot("velocity (LSRK", "$T_A^*$ [K]", 1),
    "PWV series": is_plot("time", "PWV [mm]", 1),
    "system temperature": is_plot("sky frequency [GHz]", "$T_{sys}$ (DSB) [K]", 4),
    "two pixels": is_plot("sky frequency [GHz]", "$T_A^*$ [K]", 2),
}


@pytest.mark.slow
def test_five_results_one_line_each(folder):
    block = read_blocks("quickstart.rst", ".. _five-lines:")[0]
    statements = [ast.unparse(node) for node in ast.parse(block).body]
    before, five = statements[:-5], statements[-5:]
    assert all("\n" not in line for line in five)
    names = {}
    exec("\n".join(before), names)
    for line, check in zip(five, FIVE.values(), strict=True):
        check(eval(line.removeprefix("mean = "), names))


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(folder, capsys):
    pytest.importorskip("specutils")
    names = {}
    for block in read_blocks("notebook.rst"):
        exec(compile(block, "notebook.rst", "exec"), names)
    printed = capsys.readouterr().out
    assert "l1.zarr: 2 scans, 0 failed>" in printed
    assert "OTF-OFF" in printed
    assert names["pixel"].spectra.dims == ("channel", "dump", "subscan")
    assert names["deep"].attrs["channel_shifts"] == [0, 0]
    assert len(names["dry"]) == len(names["quiet"]) == len(names["short"]) == 2
    assert names["spectrum"].flux.shape == (64,)


def test_the_readme_uses_names_that_there_are():
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    scan = vars(__import__("cal_pipeline.heterodyne.calibrated_scan", fromlist=["x"]).CalibratedScan)
    for kind, names in (("session", vars(CalibratedSession).keys() | set(dir(CalibratedSession))), ("scan", set(scan))):
        used = set(re.findall(rf"\b{kind}\.(\w+)\(", block))
        assert used
        assert used <= names
