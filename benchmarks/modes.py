"""Cost of each strategy, step and addition against the plain calibration of the same session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .tools import sessions
from .tools.measure import Times, alternate, calibrate, median, ratio

MODES: dict[str, dict[str, Any]] = {
    "full": {},
    "per_pixel": {"steps": {"atmosphere": {"strategy": "per_pixel"}}},
    "per_pair": {"steps": {"atmosphere": {"strategy": "per_pair"}}},
    "skydiff": {"steps": {"skydiff": {"skip": False}}},
    "gain": {"steps": {"gain": {"level": 3}}},
    "report": {"report": True},
}
"""Settings on the drifting session, whose first scan has loads before and after."""

CHOPPED: dict[str, dict[str, Any]] = {
    "chopped": {},
    "dbs": {"steps": {"dbs": {"skip": False}}},
    "skychopdiff": {"steps": {"skychopdiff": {"skip": False}}},
}
"""Settings on the chopped session."""


class Modes:
    """Two scans of 184 MB in one run, start not counted."""

    timeout = 1800
    params = (*(name for name in MODES if name != "full"), *(name for name in CHOPPED if name != "chopped"))
    param_names = ("mode",)

    def setup_cache(self) -> dict[str, float]:
        costs = {}
        for session, modes in ((sessions.drifting(), MODES), (sessions.chopped(), CHOPPED)):
            found = alternate(4, {name: make_way(session, given) for name, given in modes.items()})
            plain = next(iter(modes))
            for name in modes:
                costs[name], costs[f"{name} / full"] = median(found, name), ratio(found, name, plain)
        return costs

    setup_cache.timeout = 1800

    def track_mode_over_full(self, costs: dict[str, float], mode: str) -> float:
        return costs[f"{mode} / full"]

    track_mode_over_full.unit = "ratio"

    def track_time(self, costs: dict[str, float], mode: str) -> float:
        return costs[mode]

    track_time.params = [(*MODES, *CHOPPED)]
    track_time.param_names = ["mode"]
    track_time.unit = "s"


def make_way(session: Path, given: dict[str, Any]) -> Callable[[], Times]:
    """Return the measurement of a run with settings."""
    return lambda: calibrate(session, **given)
