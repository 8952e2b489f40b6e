"""The parameter files of `cfg/`, each in two forms, and the tables that choose among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from stpipe import Step, config_parser

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.files.selection import read_choices
from cal_pipeline.heterodyne.parameter_files import CHOICES, choose_parameter_file
from cal_pipeline.imager import parameter_files as imager

CFG = Path(__file__).parents[1] / "cfg"
FILES = sorted(CFG.glob("*.asdf"))


def _settings(path):
    """Parameters by step, in their own types."""
    step = Step.from_config_file(str(path))
    return step.get_pars()


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_readable_twin_says_the_same(path):
    twin = path.with_suffix(".cfg")
    assert _settings(path) == _settings(twin)
    assert twin.read_text().startswith("# "), "a readable file says what it is for"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_changes_something(path):
    config = config_parser.load_config_file(str(path))
    assert config["steps"], "a file that sets nothing is not needed"


NAMED_BY_USERS = ["cherenkov_category_b", "cherenkov_category_c"]
"""Files of the Cherenkov family, whose data do not choose."""


def test_every_other_file_stands_in_a_table():
    chosen = [choice.parameters for table in (CHOICES, imager.CHOICES) for choice in read_choices(table)]
    assert sorted([*chosen, *NAMED_BY_USERS]) == [path.stem for path in FILES]


def test_what_data_choose_tells_whether_scans_are_compared(tmp_path):
    (tmp_path / "night.cfg").write_text("[steps]\n[[skydiff]]\nskip = False\n")
    pipeline = CalibrationPipeline()
    assert not pipeline.may_carry()
    pipeline._chosen = (None, tmp_path / "night.cfg")
    assert pipeline.may_carry()


@pytest.mark.cherenkov
@pytest.mark.parametrize(
    ("name", "handler", "skipped"),
    [("cherenkov_category_b", "GDASDataHandler", True), ("cherenkov_category_c", "ECMWFDataHandler", False)],
)
def test_categories_of_meteorological_data(name, handler, skipped):
    step = Step.from_config_file(str(CFG / f"{name}.asdf"))
    assert step.meteo_data_handler == handler
    assert [step.density_profile.skip, step.select_model.skip, step.atmospheric_model.skip] == [False, False, skipped]


@pytest.mark.parametrize("choice", read_choices(imager.CHOICES), ids=lambda choice: choice.parameters)
def test_each_pipeline_of_the_imager_has_a_file_with_the_default_parameters(choice):
    path = imager.choose_parameter_file(choice.patterns["pipeline"], "IRIS", "A", "SCI")
    assert path == CFG / f"{choice.parameters}.asdf"
    step = Step.from_config_file(str(path))
    assert step.class_alias == choice.patterns["pipeline"]
    assert {k: v for k, v in step.get_pars().items() if k != "steps"} == {
        k: v for k, v in type(step)().get_pars().items() if k != "steps"
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["total_power", "otf", "otf_chopped"])
@pytest.mark.parametrize(
    ("telescope", "frontend", "file"),
    [("CCAT", "CHAI_LFA", "ccat_chai"), ("fyst", "chai_hfa", "ccat_chai"), ("SOFIA", "LFA", "sofia_upgreat")],
)
def test_the_file_for_a_mode_asks_for_that_mode(telescope, frontend, file, mode):
    path = choose_parameter_file(telescope, frontend, mode)
    assert path.stem == f"{file}_{mode}"
    assert _settings(path)["steps"]["prepare"]["mode"] == mode


@pytest.mark.parametrize(
    "choice", [c for c in read_choices(CHOICES) if c.automatic], ids=lambda choice: choice.parameters
)
def test_no_row_hides_another(choice):
    data = choice.patterns | {"frontend": choice.patterns["frontend"].replace("*", "_X")}
    path = choose_parameter_file(**data)
    assert path == CFG / f"{choice.parameters}.asdf"


def test_what_is_named_only_is_never_chosen():
    named = {choice.parameters for choice in read_choices(CHOICES) if not choice.automatic}
    assert named == {"kalibrate_compat", "quicklook"}
    assert choose_parameter_file("APEX", "LASMA", "otf") is None
    assert choose_parameter_file(None, None, None) is None


STEPS = CalibrationPipeline.step_defs
OLDER_CLASSES = [
    ("cal_pipeline.pipeline.CalibrationPipeline", "CalibrationPipeline"),
    *((f"cal_pipeline.steps.{name}.{name.title()}Step", f"{name.title()}Step") for name in STEPS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "name"), OLDER_CLASSES)
def test_class_paths_of_older_files_still_load(path, name, tmp_path):
    file = tmp_path / "older.cfg"
    file.write_text(f'name = "{name}"\nclass = "{path}"\noutput_dir = "elsewhere"\n')
    step = Step.from_config_file(str(file))
    assert type(step).__name__ == name
    assert step.output_dir == "elsewhere"


@pytest.mark.slow
def test_modules_of_older_class_paths_are_imported_in_any_order():
    code = "import cal_pipeline.steps.loads as old, cal_pipeline.steps as new; assert old.LoadsStep is new.LoadsStep"
    subprocess.run([sys.executable, "-c", code], check=True)
