"""Step ``linearity``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.physics.linearity import find_without_linearity, linearize
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.steps.imager.base import RampStep


class LinearityStep(RampStep):
    """Correct the counts for the non-linear response of each pixel, by its polynomial.

    The mean of several reads is treated as one read.

    Examples
    --------
    >>> ramp = LinearityStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> ramp.meta.cal_step.linearity
    'COMPLETE'
    """

    class_alias = "linearity"
    once = True
    reference_file_types = ["linearity"]

    def process_observation(self, ramp: RampModel) -> None:
        """Apply the polynomial."""
        coeffs = self.reference(ramp, "linearity").arrays["coeffs"]
        ramp.add_flags(find_without_linearity(coeffs) * np.uint32(DQ.NO_LIN_CORR))

        def correct(block: RampBlock) -> RampBlock:
            return block._replace(data=linearize(block.data, block.groupdq, coeffs[:, block.rows]))

        ramp.add_operation(correct)
