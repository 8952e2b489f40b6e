"""Agreement of the OFFs with a sky, its outliers and its noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_physics import Setup

from cal_pipeline.heterodyne.physics.pwv import PwvSearch, solve_pwv
from cal_pipeline.heterodyne.physics.pwv_fit import judge_fit
from cal_pipeline.heterodyne.physics.sky_match import match_sky
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation

BOUNDS = (0.001, 10.0)
PWV = 0.6


def at(pwv, n_offs):
    return np.full((n_offs, 1, 1), pwv)


def with_spurs(observation, where, strength=1e4):
    """The observation with channels (OFF, channel, receiver) that are far too bright."""
    sky = []
    for k, view in enumerate(observation.sky):
        step = view.step.copy()
        for off, channel, receiver in where:
            if off == k:
                step[channel, receiver] += strength
        sky.append(replace(view, step=step))
    return SkyObservation(observation.loads, sky, observation.model_error)


def without(observation, where):
    """The observation without some (OFF, receiver)."""
    sky = []
    for k, view in enumerate(observation.sky):
        variance = view.variance.copy()
        for off, receiver in where:
            if off == k:
                variance[:, receiver] = np.inf
        sky.append(replace(view, variance=variance))
    return SkyObservation(observation.loads, sky, observation.model_error)


@pytest.mark.parametrize("wrong", [0.9, 0.999, 1.001, 1.1])
@pytest.mark.parametrize("per_pixel", [True, False])
def test_steps_lead_back_to_the_fitted_water(wrong, per_pixel):
    observation = Setup(n_receivers=2).views(PWV, [1.1, 1.4], np.random.default_rng(1), model_error=0.01)
    fitted = solve_pwv([observation], PwvSearch(BOUNDS, 20), per_pixel).pwv
    pwv = np.broadcast_to(wrong * fitted, (2, *fitted.shape))
    for _ in range(12):
        match = match_sky(observation, pwv)
        # The sums of all OFFs that share the water.
        axes = (0,) if per_pixel else (0, 1, 2)
        step = match.pull.sum(axes, keepdims=True) / match.curvature.sum(axes, keepdims=True)
        pwv = pwv + step
    np.testing.assert_allclose(pwv[0], fitted, rtol=1e-9)


def test_an_outlier_is_one_in_half_of_the_offs():
    observation = Setup(n_receivers=2).views(PWV, [1.1, 1.2, 1.3, 1.4], np.random.default_rng(2))
    spurs = [(0, 5, 0), (0, 6, 0), (1, 6, 0), (0, 7, 1), (1, 7, 1), (2, 7, 1)]
    outlier = match_sky(with_spurs(observation, spurs), at(PWV, 4)).outlier
    expected = np.zeros(outlier.shape, bool)
    expected[6, 0] = expected[7, 1] = True
    np.testing.assert_array_equal(outlier, expected)


def test_only_offs_with_data_count_for_outliers():
    observation = Setup(n_receivers=2).views(PWV, [1.1, 1.2, 1.3, 1.4], np.random.default_rng(2))
    spurred = without(with_spurs(observation, [(0, 5, 0), (0, 5, 1)]), [(2, 0), (3, 0)])
    match = match_sky(spurred, at(PWV, 4))
    assert match.outlier[5].ravel().tolist() == [True, False]
    assert match.used[5].all()
    assert match.number[:, :, 0].tolist() == [[127, 127], [128, 128], [0, 128], [0, 128]]


def test_without_robust_weights_there_are_no_outliers():
    observation = with_spurs(Setup().views(PWV, [1.1], np.random.default_rng(2)), [(0, 5, 0)])
    match = match_sky(observation, at(PWV, 1), robust=False)
    assert not match.outlier.any()
    assert match.number.item() == 128
    assert match.chi2.item() > 1e4


def test_bad_channels_are_no_outliers():
    setup = Setup()
    means, solution = setup.loads()
    bad = solution.bad_channel.copy()
    bad[3:9] = True
    setup.loads = lambda rng=None: (means, replace(solution, bad_channel=bad))
    match = match_sky(setup.views(PWV, [1.1, 1.2]), at(PWV, 2))
    assert not match.outlier.any()
    np.testing.assert_array_equal(match.used, ~bad)


def test_where_the_water_is_not_known_there_is_nothing():
    observation = Setup(n_receivers=2).views(PWV, [1.1, 1.2])
    pwv = np.full((2, 2, 1), PWV)
    pwv[1, 0] = np.nan
    match = match_sky(observation, pwv)
    for name in ("pull", "curvature", "noise", "model", "chi2", "number"):
        values = getattr(match, name)
        assert values[1, 0, 0] == 0.0
        assert np.isfinite(values).all()


def spread(setup, n_offs, alone=False, n_draws=300):
    """Scatter of the fitted water over many skies, and the error that is quoted for it."""
    found, quoted = [], []
    for seed in range(n_draws):
        observation = setup.views(PWV, [1.2] * n_offs, np.random.default_rng([9, seed]), model_error=0.0)
        if alone:
            observation = observation.alone(0)
        solution = solve_pwv([observation], PwvSearch(BOUNDS, 5))
        match = match_sky(observation, at(solution.pwv.item(), len(observation.sky)), alone=alone)
        found.append(solution.pwv.item())
        quoted.append(float(judge_fit([match], solution.pwv.reshape(()), np.array(True), BOUNDS).error))
    return np.std(found), np.median(quoted)


@pytest.mark.parametrize("n_offs", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_noise_of_the_loads_is_common_to_the_offs(n_offs):
    # Loads as short as an OFF: of eight OFFs most of the error is theirs.
    found, quoted = spread(Setup(n_channels=64, load_time=0.5), n_offs)
    assert found == pytest.approx(quoted, rel=0.1)


@pytest.mark.slow
def test_an_off_alone_has_all_noise_of_the_loads():
    found, quoted = spread(Setup(n_channels=64, load_time=0.5), 3, alone=True)
    assert found == pytest.approx(quoted, rel=0.1)


def test_shares_of_the_noise():
    # Loads of any noise and OFFs of any: their variances of PWV add; that of equal OFFs falls with their number,
    # that of the loads does not.
    setup, quiet = Setup(load_time=1.0), Setup(load_time=1e9)
    one, four, loads_alone = (
        match_sky(s.views(PWV, [1.2] * n, model_error=0.0), at(PWV, n)) for s, n in ((setup, 1), (setup, 4), (quiet, 1))
    )
    assert loads_alone.load_noise.sum() < 1e-6 * one.load_noise.sum()
    of_one, of_four = (
        np.array([match.noise.sum(), match.load_noise.sum()]) / match.curvature.sum() ** 2 for match in (one, four)
    )
    np.testing.assert_allclose(of_four, of_one * [0.25, 1.0], rtol=1e-9)
    each = match_sky(setup.views(PWV, [1.2] * 4, model_error=0.0), at(PWV, 4), alone=True)
    assert each.alone
    assert not four.alone
    np.testing.assert_allclose(each.load_noise[:, 0, 0], one.load_noise[0, 0], rtol=1e-12)
    # Summed before squaring: four responses of the loads are four times one.
    assert four.load_noise.item() == pytest.approx(16.0 * each.load_noise[0].item(), rel=1e-9)


def test_groups_of_pixels_do_not_matter():
    setup = Setup(n_channels=4096, n_receivers=9)
    observation = setup.views(PWV, [1.1, 1.3], np.random.default_rng(4))
    match = match_sky(observation, at(PWV, 2))
    last = slice(8, 9)
    views = [
        replace(v, step=v.step[:, last], variance=v.variance[:, last], level=v.level[:, last],
                off_variance=v.off_variance[:, last])
        for v in observation.sky
    ]  # fmt: skip
    loads = replace(
        observation.loads,
        **{n: getattr(observation.loads, n)[:, last] for n in ("gain_ratio", "hot_variance", "cold_variance",
                                                              "cold_power")},
    )  # fmt: skip
    alone = match_sky(SkyObservation(loads, views, observation.model_error), at(PWV, 2))
    for name in ("pull", "curvature", "noise", "model", "chi2", "number"):
        np.testing.assert_array_equal(getattr(alone, name)[:, 0], getattr(match, name)[:, 8])
    np.testing.assert_array_equal(alone.tuning[..., 0], match.tuning[..., 8])
    np.testing.assert_array_equal(alone.outlier[:, 0], match.outlier[:, 8])
