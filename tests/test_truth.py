"""Sessions without noise: the pipeline finds what the simulator put in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_atm import under_one_layer, write_test_atm_table

from cal_pipeline.simulate import (
    DeadChannels,
    Faults,
    GaussianSource,
    Line,
    MissingDumps,
    Spur,
    preset,
    read_truth,
    simulate,
)

WIDE_LINE = Line(20.0, fwhm_hz=0.4e9, source=GaussianSource(fwhm_deg=0.3))
"""A line that few channels and pixels see."""


def found_and_true(session, product, scan=1, band=None):
    calibrated = product.open_scan(scan, band).load()
    truth = read_truth(session, scan, band or 0)
    return calibrated, calibrated.spectra.values, truth.t_a_star(), truth


def within_specification(found, true):
    """1e-3 of the truth or 0.02 K, whichever is larger."""
    return np.abs(found - true) <= np.maximum(1e-3 * np.abs(true), 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["otf", "total_power"])
@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_every_good_channel_of_every_pixel_at_the_true_pwv(make_session, calibrate, mode, dtype):
    session = make_session(channels=64, pixels=4, mode=mode, noise=False, dtype=dtype, pwv=0.6, lines=(WIDE_LINE,))
    product = calibrate(session, atmosphere={"strategy": "fixed", "pwv": 0.6})
    scan, found, true, truth = found_and_true(session, product)
    assert (scan.flags == 0).all()
    assert true.max() > 1.0
    assert within_specification(found, true).all()
    np.testing.assert_allclose(scan.t_sys, truth.t_sys(), rtol=2e-4)
    np.testing.assert_allclose(scan.t_rec_ssb, truth.t_rec_ssb, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("pwv", [0.2, 0.6, 3.0])
def test_full_fit_finds_the_water(make_session, calibrate, pwv):
    session = make_session(channels=64, noise=False, pwv=pwv)
    scan, found, true, _ = found_and_true(session, calibrate(session))
    assert float(scan.pwv) == pytest.approx(pwv, rel=5e-3)
    assert within_specification(found, true).all()


@pytest.mark.slow
def test_what_remains_is_quantisation_and_the_curvature_of_the_off(make_session, calibrate):
    source = preset("ccat_chai").source
    level = dataclasses.replace(source, elevation_deg=55.0)
    worst = {}
    for name, settings in {
        "rising, rounded": {},
        "rising": {"dtype": "float64"},
        "level, rounded": {"source": level},
        "level": {"dtype": "float64", "source": level},
    }.items():
        session = make_session(f"{name}.zarr", noise=False, lines=(WIDE_LINE,), **settings)
        product = calibrate(session, f"{name}_l1.zarr", atmosphere={"strategy": "fixed", "pwv": 0.5})
        _, found, true, _ = found_and_true(session, product)
        worst[name] = np.abs(found - true).max()
    assert worst["level"] < 1e-11
    # One count in about 1e7 K^-1: the noise of rounding four numbers.
    assert 1e-11 < worst["level, rounded"] < 1e-2
    assert 1e-11 < worst["rising"] < 0.02


@pytest.mark.slow
def test_single_sideband_receiver(make_session, calibrate):
    receiver = dataclasses.replace(preset("ccat_chai").receivers[0], image_gain=0.0, channels=64)
    session = make_session(receivers=(receiver,), channels=64, noise=False, dtype="float64")
    product = calibrate(session, loads={"image_gain": 0.0})
    scan, found, true, _ = found_and_true(session, product)
    assert within_specification(found, true).all()
    assert np.isnan(scan.tau_image).all()
    assert float(scan.pwv) == pytest.approx(0.5, rel=5e-3)


@pytest.mark.slow
def test_line_in_the_image_band_appears_scaled_by_the_transmissions(make_session, calibrate):
    config = preset("ccat_chai")
    receiver = config.receivers[0]
    line = dataclasses.replace(WIDE_LINE, freq_hz=receiver.image_freq - 0.3e9)
    session = make_session(channels=64, noise=False, dtype="float64", lines=(line,))
    product = calibrate(session, atmosphere={"strategy": "fixed", "pwv": 0.5})
    _, found, true, truth = found_and_true(session, product)
    assert true.max() > 1.0, "the simulated line must be seen through the image band"
    assert np.abs(truth.t_a_star(image=False)).max() < 1e-9
    assert within_specification(found, true).all()


@pytest.mark.slow
def test_faults_stay_where_they_are(make_session, calibrate):
    clean = make_session("clean.zarr", noise=False)
    faults = Faults(
        missing=(MissingDumps(subscan=1, dumps=(2,), receiver=0), MissingDumps(subscan=3, receiver=1)),
        dead=(DeadChannels(5, 7, receiver=1),),
        spurs=(Spur(channel=20, temperature=500.0, kinds=("on",), dumps=(0,), receiver=0),),
    )
    faulty = make_session("faulty.zarr", noise=False, faults=faults)
    fixed = {"strategy": "fixed", "pwv": 0.5}
    before = calibrate(clean, "a.zarr", atmosphere=fixed).open_scan(1).load()
    after = calibrate(faulty, "b.zarr", atmosphere=fixed).open_scan(1).load()
    truth = read_truth(faulty, 1)
    missing = np.broadcast_to(truth.missing[..., truth.on], before.spectra.shape)
    dead = np.zeros(before.spectra.shape, bool)
    dead[5:7, :, 1] = True
    np.testing.assert_array_equal(after.flags.values & 2 != 0, missing)
    np.testing.assert_array_equal(after.flags.values & 1 != 0, dead)
    np.testing.assert_array_equal(np.isnan(after.spectra.values), missing | dead)
    spur = np.zeros(before.spectra.shape, bool)
    spur[20, 0, 0] = True
    untouched = ~(missing | dead | spur)
    # An OFF that is missing in a pixel makes the other OFFs its reference there; nothing else may change.
    np.testing.assert_allclose(after.spectra.values[untouched], before.spectra.values[untouched], rtol=1e-9, atol=2e-3)


@pytest.mark.slow
def test_two_bands_are_calibrated_on_their_own(tmp_path, calibrate):
    table = write_test_atm_table(tmp_path / "two.asdf", windows=[(450e9, 500e9), (780e9, 820e9)])
    config = under_one_layer(preset("ccat_chai_dual", channels=32, pixels=2, mode="otf", table=str(table), noise=False))
    simulate(config, tmp_path / "dual.zarr")
    product = calibrate(tmp_path / "dual.zarr", atmosphere={"override_atm": str(table)})
    for band in (0, 1):
        scan, found, true, _ = found_and_true(tmp_path / "dual.zarr", product, band=band)
        assert scan.sizes["channel"] == 32
        assert within_specification(found, true).all()
        assert float(scan.pwv) == pytest.approx(0.5, rel=5e-3)
    assert product.open_scan(1, 0).attrs["line"] != product.open_scan(1, 1).attrs["line"]
