"""Flat fields: division, its errors, and flats made of exposures."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics.combine import combine_frames, normalize
from cal_pipeline.imager.physics.flat import UNUSABLE, divide_by_flat, flag_unusable_flat
from cal_pipeline.imager.physics.image import make_image

pytestmark = pytest.mark.imager


def test_division_and_variances():
    image = make_image([100.0], [6.0], [DQ.JUMP_DET], [16.0], [20.0])
    found = divide_by_flat(image, np.array([0.5]), np.array([0.01]), np.array([DQ.LOW_QE | DQ.OUTLIER]))
    assert found.data.item() == 200.0
    assert found.var_flat.item() == pytest.approx(16.0)  # 2 % of 200, squared
    assert found.err.item() ** 2 == pytest.approx(144.0 + 16.0)
    assert (found.var_poisson.item(), found.var_rnoise.item()) == (64.0, 80.0)
    assert found.dq.item() == DQ.JUMP_DET | DQ.LOW_QE
    assert image.data.item() == 100.0


@pytest.mark.parametrize(
    ("flat", "err", "dq"),
    [
        (np.nan, 0.1, 0),
        (np.inf, 0.1, 0),
        (0.0, 0.1, 0),
        (-1.0, 0.1, 0),
        (1.1, np.nan, 0),
        (1.1, 0.1, int(DQ.NO_FLAT_FIELD)),
        (1.1, 0.1, int(DQ.DO_NOT_USE)),
    ],
)
def test_without_a_flat_all_stays(flat, err, dq):
    image = make_image([100.0], [6.0], [DQ.HOT], [16.0], [20.0])
    found = divide_by_flat(image, np.array([flat]), np.array([err]), np.array([dq]))
    assert [array.item() for array in found] == [100.0, 6.0, 16.0, 20.0, 0.0, DQ.HOT | UNUSABLE]


def test_integrations_have_one_flat():
    image = make_image(np.ones((3, 1, 2)), np.ones((3, 1, 2)))
    found = divide_by_flat(image, np.array([[0.5, 2.0]]))
    assert found.data.tolist() == [[[2.0, 0.5]]] * 3


def test_quality_of_flats():
    flat = make_image([1.0, 0.2, 0.1, 0.099, -1.0, np.nan], np.ones(6), [DQ.HOT, 0, 0, 0, 0, 0])
    assert flag_unusable_flat(flat, np.float32(0.1)).tolist() == [DQ.HOT, 0, 0, *[UNUSABLE] * 3]
    assert flag_unusable_flat(flat, 0.3).tolist() == [DQ.HOT, *[UNUSABLE] * 5]


@pytest.mark.slow
def test_flat_of_nine_exposures_of_20000_electrons():
    """The photon noise of 9 x 20000 electrons is 0.236 %; the lamp drifts, and each exposure has hits."""
    rng = np.random.default_rng(2)
    shape, time = (300, 300), 10.0
    truth = rng.normal(1.0, 0.05, shape)
    truth /= np.median(truth)
    frames = []
    for lamp in np.linspace(0.9, 1.1, 9):
        counts = rng.poisson(2e4 * lamp * truth) + rng.normal(0.0, 9.0, shape)
        counts[rng.uniform(size=shape) < 1e-3] += 5000.0
        err = np.sqrt(2e4 * lamp * truth + 81.0)
        frames.append(normalize(make_image(counts / time, err / time)))
    combined = combine_frames(*([getattr(frame, name) for frame in frames] for name in ("data", "err", "dq")))
    flat = normalize(combined)
    assert (flat.data / truth - 1.0).std() < 0.003
    assert ((flat.data - truth) / flat.err).std() == pytest.approx(1.0, abs=0.05)

    scene = 400.0
    noise = np.sqrt(scene * truth * time + 81.0) / time
    image = make_image(scene * truth + rng.normal(0.0, noise), noise)
    found = divide_by_flat(image, flat.data, flat.err, flat.dq)
    assert ((found.data - scene) / found.err).std() == pytest.approx(1.0, abs=0.02)
