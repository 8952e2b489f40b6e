"""Steps and pipelines that the command line of stpipe lists."""

from __future__ import annotations

from typing import NamedTuple


class StepEntry(NamedTuple):
    """Step or pipeline by its names, without importing it."""

    class_name: str
    class_alias: str
    is_pipeline: bool


_FAMILIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "heterodyne": (
        {"calibration_pipeline": "CalibrationPipeline"},
        {
            "loads": "LoadsStep",
            "gain": "GainStep",
            "prepare": "PrepareStep",
            "atmosphere": "AtmosphereStep",
            "calibrate": "CalibrateStep",
            "dbs": "DbsStep",
            "skychopdiff": "SkychopdiffStep",
            "skydiff": "SkydiffStep",
        },
    ),
    "imager": (
        {
            "detector1": "Detector1Pipeline",
            "preprocess_dark": "PreprocessDarkPipeline",
            "preprocess_flatfield": "PreprocessFlatfieldPipeline",
            "image2": "Image2Pipeline",
            "image3": "Image3Pipeline",
        },
        {
            "dq_init": "imager.DqInitStep",
            "saturation": "imager.SaturationStep",
            "superbias": "imager.SuperbiasStep",
            "refpix": "imager.RefpixStep",
            "linearity": "imager.LinearityStep",
            "jump": "imager.JumpStep",
            "ramp_fit": "imager.RampFitStep",
            "dark": "imager.DarkStep",
            "flat_field": "imager.FlatFieldStep",
            "background": "imager.BackgroundStep",
            "photom": "imager.PhotomStep",
            "normalize": "imager.NormalizeStep",
            "combine_frames": "imager.CombineFramesStep",
            "outlier": "imager.OutlierStep",
            "mosaic": "imager.MosaicStep",
        },
    ),
    "cherenkov": (
        {"molecular_atmosphere": "MolecularAtmospherePipeline"},
        {
            "init_database": "cherenkov.InitDatabaseStep",
            "upload_observatory": "cherenkov.UploadObservatoryDataStep",
            "upload_model": "cherenkov.UploadAtmosphericModelStep",
            "macobac": "cherenkov.MacobacStep",
            "density_profile": "cherenkov.DensityProfileStep",
            "select_model": "cherenkov.SelectModelStep",
            "atmospheric_model": "cherenkov.AtmosphericModelStep",
            "camera_coefficients": "cherenkov.CameraCoefficientsStep",
            "camera_test_data": "cherenkov.CameraTestDataStep",
            "muon_throughput": "cherenkov.MuonThroughputStep",
            "energy_asymmetry": "cherenkov.EnergyAsymmetryStep",
            "inter_calibration": "cherenkov.InterCalibrationStep",
            "cross_calibration": "cherenkov.CrossCalibrationStep",
            "clear_night": "cherenkov.ClearNightStep",
            "lidar_inversion": "cherenkov.LidarInversionStep",
        },
    ),
}
"""Pipelines and steps of each family by alias, in processing order."""


def list_steps(family: str = "") -> list[StepEntry]:
    """List the pipelines of a family, or of all, each family's before its steps.

    Parameters
    ----------
    family : str
        Name of a family; all if empty.

    Examples
    --------
    >>> list_steps("imager")[5]
    StepEntry(class_name='cal_pipeline.steps.imager.DqInitStep', class_alias='dq_init', is_pipeline=False)
    """
    families = [_FAMILIES[family]] if family else _FAMILIES.values()
    return [
        entry
        for pipelines, steps in families
        for entry in (
            *(StepEntry(f"cal_pipeline.{name}", alias, True) for alias, name in pipelines.items()),
            *(StepEntry(f"cal_pipeline.steps.{name}", alias, False) for alias, name in steps.items()),
        )
    ]
