"""A scan of 40 GB in memory, which takes minutes and 3 GB of disk."""

from __future__ import annotations

from .tools import sessions
from .tools.measure import run_command, scratch


class Huge:
    """Time and peak memory of a scan that no memory holds, radiometric."""

    timeout = 3600

    def setup_cache(self) -> dict[str, float]:
        session = sessions.huge()
        with scratch() as folder:
            command = ("strun", "cal_pipeline.CalibrationPipeline", session, f"--output_file={folder / 'l1.zarr'}")
            run = run_command(*command, "--steps.calibrate.precision=radiometric")
        return {"whole": run.whole, "memory": run.memory}

    setup_cache.timeout = 3600

    def track_time(self, found: dict[str, float]) -> float:
        return found["whole"]

    track_time.unit = "s"

    def track_peak_memory(self, found: dict[str, float]) -> float:
        return found["memory"]

    track_peak_memory.unit = "MB"
