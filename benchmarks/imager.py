"""Stage 1 of the imager on one exposure of a large detector: time, memory, and the share of each step."""

from __future__ import annotations

import functools
import importlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .tools.measure import (
    CORES,
    Times,
    alternate,
    find_folder,
    is_tiny,
    median,
    read_peak_memory,
    scratch,
    take_time,
)

RATE, HITS = 100.0, 1e-4
"""Light [e/s], and hits per pixel and second: 0.5 % of the pixels have one."""
SIZE, GROUPS = 2048, 10
STEPS = ("ramp_fit", "jump", "linearity", "saturation", "refpix", "superbias", "read", "write")


class Detector1:
    """One exposure of 2048 x 2048 pixels and 10 groups, in one process whose code is compiled."""

    timeout = 1800

    def setup_cache(self) -> dict[str, float]:
        logging.disable(logging.WARNING)
        session = simulate_exposure(64 if is_tiny() else SIZE)
        found = alternate(5, {"exposure": lambda: calibrate_exposure(session)})
        costs = {"wall": median(found, "exposure"), "processor": median(found, "exposure", 1)}
        profile = Profile()
        profile.install()
        calibrate_exposure(session)
        return costs | {"memory": read_peak_memory()} | dict(profile.seconds)

    setup_cache.timeout = 1800

    def track_time(self, costs: dict[str, float]) -> float:
        return costs["wall"]

    track_time.unit = "s"

    def track_processor_time(self, costs: dict[str, float]) -> float:
        return costs["processor"]

    track_processor_time.unit = "s"

    def track_processor_time_of_a_step(self, costs: dict[str, float], step: str) -> float:
        return costs.get(step, float("nan"))

    track_processor_time_of_a_step.params = [STEPS]
    track_processor_time_of_a_step.param_names = ["step"]
    track_processor_time_of_a_step.unit = "s"

    def track_peak_memory(self, costs: dict[str, float]) -> float:
        return costs["memory"]

    track_peak_memory.unit = "MB"


def simulate_exposure(size: int) -> Path:
    """Simulate an exposure, once."""
    from cal_pipeline.imager.simulate import Detector, ExposurePlan, VisitConfig, simulate_visit

    path = find_folder() / f"imager_{size}_{GROUPS}.zarr"
    if not path.exists():
        plan = ExposurePlan("SCI", rate=RATE, n_groups=GROUPS, hits=HITS, stars=False)
        simulate_visit(VisitConfig([plan], Detector(size=size)), path, threads=CORES)
    return path


def calibrate_exposure(visit: Path) -> Times:
    """Measure the calibration of a visit [s]."""
    from cal_pipeline import Detector1Pipeline
    from cal_pipeline.imager.simulate import VisitFiles

    files = VisitFiles.of(str(visit))
    with scratch() as folder:
        given = {"output_file": str(folder / "rate.zarr"), "references": str(files.references), "configure_log": False}
        return take_time(lambda: Detector1Pipeline.call(str(files.visit), **given))


class Profile:
    """Processor time of all threads in the work of each step [s]."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def measure(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time counts under a name."""

        @functools.wraps(function)
        def timed(*arguments: Any, **settings: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments, **settings)
            finally:
                with self._lock:
                    self.seconds[name] += time.thread_time() - start

        return timed

    def install(self) -> None:
        """Measure reading, what each step does to rows, fitting and writing.

        Steps work on rows when the last one asks for them, so the times of the steps themselves say little.
        """
        from cal_pipeline.imager.models import RampModel
        from cal_pipeline.imager.ramp_source import StoredRamp
        from cal_pipeline.pipelines import detector1

        # The package has a class of the same step, not its module, at hand.
        ramp_fit = importlib.import_module("cal_pipeline.steps.imager.ramp_fit")
        add_operation = RampModel.add_operation

        def add_measured(ramp: Any, operation: Callable[..., Any]) -> None:
            name = operation.__module__.rpartition(".")[2]
            add_operation(ramp, self.measure(name, operation))

        RampModel.add_operation = add_measured
        StoredRamp.read = self.measure("read", StoredRamp.read)
        ramp_fit.fit_ramps = self.measure("ramp_fit", ramp_fit.fit_ramps)
        detector1.write_image = self.measure("write", detector1.write_image)
