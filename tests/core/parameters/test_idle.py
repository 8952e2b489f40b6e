"""Parameters that have no effect with the others given are refused; saved files with all defaults are not."""

from __future__ import annotations

import pytest
from helpers_l0 import write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.origins import wrap_recorded
from cal_pipeline.errors import StoreError
from cal_pipeline.steps import GainStep


def check(pipeline):
    """Run the checks that precede the opening of any data."""
    pipeline.check_parameters()
    for name in pipeline.step_defs:
        getattr(pipeline, name).check_parameters()


IDLE = [
    ({"atmosphere": {"pwv": 0.5}}, {}, "pwv = 0.5 (argument) has no effect with strategy = 'full' (default)"),
    ({"atmosphere": {"pwv": 0.5, "strategy": "per_pair"}}, {}, "strategy = 'per_pair' (argument)"),
    ({"atmosphere": {"pwv_fixed_err": 0.2}}, {}, "pwv_fixed_err = 0.2 (argument) has no effect with strategy = 'full'"),
    ({"atmosphere": {"pwv": 0.5, "strategy": "fixed", "pwv_max": 5.0}}, {}, "pwv_max = 5.0 (argument)"),
    ({"atmosphere": {"pwv": 0.5, "strategy": "fixed", "pwv_min": 0.1}}, {}, "pwv_min = 0.1 (argument)"),
    ({"atmosphere": {"pwv": 0.5, "strategy": "fixed", "pwv_grid_steps": 7}}, {}, "pwv_grid_steps = 7 (argument)"),
    ({"atmosphere": {"t_ground": 260.0, "t_atm": 250.0}}, {}, "t_ground = 260.0 (argument) has no effect with t_atm"),
    ({"gain": {"level": 2, "skip": True}}, {}, "level = 2 (argument) has no effect with skip = True (argument)"),
    ({"gain": {"level": 3, "skip": True}}, {}, "level = 3 (argument) has no effect with skip = True (argument)"),
    ({"skydiff": {"n": 3}}, {}, "n = 3 (argument) has no effect with skip = True (default); give skip = False"),
    ({}, {"workers": 2, "scheduler": "tcp://head:1"}, "workers = 2 (argument) has no effect with scheduler"),
    ({}, {"output_dir": "night", "output_file": "/x/l1.zarr"}, "output_dir = 'night' (argument) has no effect"),
    ({}, {"output_dir": "night", "output_file": "s3://x/l1.zarr"}, "output_dir = 'night' (argument) has no effect"),
    ({}, {"scheduler": ""}, "scheduler is empty"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "of_run", "words"), IDLE)
def test_what_has_no_effect_is_refused_before_a_scan_is_read(steps, of_run, words, tmp_path):
    with pytest.raises(ParameterError) as refused:
        CalibrationPipeline.call(str(tmp_path / "none.zarr"), steps=steps, configure_log=False, **of_run)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("steps", "of_run"),
    [
        ({"atmosphere": {"pwv": None, "pwv_max": 10.0, "pwv_grid_steps": 100}}, {}),
        ({"atmosphere": {"pwv": 0.5, "strategy": "fixed", "pwv_max": 10.0}}, {}),
        ({"gain": {"level": 0, "skip": True}}, {}),
        ({"gain": {"level": 3}}, {}),
        ({"skydiff": {"n": 1}}, {}),
        ({"skydiff": {"n": 3, "skip": False}}, {}),
        ({"loads": {"physics": "kalibrate_compat"}, "atmosphere": {"airmass": "scan"}}, {}),
        ({}, {"scheduler": "tcp://head:1", "threads": 2, "workers": 1}),
        ({}, {"output_dir": "night", "output_file": "l1.zarr"}),
        ({"loads": {"save_results": True}}, {"output_dir": "night", "output_file": "/x/l1.zarr"}),
    ],
)
def test_what_has_an_effect_or_is_the_default_is_not(steps, of_run):
    check(CalibrationPipeline(steps=steps, **of_run))


def test_a_file_with_all_parameters_is_taken(tmp_path):
    pipeline = CalibrationPipeline(steps={"atmosphere": {"strategy": "fixed", "pwv": 0.5}, "gain": {"level": 3}})
    pipeline.export_config(tmp_path / "all.asdf")
    again = CalibrationPipeline.from_config_file(tmp_path / "all.asdf")
    check(again)
    assert (again.gain.level, again.gain.skip) == (3, None)


