"""Module of the pipeline in parameter files written before pipelines had a room of their own."""

from cal_pipeline.pipelines.calibration import CalibrationPipeline

__all__ = ["CalibrationPipeline"]
