"""Figures of quality."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.quality import (
    extrapolated_share,
    gain_change,
    jump_against_median,
    load_instability,
    noise_ratio,
)

RNG = np.random.default_rng(1)


class TestNoiseRatio:
    @pytest.mark.slow
    @pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
    def test_noise_of_a_known_strength(self, ratio):
        sigma = np.broadcast_to(np.linspace(0.5, 2.0, 4000)[:, None, None, None], (4000, 2, 1, 3))
        spectra = ratio * sigma * RNG.normal(size=sigma.shape)
        np.testing.assert_allclose(noise_ratio(spectra, sigma), ratio, rtol=0.05)

    @pytest.mark.slow
    def test_lines_baselines_and_what_is_missing_hardly_count(self):
        x = np.linspace(-1.0, 1.0, 4000)[:, None, None, None]
        sigma = np.ones((4000, 1, 1, 2))
        spectra = RNG.normal(size=sigma.shape) + 50.0 * x**2 + 300.0 * np.exp(-((x / 0.02) ** 2))
        spectra[100:200] = np.nan
        assert noise_ratio(spectra, sigma)[0, 0] == pytest.approx(1.0, abs=0.1)

    def test_a_pixel_without_data(self):
        spectra = RNG.normal(size=(64, 2, 1, 1))
        spectra[:, 1] = np.nan
        ratio = noise_ratio(spectra, np.ones(spectra.shape))
        assert np.isfinite(ratio[0, 0])
        assert np.isnan(ratio[1, 0])

    @pytest.mark.parametrize("shape", [(1, 1, 1, 2), (0, 1, 1, 2), (64, 1, 1, 0)])
    def test_nothing_to_compare(self, shape):
        assert np.isnan(noise_ratio(np.ones(shape), np.ones(shape))).all()

    def test_channels_of_which_no_noise_is_expected_do_not_count(self):
        sigma = np.ones((4000, 1, 1, 1))
        spectra = RNG.normal(size=sigma.shape)
        sigma[100:110] = 0.0
        spectra[100:105] = 0.0
        assert noise_ratio(spectra, sigma)[0, 0] == pytest.approx(1.0, abs=0.1)


def test_load_instability_is_relative_to_the_mean():
    levels = np.array([[[100.0, 5.0]], [[102.0, np.nan]], [[98.0, np.nan]]])
    found = load_instability(levels)
    assert found[0, 0] == pytest.approx(0.02)
    assert np.isnan(found[0, 1])


def test_gain_change():
    before = np.full((5, 2, 1), 100.0)
    after = before * np.array([1.03, 0.9])[None, :, None]
    after[0, 0] = 1e6
    bad = np.zeros(before.shape, bool)
    bad[:, 1] = True
    change = gain_change(before, after, bad)
    assert change[0, 0] == pytest.approx(0.03)
    assert np.isnan(change[1, 0])


def test_median_of_finite():
    values = np.array([[1.0, np.nan], [3.0, np.inf], [8.0, np.nan]])
    np.testing.assert_array_equal(median_of_finite(values, 0), [3.0, np.nan])
    np.testing.assert_array_equal(median_of_finite(values[:, :1], (0, 1)), 3.0)


def test_wide_bands_are_told_by_a_part_of_their_channels():
    rng = np.random.default_rng(8)
    noise = rng.normal(0.0, 2.0, (20000, 1, 1, 2))
    assert noise_ratio(noise, np.ones(noise.shape))[0, 0] == pytest.approx(2.0, rel=0.05)


def test_a_jump_against_the_median_of_earlier_values():
    now, three = np.array([[130.0, 90.0, np.nan]]), [np.array([[x, x, x]]) for x in (99.0, 100.0, 1e4)]
    np.testing.assert_allclose(jump_against_median(now, three), [[0.3, 0.1, np.nan]], rtol=1e-12)
    # The second pixel lacks one of three.
    three[0][0, 1] = np.nan
    np.testing.assert_allclose(jump_against_median(now, three)[0, :2], [0.3, np.nan], rtol=1e-12)
    assert np.isnan(jump_against_median(now, three[1:])).all()


def test_ons_beyond_their_offs():
    valid = np.array([[[True, True], [False, True], [False, False]]])
    share = extrapolated_share(np.array([0.5, 1.0, 1.5, 2.5, 3.0]), np.array([1.0, 2.0]), valid)
    np.testing.assert_array_equal(share, [[0.6, 1.0, np.nan]])
