"""Each step of detector1 matters: without it, rates are far off in the way that its effect predicts."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_closure import close

from cal_pipeline.imager.simulate import Detector, ExposurePlan

pytestmark = pytest.mark.imager

PLAIN = {"dark": 0.0, "hot_fraction": 0.0, "dead_fraction": 0.0, "flat_spread": 0.0, "flat_structure": 0.0}


def mean_rate(found, where=True):
    return float(np.mean(found.image.data[found.usable & where]))


def test_without_jump_hit_pixels_count_the_hits(tmp_path):
    # 5000 e between the ends of ten groups, 45 s apart, are 111 e/s; those in the middle weigh more.
    plan = ExposurePlan(rate=100.0, hits=2e-4, hit_charge=(5000.0, 5000.0), stars=False)
    detector = Detector(size=64, **PLAIN)
    found = {skip: close(tmp_path, plan, detector, skip) for skip in ("", "jump")}
    hits = found[""].truth.hits
    alone = np.zeros(found[""].hit.shape, int)
    np.add.at(alone, (hits.y, hits.x), 1)
    seen = np.zeros_like(found[""].hit)
    seen[hits.y[hits.read > 1], hits.x[hits.read > 1]] = True
    seen &= alone == 1
    assert mean_rate(found[""], seen) == pytest.approx(100.0, abs=1.5)
    assert mean_rate(found["jump"], seen) == pytest.approx(211.0, abs=12.0)


def test_without_linearity_bright_rates_are_low(tmp_path):
    plan = ExposurePlan(rate=1000.0, stars=False)
    detector = Detector(size=64, **PLAIN)
    assert mean_rate(close(tmp_path, plan, detector)) == pytest.approx(1000.0, abs=1.0)
    assert 945.0 < mean_rate(close(tmp_path, plan, detector, "linearity")) < 960.0


def test_without_saturation_clipped_rates_are_a_fraction(tmp_path):
    # Clipped groups do not grow, and most of the ten are clipped.
    plan = ExposurePlan(rate=3000.0, stars=False)
    detector = Detector(size=64, **PLAIN)
    assert mean_rate(close(tmp_path, plan, detector)) == pytest.approx(3000.0, abs=2.0)
    assert mean_rate(close(tmp_path, plan, detector, "saturation")) < 500.0


def test_without_superbias_the_polynomial_starts_at_the_wrong_zero(tmp_path):
    plan = ExposurePlan(rate=100.0, stars=False)
    # Reference pixels have the bias as well and would take it away.
    detector = Detector(size=64, border=0, reference_noise=0.0, **PLAIN)
    assert mean_rate(close(tmp_path, plan, detector)) == pytest.approx(100.0, abs=0.2)
    # Slope of the polynomial in the middle of the ramp, 1400 adu above the bias, over that without bias.
    slope = [1.0 + 2.0 * 1.4e-6 * x + 3.0 * 1.5e-11 * x**2 for x in (1400.0, 9400.0)]
    assert mean_rate(close(tmp_path, plan, detector, "superbias")) == pytest.approx(
        100.0 * slope[1] / slope[0], abs=0.2
    )


@pytest.mark.parametrize(("noise", "low", "high"), [(3.0, 1.04, 1.12), (30.0, 3.0, 12.0)])
def test_without_refpix_errors_are_too_small(tmp_path, noise, low, high):
    plan = ExposurePlan(rate=5.0, stars=False, hits=0.0)
    # Many amplifiers, because the zero level of each is one number a read.
    detector = Detector(size=64, amplifiers=32, reference_noise=noise, **PLAIN)
    assert close(tmp_path, plan, detector).pulls().std() == pytest.approx(1.0, abs=0.06)
    assert low < close(tmp_path, plan, detector, "refpix").pulls().std() < high
