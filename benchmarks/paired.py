"""Two versions of the package against each other, in one run.

python benchmarks/paired.py OLD NEW [folder] [--repeat 15] [--only medium small ...]

OLD and NEW are checkouts. A process of each, imports done, calibrates the same sessions in turn, who begins alternates;
the ratio is the median of those of the pairs. Best in a folder on a RAM disk, which leaves the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sessions

PER_PAIR = {"atmosphere": {"strategy": "per_pair"}}
RADIOMETRIC = {"calibrate": {"precision": "radiometric"}}
DIAGNOSTICS = {"skydiff": {"skip": False, "n": 2}}

FIGURES = {
    "medium, lossless": (sessions.medium, {}),
    "medium, radiometric": (sessions.medium, {"steps": RADIOMETRIC}),
    "medium, per_pair": (sessions.medium, {"steps": PER_PAIR}),
    "medium, one thread": (sessions.medium, {"threads": 1}),
    "small, 20 scans": (sessions.small, {"scans": "1:20"}),
    "small, skydiff": (sessions.small, {"scans": "1:20", "steps": DIAGNOSTICS}),
    "small, two workers": (sessions.small, {"scans": "1:60", "workers": 2}),
}
"""Session and settings of each figure."""


def serve() -> None:
    """Calibrate what standard input asks for; answer with wall clock and processor [s] and peak memory [MB]."""
    from cal_pipeline import CalibrationPipeline

    for line in sys.stdin:
        session, output, settings = json.loads(line)
        before = [sum(os.times()[:4]), time.perf_counter()]
        CalibrationPipeline.call(session, output_file=output, configure_log=False, **settings)
        after = [sum(os.times()[:4]), time.perf_counter()]
        shutil.rmtree(output)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([after[1] - before[1], after[0] - before[0], peak]), flush=True)


class Version:
    """A process that calibrates with one checkout."""

    def __init__(self, checkout: Path) -> None:
        # Entry points name modules that another checkout may not have: each version gets along without.
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        command = [sys.executable, __file__, "--serve"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def calibrate(self, session: Path, output: Path, settings: dict[str, object]) -> list[float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(session), str(output), settings]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def start_of_strun(checkout: Path) -> float:
    """Measure ``strun`` until it has printed its help [s]."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [Path(sys.executable).parent / "strun", "cal_pipeline.CalibrationPipeline", "--help"]
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def show(name: str, pairs: list[list[list[float]]]) -> None:
    wall, cpu, peak = ([[run[k] for run in pair] for pair in pairs] for k in range(3))
    ratios = [statistics.median(new / old for old, new in values) for values in (wall, cpu)]
    old, new = (statistics.median(column) for column in zip(*wall, strict=True))
    memory = [max(column) for column in zip(*peak, strict=True)]
    print(
        f"{name:22} {old:7.3f} -> {new:7.3f} s   wall {ratios[0]:.3f}   processor {ratios[1]:.3f}   "
        f"peak {memory[0]:.0f} -> {memory[1]:.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()))
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=list(FIGURES))
    given = parser.parse_args()
    versions = [Version(checkout) for checkout in (given.old, given.new)]
    for name, (make, settings) in FIGURES.items():
        if not any(name.startswith(wanted) for wanted in given.only):
            continue
        session, pairs = make(given.folder), []
        for turn in range(given.repeat + 1):
            runs: list[list[float]] = [[], []]
            for index in (0, 1) if turn % 2 else (1, 0):
                runs[index] = versions[index].calibrate(session, given.folder / f"l1_{index}.zarr", settings)
            pairs.append(runs)
        # The first pair compiles, or reads what was compiled.
        show(name, pairs[1:])
    starts = [[start_of_strun(given.old), start_of_strun(given.new)] for _ in range(given.repeat)]
    show("strun --help", [[[old, old, 0.0], [new, new, 0.0]] for old, new in starts])


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
