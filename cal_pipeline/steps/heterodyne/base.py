"""Base of the steps and pipelines for heterodyne receivers, which process scans band by band."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from cal_pipeline.core.parameters.resolved import DEFAULT
from cal_pipeline.core.step import BaseStep, ObservationStep
from cal_pipeline.heterodyne.parameter_files import choose_parameter_file
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.sources import first_scan, open_scan
from cal_pipeline.registry import list_steps


class HeterodyneStep(BaseStep):
    """Base of steps and pipelines: how scans are opened, and parameter files chosen for them."""

    spec = """
    output_use_model = boolean(default=True)     # Name the files of steps after the scan
    """

    product_kind = CalibratedSession.kind
    observation_type = Scan
    stage_names = tuple(step.class_alias for step in list_steps("heterodyne") if not step.is_pipeline)

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> Scan:
        """Open a scan; see :func:`cal_pipeline.heterodyne.sources.open_scan`."""
        return open_scan(source, input_dir)

    @classmethod
    def first_observation(cls, source: Any) -> Scan:
        """Open the only scan of an input, or the first of a session."""
        return first_scan(source)

    @classmethod
    def choose_parameter_file(cls, described: Mapping[str, Any]) -> Path | None:
        """Choose the parameter file for a telescope, frontend and mode; None for none."""
        return choose_parameter_file(**described)

    def describe_by_parameters(self) -> dict[str, Any]:
        """Return the observing mode, if the user gave one."""
        mode = "auto" if self.parameters.origin("mode") == DEFAULT else self.mode
        return {} if mode == "auto" else {"mode": mode}


class CalibrationStep(HeterodyneStep, ObservationStep):
    """Base of the steps, which take a scan (or its location) and add a result to its bands.

    The input is a scan, a file that a step wrote, or a session with one scan to calibrate
    (``session.zarr/scan_025650`` for one of many).
    """

    example_source = "session.zarr/scan_025650"
    example_output = "loads.asdf"

    depends_on: ClassVar[tuple[str, ...] | None] = None
    """Attributes of a band, results of earlier steps or parts of them, that the result depends on; None: on all.

    A step need not be repeated after a change of parameters that leaves these attributes alone.
    """

    def list_asked_steps(self) -> tuple[ObservationStep, ...]:
        """List the steps of the pipeline on whose parameters the result of this one depends too: none."""
        return ()

    def process_observation(self, observation: Scan) -> None:
        """Add the result of this step to a scan."""
        self.process_scan(observation)

    def process_scan(self, scan: Scan) -> None:
        """Add the result of this step to the bands of a scan, one by one unless overridden."""
        for band in scan.bands:
            self.process_band(band, scan)

    def process_band(self, band: Band, scan: Scan) -> None:
        """Add the result of this step to a band."""
        raise TypeError(f"{type(self).__name__} does not say what it does to a band")

    def describe_observation(self, observation: Scan) -> str:
        """Describe the result of the step for each band, for the log."""
        return "; ".join(f"{band}: {self.describe_result(band)}" for band in observation.bands)

    def describe_result(self, band: Band) -> str:
        """Describe the result of the step for a band in a few words, for the log."""
        return "done"
