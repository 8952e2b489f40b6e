"""What a receiver sees beside sky and source."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import zarr
from helpers_atm import under_one_layer, write_test_atm_table

from cal_pipeline.heterodyne.simulate.sky import brightness
from cal_pipeline.simulate import (
    Atmosphere,
    ChopPhaseOffset,
    Imbalance,
    OtfChopped,
    SimulationError,
    SkyWave,
    WarmLayer,
    preset,
    read_truth,
    simulate,
)

OFFSET = np.array([0.0, 2.5e8, 5e8])


@pytest.fixture
def config(tmp_path):
    table = write_test_atm_table(tmp_path / "atm.asdf")

    def make(**changes):
        source = dataclasses.replace(preset("ccat_chai").source, elevation_deg=50.0)
        settings = {"channels": 16, "pixels": 2, "mode": "otf_chopped", "table": str(table), "source": source}
        settings |= {"noise": False, "dtype": "float64", "lines": ()} | changes
        config = preset("ccat_chai", **settings)
        return config if "atmosphere" in changes else under_one_layer(config)

    return make


def counts(config, path, group="source"):
    simulate(config, path)
    return zarr.open_array(path, path=f"scan_000001/{group}/data_5d", mode="r")[...]


def input_temperature(config, tmp_path):
    """Compute the addition to T_in of each subscan (C, D, S) from counts with and without it and the true gain."""
    plain = dataclasses.replace(config, sky_waves=(), imbalance=None, chop_phase_offset=None)
    difference = counts(config, tmp_path / "a.zarr") - counts(plain, tmp_path / "b.zarr")
    gain = read_truth(tmp_path / "a.zarr", 1).gain
    added = difference / gain[:, None, :, :, None]
    np.testing.assert_allclose(added[:, :, 0], added[:, :, 1], atol=1e-8)
    return added[:, :, 0, 0]


def test_phases_of_a_chopped_map():
    sequence = OtfChopped(rows=2, dumps=3, off_exptime=2.0)
    phases = sequence.phases()
    assert [phase.sobsmode for phase in phases] == ["OTFSWA-ON", "OTFSWA-OFF", "OTFSWB-ON", "OTFSWB-OFF"] * 2
    assert [phase.beam for phase in phases[:4]] == ["A", "A", "B", "B"]
    assert [phase.kind for phase in phases[:2]] == ["on", "off"]
    np.testing.assert_array_equal(phases[0].lon, phases[2].lon)
    assert phases[1].exptime == 2.0
    assert (phases[0].lat != phases[4].lat).all()
    assert sequence.per_dump_offsets


@pytest.mark.parametrize(
    ("field", "value"), [("rows", 0), ("dumps", 0), ("exptime", 0.0), ("pattern", ("ON",)), ("pattern", ())]
)
def test_maps_that_are_none_are_refused(field, value):
    with pytest.raises(SimulationError):
        OtfChopped(**{field: value})


@pytest.mark.slow
def test_a_wave_that_moves(config, tmp_path):
    wave = SkyWave(1e9, 3.0, phase_rad=0.5, phase_per_hour=100.0)
    changed = config(sky_waves=(wave,))
    added = input_temperature(changed, tmp_path)
    truth = read_truth(tmp_path / "a.zarr", 1)
    np.testing.assert_allclose(added, truth.added, atol=1e-8)
    hours = 24.0 * (truth.mjd - changed.mjd_start)
    offset = truth.sky.nu_s - changed.receivers[0].signal_freq
    for subscan, now in enumerate(hours):
        expected = 3.0 * np.cos(2 * np.pi * offset / 1e9 + 0.5 + 100.0 * now)
        np.testing.assert_allclose(truth.added[:, 0, subscan], expected, atol=1e-5)


@pytest.mark.slow
def test_loads_see_nothing_of_it(config, tmp_path):
    waves = config(sky_waves=(SkyWave(1e9, 3.0),), imbalance=Imbalance(1.0))
    one, two = (counts(c, tmp_path / f"{k}.zarr", "calibration") for k, c in enumerate((waves, config())))
    np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_beams_that_differ(config, tmp_path):
    added = input_temperature(config(imbalance=Imbalance(2.0)), tmp_path)
    np.testing.assert_allclose(added[0, 0, :4], [2.0, 0.0, -2.0, 0.0], atol=1e-8)


@pytest.mark.slow
def test_chop_phases_that_differ(config, tmp_path):
    added = input_temperature(config(chop_phase_offset=ChopPhaseOffset((0.0, 1.0, -1.0, 0.5))), tmp_path)
    np.testing.assert_allclose(added[3], np.broadcast_to([[0.0], [1.0], [-1.0], [0.5]], (4, 12)), atol=1e-8)


def test_ripples():
    np.testing.assert_allclose(Imbalance(2.0, 1e9).profile(OFFSET), [2.0, 0.0, -2.0], atol=1e-12)
    profile = ChopPhaseOffset((1.0, 3.0), 1e9).profile(OFFSET)
    np.testing.assert_allclose(profile, [[1.0, 3.0], [0.0, 0.0], [-1.0, -3.0]], atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SkyWave(0.0, 1.0),
        lambda: Imbalance(1.0, 0.0),
        lambda: ChopPhaseOffset((1.0,), -1.0),
        lambda: WarmLayer(0.0, ()),
        lambda: WarmLayer(200.0, ((1e9, 0.0, 1.0),)),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(SimulationError):
        make()


def test_another_number_of_chop_phases_is_refused(config, tmp_path):
    with pytest.raises(SimulationError, match="3 chop phase offsets for 4 dumps"):
        simulate(config(chop_phase_offset=ChopPhaseOffset((0.0, 1.0, 2.0))), tmp_path / "s.zarr")


class TestWarmLayer:
    LINES = ((460e9, 2e9, 0.05),)

    def sky(self, config, tmp_path, temperature, name="s.zarr"):
        base = config()
        atmosphere = dataclasses.replace(
            base.atmosphere, layer=None if temperature is None else WarmLayer(temperature, self.LINES)
        )
        simulate(dataclasses.replace(base, atmosphere=atmosphere), tmp_path / name)
        return read_truth(tmp_path / name, 1).sky

    @pytest.mark.slow
    def test_at_the_temperature_of_the_rest_it_is_not_seen(self, config, tmp_path):
        one, two = self.sky(config, tmp_path, None), self.sky(config, tmp_path, 268.0, "b.zarr")
        np.testing.assert_allclose(two.sky(0.5, 1.3), one.sky(0.5, 1.3), rtol=1e-12)
        np.testing.assert_array_equal(two.transmission(0.5, 1.3), one.transmission(0.5, 1.3))

    @pytest.mark.slow
    def test_emission_of_two_layers(self, config, tmp_path):
        sky = self.sky(config, tmp_path, 330.0)
        total = np.zeros(sky.nu_s.size)
        for nu, b, c, layer in (
            (sky.nu_s, sky.b_s, sky.c_s, sky.layer_s),
            (sky.nu_i, sky.b_i, sky.c_i, sky.layer_i),
        ):
            below = np.exp(-1.3 * (0.5 * b + c - layer))
            above = np.exp(-1.3 * layer)
            upper = brightness(nu, 330.0) * (1 - above) + brightness(nu, 2.725) * above
            total += 0.5 * (brightness(nu, 268.0) * (1 - below) + below * upper)
        spill = 0.05 * sky.load(268.0)[:, 0]
        np.testing.assert_allclose(sky.sky(0.5, 1.3)[:, 0], 0.95 * total + spill, rtol=1e-12)

    def test_lines_take_no_more_than_the_dry_opacity(self):
        nu = np.linspace(459e9, 461e9, 5)
        layer = WarmLayer(300.0, ((460e9, 2e9, 0.4),))
        np.testing.assert_allclose(layer.opacity(nu, np.full(5, 0.3)), [0.2, 0.3, 0.3, 0.3, 0.2])


def test_atmosphere_without_a_layer_is_as_before():
    assert Atmosphere().layer is None
