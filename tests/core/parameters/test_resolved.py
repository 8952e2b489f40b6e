"""Parameters are resolved into a plain result; what the user made does not change in a run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.resolved import ResolvedParameters
from cal_pipeline.simulate import Otf, Scan, TotalPower
from cal_pipeline.steps import LoadsStep


def test_an_override_has_its_origin_and_leaves_the_rest():
    base = ResolvedParameters({"a": 1, "b": 2})
    given = base.override({"b": 2}, "argument")
    chosen = given.adopt({"a": 3}, Path("x/night.asdf"))
    assert (dict(chosen.values), dict(chosen.origins)) == ({"a": 3, "b": 2}, {"b": "argument", "a": "cfg/night.asdf"})
    assert (chosen.file, chosen.origin("a"), chosen.origin("b")) == (Path("x/night.asdf"), "default", "argument")
    assert (dict(base.values), dict(base.origins)) == ({"a": 1, "b": 2}, {})


def test_names_of_the_command_line():
    steps = {"loads": ResolvedParameters({"c": 3}, {"c": "argument"})}
    resolved = ResolvedParameters({"a": 1}, {"a": "file x"}, steps=steps)
    assert resolved.flat_origins() == {"a": "file x", "steps.loads.c": "argument"}
    assert resolved.flat_values() == {"a": 1, "steps.loads.c": 3}


def test_lists_of_one_step_are_not_those_of_another():
    LoadsStep().pre_hooks.append("x")
    assert LoadsStep().pre_hooks == []


@pytest.mark.slow
def test_what_the_user_made_does_not_change(make_session, atm_table, tmp_path):
    scans = (Scan(sequence=Otf(rows=2, dumps=2)), Scan(sequence=TotalPower(dumps=2)))
    session = make_session(channels=8, pixels=1, scans=scans)
    pipeline = CalibrationPipeline(output_file=str(tmp_path / "l1.zarr"))
    pipeline.atmosphere.override_atm = atm_table
    before = pipeline.get_pars(), pipeline.parameters
    product = pipeline.run(str(session))
    assert (pipeline.get_pars(), pipeline.parameters) == before
    modes = [product.attributes(n)["provenance"]["parameters"]["steps"]["prepare"]["mode"] for n in (1, 2)]
    assert modes == ["otf", "total_power"]


@pytest.mark.slow
def test_steps_are_shared_by_observations_with_the_same_file(make_session):
    scans = (Scan(sequence=Otf(rows=2, dumps=2)),) * 2
    pipeline = CalibrationPipeline()
    dataset = pipeline.open_input(str(make_session(channels=8, pixels=1, scans=scans)))
    run = pipeline.with_parameters(pipeline.parameters)
    first, second = (run.prepare_for(run.open_observation(dataset, number)) for number in run.select(dataset))
    assert first is second
    assert list(first.stages) == list(CalibrationPipeline.step_defs)


@pytest.mark.slow
def test_a_warning_of_a_run_comes_once(make_session, atm_table, calibrate, caplog):
    session = make_session(channels=8, pixels=1, scans=3)
    calibrate(session, loads={"forward_efficiency": None}, gain={"level": 2})
    lines = [record.getMessage() for record in caplog.records if "level 2 sets right" in record.getMessage()]
    assert len(lines) == 1


@pytest.mark.parametrize("name", ["parameter", "_input_dirs"])
def test_an_attribute_that_is_none(name):
    with pytest.raises(AttributeError, match=rf"'LoadsStep' object has no attribute '{name}'"):
        getattr(LoadsStep(), name)


@pytest.mark.parametrize("step", [CalibrationPipeline(), LoadsStep(), CalibrationPipeline().loads])
def test_parameters_are_completed_like_attributes(step):
    assert {*step.parameters.values} <= {*dir(step)}
    assert "process" in dir(step)


@pytest.mark.parametrize(
    "give",
    [
        lambda hook: LoadsStep(pre_hooks=[hook]),
        lambda hook: CalibrationPipeline(steps={"loads": {"post_hooks": [hook]}}),
        lambda hook: setattr(LoadsStep(), "pre_hooks", [hook]),
    ],
    ids=["keyword", "section", "attribute"],
)
def test_a_hook_that_is_none_is_refused(give):
    with pytest.raises(ParameterError, match=r"LoadsStep: command: the value .* is of the wrong type"):
        give(3)


@pytest.mark.slow
def test_a_file_with_all_parameters_names_those_that_differ(make_session, calibrate, tmp_path, caplog):
    caplog.set_level("INFO", "cal_pipeline")
    CalibrationPipeline(steps={"loads": {"image_gain": 0.5}}).export_config(tmp_path / "all.asdf")
    calibrate(make_session(channels=8, pixels=1), config_file=str(tmp_path / "all.asdf"))
    lines = [record.getMessage() for record in caplog.records if "file " in record.getMessage()]
    assert f"  file {tmp_path / 'all.asdf'}: steps.loads.image_gain=0.5" in lines


def test_workers_get_the_input_of_the_run():
    pipeline = CalibrationPipeline()
    pipeline._input_filename = "session.zarr"
    run = pickle.loads(pickle.dumps(pipeline.with_parameters(pipeline.parameters)))
    assert run.loads.search_attr("_input_filename") == "session.zarr"
    assert pickle.loads(pickle.dumps(pipeline))._input_filename is None
