"""Disks that fail: each call once and from then on, a disk that is full, one that may not be written."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .children import run_child, scratch, share
from .disk import CODES, READING, WRITING, count_calls, fail_at
from .kills import Kill, prepare, run_scenario
from .runs import Outcome, judge_next_run, judge_remains
from .sessions import OF_LATER_LOADS, Bench, listed_scans, wrong_scans
from .stores import copy_linked


@dataclass(frozen=True)
class DiskFault:
    """A call to the disk that fails.

    Parameters
    ----------
    scenario : Kill
        The run; nothing is killed.
    call : str
        The call.
    number : int
        Its number among the calls of that name, from 1 on.
    code : int
        Its error.
    lasting : bool
        Whether all later ones fail too.
    """

    scenario: Kill
    call: str
    number: int
    code: int
    lasting: bool

    @property
    def kind(self) -> str:
        """Row of the table."""
        return f"{self.call} fails, {'from then on' if self.lasting else 'once'}"

    @property
    def case(self) -> str:
        """Case in the row."""
        name = errno.errorcode[self.code]
        return f"{self.scenario.scenario}, {self.scenario.workers} workers, call {self.number}, {name}"


def make_disk_faults(bench: Bench, share_of_calls: float, match: str = "", seed: int = 2) -> list[DiskFault]:
    """Choose faults: a share of every call of a run, with each error, once and lasting."""
    draw = random.Random(seed)
    faults = []
    for scenario in (Kill("new", 1, "", 0), Kill("overwrite", 1, "", 0), Kill("new", 2, "", 0)):
        for call, n_calls in sorted(_count_by_name(bench, scenario).items()):
            some = max(round(n_calls * share_of_calls), 1)
            for code in CODES[call]:
                for lasting in (False, True):
                    numbers = {1 + int((i + draw.random()) * n_calls / some) for i in range(some)}
                    faults += [DiskFault(scenario, call, n, code, lasting) for n in sorted(numbers)]
    return [fault for fault in faults if match in fault.kind]


def _count_by_name(bench: Bench, scenario: Kill) -> dict[str, int]:
    folder = _prepare(bench, scenario)
    counts: dict[str, int] = defaultdict(int)
    with tempfile.NamedTemporaryFile("rb") as found:
        run = partial(_run, bench, folder, scenario)
        ended = run_child(_note_calls, folder, run, found.name)
        assert ended.status == 0, ended.output
        for line in found.read().decode().splitlines():
            counts[line.split()[0]] += 1
    shutil.rmtree(folder)
    return counts


def _note_calls(folder: Path, run: Callable[[], int], name: str) -> int:
    with open(name, "ab", buffering=0) as found:
        return count_calls(folder, WRITING + READING, run, found)


def _prepare(bench: Bench, scenario: Kill) -> Path:
    """Make a folder with a session of its own, whose reading may fail, and what is there before the run."""
    folder = scratch(bench.folder)
    copy_linked(bench.session, folder / "session.zarr")
    prepare(bench, scenario, folder)
    return folder


def _run(bench: Bench, folder: Path, scenario: Kill) -> int:
    return run_scenario(bench, folder / "l1.zarr", scenario, folder / "session.zarr")


def try_disk_faults(bench: Bench, faults: list[DiskFault], lanes: int) -> list[Outcome]:
    """Let each call fail, and judge what is left."""
    return share(faults, partial(try_disk_fault, bench), lanes)


def try_disk_fault(bench: Bench, fault: DiskFault) -> Outcome:
    """Let a call fail, judge what is left, and run again."""
    folder = _prepare(bench, fault.scenario)
    output, outcome = folder / "l1.zarr", Outcome(fault.kind, fault.case)
    run = partial(_run, bench, folder, fault.scenario)
    ended = run_child(fail_at, folder, fault.call, fault.number, fault.code, fault.lasting, run)
    if ended.signal:
        outcome.hand.append(f"the run ends by signal {ended.signal}: {ended.output[-300:]}")
    old = bench.folder / "old.zarr" if fault.scenario.scenario == "overwrite" else None
    judge_remains(bench, output, ended, outcome, old, OF_LATER_LOADS)
    finished = [n for n in listed_scans(output) if not wrong_scans(output, bench.reference, [n], OF_LATER_LOADS)]
    judge_next_run(bench, output, outcome, finished, leave_out=OF_LATER_LOADS)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


# Real disks.


def try_real_disks(bench: Bench) -> list[Outcome]:
    """Write to disks that are full at some point, to files that may not grow, and where nothing may be written."""
    return [*_full_disks(bench), *_limited_files(bench), *_read_only(bench)]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path | None]:
    """Mount a disk of a size [bytes]; None where this process may not."""
    place = scratch(folder)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = mounted and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def _full_disks(bench: Bench) -> Iterator[Outcome]:
    pages = sum(-(-path.stat().st_size // 4096) for path in bench.reference.rglob("*") if path.is_file())
    for scenario in ("new", "overwrite"):
        for part in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95):
            outcome = Outcome("disk really full", f"{scenario}, {part:.0%} of a product fits")
            # A product that is to be replaced stays until the new one is whole.
            size = int(4096 * pages * (part + (scenario == "overwrite")))
            with small_disk(bench.folder, size) as disk:
                if disk is None:
                    outcome.skipped = "mounting a small disk needs root"
                else:
                    _fill(bench, disk, Kill(scenario, 1, "", 0), outcome)
            yield outcome


def _fill(bench: Bench, disk: Path, scenario: Kill, outcome: Outcome) -> None:
    """Run on a disk that is too small, then on the same disk enlarged."""
    output, old = disk / "l1.zarr", None
    if scenario.scenario == "overwrite":
        old = bench.folder / "old.zarr"
        shutil.copytree(old, output)
    ended = run_child(run_scenario, bench, output, scenario)
    if ended.status == 0:
        outcome.silent.append("status 0 on a disk that is too small")
    judge_remains(bench, output, ended, outcome, old)
    if "No space left" not in ended.output:
        outcome.silent.append(f"the message does not say that the disk is full: {ended.output[-300:]}")
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    finished = [n for n in listed_scans(output) if not wrong_scans(output, bench.reference, [n])]
    judge_next_run(bench, output, outcome, finished)


def _limited_files(bench: Bench) -> Iterator[Outcome]:
    for limit in (0, 100, 1000, 4000, 8000):
        folder = scratch(bench.folder)
        outcome = Outcome("files may not grow beyond a limit", f"{limit} bytes")
        ended = run_child(_run_limited, bench, folder / "l1.zarr", limit)
        if ended.signal:
            outcome.hand.append(f"the run ends by signal {ended.signal}")
        judge_remains(bench, folder / "l1.zarr", ended, outcome)
        judge_next_run(bench, folder / "l1.zarr", outcome, [])
        shutil.rmtree(folder)
        yield outcome


def _run_limited(bench: Bench, output: Path, limit: int) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return bench.calibrate(None, output)


@contextmanager
def _unwritable(folder: Path, as_disk: bool) -> Iterator[bool]:
    """Make a folder unwritable: a disk that is mounted so, or by its permissions."""
    if as_disk:
        may = os.geteuid() == 0 and shutil.which("mount") is not None
        bind = ["mount", "--bind", str(folder), str(folder)]
        may = may and subprocess.run(bind, capture_output=True, check=False).returncode == 0
        if may:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        try:
            yield may
        finally:
            if may:
                subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o555)
        try:
            yield True
        finally:
            folder.chmod(0o755)


def _read_only(bench: Bench) -> Iterator[Outcome]:
    for as_disk in (True, False):
        for scenario in ("new", "overwrite"):
            folder = scratch(bench.folder)
            output = folder / "l1.zarr"
            prepare(bench, Kill(scenario, 1, "", 0), folder)
            where = "disk" if as_disk else "folder"
            outcome = Outcome("read-only disk or folder", f"{scenario}, {where}")
            with _unwritable(folder, as_disk) as may:
                if not may:
                    outcome.skipped = "mounting a disk read-only needs root"
                else:
                    ended = run_child(
                        _run_as_nobody if not as_disk else run_scenario, bench, output, Kill(scenario, 1, "", 0)
                    )
            if may:
                old = bench.folder / "old.zarr" if scenario == "overwrite" else None
                if ended.status != 1:
                    outcome.silent.append(f"status {ended.status}, expected 1")
                if str(output) not in ended.output:
                    outcome.silent.append(f"the message does not name the output: {ended.output[-300:]}")
                judge_remains(bench, output, ended, outcome, old)
                judge_next_run(bench, output, outcome, [])
            shutil.rmtree(folder)
            yield outcome


def _run_as_nobody(bench: Bench, output: Path, scenario: Kill) -> int:
    """Run as a user to whom permissions apply, which they do not to root."""
    if os.geteuid() == 0:
        with suppress(OSError):
            os.chmod(bench.folder, 0o755)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return run_scenario(bench, output, scenario)
