"""Figures and verdicts, with those of a detector that this package does not have."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cal_pipeline.core.limits import NO_LIMIT, Limit, Limits, grade_all
from cal_pipeline.core.quality import Check, Figure, Parts, QualityScheme

CHANNELS = np.array([["A"], ["B"], ["C"]])


def of(name):
    """Make a figure out of a dict of measurements."""
    return lambda data: data.get(name)


SCHEME = QualityScheme(
    elements="channels",
    figures=(
        Figure("read_noise", "noise of a read over that expected", of("read_noise"), checked=True),
        Figure("dark_e", "dark current", of("dark_e"), reduced="dark_median_e"),
        Figure("dark_dn", "the same in counts", lambda data, dark: dark / data["gain"], of=("dark_e",)),
        Figure("lost_fraction", "reads that were lost", of("lost_fraction"), reduce="mean"),
        Figure("saturated", "any read is saturated", of("saturated"), reduce="any", checked=True),
        Figure("linear", "the ramp is a line", of("linear"), reduce="all"),
        Figure("flagged", "flagged reads", of("flagged"), reduce="mean", checked=True, parts=Parts("flagged_by_kind")),
    ),
    derived_checks=(
        Check("dark_over_noise", ("dark_e", "read_noise"), np.divide),
        Check("not_linear", ("linear",), np.logical_not),
        Check("dead", ("lost_fraction",), lambda lost: lost >= 1.0, excludes=True),
        Check("dark_and_noisy", ("dark_e", "read_noise")),
    ),
)
REQUIRING = QualityScheme(
    elements="channels",
    figures=(
        Figure("read_noise", "noise of a read over that expected", of("read_noise"), checked=True, required=True),
        Figure("lost_fraction", "reads that were lost", of("lost_fraction")),
    ),
    derived_checks=(Check("dead", ("lost_fraction",), lambda lost: lost >= 1.0, excludes=True),),
)
LIMITS = Limits(
    {
        "read_noise": Limit("not as noisy as expected", questionable=1.2, fail=2.0, questionable_below=0.8),
        "saturated": Limit("saturated", questionable=0),
        "dead": Limit("dead", questionable=0, fail=0),
    },
    "q.toml",
    "0" * 64,
)


JOINT = ("dark_and_noisy",)


def column(*values):
    return np.array(values)[:, None]


def judge(limits=LIMITS, channels=CHANNELS, **data):
    return SCHEME.judge(SCHEME.measure(data), channels, limits)


@pytest.mark.parametrize(
    ("noise", "verdict", "channels"),
    [
        ((1.0, 1.1, 0.9), "pass", []),
        ((1.0, 1.3, 0.9), "questionable", ["B"]),
        ((1.0, 1.3, 0.7), "questionable", ["B", "C"]),
        ((1.0, 3.0, 1.0), "questionable", ["B"]),
        ((1.0, 3.0, 4.0), "fail", ["B", "C"]),
        ((np.nan, 1.0, 1.0), "pass", []),
    ],
)
def test_a_figure_against_its_limits(noise, verdict, channels):
    found = judge(read_noise=column(*noise))
    assert found["verdict"] == verdict
    assert [name for item in found["verdicts"] for name in item["channels"]] == channels
    assert found["checks"] == ["read_noise"]
    for item in found["verdicts"]:
        assert item["name"] == "read_noise"
        assert item["explanation"] == "not as noisy as expected"
        assert item["value"] in noise
    assert found["read_noise_median"] == pytest.approx(np.nanmedian(noise))


def test_a_dead_channel_is_named_and_judged_for_nothing_else():
    found = judge(read_noise=column(1.0, 9.0, 1.0), lost_fraction=column(0.1, 1.0, 0.0))
    assert [(item["name"], item["verdict"], item["channels"]) for item in found["verdicts"]] == [
        ("dead", "questionable", ["B"])
    ]
    assert found["lost_fraction"] == pytest.approx(1.1 / 3)


def test_yes_and_no_are_reduced_and_named():
    found = judge(saturated=column(False, True, False), linear=column(True, True, False))
    assert (found["saturated"], found["linear"]) == (True, False)
    assert found["verdicts"][0]["channels"] == ["B"]
    assert found["channels"]["B"]["saturated"] is True


def test_elements_that_fail_are_told_from_those_that_are_questionable():
    (verdict,) = judge(read_noise=column(1.3, 3.0, 1.0))["verdicts"]
    assert (verdict["channels"], verdict["failing_channels"]) == (["A", "B"], ["B"])
    assert (verdict["verdict"], verdict["value"], verdict["limit"]) == ("questionable", 3.0, [2.0])


def test_what_is_not_known_is_null():
    found = judge(read_noise=column(np.nan, np.inf, 1.0), dark_e=column(*[np.nan] * 3), gain=2.0)
    found = json.loads(json.dumps(found, allow_nan=False))
    assert found["channels"]["A"]["read_noise"] is None
    assert found["channels"]["A"]["lost_fraction"] is None
    assert found["dark_median_e"] is None
    assert found["verdicts"][0]["channels"] == ["B"]
    assert "flagged" not in found["channels"]["A"]


def test_a_check_without_a_known_value_is_not_among_those_made():
    found = judge(read_noise=column(*[np.nan] * 3))
    assert (found["verdict"], found["checks"]) == ("pass", [])
    assert found["unknown"] == ["dead", "read_noise", "saturated"]
    found = judge(read_noise=column(np.nan, 1.0, np.nan), lost_fraction=column(0.0, 1.0, 0.0))
    assert (found["checks"], found["unknown"]) == (["dead"], ["read_noise", "saturated"])


@pytest.mark.parametrize(
    ("noise", "verdict", "value", "failing", "unknown"),
    [
        ((np.nan, 1.0, 1.0), "questionable", None, [], ["A"]),
        ((np.nan, 1.3, 1.0), "questionable", 1.3, [], ["A"]),
        ((np.nan, 3.0, 1.0), "questionable", 3.0, ["B"], ["A"]),
        ((np.nan, 3.0, 4.0), "fail", 4.0, ["B", "C"], ["A"]),
        ((np.nan, np.nan, np.nan), "questionable", None, [], ["A", "B", "C"]),
        (None, "questionable", None, [], ["A", "B", "C"]),
    ],
)
def test_what_is_required_and_not_known_is_questionable(noise, verdict, value, failing, unknown):
    data = {} if noise is None else {"read_noise": column(*noise)}
    found = json.loads(json.dumps(REQUIRING.judge(REQUIRING.measure(data), CHANNELS, LIMITS), allow_nan=False))
    (told,) = found["verdicts"]
    assert (found["checks"], found["unknown"]) == (["read_noise"], ["dead"])
    assert (found["verdict"], told["value"]) == (verdict, value)
    assert (told["failing_channels"], told["unknown_channels"]) == (failing, unknown)
    assert set(told["channels"]) >= {*failing, *unknown}
    assert told["explanation"] == ("not known" if value is None else "not as noisy as expected")


def test_nothing_is_required_of_a_dead_channel():
    data = {"read_noise": column(1.0, np.nan, 1.0), "lost_fraction": column(0.0, 1.0, 0.0)}
    found = REQUIRING.judge(REQUIRING.measure(data), CHANNELS, LIMITS)
    assert [(item["name"], item["channels"]) for item in found["verdicts"]] == [("dead", ["B"])]


@pytest.mark.parametrize(
    ("dark", "noise", "verdict", "value"),
    [
        (4.0, 1.0, "pass", None),
        (0.1, 9.0, "pass", None),
        (4.0, 1.5, "questionable", [4.0, 1.5]),
        (40.0, 1.5, "questionable", [40.0, 1.5]),
        (40.0, 9.0, "fail", [40.0, 9.0]),
        (np.nan, 9.0, "pass", None),
    ],
)
def test_all_of_several_figures_must_cross_their_limits(dark, noise, verdict, value):
    limits = Limits({"dark_and_noisy": Limit("", questionable=(1.0, 1.2), fail=(10.0, 2.0))}, "", "")
    found = judge(limits, dark_e=column(*[dark] * 3), read_noise=column(*[noise] * 3), gain=1.0)
    assert found["verdict"] == verdict
    assert [item["value"] for item in found["verdicts"]] == ([value] if value else [])
    assert found["unknown"] == (["dark_and_noisy"] if np.isnan(dark) else [])


def test_figures_that_follow_from_others():
    measured = SCHEME.measure({"dark_e": column(2.0, 4.0, 6.0), "gain": 2.0})
    assert measured["dark_dn"].tolist() == [[1.0], [2.0], [3.0]]
    assert set(measured) == {"dark_e", "dark_dn"}
    assert SCHEME.measure({"gain": 2.0}) == {}


def test_checks_of_what_follows_from_figures():
    limits = Limits({"dark_over_noise": Limit("", fail=1.0), "not_linear": Limit("", fail=0)}, "", "")
    found = judge(
        limits, read_noise=column(2.0, 2.0, 2.0), dark_e=column(1.0, 3.0, 1.0), gain=1.0, linear=column(0, 1, 0) > 0
    )
    assert [(item["name"], item["channels"]) for item in found["verdicts"]] == [
        ("dark_over_noise", ["B"]),
        ("not_linear", ["A", "C"]),
    ]
    assert judge(limits, dark_e=column(1.0, 3.0, 1.0), gain=1.0)["checks"] == []


def test_all_checks_in_the_order_of_verdicts():
    assert SCHEME.checks == ("read_noise", "saturated", "flagged", "dark_over_noise", "not_linear", "dead", *JOINT)


def test_a_limit_that_is_never_crossed():
    limits = Limits({"read_noise": Limit("", questionable=1.2, fail=math.inf)}, "", "")
    found = judge(limits, read_noise=column(9.0, 9.0, 9.0))
    assert found["verdict"] == "questionable"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("number", [1, 2, 3, 64])
def test_a_check_fails_if_most_elements_fail(number):
    channels = np.array([[f"CH{index:02d}"] for index in range(number)])
    for n_failing in {0, 1, number // 2, number // 2 + 1, number}:
        noise = np.where(np.arange(number) < n_failing, 9.0, 1.0)[:, None]
        found = judge(channels=channels, read_noise=noise)
        expected = "fail" if n_failing > number / 2 else "questionable" if n_failing else "pass"
        assert found["verdict"] == expected


def test_parts_of_a_figure_are_reduced_and_listed():
    found = judge(flagged={"": column(0.5, 0.0, 0.1), "COSMIC": column(0.5, 0.0, 0.0)})
    assert found["flagged"] == pytest.approx(0.2)
    assert found["flagged_by_kind"] == {"COSMIC": pytest.approx(0.5 / 3)}
    assert found["channels"]["A"]["flagged_COSMIC"] == 0.5


@pytest.mark.parametrize("samples", [0, 2**30])
def test_threads_change_nothing(samples):
    data = {"read_noise": column(1.0, 2.0, 3.0), "dark_e": column(1.0, 2.0, 3.0), "gain": 2.0}
    measured = SCHEME.measure(data, samples=samples)
    assert {name: values.tolist() for name, values in measured.items()} == {
        "read_noise": [[1.0], [2.0], [3.0]],
        "dark_e": [[1.0], [2.0], [3.0]],
        "dark_dn": [[0.5], [1.0], [1.5]],
    }


@pytest.mark.parametrize("noise", [None, column(*[np.nan] * 3), column(np.nan, 3.0, 1.0)])
def test_a_check_of_several_figures_of_which_one_is_not_known_is_made_where_all_are(noise):
    limits = Limits({"dark_and_noisy": Limit("both", questionable=(1.0, 2.0), fail=(5.0, math.inf))}, "", "")
    data = {"dark_e": column(9.0, 9.0, 9.0), "gain": 1.0} | ({} if noise is None else {"read_noise": noise})
    found = judge(limits, **data)
    if noise is None or np.isnan(noise).all():
        assert (found["verdicts"], found["unknown"]) == ([], ["dark_and_noisy"])
    else:
        (verdict,) = found["verdicts"]
        assert (verdict["verdict"], verdict["channels"]) == ("questionable", ["B"])


def test_many_checks_are_graded_as_each_by_itself():
    limits = [
        Limit("", questionable=1.0, fail=2.0),
        Limit("", questionable_below=0.5, fail_below=0.1),
        Limit("", questionable=math.inf, fail=-1.0),
        NO_LIMIT,
    ]
    values = np.random.default_rng(3).normal(1.0, 1.0, (len(limits), 50, 2))
    values[:, ::7] = np.nan
    values[:, 1] = [[0.5, 1.0], [0.1, 2.0], [np.inf, -np.inf], [0.0, -0.0]]
    alone = [limit.severity(of_check) for limit, of_check in zip(limits, values, strict=True)]
    assert np.array_equal(grade_all(limits, values), alone)
    assert not grade_all(limits, values)[3].any()
