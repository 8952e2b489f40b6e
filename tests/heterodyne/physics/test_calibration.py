"""The calibration equation."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.calibration import antenna_temperature, couple_beams, kelvin_per_count
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.noise import expected_noise


@pytest.mark.slow
def test_flags_and_nan_go_together():
    on = np.full((3, 2, 1, 1), 10.0)
    on[0, 1] = np.nan
    reference = np.full((3, 1, 1), 4.0)
    reference[1] = np.nan
    bad = np.array([False, False, True]).reshape(3, 1, 1)
    factor = np.array([2.0, 2.0, np.nan]).reshape(3, 1, 1)
    spectra, flags, missing = antenna_temperature(on, reference, factor, bad)
    assert missing[:, :, 0, 0].tolist() == [[False, True], [True, True], [False, False]]
    assert flags[:, :, 0, 0].tolist() == [[0, 2], [2, 2], [1, 1]]
    assert spectra[0, 0, 0, 0] == 12.0
    assert (np.isnan(spectra) == (flags != 0)).all()
    assert flags.dtype == np.uint16


def test_both_flags_can_be_set():
    on = np.full((1, 1, 1, 1), np.nan)
    _, flags, _ = antenna_temperature(on, np.zeros((1, 1, 1)), np.full((1, 1, 1), np.nan), np.ones((1, 1, 1), bool))
    assert flags.item() == 3


def test_a_reference_may_differ_from_dump_to_dump():
    on = np.arange(4.0).reshape(1, 4, 1, 1) + 10.0
    spectra, _, missing = antenna_temperature(on.copy(), on - 1.0, np.full((1, 1, 1), 3.0), np.zeros((1, 1, 1), bool))
    np.testing.assert_array_equal(spectra, 3.0)
    assert missing is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.int32, np.uint16, np.float64])
@pytest.mark.parametrize("pixels", [(1, 1), (2, 2), (3, 4)])
@pytest.mark.parametrize("per_dump", [False, True], ids=["one reference", "one for each dump"])
def test_every_sample_is_calibrated_with_what_belongs_to_its_pixel(kind, pixels, per_dump):
    # Spectra that are chosen, and counts that are made of them with powers of two, so that nothing is rounded.
    rng = np.random.default_rng(3)
    shape = (4, 3, *pixels)
    wanted = rng.integers(-50, 50, shape).astype(float)
    levels = rng.integers(1000, 9000, shape if per_dump else (4, *pixels)).astype(float)
    factor = np.asfortranarray(2.0 ** rng.integers(-3, 1, (4, *pixels)))
    counts = (wanted / factor[:, None] + (levels if per_dump else levels[:, None])).astype(kind)
    reference = levels.astype(kind) if per_dump else np.asfortranarray(levels)
    good = np.zeros((4, *pixels), bool)
    spectra, flags, missing = antenna_temperature(counts, reference, factor, good)
    np.testing.assert_array_equal(spectra, wanted)
    assert flags.shape == shape
    assert not flags.any()
    assert missing is None
    if kind is np.float64:
        counts[2, 1, 0, 0] = np.nan
        spectra, flags, missing = antenna_temperature(counts, reference, factor, good)
        assert np.argwhere(missing).tolist() == np.argwhere(flags).tolist() == [[2, 1, 0, 0]]
        np.testing.assert_array_equal(spectra[~missing], wanted[~missing])
    out = np.empty(shape)
    assert antenna_temperature(counts, reference, factor, good, out)[0] is out
    np.testing.assert_array_equal(out, spectra)
    with pytest.raises(ValueError, match="in C order"):
        antenna_temperature(counts, reference, factor, good, np.empty(shape[::-1]).T)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 2)], ids=["one for all", "of each array", "of each pixel"])
def test_a_transmission_may_serve_several_pixels(shape):
    transmission = np.asfortranarray(2.0 ** -np.arange(1.0, 1.0 + 2 * np.prod(shape)).reshape(2, *shape))
    one, good = np.ones((2, 3, 2)), np.zeros((2, 3, 2), bool)
    factor = kelvin_per_count(8.0 * one, 2.0 * one, transmission, good)
    np.testing.assert_array_equal(factor * transmission, 4.0 * one)
    noise = expected_noise(one, transmission, 4.0, 1.0, 0.0 * one)
    np.testing.assert_array_equal(noise * transmission, 0.5 * one)


def test_results_go_where_they_are_wanted():
    one, bad = np.ones((2, 1, 1)), np.array([False, True]).reshape(2, 1, 1)
    factors, noises = np.zeros((2, 1, 1, 3), order="F"), np.zeros((2, 1, 1, 3), np.float32, order="F")
    kelvin_per_count(one, one, one, bad, out=factors[..., 1])
    expected_noise(one, np.where(bad, 0.0, 1.0), 1.0, 1.0, 0.0 * one, out=noises[..., 2])
    np.testing.assert_array_equal(factors[:, 0, 0], [[0.0, 1.0, 0.0], [0.0, np.nan, 0.0]])
    np.testing.assert_array_equal(noises[:, 0, 0], [[0.0, 0.0, 1.0], [0.0, 0.0, np.nan]])


def test_factor_is_nan_in_bad_channels():
    one = np.ones((2, 1, 1))
    difference = np.array([100.0, 0.0]).reshape(2, 1, 1)
    factor = kelvin_per_count(200.0 * one, difference, 0.5 * one, difference == 0.0)
    assert factor[0, 0, 0] == pytest.approx(4.0)
    assert np.isnan(factor[1, 0, 0])


def test_beams_are_averaged_and_flags_joined():
    one = np.array([1.0, 2.0, np.nan]), np.array([0, 0, 2], np.uint16)
    two = np.array([3.0, np.nan, np.nan]), np.array([0, 1, 1], np.uint16)
    kelvin, flags = couple_beams(one, two)
    np.testing.assert_array_equal(kelvin, [2.0, np.nan, np.nan])
    assert flags.tolist() == [0, 1, 3]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("per_dump", [False, True])
@pytest.mark.parametrize(
    ("dumps", "pixels"), [(20, (7, 1)), (20, (7, 2)), (19, (5, 1)), (12, (2, 1)), (20, (1, 1)), (3, (40, 2))]
)
def test_every_number_of_dumps_and_pixels_gives_the_formula_itself(dumps, pixels, per_dump, dtype):
    rng = np.random.default_rng(dumps)
    on = rng.integers(1_000_000, 1_100_000, (5, dumps, *pixels)).astype(np.float64)
    on[3, dumps // 2] = np.nan
    reference = rng.normal(1.05e6, 1e3, (5, dumps, *pixels) if per_dump else (5, *pixels))
    factor, good = rng.uniform(1e-4, 2e-4, (5, *pixels)), np.zeros((5, *pixels), bool)
    shift = np.full((5, pixels[0] * pixels[1]), 1.5 * 2.0**46) if dtype is np.float32 else None
    spectra, flags, missing = antenna_temperature(on, reference, factor, good, np.empty(on.shape, dtype), shift)
    expected = (on - (reference if per_dump else reference[:, None])) * factor[:, None]
    if shift is not None:
        expected = (expected + 1.5 * 2.0**46) - 1.5 * 2.0**46
    np.testing.assert_array_equal(spectra, expected.astype(dtype))
    np.testing.assert_array_equal(missing, np.isnan(on))
    np.testing.assert_array_equal(flags, np.where(np.isnan(on), Flag.FILL_VALUE, 0))
