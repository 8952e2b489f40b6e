"""Time per stage."""

from __future__ import annotations

import threading
import time

from cal_pipeline.core.run.clock import StageClock


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


def test_threads_add_up():
    clock = StageClock()

    def work():
        with clock("work"):
            time.sleep(0.02)

    threads = [threading.Thread(target=work) for _ in range(4)]
    with clock("waiting"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert clock.seconds["work"] >= 0.08
    assert clock.seconds["waiting"] > 0.0
