"""The calibration pipeline: its steps and their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stpipe import Pipeline

from cal_pipeline.engine.runner import calibrate_session, default_output
from cal_pipeline.engine.store import OutputStore
from cal_pipeline.models.l1 import CalibratedSession
from cal_pipeline.models.session import Session
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep
from cal_pipeline.steps.base import CalibrationBase


class CalibrationPipeline(CalibrationBase, Pipeline):  # type: ignore[misc]
    """Calibrate the scans of an L0 session to antenna temperatures T_A* and write them as L1.

    Examples
    --------
    ``CalibrationPipeline.call("session.zarr", output_file="l1.zarr", steps={"loads": {"image_gain": 0.0}})``
    """

    class_alias = "calibration_pipeline"

    spec = """
    scans     = force_list(default=None)     # Scans to calibrate, as in 25650,25660:25670 (all)
    overwrite = boolean(default=False)       # Replace an output that exists
    """

    step_defs = {
        "loads": LoadsStep,
        "prepare": PrepareStep,
        "atmosphere": AtmosphereStep,
        "calibrate": CalibrateStep,
    }

    coercions = {"scans": lambda value: [str(item) for item in value]}

    scans: list[Any] | None
    overwrite: bool
    output_file: str | None
    output_dir: str | None

    def process(self, source: str | Path) -> CalibratedSession:
        """Calibrate a session.

        Parameters
        ----------
        source : str or Path
            The L0 session.

        Returns
        -------
        CalibratedSession

        Raises
        ------
        RunFailedError
            At the end, if a scan could not be calibrated; the others are written.
        """
        steps = {name: getattr(self, name) for name in self.step_defs}
        for step in steps.values():
            step.check_parameters()
            step.check_references()
        session = Session(source)
        numbers = session.select(self.scans)
        target = Path(self.output_dir or ".") / (self.output_file or default_output(session))
        output = OutputStore(target.expanduser(), self.overwrite, session.path)
        stages = {name: step.run for name, step in steps.items()}
        return calibrate_session(session, numbers, stages, output, self.get_pars())
