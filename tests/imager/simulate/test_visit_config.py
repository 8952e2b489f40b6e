"""Configurations of visits: what is impossible is refused with its limits."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import cal_pipeline.imager.simulate
from cal_pipeline.imager.simulate import (
    Detector,
    ExposurePlan,
    Filter,
    Subarray,
    VisitConfig,
    VisitError,
    standard_visit,
)

pytestmark = pytest.mark.imager

ALLOWED = (
    "cal_pipeline._version",
    "cal_pipeline.core.errors",
    "cal_pipeline.core.store",
    "cal_pipeline.imager.dq",
    "cal_pipeline.imager.simulate",
)


def test_the_simulator_shares_nothing_with_the_steps_but_the_names_of_flags():
    imported = set()
    for path in Path(cal_pipeline.imager.simulate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
    ours = {name for name in imported if name.split(".")[0] == "cal_pipeline"}
    assert ours
    assert not {name for name in ours if not name.startswith(ALLOWED)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size"),
        ({"size": 8, "border": 4}, "border 4 must be at least 0 and leave some of 8 pixels"),
        ({"size": 8, "border": 1, "amplifiers": 9}, "between 1 and the 8 columns"),
        ({"gain": 0.0}, "gain 0.0 must be positive"),
        ({"well": -1.0}, "well"),
        ({"read_noise": -9.0}, "read_noise -9.0 must not be negative"),
        ({"gain_spread": 0.3}, "between 0 and 0.2"),
        ({"hot_fraction": 1.0}, "hot_fraction"),
        ({"linearity": (0.0,)}, "at least two coefficients"),
        ({"linearity": (0.0, 1.0, -1e-4)}, "must rise all the way to the well"),
    ],
)
def test_impossible_detectors(settings, message):
    with pytest.raises(VisitError, match=message):
        Detector(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_groups": 0}, "n_groups 0 must be at least 1"),
        ({"groupgap": -1}, "groupgap"),
        ({"frame_time": 0.0}, "frame_time 0.0 must be positive"),
        ({"rate": -1.0}, "rate must be finite and not negative"),
        ({"rate": np.array([[np.nan]])}, "rate must be finite"),
        ({"hits": -1.0}, "hits"),
        ({"trail": -1.0}, "trail"),
        ({"hit_charge": (10.0, 1.0)}, "the smallest first"),
        ({"airmass": 0.5}, "airmass 0.5 must be at least 1"),
        ({"read_pattern": ((1, 2), (2, 3))}, "growing reads"),
        ({"read_pattern": ((0,), (1,))}, "counted from 1"),
        ({"read_pattern": ((1,), ())}, "growing reads"),
    ],
)
def test_impossible_exposures(settings, message):
    with pytest.raises(VisitError, match=message):
        ExposurePlan(**settings)


SMALL = Detector(size=32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exposures": []}, "at least one exposure"),
        ({"exposures": [ExposurePlan(filter="K")]}, "exposure 1: filter 'K' is none of the visit: H"),
        ({"exposures": [ExposurePlan(rate=np.ones((2, 2)))]}, r"shape \(2, 2\), expected \(32, 32\)"),
        ({"exposures": [ExposurePlan(subarray=Subarray("A", 1, 30, 8, 8))]}, "must lie in 32 rows"),
        ({"exposures": [ExposurePlan(subarray=Subarray("A", 1, 1, 3, 8))]}, "fewer than the amplifiers"),
        ({"filters": [Filter("H"), Filter("H")]}, "different names"),
        ({"dtype": "float64"}, "choose from uint16"),
        ({"seed": -1}, "seed -1"),
        ({"dec": 91.0}, "dec 91.0"),
        ({"pixel_scale": 0.0}, "pixel_scale"),
        ({"star_sigma": 0.0}, "star_sigma"),
    ],
)
def test_impossible_visits(settings, message):
    with pytest.raises(VisitError, match=message):
        VisitConfig(**{"exposures": [ExposurePlan()], "detector": SMALL} | settings)


def test_a_name_of_a_filter_is_part_of_a_file_name():
    with pytest.raises(VisitError, match="'a/b'"):
        Filter("a/b")


def test_a_standard_visit_has_all_types_and_no_whole_dithers():
    visit = standard_visit(size=128)
    types = [plan.exp_type for plan in visit.exposures]
    assert {name: types.count(name) for name in types} == {"DARK": 5, "FLAT": 9, "SCI": 5, "SKY": 3}
    offsets = np.array([plan.offset for plan in visit.exposures if plan.exp_type == "SCI"])
    assert np.all(np.abs(offsets[1:] - np.rint(offsets[1:])).max(axis=1) > 0.05)
    with pytest.raises(VisitError, match="darks -1"):
        standard_visit(darks=-1)


def test_stars_of_a_standard_visit_stand_apart():
    visit = standard_visit(size=256)
    places = np.array([(star.x, star.y) for star in visit.stars])
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    assert len(places) == 64
    assert distance.min() > 12 * visit.star_sigma
