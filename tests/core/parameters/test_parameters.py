"""Parameters are checked wherever they are set."""

from __future__ import annotations

import pytest
from helpers_l0 import write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.errors import CalibrationError
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.sources import open_scan
from cal_pipeline.steps import (
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    GainStep,
    LoadsStep,
    PrepareStep,
    SkychopdiffStep,
    SkydiffStep,
)

STEPS = (
    LoadsStep,
    GainStep,
    PrepareStep,
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    SkychopdiffStep,
    SkydiffStep,
)


@pytest.mark.parametrize("step", [*STEPS, CalibrationPipeline])
def test_a_parameter_that_is_none_is_refused_everywhere(step):
    with pytest.raises(ParameterError, match="'sufix'; did you mean 'suffix'"):
        step(sufix="x")
    with pytest.raises(AttributeError, match="'sufix'; did you mean 'suffix'"):
        step().sufix = "x"
    with pytest.raises(ParameterError, match="'sufix'; did you mean 'suffix'"):
        step.call("nothing.zarr", sufix="x", configure_log=False)


def test_nothing_similar_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"it has .*, mode, "):
        PrepareStep().zzz = 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "name", "value", "expected"),
    [
        (LoadsStep, "image_gain", -0.1, "a number of at least 0, or one per array"),
        (LoadsStep, "image_gain", "one", "a number of at least 0"),
        (LoadsStep, "image_gain", [1.0, float("nan")], "a number of at least 0"),
        (LoadsStep, "image_gain", [], "a number of at least 0"),
        (LoadsStep, "hot_offset", "warm", "a number, or one per array"),
        (LoadsStep, "cold_coupling", [1.0, 0.0], "a number above 0 and up to 1, or one per array"),
        (LoadsStep, "hot_coupling", 1.01, "a number above 0 and up to 1"),
        (LoadsStep, "t_hot_err", -1.0, "min=0.0"),
        (AtmosphereStep, "t_ground", -5.0, "min=0.0"),
        (AtmosphereStep, "t_ground", 20.0, "they look like degrees Celsius"),
        (AtmosphereStep, "t_atm", 1000.0, "temperatures above 100 K and below 400 K"),
        (AtmosphereStep, "t_spill", 0.0, "temperatures above 100 K"),
        (LoadsStep, "eta_fss", 0.0, "a number above 0"),
        (LoadsStep, "gain_el_correction", 0.0, "a number above 0"),
        (LoadsStep, "physics", "approximate", "'exact', 'kalibrate_compat'"),
        (PrepareStep, "mode", "map", "'auto', 'total_power', 'otf', 'otf_chopped'"),
        (AtmosphereStep, "airmass", "mean", "'subscan', 'scan'"),
        (AtmosphereStep, "pwv", -1.0, "min=0.0"),
        (CalibrateStep, "min_transmission", 1.5, "max=1.0"),
        (GainStep, "level", 1, "0 for none, 2 for the ONs, or 3"),
        (SkydiffStep, "n", 0, "min=1"),
        (CalibrationPipeline, "overwrite", "perhaps", "boolean"),
    ],
)
def test_a_value_that_is_not_accepted_names_what_is(step, name, value, expected):
    with pytest.raises(ParameterError, match=expected):
        setattr(step(), name, value)
    with pytest.raises(ParameterError, match=expected):
        step(**{name: value})
    with pytest.raises(ParameterError, match=expected):
        step.call("nothing.zarr", **{name: value}, configure_log=False)


@pytest.mark.parametrize(
    ("step", "name", "value", "taken"),
    [
        (LoadsStep, "image_gain", "0.5", 0.5),
        (LoadsStep, "image_gain", 1, 1.0),
        (LoadsStep, "image_gain", ["0.5"], 0.5),
        (LoadsStep, "image_gain", ["0.5", 1], [0.5, 1.0]),
        (LoadsStep, "hot_offset", -2, -2.0),
        (LoadsStep, "cold_coupling", (1, 0.98), [1.0, 0.98]),
        (LoadsStep, "t_cold_err", None, None),
        (LoadsStep, "forward_efficiency", 0.9, [0.9]),
        (LoadsStep, "forward_efficiency", "0.9", [0.9]),
        (LoadsStep, "forward_efficiency", ["0.9", 1], [0.9, 1.0]),
        (LoadsStep, "forward_efficiency", None, None),
        (AtmosphereStep, "pwv_grid_steps", "7", 7),
        (AtmosphereStep, "pwv", None, None),
        (CalibrationPipeline, "scans", 3, ["3"]),
        (CalibrationPipeline, "scans", "2,4:5", ["2,4:5"]),
        (CalibrationPipeline, "overwrite", "true", True),
    ],
)
def test_values_take_their_own_type(step, name, value, taken):
    instance = step()
    setattr(instance, name, value)
    assert getattr(instance, name) == taken
    assert type(getattr(instance, name)) is type(taken)


def test_a_given_table_is_among_the_parameters(atm_table, monkeypatch):
    monkeypatch.chdir(atm_table.parent)
    pipeline = CalibrationPipeline(steps={"atmosphere": {"override_atm": atm_table.name}})
    assert pipeline.get_pars()["steps"]["atmosphere"]["override_atm"] == str(atm_table)
    assert not AtmosphereStep().get_pars().get("override_atm")


class TestWhatAStepTakes:
    def test_a_scan_passes(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1)
        scan = open_scan(tmp_path / "s.zarr")
        assert isinstance(scan, Scan)
        assert open_scan(scan) is scan

    def test_one_of_many(self, tmp_path):
        for number in (4, 5):
            write_scan(tmp_path / "s.zarr", number)
        assert open_scan(tmp_path / "s.zarr" / "scan_000005").number == 5
        with pytest.raises(CalibrationError, match=r"holds 2 scans and a step takes one; name it, as in .*scan_000004"):
            open_scan(tmp_path / "s.zarr")

    def test_a_file_of_a_step(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1)
        open_scan(tmp_path / "s.zarr").save(str(tmp_path / "scan.asdf"))
        assert open_scan(str(tmp_path / "scan.asdf")).number == 1

    @pytest.mark.parametrize("step", STEPS)
    def test_nothing_there(self, tmp_path, step):
        with pytest.raises(CalibrationError, match="not there"):
            step().run(str(tmp_path / "none.zarr"))
