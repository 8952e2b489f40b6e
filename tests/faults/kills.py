"""Runs that are killed: at any moment, at every call that changes the disk, and with all that was not fsynced."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cal_pipeline.core.run import workers as workers_module

from .children import run_child, scratch, share
from .disk import CHANGING, WRITING, count_calls, die_at, lose_power_at
from .forked_workers import fork_workers
from .runs import RESUME, Outcome, copy_product, judge_next_run, judge_remains
from .sessions import Bench, listed_scans, wrong_scans


@dataclass(frozen=True)
class Kill:
    """A kill.

    Parameters
    ----------
    scenario : str
        ``"new"``, ``"overwrite"`` or ``"resume"``.
    workers : int
        Number of processes.
    how : str
        ``"moment"``: at a time; ``"call"``: the process that makes a call; ``"all"``: every process at a call;
        ``"power"``: the machine at a call.
    at : float
        Time [s], or number of the call.
    """

    scenario: str
    workers: int
    how: str
    at: float

    @property
    def kind(self) -> str:
        """Row of the table."""
        what = {
            "moment": "killed at random moments",
            "call": "a process killed at a call to the disk",
            "all": "all killed at a call to the disk",
            "power": "power lost at a call to the disk",
        }
        return f"{what[self.how]}, {self.scenario}, {self.workers} worker{'s' if self.workers > 1 else ''}"


SCENARIOS = ("new", "overwrite", "resume")


def run_scenario(bench: Bench, output: Path, kill: Kill, session: Path | None = None) -> int:
    """Run as the scenario says."""
    if kill.workers > 1:
        fork_workers(workers_module)
    options = {"new": [], "overwrite": ["--overwrite"], "resume": RESUME}[kill.scenario]
    return bench.calibrate(session, output, "--workers", str(kill.workers), *options)


def prepare(bench: Bench, kill: Kill, folder: Path) -> Path | None:
    """Put what is there before the run; returns a product that is to be replaced."""
    if kill.scenario == "overwrite":
        copy_product(bench.folder / "old.zarr", folder / "l1.zarr")
        return bench.folder / "old.zarr"
    if kill.scenario == "resume":
        for path in (bench.folder / "interrupted").iterdir():
            shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder)
    return None


def make_starting_points(bench: Bench) -> None:
    """Make an old product, with another forward efficiency, and one whose run was killed half-way."""
    ended = run_child(bench.calibrate, None, bench.folder / "old.zarr", "--foeff", "0.90")
    assert ended.status == 0, ended.output
    folder = bench.folder / "interrupted"
    folder.mkdir()
    half = _number_of_calls(bench, Kill("new", 1, "all", 0)) // 2
    run = partial(run_scenario, bench, folder / "l1.zarr", Kill("new", 1, "all", 0))
    ended = run_child(die_at, folder, half, True, run)
    assert ended.signal == signal.SIGKILL, ended.output


def calls_of(bench: Bench, kill: Kill) -> list[str]:
    """List the calls to the disk of a scenario."""
    folder = scratch(bench.folder)
    prepare(bench, kill, folder)
    with tempfile.NamedTemporaryFile("rb") as found:
        run = partial(run_scenario, bench, folder / "l1.zarr", kill)
        ended = run_child(_count, folder, run, found.name)
        assert ended.status == 0, ended.output
        calls = found.read().decode().splitlines()
    shutil.rmtree(folder)
    return calls


def _count(folder: Path, run: Any, name: str) -> int:
    with open(name, "ab", buffering=0) as found:
        return count_calls(folder, WRITING, run, found)


def make_kills(bench: Bench, moments: int, share_of_calls: float, match: str = "", seed: int = 1) -> list[Kill]:
    """Choose kills: a number of random moments, and a share of all calls.

    Parameters
    ----------
    bench : Bench
        Session and reference.
    moments : int
        Number of kills at random moments.
    share_of_calls : float
        Share of the calls; of those of two workers a quarter of that.
    match : str
        Text that the kinds of the kills contain.
    seed : int
        Seed of the choice.
    """
    draw = random.Random(seed)
    kills = []
    for scenario in SCENARIOS:
        for workers in (1, 2):
            # With one process, killing one is killing all; losses of power are followed in one process.
            hows = ("moment", "all", "power") if workers == 1 else ("moment", "all", "call")
            kinds = [kind for how in hows if match in (kind := Kill(scenario, workers, how, 0)).kind]
            if not kinds:
                continue
            seconds = run_time(bench, kinds[0])
            for kind in kinds:
                n_calls = _number_of_calls(bench, kind)
                if kind.how == "moment":
                    n = max(round(moments / len(SCENARIOS) / 2), 1)
                    kills += [replace(kind, at=draw.uniform(0.0, 1.1 * seconds)) for _ in range(n)]
                else:
                    n = max(round(share_of_calls * n_calls / (1 if workers == 1 else 4)), 1)
                    numbers = {1 + int((i + draw.random()) * n_calls / n) for i in range(n)}
                    kills += [replace(kind, at=number) for number in sorted(numbers)]
    return kills


def _number_of_calls(bench: Bench, kill: Kill) -> int:
    """Count the calls at which a run is killed: an fsync makes a difference to a loss of power only."""
    counted = WRITING if kill.how == "power" else CHANGING
    return sum(call.split()[0] in counted for call in calls_of(bench, kill))


def run_time(bench: Bench, kill: Kill) -> float:
    """Measure how long a run takes [s]."""
    folder = scratch(bench.folder)
    prepare(bench, kill, folder)
    began = time.monotonic()
    ended = run_child(run_scenario, bench, folder / "l1.zarr", kill)
    assert ended.status == 0, ended.output
    shutil.rmtree(folder)
    return time.monotonic() - began


def try_kills(bench: Bench, kills: list[Kill], lanes: int) -> list[Outcome]:
    """Make each kill, and judge what is left."""
    return share(kills, partial(try_kill, bench), lanes)


def try_kill(bench: Bench, kill: Kill) -> Outcome:
    """Kill a run, judge what is left, and run again."""
    folder = scratch(bench.folder)
    output = folder / "l1.zarr"
    old = prepare(bench, kill, folder)
    before = [] if old else listed_scans(output)
    run = partial(run_scenario, bench, output, kill)
    if kill.how == "moment":
        ended = run_child(_die_after, kill.at, run)
    elif kill.how == "power":
        ended = run_child(lose_power_at, folder, int(kill.at), run)
    else:
        ended = run_child(die_at, folder, int(kill.at), kill.how == "all", run)
    outcome = Outcome(kill.kind, f"{kill.at:.4g}")
    if kill.how == "call" and kill.workers > 1 and ended.status is not None and ended.status != 0:
        outcome.hand.append(f"a dead worker ends the run with status {ended.status}: {ended.output[-300:]}")
    judge_remains(bench, output, ended, outcome, old)
    if lost := [number for number in before if number not in listed_scans(output)]:
        outcome.lost.append(f"scans {lost} that were finished before")
    new = [n for n in listed_scans(output) if n in bench.scans and not wrong_scans(output, bench.reference, [n])]
    # Both ways of going on must work.
    options = RESUME if kill.how == "moment" or int(kill.at) % 2 else ("--overwrite",)
    judge_next_run(bench, output, outcome, new, options)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _die_after(seconds: float, run: Any) -> int:
    """Run, and kill this process after a time."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    status: int = run()
    return status
