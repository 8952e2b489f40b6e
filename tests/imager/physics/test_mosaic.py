"""Mosaics of dithered images: stars, noise, and a trail in one of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from cal_pipeline.core.run.threads import BlockThreads
from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics import mosaic as module
from cal_pipeline.imager.physics.image import Image, make_image
from cal_pipeline.imager.physics.mosaic import (
    average_images,
    build_mosaic,
    find_outliers_of_images,
    resample_images,
)
from cal_pipeline.imager.physics.outlier import OutlierLimits
from cal_pipeline.imager.physics.projection import Projection, compute_grid, cut_grid
from cal_pipeline.imager.physics.resample import Resampled

pytestmark = pytest.mark.imager

PLAIN = Projection((150.0, 2.0), (100.5, 100.5), ((-1e-5, 0.0), (0.0, 1e-5)))


def make_constant(value, err, weight, dq=0, shape=(1, 1)):
    arrays = (np.full(shape, number, np.float32) for number in (value, err, weight))
    return Resampled(*arrays, np.full(shape, dq, np.uint32))


def test_weights_are_time_times_area():
    mosaic = average_images([make_constant(1.0, 2.0, 0.5), make_constant(4.0, 1.0, 0.25)], [100.0, 400.0])
    assert mosaic.data.item() == pytest.approx((50 * 1 + 100 * 4) / 150)
    assert mosaic.err.item() == pytest.approx(np.hypot(50 * 2, 100 * 1) / 150)
    assert mosaic.weight.item() == 150.0


def test_outliers_do_not_go_in():
    images = [make_constant(1.0, 1.0, 1.0, DQ.HOT), make_constant(9.0, 1.0, 1.0, DQ.WARM | DQ.JUMP_DET)]
    mosaic = average_images(images, [10.0, 10.0], np.array([[[False]], [[True]]]))
    assert [array.item() for array in mosaic] == [1.0, 1.0, 10.0, DQ.HOT]
    assert average_images(images, [10.0, 10.0]).dq.item() == DQ.HOT | DQ.WARM


def test_nothing_there():
    empty = make_constant(np.nan, np.nan, 0.0)
    mosaic = average_images([empty, empty], [10.0, 10.0])
    assert np.isnan([mosaic.data.item(), mosaic.err.item()]).all()
    assert (mosaic.weight.item(), mosaic.dq.item()) == (0.0, DQ.DO_NOT_USE)
    assert average_images([empty, make_constant(3.0, 1.0, 1.0)], [10.0, 10.0]).data.item() == 3.0


def test_one_image_alone_comes_out_unchanged():
    rng = np.random.default_rng(0)
    image = make_image(rng.normal(0, 1e3, (70, 90)), rng.uniform(1, 2, (70, 90)))
    image.data[5, 5], image.dq[6, 6] = np.nan, DQ.HOT
    mosaic = build_mosaic([image], [PLAIN], [30.0], compute_grid([PLAIN], [(70, 90)]))
    np.testing.assert_array_equal(mosaic.data, image.data)
    np.testing.assert_allclose(mosaic.err[np.isfinite(mosaic.err)], image.err[np.isfinite(image.data)], rtol=1e-6)
    assert np.argwhere(mosaic.dq).tolist() == [[5, 5], [6, 6]]
    assert set(np.unique(mosaic.weight)) == {0.0, 30.0}


SIGMA = 1.1
"""Width of stars [pixel]."""

STARS = [(40.3, 52.8, 3e4), (120.5, 60.0, 2e5), (75.25, 140.1, 6e4), (150.9, 150.2, 1e6), (30.0, 160.7, 5e4)]
"""Columns, rows and counts of stars."""


def integrate(centre, n_pixels):
    """Integrate a Gaussian over pixels."""
    edges = (np.arange(n_pixels + 1) - 0.5 - centre) / (SIGMA * np.sqrt(2))
    return np.diff(erf(edges)) / 2


def observe(dx, dy, time, rng, size=200):
    """Make an image of stars on a sky of 20 e/s, moved by a dither; its projection; its truth."""
    truth = np.full((size, size), 20.0)
    for x, y, counts in STARS:
        truth += counts / 100.0 * np.outer(integrate(y + dy, size), integrate(x + dx, size))
    err = np.sqrt(truth * time + 81.0) / time
    data = rng.poisson(truth * time) / time + rng.normal(0.0, 9.0 / time, truth.shape)
    return make_image(data, err), PLAIN.moved(dx, dy)


DITHERS = [(0.0, 0.0), (7.4, -3.3), (-5.7, 6.2), (3.15, 9.6), (-8.8, -7.45)]


def measure_star(data, x, y):
    """Return flux above the sky and centroid of a star in a box of 15 pixels."""
    i, j = round(y), round(x)
    box = data[i - 7 : i + 8, j - 7 : j + 8].astype(np.float64) - 20.0
    rows, columns = np.indices(box.shape)
    return box.sum(), (box * columns).sum() / box.sum() + j - 7, (box * rows).sum() / box.sum() + i - 7


def make_dithers(time=400.0, seed=4) -> tuple[list[Image], list[Projection]]:
    rng = np.random.default_rng(seed)
    images, projections = zip(*(observe(dx, dy, time, rng) for dx, dy in DITHERS), strict=True)
    return list(images), list(projections)


def draw_trail(image: Image) -> None:
    """Draw a trail, two pixels wide, that no flag tells of."""
    for column in range(200):
        row = int(20 + 0.6 * column)
        image.data[row : row + 2, column] += 60.0


def test_a_trail_in_one_of_five_dithers_goes_and_stars_stay():
    images, projections = make_dithers()
    draw_trail(images[2])
    grid = compute_grid(projections, [image.data.shape for image in images])
    outliers = find_outliers_of_images(images, projections, grid)
    mosaic = build_mosaic(images, projections, [400.0] * 5, grid, outliers)
    assert [found.mask.any() for found in outliers] == [False, False, True, False, False]
    x0, y0 = grid.projection.crpix[0] - PLAIN.crpix[0], grid.projection.crpix[1] - PLAIN.crpix[1]
    for x, y, counts in STARS:
        flux, column, row = measure_star(mosaic.data, x + x0, y + y0)
        assert flux == pytest.approx(counts / 100.0, rel=0.01, abs=4.0)
        assert np.hypot(column - x - x0, row - y - y0) < 0.1
    # At the edges fewer than three images see the trail.
    covered = mosaic.weight > 2.99 * 400.0
    assert covered.mean() > 0.8
    pull = ((mosaic.data - 20.0) / mosaic.err)[covered & is_blank(mosaic.data, x0, y0)]
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    assert pull.mean() == pytest.approx(0.0, abs=0.05)
    # With and without the trail, which had 200 errors, from the same noise; one image of five less moves the mean.
    clean = build_mosaic(make_dithers()[0], projections, [400.0] * 5, grid)
    rest = ((mosaic.data - clean.data) / clean.err)[covered]
    assert np.abs(rest).max() < 3.0
    assert (rest != 0.0).mean() < 0.03


def is_blank(data, x0, y0):
    """Find the pixels away from stars that have a value."""
    rows, columns = np.indices(data.shape)
    blank = np.isfinite(data)
    for x, y, _ in STARS:
        blank &= np.hypot(columns - x - x0, rows - y - y0) > 12
    return blank


def test_sigma_alone_eats_the_cores_of_stars():
    images, projections = make_dithers()
    grid = compute_grid(projections, [image.data.shape for image in images])
    x0, y0 = grid.projection.crpix[0] - PLAIN.crpix[0], grid.projection.crpix[1] - PLAIN.crpix[1]
    x, y, counts = STARS[3]

    def measure(**options):
        outliers = find_outliers_of_images(images, projections, grid, **options)
        mosaic = build_mosaic(images, projections, [400.0] * 5, grid, outliers)
        return measure_star(mosaic.data, x + x0, y + y0)[0] / (counts / 100.0)

    assert measure() == measure(sigma=1e9) == pytest.approx(1.0, abs=1e-3)
    assert measure(gradient=0.0) < 0.997


def test_mosaics_of_tiles_have_no_seams(monkeypatch):
    """Tiles far smaller than the mosaic make the same as one, for rotated images with hits."""
    images, projections = make_dithers()
    draw_trail(images[1])
    cd = np.array(PLAIN.cd) @ [[0.8, -0.6], [0.6, 0.8]]
    projections[1] = Projection(PLAIN.crval, PLAIN.crpix, (tuple(cd[0]), tuple(cd[1])))
    grid = compute_grid(projections, [image.data.shape for image in images])
    times = [100.0, 200.0, 300.0, 400.0, 500.0]
    outliers = find_outliers_of_images(images, projections, grid)
    whole = build_mosaic(images, projections, times, grid, outliers)
    monkeypatch.setattr(module, "_TILE", 61)
    found = find_outliers_of_images(images, projections, grid)
    tiled = build_mosaic(images, projections, times, grid, found)
    assert outliers[1].mask.sum() > 400
    for one, other in zip(found, outliers, strict=True):
        assert (one.rows, one.columns) == (other.rows, other.columns)
        np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_allclose(tiled.data, whole.data, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(tiled.err, whole.err, rtol=1e-4)
    np.testing.assert_allclose(tiled.weight, whole.weight, rtol=1e-4)
    np.testing.assert_array_equal(tiled.dq, whole.dq)


def test_outliers_found_along_the_way_are_those_found_before(monkeypatch):
    monkeypatch.setattr(module, "_TILE", 61)
    images, projections = make_dithers()
    draw_trail(images[2])
    grid = compute_grid(projections, [image.data.shape for image in images])
    for limits in (OutlierLimits(), OutlierLimits(4.0, 0.0)):
        found = find_outliers_of_images(images, projections, grid, *limits)
        twice = build_mosaic(images, projections, [400.0] * 5, grid, found)
        for number in (1, 2):
            with BlockThreads(number) as pool:
                once = build_mosaic(images, projections, [400.0] * 5, grid, limits, pool.map)
            for one, other in zip(once, twice, strict=True):
                np.testing.assert_array_equal(one, other)


def test_images_are_ordered_as_given():
    images, projections = make_dithers()
    grid = compute_grid(projections, [image.data.shape for image in images])
    part = cut_grid(grid, slice(0, 3), slice(0, grid.shape[1]))  # seen by the lowest image only
    assert list(resample_images(images, projections, part)) == [3]
    assert list(resample_images(images, projections, grid)) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_pulls_of_rotated_dithers_with_unequal_times():
    rng = np.random.default_rng(8)
    images, projections, times = [], [], [100.0, 200.0, 400.0, 800.0]
    for k, time in enumerate(times):
        err = np.full((200, 200), np.sqrt(20.0 * time + 81.0) / time)
        images.append(make_image(20.0 + rng.normal(0.0, err), err))
        c, s = np.cos(0.02 * k), np.sin(0.02 * k)
        cd = np.array(PLAIN.cd) @ [[c, -s], [s, c]]
        projections.append(Projection(PLAIN.crval, (100.5 + 3.3 * k, 100.5 - 2.7 * k), (tuple(cd[0]), tuple(cd[1]))))
    grid = compute_grid(projections, [(200, 200)] * 4)
    mosaic = build_mosaic(images, projections, times, grid)
    covered = mosaic.weight > 1490.0
    pull = ((mosaic.data - 20.0) / mosaic.err)[covered]
    assert pull.std() == pytest.approx(1.0, abs=0.02)
    # Weights by time are those by variance where photon noise dominates.
    assert np.median(mosaic.err[covered]) < 1.02 * np.sqrt(20.0 / 1500.0)
