"""Steps of the infrared imager, one a file."""

from cal_pipeline.steps.imager.dq_init import DqInitStep
from cal_pipeline.steps.imager.jump import JumpStep
from cal_pipeline.steps.imager.linearity import LinearityStep
from cal_pipeline.steps.imager.ramp_fit import RampFitStep
from cal_pipeline.steps.imager.refpix import RefpixStep
from cal_pipeline.steps.imager.saturation import SaturationStep
from cal_pipeline.steps.imager.superbias import SuperbiasStep

__all__ = [
    "DqInitStep",
    "JumpStep",
    "LinearityStep",
    "RampFitStep",
    "RefpixStep",
    "SaturationStep",
    "SuperbiasStep",
]
