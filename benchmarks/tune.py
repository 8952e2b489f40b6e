"""One tuning of six combinations of parameters against six runs of the pipeline."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from .tools import sessions
from .tools.measure import Times, alternate, calibrate, median, ratio, take_time

VARIED: dict[str, dict[str, list[Any]]] = {
    "model_error x gain.level": {"atmosphere.model_error": [0.01, 0.03, 0.1], "gain.level": [0, 3]},
    "model_error x robust": {"atmosphere.model_error": [0.01, 0.03, 0.1], "atmosphere.robust": [True, False]},
    "image_gain": {"loads.image_gain": [0.8, 0.9, 1.0, 1.1, 1.2, 1.3]},
    "min_transmission": {"calibrate.min_transmission": [0.001, 0.003, 0.01, 0.03, 0.1, 0.2]},
}
"""Sets of six combinations: steps early and late in the pipeline."""


class Tuning:
    """A scan of 184 MB, code compiled; the ratio counts, of the processor's time too."""

    timeout = 1800
    params = tuple(VARIED)
    param_names = ("varied",)

    def setup_cache(self) -> dict[str, dict[str, float]]:
        from cal_pipeline import tune

        session, costs = sessions.drifting(), {}
        for name, vary in VARIED.items():
            found = alternate(
                3,
                {
                    "tuning": lambda vary=vary: take_time(lambda: tune(session, vary, scans=1, configure_log=False)),
                    "runs": lambda vary=vary: run_each(session, vary),
                },
            )
            costs[name] = {"tuning": median(found, "tuning", 1), "runs": median(found, "runs", 1)}
            costs[name] |= {"wall": ratio(found, "tuning", "runs"), "processor": ratio(found, "tuning", "runs", 1)}
        return costs

    setup_cache.timeout = 1800

    def track_tuning_over_runs(self, costs: dict[str, dict[str, float]], varied: str) -> float:
        return costs[varied]["wall"]

    track_tuning_over_runs.unit = "ratio"

    def track_tuning_over_runs_on_the_processor(self, costs: dict[str, dict[str, float]], varied: str) -> float:
        return costs[varied]["processor"]

    track_tuning_over_runs_on_the_processor.unit = "ratio"

    def track_processor_time(self, costs: dict[str, dict[str, float]], varied: str, way: str) -> float:
        return costs[varied][way]

    track_processor_time.params = [tuple(VARIED), ("tuning", "runs")]
    track_processor_time.param_names = ["varied", "way"]
    track_processor_time.unit = "s"


def run_each(session: Path, vary: dict[str, list[Any]]) -> Times:
    """Run the pipeline once for each combination."""
    total = (0.0, 0.0, 0.0)
    for values in itertools.product(*vary.values()):
        steps: dict[str, dict[str, Any]] = {}
        for label, value in zip(vary, values, strict=True):
            step, _, name = label.partition(".")
            steps.setdefault(step, {})[name] = value
        wall, processor, kernel = calibrate(session, scans=1, steps=steps)
        total = (total[0] + wall, total[1] + processor, total[2] + kernel)
    return total
