"""All that was set travels: to copies, pickles and workers; nothing that a run left behind does."""

from __future__ import annotations

import copy
import pickle

import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.steps import LoadsStep

CALLED = []


def double(result):
    """A hook."""
    CALLED.append(result)


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda step: pickle.loads(pickle.dumps(step))}

OF_A_RUN = {
    "output_file": "out/mine.zarr",
    "output_dir": "out",
    "input_dir": "in",
    "save_results": True,
    "suffix": "mine",
    "skip": True,
    "output_use_index": False,
    "search_output_file": False,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("how", ["attribute", "constructor"])
@pytest.mark.parametrize("cls", [CalibrationPipeline, LoadsStep])
def test_parameters_of_a_run(way, how, cls):
    step = cls(**(OF_A_RUN if how == "constructor" else {}))
    for name, value in OF_A_RUN.items() if how == "attribute" else ():
        setattr(step, name, value)
    other = COPIES[way](step)
    assert {name: getattr(other, name) for name in OF_A_RUN} == OF_A_RUN
    assert other.parameters.origins == step.parameters.origins == dict.fromkeys(OF_A_RUN, "argument")


@pytest.mark.parametrize("way", COPIES)
def test_what_else_was_set(way, tmp_path, atm_table):
    (tmp_path / "mine.cfg").write_text("[steps]\n[[loads]]\nimage_gain = 0.25\n")
    pipeline = CalibrationPipeline.from_config_file(str(tmp_path / "mine.cfg"))
    pipeline.name = "night"
    pipeline.scans = range(3, 7)
    pipeline.post_hooks = ["test_copies.double"]
    pipeline.loads.pre_hooks = ["test_copies.double"]
    pipeline.loads.save_results = True
    pipeline.atmosphere.override_atm = atm_table
    pipeline._uses_parameter_files = False
    other = COPIES[way](pipeline)
    assert other.get_pars() == pipeline.get_pars()
    assert (other.name, other.config_file, other._uses_parameter_files) == ("night", pipeline.config_file, False)
    assert [len(other._post_hooks), len(other.loads._pre_hooks), len(other.loads._post_hooks)] == [1, 1, 0]
    assert other.loads.parameters.origins == {
        "image_gain": f"file {pipeline.config_file}",
        "pre_hooks": "argument",
        "save_results": "argument",
    }
    assert other.loads.parent is other
    other.loads.image_gain, other.workers = 1.0, 2
    assert (pipeline.loads.image_gain, pipeline.workers) == (0.25, 1)
    assert pipeline.loads.parameters.origins["image_gain"].startswith("file")


def test_a_step_of_a_pipeline_is_copied_without_it():
    pipeline = CalibrationPipeline()
    pipeline.loads.image_gain = 0.5
    other = copy.copy(pipeline.loads)
    assert other.parent is pipeline
    other.image_gain = 1.0
    assert pipeline.loads.image_gain == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("way", COPIES)
def test_what_a_run_left_behind_stays_behind(way, make_session, tmp_path):
    session = make_session(channels=8, pixels=1)
    step = LoadsStep()
    scan = step.run(str(session))
    scan.save(str(tmp_path / "folder" / "loads.asdf"))
    again = LoadsStep(output_file=str(tmp_path / "again.asdf"))
    again.run(str(tmp_path / "folder" / "loads.asdf"))
    other = COPIES[way](again)
    assert (other.suffix, other.save_results, other.input_dir) == (None, False, "")
    assert other.output_file == str(tmp_path / "again.asdf")
    assert other.parameters.origins == {"output_file": "argument"}


def test_hooks_that_are_set_are_called(make_session):
    CALLED.clear()
    step = LoadsStep()
    step.post_hooks = ["test_copies.double"]
    copy.deepcopy(step).run(str(make_session(channels=8, pixels=1)))
    assert len(CALLED) == 1
    step.post_hooks = []
    assert step._post_hooks == []


@pytest.mark.slow
def test_workers_save_what_was_set_as_an_attribute(make_session, atm_table, tmp_path):
    session = make_session(channels=8, pixels=1, scans=3)
    pipeline = CalibrationPipeline(workers=2)
    pipeline.output_file = tmp_path / "out" / "l1.zarr"
    pipeline.atmosphere.override_atm = atm_table
    pipeline.loads.save_results = True
    pipeline.prepare.save_results, pipeline.prepare.suffix = True, "sorted"
    pipeline.run(str(session))
    names = sorted(path.name for path in (tmp_path / "out").glob("*.asdf"))
    assert names == [f"scan_{n:06d}_{tail}.asdf" for n in (1, 2, 3) for tail in ("loads", "sorted")]
