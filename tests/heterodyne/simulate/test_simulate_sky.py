from dataclasses import replace

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.constants import BOLTZMANN, PLANCK
from cal_pipeline.heterodyne.simulate.sky import SkyBand, brightness

NU = np.array([460.0e9, 461.0e9])
IMAGE = np.array([474.0e9, 473.0e9])


@pytest.fixture
def sky():
    flat = np.full(2, 0.1)
    f_eff = np.array([1.0, 0.9])
    return SkyBand(NU, IMAGE, flat, flat, 2 * flat, flat, 1.0, f_eff, 0.8, t_atm=250.0, t_spill=280.0)


def with_opacity(sky, tau):
    tau = np.full(2, tau)
    return replace(sky, b_s=0.0 * tau, b_i=0.0 * tau, c_s=tau, c_i=tau)


def test_brightness_where_the_exponential_is_two():
    # exp(h nu/kT) = 2 makes J = h nu/k = T ln 2.
    t_photon = PLANCK * NU / BOLTZMANN
    for index in range(2):
        value = brightness(NU, t_photon[index] / np.log(2.0))[index]
        assert value == pytest.approx(t_photon[index], rel=1e-12)


def test_brightness_in_the_rayleigh_jeans_limit_lacks_half_a_photon():
    assert brightness(np.array([1e9]), 300.0)[0] == pytest.approx(300.0 - 0.04799243 / 2, abs=1e-5)


def test_an_opaque_sky_is_a_load_at_the_temperature_of_the_atmosphere(sky):
    opaque = with_opacity(sky, 1e3)
    result = opaque.sky(1.0, 1.0)
    np.testing.assert_allclose(result[:, 0], opaque.load(250.0)[:, 0])
    np.testing.assert_allclose(result[:, 1], (0.9 * opaque.load(250.0) + 0.1 * opaque.load(280.0))[:, 0])


def test_a_transparent_sky_shows_the_microwave_background(sky):
    clear = with_opacity(sky, 0.0)
    np.testing.assert_allclose(clear.sky(1.0, 2.0)[:, 0], clear.load(2.725)[:, 0])


def test_a_sky_in_equilibrium_does_not_depend_on_its_opacity(sky):
    warm = replace(sky, t_atm=2.725, t_spill=2.725)
    np.testing.assert_allclose(warm.sky(3.0, 2.0), np.tile(warm.load(2.725), 2))


def test_half_the_transmission_is_half_of_each(sky):
    half = with_opacity(sky, np.log(2.0) / 2.0)
    expected = 0.5 * (half.load(250.0) + half.load(2.725))[:, 0]
    np.testing.assert_allclose(half.sky(1.0, 2.0)[:, 0], expected)
    assert half.transmission(1.0, 2.0)[0] == pytest.approx(0.5)


def test_opacity_is_linear_in_water_vapour(sky):
    signal, image = sky.opacity(3.0)
    np.testing.assert_allclose(signal, 0.4)
    np.testing.assert_allclose(image, 0.7)


def test_a_single_sideband_receiver_never_looks_at_its_image(sky):
    nothing = np.full(2, np.nan)
    single = replace(sky, image_gain=0.0, b_i=nothing, c_i=nothing, nu_i=nothing)
    assert single.weights == (1.0, 0.0)
    np.testing.assert_allclose(single.load(77.0)[:, 0], brightness(NU, 77.0))
    assert np.isfinite(single.sky(1.0, 1.5)).all()
    signal, image = single.line_response(1.0, 1.5)
    assert np.isfinite(signal).all()
    assert not image.any()


@pytest.mark.parametrize(("gain", "signal"), [(1.0, 0.5), (0.25, 0.8), (0.0, 1.0)])
def test_sideband_weights_add_up_to_one(sky, gain, signal):
    w_s, w_i = replace(sky, image_gain=gain).weights
    assert w_s == pytest.approx(signal)
    assert w_s + w_i == pytest.approx(1.0)


def test_a_line_is_seen_through_the_atmosphere_and_the_antenna(sky):
    half = with_opacity(sky, np.log(2.0))
    signal, image = half.line_response(1.0, 1.0)
    np.testing.assert_allclose(signal, np.tile([0.5 * 0.5 * 0.8, 0.5 * 0.5 * 0.8 * 0.9], (2, 1)))
    np.testing.assert_allclose(image, signal)


def test_channels_of_a_band_are_a_band(sky):
    np.testing.assert_array_equal(sky.channels(1, 2).sky(1.0, 1.0), sky.sky(1.0, 1.0)[1:])
