"""The step `background`: skies of the store, or the level of the image."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from helpers_images import SHAPE, make_image, write_references, write_store

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.imager import DQ, ImageModel
from cal_pipeline.steps.imager import BackgroundStep, DarkStep, FlatFieldStep, PhotomStep

pytestmark = pytest.mark.imager


def ripple(level):
    """Return an image that is a known pattern about a level, so that the level has an error."""
    rows, columns = np.indices(SHAPE)
    return level * (1.0 + 0.01 * ((rows + columns) % 2 - 0.5))


def sky(number, level, **attributes):
    return make_image(number, ripple(level), exp_type="SKY", target="SKY", **attributes)


def subtract(store, number=1, step=BackgroundStep, **settings):
    return step.call(f"{store}/exp_{number:06d}", configure_log=False, **settings)


def test_skies_of_other_levels_are_scaled_to_their_mean(tmp_path):
    skies = [sky(2, 50.0), sky(3, 100.0), sky(4, 150.0)]
    store = write_store(tmp_path / "rate.zarr", [make_image(1, ripple(100.0) + 7.0), *skies])
    image = subtract(store)
    assert image.meta.cal_step.background == "COMPLETE"
    assert image.meta["background"] == {"method": "sky", "skies": [2, 3, 4], "level": 100.0, "scale": 1.0}
    np.testing.assert_allclose(image.data, 7.0, rtol=1e-4)
    # Errors of 2, times 2, 1 and 2/3, of a mean of three; and 2 of the image.
    np.testing.assert_allclose(image.err**2, 4 + 4 * (4 + 1 + 4 / 9) / 9, rtol=1e-5)
    assert np.all(image.var_poisson == 3.0)


def test_the_background_is_matched_if_asked_for(tmp_path):
    store = write_store(tmp_path / "rate.zarr", [make_image(1, ripple(200.0)), sky(2, 100.0)])
    image = subtract(store, match=True)
    assert image.meta["background"]["scale"] == pytest.approx(2.0)
    np.testing.assert_allclose(image.data, 0.0, atol=1e-4)
    np.testing.assert_allclose(image.err**2, 4 + 16, rtol=1e-5)


def test_a_level_that_is_not_significant_is_not_matched(tmp_path, caplog):
    noise = np.random.default_rng(1).normal(0.0, 50.0, SHAPE)
    store = write_store(tmp_path / "rate.zarr", [make_image(1, 300.0), make_image(2, noise, exp_type="SKY")])
    with caplog.at_level(logging.WARNING):
        image = subtract(store, match=True)
    assert image.meta["background"]["scale"] == 1.0
    assert "level of the skies is not significant" in caplog.text


def test_skies_belong_to_the_image(tmp_path):
    """Detector, filter and subarray are alike; a whole detector may be described as a subarray."""
    whole = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": SHAPE[1], "ysize": SHAPE[0]}
    others = [
        sky(2, 1e3, filter="H"),
        sky(3, 1e3, detector="B"),
        sky(4, 1e3, instrument="LIGER"),
        sky(5, 1e3, subarray={**whole, "xstart": 3}),
        make_image(6, 1e3, exp_type="SKY", shape=(8, 20)),
        make_image(7, 1e3),
        sky(8, 10.0, subarray=whole),
    ]
    store = write_store(tmp_path / "rate.zarr", [make_image(), *others])
    assert subtract(store).meta["background"]["skies"] == [8]


def test_skies_are_missing(tmp_path, caplog):
    store = write_store(tmp_path / "rate.zarr", [make_image(), sky(2, 10.0, filter="H")])
    with caplog.at_level(logging.WARNING):
        image = subtract(store)
    assert image.meta.cal_step.background == "SKIPPED"
    assert "exposure 1: background not subtracted: no sky exposure of its detector, filter and subarray" in caplog.text
    assert np.all(image.data == 100.0)
    with caplog.at_level(logging.WARNING):
        assert BackgroundStep.call(make_image(), configure_log=False).meta.cal_step.background == "SKIPPED"
    assert "it is of no store" in caplog.text


def test_events_of_skies_are_not_handed_on_and_other_flags_are(tmp_path):
    flags = np.zeros(SHAPE, np.uint32)
    flags[1, 1], flags[2, 2], flags[3, 3] = DQ.JUMP_DET | DQ.OUTLIER, DQ.WARM, DQ.DO_NOT_USE | DQ.SATURATED | DQ.DEAD
    own = np.zeros(SHAPE, np.uint32)
    own[1, 1] = DQ.SATURATED
    store = write_store(tmp_path / "rate.zarr", [make_image(dq=own), sky(2, 10.0, dq=flags)])
    image = subtract(store)
    assert [image.dq[i, i] for i in (1, 2, 3)] == [DQ.SATURATED, DQ.WARM, DQ.DO_NOT_USE | DQ.DEAD]
    assert image.data[3, 3] == 100.0
    assert image.data[2, 2] == pytest.approx(90.0, abs=0.1)


def test_skies_pass_dark_and_flat_as_the_image_did(tmp_path):
    references = str(write_references(tmp_path / "references"))
    store = write_store(tmp_path / "rate.zarr", [make_image(level=101.0), make_image(2, 11.0, exp_type="SKY")])
    assert np.all(subtract(store).data == 90.0)
    image = BackgroundStep.call(subtract(store, step=DarkStep, references=references), configure_log=False)
    assert image.meta["background"]["level"] == 10.0
    assert np.all(image.data == 90.0)


def test_skies_by_hand_use_the_files_of_the_image(tmp_path):
    references = str(write_references(tmp_path / "references"))
    other = write_references(tmp_path / "other", dark={"data": np.full(SHAPE, 5.0, np.float32)})
    store = write_store(tmp_path / "rate.zarr", [make_image(level=105.0), make_image(2, 15.0, exp_type="SKY")])
    image = subtract(store, step=DarkStep, override_dark=str(other / "dark.asdf"))
    image = FlatFieldStep.call(image, references=references, configure_log=False)
    image = BackgroundStep.call(image, references=references, configure_log=False)
    assert image.meta["background"]["level"] == 20.0
    assert np.all(image.data == 180.0)


def test_flux_has_no_skies_in_rates(tmp_path):
    references = str(write_references(tmp_path / "references"))
    store = write_store(tmp_path / "rate.zarr", [make_image(), sky(2, 10.0)])
    with pytest.raises(ObservationError, match="exposure 1: its unit is 'uJy'"):
        BackgroundStep.call(subtract(store, step=PhotomStep, references=references), configure_log=False)


def test_own_level(caplog):
    data = ripple(100.0)
    data[5, 5] = 1e6
    image = BackgroundStep.call(make_image(1, data, tso=True, ints=[90.0, 120.0]), method="level", configure_log=False)
    assert np.median(image.data) == pytest.approx(0.0, abs=0.6)
    assert image.meta["background"]["level"] == pytest.approx(100.0, abs=0.6)
    assert np.all(image.err == 2.0)
    assert np.all(image.ints.data == 0.0)


def test_integrations_of_a_time_series_are_matched_one_by_one(tmp_path):
    series = make_image(1, 100.0, tso=True, ints=[90.0, 110.0])
    store = write_store(tmp_path / "rate.zarr", [series, sky(2, 50.0)])
    image = subtract(store)
    np.testing.assert_allclose(np.median(image.ints.data, axis=(1, 2)), [40.0, 60.0], atol=0.3)
    image = subtract(store, match=True)
    np.testing.assert_allclose(np.median(image.ints.data, axis=(1, 2)), [0.0, 0.0], atol=0.6)
    np.testing.assert_allclose(image.ints.err[1, 0, 0] ** 2, 4 + 4 * 2.2**2, rtol=1e-3)
    assert isinstance(image.ints, ImageModel)


def test_match_needs_skies():
    with pytest.raises(ParameterError, match="match"):
        BackgroundStep.call(make_image(), method="level", match=True, configure_log=False)
