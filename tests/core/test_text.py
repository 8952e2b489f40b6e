"""Text for people."""

from __future__ import annotations

import doctest

import pytest

from cal_pipeline.core import text
from cal_pipeline.core.text import elide_middle, format_count, format_ranges, format_with_error, make_printable


def test_examples():
    results = doctest.testmod(text)
    assert results.failed == 0
    assert results.attempted >= 5


@pytest.mark.parametrize(("number", "expected"), [(0, "0 scans"), (1, "1 scan"), (2, "2 scans"), (1000, "1000 scans")])
def test_number_and_noun(number, expected):
    assert format_count(number, "scan") == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Orion KL", "Orion KL"),
        ("織女星", "織女星"),
        ("Sgr\u00a0A*", "Sgr\u00a0A*"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("tab\there", "tab\\there"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\u2028b", "a\\u2028b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\x9b31m", "\\x9b31m"),
        (None, "None"),
    ],
)
def test_names_that_would_change_the_terminal(name, shown):
    assert make_printable(name) == shown
    assert len(make_printable(name).splitlines()) == 1


@pytest.mark.parametrize("width", range(5, 30))
def test_elided_text_fits(width):
    name = "scan_000001/skydiff/spectra"
    short = elide_middle(name, width)
    assert len(short) <= width
    assert short[0] == "s"
    assert short[-1] == "a"
    assert (short == name) == (width >= len(name))


def test_three_in_a_row_are_a_range():
    assert format_ranges([]) == ""
    assert format_ranges([5]) == "5"
    assert format_ranges([1, 2, 4, 5, 6, 9]) == "1, 2, 4:6, 9"


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.49999, 0.0157, "0.500 ± 0.016"),
        (0.0079999, 0.00045, "0.00800 ± 0.00045"),
        (9.9994, 0.42, "10.00 ± 0.42"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (1234.5, 61.0, "1234 ± 61"),
        (0.5, 3e-9, "0.5 ± 3e-09"),
        (0.5, 0.0, "0.5"),
        (0.5, float("nan"), "0.5"),
        (float("nan"), 0.1, "nan"),
    ],
)
def test_a_value_has_the_digits_that_its_error_leaves(value, error, expected):
    assert format_with_error(value, error) == expected
