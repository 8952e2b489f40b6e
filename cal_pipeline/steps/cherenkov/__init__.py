"""Steps of the Cherenkov family, one a file."""

from cal_pipeline.steps.cherenkov.clear_night import ClearNightStep
from cal_pipeline.steps.cherenkov.cross_calibration import CrossCalibrationStep
from cal_pipeline.steps.cherenkov.energy_asymmetry import EnergyAsymmetryStep
from cal_pipeline.steps.cherenkov.inter_calibration import InterCalibrationStep
from cal_pipeline.steps.cherenkov.lidar_inversion import LidarInversionStep
from cal_pipeline.steps.cherenkov.macobac import MacobacStep

__all__ = [
    "ClearNightStep",
    "CrossCalibrationStep",
    "EnergyAsymmetryStep",
    "InterCalibrationStep",
    "LidarInversionStep",
    "MacobacStep",
]
