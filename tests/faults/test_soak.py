"""The soak measures what it says, and a short one finds nothing."""

from __future__ import annotations

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
