"""The calibration steps, one a file."""

import sys

from cal_pipeline.steps.heterodyne import (
    atmosphere,
    calibrate,
    dbs,
    gain,
    loads,
    prepare,
    skychopdiff,
    skydiff,
)
from cal_pipeline.steps.heterodyne.atmosphere import AtmosphereStep
from cal_pipeline.steps.heterodyne.calibrate import CalibrateStep
from cal_pipeline.steps.heterodyne.dbs import DbsStep
from cal_pipeline.steps.heterodyne.gain import GainStep
from cal_pipeline.steps.heterodyne.loads import LoadsStep
from cal_pipeline.steps.heterodyne.prepare import PrepareStep
from cal_pipeline.steps.heterodyne.skychopdiff import SkychopdiffStep
from cal_pipeline.steps.heterodyne.skydiff import SkydiffStep

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

# Parameter files name classes by the module that they were in before steps were grouped by family.
for _step in (atmosphere, calibrate, dbs, gain, loads, prepare, skychopdiff, skydiff):
    sys.modules[f"{__name__}.{_step.__name__.rpartition('.')[2]}"] = _step
