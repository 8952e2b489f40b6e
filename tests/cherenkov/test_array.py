"""Calibration of simulated arrays with a known truth: pairs, throughputs, cross factors and their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cal_pipeline.cherenkov.array import (
    Events,
    Layout,
    calculate_ratios,
    count_telescopes,
    find_cross_pairs,
    find_type_pairs,
    number_events,
    tabulate_asymmetries,
)
from cal_pipeline.cherenkov.physics.cross_calibration import (
    calculate_factor,
    scale_throughputs,
    weight_by_participation,
)
from cal_pipeline.cherenkov.physics.inter_calibration import average_pairs, fit_throughputs
from cal_pipeline.cherenkov.simulate.array import ArrayConfig, select_events, simulate_events

pytestmark = pytest.mark.cherenkov

REACH = {"LST": 125.0, "MST": 125.0, "SST": 225.0}


@dataclass
class Calibration:
    """Values over the truth, and pulls: of throughputs, factors and coefficients; factors of the published way."""

    inter: list[float]
    ratio: list[float]
    factor: list[float]
    coefficients: list[float]
    independent: list[float]
    peer: list[float]


def calibrate(config: ArrayConfig, seed: int, limit: float = 0.05) -> Calibration:
    layout = config.place()
    events, reach = select_events(simulate_events(config, seed), layout), layout.look_up(REACH)
    size, kinds = len(reach), np.unique(layout.tel_type)
    table = tabulate_asymmetries(events, layout, find_type_pairs(layout, reach), np.full(size, limit))
    values, covariance, first = np.full(size, np.nan), np.zeros((size, size)), np.zeros(size, int)
    for kind in kinds:
        rows, members = table[table["tel_type"] == kind], np.flatnonzero(layout.tel_type == kind)
        means = average_pairs(*(np.asarray(rows[name]) for name in ("tel_id_1", "tel_id_2", "energy_asymmetry")))
        fit = fit_throughputs(means, int(layout.tel_id[members[0]]))
        values[members], covariance[np.ix_(members, members)], first[members] = fit.value, fit.covariance, members[0]
    truth, errors = config.throughputs / config.throughputs[first], np.sqrt(np.diagonal(covariance))
    fitted = errors > 0
    made = Calibration(((values - truth)[fitted] / errors[fitted]).tolist(), [], [], [], [], [])
    reference = layout.is_of("MST")
    for target in ("LST", "SST"):
        members = layout.tel_type == target
        used = np.minimum(count_telescopes(events, reference), count_telescopes(events, members)) >= 2
        ratios = calculate_ratios(events, find_cross_pairs(layout, reach, reference, target), values, used)
        factor, true = calculate_factor(ratios, values, covariance), config.find_factor(target, "MST")
        made.ratio.append(np.log(factor.value / true))
        made.factor.append((factor.value - true) / factor.error)
        seen = np.where(reference, np.bincount(events.telescope[used], minlength=size), 0).astype(float)
        peer = weight_by_participation(ratios, values, errors, seen)
        made.peer.append(peer.value / true)
        scaled, of_scaled = scale_throughputs(values, covariance, factor)
        deviation = (scaled - truth * true)[members]
        made.coefficients += (deviation / of_scaled[members]).tolist()
        independent = np.hypot(errors * factor.value, values * factor.error)
        made.independent += (deviation / independent[members]).tolist()
    return made


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_a_few_arrays_come_back_within_their_errors():
    made = [calibrate(ArrayConfig(n_events=1500), seed) for seed in range(8)]
    assert abs(np.mean([one.ratio for one in made])) < 0.005
    assert 0.6 < rms([one.factor for one in made]) < 1.45
    assert 0.7 < rms([one.inter for one in made]) < 1.4
    assert 0.6 < rms([one.coefficients for one in made]) < 1.45


@pytest.mark.slow
def test_cross_factors_are_unbiased_and_their_errors_true():
    made = [calibrate(ArrayConfig(), seed) for seed in range(40)]
    ratio, pulls = np.array([one.ratio for one in made]), np.array([one.factor for one in made])
    assert np.all(np.abs(ratio.mean(axis=0)) < 3 * ratio.std(axis=0) / np.sqrt(40))
    assert rms(pulls) == pytest.approx(1.0, abs=0.15)
    assert rms([one.coefficients for one in made]) == pytest.approx(1.0, abs=0.15)
    # Taken as independent of the throughputs, the factor's error counts twice.
    assert rms([one.independent for one in made]) < 0.85
    assert rms([one.inter for one in made]) == pytest.approx(1.1, abs=0.15)
    # The published weighting multiplies by the mean throughput of the reference telescopes.
    mean = np.mean(ArrayConfig().kinds["MST"].throughputs)
    assert np.mean([one.peer for one in made]) == pytest.approx(mean, abs=0.006)


def test_without_noise_the_truth_comes_back_exactly():
    config = ArrayConfig()
    kinds = {
        name: type(kind)(kind.radius, kind.reach, kind.scale, 1e-9, kind.throughputs)
        for name, kind in config.kinds.items()
    }
    made = calibrate(ArrayConfig(kinds=kinds, n_events=400, type_spread=0.0), seed=3)
    np.testing.assert_allclose(made.ratio, 0, atol=1e-7)


def test_events_of_several_observations_do_not_mix():
    numbers = number_events(np.array([2**62, 1, 1, 2**62]), np.array([5, 5, 2**62, 5]))
    assert numbers.tolist() == [2, 0, 1, 2]
    assert number_events(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


@pytest.fixture
def layout() -> Layout:
    return Layout(np.array([3, 5, 7]), np.array(["MST_A", "MST_A", "LST"]), np.zeros((3, 3)))


@pytest.fixture
def events() -> Events:
    """Event 0 is seen by all telescopes, event 1 by the first two, event 2 by the first and the last."""
    event, telescope = np.array([0, 1, 2, 1, 0, 0, 2]), np.array([0, 0, 0, 1, 1, 2, 2])
    energy = np.array([1.0, 2.0, 4.0, 3.0, 1.5, 1.0, 2.0])
    distance = np.array([100.0, 100.0, 100.0, 109.0, 112.0, 100.0, 0.0])
    return Events(np.full(7, 1), event + 10, event, telescope, energy, 0.1 * energy, distance)


def test_asymmetries_are_of_events_at_like_distances(layout, events):
    pairs = find_type_pairs(layout, np.full(3, 1.0))
    assert pairs.tolist() == [[0, 1]]
    table = tabulate_asymmetries(events, layout, pairs, np.full(3, 0.05), "R_tel_energy")
    assert table["event_id"].tolist() == [11]
    assert table["R_tel_energy_1"].tolist() == [2.0]
    assert table["R_tel_energy_uncert_2"].tolist() == [pytest.approx(0.3)]
    assert table["energy_asymmetry"].tolist() == [-0.2]
    assert table["energy_asymmetry_uncertainty"].tolist() == [pytest.approx(2 / 25 * np.sqrt(2) * 0.6)]
    assert (table["tel_type"][0], table["tel_id_1"][0], table["tel_id_2"][0]) == ("MST_A", 3, 5)
    assert str(table["R_tel_energy_1"].unit) == "TeV"


def test_the_smaller_limit_of_a_pair_counts_and_none_keeps_all(layout, events):
    pairs = find_type_pairs(layout, np.full(3, 1.0))
    found = [
        len(tabulate_asymmetries(events, layout, pairs, np.array(limits)))
        for limits in ([0.01, 1, 1], [0.05, 1, 1], [0.2, np.nan, 1], [np.nan, np.nan, 1])
    ]
    assert found == [0, 1, 2, 2]


def test_no_pairs_make_an_empty_table(layout, events):
    table = tabulate_asymmetries(events, layout, np.zeros((0, 2), np.int64), np.full(3, 0.05))
    assert len(table) == 0
    assert "energy_asymmetry" in table.colnames


def test_ratios_are_of_targets_over_references_with_throughputs(layout, events):
    pairs = find_cross_pairs(layout, np.full(3, 1.0), layout.is_of("MST"), "LST")
    assert sorted(pairs.tolist()) == [[0, 2], [1, 2]]
    all_events = np.ones(len(events), dtype=bool)
    ratios = calculate_ratios(events, pairs, np.array([1.0, 1.5, 0.5]), all_events)
    found = sorted(
        zip(ratios.event.tolist(), ratios.reference.tolist(), ratios.log_ratio.round(6).tolist(), strict=True)
    )
    assert found == [(0, 0, 0.30103), (0, 1, 0.30103), (2, 0, 0.0)]
    assert ratios.target.tolist() == [2, 2, 2]
    without = calculate_ratios(events, pairs, np.array([1.0, np.nan, 0.5]), all_events)
    assert sorted(without.event.tolist()) == [0, 2]


def test_telescopes_of_an_event_are_counted(layout, events):
    counts = count_telescopes(events, layout.is_of("MST"))
    assert counts.tolist() == [2, 2, 1, 2, 2, 2, 1]


def make_steep_events(throughputs, energy_min, seed=1, number=300_000):
    """Make showers of a spectrum dN/dlnE ~ E^-1.7, of which each telescope keeps those above an energy."""
    rng = np.random.default_rng(seed)
    true = 0.2 * energy_min * np.exp(rng.exponential(1.0 / 1.7, number))
    energy = true[:, None] * throughputs * np.exp(0.2 * rng.standard_normal((number, len(throughputs))))
    event, telescope = np.nonzero(energy > energy_min)
    energy = energy[event, telescope]
    return Events(np.ones_like(event), event, event, telescope, energy, 0.2 * energy, np.full(len(event), 50.0))


def fit_pair(events, layout, pair_energy_min):
    table = tabulate_asymmetries(events, layout, np.array([[0, 1]]), np.full(3, 0.05), pair_energy_min=pair_energy_min)
    means = average_pairs(*(np.asarray(table[name]) for name in ("tel_id_1", "tel_id_2", "energy_asymmetry")))
    fit = fit_throughputs(means, 1)
    return fit.value[1], fit.error[1]


def test_a_cut_on_either_energy_of_a_steep_spectrum_brings_telescopes_together():
    layout = Layout(np.array([1, 2, 3]), np.array(["LST", "LST", "MST"]), np.zeros((3, 3)))
    events = make_steep_events(np.array([1.0, 1.1, 1.3]), energy_min=0.05)
    value, error = fit_pair(events, layout, 0.0)
    # E[d exp(-0.85 |d|)]/E[exp(-0.85 |d|)] of the logarithm d of the ratio is 0.078, not 0.095.
    assert value == pytest.approx(1.0805, abs=4 * error)
    value, error = fit_pair(events, layout, 0.1)
    shrunk = 1.0 + 0.1 * (1.0 - 0.5 * 0.2**2)
    assert value == pytest.approx(shrunk, abs=4 * error)
    used = np.ones(len(events), dtype=bool)
    factors = [
        calculate_factor(
            calculate_ratios(events, np.array([[0, 2]]), np.ones(3), used, limit), np.ones(3), np.zeros((3, 3))
        )
        for limit in (0.0, 0.1)
    ]
    assert factors[0].value < 1.3 - 10 * factors[0].error
    assert factors[1].value == pytest.approx(1.3, abs=4 * factors[1].error)
