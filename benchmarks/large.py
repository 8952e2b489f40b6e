"""Large scans: the pipeline against floors, and scripts against the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .tools import careful, careless, floor, sessions
from .tools.measure import CORES, Found, Times, alternate, calibrate, median, ratio, scratch, take_time

RADIOMETRIC = {"calibrate": {"precision": "radiometric"}}
EFFICIENCY = 0.97


def count_megabytes(session: Path) -> float:
    """Count the counts of ONs and OFFs of a session [MB]."""
    import numpy as np
    import zarr

    shapes = [zarr.open_array(scan / "source" / "data_5d", mode="r").shape for scan in session.glob("scan_*")]
    return 4e-6 * float(sum(np.prod(shape) for shape in shapes))


def write_to_scratch(work: Callable[[Path], object]) -> Times:
    """Measure work that writes to a path, which is removed."""
    with scratch() as folder:
        return take_time(lambda: work(folder / "output"))


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
        found = alternate(7, ways)
        return (
            {"gigabytes": count_megabytes(session) / 1e3}
            | summarise(found)
            | {f"lossless / {name}": ratio(found, "lossless", name) for name in ("floor_lz4", "floor_zstd")}
            | {"radiometric / lossless": ratio(found, "radiometric", "lossless")}
        )

    setup_cache.timeout = 1800

    def track_time(self, found: dict[str, float], way: str) -> float:
        return found[way]

    track_time.params = [ways]
    track_time.param_names = ["way"]
    track_time.unit = "s"

    def track_processor_time(self, found: dict[str, float], way: str) -> float:
        return found[f"{way}, processor"]

    track_processor_time.params = [ways]
    track_processor_time.param_names = ["way"]
    track_processor_time.unit = "s"

    def track_time_of_a_gigabyte(self, found: dict[str, float], way: str) -> float:
        return found[way] / found["gigabytes"]

    track_time_of_a_gigabyte.params = [("lossless", "radiometric")]
    track_time_of_a_gigabyte.param_names = ["way"]
    track_time_of_a_gigabyte.unit = "s/GB of counts"

    def track_ratio(self, found: dict[str, float], which: str) -> float:
        return found[which]

    track_ratio.params = [("lossless / floor_lz4", "lossless / floor_zstd", "radiometric / lossless")]
    track_ratio.param_names = ["which"]
    track_ratio.unit = "ratio"


class Scripts:
    """The pipeline against scripts that calibrate the same three scans, in the same process."""

    timeout = 1800

    def setup_cache(self) -> dict[str, float]:
        from cal_pipeline.heterodyne.references.shipped import shipped_atm_table

        session, atm = sessions.three(), shipped_atm_table("sofia")
        found = alternate(
            3,
            {
                "lossless": lambda: calibrate(session, threads=CORES),
                "careless": lambda: write_to_scratch(lambda path: careless.calibrate_session(session, path)),
                "careful": lambda: write_to_scratch(
                    lambda path: careful.calibrate_session(session, path, atm, EFFICIENCY)
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


def summarise(found: Found) -> dict[str, float]:
    """Compute the medians of wall clock and processor [s]."""
    walls = {name: median(found, name) for name in found}
    return walls | {f"{name}, processor": median(found, name, 1) for name in found}
