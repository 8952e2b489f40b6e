"""Path of the pipeline in parameter files of releases before 1.3."""

from cal_pipeline.pipelines.calibration import CalibrationPipeline

__all__ = ["CalibrationPipeline"]
