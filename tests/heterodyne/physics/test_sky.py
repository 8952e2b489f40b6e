"""The sky model in its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_physics import Setup
from scipy.integrate import quad

from cal_pipeline.heterodyne.physics.observed_sky import observed_sky
from cal_pipeline.heterodyne.physics.planck import EXACT, KALIBRATE_COMPAT, Sidebands
from cal_pipeline.heterodyne.physics.sky import Air, ModelledSky, Opacity, SkyDirection, Surroundings
from cal_pipeline.heterodyne.physics.sky_layers import in_tiles

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


def layered(setup, shares, offset, dry_shares=None):
    """The opacity of a setup divided into layers by shares, from the ground up."""
    whole, dry = setup.opacity, shares if dry_shares is None else dry_shares
    up_to, dry_up_to = (np.cumsum(values)[:, None] for values in (shares, dry))
    return Opacity(whole.b * up_to, whole.c * dry_up_to, np.asarray(offset))


def test_many_thin_layers_are_the_integral_of_radiative_transfer():
    # T falls by 6 K/km, opacity with a scale of 1.5 km: dI = B(T(tau)) exp(-tau) dtau along the line of sight.
    setup, lapse, scale, top, n = Setup(n_channels=3, image_gain=0.0), 6.0, 1.5, 12.0, 4000
    edges = np.linspace(0.0, top, n + 1)
    above = (np.exp(-edges / scale) - np.exp(-top / scale)) / (1.0 - np.exp(-top / scale))
    opacity = layered(setup, -np.diff(above), -lapse * 0.5 * (edges[1:] + edges[:-1]))
    seen = evaluate(towards(setup, opacity), WATER)[0][:, 0, 0]
    for channel, nu in enumerate(setup.signal):
        tau = 1.3 * opacity.signal(1.0)[channel]

        def height(fraction):
            return -scale * np.log1p(-fraction * (1.0 - np.exp(-top / scale)))

        shine = quad(
            lambda depth, nu=nu, tau=tau: (
                float(EXACT.brightness(nu, 268.0 - lapse * height(depth / tau))) * np.exp(-depth)
            ),
            0.0,
            tau,
            epsabs=0.0,
            epsrel=1e-10,
        )[0]
        behind = float(EXACT.brightness(nu, 2.725)) * np.exp(-tau)
        assert seen[channel] == pytest.approx(shine + behind, rel=1e-6)


@pytest.mark.parametrize("image_gain", [0.0, 0.6])
def test_layers_of_one_temperature_are_one_layer(image_gain):
    setup = Setup(n_channels=8, image_gain=image_gain)
    several = layered(setup, [0.5, 0.3, 0.2], np.full(3, -7.0), dry_shares=[0.1, 0.2, 0.7])
    colder = Surroundings(261.0, 290.0)
    one = towards(setup, setup.opacity, 0.9, colder)
    for found, expected in zip(evaluate(towards(setup, several, 0.9), WATER), evaluate(one, WATER), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert setup.opacity.isothermal
    assert not several.isothermal


def test_an_opaque_lowest_layer_hides_the_rest():
    setup = Setup(n_channels=8)
    growing = np.array([1.0, 2.0, 3.0])[:, None] * setup.opacity.b
    opacity = Opacity(100.0 + growing, 0.0 * growing, np.array([-2.0, 40.0, -60.0]))
    seen, slope, error = evaluate(towards(setup, opacity), WATER)
    np.testing.assert_allclose(seen[:, 0, 0], setup.sidebands.input_temperature(266.0)[:, 0, 0], rtol=1e-12)
    assert np.abs(slope).max() < 1e-30
    assert np.abs(error).max() < 1e-30


def test_layers_without_opacity_do_not_shine():
    setup = Setup(n_channels=8)
    with_empty = layered(setup, [0.0, 0.6, 0.0, 0.4], [90.0, -5.0, 90.0, -30.0])
    without = layered(setup, [0.6, 0.4], [-5.0, -30.0])
    for found, expected in zip(
        evaluate(towards(setup, with_empty), WATER), evaluate(towards(setup, without), WATER), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("image_gain", [0.0, 0.6, 1.0])
def test_derivative_of_layers_is_the_change_with_water(image_gain):
    setup = Setup(n_channels=8, image_gain=image_gain)
    direction = towards(setup, layered(setup, [0.5, 0.3, 0.2], [-3.0, -14.0, -50.0]), efficiency=0.95)
    step = 1e-5
    low, high = (evaluate(direction, WATER + s)[0] for s in (-step, step))
    np.testing.assert_allclose(evaluate(direction, WATER)[1], (high - low) / (2 * step), rtol=1e-7)
    grid = np.array([0.1, 1.0, 5.0])
    for index, pwv in enumerate(grid):
        np.testing.assert_allclose(
            direction.on_grid(grid, slice(None))[:, index].T,
            evaluate(direction, np.array([[pwv]]))[0][:, 0],
            rtol=1e-12,
        )


@pytest.mark.parametrize("image_gain", [0.0, 0.6])
def test_responses_are_what_the_inputs_do_to_the_emission(image_gain):
    setup = Setup(n_channels=8, image_gain=image_gain)
    opacity = layered(setup, [0.5, 0.3, 0.2], [-3.0, -14.0, -50.0], dry_shares=[0.2, 0.2, 0.6])
    water, array, step = np.array([0.3, 2.0]), np.array([0, 0]), 1e-4

    def temperature(d_ground=0.0, profile=1.0, dry=1.0):
        changed = Opacity(opacity.b, dry * opacity.c, profile * opacity.offset)
        around = Surroundings(268.0 + d_ground, 290.0)
        return towards(setup, changed, 0.95, around).observe_rows(water, array, 1)[0]

    _, found = towards(setup, opacity, 0.95).respond_rows(water, array)
    changes = ((temperature(d_ground=s), temperature(profile=1.0 + s), temperature(dry=1.0 + s)) for s in (-step, step))
    for response, low, high in zip(found, *changes, strict=False):
        np.testing.assert_allclose(response, (high - low) / (2.0 * step), rtol=1e-6)
    assert len(found) == 3 + len(setup.sidebands.frequencies)
    seen = sum(w * emission for w, emission in zip(setup.sidebands.weights[:, 0], found[3:], strict=True))
    spill = 0.05 * setup.sidebands.input_temperature(290.0)[:, 0, 0]
    np.testing.assert_allclose(0.95 * seen + spill, temperature(), rtol=1e-12)


def test_arrays_with_gains_and_efficiencies_of_their_own_are_those_alone():
    setup = Setup(n_channels=8)
    opacity, gains, efficiencies = layered(setup, [0.7, 0.3], [-4.0, -20.0]), [1.0, 0.0, 0.4], [0.95, 0.9, 0.85]

    def direction(which):
        bands = Sidebands(setup.signal, setup.image, np.array(gains)[which])
        count = len(bands.frequencies)
        seen = Opacity(opacity.b[:count], opacity.c[:count], opacity.offset)
        return SkyDirection(Air.around(bands, seen, np.array(efficiencies)[which], Surroundings(268.0, 290.0)), 1.3)

    water = np.array([[0.3, 0.5, 1.0], [2.0, 0.1, 0.7]])
    together, (temperature, through) = evaluate(direction([0, 1, 2]), water), direction([0, 1, 2]).observe(water)
    on_grid = direction([0, 1, 2]).on_grid(np.array([0.2, 3.0]), slice(None))
    _, rows_of_all = direction([0, 1, 2]).respond_rows(water[0], np.arange(3))
    for a in range(3):
        alone = direction([a])
        only = water[:, a : a + 1]
        for one, several in zip(evaluate(alone, only), together, strict=True):
            np.testing.assert_allclose(several[..., a], one[..., 0], rtol=1e-13)
        np.testing.assert_allclose(temperature[..., a], alone.observe(only)[0][..., 0], rtol=1e-13)
        np.testing.assert_allclose(through[..., a], alone.observe(only)[1][..., 0], rtol=1e-13)
        np.testing.assert_allclose(on_grid[a], alone.on_grid(np.array([0.2, 3.0]), slice(None))[0], rtol=1e-13)
        responses = alone.respond_rows(only[:1, 0], np.zeros(1, int))[1][:, 0]
        # A receiver without image has no emission there to report.
        np.testing.assert_allclose(rows_of_all[: len(responses), a], responses, rtol=1e-13)


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


@pytest.mark.parametrize("n_channels", [4096, 4099])
def test_a_wide_band_is_its_parts(n_channels):
    rng, pwv = np.random.default_rng(1), np.array([[0.2], [0.7]])
    nu, layers = np.linspace(460e9, 464e9, n_channels), (2, 3, n_channels)
    wet, dry = rng.uniform(0.1, 1.0, layers), rng.uniform(0.01, 0.1, layers)

    def look(part):
        sidebands = Sidebands(nu[part], nu[part] + 12e9, image_gain=1.0)
        opacity = Opacity(wet[..., part], dry[..., part], np.array([0.0, -10.0, -30.0]))
        air = Air.around(sidebands, opacity, np.array([0.95]), Surroundings(270.0, 268.0))
        direction = SkyDirection(air, airmass=1.3)
        modelled, responses = direction.respond_rows(pwv.ravel(), np.zeros(2, int))
        assert (modelled == direction.observe_rows(pwv.ravel(), np.zeros(2, int))).all()
        temperature, through = direction.observe(pwv)
        return np.concatenate([modelled, responses, temperature.T, through.T])

    parts = [slice(0, 1024), slice(1024, 2048), slice(2048, None)]
    np.testing.assert_array_equal(look(slice(None)), np.concatenate([look(part) for part in parts], axis=-1))


def test_what_is_written_in_tiles_reaches_the_array():
    values = np.zeros((2, 4096))
    in_tiles(values)[1, 1, 0] = 1.0
    assert np.argwhere(values).tolist() == [[1, 2048]]
    with pytest.raises(ValueError, match="is not C-contiguous"):
        in_tiles(np.zeros((4096, 2)).T)
