"""What the sky at the OFFs tells beyond the water vapour."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.sky_match import SkyMatch
from cal_pipeline.heterodyne.physics.sky_monitors import off_minus_off, scatter_of_pwv, sky_misfit

N = 1000
SHAPE = (N, 2, 2)
USABLE = np.ones(SHAPE, bool)


class TestSkyMisfit:
    def test_noise_has_one_sigma(self):
        noise = np.random.default_rng(1).normal(0.0, 2.0, (8192, 7, 2))
        sigma, kelvin = sky_misfit(noise, np.full(noise.shape, 4.0), np.ones(noise.shape, bool))
        np.testing.assert_allclose(sigma, 1.0, atol=4.0 / np.sqrt(2.0 * 128))
        np.testing.assert_allclose(kelvin, sigma * 2.0 / 8.0, rtol=1e-9)

    def test_it_is_the_root_mean_square_over_the_blocks(self):
        # 15 blocks of 64 channels, and one of 40.
        means = np.arange(16.0)
        residual = np.repeat(means, 64)[:N, None, None] * np.ones(SHAPE)
        variance = np.full(SHAPE, 0.25)
        variance[320:384] = 4.0
        sigma, kelvin = sky_misfit(residual, variance, USABLE)
        noise = np.full(16, 0.5 / 8.0)
        noise[5], noise[15] = 2.0 / 8.0, 0.5 / np.sqrt(40.0)
        np.testing.assert_allclose(kelvin, np.sqrt(np.mean(means**2)))
        np.testing.assert_allclose(sigma, np.sqrt(np.mean((means / noise) ** 2)))

    @pytest.mark.parametrize("receiver", [0, 1])
    @pytest.mark.parametrize("array", [0, 1])
    def test_an_offset_of_one_pixel(self, receiver, array):
        residual = np.random.default_rng(2).normal(0.0, 0.5, SHAPE)
        residual[:, receiver, array] += -1.5
        sigma, kelvin = sky_misfit(residual, np.full(SHAPE, 0.25), USABLE)
        assert kelvin[receiver, array] == pytest.approx(1.5, abs=0.1)
        assert sigma[receiver, array] == pytest.approx(1.5 / (0.5 / 8.0), rel=0.1)
        others = np.ones((2, 2), bool)
        others[receiver, array] = False
        assert (sigma[others] < 2.0).all()

    def test_what_is_not_usable_does_not_count(self):
        residual = np.zeros(SHAPE)
        residual[64:128] = np.where(np.arange(64)[:, None, None] % 2 == 0, 1.0, 1e6)
        residual[128:192] = np.nan
        usable = USABLE.copy()
        usable[65:128:2] = False
        usable[128:192] = False
        sigma, kelvin = sky_misfit(residual, np.full(SHAPE, 4.0), usable)
        # 15 blocks are left, of which one differs from 0.
        np.testing.assert_allclose(kelvin, 1.0 / np.sqrt(15.0))
        np.testing.assert_allclose(sigma, np.sqrt(32.0) / 2.0 / np.sqrt(15.0))
        # One channel less, and the block no longer counts.
        usable[64] = False
        np.testing.assert_allclose(sky_misfit(residual, np.full(SHAPE, 4.0), usable)[1], 0.0)

    def test_without_any_block(self):
        usable = np.zeros(SHAPE, bool)
        usable[::3, 0, 0] = True
        assert np.isnan(sky_misfit(np.zeros(SHAPE), np.ones(SHAPE), usable)).all()


class TestScatterOfPwv:
    """OFFs whose own water vapour is known: pull = curvature·(PWV of the OFF - fitted PWV)."""

    def match(self, own, curvature=None, fitted=0.5):
        own = np.asarray(own, np.float64)
        weight = np.ones(own.shape) if curvature is None else np.broadcast_to(curvature, own.shape)
        nothing = np.zeros(own.shape)
        return SkyMatch(
            pwv=np.full((len(own), 1, 1), fitted),
            pull=np.where(weight > 0.0, weight * (own - fitted), 0.0),
            curvature=weight,
            noise=nothing,
            model=nothing,
            chi2=nothing,
            number=nothing,
            tuning=nothing,
            load_noise=nothing[0],
            outlier=np.zeros((1, 1, 1), bool),
            used=np.ones((1, 1, 1), bool),
        )

    def test_of_offs(self):
        own = np.array([[[0.5], [0.40]], [[0.5], [0.52]], [[0.5], [0.61]]])
        scatter, _ = scatter_of_pwv(self.match(own), 1.3)
        np.testing.assert_allclose(scatter, [[0.0], [1.3 * np.std([0.40, 0.52, 0.61], ddof=1)]], atol=1e-12)

    def test_of_pixels(self):
        own = np.broadcast_to(np.array([0.5, 0.52, 0.7, 0.49, 0.51])[:, None], (3, 5, 1))
        scatter, spread = scatter_of_pwv(self.match(own), 0.8)
        np.testing.assert_allclose(scatter, 0.0, atol=1e-12)
        np.testing.assert_allclose(spread[:, 0], 0.8 * np.array([0.01, 0.01, 0.19, 0.02, 0.0]), atol=1e-12)

    def test_of_a_pixel_the_sums_over_its_offs_count(self):
        # The step of Σ pull / Σ curvature is the mean with weights.
        own = np.array([[[0.5], [0.5], [0.6]], [[0.5], [0.5], [0.9]]])
        weight = np.array([1.0, 3.0])[:, None, None]
        _, spread = scatter_of_pwv(self.match(own, weight), 1.0)
        np.testing.assert_allclose(spread[:, 0], [0.0, 0.0, (0.6 + 3.0 * 0.9) / 4.0 - 0.5], atol=1e-12)

    def test_the_fitted_water_vapour_makes_no_difference(self):
        own = np.random.default_rng(3).normal(0.5, 0.1, (4, 3, 2))
        for found, other in zip(
            scatter_of_pwv(self.match(own), 1.0), scatter_of_pwv(self.match(own, fitted=2.0), 1.0), strict=True
        ):
            np.testing.assert_allclose(found, other, atol=1e-12)

    def test_what_is_not_known(self):
        own = np.array([[[0.5], [0.5], [0.5]], [[0.6], [0.6], [0.6]]])
        weight = np.array([[[1.0], [1.0], [0.0]], [[1.0], [0.0], [0.0]]])
        scatter, spread = scatter_of_pwv(self.match(own, weight), 1.0)
        np.testing.assert_allclose(scatter[:, 0], [0.1 / np.sqrt(2.0), np.nan, np.nan])
        np.testing.assert_allclose(spread[:, 0], [0.025, 0.025, np.nan])


class TestOffMinusOff:
    channel = np.arange(float(N))[:, None, None]
    slope = (3.0 + np.sin(channel / 50.0)) * np.ones(SHAPE)
    level = (150.0 + 40.0 * np.cos(channel / 300.0)) * np.ones(SHAPE)

    def offs(self, pwv, gain, noise, extra=None):
        """Steps of OFFs of some water vapour and gain, with noise of their own and of the common loads."""
        rng = np.random.default_rng(4)
        loads = rng.normal(0.0, 5.0, SHAPE)
        steps = [
            self.level * g + p * self.slope + loads + rng.normal(0.0, s, SHAPE)
            for p, g, s in zip(pwv, gain, noise, strict=True)
        ]
        for k, values in (extra or {}).items():
            steps[k] = steps[k] + values
        same = [[item] * len(steps) for item in (self.slope, self.level)]
        return steps, [np.full(SHAPE, s**2) for s in noise], *same

    def test_changes_of_water_vapour_and_gain_leave_noise(self):
        found = off_minus_off(*self.offs([0.5, 0.9, 0.6], [1.0, 1.02, 0.97], [0.3, 0.6, 0.2]), USABLE)
        np.testing.assert_allclose(found, 1.0, atol=4.0 * np.sqrt(2.0 / N))

    @pytest.mark.parametrize("strength", [0.5, 1.0])
    def test_a_ripple_that_comes_up_at_half_of_the_offs(self, strength):
        wave = strength * np.sqrt(2.0) * np.cos(self.channel / 5.0) * np.ones(SHAPE)
        found = off_minus_off(*self.offs([0.5] * 4, [1.0] * 4, [0.1] * 4, {1: wave, 3: wave}), USABLE)
        np.testing.assert_allclose(found, 1.0 + strength**2 / (2.0 * 0.1**2), rtol=0.1)

    def test_one_step_of_many_is_not_the_median(self):
        wave = np.cos(self.channel / 5.0) * np.ones(SHAPE)
        found = off_minus_off(*self.offs([0.5] * 4, [1.0] * 4, [0.1] * 4, {3: wave}), USABLE)
        np.testing.assert_allclose(found, 1.0, atol=0.3)

    def test_pixels_and_channels_are_their_own(self):
        wave = np.zeros(SHAPE)
        wave[:, 1, 0] = np.cos(self.channel[:, 0, 0] / 5.0)
        offs = self.offs([0.5] * 2, [1.0] * 2, [0.1] * 2, {1: wave})
        found = off_minus_off(*offs, USABLE)
        assert found[1, 0] > 20.0
        assert np.median(found) == pytest.approx(1.0, abs=0.2)
        offs[0][1][500:] = np.nan
        usable = USABLE.copy()
        usable[:500, 0, 0] = False
        found = off_minus_off(*offs, usable)
        assert np.isnan(found[0, 0])
        assert found[0, 1] == pytest.approx(1.0, abs=0.3)

    def test_an_off_without_data_is_no_change(self):
        steps, variances, slopes, levels = self.offs([0.5] * 4, [1.0] * 4, [0.1] * 4)
        for values in (steps, variances, levels):
            values[3][:, 0, 0] = 0.0
            values[3][N // 2 :, 1, 0] = 0.0
        np.testing.assert_allclose(off_minus_off(steps, variances, slopes, levels, USABLE), 1.0, atol=0.3)
        assert np.isnan(off_minus_off(steps[2:], variances[2:], slopes[2:], levels[2:], USABLE)[0, 0])

    def test_a_sky_that_does_not_depend_on_water_vapour(self):
        steps, variances, _, levels = self.offs([0.0] * 2, [1.0, 1.1], [0.1] * 2)
        found = off_minus_off(steps, variances, [np.zeros(SHAPE)] * 2, levels, USABLE)
        np.testing.assert_allclose(found, 1.0, atol=0.2)

    def test_an_off_that_a_pixel_lacks(self):
        """As the observation has it: no step, level or variance."""
        steps, variances, slopes, levels = self.offs([0.5, 0.9, 0.6, 0.6], [1.0] * 4, [0.1] * 4)
        whole = off_minus_off(steps, variances, slopes, levels, USABLE)
        of_off = [[values.copy() for values in name] for name in (steps, variances, levels)]
        for values in of_off:
            values[0][:, 0, 0] = 0.0
        found = off_minus_off(of_off[0], of_off[1], slopes, of_off[2], USABLE)
        last_two = off_minus_off(steps[1:], variances[1:], slopes[1:], levels[1:], USABLE)
        assert found[0, 0] == last_two[0, 0]
        np.testing.assert_array_equal(found.ravel()[1:], whole.ravel()[1:])

    def test_a_single_off_has_no_other(self):
        assert np.isnan(off_minus_off(*self.offs([0.5], [1.0], [0.1]), USABLE)).all()
