"""The results that steps say they depend on are all that they look at."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from cal_pipeline.heterodyne.session import Session
from cal_pipeline.pipelines.calibration import CalibrationPipeline
from cal_pipeline.pipelines.reuse import RESULTS
from cal_pipeline.simulate import Drift


class Forbidden:
    """Result that a step must not look at."""

    def __getattribute__(self, name):
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise AssertionError(f"a result was asked for {name!r} that the step does not depend on")


RESULT_OF = {"loads": "loads", "gain": "gain", "prepare": "pairing", "atmosphere": "atmosphere",
             "calibrate": "calibration", "dbs": "coupling", "skychopdiff": "chop", "skydiff": "skydiff"}  # fmt: skip


def restrict(band, name, depends_on):
    """Forbid all results but those a step depends on, and all parts but those of results it depends on in part."""
    for result in RESULTS:
        whole, value = result in depends_on, getattr(band, result)
        if whole or (value is None and result != "gain"):
            continue
        parts = [path.partition(".")[2] for path in depends_on if path.partition(".")[0] == result]
        allowed = SimpleNamespace()
        if result == "loads" and parts:
            allowed = SimpleNamespace(
                **{part: getattr(value, part) for part in parts if "." not in part},
                solution=SimpleNamespace(gamma=value.solution.gamma, bad_channel=value.solution.bad_channel),
            )
        elif result == "gain" and "bad_channel" in depends_on:
            allowed = SimpleNamespace(unusable=value.unusable)
        else:
            allowed = Forbidden()
        setattr(band, result, allowed)


def content(value):
    """Return a result as nested dicts."""
    if dataclasses.is_dataclass(value):
        return {field.name: content(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


@pytest.mark.parametrize("mode", ["otf", "otf_chopped"])
def test_steps_look_at_nothing_else(make_session, atm_table, mode):
    night = make_session(scans=2, mode=mode, drift=Drift(gain_per_hour=0.1))
    steps = {"gain": {"level": 3}, "atmosphere": {"override_atm": str(atm_table)}}
    steps |= {name: {"skip": False} for name in ("dbs", "skychopdiff", "skydiff")}
    pipeline = CalibrationPipeline(steps=steps)
    scan = Session(night).open_scan(1)
    seen = 0
    for name, step in pipeline.make_for(scan)._steps().items():
        before, after = scan.fork(), step.run(scan.fork())
        for band in before.bands:
            restrict(band, name, step.depends_on)
        again = step.run(before)
        for one, other in zip(after.bands, again.bands, strict=True):
            expected, found = (content(getattr(band, RESULT_OF[name])) for band in (one, other))
            if expected is not None:
                np.testing.assert_equal(found, expected)
                seen += 1
        scan = after
    assert seen == {"otf": 6, "otf_chopped": 8}[mode]


def test_results_of_all_steps_are_known():
    assert set(RESULTS) == set(RESULT_OF.values())
