"""The soak measures what it says, and a short one finds nothing."""

from __future__ import annotations

import gc
import itertools
import os
import sys

import pytest

from . import soak


def make_run(memory=lambda n: 200e3, cpu=lambda n: 0.03 * n, threads=lambda n: 3, failed=frozenset()):
    run = soak.Run(0, failed=set(failed))
    for n in range(50, 1001, 50):
        run.samples.append(soak.Sample(n, 0.04 * n, cpu(n), memory(n), 5, threads(n), 1))
    return run


def judge(run, damaged=None):
    return run.complaints(damaged or {}, soak.MEMORY_LIMIT, soak.TIME_LIMIT)


def test_a_steady_run_is_not_complained_of():
    steps = make_run(memory=lambda n: 200e3 + (5e3 if n > 300 else 0.0))
    assert judge(make_run()) == judge(steps) == []


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (make_run(memory=lambda n: 200e3 + 12.0 * n), "memory grows by 12.0 kB a scan"),
        (make_run(cpu=lambda n: 0.03 * n + 1e-5 * n * n), "time of a scan grows by"),
        (make_run(threads=lambda n: n // 100), "threads grow from"),
        (make_run(failed={7}), "scan 7 failed, though nothing is wrong with it"),
    ],
)
def test_what_grows_is_named(run, words):
    (complaint,) = judge(run)
    assert words in complaint


def test_a_damaged_scan_must_fail():
    assert judge(make_run(), {4: "no OFF"}) == ["scan 4 did not fail: no OFF"]


def test_a_file_that_is_open_in_passing_does_not_count(tmp_path):
    meter = soak.Meter(os.getpid())
    gc.collect()
    meter.look()
    before = meter.sample(1).descriptors
    with (tmp_path / "file").open("w"):
        meter.look()
        with_file = meter.sample(2).descriptors
        meter.look()
    meter.look()
    assert (with_file, meter.sample(3).descriptors) == (before + 1, before)


LOGS_SCANS = """
import os, subprocess, sys, tempfile, threading, time
kept = []
for number in range(1, 41):
    print(f"2026 INFO scan {number} SIM-ORION, otf", file=sys.stderr, flush=True)
    while not os.path.exists(f"{sys.argv[1]}/{number}"):
        time.sleep(0.001)
    if number % 5 == 0:
        LEAK
print("40 scans calibrated", file=sys.stderr)
sys.stdin.readline()
"""
"""A process that logs scans, waits until it has been looked at, and leaks at every fifth."""


@pytest.mark.parametrize(
    ("leak", "grows"),
    [
        ("pass", []),
        ("kept.append(tempfile.TemporaryFile())", ["descriptors"]),
        ("threading.Thread(target=time.sleep, args=[60], daemon=True).start()", ["threads"]),
        # It ends with the process that leaks it, and so does its input.
        ("kept.append(subprocess.Popen(['cat'], stdin=subprocess.PIPE))", ["descriptors", "threads", "processes"]),
    ],
)
def test_what_leaks_is_complained_of(tmp_path, monkeypatch, leak, grows):
    number, look = itertools.count(1), soak.Meter.look

    def look_and_tell(meter):
        look(meter)
        (tmp_path / str(next(number))).touch()

    monkeypatch.setattr(soak, "WINDOW", 4)
    monkeypatch.setattr(soak, "PAUSE", 0.0)
    monkeypatch.setattr(soak.Meter, "look", look_and_tell)
    command = [sys.executable, "-c", LOGS_SCANS.replace("LEAK", leak), str(tmp_path)]
    (run,) = soak.watch(command, tmp_path / "log.txt")
    assert [sample.n_scans for sample in run.samples] == list(range(4, 41, 4))
    assert [complaint.partition(" grow from ")[0] for complaint in run.leaks()] == grows


@pytest.mark.slow
def test_a_short_soak(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "WINDOW", 5)
    damaged = soak.make_session(tmp_path, 60)
    assert set(damaged.values()) <= set(soak.DAMAGES)
    assert len(damaged) == 3
    (run,) = soak.soak(tmp_path, 0, 0.0)
    assert run.failed == damaged.keys()
    # So few scans measure no growth of memory: functions are still compiled, and caches fill.
    assert run.steady[0].descriptors == run.steady[-1].descriptors
    assert run.slope("memory") < 1000.0
