"""Values as people give them: paths, numbers of NumPy, ranges, sets; and those that are refused."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.steps import AtmosphereStep, GainStep, LoadsStep, PrepareStep, SkydiffStep


class Mode(enum.StrEnum):
    OTF = "otf"


TAKEN = [
    (AtmosphereStep, "pwv", np.float32(0.5), 0.5),
    (AtmosphereStep, "pwv", np.array(0.5), 0.5),
    (AtmosphereStep, "pwv", np.int16(2), 2.0),
    (AtmosphereStep, "pwv", np.longdouble(0.25), 0.25),
    (AtmosphereStep, "pwv", decimal.Decimal("0.25"), 0.25),
    (AtmosphereStep, "pwv", fractions.Fraction(1, 4), 0.25),
    (AtmosphereStep, "pwv", np.str_("0.5"), 0.5),
    (AtmosphereStep, "pwv", None, None),
    (AtmosphereStep, "link_bands", np.True_, True),
    (AtmosphereStep, "pwv_grid_steps", np.uint8(7), 7),
    (AtmosphereStep, "strategy", np.str_("per_pixel"), "per_pixel"),
    (PrepareStep, "mode", Mode.OTF, "otf"),
    (GainStep, "level", np.int64(2), 2),
    (LoadsStep, "forward_efficiency", np.array([0.9, 0.95]), [0.9, 0.95]),
    (LoadsStep, "forward_efficiency", np.float32(0.5), [0.5]),
    (CalibrationPipeline, "workers", np.int64(1), 1),
    (CalibrationPipeline, "scans", np.int64(101), ["101"]),
    (CalibrationPipeline, "scans", np.array([101, 102]), ["101", "102"]),
    (CalibrationPipeline, "scans", range(101, 103), ["101:102"]),
    (CalibrationPipeline, "scans", range(101, 106, 2), ["101", "103", "105"]),
    (CalibrationPipeline, "scans", range(103, 101, -1), ["103", "102"]),
    (CalibrationPipeline, "scans", {103, 101}, ["101", "103"]),
    (CalibrationPipeline, "scans", [1, "3:5", np.int8(7), range(8, 10), (11, "12,13")],
     ["1", "3:5", "7", "8:9", "11", "12,13"]),
    (CalibrationPipeline, "output_file", Path("l1.zarr"), "l1.zarr"),
    (CalibrationPipeline, "output_dir", b"night", "night"),
]  # fmt: skip


def nested(cls, name, value):
    alias = cls.class_alias
    return {name: value} if cls is CalibrationPipeline else {"steps": {alias: {name: value}}}


def read(pipeline, cls, name):
    return getattr(pipeline if cls is CalibrationPipeline else getattr(pipeline, cls.class_alias), name)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "name", "value", "taken"), TAKEN)
def test_a_value_is_taken_everywhere(cls, name, value, taken):
    step = cls()
    setattr(step, name, value)
    config, file = CalibrationPipeline.build_config(None, **nested(cls, name, value))
    ways = [
        step,
        cls(**{name: value}),
        cls.from_config_section(cls.build_config(None, **{name: value})[0]),
    ]
    found = [getattr(way, name) for way in ways]
    found.append(read(CalibrationPipeline(**nested(cls, name, value)), cls, name))
    found.append(read(CalibrationPipeline.from_config_section(config, config_file=file), cls, name))
    for one in found:
        assert one == taken
        assert type(one) is type(taken)


def test_a_generator_is_read_once():
    given = (value for value in (0.9, "0.95"))
    assert CalibrationPipeline(steps={"loads": {"forward_efficiency": given}}).loads.forward_efficiency == [0.9, 0.95]


REFUSED = [
    (AtmosphereStep, "pwv", float("nan"), "nan (float)", "a finite number"),
    (AtmosphereStep, "pwv", "inf", "inf", "a finite number"),
    (AtmosphereStep, "pwv", np.float32("nan"), "nan", "a finite number"),
    (AtmosphereStep, "pwv", 1j, "1j (complex)", "a number"),
    (AtmosphereStep, "pwv", True, "True (bool)", "a number"),
    (AtmosphereStep, "pwv", datetime.date(2026, 1, 2), "(datetime.date)", "a number"),
    (AtmosphereStep, "pwv", np.array([0.5, 0.6]), "(numpy.ndarray)", "a number"),
    (AtmosphereStep, "pwv", Path("x"), "'x' (pathlib", "a number"),
    (AtmosphereStep, "pwv", "wet", "wet", "float("),
    (AtmosphereStep, "model_error", None, "None (NoneType)", "float("),
    (AtmosphereStep, "pwv_grid_steps", 7.0, "7.0 (float)", "a whole number"),
    (AtmosphereStep, "pwv_grid_steps", np.float64(7), "7.0", "a whole number"),
    (AtmosphereStep, "pwv_grid_steps", np.True_, "True", "a whole number"),
    (AtmosphereStep, "pwv_grid_steps", np.timedelta64(3, "s"), "(numpy.timedelta64)", "a whole number"),
    (AtmosphereStep, "link_bands", np.array([True, False]), "(numpy.ndarray)", "true or false"),
    (AtmosphereStep, "strategy", 3, "3 (int)", "text"),
    (AtmosphereStep, "t_atm", 0.0, "0.0 (float)", "above 100 K"),
    (SkydiffStep, "n", 1.5, "1.5 (float)", "a whole number"),
    (CalibrationPipeline, "output_file", 5, "5 (int)", "a path"),
    (CalibrationPipeline, "output_file", "", "'' (str)", "empty"),
    (CalibrationPipeline, "output_file", "  ", "' ' (str)", "empty"),
    (CalibrationPipeline, "scheduler", Path("tcp"), "(pathlib", "text"),
    (CalibrationPipeline, "scans", 101.0, "101.0 (float)", "scan numbers"),
    (CalibrationPipeline, "scans", [101, True], "(list)", "scan numbers"),
    (CalibrationPipeline, "scans", {101: 1}, "(dict)", "scan numbers"),
    (CalibrationPipeline, "scans", np.array([101.0]), "(numpy.ndarray)", "scan numbers"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "name", "value", "shown", "expected"), REFUSED)
def test_a_refusal_names_the_type_that_was_given(cls, name, value, shown, expected):
    def attribute():
        setattr(cls(), name, value)

    def construct():
        cls(**{name: value})

    def nest():
        CalibrationPipeline(**nested(cls, name, value))

    def call():
        CalibrationPipeline.call("nothing.zarr", configure_log=False, **nested(cls, name, value))

    for way in (attribute, construct, nest, call):
        with pytest.raises(ParameterError) as refused:
            way()
        message = str(refused.value)
        assert shown in message
        assert expected in message
        assert "<class" not in message
        assert len(message.splitlines()) <= 5


@pytest.mark.parametrize("written", ["~/night/x", "$NIGHT/x", "${NIGHT}/x", "file:///data/night/x"])
def test_paths_mean_the_same_in_every_parameter(written, monkeypatch):
    monkeypatch.setenv("NIGHT", "/data/night")
    monkeypatch.setenv("HOME", "/data")
    pipeline = CalibrationPipeline(
        output_file=written,
        output_dir=written,
        input_dir=written,
        steps={"loads": {"override_telescope": written}, "atmosphere": {"override_atm": Path(written)}}
        if "file" not in written
        else {"loads": {"override_telescope": written}, "atmosphere": {"override_atm": written}},
    )
    found = [pipeline.output_file, pipeline.output_dir, pipeline.input_dir]
    found += [pipeline.loads.override_telescope, pipeline.atmosphere.override_atm]
    assert found == ["/data/night/x"] * 5


def test_a_parameter_file_is_named_by_a_path(tmp_path, monkeypatch):
    (tmp_path / "mine.cfg").write_text("[steps]\n[[loads]]\nimage_gain = 0.25\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in (tmp_path / "mine.cfg", "~/mine.cfg", f"file://{tmp_path}/mine.cfg"):
        assert CalibrationPipeline.from_config_file(named).loads.image_gain == 0.25
        config, _ = CalibrationPipeline.build_config(None, config_file=named)
        assert config["steps"]["loads"]["image_gain"] == "0.25"
    with pytest.raises(ParameterError, match=r"nowhere.cfg does not exist"):
        CalibrationPipeline.build_config(None, config_file=tmp_path / "nowhere.cfg")
    with pytest.raises(ParameterError, match="is remote; expected a local file"):
        CalibrationPipeline.build_config(None, config_file="s3://night/mine.cfg")
    (tmp_path / "broken.cfg").write_text("[steps\nx")
    with pytest.raises(ParameterError, match=r"broken.cfg cannot be read"):
        CalibrationPipeline.build_config(None, config_file=tmp_path / "broken.cfg")


class TestSections:
    def test_one_that_is_misspelt(self):
        with pytest.raises(ParameterError, match=r"'steps.atmosfere'; did you mean 'atmosphere'"):
            CalibrationPipeline(steps={"atmosfere": {"pwv": 1.0}})

    @pytest.mark.parametrize("section", [None, 3, "full", [1]])
    def test_one_that_is_no_section(self, section):
        with pytest.raises(ParameterError, match=r"steps.atmosphere = .* is no section of parameters"):
            CalibrationPipeline(steps={"atmosphere": section})

    def test_the_class_of_another_step(self):
        with pytest.raises(ParameterError, match=r"steps.loads: class 'cal_pipeline.steps.LoadStep'.*did you mean"):
            CalibrationPipeline(steps={"loads": {"class": "cal_pipeline.steps.LoadStep"}})
        for name in (
            "cal_pipeline.steps.heterodyne.loads.LoadsStep",
            "cal_pipeline.steps.LoadsStep",
            "cal_pipeline::loads",
            "",
        ):
            CalibrationPipeline(steps={"loads": {"class": name}})

    def test_many_wrong_values_are_at_most_five_lines(self):
        wrong = dict.fromkeys(("pwv", "pwv_min", "pwv_max", "t_atm", "t_spill", "model_error"), "wet")
        with pytest.raises(ParameterError) as refused:
            CalibrationPipeline(steps={"atmosphere": wrong})
        assert len(str(refused.value).splitlines()) == 5
        assert "steps.atmosphere.pwv: " in str(refused.value)
        assert "and 2 more" in str(refused.value)
