"""Steps of the Cherenkov family, one a file."""

from cal_pipeline.steps.cherenkov.atmospheric_model import AtmosphericModelStep
from cal_pipeline.steps.cherenkov.clear_night import ClearNightStep
from cal_pipeline.steps.cherenkov.density_profile import DensityProfileStep
from cal_pipeline.steps.cherenkov.init_database import InitDatabaseStep
from cal_pipeline.steps.cherenkov.lidar_inversion import LidarInversionStep
from cal_pipeline.steps.cherenkov.macobac import MacobacStep
from cal_pipeline.steps.cherenkov.select_model import SelectModelStep
from cal_pipeline.steps.cherenkov.upload_model import UploadAtmosphericModelStep
from cal_pipeline.steps.cherenkov.upload_observatory import UploadObservatoryDataStep

__all__ = [
    "AtmosphericModelStep",
    "ClearNightStep",
    "DensityProfileStep",
    "InitDatabaseStep",
    "LidarInversionStep",
    "MacobacStep",
    "SelectModelStep",
    "UploadAtmosphericModelStep",
    "UploadObservatoryDataStep",
]
