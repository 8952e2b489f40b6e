"""Calibration pipeline for submillimetre heterodyne receivers: raw counts to antenna temperatures."""

from cal_pipeline._version import __version__

__all__ = ["__version__"]
