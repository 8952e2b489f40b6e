"""The table that chooses parameter files."""

from __future__ import annotations

import pytest

import cal_pipeline
from cal_pipeline.core.files import selection as parameter_files
from cal_pipeline.core.files.selection import (
    ParameterFileError,
    cfg_folder,
    choose_parameters,
    read_choices,
)

ROW = """
[[choice]]
telescope = "T*"
frontend = "*"
mode = "otf"
parameters = "fast"
purpose = "to test"
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "fast.asdf").touch()

    def write(text):
        (tmp_path / "selection.toml").write_text(text)
        return tmp_path / "selection.toml"

    return write


def test_a_row(table):
    (choice,) = read_choices(table(ROW))
    assert choice.automatic
    assert choice.suits("t800", "", "OTF")
    assert not choice.suits("T800", "", "total_power")
    assert not choice.suits("", "", "otf")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("frontend", "fronted"), "'fronted' is not known; did you mean 'frontend'"),
        (('purpose = "to test"', ""), "expected parameters and purpose"),
        (('mode = "otf"', ""), "telescope, frontend and mode or none"),
        (('"fast"', '"slow"'), "there is no .*slow.asdf"),
        (('"fast"', "fast"), "cannot be read"),
        (('"otf"', "3"), "mode is 3, expected text"),
        (('"T*"', '""'), "telescope is '', expected text"),
        (("[[choice]]", "[[choices]]"), r"holds choices, expected rows that start with \[\[choice"),
        (("[[choice]]", "[choice]"), r"expected rows that start with \[\[choice"),
    ],
)
def test_what_is_wrong_is_named(table, change, words):
    with pytest.raises(ParameterFileError, match=words):
        read_choices(table(ROW.replace(*change)))


def test_the_first_row_that_suits_counts(table, tmp_path, monkeypatch):
    (tmp_path / "slow.asdf").touch()
    table(ROW.replace('"T*"', '"CC*"') + ROW.replace('"T*"', '"*"').replace('"fast"', '"slow"'))
    monkeypatch.setattr(parameter_files, "cfg_folder", lambda: tmp_path)
    assert choose_parameters("FYST", "CHAI_LFA", "otf") == tmp_path / "fast.asdf"
    assert choose_parameters("SOFIA", "LFA", "otf") == tmp_path / "slow.asdf"
    assert choose_parameters("SOFIA", "LFA", "total_power") is None


def test_no_table(tmp_path):
    with pytest.raises(ParameterFileError, match=r"selection\.toml cannot be read"):
        read_choices(tmp_path / "selection.toml")


def test_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cal_pipeline, "__file__", str(tmp_path / "cal_pipeline" / "__init__.py"))
    with pytest.raises(ParameterFileError, match="neither"):
        cfg_folder()
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "selection.toml").touch()
    assert cfg_folder() == tmp_path / "cfg"
