"""Steps of the Cherenkov family, one a file."""

from cal_pipeline.steps.cherenkov.atmospheric_model import AtmosphericModelStep
from cal_pipeline.steps.cherenkov.camera_coefficients import CameraCoefficientsStep
from cal_pipeline.steps.cherenkov.camera_test_data import CameraTestDataStep
from cal_pipeline.steps.cherenkov.clear_night import ClearNightStep
from cal_pipeline.steps.cherenkov.cross_calibration import CrossCalibrationStep
from cal_pipeline.steps.cherenkov.density_profile import DensityProfileStep
from cal_pipeline.steps.cherenkov.energy_asymmetry import EnergyAsymmetryStep
from cal_pipeline.steps.cherenkov.init_database import InitDatabaseStep
from cal_pipeline.steps.cherenkov.inter_calibration import InterCalibrationStep
from cal_pipeline.steps.cherenkov.lidar_inversion import LidarInversionStep
from cal_pipeline.steps.cherenkov.macobac import MacobacStep
from cal_pipeline.steps.cherenkov.muon_throughput import MuonThroughputStep
from cal_pipeline.steps.cherenkov.select_model import SelectModelStep
from cal_pipeline.steps.cherenkov.upload_model import UploadAtmosphericModelStep
from cal_pipeline.steps.cherenkov.upload_observatory import UploadObservatoryDataStep

__all__ = [
    "AtmosphericModelStep",
    "CameraCoefficientsStep",
    "CameraTestDataStep",
    "ClearNightStep",
    "CrossCalibrationStep",
    "DensityProfileStep",
    "EnergyAsymmetryStep",
    "InitDatabaseStep",
    "InterCalibrationStep",
    "LidarInversionStep",
    "MacobacStep",
    "MuonThroughputStep",
    "SelectModelStep",
    "UploadAtmosphericModelStep",
    "UploadObservatoryDataStep",
]
