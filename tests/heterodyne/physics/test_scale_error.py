"""The error of the scale against what each input does to a complete small calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from helpers_atm import LAYER_SHARES_B, LAYER_SHARES_C, b_at, c_at, layer_offset_at

from cal_pipeline.heterodyne.physics.loads import LoadMeans, solve_loads
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.pwv import PwvSearch
from cal_pipeline.heterodyne.physics.scale_error import (
    FITTED,
    TERMS,
    Inputs,
    LoadSlopes,
    assess_scale,
    gain_error,
    respond_to_inputs,
    shift_pwv,
)
from cal_pipeline.heterodyne.physics.sky import Air, Opacity, SkyDirection, Surroundings
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation, view_sky
from cal_pipeline.heterodyne.physics.strategies import STRATEGIES, FitSettings
from cal_pipeline.heterodyne.simulate.layers import Profile
from cal_pipeline.heterodyne.simulate.sky import SkyBand

PRESSURE = 52000.0
N_CHANNELS = 48
WIDTH = 1e6
AIRMASSES = (1.1, 1.4, 1.8)
ON_AIRMASS = 1.35
PAIR = np.array([[[0, 0, 2], [0, 1, 2]], [[0, 1, 1], [1, 1, -1]]])
"""OFF of each ON, (R, A, S); no pixel pairs with all of them alike, and one ON has none."""

TRUE_PWV = np.array([[0.5, 0.55], [0.6, 0.45]])
"""Water above each pixel, (R, A) [mm]: what a common PWV cannot follow."""

STEPS = {
    "forward_efficiency": 1e-4,
    "t_hot": 1e-2,
    "t_cold": 1e-2,
    "image_gain": 1e-3,
    "t_ground": 1e-2,
    "profile": 1e-3,
    "dry_opacity": 1e-3,
    "gain": 1e-4,
}
"""By how much each input changes in either direction."""


@dataclass(frozen=True)
class Bench:
    """A receiver of two arrays of two pixels that looks through three layers; what is assumed may differ from it.

    Parameters
    ----------
    image_gain, efficiency : tuple of float
        Of each array.
    band : float
        Width of the band [Hz].
    same_water : bool
        Whether all pixels look through 0.5 mm.
    errors : tuple of (str, float)
        Inputs that the calibration takes wrongly, and by how much.
    """

    image_gain: tuple[float, ...] = (1.0, 0.4)
    efficiency: tuple[float, ...] = (0.95, 0.9)
    first: float = 459e9
    band: float = 1e8
    same_water: bool = False
    isothermal: bool = False
    errors: tuple[tuple[str, float], ...] = ()

    @cached_property
    def nu(self):
        step = self.band / N_CHANNELS
        return self.first + step * np.arange(N_CHANNELS), self.first + 12e9 - step * np.arange(N_CHANNELS)

    @cached_property
    def offset(self):
        return np.zeros(1) if self.isothermal else layer_offset_at(PRESSURE)

    @cached_property
    def counts(self):
        """HOT, COLD and OFFs, which do not know what is assumed; by the layer-by-layer sum of the simulator."""
        shares_b, shares_c = (np.ones(1),) * 2 if self.isothermal else (LAYER_SHARES_B, LAYER_SHARES_C)
        wet, dry = (np.diff(shares, prepend=0.0) for shares in (shares_b, shares_c))
        of = [(b_at(nu, PRESSURE), c_at(nu, PRESSURE)) for nu in self.nu]
        sky = SkyBand(
            *self.nu, *of[0], *of[1], np.array(self.image_gain), np.array(self.efficiency), 1.0, 268.0, 275.0,
            profile=Profile(268.0 + self.offset, wet, dry, np.zeros(wet.size)),
        )  # fmt: skip
        gain = 1000.0 * np.array([[1.0, 1.3], [0.8, 1.1]])
        load = [gain * (120.0 + np.broadcast_to(sky.load(t)[:, None], (N_CHANNELS, 2, 2))) for t in (293.0, 77.0)]
        water = np.full((2, 2), 0.5) if self.same_water else TRUE_PWV
        off = [np.empty((N_CHANNELS, 2, 2)) for _ in AIRMASSES]
        for one, airmass in zip(off, AIRMASSES, strict=True):
            for r, a in np.ndindex(2, 2):
                one[:, r, a] = gain[r, a] * (120.0 + sky.sky(water[r, a], airmass)[:, a])
        return *load, off

    def error(self, name):
        return dict(self.errors).get(name, 0.0)

    def calibrate(self, strategy="full", model_error=0.03):
        """Return observation, water, solution and coefficients of the calibration, with its wrong inputs."""
        hot, cold, off = self.counts
        off = [(1.0 + self.error("gain")) * one for one in off]
        sidebands = Sidebands(*self.nu, np.array(self.image_gain) * np.exp(self.error("image_gain")))
        shares_b, shares_c = (np.ones(1),) * 2 if self.isothermal else (LAYER_SHARES_B, LAYER_SHARES_C)
        b = np.stack([np.multiply.outer(shares_b, b_at(nu, PRESSURE)) for nu in self.nu])
        c = np.stack([np.multiply.outer(shares_c, c_at(nu, PRESSURE)) for nu in self.nu])
        count = 2 if sidebands.has_image else 1
        opacity = Opacity(
            b[:count], (1.0 + self.error("dry_opacity")) * c[:count], (1.0 + self.error("profile")) * self.offset
        )
        f_eff = np.array(self.efficiency) + self.error("forward_efficiency")
        times = np.ones(hot.shape)
        temperatures = 293.0 + self.error("t_hot"), 77.0 + self.error("t_cold")
        means = LoadMeans(hot, cold, times, times, *temperatures)
        solution = solve_loads(means, sidebands, f_eff, 1.0, 0.01, 200.0)
        air = Air.around(sidebands, opacity, f_eff, Surroundings(268.0 + self.error("t_ground"), 275.0))
        towards = [SkyDirection(air, x).against(solution.t_hot_input) for x in AIRMASSES]
        dumps = [np.ones(hot.shape, np.int32) for _ in off]
        view, sky = view_sky(off, dumps, [1.0] * len(off), towards, means, solution, WIDTH)
        observation = SkyObservation(view, sky, model_error)
        given = 0.5 if strategy == "fixed" else None
        settings = FitSettings(PwvSearch((0.001, 10.0), 20), given)
        (water,) = STRATEGIES[strategy]([observation], [PAIR], settings)
        return Calibration(self, observation, water, solution, means, sidebands, f_eff, opacity)


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration."""

    bench: Bench
    observation: object
    water: object
    solution: object
    means: object
    sidebands: object
    f_eff: np.ndarray
    opacity: Opacity

    def log_scale(self):
        """Logarithm of what ON - REF is multiplied by, a constant apart, (C, R, A); mean over the ONs."""
        pwv = np.broadcast_to(self.water.fit.pwv, (2, 2)) if self.water.fit.pwv.ndim < 3 else self.water.fit.pwv
        pwv = np.nanmean(pwv.reshape(2, 2, -1), axis=-1)
        b, c = (values[0, -1][:, None, None] for values in (self.opacity.b, self.opacity.c))
        # A gain that has changed since the loads is in ON - REF too.
        of_counts = np.log1p(self.bench.error("gain"))
        return np.log(self.solution.t_cal) + ON_AIRMASS * (b * pwv + c) + of_counts

    def assess(self, sigmas, bad=None):
        loads = self.means.hot_input, self.means.cold_input
        slopes = LoadSlopes(
            *(load.temperature_slope(self.sidebands) for load in loads),
            *(load.image_gain_slope(self.sidebands) for load in loads),
        )
        shift = np.zeros((len(FITTED), 1, 1))
        if np.isfinite(self.water.fit.error).any():
            sums = respond_to_inputs(self.observation, self.water.match, slopes)
            per = {0: "scan", 2: "pixel", 3: "pair"}[self.water.fit.pwv.ndim]
            shift = shift_pwv([sums], [self.water.match], per, PAIR if per == "pair" else None)
        wet, dry = self.opacity.b[0, -1], self.opacity.c[0, -1]
        bad = np.zeros(self.solution.gamma.shape, bool) if bad is None else bad
        gains, given = self.sidebands.image_gain, dict.fromkeys(TERMS[:-1], 0.0) | sigmas
        return assess_scale(
            Inputs(self.observation, slopes, gains, self.f_eff, wet, dry, ON_AIRMASS, bad), shift, given
        )


