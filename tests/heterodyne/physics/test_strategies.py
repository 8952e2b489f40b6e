"""Ways to find the water, by name."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_physics import Setup

from cal_pipeline.heterodyne.physics.pwv import PwvSearch
from cal_pipeline.heterodyne.physics.strategies import STRATEGIES, FitSettings

SETTINGS = FitSettings(PwvSearch((0.001, 10.0), 20), given=0.4)
PAIR = np.array([[[0, 0, 1]], [[1, 1, 1]]])
"""Pixel 0 pairs three ONs with both of three OFFs but the last, pixel 1 with the second only; (R, A, S)."""


@pytest.fixture(scope="module")
def observation():
    return Setup(n_receivers=2).views(0.6, [1.1, 1.3, 1.6], np.random.default_rng(1))


@pytest.mark.parametrize(
    ("name", "fit_shape", "off_shape"),
    [
        ("full", (), (3, 1, 1)),
        ("fixed", (), (3, 1, 1)),
        ("per_pixel", (2, 1), (3, 2, 1)),
        ("per_pair", (2, 1, 3), (3, 2, 1)),
    ],
)
def test_water_has_the_shape_of_its_strategy(observation, name, fit_shape, off_shape):
    (water,) = STRATEGIES[name]([observation], [PAIR], SETTINGS)
    assert water.fit.pwv.shape == water.fit.chi2.shape == fit_shape
    assert water.at_off.shape == off_shape


def test_a_pair_is_fitted_to_its_own_off(observation):
    (water,) = STRATEGIES["per_pair"]([observation], [PAIR], SETTINGS)
    for off in (0, 1):
        (alone,) = STRATEGIES["per_pixel"]([observation.alone(off)], [PAIR], SETTINGS)
        same = off == PAIR
        np.testing.assert_array_equal(water.fit.pwv[same], np.broadcast_to(alone.fit.pwv[..., None], PAIR.shape)[same])
        np.testing.assert_array_equal(
            water.fit.error[same], np.broadcast_to(alone.fit.error[..., None], PAIR.shape)[same]
        )


def test_an_off_that_serves_no_on_has_no_water(observation):
    (water,) = STRATEGIES["per_pair"]([observation], [PAIR], SETTINGS)
    np.testing.assert_array_equal(np.isnan(water.at_off[:, :, 0]), [[False, True], [False, False], [True, True]])


def test_an_on_without_an_off_has_no_water(observation):
    pair = np.array([[[0, -1, 1]], [[1, 1, 1]]])
    (water,) = STRATEGIES["per_pair"]([observation], [pair], SETTINGS)
    assert np.isnan(water.fit.pwv[0, 0, 1])
    assert int(water.fit.n_samples[0, 0, 1]) == 0
    assert not water.fit.converged[0, 0, 1]
    assert np.isfinite(np.delete(water.fit.pwv.ravel(), 1)).all()


def test_fixed_needs_a_pwv(observation):
    with pytest.raises(ValueError, match="needs a PWV"):
        STRATEGIES["fixed"]([observation], [PAIR], FitSettings(PwvSearch((0.001, 10.0))))


def test_fixed_is_what_was_given(observation):
    (water,) = STRATEGIES["fixed"]([observation], [PAIR], SETTINGS)
    assert float(water.fit.pwv) == 0.4
    assert (water.at_off == 0.4).all()
