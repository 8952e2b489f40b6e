"""The calibration equation and the radiometer equation."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.physics.calibration import antenna_temperature, expected_noise, kelvin_per_count


def test_flags_and_nan_go_together():
    on = np.full((3, 2, 1, 1), 10.0)
    on[0, 1] = np.nan
    reference = np.full((3, 1, 1), 4.0)
    reference[1] = np.nan
    bad = np.array([False, False, True]).reshape(3, 1, 1)
    factor = np.array([2.0, 2.0, np.nan]).reshape(3, 1, 1)
    spectra, flags = antenna_temperature(on, reference, factor, bad)
    assert flags[:, :, 0, 0].tolist() == [[0, 2], [2, 2], [1, 1]]
    assert spectra[0, 0, 0, 0] == 12.0
    assert (np.isnan(spectra) == (flags != 0)).all()
    assert flags.dtype == np.uint16


def test_both_flags_can_be_set():
    on = np.full((1, 1, 1, 1), np.nan)
    _, flags = antenna_temperature(on, np.zeros((1, 1, 1)), np.full((1, 1, 1), np.nan), np.ones((1, 1, 1), bool))
    assert flags.item() == 3


def test_a_reference_may_differ_from_dump_to_dump():
    on = np.arange(4.0).reshape(1, 4, 1, 1) + 10.0
    spectra, _ = antenna_temperature(on, on - 1.0, np.full((1, 1, 1), 3.0), np.zeros((1, 1, 1), bool))
    np.testing.assert_array_equal(spectra, 3.0)


def test_factor_is_nan_in_bad_channels():
    one = np.ones((2, 1, 1))
    difference = np.array([100.0, 0.0]).reshape(2, 1, 1)
    factor = kelvin_per_count(200.0 * one, difference, 0.5 * one, difference == 0.0)
    assert factor[0, 0, 0] == pytest.approx(4.0)
    assert np.isnan(factor[1, 0, 0])


def test_expected_noise_is_the_scatter_of_on_minus_off():
    # Fluctuations of relative size 1/sqrt(B t) in counts of a system of 300 K; ON of 1 s, mean of 4 dumps of 2 s of one
    # OFF and the same of another, interpolated with 0.25 and 0.75; a line couples with 0.4.
    rng = np.random.default_rng(0)
    t_sys, width, n = 300.0, 1e5, 40000
    on = t_sys * (1 + rng.normal(size=n) / np.sqrt(width * 1.0))
    offs = t_sys * (1 + rng.normal(size=(2, 4, n)) / np.sqrt(width * 2.0)).mean(axis=1)
    spectrum = (on - 0.25 * offs[0] - 0.75 * offs[1]) / 0.4
    one = np.ones((1, 1, 1))
    variance = (0.25**2 + 0.75**2) / (4 * 2.0)
    found = expected_noise(t_sys * one, 0.4 * one, width, 1.0, variance * one)
    assert found.item() == pytest.approx(spectrum.std(), rel=0.015)
