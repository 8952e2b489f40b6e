"""Combinations of values: how they are written, and what is refused before anything runs."""

from __future__ import annotations

import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.parameters.grid import check_varied, list_combinations, read_varied, split_values
from cal_pipeline.core.parameters.messages import ParameterError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.01", ["0.01"]),
        ("0.01, 0.03 ,0.1", ["0.01", "0.03", "0.1"]),
        ("[0.95,0.9],0.97", [["0.95", "0.9"], "0.97"]),
        ("'a,b.asdf',c.asdf", ["a,b.asdf", "c.asdf"]),
        ('"[x]"', ["[x]"]),
        ("a[1,2]b,c", ["a[1,2]b", "c"]),
    ],
)
def test_values_are_split_at_commas_outside_of_brackets_and_quotes(text, values):
    assert split_values(text) == values


@pytest.mark.parametrize("text", ["", "1,,2", "1,", "[1,2", "1]", "'a", "[1,,2]", "[]"])
def test_text_that_cannot_be_split_is_refused(text):
    with pytest.raises(ValueError, match=r"empty value|without its partner"):
        split_values(text)
    with pytest.raises(ParameterError, match=r"--vary .gain.level=.*expected values separated by commas"):
        read_varied([f"gain.level={text}"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["gain.level"], "expected STEP.NAME=VALUE"),
        (["=3"], "expected STEP.NAME=VALUE"),
        (["gain.level=0", "steps.gain.level=3"], "gain.level stands twice"),
    ],
)
def test_options_of_another_form_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        read_varied(options)


def test_steps_may_be_left_out_and_values_get_their_types():
    varied = read_varied(["steps.atmosphere.model_error=0.01,0.1", "gain.level=0,3", "loads.image_gain=1,[1,0.5]"])
    found = check_varied(CalibrationPipeline, varied)
    assert [(one.label, one.values) for one in found] == [
        ("atmosphere.model_error", (0.01, 0.1)),
        ("gain.level", (0, 3)),
        ("loads.image_gain", (1.0, [1.0, 0.5])),
    ]
    assert found[0].full_name == "steps.atmosphere.model_error"


def test_values_from_python_may_be_numbers_text_and_none():
    found = check_varied(
        CalibrationPipeline,
        {
            "steps.atmosphere.t_atm": [None, 260],
            "calibrate.precision": "lossless,radiometric",
            "dbs.skip": [True, False],
        },
    )
    assert [one.values for one in found] == [(None, 260.0), ("lossless", "radiometric"), (True, False)]
    assert check_varied(CalibrationPipeline, {"atmosphere.t_atm": "None,260"})[0].values == (None, 260.0)


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        (
            {"atmosphere.modelerror": "0.1"},
            "no parameter 'modelerror' of step 'atmosphere'; did you mean 'model_error'",
        ),
        ({"atmosfere.model_error": "0.1"}, "no step 'atmosfere'.*did you mean 'atmosphere'"),
        ({"model_error": "0.1"}, "did you mean atmosphere.model_error"),
        ({"workers": "1,2"}, "'workers' is a parameter of the run"),
        ({"loads.save_results": "true"}, "loads.save_results has no effect on results"),
        ({"atmosphere.model_error": "0.1,much"}, "model_error = 'much'.*not accepted; expected float"),
        ({"atmosphere.model_error": "-0.1"}, "not accepted; expected float"),
        ({"atmosphere.strategy": "full,fulll"}, "'fulll'.*not accepted; expected option"),
        ({"gain.level": "0,1"}, r"level = '1'.*\(0 for none, 2 for the ONs"),
        ({"gain.level": "[0,3]"}, "not accepted"),
        ({"gain.level": "0,3,0"}, "gain.level: 0 .int. stands twice"),
        ({"gain.level": []}, "no values to try"),
        ({"gain.level": 3}, "expected a list of values"),
        ({"gain.level": [0], "steps.gain.level": [3]}, "stands twice"),
        ({}, "no parameter to vary"),
    ],
)
def test_what_no_step_accepts_is_refused(varied, message):
    with pytest.raises(ParameterError, match=message):
        check_varied(CalibrationPipeline, varied)


def test_many_combinations_are_refused_unless_the_limit_is_raised():
    varied = check_varied(CalibrationPipeline, {"loads.clip_sigma": list(range(30)), "dbs.skip": [True, False]})
    with pytest.raises(ParameterError, match=r"60 combinations \(30 x 2\), more than the limit of 50.*limit=60"):
        list_combinations(varied, 50)
    combinations = list_combinations(varied, 60)
    assert len(combinations) == 60
    assert combinations[:3] == [
        {"loads.clip_sigma": 0.0, "dbs.skip": True},
        {"loads.clip_sigma": 0.0, "dbs.skip": False},
        {"loads.clip_sigma": 1.0, "dbs.skip": True},
    ]
