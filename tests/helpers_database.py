"""Observatories and reference models to upload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

SEASONS = [
    {"Season": {"name": "summer", "start_month": 4, "stop_month": 10, "stop_day": 14}},
    {"Season": {"name": "winter", "start_month": 10, "start_day": 15, "stop_month": 3}},
]


def describe_observatory(name: str = "Ridge", **changes: Any) -> dict[str, Any]:
    """Describe an observatory as a configuration does."""
    site = {"name": name, "version": 1, "latitude": 28.7, "longitude": -17.9, "elevation": 2150, "seasons": SEASONS}
    return {"Observatory": site | changes}


def write_model(folder: Path, version: str = "1.0.0", season: str = "WINTER", **changes: Any) -> dict[str, Any]:
    """Write the files of a reference model and return its section; numbers have all their digits."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, version)))
    bins, wavelengths = changes.pop("bins", 4), changes.pop("wavelengths", 3)
    altitude = np.linspace(0.0, 120.0, 12)
    profile = Table(
        {
            "altitude": altitude,
            "atmospheric_density": 1.2e-3 * np.exp(-altitude / 8.0) * rng.uniform(0.9, 1.1, 12),
            "atmospheric_thickness": 1036.0 * np.exp(-altitude / 8.0),
            "refractive_index_m_1": 2.8e-4 * np.exp(-altitude / 8.0),
            "temperature": rng.uniform(200.0, 300.0, 12),
            "pressure": 1013.25 * np.exp(-altitude / 8.0),
            "partial_water_pressure": rng.uniform(0.0, 1e-2, 12),
        }
    )
    for name, unit in {"altitude": "km", "atmospheric_density": "g / cm3", "atmospheric_thickness": "g / cm2"}.items():
        profile[name].unit = unit
    profile["temperature"].unit, profile["pressure"].unit = "K", "hPa"
    edges = np.linspace(2.1, 120.0, bins + 1)
    extinction = Table({"altitude_max": edges[1:], "altitude_min": edges[:-1]})
    extinction["altitude_max"].unit = extinction["altitude_min"].unit = "km"
    for wavelength in range(wavelengths):
        extinction[f"{200.0 + wavelength} nm"] = rng.lognormal(-4.0, 2.0, bins)
    macobac = Table({"co2_concentration": [419.3125], "estimation_date": ["2023-07-10"], "version": ["0.0.0"]})
    macobac["co2_concentration"].unit = "ppm"
    density = Table({"season": [season.lower()], "density": [4.5e18 * rng.uniform(0.95, 1.05)]})
    density["density"].unit = "1 / cm3"
    tables = {"profile": profile, "extinction": extinction, "macobac": macobac, "density": density}
    for name, table in tables.items():
        table.write(folder / f"{name}.ecsv", format="ascii.ecsv", overwrite=True)
    model = {
        "version": version,
        "start": "2023-09-28",
        "stop": None,
        "current": True,
        "season": season,
        "name_Observatory": "Ridge",
        "version_Observatory": 1,
    }
    return {
        "atmospheric_model": model | changes,
        "molecular_atmospheric_profile": {
            "data_assimilation_system": "ECMWF",
            "dataset": "ERA5",
            "description": "made up",
            "data_path": str(folder / "profile.ecsv"),
        },
        "rayleigh_extinction_data_path": str(folder / "extinction.ecsv"),
        "macobac_data_path": str(folder / "macobac.ecsv"),
        "molecular_density_data_path": str(folder / "density.ecsv"),
    }
