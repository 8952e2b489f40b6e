"""The photometer as a family of the package."""

from __future__ import annotations

import numpy as np
import zarr
from stpipe import Step

from cal_pipeline.registry import list_steps

COUNTS = np.arange(24.0).reshape(6, 4) + 100.0


def test_the_pipeline_runs(tmp_path):
    night, output = tmp_path / "night.zarr", tmp_path / "rates.zarr"
    group = zarr.create_group(night).create_group("exposure_000001", attributes={"filter": "blue", "seconds": 2.0})
    group.create_array("counts", data=COUNTS)
    (name,) = [step.class_name for step in list_steps() if step.class_alias == "photometer"]
    Step.from_cmdline([name, str(night), f"--output_file={output}", "--steps.dark.level=10"])
    attributes = zarr.open_group(output / "exposure_000001", mode="r").attrs
    assert attributes["cal_step"] == {"dark": "COMPLETE"}
    assert attributes["provenance"]["parameters"]["steps"]["dark"]["level"] == 10.0
    np.testing.assert_array_equal(zarr.open_array(output / "exposure_000001/rate")[...], (COUNTS - 10.0) / 2.0)
