"""The pipeline as its users meet it: ways to run it, its parameters, its product."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from astropy import units
from stpipe.config_parser import ValidationError
from threadpoolctl import threadpool_info

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.physics.strategies import STRATEGIES
from cal_pipeline.heterodyne.schema import L1_ARRAYS
from cal_pipeline.registry import list_steps
from cal_pipeline.simulate import preset, simulate
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, cherenkov


def strun(*arguments, cwd=None):
    command = [str(Path(sys.executable).with_name("strun")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def assert_same_arrays(a, b, numbers=(1,)):
    for number in numbers:
        one, other = a.open_scan(number).load(), b.open_scan(number).load()
        assert set(one.variables) == set(other.variables)
        for name in one.variables:
            np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, atm_table):
    path = tmp_path_factory.mktemp("simulated") / "session.zarr"
    simulate(preset("ccat_chai", channels=24, pixels=2, mode="otf", table=str(atm_table), scans=2), path)
    return path


@pytest.fixture
def session(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "session.zarr")


@pytest.mark.slow
def test_four_ways_to_run_give_the_same_arrays(warm, session, calibrate, atm_table, tmp_path):
    by_call = calibrate(session, "call.zarr")
    pipeline = CalibrationPipeline(output_file=str(tmp_path / "run.zarr"))
    pipeline.loads.forward_efficiency = 0.95
    pipeline.atmosphere.override_atm = str(atm_table)
    by_run = pipeline.run(str(session))
    options = ["--steps.loads.forward_efficiency=0.95", f"--steps.atmosphere.override_atm={atm_table}"]
    saved = f"--save-parameters={tmp_path / 'mine.asdf'}"
    named = warm.run(
        "strun",
        "cal_pipeline.CalibrationPipeline",
        session,
        f"--output_file={tmp_path / 'class.zarr'}",
        *options,
        saved,
    )
    assert named.returncode == 0, named.stderr
    by_file = warm.run("strun", tmp_path / "mine.asdf", session, f"--output_file={tmp_path / 'file.zarr'}")
    assert by_file.returncode == 0, by_file.stderr
    for other in (by_run, CalibratedSession(tmp_path / "class.zarr"), CalibratedSession(tmp_path / "file.zarr")):
        assert_same_arrays(by_call, other, (1, 2))


@pytest.mark.slow
def test_running_again_with_the_recorded_parameters_gives_the_same_bits(session, calibrate, tmp_path):
    first = calibrate(session, atmosphere={"model_error": 0.05}, calibrate={"min_transmission": 0.3})
    recorded = first.open_scan(1).attrs["provenance"]["parameters"]
    recorded["output_file"] = str(tmp_path / "again.zarr")
    again = CalibrationPipeline.call(str(session), configure_log=False, **recorded)
    assert_same_arrays(first, again, (1, 2))


def _interrupt(*args):
    raise KeyboardInterrupt


def _threads_of_libraries():
    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


@pytest.mark.slow
def test_a_run_leaves_garbage_collection_and_libraries_as_they_were(session, calibrate):
    before = _threads_of_libraries()
    calibrate(session)
    # A run may load a library that was not there.
    threads = _threads_of_libraries()
    assert threads.items() >= before.items()
    assert gc.get_freeze_count() == 0
    with pytest.raises(StoreError):
        calibrate(session)
    assert gc.get_freeze_count() == 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LoadsStep, "process_band", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            calibrate(session, overwrite=True)
    assert gc.get_freeze_count() == 0
    assert _threads_of_libraries() == threads


@pytest.mark.slow
def test_output_is_written_where_it_was_asked_for(session, atm_table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = {"atmosphere": {"override_atm": str(atm_table)}}
    plain = CalibrationPipeline.call(str(session), steps=steps, configure_log=False)
    assert plain.path == tmp_path / "session_l1.zarr"
    folder = CalibrationPipeline.call(str(session), steps=steps, output_dir="night", configure_log=False)
    assert folder.path == tmp_path / "night" / "session_l1.zarr"
    exact = CalibrationPipeline.call(str(session), steps=steps, output_file="no_suffix", configure_log=False)
    assert exact.path == tmp_path / "no_suffix"


@pytest.mark.slow
def test_an_existing_output_is_kept_unless_told_otherwise(session, calibrate, tmp_path):
    first = calibrate(session)
    with pytest.raises(StoreError, match="overwrite=True"):
        calibrate(session)
    assert first.open_scan(1).spectra.notnull().all()
    assert calibrate(session, scans="2", overwrite=True).numbers == [2]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    with pytest.raises(StoreError, match="no L1 store"):
        calibrate(session, "precious", overwrite=True)
    assert (tmp_path / "precious" / "thesis.txt").exists()


@pytest.mark.slow
def test_a_file_url_is_a_folder_to_read_and_to_write(session, calibrate, atm_table, tmp_path, monkeypatch):
    plain = calibrate(session, "plain.zarr", scans="1")
    # No driver is needed.
    monkeypatch.setitem(sys.modules, "fsspec", None)
    product = CalibrationPipeline.call(
        f"file://{session}",
        output_file=f"file://{tmp_path}/l1.zarr",
        scans="1",
        steps={"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": f"file://{atm_table}"}},
        configure_log=False,
    )
    assert product.path == tmp_path / "l1.zarr"
    assert CalibratedSession(f"file://{tmp_path}/l1.zarr").numbers == [1]
    np.testing.assert_array_equal(product.open_scan(1).spectra, plain.open_scan(1).spectra)
    assert not (tmp_path / "l1.zarr.staging").exists()


@pytest.mark.slow
def test_an_empty_folder_is_taken_as_output(session, calibrate, tmp_path):
    (tmp_path / "l1.zarr").mkdir()
    assert calibrate(session, scans="1").numbers == [1]


def test_an_error_before_the_first_scan_leaves_no_store(session, calibrate, tmp_path, monkeypatch):
    from cal_pipeline.core.run import runner

    monkeypatch.setattr(runner, "progress_bar", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        calibrate(session)
    assert not (tmp_path / "l1.zarr").exists()
    assert not (tmp_path / "l1.zarr.staging").exists()
    with pytest.raises(StoreError, match="File name too long"):
        calibrate(session, "n" * 250)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("nnn")]


def test_input_and_output_must_not_be_one(session, calibrate):
    with pytest.raises(StoreError, match="one contains the other"):
        calibrate(session, session.name, overwrite=True)
    with pytest.raises(StoreError, match="one contains the other"):
        calibrate(session, f"{session.name}/l1.zarr")


@pytest.mark.slow
def test_scans_are_chosen_by_number_and_range(make_session, calibrate):
    session = make_session(channels=8, scans=5, pixels=1)
    assert calibrate(session, scans="2,4:9").numbers == [2, 4, 5]


@pytest.mark.parametrize(("wanted", "words"), [("7", "no scan 7; it has 1, 2"), ("x", "neither a scan number nor")])
def test_a_scan_that_is_not_there_is_an_error(session, calibrate, wanted, words):
    with pytest.raises(StoreError, match=words):
        calibrate(session, scans=wanted)


def test_a_session_that_is_not_there_is_an_error(tmp_path, calibrate):
    with pytest.raises(StoreError, match="not there; expected an L0 session"):
        calibrate(tmp_path / "nowhere.zarr")


class TestWrongParameters:
    """A parameter that is not one is refused everywhere, with what was meant."""

    def test_as_keyword(self, session):
        with pytest.raises(ParameterError, match=r"steps.atmosphere.stratgy.*did you mean 'strategy'"):
            CalibrationPipeline.call(str(session), steps={"atmosphere": {"stratgy": "full"}}, configure_log=False)
        with pytest.raises(ParameterError, match="did you mean 'overwrite'"):
            CalibrationPipeline.call(str(session), overwrit=True, configure_log=False)

    def test_in_the_constructor(self):
        with pytest.raises(ValidationError, match="stratgy"):
            AtmosphereStep(stratgy="full")

    def test_as_attribute(self):
        pipeline = CalibrationPipeline()
        with pytest.raises(AttributeError, match="did you mean 'strategy'"):
            pipeline.atmosphere.stratgy = "full"
        with pytest.raises(AttributeError, match="did you mean 'overwrite'"):
            pipeline.overwrit = True

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("strategy", "ful", ", ".join(map(repr, STRATEGIES))),
            ("pwv_grid_steps", 1, "min=2"),
            ("t_atm", "warm", "float"),
        ],
    )
    def test_a_value_as_attribute(self, name, value, expected):
        with pytest.raises(ParameterError, match=expected):
            setattr(AtmosphereStep(), name, value)

    @pytest.mark.parametrize("value", [0.0, 1.2, [0.9, -1.0], "much", []])
    def test_efficiencies(self, value):
        with pytest.raises(ParameterError, match="above 0 and up to 1"):
            LoadsStep().forward_efficiency = value

    @pytest.mark.slow
    def test_in_a_file(self, warm, session, tmp_path):
        file = tmp_path / "wrong.cfg"
        file.write_text(
            'name = "x"\nclass = "cal_pipeline.CalibrationPipeline"\n[steps]\n[[atmosphere]]\nstratgy = "full"\n'
        )
        outcome = warm.run("strun", file, session)
        assert outcome.returncode == 1
        assert "did you mean 'strategy'" in outcome.stderr

    @pytest.mark.slow
    def test_on_the_command_line(self, warm, session, tmp_path):
        outcome = warm.run(
            "strun", "cal_pipeline.CalibrationPipeline", session, "--steps.atmosphere.stratgy=full", cwd=tmp_path
        )
        assert outcome.returncode != 0
        assert "stratgy" in outcome.stderr
        outcome = warm.run(
            "strun", "cal_pipeline.CalibrationPipeline", session, "--steps.atmosphere.strategy=ful", cwd=tmp_path
        )
        assert outcome.returncode == 1
        assert "'full', 'per_pixel', 'per_pair', 'fixed'" in outcome.stderr
        assert not list(tmp_path.glob("*_l1.zarr"))

    def test_that_do_not_go_together(self, session, calibrate, tmp_path):
        with pytest.raises(ParameterError, match="needs pwv"):
            calibrate(session, atmosphere={"strategy": "fixed"})
        with pytest.raises(ParameterError, match="pwv_min < pwv_max"):
            calibrate(session, atmosphere={"pwv_min": 2.0, "pwv_max": 1.0})
        with pytest.raises(FileNotFoundError):
            calibrate(session, atmosphere={"override_atm": str(tmp_path / "nowhere.asdf")})
        assert not (tmp_path / "l1.zarr").exists()


@pytest.mark.slow
def test_exit_status_of_a_partial_run(session, atm_table, tmp_path):
    (session / "scan_000002/zarr.json").unlink()
    output = tmp_path / "out.zarr"
    outcome = strun(
        "cal_pipeline.CalibrationPipeline",
        session,
        f"--output_file={output}",
        f"--steps.atmosphere.override_atm={atm_table}",
    )
    assert outcome.returncode == 2
    assert "1 of 2 scans could not be calibrated" in outcome.stdout + outcome.stderr
    assert json.loads((output / "failures.json").read_text())[0]["scan_number"] == 2


class TestProduct:
    """L1 is laid out as the specification says."""

    @pytest.fixture
    def product(self, session, calibrate):
        return calibrate(session)

    def test_xarray_opens_it_without_help(self, product):
        scan = xarray.open_zarr(product.path, group="scan_000001", consolidated=False, chunks=None)
        assert scan.spectra.dims == ("channel", "dump", "receiver", "array", "subscan")
        assert {"signal_freqs", "image_freqs", "mjd", "elevation", "pixel", "otf_lon"} <= set(scan.spectra.coords)
        assert scan.mjd.dtype.kind == "M"
        assert str(scan.pixel.values[0, 0]) == "CHAI_PX00"
        assert scan.spectra.attrs["units"] == "K"

    @pytest.mark.slow
    def test_xarray_looks_for_consolidated_metadata_and_does_without(self, product):
        with pytest.warns(RuntimeWarning, match="consolidated"):
            scan = xarray.open_zarr(product.path, group="scan_000001", chunks=None)
        xarray.testing.assert_identical(scan.load(), product.open_scan(1).load())

    def test_every_array_is_described(self, product):
        group = zarr.open_group(product.path / "scan_000001", mode="r")
        assert set(L1_ARRAYS) == set(group.array_keys())
        for name, array in group.arrays():
            spec = L1_ARRAYS[name]
            assert array.metadata.dimension_names is not None, name
            assert tuple(array.metadata.dimension_names) in spec.dims
            assert array.attrs["long_name"] == spec.long_name
            assert "_FillValue" not in array.attrs
            if spec.dtype != "str":
                assert str(array.dtype) == spec.dtype
            if array.dtype.kind == "f":
                assert np.isnan(array.fill_value)
            codec = json.loads((product.path / "scan_000001" / name / "zarr.json").read_text())["codecs"][-1]
            assert codec["name"] == "crc32c" if array.dtype.kind == "f" else codec["configuration"]["checksum"] is True

    @pytest.mark.parametrize("name", [n for n in L1_ARRAYS if n != "mjd"])
    @pytest.mark.parametrize("form", [None, "fits", "vounit"])
    def test_units_are_ones_that_astropy_knows(self, name, form):
        unit = units.Unit(L1_ARRAYS[name].units, format=form)
        assert unit.is_equivalent(units.Unit(L1_ARRAYS[name].units))

    @pytest.mark.slow
    def test_flags_carry_their_meaning(self, product):
        attributes = product.open_scan(1).flags.attrs
        meanings = dict(zip(attributes["flag_meanings"].split(), attributes["flag_masks"], strict=True))
        assert meanings["BAD_CHANNEL"] == 1
        assert meanings["FILL_VALUE"] == 2
        assert meanings["MANUAL"] == 128

    @pytest.mark.slow
    def test_attributes_tell_where_it_comes_from(self, product, session, atm_table):
        attributes = product.open_scan(1).attrs
        provenance = attributes["provenance"]
        assert provenance["l0_store"] == str(session)
        assert provenance["calibration_scans"] == [1]
        assert provenance["calibration_reason"] == "own"
        assert provenance["atm_file"] == atm_table.name
        assert len(provenance["atm_sha256"]) == 64
        assert provenance["parameters"]["steps"]["loads"]["forward_efficiency"] == [0.95]
        assert attributes["mode"] == "otf"
        assert attributes["cal_strategy"] == "full"
        assert attributes["scan_metadata"]["coord_frame"] == "icrs"
        done = dict.fromkeys(("loads", "prepare", "atmosphere", "calibrate"), "COMPLETE")
        assert attributes["cal_step"] == dict.fromkeys(CalibrationPipeline.step_defs, "SKIPPED") | done
        assert attributes["qa"]["flagged_fraction"] == 0.0

    @pytest.mark.slow
    def test_there_is_no_nan_in_the_metadata(self, session, calibrate):
        product = calibrate(session, "fixed.zarr", atmosphere={"strategy": "fixed", "pwv": 0.5})
        json.loads((product.path / "scan_000001" / "zarr.json").read_text(), parse_constant=pytest.fail)
        assert product.open_scan(1).attrs["pwv_err_mm"] is None

    @pytest.mark.slow
    def test_total_power_has_no_airmass_of_a_map(self, make_session, calibrate):
        scan = calibrate(make_session(channels=8, mode="total_power")).open_scan(1)
        assert "otf_airmass" not in scan.variables
        assert scan.attrs["mode"] == "total_power"


@pytest.mark.slow
def test_a_scan_logs_one_line_and_the_root_logger_is_left_alone(session, atm_table, tmp_path, caplog):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        CalibrationPipeline.call(
            str(session),
            output_file=str(tmp_path / "l1.zarr"),
            steps={"atmosphere": {"override_atm": str(atm_table)}},
            configure_log=False,
        )
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("scan ")]
    assert len(lines) == 2
    for word in ("PWV", "±", "T_rec", "T_sys", "DSB", "scale", "flagged", "sky_misfit (not known)"):
        assert word in lines[0]
    assert (root.level, list(root.handlers)) == before


@pytest.mark.slow
def test_the_line_of_a_scan_with_two_bands(make_session, tmp_path, caplog):
    session = make_session(preset="ccat_chai_dual", table=None, channels=16, pixels=1)
    fixed = {"atmosphere": {"strategy": "fixed", "pwv": 0.6}}
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        CalibrationPipeline.call(session, output_file=str(tmp_path / "l1.zarr"), steps=fixed, configure_log=False)
    messages = [record.getMessage() for record in caplog.records]
    assert "parameter file of scan 1: cfg/ccat_chai_otf.asdf" in messages
    (line,) = [message for message in messages if message.startswith("scan 1 ")]
    head, *bands = line.split("; ")
    assert [head, len(bands)] == ["scan 1 SIM-ORION", 2]
    for number, band in enumerate(bands):
        assert band.startswith(f"band_{number}, otf, PWV 0.6 mm (given), T_rec ")


@pytest.mark.slow
def test_a_run_that_sets_up_logging_takes_it_down_again(session, atm_table, tmp_path):
    loggers = [logging.getLogger(name) for name in (None, "cal_pipeline", "stpipe")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    steps = {"atmosphere": {"override_atm": str(atm_table)}}
    CalibrationPipeline.call(str(session), output_file=str(tmp_path / "l1.zarr"), steps=steps, scans="1")
    assert [(logger.level, list(logger.handlers)) for logger in loggers] == before


class TestStepsAlone:
    """Each step can be saved, run alone, and skipped."""

    @pytest.mark.slow
    def test_a_saved_step_continues_as_in_the_pipeline(self, session, calibrate, atm_table, tmp_path):
        product = calibrate(session, scans="1", prepare={"save_results": True}, calibrate={"save_results": True})
        saved = sorted(path.name for path in tmp_path.glob("*.asdf"))
        assert saved == ["scan_000001_calibrate.asdf", "scan_000001_prepare.asdf"]
        scan = AtmosphereStep.call(
            str(tmp_path / "scan_000001_prepare.asdf"), override_atm=str(atm_table), configure_log=False
        )
        scan = CalibrateStep().run(scan)
        found = product.open_scan(1).load()
        assert float(scan.bands[0].atmosphere.fit.pwv) == float(found.pwv)
        np.testing.assert_array_equal(scan.bands[0].calibration.t_sys, found.t_sys)
        np.testing.assert_array_equal(scan.bands[0].calibration.sigma, found.sigma)

    @pytest.mark.slow
    def test_strun_runs_one_step(self, warm, session, calibrate, atm_table, tmp_path):
        calibrate(session, scans="1", prepare={"save_results": True})
        file = tmp_path / "scan_000001_prepare.asdf"
        outcome = warm.run(
            "strun", "cal_pipeline.steps.AtmosphereStep", file, f"--override_atm={atm_table}", cwd=tmp_path
        )
        assert outcome.returncode == 0, outcome.stderr
        assert (tmp_path / "scan_000001_atmosphere.asdf").exists()

    def test_a_step_takes_a_scan_of_a_session(self, session):
        scan = LoadsStep().run(str(session / "scan_000002"))
        assert scan.number == 2
        assert scan.bands[0].loads.reason == "own"
        with pytest.raises(Exception, match="holds 2 scans and a step takes one"):
            LoadsStep().run(str(session))

    @pytest.mark.slow
    @pytest.mark.parametrize("skipped", ["loads", "prepare", "atmosphere"])
    def test_what_is_needed_cannot_be_skipped(self, session, calibrate, skipped, tmp_path):
        with pytest.raises(Exception, match="2 of 2 scans"):
            calibrate(session, **{skipped: {"skip": True}})
        failure = CalibratedSession(tmp_path / "l1.zarr").failures[0]
        assert failure["error_class"] == "MissingInputError"
        assert f"'{skipped}'" in failure["message"]

    @pytest.mark.slow
    def test_without_the_last_step_there_are_no_spectra(self, session, calibrate):
        scan = calibrate(session, calibrate={"skip": True}).open_scan(1)
        assert "spectra" not in scan.variables
        assert float(scan.pwv) > 0
        assert scan.attrs["cal_step"]["calibrate"] == "SKIPPED"


@pytest.mark.slow
def test_an_assumed_forward_efficiency_is_told_once(session, atm_table, tmp_path, caplog):
    for scan in ("scan_000001", "scan_000002"):
        zarr.open_group(session, path=scan, mode="r+").attrs["frontend"] = "another"
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        product = CalibrationPipeline.call(
            str(session),
            output_file=str(tmp_path / "l1.zarr"),
            steps={"atmosphere": {"override_atm": str(atm_table)}},
            configure_log=False,
        )
    assert caplog.text.count("forward_efficiency is not given") == 1
    assert product.attributes(1)["provenance"]["forward_efficiency"] == [1.0]


@pytest.mark.slow
def test_the_forward_efficiency_of_the_telescope_is_taken(session, atm_table, tmp_path):
    product = CalibrationPipeline.call(
        str(session),
        output_file=str(tmp_path / "l1.zarr"),
        steps={"atmosphere": {"override_atm": str(atm_table)}},
        configure_log=False,
    )
    provenance = product.attributes(1)["provenance"]
    assert provenance["forward_efficiency"] == [0.95]
    assert provenance["telescope_profile"] == "CCAT"
    assert len(provenance["telescope_sha256"]) == 64


def test_the_list_of_steps_is_true():
    from stpipe.utilities import import_class

    classes = [import_class(step.class_name) for step in list_steps()]
    pipelines = [cls for cls, step in zip(classes, list_steps(), strict=True) if step.is_pipeline]
    assert [cls.class_alias for cls in classes] == [step.class_alias for step in list_steps()]
    assert CalibrationPipeline in pipelines
    assert len(set(classes)) == len(classes)
    in_pipelines = {cls for pipeline in pipelines for cls in (pipeline, *pipeline.step_defs.values())}
    # Steps of the Cherenkov family are tools, few of which a pipeline chains.
    tools = {getattr(cherenkov, name) for name in cherenkov.__all__}
    assert set(classes) == in_pipelines | tools
    assert all(
        classes.index(step) > classes.index(pipeline) for pipeline in pipelines for step in pipeline.step_defs.values()
    )


@pytest.mark.slow
def test_no_network_and_no_server_settings_are_needed(session, calibrate, monkeypatch):
    for name in [name for name in os.environ if name.startswith("CRDS")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was tried"))
    assert calibrate(session, scans="1").numbers == [1]
