"""Limits of checks, with those of a detector that this package does not have."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from cal_pipeline.core.limits import Limit, LimitsTable, QualityLimitsError

TABLE = LimitsTable(("read_noise", "dead", "dark_current"), ("detector", "mode"), "temperature_range_k", "K")
LIMITS = """
[default.read_noise]
explanation = "not as noisy as expected"
questionable = 1.2
fail = 2.0
questionable_below = 0.8

[default.dead]
explanation = "dead"
questionable = 0

[[section]]
detector = "H*"
read_noise = { questionable = 1.5 }

[[section]]
mode = "FAST"
temperature_range_k = [40, 80]
read_noise = { fail = 10.0 }
dark_current = { explanation = "light leaks in", fail = inf }
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text=LIMITS, table=TABLE):
        (tmp_path / "q.toml").write_text(text)
        return table.read(tmp_path / "q.toml")

    return from_text


@pytest.mark.parametrize(
    ("described", "temperature", "questionable", "fail"),
    [
        ({}, math.nan, 1.2, 2.0),
        ({"detector": "H2RG", "mode": None}, 50.0, 1.5, 2.0),
        ({"detector": "h2rg", "mode": "fast"}, 50.0, 1.5, 10.0),
        ({"mode": "fast"}, 80.0, 1.2, 10.0),
        ({"mode": "fast"}, 90.0, 1.2, 2.0),
        ({"mode": "fast"}, math.nan, 1.2, 2.0),
    ],
)
def test_sections_suit_data(read, described, temperature, questionable, fail):
    limits = read().for_data(described, temperature)
    assert (limits.checks["read_noise"].questionable, limits.checks["read_noise"].fail) == (questionable, fail)
    assert ("dark_current" in limits.checks) == (fail == 10.0)
    assert limits.file == "q.toml"
    assert len(limits.sha256) == 64


def test_later_sections_win(read):
    more = '[[section]]\ndetector = "H2*"\nread_noise = { questionable = 1.7 }'
    assert read(LIMITS + more).for_data({"detector": "H2RG"}).checks["read_noise"].questionable == 1.7


def test_a_family_without_selectors(read):
    table = LimitsTable(("dead",))
    assert read('[default.dead]\nexplanation = "dead"\nfail = 0', table).for_data({}).checks["dead"].fail == 0
    with pytest.raises(QualityLimitsError, match=r"section\[0\].detector is not known; expected dead"):
        read('[[section]]\ndetector = "H*"', table)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("read_noise]", "red_noise]"), "default.red_noise is not known; did you mean 'read_noise'"),
        (("fail = 2.0", "fial = 2.0"), "read_noise.fial is not known; did you mean 'fail'"),
        (("fail = 2.0", 'fail = "2"'), "fail is '2', expected a number"),
        (("fail = 2.0", "fail = true"), "fail is True, expected a number"),
        (('explanation = "dead"', ""), "default.dead lacks an explanation"),
        (('explanation = "dead"', "explanation = 3"), "explanation is 3, expected text"),
        (("detector =", "detecter ="), r"section\[0\].detecter is not known; did you mean 'detector'"),
        (("fail = 2.0", "fail = two"), "cannot be read"),
        (("fail = 2.0", "fail = nan"), "fail is nan, expected a number"),
        (("read_noise = { questionable = 1.5 }", "read_noise = 1.5"), "read_noise is 1.5, expected a table"),
        (('detector = "H*"', "detector = 2"), "detector is 2, expected text"),
        (("[40, 80]", "40"), "temperature_range_k is 40, expected .lowest, highest. in K"),
        (("[40, 80]", "[80, 40]"), "temperature_range_k is .80, 40., expected .lowest, highest. in K"),
        (('{ explanation = "light leaks in", fail = inf }', "{ fail = 1 }"), r"section\[1\].dark_current lacks an"),
        ((LIMITS, '[section]\ndetector = "T"'), r"section is one table, expected \[\[section\]\]"),
        ((LIMITS, "default = 3"), "default is 3, expected a table"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(read, change, words):
    with pytest.raises(QualityLimitsError, match=rf"q\.toml:? (.*\.)?{words}"):
        read(LIMITS.replace(*change))


def test_a_file_that_changes_is_read_again(read, tmp_path):
    before = read()
    changed = (tmp_path / "q.toml").stat().st_mtime_ns + 1
    (tmp_path / "q.toml").write_text(LIMITS.replace("fail = 2.0", "fail = 2.5"))
    os.utime(tmp_path / "q.toml", ns=(changed, changed))
    after = TABLE.read(str(tmp_path / "q.toml"))
    assert (before.default["read_noise"]["fail"], after.default["read_noise"]["fail"]) == (2.0, 2.5)
    assert before.sha256 != after.sha256


@pytest.mark.parametrize(
    ("limit", "severity", "crossed"),
    [
        (Limit("", questionable=1.0, fail=2.0), [0, 0, 1, 2, 0], ([1.0], [2.0])),
        (Limit("", questionable_below=1.0, fail_below=0.0), [2, 0, 0, 0, 0], ([1.0], [0.0])),
        (Limit("", questionable=1.0, fail=math.inf, fail_below=-math.inf), [0, 0, 1, 1, 0], ([1.0], [])),
    ],
)
def test_values_beyond_a_limit(limit, severity, crossed):
    assert limit.severity(np.array([-1.0, 1.0, 1.5, 3.0, np.nan])).tolist() == severity
    assert (limit.crossed(1), limit.crossed(2)) == crossed


def test_a_check_of_several_values_has_a_limit_for_each(read):
    table = LimitsTable(("ripple",), several={"ripple": ("in_sigma", "in_kelvin")})
    text = '[default.ripple]\nexplanation = "a wave"\nquestionable = [5, 0.1]\nfail = [20, inf]\n'
    limit = read(text, table).for_data({}).checks["ripple"]
    values = np.array([4.0, 6.0, 6.0, 99.0]), np.array([1.0, 0.05, 0.2, 1.0])
    assert limit.severity(*values).tolist() == [0, 0, 1, 1]
    assert (limit.crossed(1), limit.crossed(2)) == ([5, 0.1], [20])
    with pytest.raises(QualityLimitsError, match=r"default.ripple.fail is 20, expected \[in_sigma, in_kelvin\]"):
        read(text.replace("[20, inf]", "20"), table)
