"""Scaling factors of telescope types: means, errors, and their use."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.cherenkov.physics.cross_calibration import (
    Ratios,
    calculate_factor,
    scale_throughputs,
    weight_by_participation,
)

pytestmark = pytest.mark.cherenkov


def make_ratios(log_ratio, event, reference=None, target=None):
    size = len(log_ratio)
    reference = np.zeros(size, int) if reference is None else np.array(reference)
    target = np.ones(size, int) if target is None else np.array(target)
    return Ratios(np.array(log_ratio, float), np.array(event), reference, target)


def test_factor_is_the_geometric_mean():
    factor = calculate_factor(make_ratios(np.log10([1.0, 2.0, 4.0]), [1, 2, 3]), np.ones(2), np.zeros((2, 2)))
    assert factor.value == pytest.approx(2.0, rel=1e-14)
    assert (factor.n_events, factor.n_ratios) == (3, 3)


def test_ratios_of_one_event_count_as_one_observation():
    rng = np.random.default_rng(2)
    logs = 0.1 * rng.standard_normal(4000)
    once = calculate_factor(make_ratios(logs, np.arange(4000)), np.ones(2), np.zeros((2, 2)))
    repeated = make_ratios(np.repeat(logs, 5), np.repeat(np.arange(4000), 5))
    again = calculate_factor(repeated, np.ones(2), np.zeros((2, 2)))
    assert again.error == pytest.approx(once.error, rel=1e-12)
    assert once.error == pytest.approx(np.log(10) * 0.1 / np.sqrt(4000), rel=0.05)
    assert (again.n_events, again.n_ratios) == (4000, 20000)


def test_gradient_is_that_of_the_factor():
    log_energy = np.log10(np.array([[3.0, 2.0, 5.0, 4.0], [1.0, 1.5, 2.5, 2.0]]))
    event, reference, target = [0, 0, 0, 1, 1], [0, 0, 1, 0, 1], [2, 3, 2, 3, 3]
    throughputs = np.array([1.0, 1.2, 0.8, 0.9])

    def factor_of(c):
        logs = log_energy - np.log10(c)
        return calculate_factor(
            make_ratios(logs[event, target] - logs[event, reference], event, reference, target), c, np.zeros((4, 4))
        )

    for index in range(4):
        step = 1e-6 * np.eye(4)[index]
        slope = (np.log(factor_of(throughputs + step).value) - np.log(factor_of(throughputs - step).value)) / 2e-6
        assert factor_of(throughputs).gradient[index] == pytest.approx(slope, rel=1e-6)


def test_covariance_of_throughputs_without_ratios_is_not_needed():
    covariance = np.diag([0.01, 0.02, np.nan])
    factor = calculate_factor(make_ratios([0.0, 0.0], [1, 2]), np.array([1.0, 2.0, np.nan]), covariance)
    assert factor.error == pytest.approx(np.sqrt(0.01 + 0.02 / 4))


def test_errors_of_few_events_are_those_of_their_scatter():
    """The mean square of the claimed errors is the variance of the factor, however few the events."""
    rng = np.random.default_rng(3)
    for n_events in (2, 3, 6):
        found = []
        for logs in rng.normal(0.0, 0.01, (4000, n_events)):
            ratios = Ratios(logs, np.arange(n_events), np.zeros(n_events, int), np.ones(n_events, int))
            factor = calculate_factor(ratios, np.ones(2), np.zeros((2, 2)))
            found.append((factor.value, factor.error))
        values, errors = np.transpose(found)
        assert np.mean(errors**2) == pytest.approx(np.var(values), rel=0.08)


def test_a_single_event_has_no_error():
    assert np.isnan(calculate_factor(make_ratios([0.1], [1]), np.ones(2), np.zeros((2, 2))).error)


def test_scaled_throughputs_know_that_the_factor_was_made_with_them():
    # Exact energies, throughputs fitted with errors: the product is as good as one telescope's.
    rng = np.random.default_rng(3)
    covariance = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.02**2]])
    products = []
    for _ in range(3000):
        throughputs = np.array([1.0, 1.0, 1.0 + 0.02 * rng.standard_normal()])
        logs = -np.log10(throughputs[[1, 2]])
        ratios = make_ratios(np.tile(logs, 2), [0, 0, 1, 1], [0] * 4, [1, 2, 1, 2])
        factor = calculate_factor(ratios, throughputs, covariance)
        products.append(scale_throughputs(throughputs, covariance, factor)[0])
    spread = np.std(np.log(products), axis=0)
    at_truth = make_ratios(np.zeros(4), [0, 0, 1, 1], [0] * 4, [1, 2, 1, 2])
    factor = calculate_factor(at_truth, np.ones(3), covariance)
    errors = scale_throughputs(np.ones(3), covariance, factor)[1]
    np.testing.assert_allclose(errors[1:], spread[1:], rtol=0.05)
    assert errors[2] == pytest.approx(0.01, rel=1e-12)


def test_the_published_weighting_multiplies_by_the_mean_throughput():
    ratios = make_ratios([0.0, 0.2, -0.2, 0.0], [1, 1, 2, 2], [0, 1, 0, 1], [2, 2, 2, 2])
    throughputs, errors = np.array([1.0, 1.3, 1.0]), np.array([0.0, 0.1, 0.2])
    factor = weight_by_participation(ratios, throughputs, errors, np.array([1.0, 2.0, 0.0]))
    assert factor.value == pytest.approx(1.2)
    statistical = np.log(10) * np.std([0.0, 0.2, -0.2, 0.0]) / 2
    assert factor.error == pytest.approx(np.hypot(statistical * 1.2, 0.2 / 3))
