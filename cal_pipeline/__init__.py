"""Calibration pipeline for submillimetre heterodyne receivers: raw counts to antenna temperatures."""

from typing import TYPE_CHECKING, Any

from cal_pipeline._version import __version__

if TYPE_CHECKING:
    from cal_pipeline.models.l1 import CalibratedSession
    from cal_pipeline.pipeline import CalibrationPipeline

__all__ = ["CalibratedSession", "CalibrationPipeline", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the pipeline when it is first asked for: the command-line tools beside it start faster."""
    if name == "CalibrationPipeline":
        from cal_pipeline.pipeline import CalibrationPipeline

        return CalibrationPipeline
    if name == "CalibratedSession":
        from cal_pipeline.models.l1 import CalibratedSession

        return CalibratedSession
    raise AttributeError(f"module 'cal_pipeline' has no attribute {name!r}")
