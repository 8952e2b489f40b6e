"""Infrared imager: detector ramps to calibrated images."""

from cal_pipeline.imager.dq import DQ

__all__ = ["DQ"]