def change_of_scale(bench, name, strategy):
    """d ln T_A*/dx by central differences of whole calibrations, (C, R, A)."""
    step = STEPS[name]
    low, high = (replace(bench, errors=((name, sign * step),)).calibrate(strategy).log_scale() for sign in (-1.0, 1.0))
    return (high - low) / (2.0 * step)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair", "fixed"])
@pytest.mark.parametrize("name", FITTED)
def test_a_term_is_what_its_input_does_to_the_scale(name, strategy):
    # A fit without residuals: all pixels see one water where they share a PWV, and the one that is given.
    bench = Bench(same_water=strategy in ("full", "fixed"))
    expected = np.abs(change_of_scale(bench, name, strategy))
    found = bench.calibrate(strategy).assess({name: 1.0})
    noise = found.terms[TERMS.index("load_noise")]
    np.testing.assert_allclose(found.total, np.hypot(expected, noise), rtol=2e-3)
    np.testing.assert_allclose(found.terms[TERMS.index(name)], np.median(expected, axis=0), rtol=2e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FITTED)
def test_of_a_receiver_without_image_and_of_one_layer(name):
    bench = Bench(image_gain=(0.0, 0.0), same_water=True, isothermal=True)
    expected = np.median(np.abs(change_of_scale(bench, name, "full")), axis=0)
    found = bench.calibrate().assess({name: 1.0}).terms[TERMS.index(name)]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)
    if name in ("image_gain", "profile"):
        assert (found == 0.0).all()


