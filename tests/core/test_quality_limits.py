"""Verdicts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cal_pipeline.core.quality import CHECKS, Figures, QualityLimitsError, quality, read_limits

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


def test_pixels_that_fail_are_told_from_those_that_are_questionable(limits):
    found = quality(Figures(noise_ratio=column(1.3, 3.0, 1.0)), PIXEL, limits())
    (verdict,) = found["verdicts"]
    assert (verdict["pixels"], verdict["failing_pixels"]) == (["A", "B"], ["B"])
    assert (verdict["verdict"], verdict["value"], verdict["limit"]) == ("questionable", 3.0, [2.0])


def test_what_is_not_known_is_null(limits):
    figures = Figures(
        noise_ratio=column(np.nan, np.inf, 1.0),
        t_sys_K=column(np.nan, np.nan, np.nan),
        flagged_fraction={"": column(np.nan, 0.0, 0.0)},
    )
    found = json.loads(json.dumps(quality(figures, PIXEL, limits()), allow_nan=False))
    assert found["pixels"]["A"]["noise_ratio"] is None
    assert found["pixels"]["A"]["gain_drift"] is None
    assert found["t_sys_median_K"] is None
    assert found["verdicts"][0]["pixels"] == ["B"]


def test_a_limit_that_is_never_crossed(limits):
    text = LIMITS.replace("fail = 2.0", "fail = inf")
    found = quality(Figures(noise_ratio=column(9.0, 9.0, 9.0)), PIXEL, limits(text))
    assert found["verdict"] == "questionable"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("n_pixels", [1, 2, 3, 64])
def test_a_check_fails_if_most_pixels_fail(limits, n_pixels):
    pixel = np.array([[f"PX{index:02d}"] for index in range(n_pixels)])
    for n_failing in {0, 1, n_pixels // 2, n_pixels // 2 + 1, n_pixels}:
        ratio = np.where(np.arange(n_pixels) < n_failing, 9.0, 1.0)[:, None]
        found = quality(Figures(noise_ratio=ratio), pixel, limits())
        expected = "fail" if n_failing > n_pixels / 2 else "questionable" if n_failing else "pass"
        assert found["verdict"] == expected


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
        (("fail = 2.0", "fail = nan"), "fail is nan, expected a number"),
        (("noise_ratio = { questionable = 1.5 }", "noise_ratio = 1.5"), "noise_ratio is 1.5, expected a table"),
        (('telescope = "T*"', "telescope = 800"), "telescope is 800, expected text"),
        (("[1e12, 2e12]", "1e12"), "expected .lowest, highest. in Hz"),
        (("[1e12, 2e12]", "[2e12, 1e12]"), "expected .lowest, highest. in Hz"),
        (
            ("noise_ratio = { fail = 10.0 }", "gain_drift = { fail = 1 }"),
            r"section\[1\].gain_drift lacks an explanation",
        ),
        ((LIMITS, '[section]\ntelescope = "T"'), r"expected entries \[\[section\]\]"),
        ((LIMITS, "default = 3"), "default is 3, expected a table"),
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


@pytest.mark.parametrize(
    ("telescope", "frontend", "frequency", "questionable"),
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
def test_receivers_are_judged_by_their_kind(telescope, frontend, frequency, questionable):
    assert read_limits().for_data(telescope, frontend, frequency).checks["t_rec_ssb_K"].questionable == questionable


def test_a_file_that_changes_is_read_again(limits, tmp_path):
    before = limits()
    after = limits(LIMITS.replace("fail = 2.0", "fail = 2.5"))
    assert (before.checks["noise_ratio"].fail, after.checks["noise_ratio"].fail) == (2.0, 2.5)
    assert before.sha256 != after.sha256
    assert read_limits(str(tmp_path / "q.toml")).sha256 == after.sha256
