"""Six combinations of parameters on a scan of 184 MB: one tuning against six runs of the pipeline.

python benchmarks/tune.py [folder] [--repeat 5]

The session is simulated once into the folder. Tuning and runs alternate in this process, whose code is compiled, so
that other work on the machine meets both. Best in a folder on a RAM disk, which favours the runs: they write.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sessions

from cal_pipeline import CalibrationPipeline, tune

VARIED: dict[str, dict[str, list[Any]]] = {
    "model_error x gain.level": {"atmosphere.model_error": [0.01, 0.03, 0.1], "gain.level": [0, 3]},
    "model_error x robust": {"atmosphere.model_error": [0.01, 0.03, 0.1], "atmosphere.robust": [True, False]},
    "image_gain": {"loads.image_gain": [0.8, 0.9, 1.0, 1.1, 1.2, 1.3]},
    "min_transmission": {"calibrate.min_transmission": [0.001, 0.003, 0.01, 0.03, 0.1, 0.2]},
}
"""Sets of six combinations: steps early and late in the pipeline."""


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Measure the wall clock and the processor time of all threads [s]."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def run_each(session: Path, vary: dict[str, list[Any]], folder: Path) -> None:
    """Run the pipeline once for each combination."""
    for values in itertools.product(*vary.values()):
        steps: dict[str, dict[str, Any]] = {}
        for label, value in zip(vary, values, strict=True):
            step, _, name = label.partition(".")
            steps.setdefault(step, {})[name] = value
        output = str(folder / "l1.zarr")
        CalibrationPipeline.call(
            str(session), scans=1, steps=steps, output_file=output, overwrite=True, configure_log=False
        )


def compare(session: Path, vary: dict[str, list[Any]], repeat: int, folder: Path) -> dict[str, Any]:
    """Compare tuning and runs by their medians, and by the median of the ratios of neighbours."""
    run_each(session, vary, folder)
    tune(session, vary, scans=1, configure_log=False)
    tunings, runs = [], []
    for _ in range(repeat):
        tunings.append(measure(lambda: tune(session, vary, scans=1, configure_log=False)))
        runs.append(measure(lambda: run_each(session, vary, folder)))
    found: dict[str, Any] = {}
    for position, clock in enumerate(("wall", "processor")):
        one, six = ([times[position] for times in some] for some in (tunings, runs))
        ratios = [a / b for a, b in zip(one, six, strict=True)]
        found[clock] = {
            "tuning_s": round(statistics.median(one), 2),
            "six_runs_s": round(statistics.median(six), 2),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
        }
    return found


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", help="one of the sets")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    session, scratch = sessions.drifting(folder), Path(tempfile.mkdtemp(dir=folder))
    try:
        for name, vary in VARIED.items():
            if given.only in (None, name):
                print(json.dumps({name: compare(session, vary, given.repeat, scratch)}, indent=2), flush=True)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
