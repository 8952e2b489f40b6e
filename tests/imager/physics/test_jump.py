"""Jump detection: hits are found, and little else."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_ramps import EVEN, PATTERNS, SINGLE, Reads, find_steps

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.jump import flag_jumps
from cal_pipeline.imager.physics.reads import compute_read_times

pytestmark = pytest.mark.imager

GAIN, NOISE = 1.7, 9.0


def flag_electrons(electrons, pattern=SINGLE, frame_time=5.0, flags=None, pixeldq=None, **keys):
    """Flag the jumps of ramps [I, G, y, x] in electrons."""
    shape = electrons.shape[2:]
    flags = np.zeros(electrons.shape, np.uint8) if flags is None else flags
    pixeldq = np.zeros(shape, np.uint32) if pixeldq is None else pixeldq
    noise = np.broadcast_to(keys.pop("noise", NOISE), shape)
    times = compute_read_times(pattern, frame_time)
    return flag_jumps(electrons / GAIN, flags, pixeldq, np.full(shape, GAIN), noise, times, **keys)


def hit_once(rng, pattern, shape, electrons, first=1):
    """Electrons of one hit in each ramp, (reads, I, y, x): after read `first` and up to the last."""
    n_reads = pattern[-1][-1]
    when = rng.integers(first, n_reads, shape)
    return (np.arange(n_reads)[:, None, None, None] == when) * np.broadcast_to(electrons, shape), when


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_jumps_are_those_of_fits_with_full_matrices(pattern):
    rng = np.random.default_rng(0)
    reads, shape = Reads(pattern, 5.0), (2, 4, 30)
    rates = np.array([0.0, 5.0, 100.0, 1000.0])[:, None]
    hits = sum(hit_once(rng, pattern, shape, rng.exponential(300, shape))[0] for _ in range(2))
    electrons = reads.simulate(rng, rates, NOISE, shape, hits)
    flags = np.where(rng.random(electrons.shape) < 0.05, np.uint8(DQ.DO_NOT_USE), np.uint8(0))
    flags |= np.where(rng.random(electrons.shape) < 0.02, np.uint8(DQ.JUMP_DET), np.uint8(0))
    flags[:, -2:, :, 0] |= np.uint8(DQ.SATURATED)
    noise = rng.uniform(6, 12, shape[1:])
    found = flag_electrons(electrons, pattern, flags=flags, noise=noise)
    expected = flags.copy()
    n_found = 0
    for i, y, x in np.ndindex(shape):
        for d in find_steps(reads, electrons[i, :, y, x], flags[i, :, y, x], noise[y, x], 4.0):
            n_found += 1
            # Differences that share several reads with this one.
            before, after = len(pattern[d]) > 1 and d > 0, len(pattern[d + 1]) > 1 and d + 2 < len(pattern)
            for g in (d + 1, d if before else d + 1, d + 2 if after else d + 1):
                expected[i, g, y, x] |= np.uint8(DQ.JUMP_DET)
    assert n_found > 100
    np.testing.assert_array_equal(found, expected)


def find_in_two_points(electrons, threshold=4.0):
    """Find ramps (I, G, y, x) with a difference off the median by more than its own noise allows; single reads."""
    d = np.diff(electrons, axis=1)
    median = np.median(d, axis=1, keepdims=True)
    return (np.abs(d - median) > threshold * np.sqrt(np.maximum(median, 0) + 2 * NOISE**2)).any(axis=1)


class TestHits:
    @pytest.mark.parametrize("rate", [0.0, 5.0, 100.0])
    def test_hits_above_200_electrons_are_found(self, rate):
        rng = np.random.default_rng(int(rate))
        shape = (1, 100, 200)
        hits, when = hit_once(rng, SINGLE, shape, 200 + rng.exponential(300, shape))
        electrons = Reads(SINGLE, 5.0).simulate(rng, rate, NOISE, shape, hits)
        jumps = (flag_electrons(electrons) & DQ.JUMP_DET) != 0
        found = np.take_along_axis(jumps, when[:, None], axis=1)
        assert found.mean() >= 0.995

    @pytest.mark.parametrize("rate", [0.0, 5.0, 100.0, 3000.0])
    @pytest.mark.parametrize("pattern", [SINGLE, EVEN], ids=["single", "even"])
    def test_few_ramps_without_a_hit_have_a_jump(self, pattern, rate):
        electrons = Reads(pattern, 5.0).simulate(np.random.default_rng(1), rate, NOISE, (1, 100, 200))
        assert (flag_electrons(electrons, pattern) & DQ.JUMP_DET).any(axis=1).mean() <= 0.003

    def test_dark_ramps_show_more_than_two_points_do(self):
        rng = np.random.default_rng(2)
        reads, shape = Reads(SINGLE, 5.0), (1, 200, 200)
        quiet = reads.simulate(rng, 0.02, NOISE, shape)
        hits, when = hit_once(rng, SINGLE, shape, 50.0)
        hit = reads.simulate(rng, 0.02, NOISE, shape, hits)
        false = (flag_electrons(quiet) & DQ.JUMP_DET).any(axis=1).mean()
        found = np.take_along_axis(flag_electrons(hit) & DQ.JUMP_DET, when[:, None], axis=1).astype(bool).mean()
        assert false < 0.0012 < find_in_two_points(quiet).mean()
        assert find_in_two_points(hit).mean() < 0.48 < 0.65 < found

    def test_a_hit_during_the_reads_of_a_group_flags_both_of_its_differences(self):
        # 1000 electrons half way through the third group: half of them in each difference.
        electrons = np.array([0.0, 0.0, 500.0, 1000.0, 1000.0, 1000.0]).reshape(1, 6, 1, 1)
        found = flag_electrons(electrons, EVEN).ravel()
        assert (found[2:4] == 4).all()
        # One after the first read shows in one difference only, the other goes with it.
        electrons = np.array([0.0, 0.0, 15.0, 60.0, 60.0, 60.0]).reshape(1, 6, 1, 1)
        assert flag_electrons(electrons, EVEN).ravel().tolist() == [0, 0, 4, 4, 4, 0]


class TestFlags:
    def ramp(self):
        return (np.arange(10.0) * 20 + 1000 * (np.arange(10) > 4)).reshape(1, 10, 1, 1) * np.ones((2, 10, 1, 5))

    def test_pixels_that_are_not_searched(self):
        pixeldq = np.array([[0, DQ.DO_NOT_USE, DQ.REFERENCE_PIXEL, DQ.HOT, 0]], np.uint32)
        found = flag_electrons(self.ramp(), pixeldq=pixeldq, noise=np.array([[9.0, 9.0, 9.0, 9.0, np.nan]]))
        assert (found[:, 5] == [[4, 0, 0, 4, 0]]).all()
        assert not np.delete(found, 5, axis=1).any()

    def test_integrations_are_independent(self):
        ramp = self.ramp()
        ramp[1] = 0.0
        found = flag_electrons(ramp)
        assert (found[0, 5] == 4).all()
        assert not found[1].any()

    def test_negative_jumps_count(self):
        assert (flag_electrons(-self.ramp())[:, 5] == 4).all()

    @pytest.mark.parametrize("n_usable", [2, 3])
    def test_three_differences_are_needed(self, n_usable):
        ramp, flags = self.ramp(), np.zeros((2, 10, 1, 5), np.uint8)
        flags[:, : 5 - n_usable] = DQ.DO_NOT_USE
        flags[:, 6:] = DQ.SATURATED
        found = flag_electrons(ramp, flags=flags)
        assert (found[:, 5] == (4 if n_usable == 3 else 0)).all()

    def test_threshold(self):
        ramp = self.ramp()
        # A step of 40 electrons between means of five reads each, of 9 e: 40/(9·√2) if the rate is known.
        ramp[:, 5:] -= 960.0
        heights = [bool(flag_electrons(ramp, threshold=threshold).any()) for threshold in (2.0, 4.0)]
        assert heights == [True, False]

    def test_many_groups(self):
        rng = np.random.default_rng(3)
        pattern = [[k] for k in range(1, 81)]
        reads = Reads(pattern, 5.0)
        electrons = reads.simulate(rng, 5.0, NOISE, (1, 1, 4))
        electrons[:, 60:] += 500.0
        found = flag_electrons(electrons, pattern)
        assert np.argwhere(found[0, :, 0]).tolist() == [[60, x] for x in range(4)]

    def test_rows_give_the_same_flags_and_nothing_is_modified(self):
        rng = np.random.default_rng(4)
        shape = (2, 12, 40)
        hits, _ = hit_once(rng, SINGLE, shape, 300.0)
        electrons = Reads(SINGLE, 5.0).simulate(rng, 20.0, NOISE, shape, hits).astype(np.float32)
        flags = np.zeros(electrons.shape, np.uint8)
        before = electrons.copy()
        whole = flag_electrons(electrons, flags=flags)
        part = flag_electrons(electrons[:, :, 5:9], flags=flags[:, :, 5:9])
        np.testing.assert_array_equal(part, whole[:, :, 5:9])
        np.testing.assert_array_equal(electrons, before)
        assert not flags.any()
