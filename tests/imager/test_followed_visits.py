"""A visit that is still being written is followed: each exposure is processed once it is complete."""

from __future__ import annotations

import shutil

import pytest

from cal_pipeline import Detector1Pipeline, Image2Pipeline
from cal_pipeline.errors import StoreError
from cal_pipeline.imager.compare import compare_image_stores

pytestmark = pytest.mark.imager

FOLLOW = {"follow": True, "follow_settling": 0.2, "follow_timeout": 0.5, "configure_log": False}


@pytest.mark.slow
def test_rates_are_those_of_a_finished_visit(visit, rate_store, tmp_path):
    growing, output = tmp_path / "growing.zarr", tmp_path / "followed.zarr"
    growing.mkdir()
    shutil.copy(visit.visit / "zarr.json", growing)
    for name in ("exp_000003", "exp_000004"):
        shutil.copytree(visit.visit / name, growing / name)
    # Another one has begun, which is none of those asked for.
    (growing / "exp_000005").mkdir()
    product = Detector1Pipeline.call(
        str(growing), output_file=str(output), references=str(visit.references), exposures=[3, 4], **FOLLOW
    )
    assert product.numbers == [3, 4]
    assert compare_image_stores(rate_store, output, [3, 4], origins=False).status() == 0


def test_a_store_of_another_kind_is_refused_at_once(rate_store, visit, tmp_path):
    with pytest.raises(StoreError, match="its attribute product is 'rate', expected ramp"):
        Detector1Pipeline.call(
            str(rate_store), output_file=str(tmp_path / "x.zarr"), references=str(visit.references), **FOLLOW
        )
    assert not (tmp_path / "x.zarr").exists()


def test_pipelines_that_combine_exposures_do_not_follow():
    assert "follow " in Detector1Pipeline.spec
    assert "follow " not in Image2Pipeline.spec
