"""Steps of the infrared imager, one a file."""

from cal_pipeline.steps.imager.background import BackgroundStep
from cal_pipeline.steps.imager.combine_frames import CombineFramesStep
from cal_pipeline.steps.imager.dark import DarkStep
from cal_pipeline.steps.imager.dq_init import DqInitStep
from cal_pipeline.steps.imager.flat_field import FlatFieldStep
from cal_pipeline.steps.imager.jump import JumpStep
from cal_pipeline.steps.imager.linearity import LinearityStep
from cal_pipeline.steps.imager.mosaic import MosaicStep
from cal_pipeline.steps.imager.normalize import NormalizeStep
from cal_pipeline.steps.imager.outlier import OutlierStep
from cal_pipeline.steps.imager.photom import PhotomStep
from cal_pipeline.steps.imager.ramp_fit import RampFitStep
from cal_pipeline.steps.imager.refpix import RefpixStep
from cal_pipeline.steps.imager.saturation import SaturationStep
from cal_pipeline.steps.imager.superbias import SuperbiasStep

__all__ = [
    "BackgroundStep",
    "CombineFramesStep",
    "DarkStep",
    "DqInitStep",
    "FlatFieldStep",
    "JumpStep",
    "LinearityStep",
    "MosaicStep",
    "NormalizeStep",
    "OutlierStep",
    "PhotomStep",
    "RampFitStep",
    "RefpixStep",
    "SaturationStep",
    "SuperbiasStep",
]
