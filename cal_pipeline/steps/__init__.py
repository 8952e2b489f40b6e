"""The calibration steps, one a file."""

from cal_pipeline.steps.atmosphere import AtmosphereStep
from cal_pipeline.steps.calibrate import CalibrateStep
from cal_pipeline.steps.dbs import DbsStep
from cal_pipeline.steps.gain import GainStep
from cal_pipeline.steps.loads import LoadsStep
from cal_pipeline.steps.prepare import PrepareStep
from cal_pipeline.steps.skychopdiff import SkychopdiffStep
from cal_pipeline.steps.skydiff import SkydiffStep

__all__ = [
    "AtmosphereStep",
    "CalibrateStep",
    "DbsStep",
    "GainStep",
    "LoadsStep",
    "PrepareStep",
    "SkychopdiffStep",
    "SkydiffStep",
]
