"""The radiometer equation, and rounding to the noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.noise import expected_noise, round_to_noise


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


class TestRounding:
    def rounded(self, values, sigma):
        spectra = np.array(values, np.float64).reshape(1, -1, 1, 1)
        round_to_noise(spectra, np.full((1, 1, 1), sigma, np.float32), spectra)
        return spectra.ravel()

    @pytest.mark.slow
    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(1e-4, 1e4))
    def test_the_error_is_below_one_percent_of_the_noise(self, values, sigma):
        assert (np.abs(self.rounded(values, sigma) - values) <= 0.01 * np.float32(sigma)).all()

    def test_any_order_in_memory(self):
        values = np.random.default_rng(4).normal(size=(2, 3, 2, 2))
        sigma = np.asfortranarray(np.arange(1.0, 9.0, dtype=np.float32).reshape(2, 2, 2))
        found = {order: np.empty(values.shape) for order in "CF"}
        for order, out in found.items():
            round_to_noise(np.array(values, order=order), sigma, out)
        np.testing.assert_array_equal(found["C"], found["F"])
        assert (np.abs(found["C"] - values) <= 0.01 * sigma[:, None]).all()
        assert (found["C"] != values).any()

    @pytest.mark.slow
    @given(st.floats(1e-4, 1e4))
    def test_what_is_left_are_multiples_of_a_power_of_two(self, sigma):
        step = 2.0 ** np.floor(np.log2(0.02 * np.float64(np.float32(sigma))))
        values = np.random.default_rng(1).normal(size=50) * sigma
        multiples = self.rounded(values, sigma) / step
        np.testing.assert_array_equal(multiples, np.rint(values / step))

    def test_means_of_many_spectra_stay_unbiased(self):
        rng = np.random.default_rng(2)
        for level in (0.0, 0.003, -0.0071):
            values = rng.normal(loc=level, size=10000)
            bias = (self.rounded(values, 1.0) - values).mean()
            assert abs(bias) < 4 * 0.01 / np.sqrt(3.0 * 10000)

    @pytest.mark.parametrize("sigma", [np.nan, np.inf, 0.0])
    def test_without_a_noise_to_go_by_nothing_is_rounded(self, sigma):
        values = np.array([1.23456789, np.nan])
        np.testing.assert_array_equal(self.rounded(values, sigma), values)
