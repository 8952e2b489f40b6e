"""The demo of the imager, on a small scale."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cal_pipeline.cli import demo, demo_imager
from cal_pipeline.report.mosaic_plots import plot_stars

pytestmark = pytest.mark.imager


@pytest.mark.slow
def test_demo_recovers_what_it_put_in(tmp_path, capsys, warm, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(warm.bin / "python"))
    assert demo.main(["--imager", "--size=96", "--seed=2", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    assert "all recovered" in printed
    for pipeline in ("detector1", "preprocess_dark", "preprocess_flatfield", "image2", "image3"):
        assert f"$ strun {pipeline} " in printed
    pictures = sorted(path.name for path in (tmp_path / "demo").glob("*.png"))
    assert pictures == ["FIELD_H_mosaic.png", "FIELD_H_stars.png"]
    assert all((tmp_path / "demo" / name).stat().st_size > 10_000 for name in pictures)


def test_options_of_the_imager_need_it(tmp_path, capsys):
    assert demo.main(["--size=96", str(tmp_path / "demo")]) == 1
    assert "--size is for the imager; give --imager as well" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("size", [0, 64])
def test_a_detector_too_small_for_stars_is_refused(tmp_path, capsys, size):
    assert demo.main(["--imager", f"--size={size}", str(tmp_path / "demo")]) == 1
    assert f"--size {size} must be at least 96" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_the_trail_is_in_one_image():
    plans = demo_imager.make_visit(64, 1).exposures
    assert [plan.exp_type for plan in plans if plan.trail > 0] == ["SCI"]


def test_a_flux_off_by_more_than_errors_and_accuracy_is_not_recovered():
    true = np.full(3, 100.0)
    stars = demo_imager.StarComparison(
        true + np.array([0.0, 4.9, -5.1]), np.ones(3), true, np.zeros(3), np.zeros(3, bool)
    )
    assert stars.is_recovered.tolist() == [True, True, False]


def test_picture_of_stars(tmp_path):
    true = np.geomspace(10.0, 500.0, 20)
    plot_stars(true, 1.01 * true, np.sqrt(true), tmp_path / "stars.png", "$stars$", {"apart": true > 100.0})
    assert (tmp_path / "stars.png").stat().st_size > 5000
