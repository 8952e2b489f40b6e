"""Backgrounds from simulated skies, and integrations of time series, against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_closure import NOT_SENSITIVE, run_detector1, simulate

from cal_pipeline import Image2Pipeline
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.product import CalProduct
from cal_pipeline.imager.simulate import Detector, ExposurePlan

pytestmark = pytest.mark.imager

SIZE = 64
SKIES = (50.0, 100.0, 150.0)


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """A blank image at 120 e/s, a time series at 100 e/s, and skies whose mean is 100 e/s."""
    plans = [
        ExposurePlan("SCI", rate=120.0, stars=False, hits=0.0),
        ExposurePlan("SCI", rate=100.0, stars=False, hits=0.0, n_integrations=4, n_groups=6, tso=True),
        *(ExposurePlan("SKY", rate=rate, hits=2e-3, hit_charge=(1000.0, 20000.0)) for rate in SKIES),
    ]
    files = simulate(tmp_path_factory.mktemp("visit"), plans, Detector(size=SIZE, hot_fraction=0.0), seed=12)
    run_detector1(files)
    return files


def calibrate(visit, name, **background):
    output = visit.visit.with_name(f"{name}.zarr")
    steps = {"background": background}
    settings = {"references": str(visit.references), "steps": steps, "overwrite": True, "configure_log": False}
    return CalProduct(
        Image2Pipeline.call(str(visit.visit.with_name("rate.zarr")), output_file=str(output), **settings).path
    )


def good_pixels(image):
    return np.isfinite(image.data) & ((image.dq & (NOT_SENSITIVE | DQ.DO_NOT_USE)) == 0)


def mean_of(image):
    """Mean of the good pixels, and its standard error."""
    values = image.data[good_pixels(image)].astype(np.float64)
    return values.mean(), values.std() / np.sqrt(values.size)


def test_skies_of_any_brightness_make_their_mean(visit):
    image = calibrate(visit, "sky").open_image(1)
    mean, error = mean_of(image)
    # The pixels share zero levels, those of reference pixels.
    assert mean == pytest.approx(20.0, abs=5.0 * error + 0.1)
    assert image.meta["background"]["skies"] == [3, 4, 5]
    good = good_pixels(image)
    pull = ((image.data - mean) / image.err)[good].std()
    assert pull == pytest.approx(1.0, abs=0.08)
    # Skies were hit; what is known of them is no event of the image.
    assert not (image.dq & DQ.JUMP_DET).any()


@pytest.mark.parametrize("parameters", [{"match": True}, {"method": "level"}], ids=str)
def test_the_level_of_the_image_itself(visit, parameters):
    mean, error = mean_of(calibrate(visit, "own", **parameters).open_image(1))
    assert mean == pytest.approx(0.0, abs=5.0 * error)


def test_integrations_of_a_time_series(visit):
    image = calibrate(visit, "series").open_image(2)
    assert image.ints.data.shape == (4, SIZE, SIZE)
    good = good_pixels(image)
    pulls = (image.ints.data / image.ints.err)[:, good]
    # The background is common to the integrations, whose own noise is twice that of the whole.
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert abs(mean_of(image)[0]) < 0.3
    together = image.ints.data[:, good].mean(axis=0)
    assert (np.abs(together - image.data[good]) < image.err[good]).mean() > 0.95
