"""Dark rate subtracted, and hot pixels found."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics.combine import combine_frames
from cal_pipeline.imager.physics.dark import flag_hot_pixels, subtract_dark
from cal_pipeline.imager.physics.image import make_image

pytestmark = pytest.mark.imager


def test_dark_and_its_error():
    image = make_image([10.0, 10.0], [3.0, 5.0], [DQ.JUMP_DET, 0], [4.0, 4.0], [5.0, 5.0], [6.0, 6.0])
    found = subtract_dark(image, np.array([2.5, -1.0]), np.array([4.0, 12.0]), np.array([DQ.HOT, 0]))
    assert found.data.tolist() == [7.5, 11.0]
    assert found.err.tolist() == [5.0, 13.0]
    assert found.dq.tolist() == [DQ.HOT | DQ.JUMP_DET, 0]
    for one, other in zip(found[2:5], image[2:5], strict=True):
        np.testing.assert_array_equal(one, other)
    assert image.data.tolist() == [10.0, 10.0]


@pytest.mark.parametrize(("dark", "err"), [(np.nan, 1.0), (np.inf, 1.0), (2.0, np.nan)])
def test_unknown_dark_subtracts_nothing(dark, err):
    found = subtract_dark(make_image([10.0], [3.0]), np.array([dark]), np.array([err]))
    assert (found.data.item(), found.err.item(), found.dq.item()) == (10.0, 3.0, DQ.UNRELIABLE_DARK)


def test_events_of_the_dark_stay_there():
    dq = np.array([DQ.SATURATED | DQ.JUMP_DET | DQ.OUTLIER | DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL], np.uint32)
    found = subtract_dark(make_image([1.0], [1.0]), np.zeros(1), np.zeros(1), dq)
    assert found.dq.item() == DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL


def test_integrations_have_one_dark():
    found = subtract_dark(make_image(np.ones((3, 2, 2)), np.ones((3, 2, 2))), np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert found.data.tolist() == [[[1.0, 0.0], [-1.0, -2.0]]] * 3
    assert found.dq.shape == (3, 2, 2)


def test_hot_pixels_stand_out_of_the_good_ones():
    rng = np.random.default_rng(1)
    data = rng.normal(0.02, 0.001, (64, 64)).astype(np.float32)
    dq = np.zeros(data.shape, np.uint32)
    data[3, 4], data[5, 6], data[7, 8], data[9, 9] = 0.02 + 0.0225, 0.02 + 0.0175, np.nan, 0.0
    dq[:20, 40:], data[:20, 40:] = DQ.DO_NOT_USE, 100.0  # would widen the spread of all
    found = flag_hot_pixels(make_image(data, np.full_like(data, 0.001), dq))
    assert np.argwhere((found & DQ.HOT > 0) & (dq == 0)).tolist() == [[3, 4]]
    assert (found[:20, 40:] & DQ.DO_NOT_USE > 0).all()
    assert not dq[3, 4]


def test_limit_of_hot_pixels():
    dark = make_image([0.9, 1.0, 1.1, 1.0, 1.5, 0.8, 1.2, 1.0], np.ones(8))  # MAD 0.1
    assert np.flatnonzero(flag_hot_pixels(dark, 3.0)).tolist() == [4]
    assert np.flatnonzero(flag_hot_pixels(dark, 3.5)).tolist() == []


def test_nothing_is_hot_where_nothing_is_good():
    assert flag_hot_pixels(make_image([np.nan, 5.0], [1.0, 1.0], [0, 1])).tolist() == [0, 1]


@pytest.mark.slow
def test_pulls_after_the_dark_of_nine_exposures():
    """Rates of 100 s with photon and read noise, minus a dark made of nine exposures of 300 s."""
    rng = np.random.default_rng(7)
    shape, time, dark_time, read_noise = (300, 300), 100.0, 300.0, 9.0
    dark_rate = rng.uniform(2.0, 4.0, shape)

    def expose(rate, seconds):
        counts = rng.poisson(rate * seconds) + rng.normal(0.0, read_noise, shape)
        # the true variance: errors from the counts would correlate with them
        return counts / seconds, np.sqrt(rate * seconds + read_noise**2) / seconds

    frames = [expose(dark_rate, dark_time) for _ in range(9)]
    dark = combine_frames([d for d, _ in frames], [e for _, e in frames], [np.zeros(shape, np.uint32)] * 9)
    data, err = expose(50.0 + dark_rate, time)
    image = subtract_dark(make_image(data, err), dark.data, dark.err, dark.dq)
    assert np.abs((dark.data - dark_rate) / dark.err).std() == pytest.approx(np.sqrt(1 - 2 / np.pi), abs=0.02)
    pull = (image.data - 50.0) / image.err
    assert pull.std() == pytest.approx(1.0, abs=0.02)
    assert pull.mean() == pytest.approx(0.0, abs=0.02)
