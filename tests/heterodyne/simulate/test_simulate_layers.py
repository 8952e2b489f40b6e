"""A layered sky, against limits known in closed form and a numerical integral of the transfer equation."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import asdf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from cal_pipeline.heterodyne.physics.constants import T_CMB
from cal_pipeline.heterodyne.simulate.atmosphere import AtmosphereTable
from cal_pipeline.heterodyne.simulate.layers import Layers, Profile
from cal_pipeline.heterodyne.simulate.sky import SkyBand, brightness, emission
from cal_pipeline.simulate import AirColumn, Atmosphere, Cloud, SimulationError, WarmLayer, read_truth, simulate

NU = np.array([461.0e9, 810.0e9])
GROUND, PRESSURE = 268.0, 51500.0


def sky_of(layers: Layers | None, wet: float, dry: float, **changes: object) -> SkyBand:
    """A single-sideband sky without spillover, with zenith opacities of 1 mm."""
    b, c, nothing = np.full(2, wet), np.full(2, dry), np.full(2, np.nan)
    profile = None if layers is None else layers.profile(GROUND, PRESSURE)
    band = SkyBand(NU, nothing, b, c, nothing, nothing, 0.0, np.ones(1), 1.0, GROUND, GROUND, profile=profile)
    return replace(band, **changes)


def integral(layers: Layers, wet: float, dry: float, nu: float) -> float:
    """The transfer equation over height, for the continuous profile that the layers approximate."""

    def column(z: float, scale: float) -> float:
        return -math.expm1(-z / scale) / -math.expm1(-layers.top_km / scale)

    def per_km(z: float, scale: float) -> float:
        return math.exp(-z / scale) / scale / -math.expm1(-layers.top_km / scale)

    def shining(z: float) -> float:
        absorption = wet * per_km(z, layers.wet_scale_km) + dry * per_km(z, layers.dry_scale_km)
        below = wet * column(z, layers.wet_scale_km) + dry * column(z, layers.dry_scale_km)
        temperature = layers.temperature(np.array(z), GROUND, PRESSURE)
        return absorption * math.exp(-below) * float(brightness(np.array(nu), temperature))

    breaks = (0.0, 0.5, float(layers.tropopause_km or 0.0), layers.top_km)
    pieces = [quad(shining, *ends, epsrel=1e-10, limit=200)[0] for ends in itertools.pairwise(breaks)]
    return sum(pieces) + float(brightness(np.array(nu), T_CMB)) * math.exp(-wet - dry)


class TestProfile:
    @pytest.mark.slow
    @given(
        st.integers(1, 200),
        st.floats(0.3, 10.0),
        st.floats(0.3, 10.0),
        st.floats(0.0, 1.0),
        st.floats(0.0, 30.0),
    )
    def test_the_shares_of_all_layers_add_up_to_the_opacity_of_the_table(self, number, wet, dry, ozone, height):
        layers = Layers(number=number, wet_scale_km=wet, dry_scale_km=dry, ozone_fraction=ozone, ozone_km=height)
        profile = layers.profile(GROUND, PRESSURE)
        for share in (profile.wet, profile.dry, profile.cloud):
            assert share.min() >= 0.0
            assert share.sum() == pytest.approx(1.0, rel=1e-12)

    def test_the_temperature_falls_up_to_the_tropopause(self):
        layers = Layers(lapse_rate=6.5, tropopause_km=8.0)
        np.testing.assert_allclose(
            layers.temperature(np.array([0.0, 2.0, 8.0, 20.0]), GROUND, PRESSURE), [268.0, 255.0, 216.0, 216.0]
        )

    def test_the_ground_may_be_colder_than_what_is_recorded(self):
        assert Layers(t_ground=260.0).temperature(np.zeros(1), GROUND, PRESSURE)[0] == 260.0

    def test_the_tropopause_of_the_standard_atmosphere(self):
        # 1013.25 hPa and 288.15 K at sea level: 11 km and 216.65 K (US Standard Atmosphere 1976).
        assert Layers().temperature(np.array([50.0]), 288.15, 101325.0)[0] == pytest.approx(216.65, abs=0.01)
        # Isothermal: the pressure halves in ln 2 times the scale height R T/(g M).
        cold = Layers(lapse_rate=0.0)._tropopause(216.65, 2.0 * 22632.0)
        assert cold == pytest.approx(216.65 / 34.1632 * math.log(2.0))

    def test_above_the_tropopause_the_sky_is_isothermal(self):
        assert np.ptp(Layers().profile(217.0, 17900.0).temperature) == 0.0

    def test_ozone_and_clouds_are_at_their_heights(self):
        layers = Layers(ozone_fraction=1.0, ozone_km=16.0, ozone_width_km=2.0, cloud_km=1.0, top_km=30.0)
        profile, edges = layers.profile(GROUND, PRESSURE), 30.0 * (np.arange(61) / 60) ** 2
        middles = (edges[1:] + edges[:-1]) / 2.0
        assert np.dot(profile.dry, middles) == pytest.approx(16.0, abs=0.05)
        cloud = int(np.argmax(profile.cloud))
        assert edges[cloud] <= 1.0 < edges[cloud + 1]

    @pytest.mark.parametrize(
        "changes",
        [
            {"lapse_rate": math.nan},
            {"number": 0},
            {"wet_scale_km": 0.0},
            {"dry_scale_km": math.inf},
            {"ozone_fraction": 1.5},
            {"ozone_km": 50.0, "ozone_fraction": 0.1},
            {"cloud_km": -1.0},
            {"tropopause_km": -1.0},
        ],
    )
    def test_impossible_layers_are_refused(self, changes):
        with pytest.raises(SimulationError, match=next(iter(changes))):
            Layers(**changes)

    def test_layers_and_one_temperature_contradict_each_other(self):
        with pytest.raises(SimulationError, match="give layers or t_atm"):
            Atmosphere(layers=Layers(), t_atm=260.0)

    def test_a_sky_that_gets_too_cold_is_refused(self):
        with pytest.raises(SimulationError, match=r"lapse_rate 40\.0 K/km up to 10 km makes -132 K"):
            Layers(lapse_rate=40.0, tropopause_km=10.0).profile(GROUND, PRESSURE)


class TestLimits:
    @pytest.mark.slow
    @given(st.floats(0.0, 20.0), st.floats(0.0, 5.0), st.floats(1.0, 5.0))
    def test_layers_at_one_temperature_are_the_isothermal_sky(self, wet, dry, airmass):
        layered, plain = sky_of(Layers(lapse_rate=0.0), wet, dry), sky_of(None, wet, dry)
        np.testing.assert_allclose(layered.sky(1.0, airmass), plain.sky(1.0, airmass), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(layered.transmission(1.0, airmass), plain.transmission(1.0, airmass))

    def test_an_opaque_sky_shows_the_lowest_layer(self):
        layers = Layers()
        lowest = layers.profile(GROUND, PRESSURE).temperature[0]
        np.testing.assert_allclose(sky_of(layers, 1e5, 0.0).sky(1.0, 1.0)[:, 0], brightness(NU, lowest), rtol=1e-12)

    @pytest.mark.parametrize(("wet", "dry"), [(1e-7, 0.0), (0.0, 1e-7), (1e-7, 3e-7)])
    def test_a_thin_sky_shows_the_mean_weighted_with_opacity(self, wet, dry):
        layers = Layers()
        profile = layers.profile(GROUND, PRESSURE)
        share = (wet * profile.wet + dry * profile.dry) / (wet + dry)
        mean = share @ brightness(NU, profile.temperature[:, np.newaxis])
        background = brightness(NU, T_CMB)
        emitted = sky_of(layers, wet, dry).sky(1.0, 1.0)[:, 0] - background
        np.testing.assert_allclose(emitted / (wet + dry), mean - background, rtol=1e-6)

    @pytest.mark.slow
    @given(st.floats(1e-3, 10.0), st.floats(1e-3, 1.0))
    def test_the_faster_it_gets_cold_the_colder_it_is(self, wet, dry):
        rates = (-2.0, 0.0, 4.0, 6.5, 9.8)
        skies = [sky_of(Layers(lapse_rate=rate, tropopause_km=8.0), wet, dry).sky(1.0, 1.0) for rate in rates]
        assert (np.diff(skies, axis=0) < 0.0).all()

    def test_two_layers_by_hand(self):
        tau, temperature = np.array([[0.3, 0.4], [0.5, 0.1]]), np.array([260.0, 220.0])
        low, high, sky = (brightness(NU, t) for t in (260.0, 220.0, T_CMB))
        first, second = np.exp(-tau)
        expected = low * (1 - first) + first * (high * (1 - second) + second * sky)
        np.testing.assert_allclose(emission(NU, tau, temperature), expected, rtol=1e-14)


class TestAgainstTheIntegral:
    @pytest.mark.parametrize("tau", [(0.01, 0.01), (0.3, 0.1), (1.0, 0.2), (3.0, 0.5), (30.0, 1.0)])
    def test_sixty_layers_are_right_to_1e_4(self, tau):
        layers = Layers(tropopause_km=6.0)
        result = sky_of(layers, *tau).sky(1.0, 1.0)[:, 0]
        np.testing.assert_allclose(result, [integral(layers, *tau, nu) for nu in NU], rtol=1e-4)

    def test_the_error_falls_with_the_square_of_the_number(self):
        errors = []
        for number in (30, 60, 120, 240):
            layers = Layers(tropopause_km=6.0, number=number)
            result = sky_of(layers, 0.5, 0.2).sky(1.0, 1.0)[0, 0]
            errors.append(abs(result / integral(layers, 0.5, 0.2, NU[0]) - 1.0))
        ratios = np.array(errors[:-1]) / errors[1:]
        assert ((ratios > 2.5) & (ratios < 6.0)).all()
        assert errors[-1] < 1e-5


class TestSkyBand:
    def test_both_sidebands_and_spillover(self):
        profile = Profile(*(np.array(pair) for pair in ((260.0, 220.0), (0.7, 0.3), (0.4, 0.6), (1.0, 0.0))))
        b, c = np.array([0.4, 0.5]), np.array([0.1, 0.2])
        sky = SkyBand(NU, NU + 1e10, b, c, 2 * b, 2 * c, 0.5, np.array([0.9]), 1.0, 0.0, 280.0, profile=profile)
        total = np.zeros(2)
        for weight, nu, factor in ((2 / 3, NU, 1.0), (1 / 3, NU + 1e10, 2.0)):
            tau = 1.2 * np.array([factor * (0.7 * 0.8 * b + 0.4 * c) + 0.05, factor * (0.3 * 0.8 * b + 0.6 * c)])
            total += weight * emission(nu, tau, profile.temperature)
        np.testing.assert_allclose(sky.sky(0.8, 1.2, 0.05)[:, 0], 0.9 * total + 0.1 * sky.load(280.0)[:, 0], rtol=1e-12)

    def test_channels_keep_their_layers(self):
        sky = sky_of(Layers(), 0.5, 0.1)
        np.testing.assert_allclose(sky.channels(1, 2).sky(1.0, 1.0), sky.sky(1.0, 1.0)[1:], rtol=1e-14)

    def test_a_warm_layer_at_the_temperature_of_the_rest_is_not_seen(self):
        layers, layer = Layers(lapse_rate=0.0), np.array([0.05, 0.1])
        one = sky_of(layers, 0.5, 0.2, layer_s=layer, layer_i=layer, t_layer=GROUND)
        np.testing.assert_allclose(one.sky(1.0, 1.3), sky_of(None, 0.5, 0.2).sky(1.0, 1.3), rtol=1e-12)

    @pytest.mark.parametrize("layers", [None, Layers(lapse_rate=0.0)])
    def test_a_warm_layer_is_the_same_with_and_without_layers_below(self, layers):
        layer = np.array([0.05, 0.1])
        changes = {"layer_s": layer, "layer_i": layer, "t_layer": 330.0}
        below, above = np.exp(-(0.7 - layer)), np.exp(-layer)
        upper = brightness(NU, 330.0) * (1 - above) + brightness(NU, T_CMB) * above
        expected = brightness(NU, GROUND) * (1 - below) + below * upper
        np.testing.assert_allclose(sky_of(layers, 0.5, 0.2, **changes).sky(1.0, 1.0)[:, 0], expected, rtol=1e-12)

    @pytest.mark.parametrize("layers", [None, Layers(lapse_rate=0.0)])
    def test_unknown_lines_absorb_and_shine_on_top_of_the_table(self, layers):
        unknown = np.array([0.3, 0.0])
        sky = sky_of(layers, 0.5, 0.2, unknown_s=unknown, unknown_i=unknown, t_unknown=220.0)
        np.testing.assert_allclose(sky.transmission(1.0, 1.0)[0], np.exp(-0.7 - unknown))
        upper = brightness(NU, 220.0) * (1 - np.exp(-unknown)) + brightness(NU, T_CMB) * np.exp(-unknown)
        expected = brightness(NU, GROUND) * (1 - np.exp(-0.7)) + np.exp(-0.7) * upper
        np.testing.assert_allclose(sky.sky(1.0, 1.0)[:, 0], expected, rtol=1e-12)


@pytest.mark.slow
def test_the_truth_holds_the_layers(config, tmp_path):
    atmosphere = replace(
        config.atmosphere,
        layers=Layers(t_ground=264.0),
        layer=WarmLayer(330.0, ((460.8e9, 1e8, 0.02),)),
        unknown=WarmLayer(220.0, ((461.2e9, 1e8, 0.3),)),
    )
    simulate(replace(config, atmosphere=atmosphere, lines=()), tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    expected = Layers(t_ground=264.0).profile(268.0, 51500.0)
    np.testing.assert_allclose(truth.sky.profile.temperature, expected.temperature, rtol=1e-8)
    assert truth.parameters["atmosphere"]["layers"]["t_ground"] == 264.0
    assert truth.sky.unknown_s.max() == pytest.approx(0.3, rel=0.2)
    simulate(replace(config, lines=()), tmp_path / "plain.zarr")
    plain = read_truth(tmp_path / "plain.zarr", 1)
    assert (truth.t_sys() != plain.t_sys()).all()
    np.testing.assert_array_equal(truth.sky.b_s, plain.sky.b_s)


def test_an_on_without_a_source_measures_the_layered_sky(model, config):
    band = model(config, atmosphere=Atmosphere(layers=Layers()))
    subscan = band.subscans("source")[0]
    gain, t_rec = band.instrument
    measured = band.counts("source", 0, 0, 24) / gain[:, None] - t_rec[:, None]
    expected = np.broadcast_to(band.sky.sky(subscan.pwv, subscan.airmass)[:, None, None], measured.shape)
    np.testing.assert_allclose(measured, expected, rtol=1e-9)


def test_a_table_of_layers_counts_as_a_whole(table_path, tmp_path):
    with asdf.open(table_path, memmap=False, lazy_load=False) as file:
        tree = {key: file[key] for key in ("frequency", "pressure", "b", "c")}
        tree |= {key: np.stack([0.3 * tree[key], tree[key]], axis=1) for key in ("b", "c")}
        asdf.AsdfFile(tree | {"version": 2, "layer_offset": np.zeros((5, 2))}).write_to(tmp_path / "t.asdf")
    nu = np.array([461e9])
    whole, plain = (AtmosphereTable.read(path).coefficients(nu, 5e4) for path in (tmp_path / "t.asdf", table_path))
    np.testing.assert_array_equal(whole, plain)


class TestAirColumn:
    NU_OF_LAYERS = np.array([400e9, 500e9])

    def column(self, **changes):
        wet = np.array([[0.4, 0.6], [0.2, 0.2], [0.0, 0.0]])
        dry = np.array([[0.0, 0.0], [0.05, 0.05], [0.1, 0.3]])
        values = {
            "frequency": self.NU_OF_LAYERS,
            "wet": wet,
            "dry": dry,
            "temperature": np.array([265.0, 250.0, 220.0]),
        }
        return AirColumn(**values | changes)

    def test_totals_and_shares_at_a_frequency_between(self):
        nu = np.array([450e9])
        b, c = self.column().coefficients(nu, 1.0)
        assert (b.item(), c.item()) == pytest.approx((0.7, 0.25))
        profile = self.column().profile(nu)
        np.testing.assert_allclose(profile.wet[:, 0], [5 / 7, 2 / 7, 0.0])
        np.testing.assert_allclose(profile.dry[:, 0], [0.0, 0.2, 0.8])

    @pytest.mark.slow
    def test_counts_are_those_of_its_layers(self, config, tmp_path):
        column = self.column(cloud_layer=1)
        clouds = (Cloud(0.0, opacity=0.05),)
        receiver = replace(config.receivers[0], image_freq=485e9)
        sky = Atmosphere(pwv_mm=0.8, layers=column, clouds=clouds)
        simulate(replace(config, receivers=(receiver,), atmosphere=sky), tmp_path / "s.zarr")
        truth = read_truth(tmp_path / "s.zarr", 1)
        seen = truth.sky.sky(0.8, 1.3, 0.05)[:, 0]
        total = np.zeros(seen.size)
        for nu in receiver.frequencies():
            at = (nu - 400e9) / 100e9
            wet, dry = (v[:, :1] + (v[:, 1:] - v[:, :1]) * at for v in (column.wet, column.dry))
            tau = 1.3 * (0.8 * wet + dry + np.array([[0.0], [0.05], [0.0]]))
            total += 0.5 * emission(nu, tau, column.temperature)
        np.testing.assert_allclose(seen, 0.95 * total + 0.05 * truth.sky.load(268.0)[:, 0], rtol=1e-9)
        assert truth.parameters["atmosphere"]["layers"]["wet"] == "array of shape (3, 2)"

    def test_a_layer_without_opacity_has_equal_shares(self):
        column = self.column(dry=np.zeros((3, 2)))
        np.testing.assert_allclose(column.profile(np.array([450e9])).dry[:, 0], 1 / 3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"wet": np.zeros((2, 2))}, "must be \\(layer, frequency\\) = \\(3, 2\\)"),
            ({"dry": np.full((3, 2), -0.1)}, "must not be negative"),
            ({"frequency": np.array([500e9, 400e9])}, "must ascend"),
            ({"temperature": np.array([0.0, 250.0, 220.0])}, "must be positive"),
            ({"cloud_layer": 3}, "cloud_layer 3 of 3 layers"),
        ],
    )
    def test_impossible_layers_are_refused(self, changes, message):
        with pytest.raises(SimulationError, match=message):
            self.column(**changes)

    def test_other_frequencies_are_refused(self):
        with pytest.raises(SimulationError, match="810 to 810 GHz is outside that of the layers, 400 to 500 GHz"):
            self.column().coefficients(np.array([810e9]), 1.0)

    def test_a_table_beside_it_is_refused(self):
        with pytest.raises(SimulationError, match=r"give them or the table t\.asdf"):
            Atmosphere(layers=self.column(), table="t.asdf")
