"""Ramp fit beside the likelihood fit of another package, stcal."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_ramps import EVEN, SINGLE, Reads

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.ramp_fit import fit_ramps
from cal_pipeline.imager.physics.reads import compute_read_times

pytestmark = [pytest.mark.imager, pytest.mark.slow]

NOISE = 9.0


def fit_with_stcal(electrons, flags, pattern, frame_time):
    """Fit by stcal's likelihood, without its own search for jumps.

    It aborts the interpreter on other types than these and changes what it is given, so all are copies. Its read noise
    is that of a difference of two reads.
    """
    ramp_fit = pytest.importorskip("stcal.ramp_fitting.ramp_fit", reason="stcal is not installed")
    ramp_fit_class = pytest.importorskip("stcal.ramp_fitting.ramp_fit_class")
    shape = electrons.shape[2:]
    ramps = ramp_fit_class.RampData()
    ramps.set_arrays(
        electrons.astype(np.float32),
        flags.astype(np.uint8),
        np.zeros(shape, np.uint32),
        np.zeros(shape, np.float32),
    )
    n = len(pattern[0])
    ramps.set_meta("imager", np.float32(frame_time), np.float32(n * frame_time), 0, n)
    names = ("DO_NOT_USE", "JUMP_DET", "SATURATED", "PERSISTENCE", "NO_GAIN_VALUE", "UNRELIABLE_SLOPE", "CHARGELOSS")
    ramps.set_dqflags({name: int(DQ[name]) for name in names})
    ramps.read_pattern = [[read * frame_time for read in reads] for reads in pattern]
    ramps.rejection_threshold = 1e3
    ramps.algorithm = "LIKELY"
    ramps.start_row, ramps.num_rows = 0, shape[0]
    noise, gain = np.full(shape, np.sqrt(2) * NOISE, np.float32), np.ones(shape, np.float32)
    image, _, _ = ramp_fit.ramp_fit_data(ramps, False, noise, gain, "LIKELY", "optimal", "none")
    return image["slope"], image["err"]


def test_scatter_and_errors_are_those_of_stcal():
    rates = np.array([0.1, 5.0, 100.0, 1000.0])
    for pattern in (SINGLE, EVEN):
        reads = Reads(pattern, 5.0)
        electrons = reads.simulate(np.random.default_rng(0), rates[:, None], NOISE, (1, 4, 5000)).astype(np.float32)
        flags = np.zeros(electrons.shape, np.uint8)
        flags[:, -2:, :, ::5] = DQ.SATURATED
        one, pixeldq = np.ones(electrons.shape[2:], np.float32), np.zeros(electrons.shape[2:], np.uint32)
        fit = fit_ramps(electrons, flags, pixeldq, one, NOISE * one, compute_read_times(pattern, 5.0))
        slope, err = fit_with_stcal(electrons, flags, pattern, 5.0)
        deviation, other = fit.rate - rates[:, None], slope - rates[:, None]
        np.testing.assert_allclose(deviation.std(axis=1), other.std(axis=1), rtol=1e-3)
        np.testing.assert_allclose(fit.err.mean(axis=1), err.mean(axis=1), rtol=1e-3)
        assert np.abs((deviation - other) / fit.err).max() < 0.05
