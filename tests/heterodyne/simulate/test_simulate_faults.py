"""Faults drawn at random, saturation, and single spikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cal_pipeline.heterodyne.simulate.forward import FILL, to_integers
from cal_pipeline.simulate import (
    Faults,
    GainJump,
    Loads,
    NoisyChannels,
    RandomSpurs,
    Scan,
    SimulationError,
    Spikes,
    Spur,
    TotalPower,
    read_truth,
    simulate,
)

GAIN = 20000.0
HOT, COLD = 0, 1
OFF, ON = 0, 1


@pytest.fixture
def wide(config, receiver):
    """A session of 2000 channels, enough for statistics."""
    return replace(config, receivers=(replace(receiver, channels=2000),))


def added(model, config, group, index, faults, channels=2000):
    """Return the temperature that faults add to the input [K], shape (C, D, R, A), and the model."""
    band, clean = model(config, faults=faults), model(config)
    counts = [one.counts(group, index, 0, channels) for one in (band, clean)]
    return (counts[0] - counts[1]) / GAIN, band


class TestRandomSpurs:
    @pytest.mark.parametrize("fraction", [0.01, 0.1])
    def test_a_fraction_of_the_channels_is_hit_with_exponential_strength(self, model, wide, fraction):
        excess, band = added(model, wide, "source", OFF, Faults(random_spurs=(RandomSpurs(fraction, 50.0),)))
        hit = excess[:, 0] > 1e-6
        np.testing.assert_array_equal(hit, band.spurred[0])
        number = fraction * hit.size
        assert np.count_nonzero(hit) == pytest.approx(number, abs=5.0 * number**0.5)
        assert excess[:, 0][hit].mean() == pytest.approx(50.0, abs=250.0 / number**0.5)
        np.testing.assert_allclose(excess, np.broadcast_to(excess[:, :1], excess.shape), atol=1e-8)

    def test_channels_stay_and_strengths_change(self, model, wide):
        faults = Faults(random_spurs=(RandomSpurs(0.05, 50.0),))
        first, band = added(model, wide, "source", OFF, faults)
        later, _ = added(model, wide, "calibration", HOT, faults)
        hit = band.spurred[0]
        assert (np.abs(first[:, 0] - later[:, 0])[hit] > 1e-6).all()
        np.testing.assert_array_equal(later[:, 0] > 1e-6, hit)
        other = model(wide, scan=1, faults=faults, scans=(Scan(), Scan()))
        np.testing.assert_array_equal(other.spurred[0], hit)
        assert (hit[:, 0, 0] != hit[:, 1, 0]).any(), "each pixel has its own"

    def test_phases_and_pixels_can_be_chosen(self, model, wide):
        faults = Faults(random_spurs=(RandomSpurs(0.1, 50.0, kinds=("hot",), receiver=1),))
        excess, _ = added(model, wide, "calibration", HOT, faults)
        assert excess[:, :, 1].any()
        np.testing.assert_allclose(excess[:, :, 0], 0.0, atol=1e-8)
        np.testing.assert_allclose(added(model, wide, "source", ON, faults)[0], 0.0, atol=1e-8)

    def test_another_band_is_left_alone(self, model, wide):
        excess, _ = added(model, wide, "source", ON, Faults(random_spurs=(RandomSpurs(1.0, 50.0, band=1),)))
        np.testing.assert_allclose(excess, 0.0, atol=1e-8)


def test_spikes_hit_single_samples_of_loads_and_offs(model, wide):
    faults = Faults(spikes=(Spikes(0.02, 80.0),))
    excess, _ = added(model, wide, "source", OFF, faults)
    hit = excess > 1e-6
    number = 0.02 * hit.size
    assert np.count_nonzero(hit) == pytest.approx(number, abs=5.0 * number**0.5)
    assert excess[hit].mean() == pytest.approx(80.0, abs=400.0 / number**0.5)
    assert np.count_nonzero(hit.any(axis=1)) > 0.9 * number, "dumps are hit independently of each other"
    assert added(model, wide, "calibration", COLD, faults)[0].max() > 1.0
    np.testing.assert_allclose(added(model, wide, "source", ON, faults)[0], 0.0, atol=1e-8)


def test_a_spike_in_one_dump_of_one_off(model, config):
    faults = Faults(spurs=(Spur(0, 60.0, width=24, kinds=("off",), dumps=(1,), subscan=3),))
    excess, _ = added(model, config, "source", 3, faults, 24)
    np.testing.assert_allclose(excess[:, 1], 60.0)
    np.testing.assert_allclose(excess[:, [0, 2]], 0.0, atol=1e-8)
    np.testing.assert_allclose(added(model, config, "source", OFF, faults, 24)[0], 0.0, atol=1e-8)


@pytest.mark.slow
def test_noisy_channels(model, wide):
    faults = Faults(noisy=(NoisyChannels(3.0, 500, 1500), NoisyChannels(10.0, fraction=0.1, receiver=1)))
    settings = {"noise": True, "seed": 5, "sequence": TotalPower(dumps=40)}
    band, clean, quiet = model(wide, faults=faults, **settings), model(wide, **settings), model(wide)
    noise, expected = (
        one.counts("source", OFF, 0, 2000) - quiet.counts("source", OFF, 0, 2000)[:, :1] for one in (band, clean)
    )
    np.testing.assert_allclose(noise, expected * band.noise_factor[:, np.newaxis], atol=1e-3)
    assert set(np.unique(band.noise_factor[:, 0])) == {1.0, 3.0}
    assert set(np.unique(band.noise_factor[:, 1])) == {1.0, 3.0, 10.0, 30.0}
    assert np.count_nonzero(band.noise_factor[500:1500, 0] == 3.0) == 2000
    assert np.mean(band.noise_factor[:, 1] >= 10.0) == pytest.approx(0.1, abs=0.03)
    assert np.std(noise[600:1400, :, 0]) == pytest.approx(3.0 * np.std(noise[:400, :, 0]), rel=0.05)


def test_a_gain_jumps_and_stays(model, config):
    config = replace(config, loads=Loads(pattern=("HOT", "COL", "HOT")))
    jumps = (GainJump(0.1, group="calibration", subscan=2), GainJump(-0.5, subscan=1, receiver=0, array=1))
    band, plain = model(config, faults=Faults(gain_jumps=jumps)), model(config)
    expected = {
        ("calibration", 1): np.ones((2, 2)),
        ("calibration", 2): np.full((2, 2), 1.1),
        ("source", 0): np.full((2, 2), 1.1),
        ("source", 1): np.array([[1.1, 0.55], [1.1, 1.1]]),
        ("source", 3): np.array([[1.1, 0.55], [1.1, 1.1]]),
    }
    for where, factor in expected.items():
        ratio = band.counts(*where, 0, 24) / plain.counts(*where, 0, 24)
        np.testing.assert_allclose(ratio, np.broadcast_to(factor, ratio.shape))


def test_saturated_counts(model, config):
    faults = Faults(spurs=(Spur(4, 1e9, kinds=("hot",)),), saturation_counts=2.0**31 - 1)
    hot = model(config, faults=faults).counts("calibration", HOT, 0, 24)
    assert (hot[4] == 2**31 - 1).all()
    np.testing.assert_array_equal(hot[:4], model(config).counts("calibration", HOT, 0, 24)[:4])
    assert (to_integers(hot, "scan 1")[4] == 2**31 - 1).all()
    assert FILL not in to_integers(hot, "scan 1")


def test_random_faults_do_not_depend_on_how_channels_are_grouped(model, wide):
    faults = Faults(
        random_spurs=(RandomSpurs(0.1, 50.0),), spikes=(Spikes(0.1, 50.0),), noisy=(NoisyChannels(2.0, fraction=0.5),)
    )
    band = model(wide, faults=faults, noise=True)
    whole = band.counts("source", OFF, 0, 2000)
    np.testing.assert_array_equal(band.counts("source", OFF, 300, 700), whole[300:700])


@pytest.mark.slow
def test_the_truth_names_what_was_put_in(config, tmp_path):
    faults = Faults(
        random_spurs=(RandomSpurs(0.3, 50.0), RandomSpurs(0.3, 10.0, kinds=("on",))),
        noisy=(NoisyChannels(4.0, 3, 5),),
        saturation_counts=1e9,
    )
    simulate(replace(config, faults=faults), tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    assert 0.3 < truth.spurred.mean() < 0.7
    np.testing.assert_array_equal(np.flatnonzero(truth.noise_factor[:, 0, 0] == 4.0), [3, 4])
    assert truth.parameters["faults"]["saturation_counts"] == 1e9
    assert truth.parameters["faults"]["random_spurs"][1]["kinds"] == ["on"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSpurs(1.1, 1.0), "fraction 1.1 of random spurs"),
        (lambda: RandomSpurs(0.1, 0.0), "must be positive"),
        (lambda: Spikes(-0.1, 1.0), "fraction -0.1 of spikes"),
        (lambda: Spikes(0.1, -1.0), "must be positive"),
        (lambda: NoisyChannels(0.0), "factor 0.0"),
        (lambda: NoisyChannels(2.0, 5, 5), "5 to 5: an empty range"),
        (lambda: NoisyChannels(2.0, fraction=2.0), "fraction 2.0 of noisy channels"),
        (lambda: Faults(saturation_counts=0.0), "saturation_counts 0.0"),
        (lambda: GainJump(-1.0), "change -1.0 of the gain"),
    ],
)
def test_faults_that_make_no_sense_are_refused(make, message):
    with pytest.raises(SimulationError, match=message):
        make()


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(noisy=(NoisyChannels(2.0, 20, 30),)), "channel 29 of 24"),
        (Faults(noisy=(NoisyChannels(2.0, 30),)), "channel 30 of 24"),
        (Faults(random_spurs=(RandomSpurs(0.1, 1.0, receiver=2),)), "receiver 2 of 2"),
        (Faults(spikes=(Spikes(0.1, 1.0, array=2),)), "array 2 of 2"),
        (Faults(gain_jumps=(GainJump(0.1, receiver=2),)), "receiver 2 of 2"),
    ],
)
def test_faults_outside_the_data_are_refused(model, config, faults, message):
    with pytest.raises(SimulationError, match=message):
        model(config, faults=faults).check()
