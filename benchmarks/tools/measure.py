"""Alternating measurements in one process, and their medians."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORES = len(os.sched_getaffinity(0))

FOLDER = "CAL_PIPELINE_BENCHMARK_FOLDER"
"""Environment variable with the folder of sessions and outputs."""
TINY = "CAL_PIPELINE_BENCHMARK_TINY"
"""Environment variable that makes everything tiny if it is set, to try the code."""

Times = tuple[float, float, float]
"""Wall clock, processor time of this process, and the part of it in the kernel [s]."""
Found = dict[str, list[Times]]
"""Results of alternating measurements by name, in the order of the rounds."""


def is_tiny() -> bool:
    """Tell whether only the code is tried."""
    return bool(os.environ.get(TINY))


def rounds(number: int) -> int:
    """Return the number of rounds to measure."""
    return 1 if is_tiny() else number


def first_rounds() -> int:
    """Return the number of rounds before them: one compiles what needs compiling and fills caches."""
    return 0 if is_tiny() else 1


def find_folder() -> Path:
    """Find the folder of sessions and outputs: a RAM disk unless the environment names another."""
    given = os.environ.get(FOLDER)
    ram = Path("/dev/shm")
    parent = ram if os.access(ram, os.W_OK) else Path(tempfile.gettempdir())
    folder = Path(given) if given else parent / "cal_pipeline_benchmark"
    folder = folder / "tiny" if is_tiny() else folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for outputs, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="out", dir=find_folder()) as name:
        yield Path(name)


def take_time(work: Callable[[], object], number: float = 1) -> Times:
    """Measure one of `number` operations that `work` does."""
    before = read_clocks()
    work()
    wall, processor, kernel = ((b - a) / number for a, b in zip(before, read_clocks(), strict=True))
    return wall, processor, kernel


def read_clocks() -> Times:
    """Read the wall clock, the processor time and its part in the kernel [s]."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime, usage.ru_stime


def calibrate(session: Path | str, **settings: Any) -> Times:
    """Measure the calibration of a session in this process, whose imports are done [s]; the product is removed."""
    from cal_pipeline import CalibrationPipeline

    logging.getLogger("stpipe").setLevel(logging.WARNING)
    with scratch() as folder:
        settings = {"output_file": str(folder / "l1.zarr"), "configure_log": False} | settings
        return take_time(lambda: CalibrationPipeline.call(str(session), **settings))


def measure_further(session: Path, few: int, many: int, **settings: Any) -> Times:
    """Measure a further scan once under way, from runs of `few` and of `many` scans [s]."""
    short, long = (calibrate(session, scans=f"1:{number}", **settings) for number in (few, many))
    wall, processor, kernel = ((b - a) / (many - few) for a, b in zip(short, long, strict=True))
    return wall, processor, kernel


def alternate(repeat: int, ways: dict[str, Callable[[], Times]]) -> Found:
    """Measure several ways in turn, each round beginning with another one.

    A first round is left out, unless only the code is tried.
    """
    left_out = first_rounds()
    found: Found = {name: [] for name in ways}
    names = list(ways)
    for turn in range(left_out + rounds(repeat)):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times = ways[name]()
            if turn >= left_out:
                found[name].append(times)
    return found


def median_of(values: Iterable[float]) -> float:
    """Compute the median of numbers."""
    return statistics.median(values)


def median(found: Found, name: str, clock: int = 0) -> float:
    """Compute the median of one of the clocks of `Times` [s]."""
    return median_of(times[clock] for times in found[name])


def ratio(found: Found, name: str, other: str, clock: int = 0) -> float:
    """Compute the median of the ratios of one way to another, round by round."""
    return median_of(a[clock] / b[clock] for a, b in zip(found[name], found[other], strict=True))


def clean_environment() -> dict[str, str]:
    """Return the environment of commands: as a user has it, with compiled sources."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class CommandRun:
    """A run of a command in a process of its own.

    Parameters
    ----------
    start, whole : float
        Time to the last line of the log before the first scan's, and to the end [s].
    memory : float
        Peak memory, that of child processes left out [MB].
    log : str
        What it logged.
    """

    start: float
    whole: float
    memory: float
    log: str


def run_command(*words: object) -> CommandRun:
    """Run a command of the package in a process of its own."""
    command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
    begun = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        log = [(time.perf_counter() - begun, line) for line in process.stderr or ()]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    whole = time.perf_counter() - begun
    text = "".join(line for _, line in log)
    if status:
        raise RuntimeError(f"{command[0]} failed:\n{text}")
    first = next((k for k, (_, line) in enumerate(log) if re.search(r" (INFO|WARNING) scan \d+ ", line)), 0)
    start = log[first - 1][0] if first else whole
    return CommandRun(start, whole, usage.ru_maxrss / 1024, text)


def read_peak_memory() -> float:
    """Read the largest memory of this process [MB]; getrusage would give that of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def size_of(path: Path) -> int:
    """Sum the sizes of the files in a folder [bytes]."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
