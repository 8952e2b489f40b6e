"""Everything that benchmarks/README.md tells, in one run: medians of alternating measurements.

python benchmarks/suite.py [folder] [--repeat 5] [--only large small ...]
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import floor
import naive
import numpy as np
import sessions

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.heterodyne.references.shipped import shipped_atm_table

CORES = len(os.sched_getaffinity(0))
SETTLED_MEMORY = 4 * 2**30
"""Memory to allocate before a measurement, more than a measurement writes and uses [bytes]."""


class Outputs:
    """Fresh output paths, deleted only at the end: ext4 creates files slowly after deletions."""

    folder = Path()
    number = 0

    @classmethod
    def new(cls) -> Path:
        cls.number += 1
        return cls.folder / f"{cls.number}.zarr"


def settle() -> None:
    """Bring to the disk what was written, and take and free memory once.

    The host of a virtual machine takes back memory that is free, and gives it again at several
    times the cost of writing to it: who is measured would pay for what others have freed.
    """
    os.sync()
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    np.ones(min(free // 2, SETTLED_MEMORY) // 8)


def calibrate(session: Path, **settings: object) -> float:
    """Measure the time to calibrate a session in this process, without imports [s]."""
    output = Outputs.new()
    settle()
    start = time.perf_counter()
    CalibrationPipeline.call(str(session), output_file=str(output), configure_log=False, **settings)
    return time.perf_counter() - start


def each_further(session: Path, few: int, many: int, **settings: object) -> float:
    """Measure the time per additional scan from runs of `many` and `few` scans [s]."""
    times = [calibrate(session, scans=f"1:{number}", **settings) for number in (few, many)]
    return (times[1] - times[0]) / (many - few)


def medians(repeat: int, **what: Callable[[], float]) -> dict[str, float]:
    """Compute the medians of alternating measurements."""
    times: dict[str, list[float]] = {name: [] for name in what}
    for measure in what.values():
        measure()
    for _ in range(repeat):
        for name, measure in what.items():
            times[name].append(measure())
    return {name: statistics.median(values) for name, values in times.items()}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def large(folder: Path, repeat: int) -> None:
    session = sessions.large(folder)
    megabytes = 16384 * 20 * 14 * 24 * 4e-6
    radiometric = {"calibrate": {"precision": "radiometric"}}
    found = medians(
        repeat,
        floor=lambda: _floor(session),
        zarr_floor=lambda: _zarr_floor(session),
        pipeline=lambda: calibrate(session),
        floor_radiometric=lambda: _floor(session, "radiometric"),
        pipeline_radiometric=lambda: calibrate(session, steps=radiometric),
        per_pair=lambda: calibrate(session, steps={"atmosphere": {"strategy": "per_pair"}}),
        naive=lambda: _naive(session, Outputs.new()),
    )
    for name, seconds in found.items():
        print(f"  {name:22} {seconds:7.3f} s   {megabytes / seconds:6.0f} MB/s of counts")
    print(f"  pipeline / floor               {found['pipeline'] / found['floor']:.2f}")
    print(f"  pipeline / zarr floor          {found['pipeline'] / found['zarr_floor']:.2f}")
    print(f"  radiometric / its floor        {found['pipeline_radiometric'] / found['floor_radiometric']:.2f}")
    print(f"  naive / pipeline               {found['naive'] / found['pipeline']:.2f}")
    print(f"  lossless / radiometric         {found['pipeline'] / found['pipeline_radiometric']:.2f}")
    print(f"  their floors                   {found['floor'] / found['floor_radiometric']:.2f}")
    print(f"  per_pair / full                {found['per_pair'] / found['pipeline']:.2f}")
    stores = [Outputs.new(), Outputs.new()]
    for store, steps in zip(stores, ({}, radiometric), strict=True):
        CalibrationPipeline.call(str(session), output_file=str(store), configure_log=False, steps=steps)
    sizes = [size_of(store / "scan_000001" / "spectra") for store in stores]
    ratio = sizes[0] / sizes[1]
    print(f"  size of the spectra            {sizes[0] / 1e6:.0f} MB, rounded {sizes[1] / 1e6:.0f} MB: {ratio:.1f}")


def _floor(session: Path, precision: str = "lossless") -> float:
    settle()
    return floor.direct_floor(session, 1, Outputs.new(), CORES, precision)


def _zarr_floor(session: Path) -> float:
    settle()
    return floor.zarr_floor(session, 1, Outputs.new(), CORES)


def _naive(session: Path, output: Path) -> float:
    settle()
    start = time.perf_counter()
    naive.calibrate(session, 1, output, shipped_atm_table("sofia"), 0.97)
    return time.perf_counter() - start


@contextmanager
def storage_that_takes(rate: float) -> Iterator[None]:
    """Delay writes to emulate storage of a given rate [bytes/s], one write at a time."""
    put, busy = LocalStorePath.put, threading.Lock()

    def slow_put(self: LocalStorePath, key: str, *data: bytes) -> None:
        put(self, key, *data)
        with busy:
            time.sleep(sum(map(len, data)) / rate)

    LocalStorePath.put = slow_put
    try:
        yield
    finally:
        LocalStorePath.put = put


def storage(folder: Path, repeat: int) -> None:
    session = sessions.large(folder)
    radiometric = {"calibrate": {"precision": "radiometric"}}
    for rate in (125e6, 250e6):
        with storage_that_takes(rate):
            found = medians(
                repeat, lossless=lambda: calibrate(session), rounded=lambda: calibrate(session, steps=radiometric)
            )
        print(f"  storage of {rate / 1e6:.0f} MB/s: lossless {found['lossless']:.2f} s, radiometric", end=" ")
        print(f"{found['rounded']:.2f} s, ratio {found['lossless'] / found['rounded']:.2f}")


def small(folder: Path, repeat: int) -> None:
    session = sessions.small(folder)
    found = medians(
        max(repeat // 2, 1),
        one=lambda: calibrate(session) / 200,
        two=lambda: calibrate(session, workers=2) / 200,
        further_one=lambda: each_further(session, 20, 200),
        further_two=lambda: each_further(session, 20, 200, workers=2),
    )
    for name, what in (("one", "one process"), ("two", "two workers, their start among it")):
        print(f"  200 small scans: {what:35} {found[name] * 1e3:6.1f} ms a scan")
        print(f"  {'once under way':52} {found[f'further_{name}'] * 1e3:6.1f} ms a scan")
    print(f"  two workers / one, once under way                    {found['further_one'] / found['further_two']:.2f}")


def night(folder: Path, repeat: int) -> None:
    session = sessions.night(folder)
    megabytes = 16384 * 20 * 7 * 10 * 4e-6
    radiometric = {"calibrate": {"precision": "radiometric"}}
    found = medians(
        max(repeat // 2, 1),
        one_thread=lambda: each_further(session, 3, 9, threads=1),
        two_threads=lambda: each_further(session, 3, 12),
        two_workers=lambda: each_further(session, 4, 16, workers=2, threads=1),
        two_threads_radiometric=lambda: each_further(session, 3, 12, steps=radiometric),
        two_workers_radiometric=lambda: each_further(session, 4, 16, workers=2, threads=1, steps=radiometric),
    )
    for name, seconds in found.items():
        print(f"  {name:25} {seconds:6.3f} s a scan of 92 MB   {megabytes / seconds:6.0f} MB/s of counts")
    print(f"  two workers / one thread       {found['one_thread'] / found['two_workers']:.2f}")
    print(f"  lossless / radiometric         {found['two_workers'] / found['two_workers_radiometric']:.2f}")


def strun(folder: Path, repeat: int) -> None:
    session = sessions.medium(folder)
    runs = [_strun(session, Outputs.new()) for _ in range(repeat)]
    for name in runs[0]:
        print(f"  {name:22} {statistics.median(run[name] for run in runs):8.1f}")


def _strun(session: Path, output: Path) -> dict[str, float]:
    """Measure a fresh process: start and total time [s], peak memory, times of stages [ms]."""
    command = [str(Path(sys.executable).with_name("strun")), "cal_pipeline.CalibrationPipeline", str(session)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, f"--output_file={output}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    started = None
    log = ""
    for line in process.stderr:
        log += line
        if started is None and "running with args" in line:
            started = time.perf_counter() - start
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    if status:
        raise RuntimeError(f"strun failed:\n{log}")
    stages = dict(re.findall(r"(\w+) (\d+)(?= |$)", log.split("; ms: ")[1].splitlines()[0]))
    return {f"{name} [ms]": float(value) for name, value in stages.items()} | {
        "starts working after [s]": started or elapsed,
        "whole strun [s]": elapsed,
        "peak memory [MB]": usage.ru_maxrss / 1024,
    }


def huge(folder: Path, repeat: int) -> None:
    session = sessions.huge(folder)
    code = (
        "import sys; from cal_pipeline import CalibrationPipeline; "
        "CalibrationPipeline.call(sys.argv[1], output_file=sys.argv[2], configure_log=False, "
        "steps={'calibrate': {'precision': 'radiometric'}}); "
        # The maximum of getrusage would be that of the process that started this one.
        "print([int(line.split()[1]) / 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    start = time.perf_counter()
    line = [sys.executable, "-c", code, str(session), str(Outputs.new())]
    memory = float(subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[-1])
    print(f"  40 GB scan                     {time.perf_counter() - start:.0f} s, {memory:.0f} MB at most")


PARTS = {"strun": strun, "small": small, "large": large, "storage": storage, "night": night, "huge": huge}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "cal_pipeline_benchmark")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[name for name in PARTS if name != "huge"])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("stpipe").setLevel(logging.WARNING)
    print(f"{CORES} cores, medians of {given.repeat}")
    Outputs.folder = Path(tempfile.mkdtemp(prefix="out", dir=given.folder))
    try:
        for name in given.only:
            print(name, flush=True)
            PARTS[name](given.folder, given.repeat)
    finally:
        shutil.rmtree(Outputs.folder)
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
