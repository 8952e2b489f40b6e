"""Step ``superbias``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.physics.bias import find_without_bias, subtract_bias
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.steps.imager.base import RampStep


class SuperbiasStep(RampStep):
    """Subtract the bias of each pixel, from which its linearity polynomial counts.

    Examples
    --------
    >>> ramp = SuperbiasStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> ramp.data.dtype
    dtype('float32')
    """

    class_alias = "superbias"
    once = True
    reference_file_types = ["superbias"]

    def process_observation(self, ramp: RampModel) -> None:
        """Subtract the bias."""
        bias = self.reference(ramp, "superbias").arrays["data"]
        ramp.add_flags(find_without_bias(bias) * np.uint32(DQ.UNRELIABLE_BIAS))

        def subtract(block: RampBlock) -> RampBlock:
            return block._replace(data=subtract_bias(block.data, bias[block.rows]))

        ramp.add_operation(subtract)
