"""Steps and pipelines that the command line of stpipe lists."""

from __future__ import annotations

from typing import NamedTuple


class StepEntry(NamedTuple):
    """Step or pipeline by its names, without importing it."""

    class_name: str
    class_alias: str
    is_pipeline: bool


def list_steps() -> list[StepEntry]:
    """List the pipelines, each before its steps."""
    return [
        StepEntry("cal_pipeline.CalibrationPipeline", "calibration_pipeline", True),
        StepEntry("cal_pipeline.steps.LoadsStep", "loads", False),
        StepEntry("cal_pipeline.steps.GainStep", "gain", False),
        StepEntry("cal_pipeline.steps.PrepareStep", "prepare", False),
        StepEntry("cal_pipeline.steps.AtmosphereStep", "atmosphere", False),
        StepEntry("cal_pipeline.steps.CalibrateStep", "calibrate", False),
        StepEntry("cal_pipeline.steps.DbsStep", "dbs", False),
        StepEntry("cal_pipeline.steps.SkychopdiffStep", "skychopdiff", False),
        StepEntry("cal_pipeline.steps.SkydiffStep", "skydiff", False),
    ]
