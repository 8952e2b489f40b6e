"""Hits and clipped reads of simulated ramps are found, and little else is flagged."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_closure import PATTERNS, close, find_groupdq, simulate

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.simulate import Detector, ExposurePlan, read_truth
from cal_pipeline.steps.imager import DqInitStep

pytestmark = pytest.mark.imager

SIZES = [64, pytest.param(256, marks=pytest.mark.slow)]


def is_sensitive(files):
    """Pixels that see light, (y, x)."""
    ramp = DqInitStep.call(files.visit / "exp_000001", references=str(files.references))
    return (ramp.pixeldq & (DQ.REFERENCE_PIXEL | DQ.DEAD)) == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rate", [0.0, 5.0, 100.0])
def test_hits_are_found(tmp_path, rate, size):
    plan = ExposurePlan(rate=rate, hits=1e-3, hit_charge=(200.0, 20000.0), stars=False, n_integrations=2)
    files = simulate(tmp_path, [plan], Detector(size=size, hot_fraction=0.0), seed=3)
    flags, truth = find_groupdq(files), read_truth(files.visit, 1)
    jumped, hits = (flags & DQ.JUMP_DET) != 0, truth.hits
    # The first group has no difference to a group before it.
    later = hits.read > 1
    found = jumped[hits.integration, hits.read - 1, hits.y, hits.x][later]
    sensitive = is_sensitive(files)
    clean = np.repeat(sensitive[None], 2, axis=0)
    clean[hits.integration, hits.y, hits.x] = False
    assert found.size > (100 if size == 64 else 2000)
    assert found.mean() >= 0.995 - 3.0 * np.sqrt(0.005 / found.size)
    assert jumped.any(axis=1)[clean].mean() <= 0.003
    assert not jumped[..., ~sensitive].any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rate", [800.0, 2000.0, 9000.0])
@pytest.mark.parametrize("pattern", [*PATTERNS, "averaged"])
def test_clipped_groups_are_flagged(tmp_path, pattern, rate, size):
    reads = {**PATTERNS, "averaged": {"nframes": 4, "n_groups": 10, "frame_time": 1.25}}[pattern]
    # Illumination from half to twice the rate makes ramps clip in all groups.
    light = rate * np.geomspace(0.5, 2.0, size)[:, None] * np.ones(size)
    plan = ExposurePlan(rate=light, stars=False, hits=0.0, **reads)
    files = simulate(tmp_path, [plan], Detector(size=size, hot_fraction=0.0), seed=5)
    flags, truth, sensitive = find_groupdq(files)[0], read_truth(files.visit, 1), is_sensitive(files)
    clipped = (np.arange(len(flags))[:, None, None] >= truth.first_clipped[0]) & sensitive
    missed = clipped & ((flags & DQ.SATURATED) == 0)
    # The first group of several reads that the next one does not give away, and that has no two before it.
    excepted = np.zeros_like(missed)
    excepted[1] = len(plan.reads()[1]) > 1
    assert not (missed & ~excepted).any()
    assert missed.sum() <= 0.01 * clipped.sum()


def test_a_hit_that_clips_the_last_group_is_the_exception(tmp_path):
    # Half of the hits fall between the reads of the last group, which are averaged.
    plan = ExposurePlan(
        rate=5.0, read_pattern=((1,), (2,), (3,), (4, 5, 6, 7)), hits=2e-3, hit_charge=(9e4, 1e5), stars=False
    )
    files = simulate(tmp_path, [plan], Detector(size=64, hot_fraction=0.0, dead_fraction=0.0), seed=5)
    flags, truth = find_groupdq(files)[0], read_truth(files.visit, 1)
    clipped = np.arange(4)[:, None, None] >= truth.first_clipped[0]
    missed = clipped & ((flags & DQ.SATURATED) == 0)
    assert missed[3].sum() > 20
    assert not missed[:3].any()
    assert ((flags[3] & DQ.JUMP_DET) != 0)[missed[3]].mean() > 0.99


@pytest.mark.parametrize("pattern", PATTERNS)
def test_strong_hits_leave_no_rate_far_off_without_a_flag(tmp_path, pattern):
    plan = ExposurePlan(rate=100.0, hits=1e-3, hit_charge=(15000.0, 20000.0), stars=False, **PATTERNS[pattern])
    found = close(tmp_path, plan, Detector(size=64, hot_fraction=0.0), seed=8)
    pull = np.abs((found.image.data - found.truth.rate) / found.image.err)
    far = found.usable & (pull > 6.0)
    # A strong hit early in averaged groups looks like the way to saturation, which leaves two differences.
    assert far.any() == (pattern == "uneven")
    assert ((found.image.dq[far] & (DQ.SATURATED | DQ.JUMP_DET)) != 0).all()
    assert far.sum() <= 0.05 * (found.hit & found.usable).sum()
