"""Criteria in text: what is understood, what is refused, and which rows they keep."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.quality_criteria import convert_criteria, parse_criteria, select_rows

pytestmark = pytest.mark.cherenkov

PUBLISHED = [
    ["energy threshold", "RandomForestRegressor_tel_energy > 50 * u.GeV"],
    ["gammaness", "RandomForestClassifier_tel_prediction > 0.5"],
    ["valid reco", "RandomForestRegressor_tel_is_valid"],
]


@pytest.fixture
def events() -> Table:
    return Table(
        {
            "RandomForestRegressor_tel_energy": [0.03, 0.05, 0.07, np.nan, 0.3, 0.4] * u.TeV,
            "RandomForestClassifier_tel_prediction": [0.9, 0.9, 0.6, 0.9, 0.5, 0.8],
            "RandomForestRegressor_tel_is_valid": [True, True, True, True, True, False],
            "n": [1, 2, 3, 4, 5, 6],
            "name": ["a"] * 6,
            "image": np.zeros((6, 2)),
        }
    )


def keep(events, *texts):
    return events["n"][select_rows(events, parse_criteria(texts), "events")].tolist()


def test_the_published_criteria_keep_what_fulfils_all(events):
    texts = convert_criteria(PUBLISHED)
    assert texts == convert_criteria(texts)
    assert keep(events, *texts) == [3]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("n > 2 & n < 5", [3, 4]),
        ("(n > 2) & (n < 5)", [3, 4]),
        ("((n > 2) & n < 5) & n != 3", [4]),
        ("2 < n", [3, 4, 5, 6]),
        ("n <= 2", [1, 2]),
        ("2 >= n", [1, 2]),
        ("n == 4", [4]),
        ("n > -1.5e0", [1, 2, 3, 4, 5, 6]),
        ("n > +5", [6]),
        ("RandomForestRegressor_tel_energy > 0.05", [3, 5, 6]),
        ("RandomForestRegressor_tel_energy != 0.07", [1, 2, 5, 6]),
        ("RandomForestRegressor_tel_energy >= 5e4 * u.MeV", [2, 3, 5, 6]),
    ],
)
def test_comparisons(events, text, kept):
    assert keep(events, text) == kept


def test_no_criteria_keep_all(events):
    assert keep(events) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n >",
        "n > 2 | n < 1",
        "n > 2 and n < 5",
        "1 < n < 3",
        "n > m",
        "1 < 2",
        "n + 1 > 2",
        "n > 1 + 1",
        "n > 2 & ",
        "(n > 2",
        "n > 2) & (n < 3",
        "n > True",
        "n > '2'",
        "n > 1j",
        "np.sum(n) > 2",
        "__import__('os').getcwd()",
        "n > (2 if n else 3)",
        "not valid",
        "~valid",
        "n[0] > 2",
        "n is 2",
        "n in 2",
        "n > 50 / u.GeV",
        "n > 50 * v.GeV",
        "n > u.GeV",
        "[n for n in 'x']",
        "n := 2",
        "lambda: n",
        "n\x00 > 2",
        "5",
        "(" * 50 + "n > 2" + ")" * 49,
        "(" * 5000 + "n > 2" + ")" * 5000,
    ],
)
def test_anything_else_is_refused_and_quoted(text):
    with pytest.raises(ConfigurationError) as caught:
        convert_criteria([text])
    assert repr(text) in str(caught.value)
    assert caught.value.exit_status == 101


@pytest.mark.parametrize("value", [3, [3], [["a", "b", "c"]], [["a", 3]], {"a": "n > 2"}])
def test_other_forms_are_refused(value):
    with pytest.raises(ConfigurationError, match="expected"):
        convert_criteria(value)


def test_an_unknown_unit_is_named():
    with pytest.raises(ConfigurationError, match="unknown unit 'Gev'"):
        convert_criteria(["energy > 50 * u.Gev"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy > 2", "events has no column 'energy'; it has RandomForestRegressor_tel_energy, "),
        ("RandomForestRegressor_tel_energy > 2 * u.m", "has unit 'TeV'; expected one like m"),
        ("n > 2 * u.m", "has unit ''; expected one like m"),
        ("n", "'n' of events has no truth values"),
        ("name > 2", "'name' of events has no numbers"),
        ("image > 2", "'image' of events has no numbers"),
    ],
)
def test_a_column_that_does_not_fit_is_named(events, text, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        keep(events, text)
    assert repr(text) in str(caught.value)
