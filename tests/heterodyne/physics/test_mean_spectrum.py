"""What the mean spectrum of a scan tells."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.mean_spectrum import MeanSpectrum, find_ripple, noise_of_mean, strongest_dip

RNG = np.random.default_rng(1)
N = 2048
X = np.arange(float(N))


def column(spectrum):
    return spectrum[:, None, None]


def sigmas(value, n_channels=N):
    return np.full((n_channels, 1, 1), value)


def line(centre, width, depth):
    return depth * np.exp(-0.5 * ((X - centre) / width) ** 2)


class TestNoiseOfMean:
    def measure(self, weights, shares, dumps_of_off, n=4000):
        """Scatter of means of ONs of 0.5 s against OFFs, made dump by dump, and the noise expected of it."""
        rng = np.random.default_rng(3)
        on = rng.normal(0.0, np.sqrt(1 / 0.5), (n, len(shares)))
        off = rng.normal(0.0, np.sqrt(1 / 2.0), (n, max(dumps_of_off), len(dumps_of_off)))
        off = np.stack([off[:, :number, k].mean(axis=1) for k, number in enumerate(dumps_of_off)], axis=1)
        dumps = on - off @ weights.T
        variance = 1.0 / (2.0 * np.array(dumps_of_off))
        sigma = np.sqrt(1 / 0.5 + (weights**2 * variance).sum(axis=1))
        np.testing.assert_allclose(dumps.std(axis=0), sigma, rtol=0.06)
        expected = noise_of_mean(
            sigma[None, None, None], np.full(len(shares), 2.0), variance[None, None], weights[None, None], shares
        )
        return (dumps @ shares).std(), expected.item()

    @pytest.mark.parametrize(
        ("weights", "shares"),
        [
            ([[1.0, 0.0]] * 5, [0.2] * 5),
            ([[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]], [1 / 3] * 3),
            ([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0.5, 0.25, 0.25]),
            ([[1.5, -0.5], [-0.5, 1.5]], [0.5, 0.5]),
        ],
    )
    def test_it_is_the_scatter_of_means(self, weights, shares):
        measured, expected = self.measure(np.array(weights), np.array(shares), (3, 1))
        assert measured == pytest.approx(expected, rel=0.05)

    def test_bad_channels_and_offs_without_weight(self):
        sigma = np.ones((2, 1, 1, 2))
        sigma[1] = np.nan
        noise = noise_of_mean(
            sigma, np.ones(2), np.array([[[1.0, np.inf]]]), np.array([[[[1.0, 0.0]] * 2]]), np.full(2, 0.5)
        )
        assert noise[0, 0, 0] == pytest.approx(np.sqrt((0.5 + 1.0) / 2.0))
        assert np.isnan(noise[1, 0, 0])


class TestRipple:
    def test_a_cosine_below_noise_slope_and_lines(self):
        wave = 0.8 * np.cos(2 * np.pi * X / 128.0 + 0.7)
        spectrum = wave + line(700, 4.0, 40.0) + line(1300, 30.0, 8.0) + 1e-3 * X + 0.2 * RNG.normal(size=N)
        spectrum[1500:1520] = np.nan
        found = find_ripple(column(spectrum), sigmas(0.2))
        assert found.amplitude[0, 0] == pytest.approx(0.8, rel=0.05)
        assert found.periods[0, 0] == pytest.approx(16.0, abs=0.25)

    @pytest.mark.parametrize("periods", [3.0, 3.15, 4.5, 8.4, 10.5, 100.6, 250.4])
    def test_a_ripple_that_does_not_divide_the_band(self, periods):
        waves = 0.8 * np.cos(2 * np.pi * periods * X[:, None] / N + np.linspace(0.0, 2 * np.pi, 9))
        found = find_ripple((waves + 1e-3 * RNG.normal(size=waves.shape))[:, :, None], np.full((N, 9, 1), 1e-3))
        # The parabola takes a part of the longest ripples, as its phase has it.
        np.testing.assert_allclose(found.amplitude, 0.8, rtol=0.04 if periods > 8 else 0.30)
        np.testing.assert_allclose(found.periods, periods, atol=0.25 if periods > 8 else 0.6)

    def test_pixels_do_not_see_each_other(self):
        waves = [a * np.cos(2 * np.pi * X / p) for a, p in ((0.5, 100.0), (2.0, 37.0), (0.1, 600.0), (0.3, 50.0))]
        spectra = (np.stack(waves, axis=-1) + 1e-3 * RNG.normal(size=(N, 4))).reshape(N, 2, 2)
        sigma = np.broadcast_to(np.array([[1.0, 2.0], [3.0, 4.0]]), spectra.shape)
        together = find_ripple(spectra, sigma)
        for index in np.ndindex(2, 2):
            part = (slice(None), *(slice(i, i + 1) for i in index))
            alone = find_ripple(spectra[part], sigma[part])
            for name in ("amplitude", "noise", "periods"):
                assert getattr(together, name)[index] == pytest.approx(getattr(alone, name).item(), rel=1e-9)

    def test_a_line_that_is_not_recognised_is_no_ripple(self):
        # Long shallow features in one third of the band; the median of the thirds does not see them.
        wave = np.where((X > 100) & (X < 500), 0.3 * np.cos(2 * np.pi * X / 100.0), 0.0)
        found = find_ripple(column(wave + 0.2 * RNG.normal(size=N)), sigmas(0.2))
        assert found.amplitude[0, 0] < 0.06

    def test_noise_has_the_amplitude_of_noise(self):
        noise = np.random.default_rng(5).normal(0.0, 0.3, (N, 50, 2))
        found = find_ripple(noise, np.full(noise.shape, 0.3))
        assert np.median(found.noise) == pytest.approx(0.3 * 2 * np.sqrt(3 / N), rel=0.01)
        assert (found.amplitude < 4.0 * found.noise).all()
        assert np.median(found.amplitude / found.noise) == pytest.approx(1.6, abs=0.6)

    @pytest.mark.slow
    def test_the_amplitude_of_noise_at_a_given_frequency(self):
        # Of a sinusoid that is strong enough to fix the frequency, the scatter is that of noise.
        wave = 0.5 * np.cos(2 * np.pi * 40.0 * X / N)
        spectra = wave[:, None, None] + np.random.default_rng(6).normal(0.0, 0.3, (N, 400, 1))
        found = find_ripple(spectra, np.full(spectra.shape, 0.3))
        # One of two components, and the median of three: 0.67 of the scatter of one.
        assert found.amplitude.std() / found.noise.mean() == pytest.approx(0.67 / np.sqrt(2.0), rel=0.1)

    def test_pixels_without_data_and_bands_that_are_too_short(self):
        spectrum = RNG.normal(size=(64, 2, 1))
        spectrum[:, 1] = np.nan
        found = find_ripple(spectrum, np.ones(spectrum.shape))
        assert np.isfinite([found.amplitude[0, 0], found.noise[0, 0], found.periods[0, 0]]).all()
        assert np.isnan([found.amplitude[1, 0], found.periods[1, 0]]).all()
        assert np.isnan(find_ripple(RNG.normal(size=(8, 1, 1)), np.ones((8, 1, 1))).amplitude).all()


class TestStrongestDip:
    @pytest.mark.parametrize("width", [1, 4, 16, 64])
    def test_a_box_of_a_width_has_the_significance_of_its_mean(self, width):
        first = 999 - width // 2
        box = np.where((first <= X) & (first + width > X), -3.0, 0.0)
        assert strongest_dip(column(box), sigmas(1.5)).item() == pytest.approx(2.0 * np.sqrt(width))

    def test_a_source_in_the_off_below_noise_and_a_slope(self):
        spectrum = 0.01 * X + line(600, 10.0, -5.0) + RNG.normal(size=N)
        assert strongest_dip(column(spectrum), sigmas(1.0)).item() > 8.0

    @pytest.mark.parametrize(
        "spectrum",
        [0.05 * X, line(900, 10.0, 50.0) + line(960, 10.0, 50.0), line(1000, 5.0, 90.0), 5e-5 * (X - 1024.0) ** 2],
        ids=["slope", "two lines", "one line", "bowl"],
    )
    def test_what_is_no_dip(self, spectrum):
        assert strongest_dip(column(spectrum + RNG.normal(size=N)), sigmas(1.0)).item() < 8.0

    def test_noise_has_none_among_many_channels(self):
        noise = np.random.default_rng(2).normal(size=(16384, 7, 2))
        assert (strongest_dip(noise, np.ones(noise.shape)) < 6.5).all()

    def test_the_noise_of_a_channel_counts_there(self):
        spectrum, sigma = column(line(500, 8.0, -5.0) + line(1500, 8.0, -5.0)), sigmas(0.5).copy()
        sigma[400:600] = 50.0
        wanted = np.zeros(N, bool)
        wanted[400:600] = True
        assert strongest_dip(spectrum, sigma, wanted).item() == pytest.approx(
            strongest_dip(spectrum, sigma, ~wanted).item() / 100.0, rel=1e-6
        )

    def test_gaps_pixels_without_data_and_short_bands(self):
        spectrum = np.zeros((N, 1, 2))
        spectrum[100:200, 0, 0] = np.nan
        spectrum[:, 0, 1] = np.nan
        found = strongest_dip(spectrum, np.ones(spectrum.shape))
        assert found[0, 0] == pytest.approx(0.0)
        assert np.isnan(found[0, 1])
        assert np.isnan(strongest_dip(np.zeros((4, 1, 1)), np.ones((4, 1, 1)))).all()


def test_wide_bands_are_told_by_a_part_of_their_channels():
    channel = np.arange(20000)
    bump = 50.0 * np.exp(-0.5 * ((channel - 9000) / 100.0) ** 2)
    wave = 0.5 * np.cos(2.0 * np.pi * 40.25 * channel / 20000)
    spectrum = wave + bump + np.random.default_rng(8).normal(0.0, 0.1, 20000)
    found = MeanSpectrum(spectrum[:, None, None], np.full((20000, 1, 1), 0.1)).ripple
    assert found.amplitude[0, 0] == pytest.approx(0.5, rel=0.05)
    assert found.periods[0, 0] == pytest.approx(40.25)
