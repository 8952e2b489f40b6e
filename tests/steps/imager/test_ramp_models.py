"""Steps on ramps that were made in memory."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager import RampModel
from cal_pipeline.steps.imager import JumpStep, RampFitStep

pytestmark = pytest.mark.imager

META = {"frame_time": 5.0, "gain": 1.0, "read_noise": 9.0}
COUNTS = 20.0 * np.arange(1, 7)[None, :, None, None] * np.ones((1, 6, 3, 4))


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">u2", ">i4", "<u2", "i1"])
def test_counts_of_any_byte_order(dtype):
    ramp = RampModel(data=COUNTS.astype(dtype), meta=META)
    assert RampFitStep.call(ramp).data[0, 0] == np.float32(4.0)
    assert not JumpStep.call(ramp).groupdq.any()


@pytest.mark.parametrize("frame_time", [np.float32(5.0), np.int64(5), 5])
def test_frame_time_of_any_number_type(frame_time):
    rate = RampFitStep.call(RampModel(data=COUNTS, meta={**META, "frame_time": frame_time}))
    assert (rate.data[0, 0], rate.meta["exposure_time"]) == (4.0, 30.0)
