"""The steps `normalize` and `combine_frames`."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_images import SHAPE, make_image, write_store

from cal_pipeline.core.errors import CalibrationError, LayoutError, ObservationError, OutputExistsError, StoreError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.imager import DQ, ImageModel
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.steps.imager import CombineFramesStep, NormalizeStep

pytestmark = pytest.mark.imager


def combine(frames, **settings):
    return CombineFramesStep.call(frames, configure_log=False, **settings)


def test_mean_and_median_without_the_outlier():
    levels = [99.0, 100.0, 101.0, 103.0, 150.0]
    frames = [make_image(n, level) for n, level in enumerate(levels, 1)]
    mean = combine(frames)
    assert mean.meta.cal_step.combine_frames == "COMPLETE"
    np.testing.assert_allclose(mean.data, 100.75)
    np.testing.assert_allclose(mean.err, 1.0)  # 2/sqrt(4)
    assert not np.any([mean.var_poisson, mean.var_rnoise, mean.var_flat])
    median = combine(frames, method="median")
    np.testing.assert_allclose(median.data, 100.5)
    np.testing.assert_allclose(median.err, 1.092, rtol=1e-6)
    np.testing.assert_allclose(combine(frames, sigma=0.0).data, 110.6)


def test_flags():
    def flagged(number, bits, level=100.0):
        return make_image(number, level, dq=np.full(SHAPE, bits, np.uint32))

    def flags_of(*frames):
        return DQ(int(combine(list(frames)).dq[0, 0]))

    assert flags_of(flagged(1, DQ.JUMP_DET | DQ.WARM), flagged(2, DQ.SATURATED)) == DQ.WARM
    assert flags_of(flagged(1, DQ.DO_NOT_USE | DQ.DEAD), flagged(2, DQ.HOT)) == DQ.HOT
    everywhere = flags_of(flagged(1, DQ.DO_NOT_USE | DQ.JUMP_DET), flagged(2, DQ.DO_NOT_USE | DQ.HOT))
    assert everywhere == DQ.DO_NOT_USE | DQ.HOT
    # Two that disagree: both stay.
    assert flags_of(flagged(1, 0, 0.0), flagged(2, 0, 100.0)) == DQ.OUTLIER


def test_attributes_are_of_the_first_and_members_of_all():
    frames = [make_image(3, airmass=1.5), make_image(1, airmass=1.0), make_image(2)]
    frames[2].meta["date_obs"] = "2026-11-29T23:00:00"
    image = combine(frames)
    assert (image.meta["members"], image.meta["airmass"]) == ([1, 2, 3], 1.0)
    assert image.meta["date_obs"] == "2026-11-29T23:00:00"
    assert "exposure_number" not in image.meta


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"detector": "B"}, "exposure 2: detector is B, expected A"),
        ({"subarray": {"xstart": 3, "ystart": 1}}, "exposure 2: subarray is columns 3 to 22, rows 1 to 16, expected"),
        ({"shape": (4, 20)}, "exposure 2: subarray is columns 1 to 20, rows 1 to 4, expected"),
    ],
)
def test_frames_that_do_not_belong_together(other, message):
    with pytest.raises(LayoutError, match=message):
        combine([make_image(1), make_image(2, **other)])


def test_units_are_one():
    frames = [make_image(1), make_image(2)]
    frames[1].units = "uJy"
    with pytest.raises(LayoutError, match="exposure 2: unit is uJy, expected electron / s"):
        combine(frames)


def test_stores_files_and_exposures_are_sets(tmp_path):
    store = write_store(
        tmp_path / "rate.zarr", [make_image(1, 10.0, exp_type="DARK"), make_image(4, 12.0, exp_type="DARK")]
    )
    assert np.all(combine(str(store)).data == 11.0)
    assert np.all(combine([str(store / "exp_000004")]).data == 12.0)
    combine(str(store), output_file=str(tmp_path / "mean.asdf"))
    with pytest.raises(OutputExistsError, match=r"mean\.asdf exists"):
        combine(str(store), output_file=str(tmp_path / "mean.asdf"))
    mean = ImageModel.open(tmp_path / "mean.asdf")
    assert mean.meta["members"] == [1, 4]
    assert np.all(combine([str(tmp_path / "mean.asdf"), make_image(level=13.0)]).data == 12.0)


def test_a_store_of_several_types_is_refused(tmp_path):
    store = write_store(tmp_path / "rate.zarr", [make_image(1, exp_type="DARK"), make_image(2, exp_type="FLAT")])
    with pytest.raises(CalibrationError, match="holds exposures of types DARK, FLAT; name those to combine"):
        combine(str(store))
    assert combine([str(store / "exp_000001"), str(store / "exp_000002")]).meta["members"] == [1, 2]


def test_sigma_is_no_less_than_0():
    with pytest.raises(ParameterError, match="combine_frames: sigma = -1"):
        combine([make_image()], sigma=-1.0)
    with pytest.raises(LayoutError, match="no image"):
        FrameSet([])
    with pytest.raises(LayoutError, match="exposure 2: attribute date_obs is 'yesterday'"):
        FrameSet([make_image(2, date_obs="yesterday")])


def test_normalize():
    image = make_image(level=np.where(np.arange(SHAPE[1]) < 5, 10.0, 40.0))
    half = NormalizeStep.call(image, configure_log=False)
    np.testing.assert_allclose(np.unique(half.data), [0.25, 1.0])
    np.testing.assert_allclose(half.err, 0.05)
    np.testing.assert_allclose(half.var_poisson, 3 / 1600)
    mean = NormalizeStep.call(image, method="mean", configure_log=False)
    assert mean.data.mean() == pytest.approx(1.0)
    with pytest.raises(ObservationError, match=r"exposure 7: .*above 0"):
        NormalizeStep.call(make_image(7, 0.0), configure_log=False)


def test_a_set_is_normalized_image_by_image(tmp_path):
    frames = NormalizeStep.call(FrameSet([make_image(1, 10.0), make_image(2, 40.0)]), configure_log=False)
    assert [image.data.mean() for image in frames] == [1.0, 1.0]
    frames.save(str(tmp_path / "frames.asdf"))
    assert np.all(combine(str(tmp_path / "frames.asdf")).data == 1.0)
    with pytest.raises(StoreError, match="a set of images, expected one exposure"):
        ImageModel.open(tmp_path / "frames.asdf")
