"""Made-up nights: input files of the tools, and configuration files to run the tools in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from cal_pipeline._version import __version__
from cal_pipeline.cherenkov.extras import import_extra
from cal_pipeline.cherenkov.simulate.air import AirColumn
from cal_pipeline.cherenkov.simulate.atmosphere import (
    CLIMATES,
    ELEVATION,
    LATITUDE,
    LONGITUDE,
    NIGHT,
    TextFile,
    Weather,
    make_files,
    write_files,
)
from cal_pipeline.cherenkov.simulate.lidar import LidarScene, make_signal_table
from cal_pipeline.cherenkov.simulate.stars import make_star_table

OBSERVATORY = {"name": "EXAMPLE-RIDGE", "version": 1}
"""Name and version of the observatory, which does not exist."""

SEASONS: tuple[dict[str, Any], ...] = (
    {"name": "spring", "start_month": 4, "start_day": 16, "stop_month": 6, "stop_day": 15},
    {"name": "summer", "start_month": 6, "start_day": 16, "stop_month": 9, "stop_day": 30},
    {"name": "fall", "start_month": 10, "start_day": 1, "stop_month": 11, "stop_day": 20},
    {"name": "winter", "start_month": 11, "start_day": 21, "stop_month": 4, "stop_day": 15},
)
"""Seasons of the observatory."""

PRODUCTS = "products"
"""Folder of the products within the folder of a night."""

BEAM = LidarScene(AirColumn(CLIMATES["summer"], LATITUDE), station_altitude=ELEVATION, zenith_angle=25.0)
"""Beam of the LIDAR through layers of aerosols, and through the air of a mean summer."""

DISTANCES = np.arange(150.0, 12000.0, 15.0)
"""Distances of the returns [m]."""

REFERENCE_RANGE = 9000.0
"""Distance above all aerosols [m]."""

Configuration = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class NightFiles:
    """Files of a made-up night.

    Attributes
    ----------
    folder : Path
        Folder of all files.
    truth : Path
        Table of the mean air of the night.
    commands : tuple of (str, Path)
        Commands and their configuration files, in order.
    """

    folder: Path
    truth: Path
    commands: tuple[tuple[str, Path], ...]


def make_configurations(folder: Path) -> dict[str, tuple[str, Configuration]]:
    """Make the configurations of the tools, in the order in which they run.

    Parameters
    ----------
    folder : Path
        Folder of the files, as the tools shall find it.

    Returns
    -------
    dict of str to (str, dict)
        Command and configuration, by the name of the configuration file.

    Examples
    --------
    >>> [command for command, _ in make_configurations(Path("night")).values()][:2]
    ['calibpipe-init-db', 'calibpipe-upload-observatory-data']
    """
    database: Configuration = {"database_configuration": {"url": f"sqlite:///{(folder / 'calibpipe.db').as_posix()}"}}
    made: dict[str, tuple[str, Configuration]] = {
        "init_db.yaml": ("calibpipe-init-db", database),
        "upload_observatory.yaml": (
            "calibpipe-upload-observatory-data",
            {"UploadObservatoryData": _observatory()} | database,
        ),
    }
    for number, season in enumerate(CLIMATES):
        model = {"UploadAtmosphericModel": _model(folder, season, f"1.{number}.0")}
        made[f"upload_model_{season}.yaml"] = ("calibpipe-upload-atmospheric-model-data", model | database)
    made["macobac.yaml"] = ("calibpipe-calculate-macobac", {"CalculateMACOBAC": _macobac(folder)})
    for name, command, section, more in _METEO_TOOLS:
        settings = _night(folder) | {key: (folder / path).as_posix() for key, path in more.items()}
        made[name] = (command, {section: settings} | _handlers(folder) | database)
    made["clear_night.yaml"] = ("calibpipe-clear-night-assessment", {"ClearNightAnalysis": _stars(folder)})
    made["lidar_inversion.yaml"] = ("calibpipe-lidar-inversion", {"LidarInversion": _beam(folder)})
    return made


_METEO_TOOLS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("density_profile.yaml", "calibpipe-create-molecular-density-profile", "CreateMolecularDensityProfile", {}),
    ("select_model.yaml", "calibpipe-select-reference-atmospheric-model", "SelectMolecularAtmosphericModel", {}),
    (
        "atmospheric_model.yaml",
        "calibpipe-create-molecular-atmospheric-model",
        "CreateMolecularAtmosphericModel",
        {"macobac12_table_path": f"{PRODUCTS}/macobac.ecsv"},
    ),
)
"""Tools that read a meteorological table: configuration file, command, section, paths of further inputs."""


def _observatory() -> dict[str, Any]:
    place = {"latitude": LATITUDE, "longitude": LONGITUDE, "elevation": ELEVATION * 1e3}
    seasons = [{"Season": dict(season)} for season in SEASONS]
    return {"observatories": [{"Observatory": OBSERVATORY | place | {"seasons": seasons}}]}


def _model(folder: Path, season: str, version: str) -> dict[str, Any]:
    models = (folder / "models").as_posix()
    return {
        "atmospheric_model": {
            "version": version,
            "start": "2023-01-01",
            "current": True,
            "season": season.upper(),
            "name_Observatory": OBSERVATORY["name"],
            "version_Observatory": OBSERVATORY["version"],
        },
        "molecular_atmospheric_profile": {
            "data_assimilation_system": "none",
            "dataset": "made-up",
            "description": f"made-up air of a {season}",
            "data_path": f"{models}/profile_{season}.ecsv",
        },
        "rayleigh_extinction_data_path": f"{models}/extinction_{season}.ecsv",
        "macobac_data_path": f"{models}/macobac.ecsv",
        "molecular_density_data_path": f"{models}/density_{season}.ecsv",
    }


def _macobac(folder: Path) -> dict[str, Any]:
    record = {"data_path": (folder / "monthly_in_situ_co2.csv").as_posix()}
    return {
        "timestamp": NIGHT.isoformat(),
        "output_path": (folder / PRODUCTS).as_posix(),
        "CO2DataHandler": record,
    }


def _night(folder: Path) -> dict[str, Any]:
    return {
        "timestamp": NIGHT.isoformat(),
        "observatory": dict(OBSERVATORY),
        "meteo_data_handler": "ECMWFDataHandler",
        "output_path": (folder / PRODUCTS).as_posix(),
    }


def _handlers(folder: Path) -> Configuration:
    return {
        "ECMWFDataHandler": {"data_path": (folder / "meteo_era5.ecsv").as_posix()},
        "GDASDataHandler": {"data_path": (folder / "meteo_gdas.ecsv").as_posix()},
    }


def _stars(folder: Path) -> dict[str, Any]:
    return {"input_url": (folder / "stars.ecsv").as_posix(), "output_path": (folder / PRODUCTS).as_posix()}


def _beam(folder: Path) -> dict[str, Any]:
    products = (folder / PRODUCTS).as_posix()
    profile = f"{products}/contemporary_atmospheric_profile.ascii.ecsv"
    paths = {"input_url": (folder / "lidar.ecsv").as_posix(), "profile": profile, "output_path": products}
    names = ("wavelength", "zenith_angle", "station_altitude", "lidar_ratio")
    settings = {name: getattr(BEAM, name) for name in names}
    return paths | settings | {"reference_range": REFERENCE_RANGE}


def make_aerosol_files(seed: int) -> dict[str, Table]:
    """Make the photometry of stars, the returns of a LIDAR, and the true extinction of the aerosols.

    Parameters
    ----------
    seed : int
        Seed of all random numbers.

    Returns
    -------
    dict of str to Table
        By the path in the folder of the night.
    """
    # The weather is drawn first, as for the meteorological tables: the beam goes through the same air.
    weather = Weather.draw(np.random.default_rng(seed))
    generator = np.random.default_rng([seed, 1])
    scene = replace(BEAM, column=weather.column(1.0, LATITUDE, LONGITUDE))
    altitude = scene.altitude(DISTANCES)
    truth = Table({"altitude": altitude * 1e3 * u.m, "extinction": scene.aerosol_extinction(altitude) / 1e3 / u.m})
    return {
        "stars.ecsv": make_star_table(generator),
        "lidar.ecsv": make_signal_table(scene, DISTANCES, photons=1e9, generator=generator),
        "truth_aerosols.ecsv": truth,
    }


def simulate_night(folder: str | Path, seed: int = 1, overwrite: bool = False) -> NightFiles:
    """Write a made-up night: inputs of the atmosphere and aerosol tools, and configuration files to run these.

    Parameters
    ----------
    folder : str or Path
        Folder of the files, made if missing; the configuration files name it as given here, so a
        relative path serves commands that run in the same place.
    seed : int
        Seed of all random numbers.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    NightFiles

    Raises
    ------
    OutputExistsError
        If a file exists, unless `overwrite`; nothing is written then.
    ConfigurationError
        If PyYAML is not installed.

    Examples
    --------
    >>> files = simulate_night("simulated_night", seed=2)
    >>> files.truth.as_posix()
    'simulated_night/truth.ecsv'
    """
    yaml = import_extra("yaml")
    folder = Path(folder)
    configurations = make_configurations(folder)
    texts = {name: TextFile(yaml.safe_dump(content, sort_keys=False)) for name, (_, content) in configurations.items()}
    provenance: dict[str, object] = {"tool": "cal-simulate cherenkov", "version": __version__, "seed": seed}
    write_files({**make_files(seed), **make_aerosol_files(seed), **texts}, folder, provenance, overwrite)
    commands = tuple((command, folder / name) for name, (command, _) in configurations.items())
    return NightFiles(folder, folder / "truth.ecsv", commands)
