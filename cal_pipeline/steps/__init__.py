"""The calibration steps, one a file."""

from cal_pipeline.steps.atmosphere import AtmosphereStep
from cal_pipeline.steps.calibrate import CalibrateStep
from cal_pipeline.steps.loads import LoadsStep
from cal_pipeline.steps.prepare import PrepareStep

__all__ = ["AtmosphereStep", "CalibrateStep", "LoadsStep", "PrepareStep"]
