"""The calibration pipeline: its steps and their order."""

from __future__ import annotations

from functools import partial
from typing import Any

from cal_pipeline._version import __version__
from cal_pipeline.core.parameters.values import plain_numbers
from cal_pipeline.core.pipeline import RUN_PARAMETERS, ObservationPipeline
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.schema import L1_SCHEMA_VERSION
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.sources import EXPECTED_INPUT
from cal_pipeline.steps import (
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    GainStep,
    LoadsStep,
    PrepareStep,
    SkychopdiffStep,
    SkydiffStep,
)
from cal_pipeline.steps.heterodyne.base import HeterodyneStep


class CalibrationPipeline(HeterodyneStep, ObservationPipeline):
    """Calibrate the scans of an L0 session to antenna temperatures T_A* and write them as L1.

    Examples
    --------
    ``CalibrationPipeline.call("session.zarr", output_file="l1.zarr", steps={"loads": {"image_gain": 0.0}})``
    """

    class_alias = "calibration_pipeline"

    spec = f"""
    scans     = force_list(default=None)     # Scans to calibrate, as in 25650,25660:25670 (default: all)
    {RUN_PARAMETERS}
    """

    step_defs = {
        "loads": LoadsStep,
        "gain": GainStep,
        "prepare": PrepareStep,
        "atmosphere": AtmosphereStep,
        "calibrate": CalibrateStep,
        "dbs": DbsStep,
        "skychopdiff": SkychopdiffStep,
        "skydiff": SkydiffStep,
    }

    conversions = {"scans": partial(plain_numbers, noun="scan")}
    coercions = {"scans": lambda value: [str(item) for item in value]}

    input_noun = "session"
    example_input = "session.zarr"
    expected_input = EXPECTED_INPUT
    selection = "scans"
    not_replayed = ("skydiff",)

    scans: list[Any] | None

    def open_input(self, location: str) -> Session:
        """Open the L0 session."""
        return Session(location)

    def select(self, dataset: Session) -> list[int]:
        """Select the scans to calibrate."""
        return dataset.select(self.scans)

    def open_observation(self, dataset: Session, number: int) -> Scan:
        """Open a scan of the session."""
        return dataset.open_scan(number)

    def open_product(self, location: str) -> CalibratedSession:
        """Open the L1 store."""
        return CalibratedSession(location)

    def root_attributes(self) -> dict[str, Any]:
        """Return the versions of the schema and of this package."""
        return {"cal_schema_version": L1_SCHEMA_VERSION, "cal_engine_version": __version__}

    def describe_by_parameters(self) -> dict[str, Any]:
        """Return the observing mode that the step ``prepare`` was given."""
        mode: dict[str, Any] = self.prepare.describe_by_parameters()
        return mode
