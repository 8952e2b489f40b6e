"""Times of groups: means, and variances of means of reads."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.imager.physics.reads import check_ramp, compute_read_times

pytestmark = pytest.mark.imager


def test_single_reads():
    times = compute_read_times([[1], [2], [5]], 5.0)
    for values in (times.mean, times.tau, times.last):
        np.testing.assert_allclose(values, [5.0, 10.0, 25.0], rtol=1e-15)
    assert times.n_reads.tolist() == [1, 1, 1]
    assert times.n_groups == 3


def test_tau_is_the_variance_of_a_mean_of_reads_at_one_electron_per_second():
    pattern = [[1, 2, 3, 4], [6, 9], [10, 11, 12, 20, 21]]
    times = compute_read_times(pattern, 2.5)
    for g, reads in enumerate(pattern):
        # Electrons by two times share those that arrived by the earlier.
        shared = np.minimum.outer(reads, reads) * 2.5
        assert times.tau[g] == pytest.approx(shared.mean(), rel=1e-14)
        assert times.mean[g] == pytest.approx(np.mean(reads) * 2.5, rel=1e-14)
        assert times.last[g] == reads[-1] * 2.5
        assert times.n_reads[g] == len(reads)


@pytest.mark.parametrize(
    ("pattern", "frame_time", "found"),
    [
        ([[1], []], 1.0, "group 1 is"),
        ([[1], [2, 2]], 1.0, r"\[2, 2\]"),
        ([[0], [1]], 1.0, r"\[0\]"),
        ([[1, 3], [3, 4]], 1.0, "begins with read 3"),
        ([[1], [2.5]], 1.0, "2.5"),
        ([1, 2], 1.0, "group 0 is 1"),
        ([[1], [2]], 0.0, "frame_time is 0.0"),
        ([[1], [2]], float("nan"), "frame_time is nan"),
    ],
)
def test_impossible_reads_are_refused(pattern, frame_time, found):
    with pytest.raises(LayoutError, match=found):
        compute_read_times(pattern, frame_time)


def test_other_shapes_are_refused():
    times = compute_read_times([[1], [2]], 1.0)
    data = np.zeros((1, 3, 2, 2))
    with pytest.raises(LayoutError, match="2 groups"):
        check_ramp(data, np.zeros(data.shape, np.uint8), times)
    data = data[:, :2]
    with pytest.raises(LayoutError, match=r"groupdq: uint8 of shape \(2, 2\)"):
        check_ramp(data, np.zeros((2, 2), np.uint8), times)
    with pytest.raises(LayoutError, match="groupdq: int64"):
        check_ramp(data, np.zeros(data.shape, np.int64), times)
