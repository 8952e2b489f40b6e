"""Step ``flat_field``."""

from __future__ import annotations

from typing import Any

from cal_pipeline.imager.physics.flat import divide_by_flat
from cal_pipeline.steps.imager.images import ImageByImageStep


class FlatFieldStep(ImageByImageStep):
    """Divide by the flat field of the filter, and add its error.

    Examples
    --------
    >>> image = FlatFieldStep.call("rate.zarr/exp_000004", references="visit.references")
    >>> image.meta.cal_step.flat_field
    'COMPLETE'
    """

    class_alias = "flat_field"
    once = True
    reference_file_types = ["flat"]

    def process_observation(self, image: Any) -> Any:
        """Divide by the flat field."""
        flat = self.reference(image, "flat").arrays
        return self.apply(image, lambda plain: divide_by_flat(plain, flat["data"], flat["err"], flat["dq"]))
