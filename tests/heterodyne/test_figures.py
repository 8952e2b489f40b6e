"""Figures of heterodyne bands and their limits, and what it takes to add one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline.core.files.selection import cfg_folder
from cal_pipeline.core.quality import Figure
from cal_pipeline.heterodyne import figures
from cal_pipeline.heterodyne.figures import LIMITS, QUALITY
from cal_pipeline.heterodyne.quality_rows import COLUMNS

SHIPPED = cfg_folder() / "quality.toml"
PAGE = Path(__file__).parents[2] / "docs" / "quality.rst"


def questionable(telescope, frontend, frequency):
    described = {"telescope": telescope, "frontend": frontend}
    return LIMITS.read(SHIPPED).for_data(described, frequency).checks["t_rec_ssb_K"].questionable


def test_every_check_has_a_limit():
    known = LIMITS.read(SHIPPED)
    assert set(known.default) == set(QUALITY.checks)
    assert len(known.sha256) == 64


@pytest.mark.parametrize(
    ("telescope", "frontend", "frequency", "limit"),
    [
        ("CCAT", "CHAI_LFA", 461e9, 400.0),
        ("FYST", "chai", 492e9, 400.0),
        ("CCAT", "CHAI-HFA", 809e9, 1000.0),
        ("SOFIA", "LFA", 1.9e12, 3000.0),
        ("SOFIA", "HFA", 4.745e12, 6000.0),
        ("NRAO_GBT", "Rcvr68_92", 86e9, 250.0),
        (None, None, 345e9, 5000.0),
    ],
)
def test_receivers_are_judged_by_their_kind(telescope, frontend, frequency, limit):
    assert questionable(telescope, frontend, frequency) == limit


@pytest.mark.parametrize("name", sorted({*(f.name for f in QUALITY.figures), *QUALITY.checks}))
def test_the_page_names_every_figure_and_check(name):
    assert f"``{name}``" in PAGE.read_text()


def test_the_page_has_the_limits_of_every_check():
    rows = re.findall(
        r"   \* - ``(\w+)``\n     - [^*]*?\n     -(.*)\n     -(.*)\n", PAGE.read_text().split("Verdicts\n---")[1]
    )
    listed = {name: [re.findall(r"\d[\d.]*", cell) for cell in cells] for name, *cells in rows}
    expected = {}
    for name, limit in LIMITS.read(SHIPPED).default.items():
        cells = ([limit.get(key), limit.get(f"{key}_below")] for key in ("questionable", "fail"))
        numbers = [np.hstack([value for value in cell if value is not None] or [[]]) for cell in cells]
        expected[name] = [[f"{value:g}" for value in cell] for cell in numbers]
    assert listed == expected


def test_columns_are_figures():
    assert set(COLUMNS) <= {f.name for f in QUALITY.figures} | {
        f"flagged_fraction_{flag}" for flag in figures.FLAGS.meanings
    }


def test_a_figure_is_a_function_an_entry_and_its_limits(make_session, calibrate, tmp_path, monkeypatch):
    def spread_of_gamma(band, tally):
        gamma = band.require_loads().solution.gamma
        return np.nanstd(gamma, axis=0) / np.nanmean(gamma, axis=0)

    spread = Figure("gamma_spread", "relative spread of gamma over the channels", spread_of_gamma, checked=True)
    monkeypatch.setattr(figures, "QUALITY", replace(QUALITY, figures=(*QUALITY.figures, spread)))
    monkeypatch.setattr(figures, "LIMITS", replace(LIMITS, checks=figures.QUALITY.checks))
    monkeypatch.setattr(figures, "cfg_folder", lambda: tmp_path)
    limits = '\n[default.gamma_spread]\nexplanation = "gamma is not flat"\nfail_below = 1e9\n'
    (tmp_path / "quality.toml").write_text(SHIPPED.read_text() + limits)
    qa = calibrate(make_session(channels=16)).attributes(1)["qa"]
    assert 0.0 < qa["gamma_spread_median"] < 1e9
    assert qa["pixels"]["CHAI_PX00"]["gamma_spread"] > 0.0
    assert "gamma_spread" in qa["checks"]
    verdict = next(item for item in qa["verdicts"] if item["name"] == "gamma_spread")
    assert (verdict["verdict"], verdict["explanation"]) == ("fail", "gamma is not flat")
    assert verdict["pixels"] == verdict["failing_pixels"] == ["CHAI_PX00", "CHAI_PX01"]
    assert qa["verdict"] == "fail"
