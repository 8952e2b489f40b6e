"""Stage 1 of the imager on one exposure of a large detector: time, memory, and the share of each step.

python benchmarks/imager.py [folder] [--size 2048] [--groups 10] [--repeat 5]

The exposure is simulated once into the folder. A fresh process calibrates it, after a small exposure has compiled what
needs compiling, or has read what was compiled. Best in a folder on a RAM disk, which leaves the processor.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cal_pipeline import Detector1Pipeline
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.ramp_source import StoredRamp
from cal_pipeline.imager.simulate import Detector, ExposurePlan, VisitConfig, VisitFiles, simulate_visit
from cal_pipeline.pipelines import detector1

# The package has a class of the same step, not its module, at hand.
ramp_fit = importlib.import_module("cal_pipeline.steps.imager.ramp_fit")

CORES = len(os.sched_getaffinity(0))
RATE, HITS = 100.0, 1e-4
"""Light [e/s], and hits per pixel and second: 0.5 % of the pixels have one."""


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
        add_operation = RampModel.add_operation

        def add_measured(ramp: RampModel, operation: Callable[..., Any]) -> None:
            name = operation.__module__.rpartition(".")[2]
            add_operation(ramp, self.measure(name, operation))

        RampModel.add_operation = add_measured
        StoredRamp.read = self.measure("read", StoredRamp.read)
        ramp_fit.fit_ramps = self.measure("ramp_fit", ramp_fit.fit_ramps)
        detector1.write_image = self.measure("write", detector1.write_image)


def calibrate(files: VisitFiles) -> tuple[float, float]:
    """Calibrate a visit; return the time on the wall clock and that of the processor [s]."""
    output = files.visit.with_name("rate.zarr")
    before = time.perf_counter(), time.process_time()
    Detector1Pipeline.call(
        str(files.visit), output_file=str(output), overwrite=True, references=str(files.references), configure_log=False
    )
    after = time.perf_counter(), time.process_time()
    shutil.rmtree(output)
    return after[0] - before[0], after[1] - before[1]


def read_peak_memory() -> float:
    """Read the largest memory of this process [MB]; getrusage would give that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def serve(small: str, large: str, repeat: int) -> None:
    """Measure in this process and print the results as JSON."""
    logging.disable(logging.WARNING)
    calibrate(VisitFiles.of(small))
    profile = Profile()
    plain = [calibrate(VisitFiles.of(large)) for _ in range(repeat)]
    profile.install()
    calibrate(VisitFiles.of(large))
    print(json.dumps({"runs": plain, "peak": read_peak_memory(), "profile": profile.seconds}))


def prepare(folder: Path, size: int, groups: int) -> Path:
    """Simulate an exposure, once."""
    path = folder / f"imager_{size}_{groups}.zarr"
    if not path.exists():
        plan = ExposurePlan("SCI", rate=RATE, n_groups=groups, hits=HITS, stars=False)
        simulate_visit(VisitConfig([plan], Detector(size=size)), path, threads=CORES)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "cal_pipeline_benchmark")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    paths = [prepare(given.folder, size, given.groups) for size in (64, given.size)]
    command = [sys.executable, __file__, "--serve", *map(str, paths), str(given.repeat)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    wall, processor = (statistics.median(column) for column in zip(*found["runs"], strict=True))
    print(f"detector1, {given.size} x {given.size} pixels, {given.groups} groups, {CORES} cores")
    print(f"  wall clock {wall:.2f} s, processor {processor:.2f} s (medians of {given.repeat})")
    print(f"  peak memory {found['peak']:.0f} MB")
    total = sum(found["profile"].values())
    for name, seconds in sorted(found["profile"].items(), key=lambda item: -item[1]):
        print(f"  {name:12} {seconds:6.2f} s {seconds / total:6.1%}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:4], int(sys.argv[4]))
    else:
        main()
