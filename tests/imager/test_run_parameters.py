"""Parameters of runs that are given to pipelines count."""

from __future__ import annotations

import numpy as np
import pytest

import cal_pipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.imager import RampModel
from cal_pipeline.steps.imager import RampFitStep

pytestmark = pytest.mark.imager

STORES = ("Detector1Pipeline", "Image2Pipeline", "Image3Pipeline")
FILES = ("PreprocessDarkPipeline", "PreprocessFlatfieldPipeline")


@pytest.mark.parametrize("name", [*STORES, *FILES])
def test_parameters_given_are_those_of_the_pipeline(name):
    given = {"overwrite": True, "workers": 2, "threads": 3, "timing": True}
    given |= {"resume": True, "verify": True} if name in STORES else {}
    pipeline = getattr(cal_pipeline, name)(**given)
    assert {key: getattr(pipeline, key) for key in given} == given


@pytest.mark.parametrize("name", FILES)
def test_files_are_not_resumed(name):
    assert not getattr(cal_pipeline, name)().resume
    with pytest.raises(ParameterError, match="resume"):
        getattr(cal_pipeline, name)(resume=True)


def test_ramps_in_memory_need_neither_names_nor_a_folder(monkeypatch):
    monkeypatch.delenv("CAL_PIPELINE_REFERENCES", raising=False)
    electrons = 20.0 * np.arange(1, 9)[None, :, None, None] * np.ones((1, 8, 4, 4))
    ramp = RampModel(data=electrons, meta={"frame_time": 5.0, "gain": 1.0, "read_noise": 9.0})
    assert RampFitStep.call(ramp).data.ravel().tolist() == pytest.approx([4.0] * 16)
