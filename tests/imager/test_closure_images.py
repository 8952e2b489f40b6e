"""A simulated visit through all pipelines: dark, flat field, calibrated images and mosaic against the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from astropy.wcs import WCS
from helpers_closure import NOT_SENSITIVE, run_detector1

from cal_pipeline import Image2Pipeline, Image3Pipeline, PreprocessDarkPipeline, PreprocessFlatfieldPipeline
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.product import CalProduct, MosaicProduct, RateProduct
from cal_pipeline.imager.reference_files import Reference, read_reference
from cal_pipeline.imager.simulate import VisitFiles, read_truth, simulate_visit, standard_visit
from cal_pipeline.imager.simulate.photometry import measure_stars
from cal_pipeline.imager.simulate.sky import measure_distance_to_trail

pytestmark = pytest.mark.imager

TRAIL = 40.0
"""Peak of the trail in one image [e/s]."""

MEAN_SKY = 5.0 * 1.04
"""Mean of three skies of 5, 5.2 and 5.4 e/s."""

STAR_SIGMA = 1.2


class Reduced(NamedTuple):
    """A visit after all pipelines."""

    files: VisitFiles
    rate: RateProduct
    cal: CalProduct
    mosaic: MosaicProduct
    trailed: int

    def read_pair(self, reftype: str, true_name: str) -> tuple[Reference, Reference]:
        """Reference file that was made, and the true one."""
        image = self.rate.open_image(self.rate.numbers[-1])
        paths = self.files.visit.with_name(f"{reftype}.asdf"), self.files.references / true_name
        made, true = (read_reference(path, reftype, image.meta, image.data.shape) for path in paths)
        return made, true


def make_standard_visit(size):
    """The standard visit with a trail in the third image; its number."""
    config = standard_visit(size=size, seed=4)
    exposures = list(config.exposures)
    third = [k for k, plan in enumerate(exposures) if plan.exp_type == "SCI"][2]
    exposures[third] = replace(exposures[third], trail=TRAIL)
    return replace(config, exposures=exposures), third + 1


def own_references(folder):
    """Settings of steps that take the dark and flat field that were made."""
    return {
        "dark": {"override_dark": str(folder / "dark.asdf")},
        "flat_field": {"override_flat": str(folder / "flat.asdf")},
    }


@pytest.fixture(scope="module", params=[96, pytest.param(256, marks=pytest.mark.slow)])
def reduced(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("visit")
    config, trailed = make_standard_visit(request.param)
    files = simulate_visit(config, folder / "visit.zarr")
    run_detector1(files)
    steps = own_references(folder)
    runs: list[tuple[Any, str, str, dict[str, Any]]] = [
        (PreprocessDarkPipeline, "rate.zarr", "dark.asdf", {}),
        (PreprocessFlatfieldPipeline, "rate.zarr", "flat.asdf", {"steps": {"dark": steps["dark"]}}),
        (Image2Pipeline, "rate.zarr", "cal.zarr", {"steps": steps}),
        (Image3Pipeline, "cal.zarr", "mosaic.zarr", {}),
    ]
    for pipeline, source, output, settings in runs:
        pipeline.call(str(folder / source), output_file=str(folder / output), configure_log=False, **settings)
    products = (
        RateProduct(folder / "rate.zarr"),
        CalProduct(folder / "cal.zarr"),
        MosaicProduct(folder / "mosaic.zarr"),
    )
    return Reduced(files, *products, trailed)


def scatter_of(pulls):
    """Scatter, and what is allowed about 1: 0.05 and three standard errors."""
    return pulls.std(), 0.05 + 3.0 / np.sqrt(2.0 * pulls.size)


def test_dark(reduced):
    made, true = reduced.read_pair("dark", "dark.asdf")
    good = (made.arrays["dq"] & (NOT_SENSITIVE | DQ.DO_NOT_USE)) == 0
    pull, allowed = scatter_of(((made.arrays["data"] - true.arrays["data"]) / made.arrays["err"])[good])
    assert pull == pytest.approx(1.0, abs=allowed)
    hot, found = ((one.arrays["dq"][good] & DQ.HOT) != 0 for one in (true, made))
    bright = true.arrays["data"][good] > 3.0
    assert bright.any()
    assert found[hot & bright].all()
    assert not found[~hot].any()


def test_flat_field(reduced):
    made, true = reduced.read_pair("flat", "flat_H.asdf")
    good = (made.arrays["dq"] & (NOT_SENSITIVE | DQ.DO_NOT_USE)) == 0
    expected = true.arrays["data"] / np.median(true.arrays["data"][good])
    # Nine exposures of 18 000 electrons.
    assert (made.arrays["data"] / expected)[good].std() < 0.003
    pull, allowed = scatter_of(((made.arrays["data"] - expected) / made.arrays["err"])[good])
    assert pull == pytest.approx(1.0, abs=allowed)


def test_calibrated_images(reduced):
    dark, flat = reduced.read_pair("dark", "dark.asdf")[1], reduced.read_pair("flat", "flat_H.asdf")[1]
    assert len(reduced.cal.numbers) == 5
    for number in reduced.cal.numbers:
        image, truth = reduced.cal.open_image(number), read_truth(reduced.files.visit, number)
        light = (truth.rate - dark.arrays["data"]) / flat.arrays["data"] - MEAN_SKY
        good = np.isfinite(image.data) & ((image.dq & (NOT_SENSITIVE | DQ.DO_NOT_USE | DQ.HOT)) == 0)
        # Hits below the threshold of detection are no matter of the errors.
        good[truth.hits.y, truth.hits.x] = False
        pull, allowed = scatter_of(((image.data - light) / image.err)[good])
        assert pull == pytest.approx(1.0, abs=allowed)
        blank = good & (light < 0.5)
        assert np.median((image.data - light)[blank]) == pytest.approx(0.0, abs=0.05)


def test_errors_are_those_of_numerical_derivatives(reduced):
    folder = reduced.files.visit.parent
    steps = {**own_references(folder), "background": {"skip": True}}
    output = str(folder / "without_background.zarr")
    number = reduced.trailed
    settings = {"steps": steps, "exposures": [number], "overwrite": True, "configure_log": False}
    found = Image2Pipeline.call(str(folder / "rate.zarr"), output_file=output, **settings).open_image(number)
    rate, dark, flat = (
        reduced.rate.open_image(number),
        reduced.read_pair("dark", "dark.asdf")[0].arrays,
        reduced.read_pair("flat", "flat_H.asdf")[0].arrays,
    )
    good = np.isfinite(found.data) & np.isfinite(flat["data"]) & (flat["data"] > 0.1)
    pairs = ((rate.data, rate.err), (dark["data"], dark["err"]), (flat["data"], flat["err"]))
    values, errors = (np.array([np.float64(pair[k])[good] for pair in pairs]) for k in (0, 1))

    def calibrate(of_rate, of_dark, of_flat):
        return (of_rate - of_dark) / of_flat

    # Each input moved by a thousandth of its error, up and down.
    moved = np.eye(3)[:, :, None] * 1e-3 * errors
    effects = [(calibrate(*(values + one)) - calibrate(*(values - one))) / 2e-3 for one in moved]
    err = np.sqrt(np.sum(np.square(effects), axis=0))
    np.testing.assert_allclose(found.err[good], err, rtol=2e-3)
    assert (np.abs(found.data[good] - calibrate(*values)) < 2e-3 * err).all()


def measure(image, stars):
    """Stars of an image, their places, and which are measured."""
    x, y = WCS(image.meta["wcs"]).all_world2pix(stars.ra, stars.dec, 0)
    found = measure_stars(image.data, x, y, STAR_SIGMA, err=image.err)
    return found, np.hypot(found.x - x, found.y - y), np.isfinite(found.flux)


def off_the_trail(reduced, distance):
    """Stars that lie farther from the middle of the trail than a distance [pixel]."""
    shape = reduced.rate.open_image(1).data.shape
    stars = read_truth(reduced.files.visit, reduced.trailed).stars
    return np.abs(measure_distance_to_trail(shape, stars.x, stars.y)) > distance


def test_stars_of_calibrated_images(reduced):
    for number in reduced.cal.numbers:
        stars = read_truth(reduced.files.visit, number).stars
        found, distance, measured = measure(reduced.cal.open_image(number), stars)
        if number == reduced.trailed:
            # The annulus of the sky ends 12 pixels from a star.
            measured &= off_the_trail(reduced, 16.0)
        off = np.abs(found.flux - stars.rate)[measured]
        assert measured.any()
        assert (off < 0.01 * stars.rate[measured] + 4.0 * found.err[measured]).all()
        assert (distance[measured & (stars.rate > 500.0)] < 0.1).all()


def test_stars_of_the_mosaic(reduced):
    mosaic = reduced.mosaic.open_image("FIELD_H")
    stars = read_truth(reduced.files.visit, reduced.trailed).stars
    found, distance, measured = measure(mosaic, stars)
    # At its core a star protects what crosses it.
    measured &= off_the_trail(reduced, 10.0)
    assert measured.any()
    # The noise of neighbours is correlated: 1.5 times as much in an aperture.
    off = np.abs(found.flux - stars.rate)
    assert (off < 0.01 * stars.rate + 4.0 * 1.5 * found.err)[measured].all()
    assert (distance[measured] < 0.1).all()
    assert np.abs(np.median((found.flux / stars.rate)[measured]) - 1.0) < 0.01


def blank_mosaic(reduced, weight):
    """The mosaic, where it has a fraction of all images and no star, and the distance from the trail."""
    mosaic = reduced.mosaic.open_image("FIELD_H")
    places = WCS(mosaic.meta["wcs"])
    stars = read_truth(reduced.files.visit, reduced.trailed).stars
    x, y = places.all_world2pix(stars.ra, stars.dec, 0)
    yy, xx = np.indices(mosaic.data.shape)
    blank = np.isfinite(mosaic.data) & (mosaic.weight > weight * mosaic.weight.max())
    for star in zip(x, y, strict=True):
        blank &= np.hypot(xx - star[0], yy - star[1]) > 8.0
    frame = reduced.cal.open_image(reduced.trailed)
    back = WCS(frame.meta["wcs"]).all_world2pix(*places.all_pix2world(xx, yy, 0), 0)
    return mosaic, blank, np.abs(measure_distance_to_trail(frame.data.shape, *back))


def test_errors_of_the_mosaic(reduced):
    mosaic, blank, distance = blank_mosaic(reduced, 0.98)
    pulls = ((mosaic.data - (5.0 - MEAN_SKY)) / mosaic.err)[blank & (distance > 8.0)]
    pull, allowed = scatter_of(pulls)
    assert pull == pytest.approx(1.0, abs=allowed)
    assert abs(pulls.mean()) < 0.1


def test_the_trail_is_gone(reduced):
    mosaic, blank, distance = blank_mosaic(reduced, 0.7)
    excess = mosaic.data - (5.0 - MEAN_SKY)
    # A mean of five images would keep a fifth of the trail, 8 e/s at its middle.
    assert abs(excess[blank & (distance < 3.0)].mean()) < 0.05
    # Its wings are fainter than five errors of one image.
    assert abs(excess[blank & (distance > 3.0) & (distance < 6.0)].mean()) < 0.15
    assert excess[blank].max() < 2.0
