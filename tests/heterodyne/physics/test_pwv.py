"""The PWV fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_physics import Setup, fit_pwv

from cal_pipeline.heterodyne.physics.pwv import PwvSearch, solve_pwv
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation
from cal_pipeline.heterodyne.physics.strategies import FitSettings, fixed

BOUNDS = (0.001, 10.0)


@pytest.mark.parametrize("image_gain", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pwv", [0.01, 0.5, 4.0])
def test_truth_is_found_without_noise(pwv, image_gain):
    setup = Setup(image_gain=image_gain)
    observation = setup.views(pwv, [1.0, 1.7])
    fit = fit_pwv([observation], BOUNDS, 20)
    assert float(fit.pwv) == pytest.approx(pwv, rel=1e-9)
    assert fit.converged
    assert not fit.at_bound
    assert int(fit.n_samples) == 2 * setup.n_channels


def test_result_does_not_depend_on_the_grid():
    setup = Setup()
    observation = setup.views(0.8, [1.2], np.random.default_rng(1))
    found = {n: float(fit_pwv([observation], BOUNDS, n).pwv) for n in (3, 10, 100)}
    assert found[3] == pytest.approx(found[100], rel=1e-10)
    assert found[10] == pytest.approx(found[100], rel=1e-10)


def test_pixels_can_be_fitted_one_by_one():
    setup = Setup(n_receivers=3)
    rng = np.random.default_rng(2)
    observation = setup.views(0.6, [1.1, 1.3], rng)
    together = fit_pwv([observation], BOUNDS, 20, per_pixel=True)
    assert together.pwv.shape == (3, 1)
    for pixel in range(3):
        only = slice(pixel, pixel + 1)
        alone = fit_pwv([_of_pixel(observation, only)], BOUNDS, 20)
        assert float(together.pwv[pixel, 0]) == pytest.approx(float(alone.pwv), rel=1e-9)
        assert float(together.error[pixel, 0]) == pytest.approx(float(alone.error), rel=1e-9)
        assert float(together.chi2[pixel, 0]) == pytest.approx(float(alone.chi2), rel=1e-9)


def _of_pixel(observation, only):
    """Select the observation of some pixels."""
    sky = [_pixel(view, only) for view in observation.sky]
    return SkyObservation(_pixel(observation.loads, only), sky, observation.model_error)


def _pixel(view, only):
    """A view of some pixels only."""
    fields = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    return type(view)(**{n: v[:, only] if getattr(v, "ndim", 0) == 3 else v for n, v in fields.items()})


@pytest.mark.parametrize("bounds", [(1.0, 10.0), (0.001, 0.1)])
def test_a_bound_that_is_hit_is_told(bounds):
    setup = Setup()
    observation = setup.views(0.5, [1.2])
    fit = fit_pwv([observation], bounds, 20)
    assert fit.at_bound
    assert float(fit.pwv) in bounds


def test_a_sky_that_says_nothing_gives_no_error():
    setup = Setup()
    observation = setup.views(0.5, [1.2])
    nothing = [dataclasses.replace(view, variance=np.full(view.variance.shape, np.inf)) for view in observation.sky]
    blind = dataclasses.replace(observation, sky=nothing)
    fit = fit_pwv([blind], BOUNDS, 20)
    assert np.isnan(fit.pwv)
    assert not fit.at_bound
    assert not fit.converged
    assert np.isnan(fit.error)
    assert np.isnan(fit.error_model)
    assert np.isnan(fit.chi2)
    assert int(fit.n_samples) == 0


def test_bad_channels_do_not_count():
    setup = Setup()
    means, solution = setup.loads()
    spoilt = means.hot.copy()
    spoilt[10:20] = means.cold[10:20]
    dead = dataclasses.replace(solution, bad_channel=solution.bad_channel | (spoilt <= means.cold))
    setup.loads = lambda rng=None: (means, dead)
    observation = setup.views(0.5, [1.2])
    fit = fit_pwv([observation], BOUNDS, 20)
    assert int(fit.n_samples) == setup.n_channels - 10
    assert float(fit.pwv) == pytest.approx(0.5, rel=1e-9)


def test_a_given_pwv_is_judged():
    setup = Setup()
    observation = setup.views(0.5, [1.2], np.random.default_rng(3), model_error=0.0)
    right, wrong = (fixed([observation], [], FitSettings(PwvSearch(BOUNDS), pwv))[0].fit for pwv in (0.5, 0.6))
    assert float(right.chi2) == pytest.approx(1.0, abs=0.5)
    assert float(wrong.chi2) > 30.0
    assert np.isnan(right.error)
    assert float(right.pwv) == 0.5


def test_bands_that_are_linked_share_one_pwv():
    near, far = Setup(n_channels=64), Setup(n_channels=96, n_receivers=2, image_gain=0.0)
    rng = np.random.default_rng(4)
    observations = [near.views(0.7, [1.1, 1.4], rng), far.views(0.7, [1.1, 1.4], rng)]
    together = fit_pwv(observations, BOUNDS, 20)
    alone = [fit_pwv([observation], BOUNDS, 20) for observation in observations]
    assert together.pwv.shape == ()
    assert int(together.n_samples) == sum(int(fit.n_samples) for fit in alone)
    low, high = sorted(float(fit.pwv) for fit in alone)
    assert low < float(together.pwv) < high
    assert float(together.error) < min(float(fit.error) for fit in alone)


def test_the_pixels_of_several_bands_have_nothing_in_common():
    observation = Setup().views(0.5, [1.2])
    with pytest.raises(ValueError, match="2 bands"):
        solve_pwv([observation, observation], PwvSearch(BOUNDS), per_pixel=True)


def test_a_blind_pixel_leaves_the_others_alone():
    setup = Setup(n_receivers=3)
    observation = setup.views(0.6, [1.1], np.random.default_rng(5))
    whole = fit_pwv([observation], BOUNDS, 20, per_pixel=True)
    variance = observation.sky[0].variance.copy()
    variance[:, 1] = np.inf
    sky = [dataclasses.replace(observation.sky[0], variance=variance)]
    partly = fit_pwv([dataclasses.replace(observation, sky=sky)], BOUNDS, 20, per_pixel=True)
    assert np.isnan(partly.pwv[1, 0])
    np.testing.assert_array_equal(partly.n_samples[:, 0], [setup.n_channels, 0, setup.n_channels])
    np.testing.assert_allclose(partly.pwv[[0, 2]], whole.pwv[[0, 2]], rtol=1e-10)
