"""Verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.models.quality import CHECKS, Figures, QualityLimitsError, quality, read_limits

PIXEL = np.array([["A"], ["B"], ["C"]])
LIMITS = """
[default.noise_ratio]
explanation = "not as noisy as expected"
questionable = 1.2
fail = 2.0
questionable_below = 0.8

[default.dead_pixel]
explanation = "dead"
questionable = 0
fail = 0

[default.pwv_at_bound]
explanation = "at the bound"
questionable = 0

[[section]]
telescope = "T*"
noise_ratio = { questionable = 1.5 }

[[section]]
frontend = "RX"
frequency_range_hz = [1e12, 2e12]
noise_ratio = { fail = 10.0 }
"""


def column(*values):
    return np.array(values)[:, None]


@pytest.fixture
def limits(tmp_path):
    def read(text=LIMITS, telescope=None, frontend=None, frequency=5e11):
        (tmp_path / "q.toml").write_text(text)
        return read_limits(tmp_path / "q.toml").for_data(telescope, frontend, frequency)

    return read


@pytest.mark.parametrize(
    ("ratios", "verdict", "pixels"),
    [
        ((1.0, 1.1, 0.9), "pass", []),
        ((1.0, 1.3, 0.9), "questionable", ["B"]),
        ((1.0, 1.3, 0.7), "questionable", ["B", "C"]),
        ((1.0, 3.0, 1.0), "questionable", ["B"]),
        ((1.0, 3.0, 4.0), "fail", ["B", "C"]),
        ((np.nan, 1.0, 1.0), "pass", []),
    ],
)
def test_a_figure_against_its_limits(limits, ratios, verdict, pixels):
    found = quality(Figures(noise_ratio=column(*ratios)), PIXEL, limits())
    assert found["verdict"] == verdict
    assert [name for item in found["verdicts"] for name in item["pixels"]] == pixels
    assert found["checks"] == ["noise_ratio"]
    for item in found["verdicts"]:
        assert item["name"] == "noise_ratio"
        assert item["explanation"] == "not as noisy as expected"
        assert item["value"] in ratios
    assert found["noise_ratio_median"] == pytest.approx(np.nanmedian(ratios))


def test_a_dead_pixel_is_named_and_judged_for_nothing_else(limits):
    figures = Figures(noise_ratio=column(1.0, 9.0, 1.0), bad_channel_fraction=column(0.1, 1.0, 0.0))
    found = quality(figures, PIXEL, limits())
    assert [(item["name"], item["verdict"], item["pixels"]) for item in found["verdicts"]] == [
        ("dead_pixel", "questionable", ["B"])
    ]
    assert found["bad_channel_fraction"] == pytest.approx(1.1 / 3)


def test_a_bound_is_reported_with_the_pixel(limits):
    figures = Figures(pwv_at_bound=column(False, True, False), pwv_converged=column(True, True, False))
    found = quality(figures, PIXEL, limits())
    assert found["pwv_at_bound"] is True
    assert found["pwv_converged"] is False
    assert found["verdicts"][0]["pixels"] == ["B"]
    assert found["pixels"]["B"]["pwv_at_bound"] is True


def test_flags(limits):
    flags = {"": column(0.5, 0.0, 0.1), "FILL_VALUE": column(0.5, 0.0, 0.0)}
    found = quality(Figures(flagged_fraction=flags), PIXEL, limits())
    assert found["flagged_fraction"] == pytest.approx(0.2)
    assert found["flagged_fraction_by_flag"] == {"FILL_VALUE": pytest.approx(0.5 / 3)}
    assert found["pixels"]["A"]["flagged_fraction_FILL_VALUE"] == 0.5


@pytest.mark.parametrize(
    ("data", "questionable", "fail"),
    [
        ({}, 1.2, 2.0),
        ({"telescope": "T800"}, 1.5, 2.0),
        ({"frontend": "rx", "frequency": 1.5e12}, 1.2, 10.0),
        ({"frontend": "rx", "frequency": 1e11}, 1.2, 2.0),
    ],
)
def test_sections(limits, data, questionable, fail):
    limit = limits(**data).checks["noise_ratio"]
    assert (limit.questionable, limit.fail) == (questionable, fail)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("noise_ratio]", "noise_rate]"), "noise_rate is not known; did you mean 'noise_ratio'"),
        (("fail = 2.0", "fial = 2.0"), "noise_ratio.fial is not known; did you mean 'fail'"),
        (("fail = 2.0", 'fail = "2"'), "fail is '2', expected a number"),
        (('explanation = "dead"', ""), "dead_pixel lacks an explanation"),
        (("telescope =", "telescop ="), "telescop is not known"),
        (("fail = 2.0", "fail = two"), "cannot be read"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(limits, change, words):
    with pytest.raises(QualityLimitsError, match=words):
        limits(LIMITS.replace(*change))


def test_the_limits_that_come_with_the_package():
    known = read_limits()
    assert set(known.default) == set(CHECKS)
    chai = known.for_data("CCAT", "CHAI_LFA", 461e9)
    assert chai.checks["t_rec_ssb_K"].questionable < known.for_data("X", "Y", 1e12).checks["t_rec_ssb_K"].questionable
    assert len(chai.sha256) == 64
