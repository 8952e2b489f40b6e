"""Weights and sums of the biweight."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_physics import Setup, fit_pwv
from scipy.integrate import quad
from scipy.stats import median_abs_deviation, norm

from cal_pipeline.heterodyne.physics.robust import match_sums, normal_sums, pulls, tune

BOUNDS = (0.001, 10.0)
PLAIN = np.array([[0.0], [np.inf]])


def made_up(n_channels=400, n_pixels=3, seed=0, model_error=0.0):
    """Samples of pixels that share two rows of the model, without noise of the same size, and that model."""
    rng = np.random.default_rng(seed)
    shape, row = (n_pixels, n_channels), np.arange(n_pixels) % 2
    temperature, slope, opacity = -100.0 - rng.uniform(size=(2, n_channels)), *rng.uniform(1, 2, (2, 2, n_channels))
    variance, ratio = rng.uniform(0.5, 2.0, shape), rng.uniform(0.9, 1.1, shape)
    observed = ratio * temperature[row] + np.sqrt(variance) * rng.normal(size=shape)
    return (observed, variance, ratio, model_error), (temperature, slope, opacity, row)


def by_hand(samples, modelled, centre, width):
    """Residual, weight and w W S' from the definition, each (P, C), of one centre and width a pixel."""
    observed, variance, ratio, model_error = samples
    temperature, slope, opacity, row = modelled
    r = observed - ratio * temperature[row]
    u = (r / np.sqrt(variance) - np.reshape(centre, (-1, 1))) / np.reshape(width, (-1, 1))
    w = np.where(np.abs(u) < 1.0, (1.0 - u**2) ** 2, 0.0)
    return r, w, w * slope[row] / (variance + (model_error * opacity[row]) ** 2)


