"""Calibrate thousands of small scans in one process, and measure what grows: ``python tests/faults/soak.py``."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import zarr

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a command; pytest puts it there by itself
from helpers_l0 import write_array

from cal_pipeline.heterodyne.simulate.sequence import TotalPower
from cal_pipeline.simulate import preset, simulate

BAD_SHARE = 0.05
WITHOUT_LOADS = 3
"""Every so many scans has no loads of its own, so that it takes those of the one before."""

MEMORY_LIMIT = 10.0
"""Growth of memory from which a soak fails [kB a scan]."""

TIME_LIMIT = 0.1
"""Growth of the time of a scan over a run from which a soak fails, as a fraction."""

WINDOW = 50
"""Number of scans between two samples."""

LOOKS, PAUSE = 5, 0.002
"""Number of times that what is open is counted after each scan, and the time between two [s]."""

Damage = Callable[[Path], None]


# The session -----------------------------------------------------------------------------------------------


def make_session(folder: Path, n_scans: int, bad_share: float = BAD_SHARE) -> dict[int, str]:
    """Make a session of many scans out of three simulated ones.

    Arrays are links to those of the simulated scans; only the times are written for each scan.

    Parameters
    ----------
    folder : Path
        Folder for ``session.zarr`` and the simulated scans.
    n_scans : int
        Number of scans.
    bad_share : float
        Share of the scans that are damaged, spread over the session.

    Returns
    -------
    dict
        Kind of damage by number of the damaged scans.
    """
    plan = TotalPower(pattern=("OFF", "ON", "ON", "OFF"), cycles=1, dumps=2)
    model = folder / "model.zarr"
    simulate(preset("ccat_chai", channels=64, pixels=2, scans=3, sequence=plan), model)
    session = folder / "session.zarr"
    session.mkdir()
    shutil.copy(model / "zarr.json", session)
    models = [_Model(path) for path in sorted(model.glob("scan_*"))]
    kinds = itertools.cycle(DAMAGES)
    damaged: dict[int, str] = {}
    last_load = 1
    for number in range(1, n_scans + 1):
        last_load = number if number % WITHOUT_LOADS else last_load
        scan = models[number % len(models)].copy(session, number, last_load)
        # Not at a scan whose loads the next one takes: it would rightly fail too.
        if len(damaged) < bad_share * number and (number + 1) % WITHOUT_LOADS:
            damaged[number] = next(kinds)
            DAMAGES[damaged[number]](scan)
    return damaged


class _Model:
    """A simulated scan of which copies are made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attributes = json.loads((path / "zarr.json").read_text())
        group = zarr.open_group(path, mode="r")
        self.mjd = {name: np.asarray(group[f"{name}/mjd"][:]) for name in ("source", "calibration")}
        start = min(times.min() for times in self.mjd.values())
        self.length = max(times.max() for times in self.mjd.values()) - start + 10.0 / 86400.0
        self.mjd = {name: times - start for name, times in self.mjd.items()}

    def copy(self, session: Path, number: int, last_load: int) -> Path:
        """Make the scan of a number, with its loads only if it is named as the last load."""
        scan = session / f"scan_{number:06d}"
        scan.mkdir()
        self.attributes["attributes"]["scan_number"] = number
        (scan / "zarr.json").write_text(json.dumps(self.attributes))
        for name, times in self.mjd.items():
            if name == "calibration" and last_load != number:
                continue
            own: dict[str, Any] = {"mjd": 60000.0 + number * self.length + times}
            if name == "source":
                own["lloadsn"] = np.full(times.size, last_load, np.int32)
            (scan / name).mkdir()
            for inner in (self.path / name).iterdir():
                if inner.name not in own:
                    (scan / name / inner.name).symlink_to(inner)
            for array, values in own.items():
                write_array(SimpleNamespace(store_path=scan / name), array, values)
        return scan


def _unlink(array: Path) -> Path:
    """Turn a link to an array of the model into a copy that may be damaged."""
    target = array.resolve()
    array.unlink()
    return Path(shutil.copytree(target, array))


