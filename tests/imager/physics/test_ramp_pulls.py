"""Errors of rates are as large as their scatter, and rates have no bias: ramps from single reads, many of them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_ramps import EVEN, PATTERNS, SINGLE, Reads

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.jump import flag_jumps
from cal_pipeline.imager.physics.ramp_fit import fit_ramps
from cal_pipeline.imager.physics.reads import compute_read_times
from cal_pipeline.imager.physics.saturation import flag_saturation

pytestmark = pytest.mark.imager

GAIN, NOISE, WELL = 1.7, 9.0, 100_000.0

FEW, MANY = 10_000, pytest.param(100_000, marks=pytest.mark.slow)


def measure(pattern, rate, n_ramps, n_integrations=1, frame_time=None, noise=NOISE, search=True):
    """Simulate pixels that clip at the well, flag and fit them; ramps of some 50 s."""
    frame_time = frame_time or (5.0 if pattern is SINGLE else 2.0)
    rng = np.random.default_rng(0)
    reads = Reads(pattern, frame_time)
    shape = (n_integrations, 10, n_ramps // 10)
    arrived = rng.poisson(rate * frame_time, (len(reads.times), *shape))
    counts = np.minimum(np.cumsum(arrived, axis=0), WELL) + rng.normal(0.0, noise, arrived.shape)
    data = 1000.0 + np.moveaxis(np.tensordot(reads.average, counts, 1), 0, 1) / GAIN
    one, times = np.ones(shape[1:]), compute_read_times(pattern, frame_time)
    flags = flag_saturation(data, np.zeros(data.shape, np.uint8), (1000 + 0.98 * WELL / GAIN) * one, times)
    pixels = np.zeros(shape[1:], np.uint32), GAIN * one, noise * one
    if search:
        flags = flag_jumps(data, flags, *pixels, times)
    return fit_ramps(data, flags, *pixels, times)


def pull_of(fit, rate):
    """Scatter of the deviations over their errors."""
    return ((fit.rate - rate) / fit.err)[np.isfinite(fit.rate)].std()


def bias_of(fit, rate):
    """Deviation of the mean rate in standard errors."""
    found = fit.rate[np.isfinite(fit.rate)].astype(np.float64)
    return (found.mean() - rate) / (found.std() / np.sqrt(found.size))


@pytest.mark.parametrize("n_ramps", [FEW, MANY])
@pytest.mark.parametrize("n_integrations", [1, 3])
@pytest.mark.parametrize("rate", [5.0, 100.0, 1000.0, 3000.0])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_errors_are_as_large_as_the_scatter(pattern, rate, n_integrations, n_ramps):
    fit = measure(pattern, rate, n_ramps, n_integrations)
    saturated = rate == 3000
    assert ((fit.dq & DQ.SATURATED) != 0).mean() == saturated
    fits = [fit] if n_integrations == 1 else [fit, fit.integrations]
    for found in fits:
        assert pull_of(found, rate) == pytest.approx(1.0, abs=0.03)
        assert abs(bias_of(found, rate)) < 5
    if not saturated:
        assert fit.chi2.sum() / fit.n_free.sum() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("n_ramps", [FEW, MANY])
@pytest.mark.parametrize("n_integrations", [1, 3])
@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_faint_rates(pattern, rate, n_integrations, n_ramps):
    fit = measure(pattern, rate, n_ramps, n_integrations)
    fits = [fit] if n_integrations == 1 else [fit, fit.integrations]
    for found in fits:
        assert 0.90 < pull_of(found, rate) < 1.05
        assert abs(bias_of(found, rate)) < 5


@pytest.mark.parametrize("n_ramps", [FEW, MANY])
def test_rates_of_all_integrations_are_no_weighted_mean(n_ramps):
    fit = measure(SINGLE[:6], 0.1, n_ramps, 8, 10.0, search=False)
    assert abs(bias_of(fit, 0.1)) < 4
    each = fit.integrations
    weights = each.err.astype(np.float64) ** -2
    mean = (weights * each.rate).sum(axis=0) / weights.sum(axis=0)
    # Noise that makes a rate low makes its error low as well.
    assert (mean.mean() - 0.1) / 0.1 < -0.08


@pytest.mark.parametrize("rate", [0.0, 5.0, 100.0])
@pytest.mark.parametrize("pattern", [SINGLE, EVEN], ids=["single", "even"])
def test_weighting_beats_the_line_through_both_ends(pattern, rate):
    rng, reads = np.random.default_rng(1), Reads(pattern, 5.0)
    electrons = reads.simulate(rng, rate, NOISE, (1, 10, 1000))
    ends = (electrons[:, -1] - electrons[:, 0]) / reads.interval.sum()
    one = np.ones((10, 1000))
    flags, pixeldq = np.zeros(electrons.shape, np.uint8), np.zeros(one.shape, np.uint32)
    fit = fit_ramps(electrons, flags, pixeldq, one, NOISE * one, compute_read_times(pattern, 5.0))
    assert fit.rate.std() < 1.01 * ends.std()
    if rate == 0:
        # Slope of a line through all G points: 12/(G³ - G) of the variance of one, and 2/(G - 1)² through two.
        n_groups = len(pattern)
        gain = 6.0 * (n_groups - 1) / (n_groups * (n_groups + 1))
        assert fit.rate.std() / ends.std() == pytest.approx(np.sqrt(gain), rel=0.05)
