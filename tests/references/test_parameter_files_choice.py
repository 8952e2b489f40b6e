"""The table that chooses parameter files."""

from __future__ import annotations

import pytest

import cal_pipeline
from cal_pipeline.references.parameter_files import ParameterFileError, cfg_folder, read_choices

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
    ],
)
def test_what_is_wrong_is_named(table, change, words):
    with pytest.raises(ParameterFileError, match=words):
        read_choices(table(ROW.replace(*change)))


def test_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cal_pipeline, "__file__", str(tmp_path / "cal_pipeline" / "__init__.py"))
    with pytest.raises(ParameterFileError, match="neither"):
        cfg_folder()
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "selection.toml").touch()
    assert cfg_folder() == tmp_path / "cfg"
