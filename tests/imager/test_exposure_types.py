"""Table of exposure types: what runs on an exposure, and how a table of the user changes it."""

from __future__ import annotations

import pytest

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.files import selection
from cal_pipeline.imager.errors import ExposureTableError, ExposureTypeError
from cal_pipeline.imager.exposure_types import read_exposure_table
from cal_pipeline.imager.parameter_files import CHOICES, choose_parameter_file

pytestmark = pytest.mark.imager


@pytest.fixture
def read(tmp_path):
    def from_rows(*rows):
        text = "\n".join("\n".join(["[[exposure]]", *row.split("; ")]) for row in rows)
        (tmp_path / "mine.toml").write_text(text)
        return read_exposure_table(tmp_path / "mine.toml")

    return from_rows


@pytest.mark.parametrize(
    ("exp_type", "tso", "role", "stages"),
    [
        ("SCI", False, "science", "detector1 image2 image3"),
        ("SCI", True, "science", "detector1 image2"),
        ("SKY", False, "background", "detector1 image2"),
        ("SKY", True, "background", "detector1 image2"),
        ("DARK", False, "", "detector1 preprocess_dark"),
        ("DARK", True, "", "detector1 preprocess_dark"),
        ("FLAT", False, "", "detector1 preprocess_flatfield"),
    ],
)
def test_shipped_rows(exp_type, tso, role, stages):
    rule = read_exposure_table().look_up(exp_type, tso)
    assert (rule.role, " ".join(rule.stages.values())) == (role, stages)
    assert rule.purpose


def test_an_unknown_type_is_named_with_the_known_ones(read):
    with pytest.raises(ExposureTypeError, match=r".LAMP. is not in the table; known are DARK, FLAT, SCI, SKY$"):
        read_exposure_table().look_up("LAMP")
    with pytest.raises(ExposureTypeError, match=r"known are .*; did you mean 'DARK'"):
        read_exposure_table().look_up("DARKS")
    with pytest.raises(ExposureTypeError, match="'ARC' is in the table with tso false only"):
        read('exp_type = "ARC"; tso = false').look_up("ARC", tso=True)


def test_exposures_are_looked_up_by_their_attributes():
    table = read_exposure_table()
    assert table.look_up_exposure({"exp_type": "SCI"}, "exposure 7").stage3 == "image3"
    assert table.look_up_exposure({"exp_type": "SCI", "tso": True}, "exposure 7").stage3 == ""
    with pytest.raises(ExposureTypeError, match="exposure 7: exp_type 'ARC'"):
        table.look_up_exposure({"exp_type": "ARC"}, "exposure 7")
    with pytest.raises(LayoutError, match="exposure 7: attribute exp_type is missing"):
        table.look_up_exposure({}, "exposure 7")
    with pytest.raises(LayoutError, match="exposure 7: attribute tso is 1, expected true or false"):
        table.look_up_exposure({"exp_type": "SCI", "tso": 1}, "exposure 7")


def test_rows_of_the_user_are_added(read):
    table = read('exp_type = "LAMP"; stage1 = "detector1"; purpose = "arc lamp"')
    rule = table.look_up("LAMP", True)
    assert (rule.tso, rule.role, rule.stages, rule.purpose) == (None, "", {"stage1": "detector1"}, "arc lamp")
    assert str(rule) == "row LAMP of mine.toml"
    assert table.look_up("SKY").table == "exposure_types.toml"


@pytest.mark.parametrize(
    ("row", "replaced"),
    [
        ('exp_type = "SCI"', {("SCI", False), ("SCI", True)}),
        ('exp_type = "SCI"; tso = true', {("SCI", True)}),
        ('exp_type = "SKY"', {("SKY", False), ("SKY", True)}),
        ('exp_type = "SKY"; tso = false', {("SKY", False)}),
    ],
)
def test_rows_of_the_user_replace_those_of_their_type_and_tso(read, row, replaced):
    table = read(row)
    keys = {(exp_type, tso) for exp_type in ("SCI", "SKY", "DARK", "FLAT") for tso in (False, True)}
    assert {key for key in keys if table.look_up(*key).table == "mine.toml"} == replaced
    kept = keys - replaced
    assert {key: table.look_up(*key).stages for key in kept} == {
        key: read_exposure_table().look_up(*key).stages for key in kept
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['role = "science"'], r"exposure\[0\].exp_type is missing"),
        (['exp_type = ""'], r"exposure\[0\].exp_type is '', expected text"),
        (['exp_type = "ARC"; stage4 = "detector1"'], r"exposure\[0\].stage4 is not known; did you mean 'stage"),
        (['exp_type = "ARC"; tso = "no"'], r"exposure\[0\].tso is 'no', expected true or false"),
        (['exp_type = "ARC"; role = "sky"'], r"role is 'sky', expected 'science' or 'background' or ''"),
        (['exp_type = "ARC"; stage2 = "image 2"'], r"stage2 is 'image 2', expected the alias of a pipeline"),
        (['exp_type = "ARC"; stage2 = "imag2"'], r"stage2 is 'imag2'; did you mean 'image2'"),
        (['exp_type = "ARC"', 'exp_type = "ARC"; tso = true'], r"exposure\[1\] is for exp_type 'ARC' with tso true"),
    ],
)
def test_wrong_tables_are_refused(read, rows, message):
    with pytest.raises(ExposureTableError, match=f"^exposure table .*mine.toml: .*{message}"):
        read(*rows)


def test_pipelines_of_other_packages_are_accepted(read):
    assert read('exp_type = "SCI"; stage2 = "liger_image2"').look_up("SCI").stage2 == "liger_image2"


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ExposureTableError, match=r"none\.toml cannot be read"):
        read_exposure_table(tmp_path / "none.toml")


def test_parameter_files_are_chosen_by_pipeline_and_exposure(tmp_path, monkeypatch):
    rows = [("image2", "*", "*", "SKY", "image2_sky"), ("image2", "IRIS", "*", "*", "image2")]
    text = [
        "[[choice]]\n"
        + "\n".join(f'{key} = "{value}"' for key, value in zip((*CHOICES.keys, "parameters"), row, strict=True))
        for row in rows
    ]
    (tmp_path / CHOICES.file).write_text("".join(f'{row}\npurpose = "to test"\n' for row in text))
    for *_, name in rows:
        (tmp_path / f"{name}.asdf").touch()
    monkeypatch.setattr(selection, "cfg_folder", lambda: tmp_path)
    assert choose_parameter_file("image2", "IRIS", "A", "SKY") == tmp_path / "image2_sky.asdf"
    assert choose_parameter_file("image2", "IRIS", "A", "SCI") == tmp_path / "image2.asdf"
    assert choose_parameter_file("image2", "Liger", "A", "SCI") is None
    assert choose_parameter_file("detector1", "IRIS", "A", "SCI") is None
