"""The page on performance tells what was stored, and calls nothing met that is not."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def tables(monkeypatch):
    """The extension that makes the tables."""
    pytest.importorskip("docutils")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    yield importlib.import_module("performance_tables")
    for name in ("performance_tables", "table_nodes"):
        sys.modules.pop(name, None)


@pytest.fixture
def make_figures(tables, tmp_path):
    """Store figures, and read them as the page does."""

    def make(figures):
        stored = {
            name: {"unit": "s", "values": values, "commit": "abc", "date": "2026-11-30"}
            for name, values in figures.items()
        }
        (tmp_path / "figures.json").write_text(json.dumps({"figures": stored}))
        return tables.Figures(tmp_path / "figures.json")

    return make


def test_goals_are_judged_by_what_was_stored(tables, make_figures):
    figures = make_figures(
        {
            "large.Large.track_ratio": {"lossless / floor_zstd": 1.2, "radiometric / lossless": 0.8},
            "large.Large.track_time_of_a_gigabyte": {"radiometric": 2.0},
        }
    )
    rows = {row[0]: row[1:] for row in tables.list_goals(figures)}
    assert rows["lossless / direct floor (zstd)"] == ("≤ 1.25", "1.2", "yes", "2026-11-30, abc")
    assert rows["radiometric"][:3] == ("≥ 600 MB/s", "500 MB/s", "**no**")
    assert rows["rate of radiometric / lossless"][:3] == ("≥ 1.5", "1.25", "**no**")
    assert rows["``strun`` to the first scan"] == ("≤ 1 s", tables.MISSING, "not measured", "not measured")


def test_a_value_at_the_bound_meets_the_goal(tables):
    for goal in tables.GOALS:
        better = goal.bound * (0.9 if goal.of is None else 1.1)
        worse = goal.bound * (1.1 if goal.of is None else 0.9)
        assert [goal.judge(value) for value in (goal.bound, better, worse)] == ["yes", "yes", "**no**"], goal.what


def test_the_plan_follows_from_the_rate_of_a_core(tables, make_figures):
    # Two workers take 0.1 s for each scan of 0.1 GB: 500 MB/s a core.
    figures = make_figures(
        {
            "small.Workers.track_further_scan": {"large, two workers": 0.1},
            "large.Large.track_time_of_a_gigabyte": {"lossless": 2.0},
            "large.Large.track_time": {"lossless": 0.6},
            "large.Large.track_stored_bytes": {"counts": 0.5, "lossless": 1.0, "radiometric": 0.25},
            "start.Memory.track_three_scans": {"": 400.0},
        }
    )
    rows = {row[0]: row[1] for row in tables.Plan(86.4, 24.0, 4, 10.0, 6.0).compute(figures)}
    assert rows["counts while observing"] == "1000 MB/s"
    assert rows["rate of one core"] == "500 MB/s"
    assert rows["cores that keep up"] == "2.0"
    assert rows["disk, read"] == "500 MB/s"
    assert rows["L1 of a day, radiometric"] == "21.6 TB"
    assert rows["share of the network, lossless"] == "80 %"
    assert rows["memory"] == "1.6 GB"
    assert rows["time for a day's counts"] == "12.0 h"
    # Half of the cores are free: what 6 h have left takes another 6 h.
    assert rows["backlog of 6 h of observing"] == "caught up after 6.0 h"
    busy = {row[0]: row[1] for row in tables.Plan(200.0, 24.0, 4, 10.0, 6.0).compute(figures)}
    assert busy["backlog of 6 h of observing"] == "grows"
    assert tables.Plan(8.0, 24.0, 4, 10.0, 6.0).compute(make_figures({})) is None


def test_tables_have_a_column_for_each_parameter(tables, make_figures):
    figures = make_figures(
        {"large.Large.track_processor_time": {"lossless, kernel": 0.25, "lossless, processor": 1234.6}}
    )
    rows = tables.list_figures(figures, "large.Large.track_processor_time", "way, clock")
    assert rows[0] == ("way", "clock", "measured [s]")
    assert rows[1:] == [("lossless", "kernel", "0.25"), ("lossless", "processor", "1235")]
    assert tables.list_figures(figures, "large.Large.track_time", "way")[1:] == [("not measured", tables.MISSING)]


def test_figures_are_those_of_benchmarks_that_exist(tables):
    page = (DOCS / "performance.rst").read_text(encoding="utf-8")
    named = re.findall(r"^\.\. performance-figures:: (\S+) ", page, flags=re.M)
    named += re.findall(r'"(\w+\.\w+\.track_\w+)"', (DOCS / "examples" / "figures" / "scaling.py").read_text())
    assert len(named) > 10
    for name in {*named, *(goal.name for goal in tables.GOALS), *tables.Figures().stored}:
        module, cls, method = name.split(".")
        text = (ROOT / "benchmarks" / f"{module}.py").read_text(encoding="utf-8")
        assert f"\nclass {cls}:" in text, name
        assert f"    def {method}(" in text, name
