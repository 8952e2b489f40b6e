"""All of a visit in rates: dark, flat and skies made of exposures, and the calibrated image of stars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import erf

from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics.background import combine_skies, subtract_background
from cal_pipeline.imager.physics.combine import combine_frames, normalize
from cal_pipeline.imager.physics.dark import flag_hot_pixels, subtract_dark
from cal_pipeline.imager.physics.flat import divide_by_flat, flag_unusable_flat
from cal_pipeline.imager.physics.image import Image, find_good, make_image
from cal_pipeline.imager.physics.photometry import calibrate_flux, compute_conversion

pytestmark = [pytest.mark.imager, pytest.mark.slow]

SIZE, READ_NOISE, SIGMA = 256, 9.0, 1.2
STARS = [(60.3, 50.8, 900.0), (200.5, 70.0, 300.0), (80.25, 190.1, 3000.0), (190.9, 200.2, 10000.0)]
"""Columns, rows [pixel] and rates [e/s] of stars."""


class Detector:
    """Detector with a dark rate, hot and dead pixels, and a response of its own per pixel."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        shape = (SIZE, SIZE)
        self.dark = self.rng.uniform(0.01, 0.03, shape)
        self.hot = self.rng.uniform(size=shape) < 1e-3
        self.dark[self.hot] = self.rng.uniform(5.0, 20.0, self.hot.sum())
        self.response = self.rng.normal(1.0, 0.05, shape)
        self.dead = self.rng.uniform(size=shape) < 1e-3
        self.response[self.dead] = 0.01
        self.response /= np.median(self.response)

    def expose(self, scene: Any, time: float) -> Image:
        """Make a rate whose error comes from itself, as that of a ramp does."""
        electrons = self.rng.poisson((scene * self.response + self.dark) * time)
        rate = (electrons + self.rng.normal(0.0, READ_NOISE, electrons.shape)) / time
        var_poisson, var_rnoise = np.maximum(rate, 0.0) / time, np.full(rate.shape, (READ_NOISE / time) ** 2)
        return make_image(rate, np.sqrt(var_poisson + var_rnoise), None, var_poisson, var_rnoise)


def make_scene(level: float) -> np.ndarray:
    scene = np.full((SIZE, SIZE), level)
    edges = np.arange(SIZE + 1) - 0.5
    for x, y, rate in STARS:
        columns, rows = (np.diff(erf((edges - centre) / (SIGMA * np.sqrt(2)))) / 2 for centre in (x, y))
        scene += rate * np.outer(rows, columns)
    return scene


def combine(images: list[Image]) -> Image:
    return combine_frames(*([getattr(image, name) for image in images] for name in ("data", "err", "dq")))


@pytest.fixture(scope="module")
def calibrated() -> tuple[Detector, Image]:
    detector = Detector(seed=12)
    dark = combine([detector.expose(0.0, 300.0) for _ in range(9)])
    dark = dark._replace(dq=flag_hot_pixels(dark))
    lamps = [normalize(subtract_dark(detector.expose(2000.0, 10.0), dark.data, dark.err, dark.dq)) for _ in range(9)]
    flat = normalize(combine(lamps))
    flat = flat._replace(dq=flag_unusable_flat(flat))

    def calibrate(image: Image) -> Image:
        return divide_by_flat(subtract_dark(image, dark.data, dark.err, dark.dq), flat.data, flat.err, flat.dq)

    background = combine_skies([calibrate(detector.expose(level, 200.0)) for level in (49.0, 50.0, 51.0, 50.0, 50.0)])
    image = subtract_background(calibrate(detector.expose(make_scene(50.0), 200.0)), background)
    return detector, image


def test_bad_pixels_are_flagged(calibrated):
    detector, image = calibrated
    assert ((image.dq & DQ.HOT > 0) == detector.hot).all()
    assert ((image.dq & DQ.NO_FLAT_FIELD > 0) == detector.dead).all()
    assert (find_good(image.data, image.err, image.dq) == ~detector.dead).all()


def test_pulls(calibrated):
    """Errors of dark and flat, common to image and background, count twice: pulls are not above 1."""
    _, image = calibrated
    blank = find_good(image.data, image.err, image.dq) & (make_scene(0.0) < 1e-3)
    pull = (image.data / image.err)[blank]
    assert pull.size > 60000
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    assert pull.mean() == pytest.approx(0.0, abs=0.05)


def test_fluxes_of_stars(calibrated):
    detector, image = calibrated
    flux = calibrate_flux(image, compute_conversion(25.0, 0.1, 1.5))
    for x, y, rate in STARS:
        box = slice(round(y) - 6, round(y) + 7), slice(round(x) - 6, round(x) + 7)
        if detector.dead[box].any():
            continue
        expected = 3631e6 * 10 ** (-0.4 * (25.0 - 0.15)) * rate
        noise = np.sqrt(np.square(flux.err[box], dtype=float).sum())
        assert flux.data[box].sum(dtype=float) == pytest.approx(expected, abs=0.01 * expected + 3.0 * noise)
        assert noise < 0.05 * expected


def test_errors_are_the_sum_of_their_parts(calibrated):
    _, image = calibrated
    parts = image.var_poisson.astype(float) + image.var_rnoise + image.var_flat
    assert (np.square(image.err, dtype=float) > parts).all()  # dark and background add to err only
