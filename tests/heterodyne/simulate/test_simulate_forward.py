import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_pipeline.heterodyne.simulate.forward import FILL, to_integers
from cal_pipeline.heterodyne.simulate.presets import preset
from cal_pipeline.simulate import (
    DeadChannels,
    Drift,
    Faults,
    GaussianSource,
    Line,
    Loads,
    MissingDumps,
    SimulationError,
    Spur,
    TotalPower,
)

HOT, COLD = 0, 1
OFF, ON = 0, 1


def input_temperature(model, group, index):
    """T_in of a noise-free subscan, from its counts."""
    gain, t_rec = model.instrument
    counts = model.counts(group, index, 0, gain.shape[0])
    return (counts - model.receiver.zero_level) / gain[:, np.newaxis] - t_rec[:, np.newaxis]


def test_loads_are_seen_at_their_sideband_average(model, config):
    band = model(config)
    np.testing.assert_allclose(
        input_temperature(band, "calibration", HOT),
        np.broadcast_to(band.sky.load(293.0)[:, None, None, :], (24, 4, 2, 2)),
    )


def test_the_y_factor_gives_the_receiver_temperature(model, config):
    receiver = replace(config.receivers[0], t_rec_spread=0.1, t_rec_slope=0.2, gain_spread=0.3)
    band = model(config, receivers=(receiver,))
    hot, cold = (band.counts("calibration", index, 0, 24) for index in (HOT, COLD))
    y = (hot / cold)[:, 0]
    t_hot, t_cold = (band.sky.load(t)[:, None, :] for t in (293.0, 77.0))
    np.testing.assert_allclose((t_hot - y * t_cold) / (y - 1.0), band.instrument[1])


def test_the_off_is_the_sky_and_the_on_has_the_line_on_top(model, config):
    line = Line(t_peak=3.0, sidebands="signal")
    band = model(config, lines=(line,))
    airmass = 1.0 / math.sin(float(np.float32(math.radians(50.0))))
    off, on = input_temperature(band, "source", OFF), input_temperature(band, "source", ON)
    np.testing.assert_allclose(off, np.broadcast_to(band.sky.sky(0.5, airmass)[:, None, None], off.shape))
    t_s, _ = band.sky.transmission(0.5, airmass)
    expected = 3.0 * 0.5 * 0.98 * np.array([0.95, 0.9]) * t_s[:, None]
    np.testing.assert_allclose(on - off, np.broadcast_to(expected[:, None, None], on.shape), rtol=1e-9)


def test_a_line_shows_in_the_sideband_that_holds_it(model, config):
    receiver = config.receivers[0]
    nu_s, nu_i = receiver.frequencies()
    for freq, channel, which in ((nu_s[5], 5, 0), (nu_i[17], 17, 1)):
        band = model(config, lines=(Line(t_peak=1.0, freq_hz=float(freq), fwhm_hz=5.0e7),))
        excess = input_temperature(band, "source", ON) - input_temperature(band, "source", OFF)
        assert np.argmax(excess[:, 0, 0, 0]) == channel
        airmass = 1.0 / math.sin(float(np.float32(math.radians(50.0))))
        t_r = band.sky.transmission(0.5, airmass)[which][channel]
        assert excess[channel, 0, 0, 0] == pytest.approx(0.5 * 0.95 * 0.98 * t_r)


def test_each_pixel_sees_the_source_at_its_own_place(model, config):
    # The second pixel stands 0.01 deg to the side: half a beam makes it half as bright.
    line = Line(t_peak=1.0, source=GaussianSource(fwhm_deg=0.02))
    band = model(config, lines=(line,))
    amplitude = band.amplitudes(band.subscans("source")[ON])
    assert amplitude.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(amplitude[0, :, 0], 1.0)
    np.testing.assert_allclose(amplitude[0, :, 1], 0.5)