def _remove(array: Path) -> None:
    array.unlink()


def _cut_metadata(array: Path) -> None:
    content = (_unlink(array) / "zarr.json").read_bytes()
    (array / "zarr.json").write_bytes(content[: len(content) // 2])


def _cut_chunk(array: Path) -> None:
    chunk = next(path for path in sorted(_unlink(array).rglob("*")) if path.is_file() and path.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:9])


def _change_metadata(array: Path, **changes: Any) -> None:
    metadata = json.loads((_unlink(array) / "zarr.json").read_text())
    (array / "zarr.json").write_text(json.dumps(metadata | changes))


def _write(array: Path, values: Any) -> None:
    if array.is_symlink():
        array.unlink()
    else:
        shutil.rmtree(array)
    write_array(SimpleNamespace(store_path=array.parent), array.name, values)


DAMAGES: dict[str, Damage] = {
    "an array is not there": lambda scan: _remove(scan / "source/tamb"),
    "metadata are cut off": lambda scan: _cut_metadata(scan / "source/data_5d"),
    "a chunk is cut off": lambda scan: _cut_chunk(scan / "source/data_5d"),
    "counts of another shape": lambda scan: _change_metadata(scan / "source/data_5d", shape=[64, 2, 3, 1, 4]),
    "phases that nobody knows": lambda scan: _write(scan / "source/sobsmode", ["MOON"] * 4),
    "no OFF": lambda scan: _write(scan / "source/sobsmode", ["ON"] * 4),
    "temperatures are no numbers": lambda scan: _write(scan / "source/tamb", np.full(4, np.nan, np.float32)),
    "times as text": lambda scan: _write(scan / "source/mjd", ["noon"] * 4),
    "counts are missing": lambda scan: _write(scan / "source/data_5d", np.full((64, 2, 2, 1, 4), -(2**31), np.int32)),
    "below the horizon": lambda scan: _write(scan / "source/elevation", np.full(4, -0.5, np.float32)),
}
"""Damage that makes a scan fail, by what it is."""


# Measurements ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """State of a process and its children.

    Parameters
    ----------
    n_scans : int
        Number of scans that the run has finished.
    wall, cpu : float
        Time since the start, and processor time of all processes [s].
    memory : float
        Resident memory; what processes share is counted once [kB].
    descriptors, threads, processes : int
        Numbers of open descriptors, threads and processes: the least since the sample before. What leaks is always
        there; what is open in passing is not.
    """

    n_scans: int
    wall: float
    cpu: float
    memory: float
    descriptors: int
    threads: int
    processes: int


class Meter:
    """Measurements of a process and all that it started.

    Parameters
    ----------
    pid : int
        The process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.counts: list[tuple[int, int, int]] = []

    def look(self) -> None:
        """Count a few times what is open."""
        for _ in range(LOOKS):
            self.counts.append(self._count())
            time.sleep(PAUSE)

    def _count(self) -> tuple[int, int, int]:
        """Count descriptors, threads and processes."""
        descriptors, threads, processes = 0, 0, 0
        for process in _with_children(self.pid):
            try:
                n_threads = int(_read_status(process)[17])
                descriptors += len(os.listdir(f"/proc/{process}/fd"))
            except OSError:
                continue  # it has just ended
            threads += n_threads
            processes += 1
        return descriptors, threads, processes

    def sample(self, n_scans: int) -> Sample:
        """Measure time and memory, and take the least of the counts since the last sample.

        Parameters
        ----------
        n_scans : int
            Number of scans that the process has finished.
        """
        cpu, memory = 0.0, 0.0
        for process in _with_children(self.pid):
            try:
                status = _read_status(process)
                rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            except OSError:
                continue
            # Times of the process and of its ended children, in ticks.
            cpu += sum(map(int, status[11:15])) / os.sysconf("SC_CLK_TCK")
            memory += float(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])  # type: ignore[index]
        descriptors, threads, processes = map(min, zip(*self.counts, strict=True))
        self.counts.clear()
        return Sample(n_scans, time.monotonic(), cpu, memory, descriptors, threads, processes)


