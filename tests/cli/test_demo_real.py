"""The demo on real counts, without them: what it says, and how it compares."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from cal_pipeline.cli import demo
from cal_pipeline.cli.demo_real import SESSION, ComparedFigure, find_session, measure_noise_ratios
from cal_pipeline.errors import StoreError


def make_counts(folder):
    (folder / SESSION / "scan_000131/source/data_5d").mkdir(parents=True)
    return folder / SESSION


def test_session_is_found_in_its_folder_or_by_itself(tmp_path):
    session = make_counts(tmp_path)
    assert find_session(tmp_path) == session
    assert find_session(session) == session


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ([], "lacks the real counts: it is empty; expected gbt_wband_m82.zarr with scan 131"),
        (["other.zarr", "READ\x1bME"], "it holds READ\\x1bME, other.zarr; expected"),
        ([SESSION], f"it holds {SESSION}; expected {SESSION} with scan 131"),
    ],
)
def test_folder_without_the_counts_is_refused(tmp_path, capsys, inside, words):
    for name in inside:
        (tmp_path / name).mkdir()
    with pytest.raises(StoreError) as refused:
        find_session(tmp_path)
    assert words in str(refused.value)
    assert demo.main([str(tmp_path / "out"), "--real", str(tmp_path)]) == 1
    assert "lacks the real counts" in capsys.readouterr().err


def test_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert demo.main([str(tmp_path / "out"), "--real", str(tmp_path / "nowhere")]) == 1
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("other", [["--imager"], ["--cherenkov"], ["--seed", "2"], ["--size", "200"]])
def test_options_of_other_demos_are_refused(tmp_path, other, capsys):
    assert demo.main([str(tmp_path / "out"), "--real", str(tmp_path), *other]) == 1
    printed = capsys.readouterr().err
    assert "not allowed with argument --real" in printed or "give --imager" in printed


@pytest.mark.parametrize(
    ("expected", "found", "cells", "agrees"),
    [
        (100.0, 100.05, ("100.00", "100.05", "+0.05 %"), True),
        (100.0, 99.0, ("100.00", "99.00", "-1.00 %"), False),
        (None, 5.0, ("", "5.00", ""), True),
        (100.0, np.nan, ("100.00", "nan", "+nan %"), False),
    ],
)
def test_figures_agree_within_their_tolerance(expected, found, cells, agrees):
    figure = ComparedFigure("x", expected, found, 1e-3, ".2f")
    assert (figure.cells, figure.agrees) == (cells, agrees)


def test_noise_of_a_mean_is_measured_between_channels():
    # Three ONs of 1 K noise, half of it that of one OFF; and a baseline that is no noise.
    rng, n = np.random.default_rng(1), 20_000
    own, common = rng.normal(size=(n, 3)) * np.sqrt(0.5), rng.normal(size=(n, 1)) * np.sqrt(0.5)
    spectra = (own + common + np.linspace(0.0, 50.0, n)[:, None])[:, None]
    of_reference = ("off", "subscan")
    pixel = xarray.Dataset(
        {
            "spectra": (("channel", "dump", "subscan"), spectra),
            "flags": (("channel", "dump", "subscan"), np.zeros(spectra.shape, np.uint16)),
            "sigma": (("channel", "subscan"), np.ones((n, 3), np.float32)),
            "t_int": ("subscan", np.ones(3)),
            "ref_share": (of_reference, np.array([[0.5] * 3, [0.0] * 3]), {"reference": "mean"}),
            "ref_off": (of_reference, np.array([[3] * 3, [-1] * 3])),
        },
        {"pixel": "A", "signal_freqs": ("channel", np.arange(n, dtype=float))},
    )
    quoted, independent = measure_noise_ratios(pixel)
    assert quoted == pytest.approx(1.0, abs=0.03)
    assert independent == pytest.approx(np.sqrt((0.5 / 3 + 0.5) * 3), abs=0.05)
