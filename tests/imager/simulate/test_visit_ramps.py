"""Simulated ramps against first principles: means, variances, clipping, hits, zero levels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.simulate import Detector, ExposurePlan, Star, Subarray, VisitConfig
from cal_pipeline.imager.simulate.detector_maps import make_maps
from cal_pipeline.imager.simulate.ramps import model_exposure, simulate_block

pytestmark = pytest.mark.imager

UNIFORM = {
    **dict.fromkeys(("gain_spread", "read_noise_spread", "bias_spread", "linearity_spread", "well_spread"), 0.0),
    **dict.fromkeys(("dark", "hot_fraction", "dead_fraction", "flat_spread", "flat_structure"), 0.0),
    "reference_noise": 0.0,
    "linearity": (0.0, 1.0),
    "border": 0,
    "well": 1e5,
}
"""A detector of equal pixels with noise of photons and reads only."""

QUIET = UNIFORM | {"read_noise": 0.0}


def simulate(detector, plan, integration=0, **visit):
    """Simulate the first block of an exposure; float data unless said otherwise."""
    config = VisitConfig([plan], detector, **{"dtype": "float32"} | visit)
    model = model_exposure(config, 1, make_maps(config))
    return simulate_block(model, integration, 0), model


def test_without_noise_readings_grow_with_time():
    detector = Detector(size=8, **QUIET | {"bias": 1000.0, "gain": 4.0})
    plan = ExposurePlan(rate=20.0, read_pattern=((1,), (3, 4), (6, 7, 9)), frame_time=2.0, hits=0.0)
    block, model = simulate(detector, plan, photon_noise=False)
    expected = 1000.0 + 20.0 / 4.0 * 2.0 * np.array([1.0, 3.5, 22 / 3])
    np.testing.assert_allclose(block.data, np.broadcast_to(expected[:, None, None], (3, 8, 8)), rtol=1e-6)
    np.testing.assert_array_equal(model.rate, 20.0)


def test_integers_are_rounded_and_clipped():
    detector = Detector(size=4, amplifiers=1, **QUIET | {"bias": 65000.0, "gain": 1.0})
    plan = ExposurePlan(rate=100.6, n_groups=9, frame_time=1.0, hits=0.0)
    found = {
        dtype: simulate(detector, plan, photon_noise=False, dtype=dtype)[0].data[:, 0, 0].tolist()
        for dtype in ("uint16", "int32")
    }
    exact = [65101, 65201, 65302, 65402, 65503, 65604, 65704, 65805, 65905]
    assert found == {"int32": exact, "uint16": [min(value, 65535) for value in exact]}


def test_photons_are_shared_by_all_later_reads():
    detector = Detector(size=300, **QUIET | {"gain": 2.0})
    block, _ = simulate(detector, ExposurePlan(rate=30.0, n_groups=4, frame_time=3.0, hits=0.0))
    charge = 2.0 * (block.data.reshape(4, -1) - 8000.0)
    arrived = 30.0 * 3.0 * np.arange(1, 5)
    np.testing.assert_allclose(charge.mean(axis=1), arrived, atol=5 * np.sqrt(360 / 90000))
    # Var N = N; reads share what came before the earlier one. The error of a variance is sqrt(2/n) of it.
    np.testing.assert_allclose(np.cov(charge), np.minimum.outer(arrived, arrived), atol=5 * 360 * np.sqrt(2 / 90000))


def test_the_noise_of_reads_is_averaged_in_groups():
    detector = Detector(size=300, **UNIFORM | {"read_noise": 12.0, "gain": 3.0})
    plan = ExposurePlan(rate=0.0, read_pattern=((1,), (2, 3, 4, 5)), hits=0.0)
    block, _ = simulate(detector, plan)
    covariance = np.cov(block.data.reshape(2, -1))
    np.testing.assert_allclose(np.diag(covariance), [16.0, 4.0], rtol=5 * np.sqrt(2 / 90000))
    assert abs(covariance[0, 1]) < 5 * np.sqrt(16.0 * 4.0 / 90000)


def test_the_mean_of_reads_has_less_noise_than_one():
    detector = Detector(size=300, **QUIET | {"gain": 1.0})
    block, _ = simulate(detector, ExposurePlan(rate=50.0, n_groups=1, nframes=3, frame_time=2.0, hits=0.0))
    # The charge of three intervals enters with weights of 1, 2/3 and 1/3.
    assert block.data.mean() == pytest.approx(8000.0 + 200.0, abs=5 * np.sqrt(156 / 90000))
    assert block.data.var() == pytest.approx(100.0 * (1 + 4 / 9 + 1 / 9), rel=5 * np.sqrt(2 / 90000))


def test_the_polynomial_turns_readings_into_charge():
    linearity = (0.0, 1.0, 2e-6, 3e-11)
    detector = Detector(size=16, **QUIET | {"linearity": linearity, "linearity_spread": 0.1, "border": 2})
    plan = ExposurePlan(rate=1500.0, n_groups=12, hits=0.0)
    config = VisitConfig([plan], detector, photon_noise=False, dtype="float32")
    maps = make_maps(config)
    block = simulate_block(model_exposure(config, 1, maps), 0, 0)
    inside = slice(2, -2)
    x = block.data[:, inside, inside].astype(float) - maps.bias[inside, inside]
    charge = sum(maps.coeffs[k, inside, inside].astype(float) * x**k for k in range(4)) * maps.gain[inside, inside]
    true = 1500.0 * 5.0 * np.arange(1, 13)[:, None, None] * np.ones(x.shape)
    np.testing.assert_allclose(charge, true, rtol=2e-6)
    np.testing.assert_allclose(x[-1].mean(), np.roots([3e-11, 2e-6, 1.0, -45000.0]).real.max(), rtol=3e-3)
    assert np.ptp(x[-1]) > 100.0


def test_pixels_clip_at_the_well():
    detector = Detector(size=8, **QUIET | {"well": 1000.0, "linearity": (0.0, 1.0, 1e-5), "gain": 1.0})
    plan = ExposurePlan(rate=100.0, n_groups=6, nframes=2, frame_time=1.0, hits=0.0)
    block, _ = simulate(detector, plan, photon_noise=False)
    # 1000 + 1e-5 · 1000² = 1010 e fit; read 11 has 1100.
    reading = (-1.0 + np.sqrt(1.0 + 4e-5 * 1000.0)) / 2e-5
    assert block.data[5, 0, 0] == 9000.0
    assert block.data[4, 0, 0] == pytest.approx(8000.0 + (reading + (-1 + np.sqrt(1 + 4e-5 * 900)) / 2e-5) / 2)
    np.testing.assert_array_equal(block.first_clipped, 5)


def test_a_partly_clipped_group_is_known():
    detector = Detector(size=8, **QUIET | {"well": 1000.0, "gain": 1.0})
    block, _ = simulate(detector, ExposurePlan(rate=100.0, n_groups=4, nframes=4, frame_time=1.0, hits=0.0))
    np.testing.assert_array_equal(block.first_clipped >= 2, True)
    unclipped, _ = simulate(detector, ExposurePlan(rate=1.0, n_groups=4, hits=0.0))
    np.testing.assert_array_equal(unclipped.first_clipped, 4)


def test_zero_levels_are_common_to_an_amplifier_and_read():
    detector = Detector(size=(64, 30), amplifiers=4, **QUIET | {"reference_noise": 7.0})
    plan = ExposurePlan(rate=0.0, n_groups=200, n_integrations=2, hits=0.0)
    first, second = (simulate(detector, plan, integration)[0].data - 8000.0 for integration in (0, 1))
    stripes = [0, 8, 15, 23, 30]  # column x belongs to amplifier 4x // 30
    levels = []
    for low, high in pairwise(stripes):
        assert np.ptp(first[:, :, low:high], axis=(1, 2)).max() == 0.0
        levels += [first[:, 0, low], second[:, 0, low]]
    assert np.std(levels) == pytest.approx(7.0, rel=5 * np.sqrt(0.5 / 1600))
    correlation = np.corrcoef(levels) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(200)


def test_hits_are_steps_and_the_truth_lists_them():
    detector = Detector(size=64, **QUIET | {"gain": 1.0, "border": 4, "well": 1e6})
    plan = ExposurePlan(rate=0.0, n_groups=5, frame_time=4.0, hits=1e-3, hit_charge=(50.0, 500.0))
    block, _ = simulate(detector, plan)
    hits = block.hits
    expected = 1e-3 * 20.0 * 56 * 56
    assert abs(hits.charge.size - expected) < 5 * np.sqrt(expected)
    assert hits.charge.min() >= 50.0
    assert hits.charge.max() <= 500.0
    assert np.mean(np.log(hits.charge)) == pytest.approx(
        np.log(50.0 * 500.0) / 2, abs=5 * np.log(10) / np.sqrt(12 * 60)
    )
    charge = np.zeros((5, 64, 64))
    for read, y, x, electrons in zip(hits.read, hits.y, hits.x, hits.charge, strict=True):
        charge[read - 1 :, y, x] += electrons
    np.testing.assert_allclose(block.data - 8000.0, charge, atol=1e-2)


def test_bad_pixels_and_the_border_see_no_light():
    detector = Detector(size=64, dead_fraction=0.02, hot_fraction=0.02, hot_dark=100.0, dark=0.1)
    plan = ExposurePlan(rate=50.0, hits=0.01)
    config = VisitConfig([plan], detector)
    maps = make_maps(config)
    model = model_exposure(config, 1, maps)
    block = simulate_block(model, 0, 0)
    blind = ~maps.sensitive
    assert maps.reference.sum() == 64 * 64 - 56 * 56
    assert 0 < maps.dead.sum() < 0.05 * 56 * 56
    assert not np.any(maps.dead & maps.hot)
    np.testing.assert_array_equal(model.rate[blind], 0.0)
    assert model.rate[maps.hot].min() > 50.0 * 0.8 + 20.0
    assert model.rate[maps.sensitive & ~maps.hot].max() < 80.0
    growth = (block.data[-1].astype(float) - block.data[0])[blind]
    assert abs(growth.mean()) < 10.0
    assert maps.sensitive[block.hits.y, block.hits.x].all()
    np.testing.assert_array_equal(maps.mask == int(DQ.REFERENCE_PIXEL), maps.reference)
    np.testing.assert_array_equal(maps.mask == int(DQ.DEAD | DQ.DO_NOT_USE), maps.dead)


def test_flat_fields_have_a_median_of_one_and_their_spread():
    config = VisitConfig([ExposurePlan()], Detector(size=128, flat_spread=0.03, flat_structure=0.0))
    maps = make_maps(config)
    response = maps.flats["H"][maps.sensitive]
    assert np.median(response) == pytest.approx(1.0, abs=1e-6)
    assert response.std() == pytest.approx(0.03, rel=0.05)
    structured = make_maps(VisitConfig([ExposurePlan()], Detector(size=128, flat_spread=0.0, flat_structure=0.1)))
    assert 0.02 < structured.flats["H"][structured.sensitive].std() < 0.1


def test_the_truth_is_scene_times_flat_plus_dark():
    scene = np.linspace(1.0, 100.0, 32 * 32).reshape(32, 32)
    config = VisitConfig([ExposurePlan(rate=scene), ExposurePlan("DARK")], Detector(size=32))
    maps = make_maps(config)
    light, dark = (model_exposure(config, number, maps).rate for number in (1, 2))
    np.testing.assert_array_equal(dark, maps.dark)
    inside = maps.sensitive
    np.testing.assert_allclose((light - dark)[inside] / scene[inside], maps.flats["H"][inside], rtol=1e-5)


def test_a_subarray_is_the_same_part_of_the_detector():
    window = Subarray("WINDOW", xstart=11, ystart=5, xsize=16, ysize=20)
    plans = [ExposurePlan(stars=True), ExposurePlan(stars=True, subarray=window)]
    config = VisitConfig(plans, Detector(size=48), stars=[Star(x=-3.0, y=2.5, magnitude=18.0)])
    maps = make_maps(config)
    whole, part = (model_exposure(config, number, maps) for number in (1, 2))
    np.testing.assert_allclose(part.rate, whole.rate[4:24, 10:26], rtol=1e-9)
    assert part.shape == (1, 10, 20, 16)
    assert (part.stars.x - whole.stars.x, part.stars.y - whole.stars.y) == (pytest.approx(-10.0), pytest.approx(-4.0))
