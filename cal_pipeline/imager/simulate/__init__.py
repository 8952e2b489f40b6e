"""Visits of an infrared imager with known rates.

`simulate_visit(standard_visit(size=256), "visit.zarr")` writes raw ramps, their truth and the reference files of the
detector; `read_truth` reads the truth.
"""

from cal_pipeline.imager.simulate.config import Detector, ExposurePlan, Filter, Star, Subarray, VisitConfig
from cal_pipeline.imager.simulate.errors import VisitError
from cal_pipeline.imager.simulate.standard import standard_visit
from cal_pipeline.imager.simulate.truth import ExposureTruth, read_truth, truth_path
from cal_pipeline.imager.simulate.writer import VisitFiles, simulate_visit

__all__ = [
    "Detector",
    "ExposurePlan",
    "ExposureTruth",
    "Filter",
    "Star",
    "Subarray",
    "VisitConfig",
    "VisitError",
    "VisitFiles",
    "read_truth",
    "simulate_visit",
    "standard_visit",
    "truth_path",
]
