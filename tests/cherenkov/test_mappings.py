"""Values by telescope type: the accepted forms, and which telescope gets which."""

from __future__ import annotations

import pytest

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.mappings import convert_mapping, find_value, read_mapping, read_numbers

pytestmark = pytest.mark.cherenkov

PUBLISHED = [["type", "LST*", 125.0], ["type", "MST*", 125.0], ["type", "SST*", 225.0]]


@pytest.mark.parametrize(
    "value",
    [
        PUBLISHED,
        {"LST": 125.0, "MST": 125.0, "SST": 225.0},
        "LST:125.0,MST:125.0,SST:225.0",
        ["LST:125.0", "MST:125.0", "SST:225.0"],
    ],
)
def test_all_forms_of_a_mapping_are_one(value):
    entries = convert_mapping(value)
    assert entries == ["LST:125.0", "MST:125.0", "SST:225.0"]
    assert convert_mapping(entries) == entries
    assert read_mapping(entries) == {"LST": "125.0", "MST": "125.0", "SST": "225.0"}


def test_a_single_value_is_for_all_telescopes():
    assert find_value(read_numbers(convert_mapping(0.05), "cut"), "SST", 34) == 0.05


def test_a_telescope_number_wins_over_an_earlier_type_only():
    forward = read_numbers(convert_mapping([["type", "MST*", 1.0], ["id", 5, 2.0]]), "cut")
    assert [find_value(forward, "MST", number) for number in (5, 6)] == [2.0, 1.0]
    backward = read_numbers(convert_mapping([["id", 5, 2.0], ["type", "MST*", 1.0]]), "cut")
    assert find_value(backward, "MST", 5) == 1.0


def test_a_later_mention_of_a_key_moves_it_to_the_end():
    mapping = read_numbers(["MST:1", "5:2", "MST:3"], "cut")
    assert find_value(mapping, "MST", 5) == 3.0


def test_the_number_of_a_telescope_is_no_beginning_of_another():
    assert find_value({"5": 1.0}, "MST", 55) is None
    assert find_value({"LST": 1.0}, "MST", 5) is None


def test_an_empty_mapping_is_one():
    assert convert_mapping([]) == convert_mapping("") == []


@pytest.mark.parametrize(
    "value",
    [
        ["LST"],
        "LST",
        [["type", "*ST", 1.0]],
        [["slot", "LST*", 1.0]],
        [["id", "LST*", 1.0]],
        [["type", 5, 1.0]],
        {"LST": [1, 2]},
        {"LST": ""},
        {"": 1},
        True,
        [["LST", 1.0]],
    ],
)
def test_anything_else_is_refused_and_quoted(value):
    with pytest.raises(ConfigurationError, match="expected values by telescope type") as caught:
        convert_mapping(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("text", ["much", "nan", "inf"])
def test_a_value_that_is_no_number_is_named(text):
    with pytest.raises(ConfigurationError, match=f"max_impact_distance of LST is '{text}'"):
        read_numbers([f"LST:{text}"], "max_impact_distance")
