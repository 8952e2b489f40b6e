"""Step ``dark``."""

from __future__ import annotations

from typing import Any

from cal_pipeline.imager.physics.dark import subtract_dark
from cal_pipeline.steps.imager.images import ImageByImageStep


class DarkStep(ImageByImageStep):
    """Subtract the dark rate, and add its error.

    Rates are corrected, not ramps: so the photon noise of the dark counts is in the error. For a
    set of images the file is chosen by the first.

    Examples
    --------
    >>> image = DarkStep.call("rate.zarr/exp_000004", references="visit.references")
    >>> image.meta.cal_step.dark
    'COMPLETE'
    """

    class_alias = "dark"
    once = True
    reference_file_types = ["dark"]

    def process_observation(self, image: Any) -> Any:
        """Subtract the dark."""
        dark = self.reference(image, "dark").arrays
        return self.apply(image, lambda plain: subtract_dark(plain, dark["data"], dark["err"], dark["dq"]))
