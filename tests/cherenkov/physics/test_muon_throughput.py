"""Chunks of muon rings and their clipped statistics."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.cherenkov.physics.muon_throughput import (
    LAST_CHUNK_POLICIES,
    clip_values,
    split_chunks,
    summarise_throughput,
)

pytestmark = pytest.mark.cherenkov


@pytest.mark.parametrize("policy", LAST_CHUNK_POLICIES)
class TestChunks:
    def test_exact_multiple_is_the_same_in_all_policies(self, policy: str) -> None:
        assert split_chunks(30, 10, policy) == [(0, 10), (10, 20), (20, 30)]

    def test_fewer_rows_than_a_chunk(self, policy: str) -> None:
        assert split_chunks(9, 10, policy) == split_chunks(0, 10, policy) == []

    @pytest.mark.parametrize("n", [11, 19, 25, 101])
    def test_use_of_the_rows(self, policy: str, n: int) -> None:
        chunks = split_chunks(n, 10, policy)
        uses = np.zeros(n, dtype=int)
        for start, stop in chunks:
            uses[start:stop] += 1
        sizes = [stop - start for start, stop in chunks]
        assert set(sizes[:-1]) <= {10}
        assert (uses[: n - n % 10 - 10] == 1).all()
        twice, unused, last = {
            "merge": (0, 0, 10 + n % 10),
            "overlap": (10 - n % 10, 0, 10),
            "truncate": (0, 0, n % 10),
            "skip": (0, n % 10, 10),
        }[policy]
        assert ((uses == 2).sum(), (uses == 0).sum(), sizes[-1]) == (twice, unused, last)


class TestClipping:
    def test_outliers_are_clipped_one_after_the_other(self) -> None:
        rng = np.random.default_rng(1)
        good = rng.uniform(0.19, 0.21, 200)
        values = np.concatenate([good, [0.5], [50.0]])
        # The large outlier hides the small one at first.
        np.testing.assert_array_equal(clip_values(values, 3, 1), values[:-1])
        np.testing.assert_array_equal(clip_values(values, 3, 5), good)
        np.testing.assert_array_equal(clip_values(values, 3, 0), values)

    def test_equal_values_stay(self) -> None:
        assert len(clip_values(np.full(7, 0.1), 3, 5)) == 7
        assert len(clip_values(np.array([0.2]), 3, 5)) == 1

    def test_statistics_of_normal_values(self) -> None:
        values = np.random.default_rng(2).normal(0.2, 0.02, 200_000)
        summary = summarise_throughput(values, 3, 1)
        assert summary.n_events / len(values) == pytest.approx(0.9973, abs=0.0005)
        assert summary.std == pytest.approx(0.02 * (1 - 0.0133), rel=0.005)
        assert summary.sem == pytest.approx(summary.std / np.sqrt(summary.n_events))

    def test_mean_and_median_after_clipping(self) -> None:
        summary = summarise_throughput(np.array([0.1, 0.2, 0.2, 0.4] * 5 + [9.0]))
        assert (summary.mean, summary.median, summary.n_events) == (pytest.approx(0.225), 0.2, 20)

    @pytest.mark.slow
    def test_standard_error_covers_the_truth(self) -> None:
        rng = np.random.default_rng(3)
        summaries = [summarise_throughput(rng.normal(0.2, 0.02, 500)) for _ in range(2000)]
        pulls = np.array([(summary.mean - 0.2) / summary.sem for summary in summaries])
        assert pulls.std() == pytest.approx(1.0, abs=0.07)
        assert abs(pulls.mean()) < 0.1
