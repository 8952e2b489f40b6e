"""Nothing that is no number is published as good data, whatever the way in which it comes about."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import zarr
from helpers_l0 import FILL, loads_counts, write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.errors import NotFiniteError
from cal_pipeline.heterodyne.physics.calibration import antenna_temperature, couple_beams
from cal_pipeline.heterodyne.physics.noise import expected_noise
from cal_pipeline.heterodyne.product import CalibratedSession

GAIN = 1e5 * (1.0 + 0.05 * np.arange(14.0)).reshape(7, 2, 1)
TEMPERATURES = [100.0, 110.0, 120.0, 101.0]


@pytest.fixture
def session(tmp_path):
    def make(source=None, calibration=None):
        store = tmp_path / "session.zarr"
        shutil.rmtree(store, ignore_errors=True)
        counts = loads_counts(GAIN, 90.0, TEMPERATURES, dumps=3)
        write_scan(store, 1, gain=GAIN, source={"counts": counts} | (source or {}), calibration=calibration)
        return store

    return make


@pytest.fixture
def run(tmp_path, atm_table):
    def calibrate(store, name="l1.zarr", **steps):
        steps = {"atmosphere": {"override_atm": str(atm_table)} | steps.pop("atmosphere", {})} | steps
        steps["loads"] = {"forward_efficiency": 0.97} | steps.get("loads", {})
        CalibrationPipeline.call(str(store), output_file=str(tmp_path / name), steps=steps)
        return CalibratedSession(tmp_path / name).open_scan(1).load()

    return calibrate


def failure_of(run, tmp_path, store, **steps):
    """Return the recorded failure of the only scan."""
    with pytest.raises(RunFailedError) as caught:
        run(store, **steps)
    assert caught.value.exit_status == 1
    (failure,) = json.loads((tmp_path / "l1.zarr" / "failures.json").read_text())
    return failure


def assert_published_numbers_are_honest(scan):
    flags, spectra = scan.flags.values, scan.spectra.values
    np.testing.assert_array_equal(np.isfinite(spectra), flags == 0)
    assert not np.isinf(spectra).any()
    good = (flags == 0).any(axis=1)
    assert np.isfinite(scan.sigma.values[good]).all()
    assert np.isfinite(scan.t_sys.values[good]).all()


@pytest.mark.slow
@pytest.mark.parametrize("exptime", [0.0, np.nan, -1.0])
def test_loads_without_exposure_have_no_weight_in_the_fit_and_the_message_says_so(session, run, tmp_path, exptime):
    store = session(calibration={"exptime": np.full(2, exptime, np.float32)})
    failure = failure_of(run, tmp_path, store)
    assert failure["step"] in ("atmosphere", "loads")
    assert re.search("exptime", failure["message"])
    assert failure["error_class"] not in ("ValueError", "TypeError")


@pytest.mark.slow
def test_one_load_without_exposure_is_named_alone(session, run, tmp_path):
    failure = failure_of(run, tmp_path, session(calibration={"exptime": np.array([2.0, 0.0], np.float32)}))
    assert "exptime of the loads (scan 1, COLD) adds up to 0 s" in failure["message"]
    assert "HOT" not in failure["message"]


@pytest.mark.slow
def test_a_given_water_vapour_needs_no_exposure_of_the_loads(session, run):
    given = {"strategy": "fixed", "pwv": 0.7}
    good = run(session(), "good.zarr", atmosphere=given)
    odd = run(session(calibration={"exptime": np.zeros(2, np.float32)}), "odd.zarr", atmosphere=given)
    assert (odd.flags == 0).all()
    for name in ("spectra", "sigma", "t_sys", "flags"):
        np.testing.assert_array_equal(odd[name], good[name])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
def test_every_strategy_refuses_a_fit_without_a_number(session, run, tmp_path, strategy):
    store = session(calibration={"exptime": np.zeros(2, np.float32)})
    failure = failure_of(run, tmp_path, store, atmosphere={"strategy": strategy})
    assert (failure["step"], failure["error_class"]) == ("atmosphere", "NotFiniteError")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
def test_a_dead_pixel_is_flagged_and_the_others_are_calibrated(session, run, strategy):
    counts = loads_counts(GAIN, 90.0, TEMPERATURES, dumps=3)
    counts[:, :, 1] = FILL
    scan = run(session(source={"counts": counts}), atmosphere={"strategy": strategy})
    assert (scan.flags.values[:, :, 1] == 2).all()
    assert (scan.flags.values[:, :, 0] == 0).all()
    assert_published_numbers_are_honest(scan)


@pytest.mark.slow
@pytest.mark.parametrize("count", [np.inf, -np.inf, np.nan])
def test_infinite_counts_are_missing(session, run, count):
    counts = loads_counts(GAIN, 90.0, TEMPERATURES, dumps=3).astype(np.float64)
    good = run(session(source={"counts": counts}), "good.zarr")
    counts[3, 1, 0, 0, 1] = count
    scan = run(session(source={"counts": counts}), "odd.zarr")
    expected = np.zeros(scan.flags.shape, np.uint16)
    expected[3, 1, 0, 0, 0] = 2
    np.testing.assert_array_equal(scan.flags, expected)
    np.testing.assert_array_equal(scan.spectra.values[expected == 0], good.spectra.values[expected == 0])
    assert_published_numbers_are_honest(scan)


@pytest.mark.slow
def test_a_load_of_infinite_counts_makes_bad_channels(session, run):
    counts = loads_counts(GAIN, 90.0, [293.0, 77.0]).astype(np.float64)
    counts[2, :, 0, 0, 0] = np.inf
    scan = run(session(calibration={"counts": counts}))
    assert (scan.flags.values[2, :, 0] == 1).all()
    assert (scan.flags.values != 0).sum() == scan.flags.values[2, :, 0].size
    assert_published_numbers_are_honest(scan)


@pytest.mark.slow
def test_a_scan_of_missing_dumps_fails_and_says_how_many(session, run, tmp_path):
    counts = loads_counts(GAIN, 90.0, TEMPERATURES, dumps=3)
    counts[..., 1:3] = FILL
    failure = failure_of(run, tmp_path, session(source={"counts": counts}))
    assert (failure["step"], failure["error_class"]) == ("write", "NotFiniteError")
    assert "none of its 84 samples" in failure["message"]
    assert "in 84 ON or reference is missing" in failure["message"]
    assert not (tmp_path / "l1.zarr" / "scan_000001").exists()


@pytest.mark.slow
def test_a_scan_of_bad_channels_and_missing_dumps_counts_each(session, run, tmp_path):
    counts = loads_counts(GAIN, 90.0, TEMPERATURES, dumps=3)
    counts[..., 1:3] = FILL
    loads = loads_counts(GAIN, 90.0, [293.0, 77.0])
    loads[0, :, :, :, 0] = 0
    failure = failure_of(run, tmp_path, session(source={"counts": counts}, calibration={"counts": loads}))
    assert "12 are of bad channels (by the loads, or a transmission below min_transmission)" in failure["message"]
    assert "in 72 ON or reference is missing" in failure["message"]


@pytest.mark.slow
def test_efficiencies_whose_product_vanishes_fail(session, run, tmp_path):
    store = session()
    with np.errstate(all="ignore"):
        failure = failure_of(run, tmp_path, store, loads={"eta_fss": 1e-200, "gain_el_correction": 1e-120})
    assert failure["error_class"] == "NotFiniteError"
    assert "84" in failure["message"]


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"strategy": "fixed", "pwv": 0.7}], ids=["full", "fixed"])
def test_a_channel_without_width_fails_whatever_the_strategy(session, run, tmp_path, given):
    with np.errstate(all="ignore"):
        failure = failure_of(run, tmp_path, session(source={"freq_res": np.zeros(4)}), atmosphere=given)
    assert "freq_res" in failure["message"]
    assert failure["error_class"] not in ("ValueError", "TypeError")


@pytest.mark.parametrize("factor", [np.inf, np.nan, 1e305])
def test_a_sample_that_is_no_number_is_filled_unless_its_channel_is_bad(factor):
    on = np.full((3, 2, 2, 1), 1e6)
    on[0, 0, 0, 0] = np.nan
    factors, bad = np.full((3, 2, 1), 1e-4), np.zeros((3, 2, 1), bool)
    factors[1, 1, 0] = factor
    bad[2], factors[2] = True, np.nan
    on[2, 1, 0, 0] = np.nan
    spectra, flags, missing = antenna_temperature(on, np.full((3, 2, 1), 1e3), factors, bad)
    expected = np.zeros(on.shape, int)
    expected[0, 0, 0, 0], expected[1, :, 1], expected[2], expected[2, 1, 0, 0] = 2, 2, 1, 3
    np.testing.assert_array_equal(flags, expected)
    np.testing.assert_array_equal(missing, expected & 2 == 2)
    np.testing.assert_array_equal(np.isnan(spectra), expected > 0)
    assert spectra[0, 1, 0, 0] == pytest.approx(99.9)


def test_coupled_beams_of_numbers_are_numbers():
    on, zero = np.full((1, 1, 1, 1), 1.0), np.zeros((1, 1, 1))
    largest = np.full((1, 1, 1), np.nextafter(2.0**1022, 0.0))
    beam = antenna_temperature(on, zero, largest, zero.astype(bool))[:2]
    assert beam[1].item() == 0
    coupled, flags = couple_beams(beam, beam)
    assert np.isfinite(coupled).all()
    assert flags.item() == 0


def test_noise_that_32_bits_cannot_hold_is_unknown():
    one = np.ones((1, 1, 1))
    out = np.empty((1, 1, 1), np.float32, order="F")
    expected_noise(1e30 * one, 1e-12 * one, 1.0, 1.0, one, out=out)
    assert np.isnan(out).all()
    assert np.isfinite(expected_noise(1e30 * one, 1e-12 * one, 1.0, 1.0, one)).all()


def test_good_samples_whose_noise_is_no_number_are_refused(session, atm_table, tmp_path):
    from cal_pipeline.core.store.local_path import LocalStorePath
    from cal_pipeline.heterodyne.session import Session
    from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep
    from cal_pipeline.steps.heterodyne.writing import write_scan as stream_scan

    scan = Session(session()).open_scan(1)
    for step in (LoadsStep(), PrepareStep(), AtmosphereStep(override_atm=str(atm_table)), CalibrateStep()):
        scan = step.run(scan)
    scan.bands[0].calibration.sigma[4, 1, 0, 1] = np.nan
    with pytest.raises(NotFiniteError, match=r"subscan 2, channel 4, pixel PX01 sigma is nan K"):
        stream_scan(scan, LocalStorePath(tmp_path / "out"), {}, tuple(CalibrationPipeline.step_defs.values()))


def test_absent_counts_of_the_loads_make_bad_channels(session, run, caplog):
    store = session()
    group = zarr.open_group(store, path="scan_000001/calibration", mode="r+")
    counts = group["data_5d"][...]
    counts[2:4, ..., 0] = 0
    options = {"chunks": (2, *counts.shape[1:4], 1), "shards": (8, *counts.shape[1:4], 1), "fill_value": 0}
    array = group.create_array("data_5d", shape=counts.shape, dtype="int32", overwrite=True, **options)
    array[...] = counts
    scan = run(store)
    assert "calibration/data_5d: 1 chunk is not in the store" in caplog.text
    assert (scan.flags.values[2:4] == 1).all()
    assert (scan.flags.values[[0, 1, 4, 5, 6]] == 0).all()
    assert_published_numbers_are_honest(scan)
