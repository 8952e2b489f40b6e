"""Simulated statistics of a camera: the truth is in the file, and seeds repeat them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cal_pipeline.cherenkov.camera import FLATFIELD, PEAK_TIME, PEDESTAL, STATISTICS
from cal_pipeline.cherenkov.hdf5 import read_table
from cal_pipeline.cherenkov.simulate.camera import (
    AGGREGATION_MODES,
    TRUTH,
    CameraModel,
    draw_camera,
    simulate_camera,
    simulate_statistics,
)

pytestmark = pytest.mark.cherenkov

SMALL = CameraModel(n_pixels=40, n_events=200, broken_pixels=0.05)


def test_pixels() -> None:
    truth = draw_camera(CameraModel(n_pixels=20_000), seed=3)
    assert (truth.gain / [[15], [1]]).std(axis=1) == pytest.approx([0.1, 0.1], rel=0.03)
    assert truth.n_pe.mean() == pytest.approx(80, rel=0.002)
    assert truth.n_pe.std() == pytest.approx(4, rel=0.03)
    assert truth.time_shift.std() == pytest.approx(0.3, rel=0.03)
    assert np.median(truth.time_shift) == 0
    assert truth.broken.sum() == 200
    assert truth.pedestal.mean() == pytest.approx(400, abs=0.05)


def test_charges() -> None:
    model = CameraModel(n_pixels=2, n_events=100_000, qe_spread=0, gain_spread=0, broken_pixels=0)
    truth = draw_camera(model, seed=1)
    _, dark = simulate_statistics(model, truth, PEDESTAL, np.random.default_rng(1))
    median, bright = simulate_statistics(model, truth, FLATFIELD, np.random.default_rng(2))
    np.testing.assert_allclose(dark, [[30, 30], [8, 8]], rtol=0.02)
    np.testing.assert_allclose(median - 12 * truth.pedestal, [[1200] * 2, [80] * 2], rtol=0.01)
    variance = 1.222 * 80 * np.array([[225.0], [1.0]]) + np.array([[900.0], [64.0]])
    np.testing.assert_allclose(bright**2, np.broadcast_to(variance, (2, 2)), rtol=0.03)


def test_broken_pixels_have_no_data() -> None:
    truth = draw_camera(SMALL, seed=1)
    for kind in (PEDESTAL, FLATFIELD, PEAK_TIME):
        median, std = simulate_statistics(SMALL, truth, kind, np.random.default_rng(1))
        assert (np.isnan(median) == truth.broken).all()
        assert (np.isnan(std) == truth.broken).all()


@pytest.mark.parametrize("mode", AGGREGATION_MODES)
def test_seeds(tmp_path: Path, mode: str) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_camera(tmp_path / name, mode, SMALL, seed=seed)
    for node in (TRUTH, *(f"{STATISTICS}/{kind}/tel_001" for kind in (PEDESTAL, FLATFIELD, PEAK_TIME))):
        first, second, third = (read_table(tmp_path / name, node) for name in "abc")
        for column in first.colnames:
            assert first[column].tobytes() == second[column].tobytes()
        assert "median" not in first.colnames or not np.array_equal(first["median"], third["median"])


def test_truth_is_in_the_file(tmp_path: Path) -> None:
    truth = simulate_camera(tmp_path / "a.h5", "sims_single_chunk", SMALL, seed=5)
    (row,) = read_table(tmp_path / "a.h5", TRUTH)
    for name, values in vars(truth).items():
        np.testing.assert_array_equal(row[name], values)
