"""Step ``saturation``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.physics.saturation import find_unchecked, flag_saturation
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.steps.imager.base import RampStep


class SaturationStep(RampStep):
    """Flag groups at or above the saturation threshold of their pixel, and those at the floor of the converter.

    Examples
    --------
    >>> ramp = SaturationStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> ramp.groupdq.shape == ramp.data.shape
    True
    """

    class_alias = "saturation"
    reference_file_types = ["saturation"]

    def process_observation(self, ramp: RampModel) -> None:
        """Flag saturated groups."""
        threshold, times = self.reference(ramp, "saturation").arrays["data"], self.read_times(ramp)
        ramp.add_flags(find_unchecked(threshold) * np.uint32(DQ.NO_SAT_CHECK))

        def flag(block: RampBlock) -> RampBlock:
            return block._replace(groupdq=flag_saturation(block.data, block.groupdq, threshold[block.rows], times))

        ramp.add_operation(flag)
