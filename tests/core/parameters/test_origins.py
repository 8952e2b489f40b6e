"""Where each parameter comes from, whatever its value is, also in files that another file or an argument names."""

from __future__ import annotations

import pytest
from stpipe import Step, _cmdline

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli.strun import build_step
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.origins import wrap_recorded
from cal_pipeline.steps import AtmosphereStep, LoadsStep

NAME = "cal_pipeline.pipelines.calibration.CalibrationPipeline"


@pytest.fixture
def files(tmp_path):
    """A file of a pipeline, and one of a step beside it."""
    outer, inner = tmp_path / "outer.cfg", tmp_path / "inner.cfg"
    inner.write_text("pwv_max = 7.0\nmodel_error = 0.03\nt_atm = 260.0\n")
    outer.write_text(
        f'class = "{NAME}"\nscans = 1, 2\n[steps]\n[[loads]]\nimage_gain = 0.5\nforward_efficiency = 0.9, 0.95\n'
        "[[atmosphere]]\npwv_max = 5.0\nt_spill = 270.0\n"
    )
    return outer, inner


def by_strun(file, arguments, positional=()):
    options = []
    for name, value in arguments.items():
        if isinstance(value, dict):
            for step, parameters in value.items():
                options += [f"--{name}.{step}.{p}={_text(v)}" for p, v in parameters.items()]
        else:
            options.append(f"--{name}={_text(value)}")
    first = str(file) if file else NAME
    args = [first, *map(str, positional), *options]
    step_class, config, name, config_file, parser, known = _cmdline._config_and_class_from_cmdline(args)
    return build_step(_cmdline._build_step_from_args, step_class, config, name, config_file, parser, known, args)[0]


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, list) else value


def by_call(file, arguments):
    named = {"config_file": str(file)} if file else {}
    config, config_file = CalibrationPipeline.build_config(None, **arguments, **named)
    config.pop("class", None)
    return CalibrationPipeline.from_config_section(config, config_file=config_file)


def by_attributes(file, arguments):
    pipeline = CalibrationPipeline.from_config_file(str(file)) if file else CalibrationPipeline()
    for name, value in arguments.items():
        if name == "steps":
            for step, parameters in value.items():
                for parameter, one in parameters.items():
                    setattr(getattr(pipeline, step), parameter, one)
        else:
            setattr(pipeline, name, value)
    return pipeline


WAYS = {"strun": by_strun, "call": by_call, "attributes": by_attributes}


@pytest.mark.parametrize("way", WAYS)
class TestEveryWay:
    def test_the_value_of_the_file_given_again_is_an_argument(self, way, files):
        outer, _ = files
        pipeline = WAYS[way](outer, {"steps": {"loads": {"image_gain": 0.5}}})
        assert pipeline.loads.parameters.origins == {"image_gain": "argument", "forward_efficiency": f"file {outer}"}
        assert pipeline.parameters.origins == {"scans": f"file {outer}"}
        assert pipeline.atmosphere.parameters.origins == dict.fromkeys(("pwv_max", "t_spill"), f"file {outer}")

    def test_a_default_that_is_given_is_an_argument(self, way):
        given = {"overwrite": False, "steps": {"atmosphere": {"pwv_max": 10.0}, "loads": {"image_gain": 1.0}}}
        pipeline = WAYS[way](None, given)
        assert pipeline.parameters.origins == {"overwrite": "argument"}
        assert pipeline.atmosphere.parameters.origins == {"pwv_max": "argument"}
        assert pipeline.loads.parameters.origins == {"image_gain": "argument"}
        assert pipeline.gain.parameters.origins == {}

    def test_another_list_is_an_argument(self, way, files):
        pipeline = WAYS[way](files[0], {"steps": {"loads": {"forward_efficiency": [0.9, 0.8]}}})
        assert pipeline.loads.forward_efficiency == [0.9, 0.8]
        assert pipeline.loads.parameters.origins["forward_efficiency"] == "argument"
        assert pipeline.parameters.origins == {"scans": f"file {files[0]}"}


