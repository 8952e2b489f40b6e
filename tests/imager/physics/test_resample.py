"""Resampling: fluxes and errors on another grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics.image import make_image
from cal_pipeline.imager.physics.projection import Grid, Projection, compute_grid, map_pixels
from cal_pipeline.imager.physics.resample import LEAST_WEIGHT, resample

pytestmark = pytest.mark.imager

SCALE = 1e-5
PLAIN = Projection((150.0, 2.0), (10.5, 10.5), ((-SCALE, 0.0), (0.0, SCALE)))


def rotate(projection: Projection, degrees: float, scale: float = 1.0) -> Projection:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    cd = np.array(projection.cd) @ [[c, -s], [s, c]]
    return Projection(projection.crval, projection.crpix, (tuple(cd[0]), tuple(cd[1])))


def make_random(shape=(20, 20), seed=0):
    rng = np.random.default_rng(seed)
    return make_image(rng.normal(10.0, 3.0, shape), rng.uniform(1.0, 2.0, shape))


@pytest.mark.parametrize("shape", [(20, 20), (1, 5), (5, 1), (1, 1), (2, 700)])
def test_one_image_alone_comes_out_unchanged(shape):
    image = make_random(shape)
    image.dq[0, 0] = DQ.HOT | DQ.JUMP_DET
    found = resample(image, PLAIN, compute_grid([PLAIN], [shape]))
    np.testing.assert_array_equal(found.data, image.data)
    np.testing.assert_allclose(found.err, image.err, rtol=1e-6)
    assert (found.weight == 1).all()
    assert found.dq[0, 0] == DQ.HOT
    assert not found.dq.ravel()[1:].any()


def test_shifts_by_whole_pixels_copy():
    image = make_random()
    other = Projection((150.0 - 3 * SCALE / np.cos(np.radians(2.0)), 2.0), PLAIN.crpix, PLAIN.cd)  # on the sky
    for source in (PLAIN.moved(-3, 0), other):
        found = resample(image, source, Grid(PLAIN, (20, 26)))
        np.testing.assert_allclose(found.data[:, 3:23], image.data, rtol=2e-6)
        np.testing.assert_allclose(found.err[:, 3:23], image.err, rtol=2e-6)
        assert np.isnan(found.data[:, :3]).all()
        assert np.isnan(found.err[:, 23:]).all()


def test_bad_pixels_stay_where_they_are():
    image = make_random()
    image.data[3, 4], image.err[5, 6], image.dq[7, 8], image.dq[8, 8] = np.nan, np.inf, DQ.DO_NOT_USE, DQ.WARM
    found = resample(image, PLAIN, Grid(PLAIN, (20, 20)))
    assert np.argwhere(np.isnan(found.data)).tolist() == [[3, 4], [5, 6], [7, 8]]
    assert np.argwhere(found.weight == 0).tolist() == [[3, 4], [5, 6], [7, 8]]
    assert np.argwhere(found.dq).tolist() == [[8, 8]]


def test_half_pixels_are_means():
    image = make_random()
    image.dq[4, 4] = DQ.HOT
    found = resample(image, PLAIN, Grid(PLAIN.moved(0.25, 0), (20, 21)))
    expected = 0.25 * image.data[:, :-1] + 0.75 * image.data[:, 1:]
    np.testing.assert_allclose(found.data[:, 1:20], expected, rtol=1e-5)
    np.testing.assert_allclose(
        found.err[:, 1:20], np.hypot(0.25 * image.err[:, :-1], 0.75 * image.err[:, 1:]), rtol=1e-5
    )
    np.testing.assert_allclose(found.weight[:, [0, 20]], [[0.75, 0.25]] * 20)
    assert np.argwhere(found.dq).tolist() == [[4, 4], [4, 5]]


def test_slivers_count_as_none():
    found = resample(make_random(), PLAIN, Grid(PLAIN.moved(0.9 * LEAST_WEIGHT, 0), (20, 22)))
    assert np.isnan(found.data[:, 20]).all()
    assert not found.weight[:, 20].any()
    found = resample(make_random(), PLAIN, Grid(PLAIN.moved(1.1 * LEAST_WEIGHT, 0), (20, 22)))
    assert np.isfinite(found.data[:, 20]).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 1.3])
@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0])
def test_fluxes_are_kept(scale, degrees):
    """The flux of a patch well inside stays, whatever the pixels are."""
    image = make_image(np.zeros((40, 40)), np.ones((40, 40)))
    image.data[15:25, 14:27] = np.random.default_rng(1).uniform(1.0, 9.0, (10, 13))
    source = PLAIN.moved(10, 10)
    target = rotate(source, degrees, scale)
    found = resample(image, source, compute_grid([target, source], [(4, 4), (40, 40)]))
    # The sum over a patch of pixels is exact where all of each pixel is covered.
    assert np.nansum(found.data) == pytest.approx(image.data.sum(), rel=2e-3 if degrees else 1e-5)
    assert np.nanmax(found.weight) == pytest.approx(scale**2, rel=1e-4)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_flat_sky_stays_flat(scale):
    image = make_image(np.full((40, 40), 7.0), np.ones((40, 40)))
    target = rotate(PLAIN, 17.0, scale)
    found = resample(image, PLAIN, compute_grid([target, PLAIN], [(4, 4), (40, 40)]))
    np.testing.assert_allclose(found.data[np.isfinite(found.data)], 7.0 * scale**2, rtol=1e-5)


def test_pixels_far_from_the_tangential_point_are_larger():
    """A wide image: values per pixel follow the area of the pixels on the sky."""
    wide = Projection((150.0, 2.0), (50.5, 50.5), ((-0.2, 0.0), (0.0, 0.2)))
    other = Projection((158.0, 2.0), (50.5, 50.5), wide.cd)
    rows, columns = np.indices((100, 100), dtype=float)

    def solid_angle(projection):
        x, y = (np.radians(0.2) * (v - (c - 1)) for v, c in zip((columns, rows), projection.crpix, strict=True))
        return np.radians(0.2) ** 2 * (1 + x**2 + y**2) ** -1.5  # of a gnomonic pixel

    found = resample(make_image(solid_angle(wide), np.ones((100, 100))), wide, Grid(other, (100, 100)))
    inside = found.weight > 0.7
    assert inside.sum() > 4000
    np.testing.assert_allclose(found.data[inside], solid_angle(other)[inside], rtol=2e-3)


def test_errors_are_those_of_single_pixels():
    rng = np.random.default_rng(3)
    err = rng.uniform(1.0, 3.0, (20, 20))
    target = Grid(rotate(PLAIN, 25.0, 1.2).moved(3, 3), (26, 26))
    many = [resample(make_image(rng.normal(0, err), err), PLAIN, target) for _ in range(600)]
    scatter = np.std([one.data for one in many], axis=0)
    ratio = (scatter / many[0].err)[np.isfinite(many[0].data)]
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert ratio.std() < 0.035  # 1/sqrt(2·600) = 0.029


@given(
    st.floats(-180, 180), st.floats(0.4, 2.5), st.floats(-30, 30), st.floats(-30, 30), st.integers(1, 12), st.booleans()
)
def test_parts_of_the_sky_are_cut_out_of_the_whole(degrees, scale, dx, dy, size, mirrored):
    """A grid cut out of a larger one holds the same values."""
    image, source = make_random(), PLAIN
    if mirrored:
        source = Projection(PLAIN.crval, PLAIN.crpix, ((SCALE, 0.0), (0.0, SCALE)))
    target = rotate(PLAIN, degrees, scale).moved(dx, dy)
    small = resample(image, source, Grid(target, (size, 12)))
    large = resample(image, source, Grid(target.moved(50, 50), (size + 100, 112)))
    np.testing.assert_allclose(small.data, large.data[50 : size + 50, 50:62], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(small.weight, large.weight[50 : size + 50, 50:62], atol=1e-4)


def test_images_elsewhere_give_nothing():
    far = Projection((330.0, -2.0), PLAIN.crpix, PLAIN.cd)
    for source in (PLAIN.moved(1000, 0), PLAIN.moved(0, -1000), far):
        found = resample(make_random(), source, Grid(PLAIN, (20, 20)))
        assert np.isnan(found.data).all()
        assert not found.weight.any()
    nothing = make_image(np.full((20, 20), np.nan), np.ones((20, 20)))
    assert np.isnan(resample(nothing, PLAIN, Grid(PLAIN, (20, 20))).err).all()


def test_what_is_given_stays():
    image = make_random()
    image.data[2, 2] = np.nan
    before = [array.copy() for array in image]
    resample(image, PLAIN, Grid(PLAIN.moved(0.3, 0.3), (20, 20)))
    for one, other in zip(image, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_areas_of_a_translation_are_one():
    assert map_pixels(PLAIN, PLAIN.moved(0.5, 0), np.zeros(2), np.zeros(2))[2].tolist() == [1.0, 1.0]