def test_zero_is_what_comes_without_input(model, config):
    receiver = replace(config.receivers[0], zero_level=1234.0)
    loads = Loads(pattern=("HOT", "COL", "ZERO", "SKY"))
    band = model(config, receivers=(receiver,), loads=loads)
    np.testing.assert_array_equal(band.counts("calibration", 2, 0, 24), 1234.0)
    sky = input_temperature(band, "calibration", 3)
    np.testing.assert_allclose(sky[:, :3], input_temperature(band, "source", OFF))


def test_noise_obeys_the_radiometer_equation(model, config):
    receiver = replace(config.receivers[0], channels=1500)
    sequence = TotalPower(dumps=8, exptime=0.5)
    quiet = model(config, receivers=(receiver,), sequence=sequence)
    noisy = model(config, receivers=(receiver,), sequence=sequence, noise=True, seed=7)
    for group, index in (("calibration", HOT), ("source", OFF)):
        mean, counts = (band.counts(group, index, 0, 1500) for band in (quiet, noisy))
        exptime = 2.0 if group == "calibration" else 0.5
        sigma = mean / math.sqrt(1.0e9 / 1500 * exptime)  # flat gain: counts are proportional to T_rec + T_in
        normal = (counts - mean) / sigma
        number = normal.size
        assert abs(normal.mean()) < 4.0 / math.sqrt(number)
        assert normal.std() == pytest.approx(1.0, abs=4.0 / math.sqrt(2.0 * number))
        assert abs(np.mean(normal[1:] * normal[:-1])) < 4.0 / math.sqrt(number)


def test_subscans_and_pixels_have_noise_of_their_own(model, config):
    band = model(config, noise=True)
    first, second = band.counts("source", 1, 0, 24), band.counts("source", 2, 0, 24)
    assert not np.any(first == second)
    assert np.unique(first).size == first.size


@pytest.mark.slow
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds=st.tuples(st.integers(0, 599), st.integers(1, 600)).filter(lambda pair: pair[0] < pair[1]))
def test_counts_do_not_depend_on_how_channels_are_grouped(model, config, bounds):
    receiver = replace(config.receivers[0], channels=600)
    band = model(config, receivers=(receiver,), sequence=TotalPower(dumps=1), noise=True, lines=(Line(2.0),))
    whole = band.counts("source", 1, 0, 600)
    np.testing.assert_array_equal(band.counts("source", 1, *bounds), whole[slice(*bounds)])


def test_gain_and_offset_drift_linearly_from_the_start(model, config):
    drifting = Drift(gain_per_hour=0.3, offset_per_hour=20.0)
    steady, band = model(config), model(config, drift=drifting)
    for index, subscan in enumerate(band.subscans("source")):
        hours = (subscan.mjd - config.mjd_start) * 24.0
        before, after = (b.counts("source", index, 0, 24) for b in (steady, band))
        expected = before * (1.0 + 0.3 * hours) + 20000.0 * 20.0 * hours
        np.testing.assert_allclose(after, expected, rtol=1e-7)


def test_drift_may_run_on_inside_a_subscan(model, config):
    drift = Drift(gain_per_hour=36.0)  # 1 % a second
    stepped, running = model(config, drift=drift), model(config, drift=replace(drift, per_dump=True))
    steps, ramp = (band.counts("source", OFF, 0, 24) for band in (stepped, running))
    np.testing.assert_array_equal(steps, steps[:, :1].repeat(3, axis=1))
    np.testing.assert_allclose(np.diff(ramp, axis=1), 0.01 * model(config).counts("source", OFF, 0, 24)[:, :2])
    np.testing.assert_allclose(ramp.mean(axis=1), steps.mean(axis=1))


