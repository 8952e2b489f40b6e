"""The steps `dark` and `flat_field`, which do the same to every image."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers_images import SHAPE, make_image, write_references, write_store

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager import DQ, ImageModel
from cal_pipeline.imager.errors import ReferenceFileError
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.steps.imager import DarkStep, FlatFieldStep

pytestmark = pytest.mark.imager


@pytest.fixture
def references(tmp_path):
    return str(write_references(tmp_path / "references"))


def call(step, image, references, **settings):
    return step.call(image, references=references, configure_log=False, **settings)


def test_dark(references):
    image = call(DarkStep, make_image(level=101.0, err=1.2), references)
    assert image.meta.cal_step.dark == "COMPLETE"
    assert np.all(image.data == 100.0)
    np.testing.assert_allclose(image.err, 1.3)
    assert np.all(image.var_poisson == 3.0)
    assert np.all(image.var_rnoise == 1.0)
    assert image.references["dark"]["file"].endswith("dark.asdf")


def test_flat_field(references):
    image = call(FlatFieldStep, make_image(level=25.0, err=1.2), references)
    assert image.meta.cal_step.flat_field == "COMPLETE"
    assert np.all(image.data == 50.0)
    np.testing.assert_allclose(image.var_flat, 1.0)  # 2 % of 50
    np.testing.assert_allclose(image.err, 2.6, rtol=1e-6)  # (2.4, 1.0)
    assert np.all(image.var_poisson == 12.0)
    assert np.all(image.var_rnoise == 4.0)


@pytest.mark.parametrize(
    ("step", "bits"), [(DarkStep, DQ.UNRELIABLE_DARK), (FlatFieldStep, DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE)]
)
def test_pixels_without_a_reference_stay(tmp_path, step, bits):
    data, dq = np.full(SHAPE, 0.5, np.float32), np.zeros(SHAPE, np.uint32)
    data[2, 3], dq[4, 5] = np.nan, DQ.HOT | DQ.JUMP_DET | DQ.OUTLIER
    content = {"data": data, "dq": dq}
    flags = np.zeros(SHAPE, np.uint32)
    flags[2, 3] = flags[4, 5] = DQ.JUMP_DET
    references = write_references(tmp_path / "references", dark=content, flat=content)
    image = call(step, make_image(dq=flags), str(references))
    assert (image.data[2, 3], image.err[2, 3], image.var_flat[2, 3]) == (100.0, 2.0, 0.0)
    assert image.dq[2, 3] == bits | DQ.JUMP_DET
    assert image.dq[4, 5] == DQ.HOT | DQ.JUMP_DET
    assert np.count_nonzero(image.dq) == 2


@pytest.mark.parametrize("step", [DarkStep, FlatFieldStep])
def test_nothing_given_changes(references, step):
    image = make_image(tso=True, ints=[90.0, 110.0])
    before = copy.deepcopy({**image.arrays, "ints": image.ints.arrays, "meta": dict(image.meta)})
    for array in (*image.arrays.values(), *image.ints.arrays.values()):
        array.setflags(write=False)
    call(step, image, references)
    np.testing.assert_equal({**image.arrays, "ints": image.ints.arrays, "meta": dict(image.meta)}, before)


def test_each_integration_of_a_time_series_alone(references):
    image = call(DarkStep, make_image(tso=True, ints=[90.0, 110.0]), references)
    assert image.ints.data.mean(axis=(1, 2)).tolist() == [89.0, 109.0]
    image = call(FlatFieldStep, image, references)
    assert image.ints.data.mean(axis=(1, 2)).tolist() == [178.0, 218.0]
    np.testing.assert_allclose(image.ints.var_flat.mean(axis=(1, 2)), [3.56**2, 4.36**2], rtol=1e-5)
    # Without tso the integrations would not be what the image is.
    assert call(DarkStep, make_image(ints=[90.0, 110.0]), references).ints is None


def test_references_are_cut_to_the_subarray(tmp_path):
    rows, columns = np.indices(SHAPE)
    dark = (100 * rows + columns).astype(np.float32)
    references = write_references(tmp_path / "references", dark={"data": dark})
    window = {"name": "BOX", "xstart": 4, "ystart": 3, "xsize": 5, "ysize": 6}
    image = call(DarkStep, make_image(level=0.0, shape=(6, 5), subarray=window), str(references))
    np.testing.assert_array_equal(image.data, -dark[2:8, 3:8])
    with pytest.raises(
        ReferenceFileError, match=r"covers columns 1 to 20, rows 1 to 16.*columns 18 to 22, rows 3 to 8"
    ):
        call(DarkStep, make_image(shape=(6, 5), subarray={**window, "xstart": 18}), str(references))


def test_flats_are_of_one_filter(references):
    with pytest.raises(ReferenceFileError, match=r"flat.* filter H"):
        call(FlatFieldStep, make_image(filter="H"), references)


def test_override(tmp_path, references):
    other = write_references(tmp_path / "other", dark={"data": np.full(SHAPE, 60.0, np.float32)})
    image = call(DarkStep, make_image(), references, override_dark=str(other / "dark.asdf"))
    assert np.all(image.data == 40.0)
    assert image.references["dark"]["file"] == str(other / "dark.asdf")


def test_an_exposure_of_a_store_and_back_from_a_file(tmp_path, references):
    store = write_store(tmp_path / "rate.zarr", [make_image(3, 101.0)])
    file = tmp_path / "dark.asdf"
    call(DarkStep, str(store / "exp_000003"), references, output_file=str(file))
    image = ImageModel.open(file)
    assert np.all(image.data == 100.0)
    assert image.meta.cal_step.dark == "COMPLETE"
    assert (image.number, image.units) == (3, "electron / s")
    assert np.all(call(FlatFieldStep, str(file), references).data == 200.0)


def test_all_images_of_a_set(references):
    frames = call(DarkStep, FrameSet([make_image(2, 11.0), make_image(1, 21.0)]), references)
    assert [float(image.data[0, 0]) for image in frames] == [20.0, 10.0]
    assert frames.meta.cal_step.dark == "COMPLETE"


@pytest.mark.parametrize("step", [DarkStep, FlatFieldStep])
def test_no_correction_is_applied_twice(references, step):
    image = call(step, make_image(), references)
    with pytest.raises(ObservationError, match=rf"exposure \d+ has passed the step {step.class_alias} already"):
        call(step, image, references)
    with pytest.raises(ObservationError, match=f"has passed the step {step.class_alias} already"):
        call(step, FrameSet([image]), references)
