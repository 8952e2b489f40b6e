"""The atmosphere of a night: time of the pipeline and of its parts, against single values one by one.

python benchmarks/night.py [folder] [--repeat 5]

A made-up night is written into the folder. All times are medians of one process, imports left out.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cal_pipeline import MolecularAtmospherePipeline
from cal_pipeline.cherenkov.configuration import read_yaml
from cal_pipeline.cherenkov.meteo import MeteoTable
from cal_pipeline.cherenkov.physics.extinction import compute_optical_depth, make_edges
from cal_pipeline.cherenkov.physics.rayleigh import compute_extinction_coefficient
from cal_pipeline.cherenkov.simulate.night import NightFiles, simulate_night
from cal_pipeline.steps.cherenkov import InitDatabaseStep, UploadAtmosphericModelStep, UploadObservatoryDataStep

WAVELENGTHS = np.arange(200.0, 700.0)
SAMPLE = 200
"""Single values to time, of 33 000 in an extinction profile."""


def prepare(folder: Path) -> tuple[NightFiles, str]:
    """Write a night, and its database."""
    files = simulate_night(folder / "night", seed=1, overwrite=True)
    database = f"sqlite:///{folder / 'benchmark.db'}"
    (folder / "benchmark.db").unlink(missing_ok=True)
    InitDatabaseStep.call("database", database=database, configure_log=False)
    UploadObservatoryDataStep.call(
        str(files.folder / "upload_observatory.yaml"), database=database, configure_log=False
    )
    for path in sorted(files.folder.glob("upload_model_*.yaml")):
        UploadAtmosphericModelStep.call(str(path), database=database, configure_log=False)
    return files, database


def measure(function: Callable[[], Any], repeat: int) -> float:
    """Return the median time of a function [s]."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compute_singly(edges: Any, count: int) -> None:
    """Compute single values of an extinction profile, one call each."""
    for index in range(count):
        wavelength = WAVELENGTHS[index % WAVELENGTHS.size]
        compute_extinction_coefficient(wavelength, 500.0 + edges[0], 260.0, 0.3, 420.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        files, database = prepare(folder)
        section = read_yaml(files.folder / "atmospheric_model.yaml")["CreateMolecularAtmosphericModel"]
        source = str(files.folder / "meteo_era5.ecsv")
        macobac = str(files.folder / "models" / "macobac.ecsv")

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

        edges = make_edges(2.15)
        bins = edges.size - 1
        air = [np.full(bins, value) for value in (500.0, 260.0, 0.3)]
        whole = measure(run, given.repeat)
        table = measure(lambda: MeteoTable.read(source), given.repeat)
        depth = measure(lambda: compute_optical_depth(edges, WAVELENGTHS, *air, 420.0), given.repeat)
        single = measure(lambda: compute_singly(edges, SAMPLE), given.repeat) / SAMPLE * bins * WAVELENGTHS.size
    print(f"pipeline, three steps, four products: {whole:.3f} s")
    print(f"  reading the meteorological table:   {table:.3f} s")
    print(f"  extinction, {bins} bins x {WAVELENGTHS.size} wavelengths: {1e3 * depth:.1f} ms")
    print(f"  the same value by value:            {single:.2f} s, {single / depth:.0f} times as long")


if __name__ == "__main__":
    main()
