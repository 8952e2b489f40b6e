"""Step ``normalize``."""

from __future__ import annotations

from typing import Any

from cal_pipeline.imager.physics.combine import normalize
from cal_pipeline.steps.imager.images import ImageByImageStep


class NormalizeStep(ImageByImageStep):
    """Divide an image, or each of a set, by the median or mean of its good pixels.

    Examples
    --------
    >>> import numpy as np
    >>> image = NormalizeStep.call("rate.zarr/exp_000002")
    >>> f"{np.nanmedian(image.data):.3f}"
    '1.000'
    """

    class_alias = "normalize"
    stage = "preprocess_flatfield"

    spec = """
    method = option('median', 'mean', default='median')   # Level that becomes 1
    """

    method: str

    def process_observation(self, image: Any) -> Any:
        """Divide by the level."""
        method: Any = self.method
        return self.apply(image, lambda plain: normalize(plain, method))