def _read_status(process: int) -> list[str]:
    """Read the state of a process and what follows it in the line of the kernel."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _with_children(child)


def robust_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Compute the median of the slopes between all pairs of points (Theil and Sen).

    Examples
    --------
    >>> robust_slope([0, 1, 2, 3], [0.0, 2.0, 90.0, 6.0])
    2.0
    """
    first, second = np.triu_indices(len(x), 1)
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    return float(np.median((ys[second] - ys[first]) / (xs[second] - xs[first])))


@dataclass
class Run:
    """One run of the soak: a session calibrated once.

    Parameters
    ----------
    n_workers : int
        Number of worker processes; 0 for none.
    samples : list of Sample
        One every `WINDOW` scans.
    failed : set of int
        Scans that failed.
    """

    n_workers: int
    samples: list[Sample] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)

    @property
    def steady(self) -> list[Sample]:
        """The samples after the first quarter, in which caches fill and functions are compiled."""
        return self.samples[len(self.samples) // 4 :]

    def slope(self, name: str) -> float:
        """Growth of a quantity [a scan]."""
        return robust_slope([s.n_scans for s in self.steady], [getattr(s, name) for s in self.steady])

    def growth_of_time(self, name: str) -> float:
        """Growth of the time of a scan over the run, as a fraction of its median."""
        pairs = list(itertools.pairwise(self.steady))
        scans = [after.n_scans for _, after in pairs]
        times = [(getattr(b, name) - getattr(a, name)) / (b.n_scans - a.n_scans) for a, b in pairs]
        return robust_slope(scans, times) * (scans[-1] - scans[0]) / float(np.median(times))

    def leaks(self) -> list[str]:
        """Say which numbers of what is open grew."""
        found = []
        for name in ("descriptors", "threads", "processes"):
            first, last = getattr(self.steady[0], name), getattr(self.steady[-1], name)
            if self.slope(name) > 0 and last > first:
                found.append(f"{name} grow from {first} to {last}")
        return found

    def complaints(self, damaged: dict[int, str], memory_limit: float, time_limit: float) -> list[str]:
        """Say what grew, and which scans failed that should not, or the other way round."""
        found = []
        if (memory := self.slope("memory")) >= memory_limit:
            found.append(f"memory grows by {memory:.1f} kB a scan, expected less than {memory_limit:g}")
        found += self.leaks()
        if (growth := self.growth_of_time("cpu")) > time_limit:
            found.append(f"the time of a scan grows by {growth:.0%} over the run, expected at most {time_limit:.0%}")
        found += [f"scan {n} failed, though nothing is wrong with it" for n in sorted(self.failed - damaged.keys())]
        found += [f"scan {n} did not fail: {damaged[n]}" for n in sorted(damaged.keys() - self.failed)]
        return found

    def __str__(self) -> str:
        first, last = self.samples[0], self.samples[-1]
        n = last.n_scans - first.n_scans
        return (
            f"{self.n_workers} workers, {last.n_scans} scans, {len(self.failed)} failed: "
            f"memory {self.steady[0].memory / 1024:.0f} to {last.memory / 1024:.0f} MB, "
            f"{self.slope('memory'):+.2f} kB a scan; descriptors {last.descriptors}, threads {last.threads}, "
            f"processes {last.processes}; {1e3 * (last.wall - first.wall) / n:.0f} ms a scan "
            f"({1e3 * (last.cpu - first.cpu) / n:.0f} ms of processors, {self.growth_of_time('cpu'):+.1%} over the run)"
        )


# The soak --------------------------------------------------------------------------------------------------

_SCAN = re.compile(r" (?:INFO|WARNING|ERROR) scan (\d+) (SIM-ORION,|failed in step)")
_END = " scans calibrated"


def soak(folder: Path, n_workers: int, minutes: float) -> list[Run]:
    """Calibrate a session again and again in one process until the time is over; at least once.

    Parameters
    ----------
    folder : Path
        Folder with ``session.zarr``.
    n_workers : int
        Number of worker processes; 0 for none.
    minutes : float
        Time after which no further run starts [min].
    """
    command = [sys.executable, __file__, "--child", str(folder), str(n_workers), str(minutes)]
    return watch(command, folder / f"log_{n_workers}.txt", n_workers)


def watch(command: Sequence[str], log_path: Path, n_workers: int = 0) -> list[Run]:
    """Run a command that calibrates sessions, and measure it by what it logs.

    Parameters
    ----------
    command : sequence of str
        The command and its arguments. It reads a line after each session, so that it has not ended when it is
        measured for the last time.
    log_path : Path
        File for what it logs.
    n_workers : int
        Number of worker processes that it starts.
    """
    runs, current = [], Run(n_workers)
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stderr is not None
        meter, n_done = Meter(process.pid), 0
        for line in process.stderr:
            log.write(line)
            if match := _SCAN.search(line):
                n_done += 1
                if match[2].startswith("failed"):
                    current.failed.add(int(match[1]))
                meter.look()
                if n_done % WINDOW == 0:
                    current.samples.append(meter.sample(n_done))
            elif _END in line:
                runs.append(current)
                current, n_done = Run(n_workers), 0
                meter.counts.clear()
                process.stdin.write("\n")
                process.stdin.flush()
    if process.returncode:
        raise RuntimeError(f"the soak ended with status {process.returncode}; see {log.name}")
    return runs


def _environment() -> dict[str, str]:
    """Return the environment of the process that calibrates; it imports the package of this checkout."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _calibrate_again_and_again(folder: Path, n_workers: int, minutes: float) -> None:
    """Calibrate a session until the time is over, in this process."""
    from cal_pipeline.cli.calibrate import main as calibrate

    end = time.monotonic() + 60.0 * minutes
    output = folder / f"l1_{n_workers}.zarr"
    workers = ["--workers", str(n_workers)] if n_workers else []
    while True:
        calibrate([str(folder / "session.zarr"), "-o", str(output), "--skydiff", "2", *workers])
        sys.stdin.readline()
        shutil.rmtree(output)
        output.with_name(f"{output.stem}_quality.ecsv").unlink(missing_ok=True)
        if time.monotonic() > end:
            return


def _judge_all(runs: list[Run], damaged: dict[int, str]) -> list[str]:
    """Judge each run, and what grows from run to run."""
    found = [complaint for run in runs for complaint in run.complaints(damaged, MEMORY_LIMIT, TIME_LIMIT)]
    if len(runs) > 2:
        scans = np.cumsum([run.samples[-1].n_scans for run in runs[1:]])
        ends = [run.samples[-1] for run in runs[1:]]
        for name, limit in (("memory", MEMORY_LIMIT), ("descriptors", 0.0), ("threads", 0.0)):
            slope = robust_slope(scans.tolist(), [getattr(end, name) for end in ends])
            if slope > limit:
                found.append(f"{name} grow by {slope:.3g} a scan from run to run")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak and print what it found; 0 if nothing grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="time of all runs together (default: 30)")
    parser.add_argument("--workers", type=int, help="number of worker processes (default: none, then 2)")
    parser.add_argument("--scans", type=int, default=3000, help="scans in the session (default: 3000)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.child:
        _calibrate_again_and_again(Path(given.child[0]), int(given.child[1]), float(given.child[2]))
        return 0
    counts = [0, 2] if given.workers is None else [given.workers]
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=given.folder))
    complaints = []
    try:
        damaged = make_session(folder, given.scans)
        kinds = Counter(damaged.values())
        print(f"{given.scans} scans, {len(damaged)} of them damaged in {len(kinds)} ways", flush=True)
        for n_workers in counts:
            runs = soak(folder, n_workers, given.minutes / len(counts))
            print("\n".join(map(str, runs)), flush=True)
            complaints += _judge_all(runs, damaged)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(complaints) or "nothing grows, and the scans that failed are those that were damaged")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
