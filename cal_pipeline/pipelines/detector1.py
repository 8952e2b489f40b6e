"""The pipeline ``detector1``: ramps to rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cal_pipeline.core.pipeline import specify_run
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import RATE
from cal_pipeline.imager.models import ImageModel, RampModel
from cal_pipeline.imager.product import RateProduct
from cal_pipeline.imager.writing import write_image
from cal_pipeline.pipelines.imager import ImagerPipeline
from cal_pipeline.steps.imager import (
    DqInitStep,
    JumpStep,
    LinearityStep,
    RampFitStep,
    RefpixStep,
    SaturationStep,
    SuperbiasStep,
)


class Detector1Pipeline(ImagerPipeline):
    """Correct detector ramps and fit their rates: counts to electrons per second.

    Parameters are those in `spec` and, as ``steps={"jump": {...}, ...}``, those of the steps. All
    steps but `dq_init` and `ramp_fit` can be skipped.

    Examples
    --------
    >>> from cal_pipeline import Detector1Pipeline
    >>> product = Detector1Pipeline.call("visit.zarr", output_file="rates.zarr", references="visit.references")
    >>> rate = product.open_image(product.numbers[0])
    >>> rate.units, rate.meta.cal_step.ramp_fit
    ('electron / s', 'COMPLETE')
    """

    class_alias = "detector1"

    spec = specify_run(RATE, follows=True)

    step_defs = {
        "dq_init": DqInitStep,
        "saturation": SaturationStep,
        "superbias": SuperbiasStep,
        "refpix": RefpixStep,
        "linearity": LinearityStep,
        "jump": JumpStep,
        "ramp_fit": RampFitStep,
    }

    has_quality_table = True
    product_class = RateProduct
    never_skipped = ("dq_init", "ramp_fit")

    def open_observation(self, dataset: ExposureStore, number: int) -> RampModel:
        """Open a raw exposure."""
        self.rule_for(dataset, number)
        return RampModel.from_store(dataset, number)

    def write(self, image: ImageModel, root: StorePath, provenance: Mapping[str, Any]) -> None:
        """Write the rates, and those of the integrations of an exposure with several."""
        write_image(image, root, provenance, with_flat=False, ints="rateints")
