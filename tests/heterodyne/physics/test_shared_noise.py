"""Noise that spectra share: against noise drawn sample by sample, and against covariance matrices written out."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.shared_noise import (
    Averaged,
    ReferenceNoise,
    SharedNoiseMean,
    combine_means,
    couple_shares,
    mean_number,
    share_of_reference,
)
from cal_pipeline.heterodyne.physics.switching import interpolation_weights


def reference_of(on_mjd, off_mjd, dumps, valid=None):
    """Shares of OFFs with `dumps` dumps of 1 s in one pixel or, with `valid` (P, O), several."""
    valid = np.ones((1, len(off_mjd)), bool) if valid is None else np.asarray(valid)
    weights = interpolation_weights(np.asarray(on_mjd, float), np.asarray(off_mjd, float), valid[:, None])
    variance = np.broadcast_to(1.0 / np.asarray(dumps, float), weights[:, :, 0].shape)
    return share_of_reference(variance, weights, np.ones(len(on_mjd)))


class TestShares:
    def test_variances_of_noise_that_is_drawn(self):
        # Three OFFs of 2, 4 and 8 dumps around two ONs at a quarter and at half of the way.
        rng = np.random.default_rng(1)
        offs = rng.normal(size=(200_000, 3)) / np.sqrt([2.0, 4.0, 8.0])
        noise = reference_of([0.25, 1.5], [0.0, 1.0, 2.0], [2, 4, 8])
        on = rng.normal(size=200_000)
        for position, weights in enumerate(([0.75, 0.25, 0.0], [0.0, 0.5, 0.5])):
            reference = offs @ weights
            total = np.var(on - reference)
            for share, off in zip(noise.share[:, 0, 0, position], noise.off[:, 0, 0, position], strict=True):
                # What is left without the noise of this OFF.
                rest = np.var(on - reference + weights[off] * offs[:, off])
                assert share == pytest.approx(1.0 - rest / total, abs=0.005)

    def test_an_off_that_a_pixel_lacks(self):
        valid = [[True, True, True], [True, False, True], [False, False, True]]
        noise = reference_of([0.5], [0.0, 1.0, 2.0], [4, 4, 4], valid)
        assert noise.off[:, :, 0, 0].T.tolist() == [[0, 1], [0, 2], [2, -1]]
        np.testing.assert_allclose(noise.share[:, 2, 0, 0], [0.2, 0.0])

    def test_a_pixel_without_any_off(self):
        noise = reference_of([0.5], [0.0], [4], [[True], [False]])
        assert noise.off[:, :, 0, 0].T.tolist() == [[0, -1], [-1, -1]]
        assert not noise.share[:, 1].any()

    def test_a_reference_of_three_offs_has_three_slots(self):
        noise = share_of_reference(np.full((1, 1, 3), 3.0), np.full((1, 1, 1, 3), 1.0 / 3.0), np.ones(1))
        np.testing.assert_allclose(noise.share[:, 0, 0, 0], [1 / 6, 1 / 6, 1 / 6])
        assert noise.off.ravel().tolist() == [0, 1, 2]

    def test_the_number_of_dumps_where_channels_lack_some(self):
        dumps = np.array([[4, 0], [4, 0], [2, 0], [0, 0]]).reshape(4, 1, 1, 2)
        np.testing.assert_allclose(mean_number(dumps).ravel(), [10 / 3, np.nan])

    def test_beams_that_are_merged(self):
        rng = np.random.default_rng(2)
        # Beam A: 3 K from the ON and 4 K from the OFF; beam B: 5 K and 12 K.
        parts = rng.normal(size=(4, 200_000)) * [[3.0], [4.0], [5.0], [12.0]]
        sigma = np.array([5.0, 13.0, 5.0], np.float32).reshape(1, 1, 1, 3)
        alone = ReferenceNoise(
            np.array([16 / 25, 144 / 169, 16 / 25, 0, 0, 0]).reshape(2, 1, 1, 3),
            np.array([7, 9, 8, -1, -1, -1]).reshape(2, 1, 1, 3),
        )
        merged = couple_shares(alone, sigma, np.array([0, 2]), np.array([1, -1]))
        total = np.var(0.5 * parts.sum(axis=0))
        assert merged.off[:, 0, 0].T.tolist() == [[7, 9], [8, -1]]
        np.testing.assert_allclose(
            merged.share[:, 0, 0, 0], [0.25 * np.var(parts[1]) / total, 0.25 * np.var(parts[3]) / total], rtol=0.02
        )
        np.testing.assert_allclose(merged.share[:, 0, 0, 1], [16 / 25, 0.0])

    def test_merged_beams_of_which_one_is_bad_everywhere(self):
        sigma = np.array([np.nan, 1.0], np.float32).reshape(1, 1, 1, 2)
        alone = ReferenceNoise(np.full((2, 1, 1, 2), [0.5, 0.25]), np.arange(4).reshape(2, 1, 1, 2))
        merged = couple_shares(alone, sigma, np.array([0]), np.array([1]))
        assert np.isfinite(merged.share).all()


def covariance(sigma, share, off, place, per_dump):
    """Covariance of samples, written out; `place` holds ON and dump of each."""
    n = len(place)
    found = np.zeros((n, n))
    for i, (s, d) in enumerate(place):
        for j, (t, e) in enumerate(place):
            common = sum(
                np.sqrt(share[k, s] * share[m, t])
                for k in range(2)
                for m in range(2)
                if off[k, s] == off[m, t] >= 0 and (not per_dump or d == e)
            )
            own = 1.0 - share[:, s].sum() if i == j else 0.0
            found[i, j] = sigma[s] * sigma[t] * (own + common)
    return found


@pytest.mark.parametrize("per_dump", [False, True])
@pytest.mark.parametrize("equal", [False, True])
def test_the_error_of_a_mean_is_that_of_the_covariance_matrix(per_dump, equal):
    rng = np.random.default_rng(3)
    n_ons, n_dumps = 5, 4
    sigma = rng.uniform(0.5, 2.0, n_ons)
    share = rng.uniform(0.1, 0.4, (2, n_ons))
    off = np.array([[0, 0, 3, 3, 6], [3, 3, 6, 6, -1]])
    share[off < 0] = 0.0
    values = rng.normal(size=(n_ons, n_dumps))
    values[rng.random(values.shape) < 0.2] = np.nan
    weight = np.ones(n_ons) if equal else sigma**-2

    mean = SharedNoiseMean(1, 1, per_dump)
    for s in range(n_ons):
        samples = values[s][None, :, None]
        mean.add(samples, np.full((1, 1), sigma[s]), np.full((1, 1), weight[s]), share[:, s : s + 1], off[:, s : s + 1])
        # No ON from 2 on uses OFF 0.
        if s == 1:
            mean.finish(0)
    found = mean.averaged()

    place = [(s, d) for s in range(n_ons) for d in range(n_dumps) if np.isfinite(values[s, d])]
    w = np.array([weight[s] for s, _ in place])
    w /= w.sum()
    expected = np.sqrt(w @ covariance(sigma, share, off, place, per_dump) @ w)
    assert found.sigma.item() == pytest.approx(expected, rel=1e-12)
    assert found.mean.item() == pytest.approx(w @ [values[p] for p in place], rel=1e-12)
    assert found.number.item() == len(place)


def test_channels_and_pixels_do_not_mix():
    rng = np.random.default_rng(4)
    samples = rng.normal(size=(3, 6, 2))
    samples[1, :, 1] = np.nan
    samples[2, ::2, 0] = np.nan
    sigma, share, off = rng.uniform(1, 2, (3, 2)), rng.uniform(0, 0.5, (2, 2)), np.array([[0, 0], [1, 2]])
    together = SharedNoiseMean(3, 2, per_dump=False)
    together.add(samples, sigma, sigma**-2, share, off)
    for c in range(3):
        for p in range(2):
            one = SharedNoiseMean(1, 1, per_dump=False)
            one.add(
                samples[c : c + 1, :, p : p + 1],
                sigma[c : c + 1, p : p + 1],
                sigma[c : c + 1, p : p + 1] ** -2,
                share[:, p : p + 1],
                off[:, p : p + 1],
            )
            for whole, alone in zip(together.averaged(), one.averaged(), strict=True):
                np.testing.assert_allclose(whole[c, p], alone[0, 0], rtol=1e-12)


def test_a_bad_channel_has_neither_mean_nor_error():
    mean = SharedNoiseMean(1, 1, per_dump=False)
    nothing = np.full((1, 1), np.nan)
    mean.add(np.full((1, 3, 1), np.nan), nothing, nothing, np.full((2, 1), 0.2), np.array([[0], [1]]))
    found = mean.averaged()
    assert np.isnan(found.mean).all()
    assert np.isnan(found.sigma).all()
    assert (found.weight.item(), found.number.item()) == (0.0, 0)


def test_combined_means_are_those_of_independent_noise():
    rng = np.random.default_rng(5)
    truth, sigma = 3.0, np.array([1.0, 2.0, np.nan])
    weight, number = np.array([4.0, 1.0, 0.0]), np.array([4, 1, 0])
    draws = truth + rng.normal(size=(100_000, 2)) * sigma[:2]
    parts = Averaged(
        np.column_stack([draws, np.full(len(draws), np.nan)]),
        np.tile(sigma, (len(draws), 1)),
        np.tile(weight, (len(draws), 1)),
        np.tile(number, (len(draws), 1)),
    )
    found = combine_means(parts)
    assert found.sigma[0] == pytest.approx(found.mean.std(), rel=0.01)
    assert found.number[0] == 5


@pytest.mark.parametrize("per_dump", [False, True])
def test_pull_of_means_of_noise_that_is_drawn(per_dump):
    """Channels are realisations: ONs of 5 dumps, some missing, between OFFs of different length and noise."""
    rng = np.random.default_rng(6)
    n, n_dumps, mjd, off_mjd = 20_000, 5, np.array([0.2, 0.5, 1.4, 2.0]), np.array([0.0, 1.0, 2.5])
    t_sys, numbers = np.array([1.0, 1.1, 1.2, 1.3]), np.array([5, 2, 4])
    if per_dump:
        weights = np.eye(3)[[0, 0, 1, 2]][None, None]
        offs, variance = rng.normal(size=(n, n_dumps, 3)), np.ones((1, 1, 3))
    else:
        weights = interpolation_weights(mjd, off_mjd, np.ones((1, 1, 3), bool))
        offs, variance = rng.normal(size=(n, 1, 3)) / np.sqrt(numbers), (1.0 / numbers)[None, None]
    noise = share_of_reference(variance, weights, np.ones(4))
    mean, independent = SharedNoiseMean(n, 1, per_dump), np.zeros((n, 1))
    for on in range(4):
        samples = t_sys[on] * (rng.normal(size=(n, n_dumps)) - offs @ weights[0, 0, on])
        samples[rng.random(samples.shape) < 0.1] = np.nan
        sigma = np.full((n, 1), t_sys[on] * np.sqrt(1.0 + (weights[0, 0, on] ** 2 * variance[0, 0]).sum()))
        number = mean.add(samples[..., None], sigma, sigma**-2, noise.share[:, 0, :, on], noise.off[:, 0, :, on])
        independent += number / sigma**2
    found = mean.averaged()
    pull, naive = found.mean / found.sigma, found.mean * np.sqrt(independent)
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.02)
    assert np.sqrt((naive**2).mean()) > (1.1 if per_dump else 1.25)
