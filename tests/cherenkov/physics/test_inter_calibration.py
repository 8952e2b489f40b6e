"""Fit of throughputs: real means of pairs, exact pairs, errors, telescopes without a chain to the reference."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from scipy.optimize import brentq

from cal_pipeline.cherenkov.physics.inter_calibration import PairMeans, average_pairs, fit_throughputs

pytestmark = pytest.mark.cherenkov


def make_pairs(mean, error, tel_1=(1, 1, 2), tel_2=(2, 3, 3)):
    count = np.full(len(mean), 100)
    return PairMeans(np.array(tel_1), np.array(tel_2), count, np.array(mean, float), np.array(error, float))


def sum_squares(c, pairs):
    """Sum of squares in the throughputs themselves, by telescope number."""
    model = [(c[i] - c[j]) / (c[i] + c[j]) for i, j in zip(pairs.tel_1, pairs.tel_2, strict=True)]
    return float(np.sum(((pairs.mean - model) / pairs.error) ** 2))


def test_real_means_of_pairs(shared):
    table = Table.read(shared / "pair_asymmetries.ecsv", format="ascii.ecsv")

    def fit(kind, reference):
        rows = table[table["tel_type"] == kind]
        names = ("tel_id_1", "tel_id_2", "n_events", "mean_asymmetry", "mean_asymmetry_err")
        return fit_throughputs(PairMeans(*(np.asarray(rows[name]) for name in names)), reference)

    of_lst, of_mst = fit("LST", 1), fit("MST", 4)
    np.testing.assert_allclose(of_lst.value, [1, 1.004538, 1.000227], atol=2e-6)
    np.testing.assert_allclose(of_lst.error, [0, 0.002106, 0.002178], atol=1e-6)
    np.testing.assert_allclose(of_mst.value, [1, 1.001074], atol=1e-6)


def test_exact_pairs_give_the_throughputs_to_the_precision_of_the_machine():
    truth = {1: 1.0, 2: 0.4, 3: 1.9, 4: 1.1}
    tel_1, tel_2 = (1, 2, 3), (2, 3, 4)
    mean = [(truth[i] - truth[j]) / (truth[i] + truth[j]) for i, j in zip(tel_1, tel_2, strict=True)]
    fit = fit_throughputs(make_pairs(mean, [0.01, 0.02, 0.03], tel_1, tel_2), reference=3, normalisation=3.8)
    np.testing.assert_allclose(fit.value, [2.0, 0.8, 3.8, 2.2], rtol=1e-14)
    assert fit.n_pairs.tolist() == [1, 2, 2, 1]
    assert fit.chi2 < 1e-24


def test_the_minimum_of_contradictory_pairs_is_stationary():
    pairs = make_pairs([0.3, -0.2, 0.1], [0.01, 0.02, 0.005])
    fit = fit_throughputs(pairs, reference=1)
    best = dict(zip(fit.tel_id.tolist(), fit.value.tolist(), strict=True))
    assert fit.chi2 == pytest.approx(sum_squares(best, pairs), rel=1e-12)
    for tel_id in (2, 3):
        steps = [sum_squares({**best, tel_id: best[tel_id] * (1 + h)}, pairs) for h in (-1e-5, 1e-5)]
        assert min(steps) > fit.chi2
        # The sum is a parabola so near to its minimum: both sides rise alike.
        assert steps[0] - fit.chi2 == pytest.approx(steps[1] - fit.chi2, rel=1e-3)


def test_the_sum_grows_by_one_at_an_error():
    pairs = make_pairs([0.003, -0.002, -0.004], [0.001, 0.002, 0.0015])
    fit = fit_throughputs(pairs, reference=1)

    def best_sum(c2):
        """Sum at a throughput of telescope 2, minimal in the other."""
        fixed = make_pairs(pairs.mean, pairs.error)
        grid = fit.value[2] + np.linspace(-5, 5, 4001) * fit.error[2]
        return min(sum_squares({1: 1.0, 2: c2, 3: c3}, fixed) for c3 in grid)

    upper = brentq(
        lambda c2: best_sum(c2) - fit.chi2 - 1, fit.value[1], fit.value[1] + 4 * fit.error[1], xtol=1e-7, maxiter=30
    )
    assert upper - fit.value[1] == pytest.approx(fit.error[1], rel=0.01)


def test_errors_are_the_spread_of_repeated_independent_pairs():
    rng = np.random.default_rng(5)
    error = np.array([0.004, 0.006, 0.005])
    exact = np.array([0.05, -0.02, -0.07])
    fits = [fit_throughputs(make_pairs(exact + error * rng.standard_normal(3), error), 1) for _ in range(2000)]
    spread = np.cov([fit.value[1:] for fit in fits], rowvar=False)
    np.testing.assert_allclose(fits[0].covariance[1:, 1:], spread, rtol=0.12)


def test_the_reference_scales_values_and_errors():
    pairs = make_pairs([0.1, -0.2, 0.1], [0.01, 0.02, 0.005])
    one, two = (fit_throughputs(pairs, 1, normalisation) for normalisation in (1.0, 2.0))
    np.testing.assert_allclose(two.value, 2 * one.value, rtol=1e-14)
    np.testing.assert_allclose(two.covariance, 4 * one.covariance, rtol=1e-13)
    assert one.covariance[0].tolist() == [0, 0, 0]


def test_telescopes_without_a_chain_to_the_reference_get_nothing():
    fit = fit_throughputs(make_pairs([0.1, 0.2], [0.01, 0.01], (1, 5), (2, 6)), reference=2)
    assert np.isnan(fit.value).tolist() == [False, False, True, True]
    assert np.isnan(fit.error).tolist() == [False, False, True, True]
    assert fit.value[0] == pytest.approx(11 / 9)
    assert fit.n_pairs.tolist() == [1, 1, 1, 1]


def test_more_telescopes_get_nan():
    fit = fit_throughputs(make_pairs([0.1], [0.01], (2,), (4,)), reference=2).extend(np.array([1, 2, 3, 4]))
    assert np.isnan(fit.value).tolist() == [True, False, True, False]
    assert fit.n_pairs.tolist() == [0, 1, 0, 1]
    assert np.isfinite(fit.covariance).sum() == 4


@pytest.mark.parametrize("mean", [[0.999, -0.999, 0.999], [0.9, 0.9, -0.95], [-0.6, 0.8, 0.99]])
def test_wild_pairs_converge(mean):
    pairs = make_pairs(mean, [0.01, 0.3, 0.02])
    fit = fit_throughputs(pairs, reference=1)
    best = dict(zip(fit.tel_id.tolist(), fit.value.tolist(), strict=True))
    for tel_id in (2, 3):
        for h in (-1e-4, 1e-4):
            assert sum_squares({**best, tel_id: best[tel_id] * (1 + h)}, pairs) >= fit.chi2


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (make_pairs([0.1], [0.0], (1,), (2,)), "positive errors"),
        (make_pairs([0.1], [np.nan], (1,), (2,)), "positive errors"),
        (make_pairs([np.nan], [0.1], (1,), (2,)), "finite values"),
        (make_pairs([0.1], [0.1], (2,), (3,)), "reference telescope 1 is in no pair"),
    ],
)
def test_pairs_that_make_no_fit_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        fit_throughputs(pairs, reference=1)


def test_means_of_pairs():
    tel_1, tel_2 = np.array([3, 1, 3, 1, 3]), np.array([4, 2, 4, 3, 4])
    means = average_pairs(tel_1, tel_2, np.array([0.1, 0.5, 0.2, 0.7, 0.3]))
    assert list(zip(means.tel_1.tolist(), means.tel_2.tolist(), means.count.tolist(), strict=True)) == [
        (1, 2, 1),
        (1, 3, 1),
        (3, 4, 3),
    ]
    np.testing.assert_allclose(means.mean, [0.5, 0.7, 0.2])
    np.testing.assert_allclose(means.error, [np.nan, np.nan, 0.1 / np.sqrt(3)])
