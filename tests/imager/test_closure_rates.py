"""Rates of simulated ramps against the truth: errors as large as the scatter, no bias.

The detector is richer than what steps assume: gain, noise, bias, linearity and response of each
pixel differ, zero levels drift, pixels are hot or dead, and hits fall into averaged groups.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers_closure import PATTERNS, close, close_all

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.simulate import Detector, ExposurePlan

pytestmark = pytest.mark.imager

RATES = (0.0, 0.1, 5.0, 100.0, 1000.0, 3000.0)

SIZES = [64, pytest.param(256, marks=pytest.mark.slow)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_integrations", [1, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_errors_and_means(tmp_path, pattern, n_integrations, size):
    plans = [ExposurePlan(rate=rate, n_integrations=n_integrations, stars=False, **PATTERNS[pattern]) for rate in RATES]
    closed = close_all(tmp_path, plans, Detector(size=size, dark=0.0, hot_fraction=0.0), seed=11)
    # Of the scatter itself, 3 standard errors.
    scatter = 3.0 / np.sqrt(2.0 * closed[0].usable.sum())
    for rate, found in zip(RATES, closed, strict=True):
        low, high = (0.90, 1.05) if rate < 1.0 else (0.97, 1.03)
        assert low - scatter < found.pulls().std() < high + scatter
        if n_integrations > 1:
            assert low - scatter < found.pulls(found.image.ints).std() < high + scatter
        if rate < 3000.0:
            assert abs(found.deviation()) < 5.0
            assert found.image.meta["qa"]["ramp_chi2"] == pytest.approx(1.0, abs=0.02 + scatter)
        else:
            assert found.image.meta["qa"]["saturated_fraction"] > 0.99


@pytest.mark.parametrize("pattern", PATTERNS)
def test_saturating_ramps_show_the_limit_of_linearity(tmp_path, pattern):
    plan = ExposurePlan(rate=3000.0, stars=False, **PATTERNS[pattern])
    found = close(tmp_path, plan, Detector(size=64, dark=0.0, hot_fraction=0.0, flat_spread=0.0, flat_structure=0.0))
    bias = np.median(found.pulls())
    # The polynomial of a mean of reads is not the mean of their polynomials.
    if pattern == "even":
        assert abs(found.deviation()) < 5.0
    else:
        assert -0.25 < bias < -0.08


NOISELESS = {
    **dict.fromkeys(("read_noise_spread", "reference_noise", "dead_fraction", "hot_fraction", "dark"), 0.0),
    "read_noise": 1e-5,
}

FINE = NOISELESS | {"gain": 2e-4, "linearity": (0.0, 1.0, 1.4e-10, 1.5e-19), "well": 3.5e8}
"""Small steps of a converter of 29 bits: those of integers vanish as well."""


@pytest.mark.parametrize(
    ("dtype", "properties", "limit"), [("int32", FINE, 1e-6), ("float32", NOISELESS, 2e-5)], ids=["int32", "float32"]
)
def test_without_noise_single_reads_give_the_true_rate(tmp_path, dtype, properties, limit):
    plan = ExposurePlan(rate=np.geomspace(100.0, 1000.0, 32 * 32).reshape(32, 32), hits=0.0, stars=False)
    detector = Detector(size=32, **properties)
    found = close(tmp_path, plan, detector, photon_noise=False, dtype=dtype)
    assert found.usable.sum() == 24**2
    np.testing.assert_allclose(found.image.data[found.usable], found.truth.rate[found.usable], rtol=limit)
    assert not (found.image.dq & (DQ.JUMP_DET | DQ.SATURATED)).any()
