"""Step ``refpix``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.physics.reference_pixels import (
    assign_amplifiers,
    average_reference_pixels,
    find_reference_rows,
    subtract_reference,
)
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.steps.imager.base import RampStep


class RefpixStep(RampStep):
    """Subtract the mean of the reference pixels in the top and bottom rows, for each group and amplifier.

    Without such rows the step is skipped. Reference pixels at the left and right edges are not used.

    Examples
    --------
    >>> from cal_pipeline.steps.imager import DqInitStep
    >>> ramp = DqInitStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> RefpixStep.call(ramp).meta.cal_step.refpix
    'COMPLETE'
    """

    class_alias = "refpix"
    once = True

    def process_observation(self, ramp: RampModel) -> None:
        """Subtract the means of the reference pixels."""
        rows = [part for part in find_reference_rows(ramp.pixeldq) if part.stop > part.start]
        if not rows:
            self.not_applicable("no row holds nothing but reference pixels")
            return
        n_columns = ramp.shape[-1]
        amplifiers = ramp.meta.get("amplifiers")
        amplifiers = 1 if amplifiers is None else amplifiers
        is_whole = isinstance(amplifiers, (int, np.integer)) and not isinstance(amplifiers, bool)
        if not is_whole or not 1 <= amplifiers <= n_columns:
            raise LayoutError(
                f"exposure {ramp.number}: attribute amplifiers is {amplifiers!r:.80}, "
                f"expected a whole number from 1 to {n_columns}, the number of columns"
            )
        amplifier = assign_amplifiers(n_columns, int(amplifiers))
        data = np.concatenate([ramp.compute_rows(part).data for part in rows], axis=2)
        means = average_reference_pixels(data, np.concatenate([ramp.pixeldq[part] for part in rows]), amplifier)
        if np.isnan(means).all():
            self.not_applicable("no reference pixel is good")
            return

        def subtract(block: RampBlock) -> RampBlock:
            return block._replace(data=subtract_reference(block.data, means, amplifier))

        ramp.add_operation(subtract)
