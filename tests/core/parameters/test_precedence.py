"""Where parameters come from: default, file for the data, file of the user, argument; the same for every way to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.heterodyne.sources import open_scan
from cal_pipeline.simulate import Otf, Scan, TotalPower
from cal_pipeline.steps import AtmosphereStep, PrepareStep

STRUN = Path(sys.executable).parent / "strun"


@pytest.fixture
def session(make_session):
    """A map, of which `cfg` says that it is one (``prepare.mode``)."""
    return make_session(channels=16)


@pytest.fixture
def user_file(tmp_path, atm_table):
    path = tmp_path / "mine.cfg"
    path.write_text(
        'name = "CalibrationPipeline"\nclass = "cal_pipeline.pipelines.calibration.CalibrationPipeline"\n[steps]\n'
        "[[prepare]]\nmode = total_power\n[[loads]]\ncalibration_interval = 1234.0\n"
        f"[[atmosphere]]\noverride_atm = {atm_table}\n"
    )
    return path


def strun(warm, session, output, file, arguments):
    options = [f"--steps.{name}={value}" for name, value in arguments.items()]
    first = file or "cal_pipeline.CalibrationPipeline"
    warm.run("strun", first, session, f"--output_file={output}", *options, check=True)


def call(warm, session, output, file, arguments):
    options = {"config_file": str(file)} if file else {}
    CalibrationPipeline.call(
        str(session), output_file=str(output), configure_log=False, steps=_nested(arguments), **options
    )


def run(warm, session, output, file, arguments):
    pipeline = CalibrationPipeline.from_config_file(str(file)) if file else CalibrationPipeline()
    pipeline.output_file = str(output)
    for name, value in arguments.items():
        step, _, parameter = name.partition(".")
        setattr(getattr(pipeline, step), parameter, value)
    pipeline.run(str(session))


def _nested(arguments):
    steps = {}
    for name, value in arguments.items():
        step, _, parameter = name.partition(".")
        steps.setdefault(step, {})[parameter] = value
    return steps


WAYS = [
    pytest.param(strun, id="strun", marks=pytest.mark.slow),
    pytest.param(call, id="call"),
    pytest.param(run, id="run"),
]


def used(output, *names):
    """Parameters and where they came from, as L1 recorded them."""
    provenance = CalibratedSession(output).attributes(1)["provenance"]
    found = {}
    for name in names:
        step, _, parameter = name.partition(".")
        value = provenance["parameters"]["steps"][step][parameter]
        found[name] = (value, provenance["parameter_origins"].get(f"steps.{name}", "default"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_default_then_file_for_the_data_then_argument(way, warm, session, tmp_path, atm_table):
    output = tmp_path / "l1.zarr"
    way(warm, session, output, None, {"atmosphere.override_atm": str(atm_table), "atmosphere.model_error": 0.05})
    assert used(output, "atmosphere.strategy", "prepare.mode", "atmosphere.model_error", "atmosphere.override_atm") == {
        "atmosphere.strategy": ("full", "default"),
        "prepare.mode": ("otf", "cfg/ccat_chai_otf.asdf"),
        "atmosphere.model_error": (0.05, "argument"),
        "atmosphere.override_atm": (str(atm_table), "argument"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_file_of_the_user_over_that_for_the_data_and_arguments_over_both(way, warm, session, user_file, tmp_path):
    output = tmp_path / "l1.zarr"
    way(warm, session, output, user_file, {"loads.image_gain": 0.5})
    mine = f"file {user_file}"
    assert used(
        output, "prepare.mode", "loads.calibration_interval", "loads.image_gain", "calibrate.min_transmission"
    ) == {
        "prepare.mode": ("total_power", mine),
        "loads.calibration_interval": (1234.0, mine),
        "loads.image_gain": (0.5, "argument"),
        "calibrate.min_transmission": (0.001, "default"),
    }
    assert CalibratedSession(output).attributes(1)["mode"] == "total_power"


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_argument_that_is_a_default_still_wins(way, warm, session, user_file, tmp_path):
    output = tmp_path / "l1.zarr"
    way(warm, session, output, user_file, {"prepare.mode": "auto"})
    assert used(output, "prepare.mode")["prepare.mode"] == ("auto", "argument")
    assert CalibratedSession(output).attributes(1)["mode"] == "otf"


def test_every_scan_has_its_own_file(make_session, calibrate):
    scans = (
        Scan(sequence=Otf(rows=2, dumps=2)),
        Scan(sequence=TotalPower(dumps=2)),
        Scan(sequence=Otf(rows=2, dumps=2)),
    )
    product = calibrate(make_session(channels=16, scans=scans))
    modes = [product.attributes(n)["provenance"]["parameters"]["steps"]["prepare"]["mode"] for n in (1, 2, 3)]
    assert modes == ["otf", "total_power", "otf"]


def test_what_is_chosen_can_be_looked_up(session):
    config = CalibrationPipeline.get_config_from_reference(str(session))
    assert config["steps"]["prepare"]["mode"] == "otf"
    assert (
        PrepareStep.get_config_from_reference({"telescope": "SOFIA", "frontend": "LFA", "mode": "otf"})["mode"] == "otf"
    )
    assert not AtmosphereStep.get_config_from_reference({"telescope": "APEX", "frontend": "X", "mode": "otf"})
    assert "mode" not in PrepareStep.get_config_from_reference(str(session), disable=True)


@pytest.mark.slow
def test_files_for_the_data_can_be_done_without(session, tmp_path, atm_table, monkeypatch):
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    call(None, session, tmp_path / "l1.zarr", None, {"atmosphere.override_atm": str(atm_table)})
    assert used(tmp_path / "l1.zarr", "prepare.mode")["prepare.mode"] == ("auto", "default")


@pytest.mark.slow
def test_strun_can_do_without_them(session, tmp_path, atm_table):
    output = tmp_path / "l1.zarr"
    line = [STRUN, "cal_pipeline.CalibrationPipeline", session, "--disable-crds-steppars", f"--output_file={output}"]
    subprocess.run([*line, f"--steps.atmosphere.override_atm={atm_table}"], check=True, capture_output=True)
    assert used(output, "prepare.mode")["prepare.mode"] == ("auto", "default")


def test_a_step_alone_takes_the_file_for_its_data(session, tmp_path):
    step = PrepareStep(output_file=str(tmp_path / "prepare.asdf"))
    step.run(str(session))
    recorded = open_scan(tmp_path / "prepare.asdf").meta.made_by["prepare"]
    assert recorded["parameters"]["mode"] == "otf"
    assert recorded["parameter_origins"]["mode"] == "cfg/ccat_chai_otf.asdf"
    assert step.mode == "auto"
    other = PrepareStep(mode="total_power")
    scan = other.run(str(session))
    assert scan.bands[0].pairing.mode == "total_power"
