"""Infrared imager: detector ramps to calibrated images.

Exposures are :class:`RampModel` and :class:`ImageModel`, their flags :class:`DQ`. Steps are in
`cal_pipeline.steps.imager`, pipelines in `cal_pipeline`, a simulator in
`cal_pipeline.imager.simulate`.
"""

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import ImageModel, RampModel

__all__ = ["DQ", "ImageModel", "RampModel"]
