"""The atmosphere of a night of Cherenkov telescopes, and its extinction value by value."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .tools.measure import Times, alternate, is_tiny, median, ratio, scratch, take_time

WAVELENGTHS = np.arange(200.0, 700.0)
WORKS = ("pipeline", "meteorological table", "extinction")


class Night:
    """Three steps of a made-up night, from its meteorological table to four products, imports done."""

    timeout = 900

    def setup_cache(self) -> dict[str, float]:
        logging.disable(logging.WARNING)
        with scratch() as folder:
            found = alternate(5, make_works(folder))
        costs = {name: median(found, name) for name in found}
        return costs | {"at once / singly": ratio(found, "extinction", "extinction, value by value")}

    setup_cache.timeout = 900

    def track_time(self, costs: dict[str, float], work: str) -> float:
        return 1e3 * costs[work]

    track_time.params = [WORKS]
    track_time.param_names = ["work"]
    track_time.unit = "ms"

    def track_extinction_at_once_over_singly(self, costs: dict[str, float]) -> float:
        return costs["at once / singly"]

    track_extinction_at_once_over_singly.unit = "ratio"


def write_night(folder: Path) -> tuple[Any, str]:
    """Write the files of a night, and its database."""
    from cal_pipeline.cherenkov.simulate.night import simulate_night
    from cal_pipeline.steps.cherenkov import InitDatabaseStep, UploadAtmosphericModelStep, UploadObservatoryDataStep

    files = simulate_night(folder / "night", seed=1, overwrite=True)
    database = f"sqlite:///{folder / 'benchmark.db'}"
    given = {"database": database, "configure_log": False}
    InitDatabaseStep.call("database", **given)
    UploadObservatoryDataStep.call(str(files.folder / "upload_observatory.yaml"), **given)
    for path in sorted(files.folder.glob("upload_model_*.yaml")):
        UploadAtmosphericModelStep.call(str(path), **given)
    return files, database


def make_works(folder: Path) -> dict[str, Callable[[], Times]]:
    """Return what is measured by name."""
    from cal_pipeline import MolecularAtmospherePipeline
    from cal_pipeline.cherenkov.configuration import read_yaml
    from cal_pipeline.cherenkov.meteo import MeteoTable
    from cal_pipeline.cherenkov.physics.extinction import compute_optical_depth, make_edges
    from cal_pipeline.cherenkov.physics.rayleigh import compute_extinction_coefficient

    files, database = write_night(folder)
    section = read_yaml(files.folder / "atmospheric_model.yaml")["CreateMolecularAtmosphericModel"]
    source, macobac = str(files.folder / "meteo_era5.ecsv"), str(files.folder / "models" / "macobac.ecsv")
    edges = make_edges(2.15)
    air = [np.full(edges.size - 1, value) for value in (500.0, 260.0, 0.3)]
    sample = 20 if is_tiny() else 200

    def run() -> None:
        MolecularAtmospherePipeline.call(
            source,
            timestamp=section["timestamp"],
            observatory_name=section["observatory"]["name"],
            database=database,
            output_path=str(folder / "products"),
            overwrite=True,
            steps={"atmospheric_model": {"macobac12_table_path": macobac}},
            configure_log=False,
        )

    def compute_singly() -> None:
        for index in range(sample):
            wavelength = WAVELENGTHS[index % WAVELENGTHS.size]
            compute_extinction_coefficient(wavelength, 500.0 + edges[0], 260.0, 0.3, 420.0)

    def measure_singly() -> Times:
        return take_time(compute_singly, sample / (air[0].size * WAVELENGTHS.size))

    return {
        "pipeline": lambda: take_time(run),
        "meteorological table": lambda: take_time(lambda: MeteoTable.read(source)),
        "extinction": lambda: take_time(lambda: compute_optical_depth(edges, WAVELENGTHS, *air, 420.0)),
        "extinction, value by value": measure_singly,
    }
