"""Observing phases and the modes they make."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.errors import NoReferenceError
from cal_pipeline.heterodyne.phases import first_on, is_off, is_on, observing_mode


@pytest.mark.parametrize(
    ("phases", "instmode", "mode"),
    [
        (["ON", "OFF"], "TP", "total_power"),
        (["ON", "OFF"], "", "total_power"),
        (["ON", "OFF"], "otf", "otf"),
        (["OTF-ON", "OTF-OFF"], "", "otf"),
        (["ON", "OTF-OFF"], "TP", "otf"),
        (["otf-on", "otf-off"], "TP", "otf"),
        (["OTFSWA-ON", "OTFSWA-OFF"], "OTF", "otf_chopped"),
        (["SWB-ON", "SWB-OFF"], "TP", "otf_chopped"),
        (["ON", "OFF", "OTFSWB-OFF"], "TP", "otf_chopped"),
    ],
)
def test_mode(phases, instmode, mode):
    assert observing_mode(np.array(phases), instmode) == mode


def test_on_and_off():
    phases = np.array(["ON", "OTF-ON", "OTFSWA-ON", "OFF", "OTF-OFF", "SWB-OFF", "HOT", "SKY", "on"])
    assert is_on(phases).tolist() == [True] * 3 + [False] * 5 + [True]
    assert is_off(phases).tolist() == [False] * 3 + [True] * 3 + [False] * 3


@pytest.mark.parametrize("phase", ["TRANSITION", "MOON", "SKY-OFF", "SWA-SKY", "SWC-ON", "ON1", ""])
def test_what_only_looks_like_a_phase_is_none(phase):
    phases = np.array([phase, "ON", "OFF"])
    assert is_on(phases).tolist() == [False, True, False]
    assert is_off(phases).tolist() == [False, False, True]
    assert observing_mode(phases, "TP") == "total_power"


def test_the_first_on_is_the_earliest():
    phases = np.array(["OFF", "ON", "ON", "OFF"])
    assert first_on(phases, np.array([0.0, 2.0, 1.0, 3.0])) == 2
    with pytest.raises(NoReferenceError, match="no ON among the phases"):
        first_on(np.array(["OFF"]), np.zeros(1))
