from dataclasses import replace

import numpy as np
import pytest

from cal_pipeline.heterodyne.simulate.instrument import gain_and_t_rec, random_stream
from cal_pipeline.simulate import Bandpass, SimulationError, StandingWave


def test_a_plain_receiver_is_flat(receiver):
    gain, t_rec = gain_and_t_rec(receiver, seed=3, band=0)
    assert gain.shape == t_rec.shape == (24, 2, 2)
    np.testing.assert_allclose(gain, 20000.0)
    np.testing.assert_allclose(t_rec, 100.0)


def test_pixels_differ_within_the_spread_and_follow_the_seed(receiver):
    spread = replace(receiver, gain_spread=0.2, t_rec_spread=0.1)
    gain, t_rec = gain_and_t_rec(spread, seed=3, band=0)
    assert np.unique(gain[0]).size == 4
    assert np.abs(gain / 20000.0 - 1.0).max() <= 0.2
    assert np.abs(t_rec / 100.0 - 1.0).max() <= 0.1
    np.testing.assert_array_equal(gain, gain_and_t_rec(spread, seed=3, band=0)[0])
    assert not np.array_equal(gain, gain_and_t_rec(spread, seed=4, band=0)[0])
    assert not np.array_equal(gain, gain_and_t_rec(spread, seed=3, band=1)[0])


def test_the_receiver_temperature_slopes_across_the_band(receiver):
    _, t_rec = gain_and_t_rec(replace(receiver, t_rec_slope=0.2), seed=0, band=0)
    assert t_rec[0, 0, 0] == pytest.approx(80.0)
    assert t_rec[-1, 0, 0] == pytest.approx(120.0)


def test_the_gain_rolls_off_to_the_edge_level(receiver):
    edges = Bandpass(tilt=0.0, curvature=0.0, ripple=0.0, edge_width=0.1, edge_level=0.25)
    gain, _ = gain_and_t_rec(replace(receiver, channels=101, bandpass=edges), seed=0, band=0)
    profile = gain[:, 0, 0] / 20000.0
    np.testing.assert_allclose(profile[[0, -1]], 0.25)
    np.testing.assert_allclose(profile[10:91], 1.0)
    assert np.all(np.diff(profile[:11]) > 0.0)


def test_a_standing_wave_has_its_period_and_amplitude(receiver):
    wave = StandingWave(period_hz=receiver.freq_res * 8, gain_amplitude=0.1, t_rec_amplitude=5.0)
    gain, t_rec = gain_and_t_rec(replace(receiver, channels=24, standing_waves=(wave,)), seed=0, band=0)
    ripple = gain[:, 0, 0] / 20000.0 - 1.0
    np.testing.assert_allclose(ripple[8:], ripple[:-8], atol=1e-9)
    assert np.sqrt(2.0 * np.mean(ripple**2)) == pytest.approx(0.1)
    assert np.sqrt(2.0 * np.mean((t_rec[:, 0, 0] - 100.0) ** 2)) == pytest.approx(5.0)


def test_streams_of_different_places_are_different():
    draws = {float(random_stream(1, *key).uniform()) for key in [(0,), (0, 0), (1, 0), (0, 1), (0, 0, 0)]}
    assert len(draws) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forward_efficiency": (0.9, 0.9, 0.9)}, "one per array"),
        ({"forward_efficiency": 1.2}, "forward_efficiency"),
        ({"image_gain": -0.1}, "image_gain"),
        ({"image_gain": (1.0, 1.0, 1.0)}, "image_gain must be one number or one per array"),
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"coupling": 0.0}, "coupling"),
        ({"gain_spread": 1.0}, "below 1"),
        ({"t_rec_dsb": 0.0}, "positive"),
        ({"channels": 0}, "empty"),
    ],
)
def test_an_impossible_receiver_is_refused(receiver, changes, message):
    with pytest.raises(SimulationError, match=message):
        replace(receiver, **changes)


def test_a_bandpass_without_gain_is_refused():
    with pytest.raises(SimulationError, match="positive"):
        Bandpass(tilt=0.6, curvature=0.5)
    with pytest.raises(SimulationError, match="edge_level"):
        Bandpass(edge_level=0.0)
