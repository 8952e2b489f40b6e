"""The steps `outlier` and `mosaic`."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from helpers_images import SHAPE, WCS, make_image, write_store

from cal_pipeline.core.errors import LayoutError, OutputExistsError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.imager import DQ, ImageModel
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.steps.imager import MosaicStep, OutlierStep

pytestmark = [pytest.mark.imager, pytest.mark.filterwarnings("error")]


def dither(number, level=100.0, columns=0, rows=0, **attributes):
    wcs = {**WCS, "CRPIX1": WCS["CRPIX1"] + columns, "CRPIX2": WCS["CRPIX2"] + rows}
    return make_image(number, level, wcs=wcs, **attributes)


def mosaic(frames, **settings):
    return MosaicStep.call(frames, configure_log=False, **settings)


def test_mean_by_exposure_time():
    images = [dither(1, 10.0, exposure_time=30.0), dither(2, 20.0, 3, -1, exposure_time=10.0)]
    result = mosaic(images)
    assert result.shape == (SHAPE[0] + 1, SHAPE[1] + 3)
    # Pixels that both have seen, and those of one.
    assert (result.data[5, 5], result.weight[5, 5]) == (12.5, 40.0)
    assert result.err[5, 5] == pytest.approx(np.hypot(30 * 2, 10 * 2) / 40)
    assert (result.data[0, 22], result.weight[0, 22], result.dq[0, 22]) == (10.0, 30.0, 0)
    assert np.isnan(result.data[16, 22])
    assert (result.weight[16, 22], result.dq[16, 22]) == (0.0, DQ.DO_NOT_USE)
    assert (result.meta["wcs"]["CRPIX1"], result.meta["wcs"]["CRPIX2"]) == (WCS["CRPIX1"] + 3, WCS["CRPIX2"])


def test_attributes_in_which_all_agree():
    images = [
        dither(4, airmass=1.1, detector="A", observer="Galilei"),
        dither(2, columns=1, airmass=1.2, detector="B", observer="Galilei"),
    ]
    images[0].meta.cal_step.background, images[1].meta.cal_step.background = "COMPLETE", "SKIPPED"
    images[0].meta.cal_step.dark = images[1].meta.cal_step.dark = "COMPLETE"
    meta = mosaic(images).meta
    assert (meta["target"], meta["filter"], meta["instrument"], meta["observer"]) == ("M42", "K", "IRIS", "Galilei")
    assert meta["members"] == [2, 4]
    assert meta["exposure_time"] == 100.0
    assert meta["date_obs"] == "2026-11-30T02:02:00"
    assert not {"airmass", "detector", "exposure_number"} & set(meta)
    assert meta["cal_step"] == {"background": "SKIPPED", "dark": "COMPLETE", "mosaic": "COMPLETE"}


def test_images_of_two_subarrays():
    """The projection is that of the array, whatever part of the detector it shows."""
    window = {"name": "BOX", "xstart": 4, "ystart": 3, "xsize": 5, "ysize": 6}
    box = dither(2, 40.0, columns=-3, rows=-2, shape=(6, 5), subarray=window)
    result = mosaic([dither(1, 20.0), box])
    expected = np.full(SHAPE, 20.0)
    expected[2:8, 3:8] = 30.0
    np.testing.assert_array_equal(result.data, expected)
    assert "subarray" not in result.meta


def test_an_unflagged_hit_in_one_of_three_goes(caplog):
    images = [dither(n, columns=n) for n in (1, 2, 3)]
    images[1].data[8, 10] = 1000.0
    images[1].dq[9, 10] = DQ.DO_NOT_USE | DQ.DEAD
    with caplog.at_level(logging.INFO):
        frames = OutlierStep.call(images, configure_log=False)
    assert "1 samples of 3 images" in caplog.text
    assert frames.meta.cal_step.outlier == "COMPLETE"
    result = mosaic(frames)
    assert np.nanmax(result.data) == 100.0
    # The first exposure has its column 0 in column 2 of the grid, the second in column 1.
    assert (result.weight[8, 11], result.weight[8, 12], result.weight[9, 11]) == (100.0, 150.0, 100.0)
    assert np.nanmax(mosaic(images).data) == 400.0
    assert not np.any(images[1].dq == DQ.OUTLIER)


def test_two_images_do_not_tell_the_outlier():
    frames = OutlierStep.call([dither(1), dither(2, 900.0)], configure_log=False)
    assert frames.meta.cal_step.outlier == "SKIPPED"
    assert np.all(mosaic(frames).data == 500.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wcs": None}, "exposure 2: attribute wcs is missing"),
        ({"wcs": {**WCS, "CTYPE1": "RA---SIN"}}, "exposure 2: attribute wcs: CTYPE1: found 'RA---SIN'"),
        ({"filter": "H"}, "filters differ: H, K"),
        ({"exposure_time": None}, "exposure 2: attribute exposure_time is missing"),
        ({"exposure_time": -5.0}, r"exposure 2: attribute exposure_time is -5\.0"),
    ],
)
def test_images_that_make_no_mosaic(change, message):
    other = dither(2)
    other.meta |= change
    with pytest.raises(LayoutError, match=message):
        mosaic([dither(1), other])


def test_units_are_one():
    other = dither(2)
    other.units = "uJy"
    with pytest.raises(LayoutError, match="units differ: electron / s, uJy"):
        mosaic([dither(1), other])


def test_a_store_of_images_to_a_file(tmp_path):
    store = write_store(tmp_path / "cal.zarr", [dither(1, 10.0), dither(2, 20.0)], "cal")
    mosaic(str(store), output_file=str(tmp_path / "mosaic.asdf"))
    result = ImageModel.open(tmp_path / "mosaic.asdf")
    assert np.all(result.data == 15.0)
    assert np.all(result.weight == 100.0)
    assert (result.meta["members"], result.units) == ([1, 2], "electron / s")


def test_outliers_go_through_a_file(tmp_path):
    images = [dither(n, columns=n) for n in (1, 2, 3)]
    images[1].data[8, 10] = 1000.0
    images[2].units = images[1].units = images[0].units = "uJy"
    OutlierStep.call(images, output_file=str(tmp_path / "outlier.asdf"), configure_log=False)
    frames = FrameSet.open(tmp_path / "outlier.asdf")
    assert (len(frames), frames.members, frames.meta.cal_step.outlier) == (3, [1, 2, 3], "COMPLETE")
    result = mosaic(str(tmp_path / "outlier.asdf"))
    assert (np.nanmax(result.data), result.units) == (100.0, "uJy")


def test_files_are_named_after_the_mosaic(tmp_path):
    settings = {"save_results": True, "output_dir": str(tmp_path)}
    mosaic([dither(1), dither(2)], **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["M42_K_mosaic.asdf"]
    with pytest.raises(OutputExistsError, match=r"M42_K_mosaic\.asdf exists"):
        mosaic([dither(1), dither(2)], **settings)


def test_nothing_given_changes():
    images = [dither(1), dither(2, columns=1)]
    for array in (array for image in images for array in image.arrays.values()):
        array.setflags(write=False)
    before = [dict(image.meta) for image in images]
    mosaic(OutlierStep.call(images, configure_log=False))
    assert [dict(image.meta) for image in images] == before


def test_limits():
    for settings in ({"sigma": 0.0}, {"gradient": -1.0}):
        (name,) = settings
        with pytest.raises(ParameterError, match=f"outlier: {name} = "):
            OutlierStep.call([dither(1)], configure_log=False, **settings)
