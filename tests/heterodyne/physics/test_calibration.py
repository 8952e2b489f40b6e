"""The calibration equation and the radiometer equation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.calibration import (
    antenna_temperature,
    couple_beams,
    expected_noise,
    kelvin_per_count,
    round_to_noise,
)


def test_flags_and_nan_go_together():
    on = np.full((3, 2, 1, 1), 10.0)
    on[0, 1] = np.nan
    reference = np.full((3, 1, 1), 4.0)
    reference[1] = np.nan
    bad = np.array([False, False, True]).reshape(3, 1, 1)
    factor = np.array([2.0, 2.0, np.nan]).reshape(3, 1, 1)
    spectra, flags, missing = antenna_temperature(on, reference, factor, bad)
    assert missing[:, :, 0, 0].tolist() == [[False, True], [True, True], [False, False]]
    assert flags[:, :, 0, 0].tolist() == [[0, 2], [2, 2], [1, 1]]
    assert spectra[0, 0, 0, 0] == 12.0
    assert (np.isnan(spectra) == (flags != 0)).all()
    assert flags.dtype == np.uint16


def test_both_flags_can_be_set():
    on = np.full((1, 1, 1, 1), np.nan)
    _, flags, _ = antenna_temperature(on, np.zeros((1, 1, 1)), np.full((1, 1, 1), np.nan), np.ones((1, 1, 1), bool))
    assert flags.item() == 3


def test_a_reference_may_differ_from_dump_to_dump():
    on = np.arange(4.0).reshape(1, 4, 1, 1) + 10.0
    spectra, _, missing = antenna_temperature(on.copy(), on - 1.0, np.full((1, 1, 1), 3.0), np.zeros((1, 1, 1), bool))
    np.testing.assert_array_equal(spectra, 3.0)
    assert missing is None


@pytest.mark.parametrize("kind", [np.int32, np.uint16, np.float64])
@pytest.mark.parametrize("pixels", [(1, 1), (2, 2), (3, 4)])
@pytest.mark.parametrize("per_dump", [False, True], ids=["one reference", "one for each dump"])
def test_every_sample_is_calibrated_with_what_belongs_to_its_pixel(kind, pixels, per_dump):
    # Spectra that are chosen, and counts that are made of them with powers of two, so that nothing is rounded.
    rng = np.random.default_rng(3)
    shape = (4, 3, *pixels)
    wanted = rng.integers(-50, 50, shape).astype(float)
    levels = rng.integers(1000, 9000, shape if per_dump else (4, *pixels)).astype(float)
    factor = np.asfortranarray(2.0 ** rng.integers(-3, 1, (4, *pixels)))
    counts = (wanted / factor[:, None] + (levels if per_dump else levels[:, None])).astype(kind)
    reference = levels.astype(kind) if per_dump else np.asfortranarray(levels)
    good = np.zeros((4, *pixels), bool)
    spectra, flags, missing = antenna_temperature(counts, reference, factor, good)
    np.testing.assert_array_equal(spectra, wanted)
    assert flags.shape == shape
    assert not flags.any()
    assert missing is None
    if kind is np.float64:
        counts[2, 1, 0, 0] = np.nan
        spectra, flags, missing = antenna_temperature(counts, reference, factor, good)
        assert np.argwhere(missing).tolist() == np.argwhere(flags).tolist() == [[2, 1, 0, 0]]
        np.testing.assert_array_equal(spectra[~missing], wanted[~missing])
    out = np.empty(shape)
    assert antenna_temperature(counts, reference, factor, good, out)[0] is out
    np.testing.assert_array_equal(out, spectra)
    with pytest.raises(ValueError, match="in C order"):
        antenna_temperature(counts, reference, factor, good, np.empty(shape[::-1]).T)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 2)], ids=["one for all", "of each array", "of each pixel"])
def test_a_transmission_may_serve_several_pixels(shape):
    transmission = np.asfortranarray(2.0 ** -np.arange(1.0, 1.0 + 2 * np.prod(shape)).reshape(2, *shape))
    one, good = np.ones((2, 3, 2)), np.zeros((2, 3, 2), bool)
    factor = kelvin_per_count(8.0 * one, 2.0 * one, transmission, good)
    np.testing.assert_array_equal(factor * transmission, 4.0 * one)
    noise = expected_noise(one, transmission, 4.0, 1.0, 0.0 * one)
    np.testing.assert_array_equal(noise * transmission, 0.5 * one)


def test_results_go_where_they_are_wanted():
    one, bad = np.ones((2, 1, 1)), np.array([False, True]).reshape(2, 1, 1)
    factors, noises = np.zeros((2, 1, 1, 3), order="F"), np.zeros((2, 1, 1, 3), np.float32, order="F")
    kelvin_per_count(one, one, one, bad, out=factors[..., 1])
    expected_noise(one, np.where(bad, 0.0, 1.0), 1.0, 1.0, 0.0 * one, out=noises[..., 2])
    np.testing.assert_array_equal(factors[:, 0, 0], [[0.0, 1.0, 0.0], [0.0, np.nan, 0.0]])
    np.testing.assert_array_equal(noises[:, 0, 0], [[0.0, 0.0, 1.0], [0.0, 0.0, np.nan]])


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


def test_beams_are_averaged_and_flags_joined():
    one = np.array([1.0, 2.0, np.nan]), np.array([0, 0, 2], np.uint16)
    two = np.array([3.0, np.nan, np.nan]), np.array([0, 1, 1], np.uint16)
    kelvin, flags = couple_beams(one, two)
    np.testing.assert_array_equal(kelvin, [2.0, np.nan, np.nan])
    assert flags.tolist() == [0, 1, 3]


class TestRounding:
    def rounded(self, values, sigma):
        spectra = np.array(values, np.float64).reshape(1, -1, 1, 1)
        round_to_noise(spectra, np.full((1, 1, 1), sigma, np.float32))
        return spectra.ravel()

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(1e-4, 1e4))
    def test_the_error_is_below_one_percent_of_the_noise(self, values, sigma):
        assert (np.abs(self.rounded(values, sigma) - values) <= 0.01 * np.float32(sigma)).all()

    def test_any_order_in_memory(self):
        values = np.random.default_rng(4).normal(size=(2, 3, 2, 2))
        sigma = np.asfortranarray(np.arange(1.0, 9.0, dtype=np.float32).reshape(2, 2, 2))
        found = {order: np.array(values, order=order) for order in "CF"}
        for spectra in found.values():
            round_to_noise(spectra, sigma)
        np.testing.assert_array_equal(found["C"], found["F"])
        assert (np.abs(found["C"] - values) <= 0.01 * sigma[:, None]).all()
        assert (found["C"] != values).any()

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
