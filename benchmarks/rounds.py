"""Times of whole runs, to compare two commits: asv lets the commits take turns with ``--interleave-rounds``."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from .tools import sessions
from .tools.measure import scratch

RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lossless": (sessions.three, {}),
    "radiometric": (sessions.three, {"steps": {"calibrate": {"precision": "radiometric"}}}),
    "one thread": (sessions.three, {"threads": 1}),
    "per_pair": (sessions.three, {"steps": {"atmosphere": {"strategy": "per_pair"}}}),
    "20 small scans": (sessions.small, {"scans": "1:20"}),
    "20 small scans, skydiff": (sessions.small, {"scans": "1:20", "steps": {"skydiff": {"skip": False}}}),
}
"""Session and settings of each run."""


class Run:
    """One run in a process whose imports are done."""

    params = tuple(RUNS)
    param_names = ("run",)
    rounds, repeat, number, warmup_time, timeout = 4, 3, 1, 0.1, 900

    def setup(self, run: str) -> None:
        logging.getLogger("stpipe").setLevel(logging.WARNING)
        make, _ = RUNS[run]
        self.session = make()
        self.output = contextlib.ExitStack()
        self.folder = self.output.enter_context(scratch())

    def teardown(self, run: str) -> None:
        self.output.close()

    def time_run(self, run: str) -> None:
        from cal_pipeline import CalibrationPipeline

        _, settings = RUNS[run]
        product = str(self.folder / "l1.zarr")
        CalibrationPipeline.call(str(self.session), output_file=product, configure_log=False, **settings)
