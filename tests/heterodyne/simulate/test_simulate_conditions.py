"""Conditions of an observation: loads that are not as recorded, clouds, emission in the OFF."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import zarr

from cal_pipeline.simulate import (
    Atmosphere,
    Cloud,
    GaussianSource,
    Layers,
    Line,
    Loads,
    Scan,
    SimulationError,
    TotalPower,
    WarmLayer,
    read_truth,
    simulate,
)

HOT, COLD = 0, 1
OFF, ON = 0, 1
AIRMASS = 1.0 / math.sin(float(np.float32(math.radians(50.0))))


def input_temperature(model, group, index):
    """T_in of a noise-free subscan (C, D, R, A), from its counts."""
    gain, t_rec = model.instrument
    return model.counts(group, index, 0, gain.shape[0]) / gain[:, np.newaxis] - t_rec[:, np.newaxis]


class TestLoads:
    def test_true_temperatures_differ_from_the_recorded_ones(self, model, config):
        band = model(config, loads=Loads(hot_offset=2.0, cold_offset=-3.0))
        for index, temperature in ((HOT, 295.0), (COLD, 74.0)):
            seen = input_temperature(band, "calibration", index)
            np.testing.assert_allclose(seen, np.broadcast_to(band.sky.load(temperature)[:, None, None, :], seen.shape))

    def test_the_rest_of_the_beam_sees_the_surroundings(self, model, config):
        band = model(config, loads=Loads(hot_coupling=0.9, cold_coupling=0.8, cold_offset=1.0))
        ambient = band.sky.load(268.0)[:, 0]
        for index, share, temperature in ((HOT, 0.9, 293.0), (COLD, 0.8, 78.0)):
            seen = input_temperature(band, "calibration", index)[:, 0, 0, 0]
            np.testing.assert_allclose(seen, share * band.sky.load(temperature)[:, 0] + (1.0 - share) * ambient)

    @pytest.mark.slow
    def test_l0_and_truth(self, config, tmp_path):
        loads = Loads(hot_offset=2.0, cold_offset=-3.0, cold_coupling=0.9)
        simulate(replace(config, loads=loads), tmp_path / "s.zarr")
        truth = read_truth(tmp_path / "s.zarr", 1)
        assert (truth.t_hot, truth.t_cold, truth.t_ambient) == (293.0, 77.0, 268.0)
        np.testing.assert_allclose(truth.load_input("hot"), truth.sky.load(295.0))
        np.testing.assert_allclose(truth.load_input("cold"), 0.9 * truth.sky.load(74.0) + 0.1 * truth.sky.load(268.0))

    @pytest.mark.slow
    def test_each_array_has_its_own(self, model, config, tmp_path):
        config = replace(config, loads=Loads(hot_offset=(2.0, 0.0), cold_coupling=(1.0, 0.9)))
        band = model(config)
        hot, cold = (input_temperature(band, "calibration", index)[:, 0, 0] for index in (HOT, COLD))
        np.testing.assert_allclose(hot, np.hstack([band.sky.load(295.0), band.sky.load(293.0)])[:, ::2])
        plain = input_temperature(model(config, loads=Loads()), "calibration", COLD)[:, 0, 0]
        np.testing.assert_allclose(cold[:, 0], plain[:, 0])
        np.testing.assert_allclose(cold[:, 1], 0.9 * plain[:, 1] + 0.1 * band.sky.load(268.0)[:, 1])
        simulate(config, tmp_path / "s.zarr")
        truth = read_truth(tmp_path / "s.zarr", 1)
        assert (truth.hot_offset.tolist(), truth.cold_coupling.tolist()) == ([2.0, 0.0], [1.0, 0.9])
        np.testing.assert_allclose(truth.load_input("hot"), hot)
        np.testing.assert_allclose(truth.load_input("cold"), cold)

    def test_loads_of_other_arrays_are_refused(self, model, config):
        with pytest.raises(SimulationError, match=r"hot load of 3 arrays, the receiver has 2"):
            model(config, loads=Loads(hot_offset=(1.0, 2.0, 3.0))).check()
        with pytest.raises(SimulationError, match="one number for all, or one for each"):
            Loads(hot_offset=(1.0, 2.0), cold_coupling=(1.0, 1.0, 0.9))

    @pytest.mark.parametrize(
        "changes", [{"cold_offset": 300.0}, {"cold_offset": -80.0}, {"hot_coupling": 0.0}, {"cold_coupling": 1.1}]
    )
    def test_impossible_loads_are_refused(self, changes):
        with pytest.raises(SimulationError):
            Loads(**changes)


class TestImageGain:
    def test_each_array_has_its_own(self, model, config):
        pair, (one, other) = (0.5, 0.0), (0.5, 0.0)
        band = model(config, receivers=(replace(config.receivers[0], image_gain=pair),))
        for array, gain in enumerate((one, other)):
            alone = model(config, receivers=(replace(config.receivers[0], image_gain=gain),))
            for group, index in (("calibration", HOT), ("source", OFF)):
                seen, expected = (input_temperature(m, group, index)[..., array] for m in (band, alone))
                np.testing.assert_allclose(seen, expected)

    @pytest.mark.slow
    def test_the_truth_of_each_array(self, config, tmp_path):
        receiver = replace(config.receivers[0], image_gain=(1.0, 0.25))
        line = Line(5.0, freq_hz=float(receiver.frequencies()[1][7]), fwhm_hz=1e8)
        simulate(replace(config, receivers=(receiver,), lines=(line,)), tmp_path / "s.zarr")
        truth = read_truth(tmp_path / "s.zarr", 1)
        spectrum = truth.t_a_star()[:, 0, 0, :, 0]
        np.testing.assert_allclose(spectrum[:, 1], 0.25 * spectrum[:, 0])
        np.testing.assert_allclose(truth.t_rec_ssb / truth.t_rec_dsb, np.broadcast_to([2.0, 1.25], (24, 2, 2)))
        data = zarr.open_array(tmp_path / "s.zarr", path="scan_000001/source/data_5d", mode="r")[...]
        (w_s, _), t_s = truth.sky.weights, truth.transmission()[0]
        factor = (w_s * 0.98 * np.array([0.95, 0.9]))[:, None] * t_s[:, None, None, None, :]
        measured = (data[..., truth.on_indices] - data[..., :1]) / truth.gain[:, None, :, :, None] / factor
        np.testing.assert_allclose(measured, truth.t_a_star(), atol=1e-7)


class TestSkies:
    @pytest.mark.slow
    def test_each_scan_has_its_own(self, config, tmp_path):
        wet = replace(config.atmosphere, pwv_mm=2.0, dry_factor=2.0)
        isothermal = replace(config.atmosphere, layers=None)
        scans = (Scan(atmosphere=isothermal), Scan(atmosphere=wet), Scan(atmosphere=wet, pwv_mm=1.0))
        simulate(replace(config, scans=scans), tmp_path / "s.zarr")
        truths = [read_truth(tmp_path / "s.zarr", number) for number in (1, 2, 3)]
        assert [truth.pwv_mm for truth in truths] == [0.5, 2.0, 1.0]
        assert [truth.sky.profile is None for truth in truths] == [True, False, False]
        np.testing.assert_allclose(truths[1].sky.c_s, 2.0 * truths[0].sky.c_s)
        np.testing.assert_array_equal(truths[1].sky.b_s, truths[0].sky.b_s)

    def test_water_that_changes_over_the_field(self, model, config):
        band = model(config, atmosphere=replace(config.atmosphere, pwv_per_deg=10.0))
        seen = input_temperature(band, "source", OFF)
        for receiver, pwv in enumerate((0.5, 0.6)):
            even = model(config, atmosphere=replace(config.atmosphere, pwv_mm=pwv))
            np.testing.assert_allclose(seen[:, :, receiver], input_temperature(even, "source", OFF)[:, :, receiver])

    @pytest.mark.parametrize("changes", [{"dry_factor": -0.1}, {"dry_factor": math.inf}])
    def test_impossible_skies_are_refused(self, changes):
        with pytest.raises(SimulationError, match="dry_factor"):
            Atmosphere(**changes)

    def test_a_field_that_runs_dry_is_refused(self, model, config):
        with pytest.raises(SimulationError, match="pwv_per_deg makes the PWV of a pixel negative"):
            model(config, atmosphere=Atmosphere(pwv_mm=0.05, pwv_per_deg=-10.0)).check()


class TestClouds:
    def test_a_passage_and_a_jump(self):
        passage, jump = Cloud(60.0, 30.0), Cloud(60.0)
        assert [passage.amplitude(t / 3600.0) for t in (45.0, 60.0, 75.0)] == pytest.approx([0.5, 1.0, 0.5])
        assert [jump.amplitude(t / 3600.0) for t in (0.0, 59.9, 60.1, 1e5)] == [0.0, 0.0, 1.0, 1.0]

    def test_water_and_liquid_add_up(self):
        clouds = (Cloud(0.0, pwv_mm=0.2, opacity=0.1), Cloud(36.0, pwv_mm=-0.05), Cloud(1e6, opacity=1.0))
        sky = Atmosphere(pwv_mm=0.5, pwv_per_hour=1.0, clouds=clouds)
        assert sky.pwv_change(0.02) == pytest.approx(0.02 + 0.2 - 0.05)
        assert sky.grey_opacity(0.02) == pytest.approx(0.1)

    @pytest.mark.slow
    @pytest.mark.parametrize("layers", [None, Layers()])
    def test_successive_offs_differ_and_the_truth_knows(self, config, tmp_path, layers):
        sky = replace(config.atmosphere, layers=layers, clouds=(Cloud(60.0, 40.0, pwv_mm=0.3, opacity=0.1),))
        pattern = TotalPower(pattern=("OFF", "ON"), cycles=4, dumps=3)
        simulate(replace(config, atmosphere=sky, sequence=pattern), tmp_path / "s.zarr")
        truth = read_truth(tmp_path / "s.zarr", 1)
        seconds = 86400.0 * (truth.mjd - truth.mjd_start)
        amplitude = 2.0 ** (-((2.0 * (seconds - 60.0) / 40.0) ** 2))
        np.testing.assert_allclose(truth.pwv, 0.5 + 0.3 * amplitude, atol=1e-6)
        np.testing.assert_allclose(truth.grey, 0.1 * amplitude, atol=1e-6)
        assert np.ptp(truth.pwv[~truth.on]) > 0.1
        on = truth.on_indices
        tau = truth.sky.b_s[:, None] * truth.pwv[on] + truth.sky.c_s[:, None] + truth.grey[on]
        np.testing.assert_allclose(truth.transmission()[0], np.exp(-AIRMASS * tau))
        np.testing.assert_allclose(truth.tau_signal, truth.sky.b_s * truth.pwv_mm + truth.sky.c_s + truth.grey_opacity)

    @pytest.mark.parametrize("layers", [None, Layers()])
    def test_counts_are_those_of_the_cloudy_sky(self, model, config, layers):
        line = Line(3.0, sidebands="signal")
        sky = replace(config.atmosphere, layers=layers, clouds=(Cloud(0.0, opacity=0.2),))
        band = model(config, atmosphere=sky, lines=(line,))
        off, on = input_temperature(band, "source", OFF), input_temperature(band, "source", ON)
        np.testing.assert_allclose(off[:, 0, 0], band.sky.sky(0.5, AIRMASS, 0.2), rtol=1e-9)
        expected = 3.0 * 0.5 * 0.98 * 0.95 * np.exp(-AIRMASS * (band.sky.b_s * 0.5 + band.sky.c_s + 0.2))
        np.testing.assert_allclose((on - off)[:, 0, 0, 0], expected, rtol=1e-8)

    def test_a_cloud_near_the_ground_is_warmer_than_a_high_one(self, model, config):
        skies = []
        for height in (0.2, 5.0):
            sky = replace(config.atmosphere, layers=Layers(cloud_km=height), clouds=(Cloud(0.0, opacity=0.2),))
            skies.append(input_temperature(model(config, atmosphere=sky), "source", OFF))
        assert (skies[0] > skies[1] + 1.0).all()

    @pytest.mark.parametrize("make", [lambda: Cloud(0.0, 0.0), lambda: Cloud(0.0, opacity=-0.1)])
    def test_impossible_clouds_are_refused(self, make):
        with pytest.raises(SimulationError):
            make()

    def test_a_patch_drier_than_dry_is_refused(self, model, config):
        sky = replace(config.atmosphere, clouds=(Cloud(0.0, pwv_mm=-1.0),))
        with pytest.raises(SimulationError, match="pwv_per_hour or a cloud makes the PWV negative"):
            model(config, atmosphere=sky)


def test_lines_that_the_table_does_not_hold(model, config):
    unknown = WarmLayer(220.0, ((461.0e9, 2e8, 0.4),))
    band, plain = (model(config, atmosphere=replace(config.atmosphere, unknown=u)) for u in (unknown, None))
    np.testing.assert_array_equal(band.sky.c_s, plain.sky.c_s)
    ratio = band.sky.transmission(0.5, AIRMASS)[0] / plain.sky.transmission(0.5, AIRMASS)[0]
    np.testing.assert_allclose(ratio, np.exp(-AIRMASS * unknown.opacity(band.sky.nu_s)))
    excess = (input_temperature(band, "source", OFF) - input_temperature(plain, "source", OFF))[:, 0, 0, 0]
    # A 220 K line above a sky of 268 K, in an image that is dark: its emission is what counts.
    assert 11 <= np.argmax(excess) <= 12
    assert excess.max() > 20.0


class TestSourceInTheOff:
    def test_it_is_seen_through_the_sky_of_the_off(self, model, config):
        line = Line(3.0, sidebands="signal", off_amplitude=0.2)
        band, empty = model(config, lines=(line,)), model(config)
        excess = input_temperature(band, "source", OFF) - input_temperature(empty, "source", OFF)
        response = band.sky.line_response(0.5, AIRMASS)[0]
        np.testing.assert_allclose(excess, np.broadcast_to(0.6 * response[:, None, None], excess.shape), rtol=1e-7)

    @pytest.mark.slow
    def test_on_minus_off_is_the_difference_of_the_truths(self, config, tmp_path):
        nu_i = config.receivers[0].frequencies()[1]
        lines = (
            Line(3.0, source=GaussianSource(0.02), off_amplitude=0.2),
            Line(5.0, freq_hz=float(nu_i[7]), fwhm_hz=1e8, off_amplitude=0.5),
        )
        simulate(replace(config, lines=lines), tmp_path / "s.zarr")
        truth = read_truth(tmp_path / "s.zarr", 1)
        data = zarr.open_array(tmp_path / "s.zarr", path="scan_000001/source/data_5d", mode="r")[...]
        t_s = truth.transmission()[0]
        factor = 0.5 * 0.98 * np.array([0.95, 0.9])[:, None] * t_s[:, None, None, None, :]
        measured = (data[..., truth.on_indices] - data[..., :1]) / truth.gain[:, None, :, :, None] / factor
        expected = truth.t_a_star() - truth.t_a_star_off()[:, None, None, :, :1]
        np.testing.assert_allclose(measured, expected, atol=1e-7)
        assert truth.t_a_star_off().shape == (24, 2, 2)
        np.testing.assert_allclose(truth.t_a_star_off(image=False), 0.6)

    @pytest.mark.slow
    def test_without_a_line_the_off_is_empty(self, config, tmp_path):
        simulate(config, tmp_path / "s.zarr")
        assert not read_truth(tmp_path / "s.zarr", 1).t_a_star_off().any()
