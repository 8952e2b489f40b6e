"""The step `photom`."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_images import make_image, write_references

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager import ImageModel
from cal_pipeline.steps.imager import PhotomStep

pytestmark = pytest.mark.imager


def call(image, folder, **settings):
    return PhotomStep.call(image, references=str(folder), skip=False, configure_log=False, **settings)


def test_flux_of_a_star_of_known_magnitude(tmp_path):
    """At 25 mag a star has 0.3631 uJy, which is 1 e/s with the zero point of the file."""
    image = call(make_image(level=10.0, err=2.0, tso=True, ints=[10.0, 20.0]), write_references(tmp_path / "r"))
    np.testing.assert_allclose(image.data, 3.631, rtol=1e-6)
    np.testing.assert_allclose(image.err, 0.7262, rtol=1e-6)
    np.testing.assert_allclose(image.var_poisson, 3 * 0.3631**2, rtol=1e-6)
    np.testing.assert_allclose(image.ints.data[1], 7.262, rtol=1e-6)
    assert (image.units, image.ints.units, image.meta["zero_point_err"]) == ("uJy", "uJy", 0.02)


def test_extinction(tmp_path):
    references = write_references(tmp_path / "r", photom={"extinction": 0.4})
    image = call(make_image(level=1.0, airmass=2.5), references)
    # One magnitude is a factor of 2.5119.
    np.testing.assert_allclose(image.data, 0.3631 * 100**0.2, rtol=1e-6)
    with pytest.raises(ObservationError, match=r"exposure 1: .*extinction of 0.4 .*airmass"):
        call(make_image(), references)
    with pytest.raises(ObservationError, match=r"airmass is -1\.0"):
        call(make_image(airmass=-1.0), references)


def test_flux_is_not_calibrated_twice(tmp_path):
    references = write_references(tmp_path / "r")
    image = call(make_image(), references)
    with pytest.raises(ObservationError, match="exposure 1: its unit is 'uJy'"):
        call(image, references)


def test_files_keep_the_unit(tmp_path):
    call(make_image(), write_references(tmp_path / "r"), output_file=str(tmp_path / "flux.asdf"))
    assert ImageModel.open(tmp_path / "flux.asdf").units == "uJy"