@pytest.mark.parametrize("name", ["t_ground", "forward_efficiency", "dry_opacity"])
def test_every_channel_has_the_error_of_its_opacity(name):
    # In the wing of a line of water the opacity changes by half, and with it what a change of PWV does.
    bench = Bench(first=454e9, band=4e9, same_water=True)
    b = b_at(bench.nu[0], PRESSURE)
    assert b.max() > 1.5 * b.min()
    expected = np.abs(change_of_scale(bench, name, "full"))
    found = bench.calibrate().assess({name: 1.0})
    noise = bench.calibrate().assess({}).total
    np.testing.assert_allclose(found.total, np.hypot(expected, noise), rtol=3e-3)


def test_the_error_of_pwv_is_that_of_the_transmission():
    calibration = Bench(same_water=True).calibrate()
    found = calibration.assess({"pwv": 0.01})
    b = calibration.opacity.b[0, -1]
    np.testing.assert_allclose(found.terms[TERMS.index("pwv")], np.median(ON_AIRMASS * b * 0.01), rtol=1e-6)
    each = calibration.assess({"pwv": np.array([[0.01, 0.02], [0.0, np.nan]])})
    relative = each.terms[TERMS.index("pwv")] / found.terms[TERMS.index("pwv")]
    np.testing.assert_allclose(relative, [[1.0, 2.0], [0.0, np.nan]], rtol=1e-6)
    assert each.inputs[TERMS.index("pwv")] is None
    assert found.inputs[TERMS.index("pwv")] == 0.01


def test_noise_of_the_loads_scatters_the_scale():
    # t_cal/(HOT - COLD) of many channels that differ by noise alone.
    calibration = Bench(same_water=True).calibrate()
    noise = calibration.assess({}).terms[TERMS.index("load_noise")]
    rng, (hot, cold, _) = np.random.default_rng(1), Bench().counts
    draws = [counts[24] * (1.0 + rng.normal(size=(20000, 2, 2)) / np.sqrt(WIDTH)) for counts in (hot, cold)]
    np.testing.assert_allclose(noise, np.log(draws[0] - draws[1]).std(axis=0), rtol=0.02)


def test_terms_add_as_squares():
    sigmas = {"forward_efficiency": 0.02, "t_hot": 1.0, "t_cold": 2.0, "t_ground": 2.0, "gain": 0.01, "pwv": 0.01}
    calibration = Bench(same_water=True).calibrate()
    together = calibration.assess(sigmas)
    noise = calibration.assess({}).total.astype(float) ** 2
    alone = [calibration.assess({name: sigma}).total.astype(float) ** 2 - noise for name, sigma in sigmas.items()]
    np.testing.assert_allclose(together.total, np.sqrt(sum(alone) + noise), rtol=1e-5)
    assert together.inputs == (*(sigmas.get(name, 0.0) for name in TERMS[:-1]), 1.0)


def test_channels_that_are_bad_have_none():
    calibration = Bench(same_water=True).calibrate()
    bad = np.zeros((N_CHANNELS, 2, 2), bool)
    bad[:5, 0, 1] = bad[:, 1, 0] = True
    found, whole = (calibration.assess({"t_hot": 1.0}, which) for which in (bad, None))
    np.testing.assert_array_equal(np.isnan(found.total), bad)
    np.testing.assert_array_equal(found.total[~bad], whole.total[~bad])
    assert np.isnan(found.terms[:, 1, 0]).all()
    assert np.isfinite(found.terms[:, 0, 1]).all()


@pytest.mark.slow
def test_bands_that_share_a_pwv_share_its_errors():
    # The band at the line of water decides for both.
    benches = Bench(same_water=True), Bench(first=454e9, band=2e9, same_water=True)

    def fit(benches):
        found = [bench.calibrate() for bench in benches]
        observations = [one.observation for one in found]
        return found, STRATEGIES["full"](observations, [PAIR] * 2, FitSettings(PwvSearch((0.001, 10.0), 20)))

    found, waters = fit(benches)
    one = np.ones((N_CHANNELS, 1, 1))
    sums = [
        respond_to_inputs(calibration.observation, water.match, LoadSlopes(one, one, 0 * one, 0 * one))
        for calibration, water in zip(found, waters, strict=True)
    ]
    shift = shift_pwv(sums, [water.match for water in waters], "scan")[FITTED.index("t_ground")]
    step = STEPS["t_ground"]
    low, high = (
        float(fit([replace(bench, errors=(("t_ground", s * step),)) for bench in benches])[1][0].fit.pwv)
        for s in (-1.0, 1.0)
    )
    assert shift.item() == pytest.approx((high - low) / (2.0 * step), rel=1e-3)


@pytest.mark.parametrize(
    ("drift", "corrected", "age", "expected"),
    [
        (None, False, 900.0, 0.01),
        (None, True, 3600.0, 0.02),
        ([[0.02, np.nan]], False, 900.0, [[0.01, 0.01]]),
        ([[-0.05, 0.001]], True, 900.0, [[0.01, 0.002]]),
    ],
)
def test_error_of_the_gain(drift, corrected, age, expected):
    found = gain_error(None if drift is None else np.array(drift), corrected, age)
    np.testing.assert_allclose(found, expected)