@pytest.mark.parametrize("n_channels", [64, 2048, 5000, 70000])
def test_centre_and_width_are_median_and_median_deviation(n_channels):
    # Noise three times the radiometric one, so that the scatter decides.
    (observed, variance, ratio, error), modelled = made_up(n_channels, 2)
    samples = observed, variance / 9.0, ratio, error
    z = (observed - ratio * modelled[0][modelled[3]]) / np.sqrt(variance / 9.0)
    chosen = z[:, :: max(n_channels // 2048, 1)]
    expected = [np.median(chosen, axis=1), 6.0 * 1.4826 * median_abs_deviation(chosen, axis=1)]
    np.testing.assert_allclose(tune(samples, modelled), expected, rtol=1e-12)
    assert (expected[1] > 12.0).all()


def test_noise_below_the_radiometer_s_does_not_narrow_the_width():
    (observed, variance, ratio, error), modelled = made_up()
    centre, width = tune((observed, 100.0 * variance, ratio, error), modelled)
    np.testing.assert_array_equal(width, 6.0)
    assert np.abs(centre).max() < 0.1


@pytest.mark.slow
def test_channels_that_are_not_usable_have_no_say():
    (observed, variance, ratio, error), modelled = made_up()
    lost = np.zeros(observed.shape, bool)
    lost[:, ::3] = True
    # As `view_sky` leaves them.
    gone = np.where(lost, 0.0, observed), np.where(lost, np.inf, variance), np.where(lost, 0.0, ratio), error
    kept = tuple(values[:, ~lost[0]] for values in (observed, variance, ratio))
    of_kept = tuple(values[:, ~lost[0]] for values in modelled[:3])
    tuning = tune(gone, modelled)
    np.testing.assert_array_equal(tuning, tune((*kept, error), (*of_kept, modelled[3])))
    np.testing.assert_allclose(
        normal_sums(gone, modelled, tuning), normal_sums((*kept, error), (*of_kept, modelled[3]), tuning), rtol=1e-13
    )
    assert (pulls(gone, modelled, tuning)[lost] == 0.0).all()


def test_a_pixel_without_channels_has_full_weights_of_nothing():
    (observed, variance, ratio, error), modelled = made_up()
    variance[1] = np.inf
    tuning = tune((observed, variance, ratio, error), modelled)
    np.testing.assert_array_equal(tuning[:, 1], [0.0, np.inf])
    assert np.isfinite(tuning[:, [0, 2]]).all()
    assert (normal_sums((observed, variance, ratio, error), modelled, tuning)[:, 1] == 0.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("model_error", [0.0, 0.3])
def test_sums_are_those_of_the_definition(model_error):
    samples, modelled = made_up(model_error=model_error)
    samples[0][:, 7] += 1e3
    samples[0][:, 8] -= 5.0
    tuning = np.stack([np.full(3, 0.1), np.array([5.0, 6.0, 7.0])])
    r, w, pull = by_hand(samples, modelled, *tuning)
    slope, opacity = modelled[1][modelled[3]], modelled[2][modelled[3]]
    np.testing.assert_allclose(normal_sums(samples, modelled, tuning), [(pull * r).sum(1), (pull * slope).sum(1)])
    np.testing.assert_allclose(pulls(samples, modelled, tuning), pull, rtol=1e-12)
    level, own = np.full(r.shape, 0.3), np.random.default_rng(1).uniform(size=r.shape)
    channels = np.zeros(r.shape), np.zeros(r.shape), np.zeros(r.shape, int), np.zeros(r.shape, int)
    found = match_sums(samples, modelled, tuning, (level, own), channels)
    sigma2 = samples[1] + (model_error * opacity) ** 2
    expected = [
        (pull * r).sum(1), (pull * slope).sum(1), (pull**2 * own).sum(1), (pull * model_error * opacity).sum(1),
        (w * r**2 / sigma2).sum(1), (w > 0).sum(1),
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(channels[0], 0.3 * pull)
    np.testing.assert_allclose(channels[1], 0.7 * pull)
    np.testing.assert_array_equal(channels[2], w == 0.0)
    np.testing.assert_array_equal(channels[3], w > 0.0)
    assert (channels[2][:, 7] == 1).all()


def test_infinite_width_is_least_squares():
    samples, modelled = made_up()
    np.testing.assert_array_equal(tune(samples, modelled, robust=False), PLAIN.repeat(3, axis=1))
    shift, curvature = normal_sums(samples, modelled, PLAIN.repeat(3, axis=1))
    observed, variance, ratio, _ = samples
    temperature, slope, _, row = modelled
    for p in range(3):
        # The parameter x of r = slope x, with weights 1/variance.
        sigma = np.sqrt(variance[p])
        (x,), *_ = np.linalg.lstsq(
            (slope[row[p]] / sigma)[:, None], (observed[p] - ratio[p] * temperature[row[p]]) / sigma
        )
        assert shift[p] / curvature[p] == pytest.approx(x, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [1e2, 1e4, 1e9])
def test_spurs_far_out_do_not_move_the_sums(strength):
    samples, modelled = made_up(n_channels=2000)
    spurs = np.random.default_rng(2).choice(2000, 20, replace=False)
    spurred = samples[0].copy()
    spurred[:, spurs] += strength
    tuning = tune((spurred, *samples[1:]), modelled)
    without = tuple(np.delete(values, spurs, axis=1) for values in samples[:3])
    of_model = tuple(np.delete(values, spurs, axis=1) for values in modelled[:3])
    found = normal_sums((spurred, *samples[1:]), modelled, tuning)
    np.testing.assert_allclose(found, normal_sums((*without, samples[3]), (*of_model, modelled[3]), tuning), rtol=1e-12)
    # However strong, they move the centre by one percent of the noise, and so the sums hardly from those without.
    far = samples[0].copy()
    far[:, spurs] += 1e12
    np.testing.assert_array_equal(tuning, tune((far, *samples[1:]), modelled))


def expected_loss():
    """Increase of the variance of the mean of infinitely many samples of normal noise by their weights, relative to it.

    The mean x = m + Σ w (z - m)/Σ w, with weights around the median m, follows an error of m with 1 - E[psi']/E[w],
    psi(z) = w z, and that of m is sign(z)/(2 phi(0)) a sample: its influence is the sum of both.
    """

    def mean_of(function):
        return 2.0 * quad(lambda z: function(z) * norm.pdf(z), 0.0, 6.0)[0]

    def weight(z):
        return (1.0 - (z / 6.0) ** 2) ** 2

    of_weight = mean_of(weight)
    of_median = 1.0 - mean_of(lambda z: (1.0 - (z / 6.0) ** 2) * (1.0 - 5.0 * (z / 6.0) ** 2)) / of_weight
    return mean_of(lambda z: (z * weight(z) / of_weight + of_median * np.sqrt(0.5 * np.pi)) ** 2) - 1.0


@pytest.mark.slow
def test_clean_noise_costs_what_the_biweight_costs():
    # 2000 estimates from 1000 samples each; what a robust estimate adds is independent of the mean (Gauss-Markov).
    rng, n = np.random.default_rng(3), 1000
    noise = rng.normal(size=(2000, n))
    one, row = np.ones((1, n)), np.zeros(2000, int)
    samples, modelled = (noise, np.ones(noise.shape), np.ones(noise.shape), 0.0), (0.0 * one, one, 0.0 * one, row)
    estimate = np.divide(*normal_sums(samples, modelled, tune(samples, modelled)))
    added = (estimate - noise.mean(axis=1)).var() * n
    assert added == pytest.approx(expected_loss(), rel=0.12)
    assert np.sqrt(1.0 + expected_loss()) == pytest.approx(1.0166, abs=1e-4)


@pytest.mark.slow
def test_clean_skies_cost_no_more():
    # The water in 400 skies without outliers: the median is one for all channels, whose slopes differ.
    found = {robust: [] for robust in (True, False)}
    for seed in range(400):
        view = Setup(n_channels=256).views(0.7, [1.2], np.random.default_rng([5, seed]), model_error=0.0)
        for robust, pwvs in found.items():
            pwvs.append(float(fit_pwv([view], BOUNDS, 5, robust=robust).pwv))
    robust, plain = np.array(found[True]), np.array(found[False])
    assert np.hypot(1.0, (robust - plain).std() / plain.std()) < 1.018
    assert abs((robust - plain).mean()) < 3.0 * (robust - plain).std() / 20.0
