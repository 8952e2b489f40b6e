"""The sky model in its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_physics import Setup

from cal_pipeline.heterodyne.physics.observed_sky import observed_sky
from cal_pipeline.heterodyne.physics.planck import EXACT, KALIBRATE_COMPAT, Sidebands
from cal_pipeline.heterodyne.physics.sky import Air, ModelledSky, Opacity, SkyDirection, Surroundings

WATER = np.array([[1.0]])


def towards(setup, opacity, efficiency=1.0, around=None, convention=EXACT):
    bands = dataclasses.replace(setup.sidebands, convention=convention)
    around = around or Surroundings(268.0, 290.0)
    return SkyDirection(Air.around(bands, opacity, np.atleast_1d(efficiency), around), 1.3)


def constant(setup, wet, dry):
    full = np.ones((len(setup.sidebands.frequencies), 1, setup.n_channels))
    return Opacity(wet * full, dry * full, np.zeros(1))


def of_temperature(kelvin):
    nu, nothing = np.full(2, 1e9), np.zeros((1, 1, 2))
    opacity, one = Opacity(nothing, nothing, np.zeros(1)), np.ones(1)
    dark, opaque = np.zeros((1, 2, 2)), np.full((2, 1, 1), kelvin)
    around = Surroundings(268.0, 290.0)
    return SkyDirection(Air(Sidebands(nu, nu, 0.0), opacity, one, around, dark, np.ones((1, 1)), opaque), 1.0)


def evaluate(direction, pwv):
    """Temperature, slope and error for PWV (R, A) or (1, 1), each (C, R, A)."""
    shape = (len(pwv), direction.air.n_arrays)
    water = np.broadcast_to(pwv, shape).ravel()
    array = np.tile(np.arange(shape[1]), shape[0])
    return [np.moveaxis(values.reshape(*shape, -1), -1, 0) for values in direction.observe_rows(water, array)]


def test_an_opaque_sky_is_the_atmosphere():
    setup = Setup(n_channels=8)
    seen, slope, error = evaluate(towards(setup, constant(setup, 100.0, 0.0)), WATER)
    np.testing.assert_allclose(seen[:, 0, 0], setup.sidebands.input_temperature(268.0)[:, 0, 0], rtol=1e-12)
    assert np.abs(slope).max() < 1e-30
    assert np.abs(error).max() < 1e-30


def test_a_transparent_sky_is_the_background():
    setup = Setup(n_channels=8)
    seen, _, error = evaluate(towards(setup, constant(setup, 0.0, 0.0)), WATER)
    np.testing.assert_allclose(seen[:, 0, 0], setup.sidebands.input_temperature(2.725)[:, 0, 0], atol=1e-10)
    assert np.abs(error).max() == 0.0
    older = evaluate(towards(setup, constant(setup, 0.0, 0.0), convention=KALIBRATE_COMPAT), WATER)[0]
    np.testing.assert_allclose(older, 0.0, atol=1e-10)


def test_spillover_sees_its_own_temperature():
    setup = Setup(n_channels=8)
    seen = evaluate(towards(setup, constant(setup, 100.0, 0.0), efficiency=0.9), WATER)[0][:, 0, 0]
    mixed = (
        0.9 * setup.sidebands.input_temperature(268.0)[:, 0, 0]
        + 0.1 * setup.sidebands.input_temperature(290.0)[:, 0, 0]
    )
    np.testing.assert_allclose(seen, mixed, rtol=1e-12)


def test_a_sky_as_warm_as_the_hot_load_cannot_be_told_from_it():
    setup = Setup(n_channels=8)
    around = Surroundings(293.0, 293.0)
    seen = evaluate(towards(setup, constant(setup, 100.0, 0.0), efficiency=0.8, around=around), WATER)[0][:, 0, 0]
    np.testing.assert_allclose(seen, setup.sidebands.input_temperature(293.0)[:, 0, 0], rtol=1e-12)


@pytest.mark.parametrize("image_gain", [0.0, 0.6, 1.0])
def test_derivative_is_the_change_with_water(image_gain):
    setup = Setup(n_channels=8, image_gain=image_gain)
    direction = towards(setup, setup.opacity, efficiency=0.95)
    step = 1e-5
    low, high = (evaluate(direction, WATER + s)[0] for s in (-step, step))
    np.testing.assert_allclose(evaluate(direction, WATER)[1], (high - low) / (2 * step), rtol=1e-7)


def test_opacity_error_is_the_change_of_the_emission():
    # Without a background the whole change of the sky is a change of its emission.
    setup = Setup(n_channels=8)
    o, step = setup.opacity, 1e-6
    scaled = [Opacity(s * o.b, s * o.c, o.offset) for s in (1 - step, 1 + step)]
    low, high = (evaluate(towards(setup, s, convention=KALIBRATE_COMPAT), WATER)[0] for s in scaled)
    error = evaluate(towards(setup, o, convention=KALIBRATE_COMPAT), WATER)[2]
    np.testing.assert_allclose(error, (high - low) / (2 * step), rtol=1e-5)


def test_the_grid_is_the_model_on_it():
    setup = Setup(n_channels=8, efficiency=0.9)
    direction = towards(setup, setup.opacity, efficiency=0.9)
    grid = np.array([0.1, 1.0, 5.0])
    found = direction.on_grid(grid, slice(2, 6))
    for index, pwv in enumerate(grid):
        np.testing.assert_allclose(found[:, index].T, evaluate(direction, np.array([[pwv]]))[0][2:6, 0, :], rtol=1e-12)


def test_pixels_may_have_their_own_water():
    setup = Setup(n_channels=4)
    direction = towards(setup, setup.opacity)
    both = evaluate(direction, np.array([[0.2], [2.0]]))[0]
    np.testing.assert_array_equal(both[:, :1], evaluate(direction, np.array([[0.2]]))[0])
    np.testing.assert_array_equal(both[:, 1:], evaluate(direction, np.array([[2.0]]))[0])


def test_observed_sky_is_the_mean_of_the_offs_that_are_there():
    hot, gamma = np.full((2, 1, 1), 1000.0), np.full((2, 1, 1), 10.0)
    off = np.array([[900.0, 800.0], [700.0, np.nan]]).reshape(2, 2, 1, 1)
    t_hot = np.array([50.0, 60.0]).reshape(2, 1, 1)
    sky, residual = observed_sky(
        off, hot, gamma, t_hot, [ModelledSky(of_temperature(30.0).against(t_hot), WATER, 1)] * 2
    )
    np.testing.assert_allclose(sky.ravel(), [30.0, 40.0])
    np.testing.assert_allclose(residual.ravel(), [0.0, 10.0])


def test_an_off_that_was_not_fitted_in_a_pixel_is_not_in_its_residual():
    hot, gamma = np.full((2, 2, 1), 1000.0), np.full((2, 2, 1), 10.0)
    off = [np.full((2, 2, 1), 800.0), np.full((2, 2, 1), 700.0)]
    fitted = [np.array([[1.0], [1.0]]), np.array([[1.0], [np.nan]])]
    t_hot = np.full((2, 1, 1), 50.0)
    skies = [
        ModelledSky(of_temperature(kelvin).against(t_hot), pwv, 1)
        for kelvin, pwv in zip((29.0, 21.0), fitted, strict=True)
    ]
    sky, residual = observed_sky(off, hot, gamma, t_hot, skies)
    np.testing.assert_allclose(sky, 25.0)
    np.testing.assert_allclose(residual[:, :, 0], [[0.0, 1.0]] * 2)


def test_a_sky_looked_through_is_the_same_sky():
    setup = Setup(n_channels=6)
    direction = towards(setup, constant(setup, 0.3, 0.1), np.array([0.9, 0.8]))
    water = np.array([[1.0, 2.0], [0.5, 3.0], [4.0, 0.1]])
    temperature, transmission = direction.observe(water)
    np.testing.assert_array_equal(temperature, evaluate(direction, water)[0])
    np.testing.assert_allclose(transmission, np.broadcast_to(np.exp(-1.3 * (0.3 * water + 0.1)), (6, 3, 2)))
    pixel_by_pixel = ModelledSky(direction, water, 1).of((3, 2), slice(1, 5))
    np.testing.assert_array_equal(pixel_by_pixel[0], temperature.reshape(6, -1, order="F").T[1:5])


def test_a_sky_of_another_shape_is_refused():
    # A compiled loop would read on behind the end of the array.
    counts, hot = [np.zeros((2, 3, 1))], np.ones((2, 3, 1))
    for pixels in ((3, 2), (2, 1)):
        with pytest.raises(ValueError, match="is wanted for pixels"):
            ModelledSky(of_temperature(30.0), np.ones((3, 1))).of(pixels)
    short = ModelledSky(towards(Setup(n_channels=1), constant(Setup(n_channels=1), 0.3, 0.1)), WATER, 1)
    with pytest.raises(ValueError, match="has 1 channels, expected 2"):
        observed_sky(counts, hot, hot, np.ones((2, 1, 1)), [short])
