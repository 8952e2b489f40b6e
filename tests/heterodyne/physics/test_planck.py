"""Brightness temperatures and sidebands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.planck import EXACT, KALIBRATE_COMPAT, Sidebands, channel_frequencies

frequencies = st.floats(1e10, 5e12)
temperatures = st.floats(2.0, 400.0)


@pytest.mark.slow
@given(frequencies, temperatures)
def test_brightness_lies_below_the_temperature_by_less_than_half_a_photon(nu, temperature):
    photon = 4.799243073366221e-11 * nu  # h/k of CODATA 2018
    value = float(EXACT.brightness(nu, temperature))
    assert temperature - 0.5 * photon <= value * (1 + 1e-12)
    assert 0.0 <= value < temperature


@given(frequencies, temperatures)
def test_brightness_grows_with_temperature(nu, temperature):
    assert EXACT.brightness(nu, 1.01 * temperature) > EXACT.brightness(nu, temperature)


def test_rayleigh_jeans_limit():
    assert float(EXACT.brightness(1e6, 300.0)) == pytest.approx(300.0, rel=1e-7)


def test_wien_limit():
    # exp(-x) for x = h nu/kT = 48: nothing is left of 100 K at 100 THz.
    assert float(EXACT.brightness(1e14, 100.0)) == pytest.approx(4799.243 * np.exp(-47.99243), rel=1e-5)


def test_at_one_photon_per_kt():
    # x = 1: J = T/(e - 1).
    nu = 300.0 / 4.799243073366221e-11
    assert float(EXACT.brightness(nu, 300.0)) == pytest.approx(300.0 / (np.e - 1.0), rel=1e-12)


@given(frequencies, temperatures)
def test_the_older_convention_differs_little_and_is_single_precision(nu, temperature):
    older = float(KALIBRATE_COMPAT.brightness(nu, temperature))
    assert older == np.float32(older)
    photon = 4.799243073366221e-11 * nu
    # h/k differs by 5.4e-5 of itself, which shifts J by about half of that of a photon, more in the Wien tail.
    assert older == pytest.approx(float(EXACT.brightness(nu, temperature)), rel=6e-5 * (1 + photon / temperature))


def test_the_older_convention_knows_no_background():
    assert (KALIBRATE_COMPAT.background_brightness(np.array([1e11, 1e12])) == 0).all()
    assert float(EXACT.background_brightness(1e6)) == pytest.approx(2.725, rel=1e-4)


@pytest.mark.parametrize(("gain", "signal", "image"), [(0.0, 1.0, 0.0), (1.0, 0.5, 0.5), (3.0, 0.25, 0.75)])
def test_weights_of_sidebands_follow_the_image_gain(gain, signal, image):
    bands = Sidebands(np.array([1e11]), np.array([2e11]), gain)
    assert bands.weight_signal == pytest.approx([signal])
    assert bands.weight_image == pytest.approx([image])
    assert bands.combine(10.0, 20.0).item() == pytest.approx(signal * 10 + image * 20)


def test_a_single_sideband_receiver_knows_no_image():
    for image in (np.nan, 0.0):
        bands = Sidebands(np.array([1e6]), np.array([image]), 0.0)
        assert bands.input_temperature(100.0) == pytest.approx(100.0, rel=1e-6)


def test_channel_frequencies_mirror_each_other():
    signal, image = channel_frequencies(5, 460e9, 472e9, 1e6, -2e6, 2.0)
    np.testing.assert_allclose(signal, 460e9 + 1e6 + np.array([4e6, 2e6, 0.0, -2e6, -4e6]))
    np.testing.assert_allclose(signal + image, 932e9)


@pytest.mark.parametrize("temperature", [30.0, 77.0, 293.0])
@pytest.mark.parametrize("nu", [86e9, 461e9, 1.9e12])
def test_slopes_are_differences(nu, temperature):
    step = 1e-4
    difference = (EXACT.brightness(nu, temperature + step) - EXACT.brightness(nu, temperature - step)) / (2.0 * step)
    assert EXACT.brightness_slope(nu, temperature) == pytest.approx(float(difference), rel=1e-6)


def test_arrays_have_gains_of_their_own():
    signal, image = np.array([461e9, 462e9]), np.array([473e9, 472e9])
    together = Sidebands(signal, image, np.array([0.0, 0.4, 1.0]))
    assert together.has_image
    assert together.weights.shape == (2, 3)
    for array, gain in enumerate((0.0, 0.4, 1.0)):
        alone, step = Sidebands(signal, image, gain), 1e-6
        np.testing.assert_array_equal(
            together.input_temperature(77.0)[..., array], alone.input_temperature(77.0)[..., 0]
        )
        higher, lower = (
            Sidebands(signal, image, gain * np.exp(sign * step)).input_temperature(77.0)[..., 0] for sign in (1, -1)
        )
        np.testing.assert_allclose(
            together.image_gain_slope(77.0)[..., array], (higher - lower) / (2.0 * step), rtol=1e-4, atol=1e-9
        )
