"""Time per stage."""

from __future__ import annotations

import time

from cal_pipeline.models.clock import StageClock


def test_each_moment_counts_once(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    clock = StageClock()
    with clock("outer"):
        now = 1.0
        with clock("inner"):
            now = 3.0
        now = 3.5
        inner = clock("inner")
        inner.__enter__()
        now = 5.0
        assert not inner.__exit__(None, None, None)
    now = 9.0
    with clock("outer"):
        now = 10.0
    assert clock.seconds == {"outer": 2.5, "inner": 3.5}
