"""Large scans: the pipeline against floors, and scripts against the pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .tools import careful, careless, floor, sessions
from .tools.measure import (
    CORES,
    Found,
    Times,
    alternate,
    calibrate,
    median,
    median_of,
    ratio,
    run_command,
    scratch,
    size_of,
    take_time,
)

RADIOMETRIC = {"calibrate": {"precision": "radiometric"}}
EFFICIENCY = 0.97


def count_gigabytes(session: Path) -> float:
    """Count the counts of ONs and OFFs of a session [GB]."""
    import numpy as np
    import zarr

    shapes = [zarr.open_array(scan / "source" / "data_5d", mode="r").shape for scan in session.glob("scan_*")]
    return 4e-9 * float(sum(np.prod(shape) for shape in shapes))


def measure_product(session: Path, steps: dict[str, dict[str, Any]]) -> int:
    """Calibrate a session and sum the bytes of the product."""
    from cal_pipeline import CalibrationPipeline

    with scratch() as folder:
        CalibrationPipeline.call(str(session), output_file=str(folder / "l1"), configure_log=False, steps=steps)
        return size_of(folder / "l1")


def write_to_scratch(work: Callable[[Path], object], share: float = 1.0) -> Times:
    """Measure work that writes to a path, which is removed; it counts as a share of what is meant."""
    with scratch() as folder:
        return take_time(lambda: work(folder / "output"), share)


class Large:
    """Three scans of 184 MB in one run of one process with two threads, start not counted."""

    timeout = 1800
    ways = ("floor_lz4", "floor_zstd", "lossless", "radiometric")

    def setup_cache(self) -> dict[str, float]:
        session = sessions.three()
        ways: dict[str, Callable[[], Times]] = {
            "floor_lz4": lambda: write_to_scratch(lambda path: floor.run_directly(session, path, "lz4")),
            "floor_zstd": lambda: write_to_scratch(lambda path: floor.run_directly(session, path, "zstd")),
            "lossless": lambda: calibrate(session, threads=CORES),
            "radiometric": lambda: calibrate(session, threads=CORES, steps=RADIOMETRIC),
        }
        found = alternate(5, ways)
        gigabytes = count_gigabytes(session)
        ratios = {f"lossless / {name}": ratio(found, "lossless", name) for name in ("floor_lz4", "floor_zstd")}
        sizes = {"counts": size_of(session), "lossless": measure_product(session, {})}
        sizes["radiometric"] = measure_product(session, RADIOMETRIC)
        stored = {f"{name}, bytes": size / gigabytes / 1e9 for name, size in sizes.items()}
        ratios["radiometric / lossless"] = ratio(found, "radiometric", "lossless")
        return {"gigabytes": gigabytes} | summarise(found) | ratios | stored

    setup_cache.timeout = 1800

    def track_time(self, found: dict[str, float], way: str) -> float:
        return found[way]

    track_time.params = [ways]
    track_time.param_names = ["way"]
    track_time.unit = "s"

    def track_processor_time(self, found: dict[str, float], way: str, clock: str) -> float:
        return found[f"{way}, {clock}"]

    track_processor_time.params = [ways, ("processor", "kernel")]
    track_processor_time.param_names = ["way", "clock"]
    track_processor_time.unit = "s"

    def track_time_of_a_gigabyte(self, found: dict[str, float], way: str) -> float:
        return found[way] / found["gigabytes"]

    track_time_of_a_gigabyte.params = [("lossless", "radiometric")]
    track_time_of_a_gigabyte.param_names = ["way"]
    track_time_of_a_gigabyte.unit = "s/GB of counts"

    def track_ratio(self, found: dict[str, float], which: str) -> float:
        return found[which]

    def track_stored_bytes(self, found: dict[str, float], product: str) -> float:
        return found[f"{product}, bytes"]

    track_stored_bytes.params = [("counts", "lossless", "radiometric")]
    track_stored_bytes.param_names = ["product"]
    track_stored_bytes.unit = "bytes for a byte of counts"

    track_ratio.params = [("lossless / floor_lz4", "lossless / floor_zstd", "radiometric / lossless")]
    track_ratio.param_names = ["which"]
    track_ratio.unit = "ratio"


class Scripts:
    """The pipeline against scripts, in the same process; they calibrate one of the scans, which counts three times."""

    timeout = 1800

    def setup_cache(self) -> dict[str, float]:
        from cal_pipeline.heterodyne.references.shipped import shipped_atm_table

        session, atm = sessions.three(), shipped_atm_table("sofia")
        scan = session / "scan_000001"
        found = alternate(
            2,
            {
                "lossless": lambda: calibrate(session, threads=CORES),
                "careless": lambda: write_to_scratch(lambda path: careless.calibrate_scan(scan, path), 1 / 3),
                "careful": lambda: write_to_scratch(
                    lambda path: careful.calibrate_scan(scan, path, atm, EFFICIENCY), 1 / 3
                ),
            },
        )
        ratios = {f"lossless / {name}": ratio(found, "lossless", name) for name in ("careless", "careful")}
        return summarise(found) | ratios

    setup_cache.timeout = 1800

    def track_time(self, found: dict[str, float], way: str) -> float:
        return found[way]

    track_time.params = [("lossless", "careless", "careful")]
    track_time.param_names = ["way"]
    track_time.unit = "s"

    def track_ratio(self, found: dict[str, float], which: str) -> float:
        return found[which]

    track_ratio.params = [("lossless / careless", "lossless / careful")]
    track_ratio.param_names = ["which"]
    track_ratio.unit = "ratio"


class Stages:
    """Time of all threads in the stages of a scan of 184 MB, as the pipeline logs it."""

    timeout = 900
    params = ("load", "resolve", "atm", "prepare", "calibrate", "write")
    param_names = ("stage",)

    def setup_cache(self) -> dict[str, float]:
        with scratch() as folder:
            command = ("strun", "cal_pipeline.CalibrationPipeline", sessions.three(), "--timing=True")
            log = run_command(*command, f"--output_file={folder / 'l1.zarr'}").log
        times: dict[str, list[float]] = {}
        for stage, milliseconds in re.findall(r"(\w+)_ms=([\d.]+)", log):
            times.setdefault(stage, []).append(1e-3 * float(milliseconds))
        return {stage: median_of(values) for stage, values in times.items()}

    setup_cache.timeout = 900

    def track_time(self, times: dict[str, float], stage: str) -> float:
        return times[stage]

    track_time.unit = "s"


def summarise(found: Found) -> dict[str, float]:
    """Compute the medians of wall clock and processor [s]."""
    clocks = {"": 0, ", processor": 1, ", kernel": 2}
    return {f"{name}{clock}": median(found, name, number) for name in found for clock, number in clocks.items()}