def test_a_file_that_a_file_names(files):
    outer, inner = files
    outer.write_text(outer.read_text() + "config_file = inner.cfg\n")
    for way in WAYS.values():
        atmosphere = way(outer, {"steps": {"atmosphere": {"model_error": 0.03}}}).atmosphere
        assert (atmosphere.pwv_max, atmosphere.model_error, atmosphere.t_atm) == (5.0, 0.03, 260.0)
        assert atmosphere.parameters.origins == {
            "pwv_max": f"file {outer}",
            "t_spill": f"file {outer}",
            "t_atm": f"file {inner}",
            "model_error": "argument",
        }


@pytest.mark.parametrize("way", ["strun", "call"])
def test_a_file_that_an_argument_names_is_over_the_other(way, files):
    outer, inner = files
    given = {"steps": {"atmosphere": {"config_file": str(inner), "t_atm": 250.0}}}
    atmosphere = WAYS[way](outer, given).atmosphere
    assert (atmosphere.pwv_max, atmosphere.t_atm, atmosphere.t_spill) == (7.0, 250.0, 270.0)
    assert atmosphere.parameters.origins == {
        "pwv_max": f"file {inner}",
        "model_error": f"file {inner}",
        "t_atm": "argument",
        "t_spill": f"file {outer}",
    }


def test_a_file_named_in_the_constructor(files):
    atmosphere = CalibrationPipeline(steps={"atmosphere": {"config_file": files[1], "pwv_max": 2.0}}).atmosphere
    assert (atmosphere.pwv_max, atmosphere.t_atm) == (2.0, 260.0)
    assert atmosphere.parameters.origins == {
        "pwv_max": "argument",
        "t_atm": f"file {files[1]}",
        "model_error": f"file {files[1]}",
    }


def test_a_file_of_the_whole_is_read_by_the_constructor_too(files):
    outer, inner = files
    pipeline = CalibrationPipeline(config_file=outer, scans=[2], steps={"atmosphere": {"t_spill": 265.0}})
    atmosphere = pipeline.atmosphere
    assert (pipeline.scans, pipeline.loads.image_gain) == (["2"], 0.5)
    assert (atmosphere.pwv_max, atmosphere.t_spill) == (5.0, 265.0)
    assert pipeline.parameters.origins == {"scans": "argument"}
    assert atmosphere.parameters.origins == {"pwv_max": f"file {outer}", "t_spill": "argument"}
    assert AtmosphereStep(config_file=inner, t_atm=250.0).parameters.origins == {
        "pwv_max": f"file {inner}",
        "model_error": f"file {inner}",
        "t_atm": "argument",
    }
    with pytest.raises(
        ParameterError, match=r"outer.cfg: class 'cal_pipeline.pipelines.calibration.CalibrationPipeline' is not"
    ):
        LoadsStep(config_file=outer)
    with pytest.raises(ParameterError, match=r"nowhere.cfg does not exist"):
        LoadsStep(config_file="nowhere.cfg")


def test_yes_and_no_as_numbers_are_recorded_as_such():
    pipeline = CalibrationPipeline(overwrite=1, steps={"loads": {"skip": 0.0}})
    assert pipeline.overwrite is True
    assert pipeline.loads.skip is False


def test_what_would_do_nothing_as_an_attribute_is_refused():
    pipeline = CalibrationPipeline()
    with pytest.raises(ParameterError, match=r"steps are no attribute to set; .* pipeline.loads.skip = True"):
        pipeline.steps = {"loads": {"image_gain": 0.5}}
    with pytest.raises(ParameterError, match=r"loads = 3 \(int\) is no LoadsStep"):
        pipeline.loads = 3


