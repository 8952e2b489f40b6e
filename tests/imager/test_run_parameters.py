"""Parameters of runs that are given to pipelines count."""

from __future__ import annotations

import pytest

import cal_pipeline
from cal_pipeline.core.parameters.messages import ParameterError

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
