"""Ramp fit: rates and errors are those of full matrices, and as large as the scatter."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from helpers_ramps import PATTERNS, SINGLE, Reads, fit

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.ramp_fit import fit_ramps
from cal_pipeline.imager.physics.reads import compute_read_times

pytestmark = pytest.mark.imager

GAIN, NOISE = 1.7, 9.0


def fit_electrons(electrons, pattern, frame_time, flags=None, pixeldq=None, noise=NOISE):
    """Fit ramps [I, G, y, x] in electrons."""
    shape = electrons.shape[2:]
    flags = np.zeros(electrons.shape, np.uint8) if flags is None else flags
    pixeldq = np.zeros(shape, np.uint32) if pixeldq is None else pixeldq
    gain, noise = np.full(shape, GAIN), np.broadcast_to(noise, shape)
    return fit_ramps(electrons / GAIN, flags, pixeldq, gain, noise, compute_read_times(pattern, frame_time))


def random_flags(rng, shape):
    """Flags of ramps that saturate, and of groups that jump or are not usable."""
    flags = np.where(rng.random(shape) < 0.12, np.uint8(DQ.JUMP_DET), np.uint8(0))
    flags |= np.where(rng.random(shape) < 0.06, np.uint8(DQ.DO_NOT_USE), np.uint8(0))
    flags |= np.where(rng.random(shape) < 0.06, np.uint8(DQ.SATURATED), np.uint8(0))
    saturated = np.logical_or.accumulate(flags & 2, axis=1)
    flags[saturated] |= 2
    flags[:, :, :, 0] = 0
    return flags


@pytest.mark.parametrize("n_integrations", [1, 3])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_rates_and_errors_are_those_of_full_matrices(pattern, n_integrations):
    rng = np.random.default_rng(n_integrations)
    reads = Reads(pattern, 5.0)
    rates = np.array([0.0, 0.1, 5.0, 100.0, 3000.0])
    electrons = reads.simulate(rng, rates[:, None], NOISE, (n_integrations, 5, 12))
    flags = random_flags(rng, electrons.shape)
    noise = rng.uniform(5, 20, (5, 12))
    found = fit_electrons(electrons, pattern, 5.0, flags, noise=noise)
    fits = [found] if n_integrations == 1 else [found, found.integrations]
    for y, x in np.ndindex(5, 12):
        ramps, seen = electrons[:, :, y, x], flags[:, :, y, x]
        expected = [fit(reads, ramps, seen, noise[y, x])]
        if n_integrations > 1:
            expected += [fit(reads, ramps[i : i + 1], seen[i : i + 1], noise[y, x]) for i in range(n_integrations)]
        names = ("rate", "err", "var_poisson", "var_rnoise")
        results = [
            np.atleast_1d(np.concatenate([np.atleast_1d(getattr(f, name)[..., y, x]) for f in fits])) for name in names
        ]
        for k, (rate, err, var_poisson, var_rnoise, _, _) in enumerate(expected):
            if np.isnan(rate):
                assert np.isnan([values[k] for values in results]).all()
                continue
            assert results[0][k] == pytest.approx(rate, abs=3e-4 * err, rel=1e-6)
            assert results[1][k] == pytest.approx(err, rel=1e-4)
            assert results[2][k] == pytest.approx(var_poisson, abs=2e-4 * err**2)
            assert results[3][k] == pytest.approx(var_rnoise, abs=2e-4 * err**2)
        *_, chi2, n_used = expected[0]
        events = np.bitwise_or.reduce(seen, axis=(0, 1))
        counted = n_used > 1 and not events & (DQ.SATURATED | DQ.JUMP_DET)
        assert found.n_free[y, x] == (n_used - 1 if counted else 0)
        assert found.chi2[y, x] == pytest.approx(chi2 if counted else 0.0, rel=1e-3)
        assert found.dq[y, x] == events & 0xFE | (DQ.DO_NOT_USE if n_used == 0 else 0)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-6), (np.float32, 2e-5)])
def test_ramps_without_noise_give_their_rate(pattern, dtype, error):
    rates = np.array([[0.1, 3.0, 100.0, 3000.0]])
    reads = Reads(pattern, 5.0)
    electrons = (1000.0 + (reads.average @ reads.times)[None, :, None, None] * rates).repeat(2, axis=0)
    electrons[1] += 50.0
    flags = np.zeros(electrons.shape, np.uint8)
    flags[0, 3], flags[1, 4:] = DQ.JUMP_DET, DQ.SATURATED
    electrons[0, 3:] += 200.0
    electrons[1, 4:] = 0.0
    times = compute_read_times(pattern, 5.0)
    one = np.ones(rates.shape)
    found = fit_ramps(electrons.astype(dtype), flags, one.astype(np.uint32) * 0, one, NOISE * one, times)
    # 32 bits hold counts of some 1000 to 1e-4 only.
    tolerance = error * rates + (1e-5 if dtype is np.float32 else 0.0)
    assert (np.abs(found.rate - rates) <= tolerance).all()
    assert (np.abs(found.integrations.rate - rates) <= 4 * tolerance).all()


class TestWithoutAFit:
    def test_pixels_that_are_not_fitted(self):
        electrons = np.arange(10.0)[None, :, None, None] * np.ones((1, 10, 1, 6))
        pixeldq = np.array([[DQ.DO_NOT_USE, DQ.REFERENCE_PIXEL, DQ.HOT, 0, 0, 0]], np.uint32)
        flags = np.zeros(electrons.shape, np.uint8)
        flags[0, 0, 0, :2] = DQ.AD_FLOOR
        flags[0, :, 0, 3] = DQ.SATURATED
        electrons[0, :, 0, 4] = np.nan
        found = fit_electrons(electrons, SINGLE, 5.0, flags, pixeldq, np.array([[9.0, 9.0, 9.0, 9.0, 9.0, 0.0]]))
        expected = [
            DQ.DO_NOT_USE | DQ.AD_FLOOR,
            DQ.REFERENCE_PIXEL | DQ.DO_NOT_USE | DQ.AD_FLOOR,
            DQ.HOT,
            DQ.SATURATED | DQ.DO_NOT_USE,
            DQ.DO_NOT_USE,
            DQ.NO_GAIN_VALUE | DQ.DO_NOT_USE,
        ]
        assert [DQ(value) for value in found.dq.ravel().tolist()] == expected
        for values in (found.rate, found.err, found.var_poisson, found.var_rnoise):
            assert np.isfinite(values).ravel().tolist() == [False, False, True, False, False, False]
        assert (found.n_free > 0).ravel().tolist() == [False, False, True, False, False, False]
        assert (found.chi2[found.n_free == 0] == 0).all()

    def test_one_difference_is_enough(self):
        electrons = np.array([100.0, 150.0, 1e5, 1e5]).reshape(1, 4, 1, 1)
        flags = np.array([0, 0, 2, 2], np.uint8).reshape(1, 4, 1, 1)
        found = fit_electrons(electrons, SINGLE[:4], 5.0, flags)
        # 50 electrons in 5 s, and the noise of two reads.
        assert found.rate.item() == pytest.approx(10.0)
        assert found.var_poisson.item() == pytest.approx(50.0 / 25, rel=1e-4)
        assert found.var_rnoise.item() == pytest.approx(2 * 81.0 / 25, rel=1e-4)
        assert found.n_free.item() == 0

    def test_an_integration_without_a_difference_leaves_the_rate_to_the_others(self):
        electrons = np.arange(10.0)[None, :, None, None] * np.full((2, 10, 1, 1), 50.0)
        flags = np.zeros(electrons.shape, np.uint8)
        flags[0] = DQ.SATURATED
        found = fit_electrons(electrons, SINGLE, 5.0, flags)
        assert found.rate.item() == pytest.approx(10.0)
        assert found.dq.item() == DQ.SATURATED
        assert np.isnan(found.integrations.rate[0]).all()
        assert found.integrations.dq.ravel().tolist() == [DQ.SATURATED | DQ.DO_NOT_USE, 0]
        assert found.integrations.rate[1].item() == pytest.approx(10.0)


def test_events_in_pixeldq_and_other_flags_stay():
    electrons = np.arange(4.0)[None, :, None, None] * np.ones((1, 4, 1, 1))
    pixeldq = np.array([[DQ.OUTLIER | DQ.HOT]], np.uint32)
    flags = np.array([0, 1, 0, 0], np.uint8).reshape(1, 4, 1, 1)
    assert fit_electrons(electrons, SINGLE[:4], 5.0, flags, pixeldq).dq.item() == DQ.OUTLIER | DQ.HOT


def test_rows_on_threads_give_the_same_bits_and_nothing_is_modified():
    rng = np.random.default_rng(5)
    electrons = Reads(SINGLE, 5.0).simulate(rng, 30.0, NOISE, (2, 64, 50)).astype(np.float32)
    flags = random_flags(rng, electrons.shape)
    before = electrons.copy(), flags.copy()
    whole = fit_electrons(electrons, SINGLE, 5.0, flags)
    parts = {}

    def fit_rows(start):
        rows = slice(start, start + 16)
        parts[start] = fit_electrons(electrons[:, :, rows], SINGLE, 5.0, flags[:, :, rows])

    threads = [threading.Thread(target=fit_rows, args=(start,)) for start in range(0, 64, 16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("rate", "err", "var_poisson", "var_rnoise", "dq", "chi2", "n_free"):
        found = np.concatenate([getattr(parts[start], name) for start in sorted(parts)])
        np.testing.assert_array_equal(found, getattr(whole, name))
        found = np.concatenate([getattr(parts[start].integrations, name) for start in sorted(parts)], axis=1)
        np.testing.assert_array_equal(found, getattr(whole.integrations, name))
    np.testing.assert_array_equal(electrons, before[0])
    np.testing.assert_array_equal(flags, before[1])


@pytest.mark.parametrize("scale", [1e37, 1e300])
def test_rates_that_float32_does_not_hold_are_flagged(scale):
    ramp = scale * np.arange(5.0).reshape(1, 5, 1, 1)
    one, times = np.ones((1, 1)), compute_read_times([[1], [2], [3], [4], [5]], 5.0)
    fit = fit_ramps(ramp, np.zeros(ramp.shape, np.uint8), np.zeros((1, 1), np.uint32), 1e3 * one, one, times)
    assert np.isnan([fit.rate.item(), fit.err.item(), fit.var_poisson.item(), fit.var_rnoise.item()]).all()
    assert fit.dq.item() == DQ.DO_NOT_USE
