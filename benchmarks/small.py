"""Small scans, of which a night has thousands, and two workers with them and with large ones."""

from __future__ import annotations

from collections.abc import Callable

from .tools import sessions
from .tools.measure import (
    CORES,
    Times,
    alternate,
    is_tiny,
    measure_further,
    median,
    ratio,
    run_command,
    scratch,
)


class Small:
    """Scans of 1024 channels, 4 dumps, 7 pixels and 7 subscans."""

    timeout = 900

    def setup_cache(self) -> dict[str, float]:
        session = sessions.small()
        few, many = (1, 3) if is_tiny() else (20, 120)
        found = alternate(5, {"further": lambda: measure_further(session, few, many)})
        with scratch() as folder:
            thousand = run_thousand(f"--output_file={folder / 'l1.zarr'}")
        return {
            "further": 1e3 * median(found, "further"),
            "processor": 1e3 * median(found, "further", 1),
            "thousand": thousand,
        }

    setup_cache.timeout = 900

    def track_further_scan(self, found: dict[str, float]) -> float:
        return found["further"]

    track_further_scan.unit = "ms"

    def track_processor_time_of_a_further_scan(self, found: dict[str, float]) -> float:
        return found["processor"]

    track_processor_time_of_a_further_scan.unit = "ms"

    def track_thousand_scans_with_start(self, found: dict[str, float]) -> float:
        return found["thousand"]

    track_thousand_scans_with_start.unit = "s"


def run_thousand(*options: str) -> float:
    """Measure one run of a thousand small scans, with its start and its end [s]."""
    return run_command("strun", "cal_pipeline.CalibrationPipeline", sessions.thousand(), *options).whole


class Workers:
    """Two workers of one thread each against one process of one thread, and one process of two, once under way."""

    timeout = 1800
    params = ("large", "small")
    param_names = ("scans",)

    def setup_cache(self) -> dict[str, float]:
        found = {}
        sizes = {"large": (sessions.night, 2, 5, 9), "small": (sessions.thousand, 20, 80, 140)}
        for name, (make, few, some, many) in sizes.items():
            if is_tiny():
                few, some, many = 1, 2, 3
            measured = alternate(3, compare_workers(make(), few, some, many))
            found |= {f"{name}, {way}": median(measured, way) for way in measured}
            found[f"{name}, two / one"] = ratio(measured, "two workers", "one thread")
        return found

    setup_cache.timeout = 1800

    def track_two_workers_over_one(self, found: dict[str, float], scans: str) -> float:
        return found[f"{scans}, two / one"]

    track_two_workers_over_one.unit = "ratio"

    def track_further_scan(self, found: dict[str, float], scans: str, way: str) -> float:
        return found[f"{scans}, {way}"]

    track_further_scan.unit = "s"
    track_further_scan.params = [params, ("one thread", "two threads", "two workers")]
    track_further_scan.param_names = ["scans", "way"]


def compare_workers(session: object, few: int, some: int, many: int) -> dict[str, Callable[[], Times]]:
    """Return the ways to use two cores."""
    return {
        "one thread": lambda: measure_further(session, few, some, threads=1),
        "two threads": lambda: measure_further(session, few, some, threads=CORES),
        "two workers": lambda: measure_further(session, 2 * few, many, threads=1, workers=2),
    }
