"""Step ``dq_init``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.steps.imager.base import RampStep


class DqInitStep(RampStep):
    """Begin the flags of pixels and groups, with those of the bad pixel mask.

    The reference file `mask` may be absent. Groups whose data are not finite are not used.

    Examples
    --------
    >>> ramp = DqInitStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> ramp.meta.cal_step.dq_init, ramp.pixeldq.shape
    ('COMPLETE', (64, 64))
    """

    class_alias = "dq_init"
    reference_file_types = ["mask"]

    def process_observation(self, ramp: RampModel) -> None:
        """Add the flags of the mask."""
        mask = self.find_reference(ramp, "mask")
        if mask is not None:
            ramp.add_flags(mask.arrays["dq"])
        if ramp.dtype.kind == "f":
            ramp.add_operation(_flag_missing)


def _flag_missing(block: RampBlock) -> RampBlock:
    """Flag groups that are not finite."""
    missing = ~np.isfinite(block.data)
    return block._replace(groupdq=block.groupdq | missing * np.uint8(DQ.DO_NOT_USE)) if missing.any() else block