class TestFiles:
    def file(self, tmp_path, text):
        path = tmp_path / "mine.cfg"
        path.write_text(f"[steps]\n{text}")
        return path

    def test_a_value_in_a_file_without_effect_is_refused(self, tmp_path):
        path = self.file(tmp_path, "[[atmosphere]]\npwv = 0.5\n")
        with pytest.raises(ParameterError, match=r"pwv = 0.5 \(file .*mine.cfg\) has no effect"):
            check(CalibrationPipeline.from_config_file(path))

    def test_an_argument_may_make_one_in_a_file_idle(self, tmp_path):
        pipeline = CalibrationPipeline.from_config_file(
            self.file(tmp_path, "[[atmosphere]]\npwv = 0.5\nstrategy = fixed\n")
        )
        pipeline.atmosphere.strategy = "full"
        check(pipeline)

    def test_older_files_hold_the_defaults_of_their_time(self, tmp_path):
        path = self.file(tmp_path, "[[gain]]\nskip = True\nlevel = 3\n")
        pipeline = CalibrationPipeline.from_config_file(path)
        check(pipeline)
        pipeline.gain.level = 3
        with pytest.raises(ParameterError, match=r"level = 3 \(argument\) has no effect with skip = True \(file"):
            check(pipeline)


def test_what_a_product_recorded_is_taken_as_it_is():
    recorded = {"steps": {"atmosphere": {"strategy": "full", "pwv": 0.5}, "skydiff": {"n": 3, "skip": True}}}
    origins = dict.fromkeys(("steps.atmosphere.pwv", "steps.skydiff.n"), "argument")
    for known in ({}, origins):
        check(CalibrationPipeline.from_config_section(wrap_recorded(recorded, "l1.zarr", known)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.asdf", "x.ASDF", "night/x.fits", "x.h5", "x.nc", "x.cfg", "x.asdf/", "x.zip"])
def test_a_store_is_not_named_like_another_format(name, tmp_path):
    with pytest.raises(
        ParameterError, match=r"output_file = .* ends in .*; the product is a Zarr store.*as in l1.zarr"
    ):
        CalibrationPipeline.call(str(tmp_path / "none.zarr"), output_file=name, configure_log=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x", "x.zarr", "night.1", "x.l1"])
def test_other_names_are_free(name, tmp_path):
    with pytest.raises(StoreError, match="not there"):
        CalibrationPipeline.call(str(tmp_path / "none.zarr"), output_file=name, configure_log=False)


class TestLevelOfTheGain:
    @pytest.mark.parametrize(
        ("gain", "level"),
        [
            ({}, 0),
            ({"level": 0}, 0),
            ({"level": 2}, 2),
            ({"level": 3}, 3),
            ({"level": "3"}, 3),
            ({"skip": False}, 3),
            ({"skip": False, "level": 2}, 2),
        ],
    )
    def test_decides_whether_the_step_runs(self, gain, level):
        assert CalibrationPipeline(steps={"gain": gain}).gain.level_to_apply == level

    @pytest.mark.slow
    def test_given_alone_it_is_applied(self, tmp_path, calibrate):
        session = tmp_path / "s.zarr"
        write_scan(session, 1)
        write_scan(session, 2, source=False, calibration={"mjd": [60000.001, 60000.0012]})
        levels = {}
        for name, gain in {"none": {}, "3": {"level": 3}, "older": {"skip": False}, "off": {"skip": True}}.items():
            attributes = calibrate(session, f"{name}.zarr", gain=gain).attributes(1)
            levels[name] = attributes["provenance"]["gain_level"], attributes["cal_step"]["gain"]
        assert levels == {
            "none": (0, "SKIPPED"),
            "3": (3, "COMPLETE"),
            "older": (3, "COMPLETE"),
            "off": (0, "SKIPPED"),
        }

    @pytest.mark.parametrize("level", [1, 4, -2])
    def test_others_do_not_exist(self, level):
        with pytest.raises(ParameterError, match="0 for none, 2 for the ONs, or 3 for ONs and OFFs"):
            GainStep(level=level)


@pytest.mark.slow
def test_a_reference_file_is_opened_before_a_scan(tmp_path, make_session):
    (tmp_path / "wrong.toml").write_text("name = 3\n")
    (tmp_path / "wrong.asdf").write_text("windy")
    session = str(make_session(channels=8, pixels=1))
    for steps, words in (
        ({"loads": {"override_telescope": tmp_path / "wrong.toml"}}, "wrong.toml"),
        ({"atmosphere": {"override_atm": tmp_path / "wrong.asdf"}}, "wrong.asdf"),
        ({"atmosphere": {"override_atm": "s3://night/atm.asdf"}}, "is remote; expected a local file"),
        ({"atmosphere": {"override_atm": tmp_path / "none.asdf"}}, "override_atm cannot be opened"),
    ):
        with pytest.raises(Exception, match=words):
            CalibrationPipeline.call(session, output_file=tmp_path / "l1.zarr", steps=steps, configure_log=False)
        assert not (tmp_path / "l1.zarr").exists()
