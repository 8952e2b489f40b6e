"""Noise from dump to dump against the radiometer equation."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, sum_of_valid
from cal_pipeline.heterodyne.physics.dump_noise import (
    change_of_dumps,
    dump_radiometer,
    find_noisy,
    sum_squared_changes,
)

SIGMA = 0.01
LEVEL = 200.0


def measure(kelvin, gamma):
    """Ratio and number of OFFs (O, C, D, R, A) in kelvin."""
    squares, number, level = [], [], []
    for off in kelvin:
        counts = off * gamma[:, None]
        common = median_of_finite(change_of_dumps(counts, gamma), axis=-1)
        one, n = sum_squared_changes(counts, gamma, common)
        squares.append(one)
        number.append(n)
        level.append(mean_from_sum(*sum_of_valid(counts, axis=1)))
    stacked = (np.stack(parts, axis=-1) for parts in (squares, number, level))
    return dump_radiometer(*stacked, gamma, np.full(len(kelvin), SIGMA))


@pytest.fixture
def gamma():
    # Pixels and channels differ much in gain.
    return np.random.default_rng(0).uniform(100.0, 1000.0, (3000, 2, 3))


def white(gamma, n_offs=2, n_dumps=20, seed=1):
    n_channels, *pixels = gamma.shape
    return np.random.default_rng(seed).normal(LEVEL, LEVEL * SIGMA, (n_offs, n_channels, n_dumps, *pixels))


@pytest.mark.slow
def test_white_noise_has_a_ratio_of_1_and_the_known_scatter(gamma):
    ratio, number = measure(white(gamma), gamma)
    assert (number == 38).all()
    np.testing.assert_allclose(ratio.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(ratio.std(axis=0), np.sqrt(3.0 / 38.0), rtol=0.08)
    assert not find_noisy(ratio, number).any()


def test_what_all_channels_do_together_does_not_count(gamma):
    kelvin = white(gamma)
    quiet, _ = measure(kelvin, gamma)
    drift = np.random.default_rng(2).normal(0.0, 5.0 * LEVEL * SIGMA, (2, 1, 20, 2, 3))
    drifting, _ = measure(kelvin + drift, gamma)
    # Only the means, which the expectation is made of, change a little.
    np.testing.assert_allclose(drifting, quiet, rtol=0.1)


def test_noisy_channels_stand_out(gamma):
    kelvin = white(gamma)
    kelvin[:, 100, :, 1, 2] += np.random.default_rng(3).normal(0.0, 4.0 * LEVEL * SIGMA, (2, 20))
    ratio, number = measure(kelvin, gamma)
    assert np.argwhere(find_noisy(ratio, number)).tolist() == [[100, 1, 2]]
    # (1 + 4²) times the variance, with the scatter of 38 differences.
    assert 8.0 < ratio[100, 1, 2] < 30.0


def test_differences_are_between_valid_neighbours(gamma):
    kelvin = white(gamma, n_offs=1)
    kelvin[0, :, 5, 0, 0] = np.nan
    kelvin[0, 7, 0, 0, 0] = np.nan
    # A step across the gap would show if dumps 4 and 6 were compared.
    kelvin[0, ::2, 6:, 0, 0] += 1.0
    ratio, number = measure(kelvin, gamma)
    assert number[:, 0, 0].tolist() == [17 if c != 7 else 16 for c in range(3000)]
    assert (number[:, 1] == 19).all()
    assert ratio[:, 0, 0].mean() == pytest.approx(1.0, abs=0.05)


def test_bad_channels_and_pixels_without_data_are_unknown(gamma):
    kelvin = white(gamma)
    kelvin[:, :, :, 1, 1] = np.nan
    gamma[5] = np.nan
    ratio, number = measure(kelvin, gamma)
    unknown = np.zeros(ratio.shape, bool)
    unknown[5], unknown[:, 1, 1] = True, True
    np.testing.assert_array_equal(np.isnan(ratio), unknown)
    np.testing.assert_array_equal(number == 0, unknown)
    assert not find_noisy(ratio, number)[unknown].any()


def test_integers_are_measured_like_floats(gamma):
    counts = np.rint(white(gamma)[0] * gamma[:, None])
    common = np.zeros((19, 2, 3))
    one, other = (sum_squared_changes(c, gamma, common) for c in (counts, counts.astype(np.int32)))
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(found, expected)
