"""The parameter files of `cfg/`, each in two forms."""

from __future__ import annotations

from pathlib import Path

import pytest
from stpipe import config_parser

from cal_pipeline import CalibrationPipeline

FILES = sorted((Path(__file__).parents[1] / "cfg").glob("*.asdf"))


def test_there_are_files_for_the_modes():
    assert {"otf", "total_power", "gbt_wband"} <= {path.stem for path in FILES}


def _settings(path):
    """Parameters by step, in their own types."""
    step = CalibrationPipeline.from_config_file(str(path))
    return step.get_pars()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_readable_twin_says_the_same(path):
    twin = path.with_suffix(".cfg")
    assert _settings(path) == _settings(twin)
    assert twin.read_text().startswith("# "), "a readable file says what it is for"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_changes_something(path):
    config = config_parser.load_config_file(str(path))
    assert config["steps"], "a file that sets nothing is not needed"