def test_faults_are_where_they_were_put(model, config):
    faults = Faults(
        missing=(MissingDumps(1, dumps=(0, 2), receiver=1), MissingDumps(0, group="calibration", array=0)),
        dead=(DeadChannels(3, 5), DeadChannels(10, 11, receiver=0, array=1)),
        spurs=(Spur(7, 50.0, width=2, kinds=("on",), dumps=(1,), receiver=0), Spur(20, 9.0)),
    )
    band, clean = model(config, faults=faults), model(config)
    on = band.counts("source", ON, 0, 24)
    lost = np.zeros(on.shape, dtype=bool)
    lost[:, [0, 2], 1] = True
    np.testing.assert_array_equal(np.isnan(on), lost)
    assert np.isnan(band.counts("calibration", HOT, 0, 24)[:, :, :, 0]).all()
    off = band.counts("source", OFF, 0, 24)
    dead = np.zeros(off.shape, dtype=bool)
    dead[3:5] = True
    dead[10, :, 0, 1] = True
    np.testing.assert_array_equal(off == 0.0, dead)
    excess = np.nan_to_num((on - clean.counts("source", ON, 0, 24)) / 20000.0)
    excess[3:5], excess[10] = 0.0, 0.0
    expected = np.zeros(on.shape)
    expected[7:9, 1, 0] = 50.0
    expected[20] = 9.0
    np.testing.assert_allclose(excess, np.where(lost, 0.0, expected), atol=1e-9)


def test_dumps_are_lost_at_random_in_the_source_only(model, config):
    band = model(config, faults=Faults(missing_fraction=0.3), sequence=TotalPower(dumps=500))
    lost = band.missing("source", 0)
    assert lost.mean() == pytest.approx(0.3, abs=4.0 * math.sqrt(0.3 * 0.7 / lost.size))
    assert not np.array_equal(lost, band.missing("source", 1))
    assert not band.missing("calibration", 0).any()


def test_integers_are_the_nearest_ones_and_missing_is_the_fill_value():
    integers = to_integers(np.array([1.4, -2.6, np.nan]), "scan 1")
    assert integers.dtype == np.int32
    assert integers.tolist() == [1, -3, FILL]
    with pytest.raises(SimulationError, match=r"scan 1.*32 bits"):
        to_integers(np.array([2.2e9]), "scan 1")


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(dead=(DeadChannels(20, 30),)), "channel 29 of 24"),
        (Faults(spurs=(Spur(24, 1.0),)), "channel 24 of 24"),
        (Faults(missing=(MissingDumps(9),)), r"of 4 \(source 9\)"),
        (Faults(missing=(MissingDumps(1, dumps=(3,)),)), r"\(3,\) of 3"),
        (Faults(missing=(MissingDumps(1, receiver=2),)), "receiver 2 of 2"),
    ],
)
def test_faults_outside_the_data_are_refused(model, config, faults, message):
    with pytest.raises(SimulationError, match=message):
        model(config, faults=faults).check()


def test_other_impossible_bands_are_refused(model, config):
    receiver = config.receivers[0]
    with pytest.raises(SimulationError, match="ZERO"):
        model(config, receivers=(replace(receiver, zero_level=1.0),)).check()
    with pytest.raises(SimulationError, match=r"509\.521 to 510\.479 GHz .* 450 to 500 GHz"):
        model(config, receivers=(replace(receiver, image_freq=510e9),)).check()
    model(config, receivers=(replace(receiver, image_freq=510e9, image_gain=0.0),)).check()
    with pytest.raises(SimulationError, match="gain_per_hour"):
        model(config, drift=Drift(gain_per_hour=-1e4)).counts("source", 3, 0, 4)


def test_frequency_may_fall_with_the_channel_number(model, config):
    receiver = replace(config.receivers[0], bandwidth=-1.0e9)
    band = model(config, receivers=(receiver,), noise=True)
    assert np.all(np.diff(band.sky.nu_s) < 0.0)
    assert np.all(np.diff(band.sky.nu_i) > 0.0)
    assert np.isfinite(band.counts("source", 0, 0, 24)).all()


def test_presets_build_with_a_table_of_their_band(model, table_path):
    config = preset("ccat_chai", channels=8, pixels=2, table=str(table_path))
    assert model(config).counts("source", 0, 0, 8).shape == (8, 4, 2, 1)