def test_files_that_the_package_wrote_are_read_the_same_way(tmp_path):
    AtmosphereStep(pwv_max=5.0).export_config(tmp_path / "step.asdf")
    CalibrationPipeline(steps={"loads": {"image_gain": 0.5}}).export_config(tmp_path / "all.asdf")
    named = {"steps": {"atmosphere": {"config_file": str(tmp_path / "step.asdf")}}}
    pipeline = by_call(tmp_path / "all.asdf", named)
    assert pipeline.atmosphere.pwv_max == 5.0
    assert pipeline.atmosphere.parameters.origins["pwv_max"] == f"file {tmp_path / 'step.asdf'}"
    assert pipeline.loads.parameters.origins["image_gain"] == f"file {tmp_path / 'all.asdf'}"
    with pytest.raises(
        Exception, match=r"class 'cal_pipeline.steps.heterodyne.atmosphere.AtmosphereStep' is not that of this"
    ):
        by_call(None, {"steps": {"loads": {"config_file": str(tmp_path / "step.asdf")}}})


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.5, [0.5, 1.0]])
@pytest.mark.parametrize("name", ["image_gain", "hot_offset", "cold_coupling"])
def test_one_number_or_several_come_back_from_files(tmp_path, name, value):
    pipeline = CalibrationPipeline(steps={"loads": {name: value}})
    assert pipeline.get_pars()["steps"]["loads"][name] == value
    pipeline.export_config(tmp_path / "all.asdf")
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    (tmp_path / "mine.cfg").write_text(f"[steps]\n[[loads]]\n{name} = {text}\n")
    for file in (tmp_path / "all.asdf", tmp_path / "mine.cfg"):
        loads = by_call(file, {}).loads
        assert getattr(loads, name) == value
        assert loads.parameters.origins[name] == f"file {file}"


def test_what_the_data_choose_is_no_value_of_the_user(make_session, files):
    session = make_session(channels=8, pixels=1)
    chosen = CalibrationPipeline.get_config_from_reference(str(session))
    assert chosen["steps"]["prepare"]["mode"] == "otf"
    pipeline = by_strun(files[0], {"steps": {"prepare": {"mode": "otf"}}}, [session])
    assert pipeline.prepare.parameters.origins == {"mode": "argument"}
    assert "calibration_interval" not in pipeline.loads.parameters.origins
    assert pipeline._uses_parameter_files
    # The front of stpipe saves results and knows the folder of the input; the user asked for neither.
    assert pipeline.save_results
    assert pipeline.parameters.origins == {"scans": f"file {files[0]}"}
    pipeline.save_results = False
    assert pipeline.parameters.origins["save_results"] == "argument"


def test_what_a_run_sets_is_not_given(make_session):
    session = make_session(channels=8, pixels=1)
    step = LoadsStep(image_gain=0.5)
    scan = step.run(str(session / "scan_000001"))
    assert step.suffix is None
    assert step.parameters.origins == {"image_gain": "argument"}
    assert scan.meta.cal_step.loads == "COMPLETE"


def test_recorded_parameters_say_so():
    recorded = {"workers": 2, "steps": {"loads": {"image_gain": 1.0, "clip_counts": 0.01, "eta_fss": 1.0}}}
    origins = {
        "workers": "argument",
        "steps.loads.image_gain": "cfg/ccat_chai_otf.asdf",
        "steps.loads.eta_fss": "recorded default in older.zarr",
    }
    pipeline = CalibrationPipeline.from_config_section(wrap_recorded(recorded, "l1.zarr", origins))
    assert pipeline.parameters.origins == {"workers": "recorded in l1.zarr"}
    assert pipeline.loads.parameters.origins == {
        "image_gain": "recorded in l1.zarr",
        "clip_counts": "recorded default in l1.zarr",
        "eta_fss": "recorded default in l1.zarr",
    }
    found = {name: pipeline.loads.parameters.is_default(name) for name in ("image_gain", "eta_fss", "clip_tsys")}
    assert found == {"image_gain": False, "eta_fss": True, "clip_tsys": True}
    assert not pipeline._uses_parameter_files


def test_a_named_file_that_is_not_there():
    with pytest.raises(ValueError, match=r"nowhere.asdf does not exist"):
        Step.from_cmdline([NAME, "nowhere.asdf", "--steps.loads.config_file=nowhere.asdf"])
