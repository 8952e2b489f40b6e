"""Background: levels, skies scaled to each other, and their subtraction."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics import background as module
from cal_pipeline.imager.physics.background import (
    Level,
    combine_skies,
    match_level,
    measure_level,
    scale_levels,
    subtract_background,
    subtract_level,
)
from cal_pipeline.imager.physics.image import make_image

pytestmark = pytest.mark.imager


def make_sky(level, sigma=1.0, shape=(100, 100), seed=0):
    data = np.random.default_rng(seed).normal(level, sigma, shape)
    return make_image(data, np.full(shape, sigma))


def test_level_does_not_see_stars():
    sky = make_sky(50.0)
    sky.data[10:20, 10:40] += 500.0
    sky.data[60:70, 60:70] = 1e5
    level = measure_level(sky)
    assert level.value == pytest.approx(50.0, abs=0.05)
    assert 9500 < level.n_pixels < 9610
    assert level.significant


def test_level_has_good_pixels_only():
    sky = make_sky(50.0)
    sky.data[:80] = 70.0
    sky.dq[:80] = DQ.DO_NOT_USE
    sky.data[80, :50] = np.nan
    sky.err[81, :50] = np.nan
    assert measure_level(sky).value == pytest.approx(50.0, abs=0.1)
    assert measure_level(sky).n_pixels <= 1900


def test_error_of_the_level_is_true():
    levels = [measure_level(make_sky(10.0, 2.0, (30, 30), seed)) for seed in range(300)]
    pull = np.array([(level.value - 10.0) / level.err for level in levels])
    assert pull.std() == pytest.approx(1.0, abs=0.12)


def test_clipping_is_limited(monkeypatch):
    image = make_image(2.0 ** np.arange(100), np.ones(100))  # each clipping uncovers the next
    n_pixels = {}
    for most in (1, 2, 10, 11):
        monkeypatch.setattr(module, "MOST_CLIPS", most)
        n_pixels[most] = measure_level(image).n_pixels
    assert 100 > n_pixels[1] > n_pixels[2] > n_pixels[10] == n_pixels[11]


def test_no_good_pixel():
    level = measure_level(make_image([np.nan, 1.0], [1.0, 1.0], [0, 1]))
    assert np.isnan(level.value)
    assert level.n_pixels == 0
    assert not level.significant


@pytest.mark.parametrize(("ratio", "significant"), [(4.9, False), (5.1, True)])
def test_significance(ratio, significant):
    assert Level(ratio, 1.0, 10).significant is significant


def test_skies_of_different_levels():
    skies = [make_sky(level, 1.0, seed=int(level)) for level in (50.0, 100.0, 150.0)]
    background = combine_skies(skies)
    assert background.data.mean() == pytest.approx(100.0, abs=0.1)
    # 2, 1 and 2/3 times an error of 1, averaged
    assert background.err[0, 0] == pytest.approx(np.sqrt(4 + 1 + 4 / 9) / 3, rel=1e-2)
    assert ((background.data - background.data.mean()) / background.err).std() == pytest.approx(1.0, abs=0.03)


def test_one_sky_without_a_level_scales_none():
    assert scale_levels([Level(50.0, 1.0, 9), Level(4.0, 1.0, 9)]).tolist() == [1.0, 1.0]
    assert scale_levels([Level(50.0, 1.0, 9), Level(np.nan, np.nan, 0)]).tolist() == [1.0, 1.0]
    assert combine_skies([make_sky(0.0), make_sky(100.0)], sigma=0.0).data.mean() == pytest.approx(50.0, abs=0.1)


def test_stars_in_dithered_skies_go():
    skies = [make_sky(100.0, seed=k) for k in range(5)]
    for k, sky in enumerate(skies):
        sky.data[10 * k : 10 * k + 5, 20:25] += 300.0
    background = combine_skies(skies)
    assert np.abs((background.data - 100.0) / background.err).max() < 7.0


def test_skies_hand_on_no_events():
    skies = [make_image([1.0], [1.0], [DQ.JUMP_DET | DQ.HOT]), make_image([1.0], [1.0], [DQ.SATURATED | DQ.WARM])]
    assert combine_skies(skies).dq.item() == DQ.HOT | DQ.WARM


def test_no_skies():
    with pytest.raises(ObservationError, match="found 0, expected at least 1"):
        combine_skies([])


def test_background_and_its_error():
    image = make_image([10.0, 10.0, 10.0], [3.0, 3.0, 3.0], [DQ.JUMP_DET, 0, 0], [1.0] * 3, [2.0] * 3, [6.0] * 3)
    background = make_image([4.0, np.nan, 4.0], [2.0, np.nan, np.nan], [DQ.HOT | DQ.OUTLIER, DQ.DO_NOT_USE, 0])
    found = subtract_background(image, background, 2.0)
    assert found.data.tolist() == [2.0, 10.0, 10.0]
    assert found.err.tolist() == [5.0, 3.0, 3.0]
    assert found.dq.tolist() == [DQ.HOT | DQ.JUMP_DET, DQ.DO_NOT_USE, DQ.DO_NOT_USE]
    assert found.var_flat.tolist() == [6.0] * 3
    assert image.data.tolist() == [10.0] * 3


def test_integrations_have_one_background():
    image = make_image(np.full((2, 1, 2), 5.0), np.ones((2, 1, 2)))
    found = subtract_background(image, make_image([[1.0, 2.0]], [[0.0, 0.0]]))
    assert found.data.tolist() == [[[4.0, 3.0]]] * 2


def test_level_of_the_image_is_matched():
    image, background = make_sky(110.0, seed=1), combine_skies([make_sky(100.0, seed=2), make_sky(100.0, seed=3)])
    scale = match_level(measure_level(image), measure_level(background))
    assert scale == pytest.approx(1.1, abs=1e-3)
    assert subtract_background(image, background, scale).data.mean() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("background", [Level(0.0, 1.0, 9), Level(-50.0, 1.0, 9), Level(np.nan, np.nan, 0)])
def test_an_unknown_background_is_not_scaled(background):
    assert match_level(Level(10.0, 1.0, 9), background) == 1.0
    assert match_level(Level(np.nan, np.nan, 0), Level(100.0, 1.0, 9)) == 1.0


def test_level_alone():
    image = make_sky(100.0)
    found = subtract_level(image, measure_level(image))
    assert np.median(found.data) == pytest.approx(0.0, abs=0.02)
    np.testing.assert_array_equal(found.err, image.err)
    assert subtract_level(image, Level(np.nan, np.nan, 0)).data[0, 0] == image.data[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("levels", [(100.0, 100.0, 100.0), (80.0, 100.0, 130.0)])
def test_pulls_after_subtraction(levels):
    rng = np.random.default_rng(9)
    shape, time = (300, 300), 100.0

    def expose(rate):
        true_err = np.sqrt(rate * time + 81.0) / time
        return make_image(
            rng.poisson(rate * time, shape) / time + rng.normal(0, 9.0 / time, shape), np.full(shape, true_err)
        )

    background = combine_skies([expose(level) for level in levels])
    mean = np.mean(levels)
    image = subtract_background(expose(mean + 20.0), background)
    assert ((image.data - 20.0) / image.err).std() == pytest.approx(1.0, abs=0.02)
    assert image.data.mean() == pytest.approx(20.0, abs=0.05)
