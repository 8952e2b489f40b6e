"""Tables that choose parameter files by the data."""

from __future__ import annotations

import pytest

from cal_pipeline.core.files import selection
from cal_pipeline.core.files.selection import (
    ChoiceTable,
    ParameterFileError,
    cfg_folder,
    choose_parameter_file,
    read_choices,
)

TABLE = ChoiceTable(("array", "trigger"), file="showers.toml")
ROW = """
[[choice]]
array = "LST*"
trigger = "stereo"
parameters = "fast"
purpose = "to test"
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "fast.asdf").touch()

    def to_file(text):
        (tmp_path / TABLE.file).write_text(text)
        return tmp_path / TABLE.file

    return to_file


def test_a_row_is_read_and_suits_its_data_alone(write):
    (choice,) = read_choices(TABLE, write(ROW))
    assert choice.automatic
    assert (choice.parameters, choice.purpose) == ("fast", "to test")
    assert choice.patterns == {"array": "LST*", "trigger": "stereo"}
    assert choice.suits({"array": "lst1", "trigger": "Stereo", "zenith": "low"})
    assert not choice.suits({"array": "LST1", "trigger": "mono"})
    assert not choice.suits({"array": "LST1", "trigger": None})
    assert not choice.suits({})


def test_a_row_without_patterns_is_for_use_by_name(write):
    (choice,) = read_choices(TABLE, write('[[choice]]\nparameters = "fast"\npurpose = "to test"'))
    assert not choice.automatic
    assert not choice.suits({"array": "LST1", "trigger": "stereo"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("trigger", "triger"), r"choice\[0\].triger is not known; did you mean 'trigger'"),
        (("trigger", "telescope"), r"choice\[0\].telescope is not known; expected array, parameters, purpose, trigger"),
        (('purpose = "to test"', ""), r"choice\[0\].purpose is missing"),
        (('trigger = "stereo"', ""), r"choice\[0\].trigger is missing, expected array, trigger or none"),
        (('"fast"', '"slow"'), "parameters is 'slow', .*there is no .*slow.asdf"),
        (('"fast"', "fast"), "cannot be read"),
        (('"stereo"', "3"), "trigger is 3, expected text"),
        (('"LST*"', '""'), "array is '', expected text"),
        (("[[choice]]", "[[choices]]"), "choices is not known; did you mean 'choice'"),
        (("[[choice]]", "[choice]"), r"choice is one table, expected \[\[choice\]\]"),
    ],
)
def test_what_is_wrong_is_named(write, change, words):
    with pytest.raises(ParameterFileError, match=rf"showers\.toml.*{words}"):
        read_choices(TABLE, write(ROW.replace(*change)))


def test_the_first_row_that_suits_counts(write, tmp_path, monkeypatch):
    (tmp_path / "slow.asdf").touch()
    write(ROW + ROW.replace('"LST*"', '"*"').replace('"fast"', '"slow"'))
    monkeypatch.setattr(selection, "cfg_folder", lambda: tmp_path)
    assert choose_parameter_file(TABLE, {"array": "LST1", "trigger": "stereo"}) == tmp_path / "fast.asdf"
    assert choose_parameter_file(TABLE, {"array": "MST", "trigger": "stereo"}) == tmp_path / "slow.asdf"
    assert choose_parameter_file(TABLE, {"array": "MST", "trigger": "mono"}) is None


def test_no_table(tmp_path):
    with pytest.raises(ParameterFileError, match=r"showers\.toml cannot be read"):
        read_choices(TABLE, tmp_path / TABLE.file)


def test_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "__file__", str(tmp_path / "cal_pipeline" / "core" / "files" / "selection.py"))
    with pytest.raises(ParameterFileError, match="neither"):
        cfg_folder()
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "selection.toml").touch()
    assert cfg_folder() == tmp_path / "cfg"
