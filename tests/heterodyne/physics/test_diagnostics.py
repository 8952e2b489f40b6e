"""Differences of empty skies."""

from __future__ import annotations

import numpy as np

from cal_pipeline.heterodyne.physics.diagnostics import chop_phase_differences, sky_spectra


def test_sky_against_the_hot_load():
    hot, gamma = np.full((3, 1, 1), 900.0), np.full((3, 1, 1), 2.0)
    off = np.full((3, 1, 1, 2), 500.0)
    off[0, ..., 1] = np.nan
    bad = np.array([False, False, True])[:, None, None]
    sky = sky_spectra(off, hot, gamma, bad)
    np.testing.assert_array_equal(sky[:, 0, 0], [[-200.0, np.nan], [-200.0, -200.0], [np.nan, np.nan]])


def test_chop_phases_are_compared_with_the_first():
    sky = np.array([10.0, 7.0, 12.0])[None, :, None, None] * np.ones((2, 3, 1, 1))
    factor = np.array([0.5, np.nan])[:, None, None]
    difference = chop_phase_differences(sky, factor)
    assert difference.shape == (2, 2, 1, 1)
    np.testing.assert_array_equal(difference[:, :, 0, 0], [[1.5, -1.0], [np.nan, np.nan]])
