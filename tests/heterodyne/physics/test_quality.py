"""Figures of quality."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.quality import gain_change, load_instability, noise_ratio, ripple

RNG = np.random.default_rng(1)


class TestNoiseRatio:
    @pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
    def test_noise_of_a_known_strength(self, ratio):
        sigma = np.broadcast_to(np.linspace(0.5, 2.0, 4000)[:, None, None, None], (4000, 2, 1, 3))
        spectra = ratio * sigma * RNG.normal(size=sigma.shape)
        np.testing.assert_allclose(noise_ratio(spectra, sigma), ratio, rtol=0.05)

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


class TestRipple:
    x = np.arange(2048.0)

    def test_a_cosine_below_noise_slope_and_a_line(self):
        wave = 0.8 * np.cos(2 * np.pi * self.x / 128.0 + 0.7)
        line = 40.0 * np.exp(-(((self.x - 700) / 6.0) ** 2))
        spectrum = wave + line + 1e-3 * self.x + 0.2 * RNG.normal(size=self.x.size)
        spectrum[1500:1520] = np.nan
        amplitude, period = ripple(spectrum[:, None, None], 1e6)
        assert amplitude[0, 0] == pytest.approx(0.8, rel=0.05)
        assert period[0, 0] == pytest.approx(128e6, rel=0.02)

    @pytest.mark.parametrize(
        ("periods", "loss"),
        [(2.25, 0.20), (2.8, 0.20), (3.15, 0.12), (4.5, 0.12), (8.4, 0.04), (10.5, 0.04), (100.6, 0.04), (250.4, 0.04)],
    )
    def test_a_ripple_that_does_not_divide_the_band(self, periods, loss):
        phases = np.linspace(0.0, 2 * np.pi, 9)
        waves = 0.8 * np.cos(2 * np.pi * periods * self.x[:, None] / self.x.size + phases)
        amplitude, period = ripple((waves + 1e-3 * RNG.normal(size=waves.shape))[:, :, None], 1e6)
        assert (amplitude >= 0.8 * (1 - loss)).all()
        assert (amplitude <= 0.8 * 1.02).all()
        np.testing.assert_allclose(self.x.size * 1e6 / period, periods, atol=0.25)

    def test_pixels_do_not_see_each_other(self):
        waves = [a * np.cos(2 * np.pi * self.x / p) for a, p in ((0.5, 100.0), (2.0, 37.0), (0.1, 700.0))]
        spectra = np.stack(waves, axis=-1)[..., None] + 1e-3 * RNG.normal(size=(self.x.size, 3, 1))
        together = ripple(spectra, 1.0)
        for pixel in range(3):
            alone = ripple(spectra[:, pixel : pixel + 1], 1.0)
            np.testing.assert_allclose([v[pixel] for v in together], [v[0] for v in alone], rtol=1e-9)

    def test_noise_has_none(self):
        amplitude, _ = ripple(RNG.normal(size=(2048, 2, 1)), 1e6)
        assert (amplitude < 0.2).all()

    def test_pixels_without_data_and_bands_that_are_too_short(self):
        spectrum = RNG.normal(size=(64, 2, 1))
        spectrum[:, 1] = np.nan
        amplitude, period = ripple(spectrum, 1e6)
        assert np.isfinite([amplitude[0, 0], period[0, 0]]).all()
        assert np.isnan([amplitude[1, 0], period[1, 0]]).all()
        assert np.isnan(ripple(RNG.normal(size=(8, 1, 1)), 1e6)[0]).all()


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
    channel = np.arange(20000)
    noise = rng.normal(0.0, 2.0, (20000, 1, 1, 2))
    assert noise_ratio(noise, np.ones(noise.shape))[0, 0] == pytest.approx(2.0, rel=0.05)
    line = 50.0 * np.exp(-0.5 * ((channel - 9000) / 100.0) ** 2)
    spectrum = 0.5 * np.cos(2.0 * np.pi * 40.25 * channel / 20000) + line + rng.normal(0.0, 0.1, 20000)
    amplitude, period = ripple(spectrum[:, None, None], 1e6)
    assert amplitude[0, 0] == pytest.approx(0.5, rel=0.05)
    assert period[0, 0] == pytest.approx(20000e6 / 40.25, rel=1e-6)
