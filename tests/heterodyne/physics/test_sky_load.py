"""The sky that stands for the cold load, against what each input does to a complete small calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from helpers_atm import LAYER_SHARES_B, LAYER_SHARES_C, b_at, c_at, layer_offset_at

from cal_pipeline.heterodyne.physics.loads import LoadInput, LoadMeans
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.scale_error import TERMS, Inputs, LoadSlopes, assess_scale
from cal_pipeline.heterodyne.physics.sky import Air, Opacity, SkyDirection, Surroundings
from cal_pipeline.heterodyne.physics.sky_load import model_sky_load
from cal_pipeline.heterodyne.physics.sky_observation import LoadView, SkyObservation

PRESSURE, N_CHANNELS, SKY_AIRMASSES, ON_AIRMASS = 52000.0, 12, (1.1, 1.3), 1.7
SIGNAL = 461e9 + 3e8 * np.arange(N_CHANNELS)
STEPS = {
    "forward_efficiency": 1e-4,
    "t_hot": 1e-2,
    "image_gain": 1e-3,
    "t_ground": 1e-2,
    "profile": 1e-3,
    "dry_opacity": 1e-3,
    "pwv": 1e-4,
}
"""By how much each input changes in either direction."""


@dataclass(frozen=True)
class Bench:
    """A receiver of two unlike arrays with a hot load and the sky, below three layers; inputs change by `STEPS`."""

    forward_efficiency: float = 0.0
    t_hot: float = 0.0
    image_gain: float = 0.0
    t_ground: float = 0.0
    profile: float = 0.0
    dry_opacity: float = 0.0
    pwv: float = 0.0

    @property
    def sidebands(self):
        return Sidebands(SIGNAL, 934e9 - SIGNAL, np.array([1.0, 0.3]) * np.exp(self.image_gain))

    @property
    def opacity(self):
        nu = self.sidebands.frequencies
        b = np.multiply.outer(LAYER_SHARES_B, b_at(nu, PRESSURE)).swapaxes(0, 1)
        c = np.multiply.outer(LAYER_SHARES_C, c_at(nu, PRESSURE)).swapaxes(0, 1)
        return Opacity(b, (1.0 + self.dry_opacity) * c, (1.0 + self.profile) * layer_offset_at(PRESSURE))

    @property
    def efficiency(self):
        return np.array([0.95, 0.85]) + self.forward_efficiency

    @property
    def water(self):
        return 0.6 + self.pwv

    def look(self, airmass):
        around = Surroundings(268.0 + self.t_ground, 275.0)
        return SkyDirection(Air.around(self.sidebands, self.opacity, self.efficiency, around), airmass)

    @cached_property
    def sky(self):
        return model_sky_load([self.look(airmass) for airmass in SKY_AIRMASSES], self.water, "pwv = 0.6 mm", 268.0)

    @property
    def hot(self):
        return LoadInput(288.0 + self.t_hot)

    @property
    def scale(self):
        """ln of kelvin of T_A* per count, but for a constant, (C, 1, A)."""
        step = self.hot.input_temperature(self.sidebands) - self.sky.t_input
        depth = ON_AIRMASS * self.opacity.signal(self.water)[:, None, None]
        return np.log(step / (self.sidebands.weight_signal * self.efficiency)) + depth


@pytest.mark.slow
def test_mean_over_the_skies():
    bench = Bench()
    each = [bench.look(airmass).observe(np.array([[bench.water]]))[0] for airmass in SKY_AIRMASSES]
    np.testing.assert_allclose(bench.sky.t_input, 0.5 * (each[0] + each[1]), rtol=1e-14)
    assert bench.sky.t_input.shape == (N_CHANNELS, 1, 2)
    assert bench.sky.temperature.tolist() == np.median(bench.sky.t_input[:, 0], axis=0).tolist()


@pytest.mark.parametrize(("opacity", "expected"), [(0.0, 2.725), (60.0, 268.0)])
def test_nothing_and_everything_in_the_way(opacity, expected):
    nu = np.array([461e9])
    sidebands, full = Sidebands(nu, nu, 0.0), Opacity.of_zenith(opacity, 1, 1)
    direction = SkyDirection(Air.around(sidebands, full, np.ones(1), Surroundings(268.0, 268.0)), 1.0)
    found = model_sky_load([direction], 0.0, "", 268.0).t_input
    np.testing.assert_allclose(found, sidebands.input_temperature(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", STEPS)
def test_slopes_of_the_sky(name):
    less, more = (Bench(**{name: sign * STEPS[name]}).sky.t_input for sign in (-1.0, 1.0))
    if name != "t_hot":
        slope = getattr(Bench().sky, f"by_{name}")
        np.testing.assert_allclose(slope, (more - less) / (2.0 * STEPS[name]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_error_of_the_scale(name):
    bench, sigma = Bench(), 3.0 * STEPS[name]
    one = np.ones((N_CHANNELS, 1, 2))
    step = bench.hot.input_temperature(bench.sidebands) - bench.sky.t_input
    view = LoadView(one, 0.0 * one, 0.0 * one, one, step)
    loads = LoadMeans(one, one, one, one, bench.hot, bench.sky)
    inputs = (loads.hot_input, loads.cold_input)
    slopes = LoadSlopes(
        *(load.temperature_slope(bench.sidebands) for load in inputs),
        *(load.image_gain_slope(bench.sidebands) for load in inputs),
    )
    opacity = bench.opacity
    given = Inputs(
        SkyObservation(view, [], 0.0),
        slopes,
        bench.sidebands.image_gain,
        bench.efficiency,
        opacity.b[0, -1],
        opacity.c[0, -1],
        ON_AIRMASS,
        one > 2.0,
        loads.sky_load,
    )
    sigmas = dict.fromkeys(TERMS[:-1], 0.0) | {name: sigma}
    found = assess_scale(given, np.zeros((8, 1, 1)), sigmas).total
    less, more = (Bench(**{name: sign * STEPS[name]}).scale for sign in (-1.0, 1.0))
    np.testing.assert_allclose(found, np.abs(more - less) * sigma / (2.0 * STEPS[name]), rtol=1e-4, atol=1e-8)
    # A cold load of that temperature, known as well, would leave another error.
    if name not in ("t_hot", "image_gain"):
        without = assess_scale(replace(given, sky_load=None), np.zeros((8, 1, 1)), sigmas).total
        assert (np.abs(without - found) > 1e-3 * found).all()
