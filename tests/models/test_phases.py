"""Observing phases and modes."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.errors import NoReferenceError
from cal_pipeline.models.phases import first_on, is_off, is_on, observing_mode


@pytest.mark.parametrize(
    ("phases", "instmode", "mode"),
    [
        (["ON", "OFF"], "TP", "total_power"),
        (["ON", "OFF"], "", "total_power"),
        (["ON", "OFF"], "OTF", "otf"),
        (["OTF-ON", "OTF-OFF"], "TP", "otf"),
        (["OTFSWA-ON", "OTFSWA-OFF"], "OTF", "otf_chopped"),
        (["SWB-ON", "ON"], "TP", "otf_chopped"),
    ],
)
def test_mode(phases, instmode, mode):
    assert observing_mode(np.array(phases), instmode) == mode


def test_phases():
    phases = np.array(["ON", "OFF", "otf-on", "OTF-OFF", "HOT", "SKY"])
    assert is_on(phases).tolist() == [True, False, True, False, False, False]
    assert is_off(phases).tolist() == [False, True, False, True, False, False]


def test_the_first_on_is_the_earliest():
    assert first_on(np.array(["ON", "OFF", "ON"]), np.array([3.0, 1.0, 2.0])) == 2
    with pytest.raises(NoReferenceError, match="OFF"):
        first_on(np.array(["OFF"]), np.array([0.0]))
