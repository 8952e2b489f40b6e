"""Calibrates the scans of a session one after the other; one that fails does not stop the rest."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from stpipe.exceptions import StpipeExitException

from cal_pipeline._version import __version__
from cal_pipeline.engine.history import SkyHistory
from cal_pipeline.engine.progress import progress_bar
from cal_pipeline.engine.store import OutputStore
from cal_pipeline.engine.stream import write_scan
from cal_pipeline.models.l1 import CalibratedSession
from cal_pipeline.models.product import Tally, json_ready
from cal_pipeline.models.scan import Scan
from cal_pipeline.models.session import Session
from cal_pipeline.report.quality_table import write_quality_table

logger = logging.getLogger(__name__)

Stages = Mapping[str, Callable[[Scan], Scan]]
"""What is done to a scan, by the name of the step, in order."""


class Recipe(Protocol):
    """What is done to scans, and with which parameters."""

    def prepare_for(self, scan: Scan) -> dict[str, Any]:
        """Get ready for a scan; what the provenance says of its parameters."""

    def stages(self) -> Stages:
        """What is done to it, by the name of the step, in order."""


class RunFailedError(StpipeExitException):  # type: ignore[misc]
    """Not all scans of a session could be calibrated.

    Attributes
    ----------
    product : CalibratedSession
        What was written.
    exit_status : int
        1 if no scan could be calibrated, 2 if some could.
    """

    def __init__(self, exit_status: int, message: str, product: CalibratedSession) -> None:
        super().__init__(exit_status, message)
        self.message = message
        self.product = product

    def __str__(self) -> str:
        return self.message


def calibrate_session(
    session: Session,
    numbers: list[int],
    recipe: Recipe,
    output: OutputStore,
) -> CalibratedSession:
    """Calibrate scans of a session and write them.

    Parameters
    ----------
    session : Session
        L0.
    numbers : list of int
        Scans to calibrate.
    recipe : Recipe
        What is done to each.
    output : OutputStore
        L1.

    Returns
    -------
    CalibratedSession

    Raises
    ------
    RunFailedError
        At the end, if a scan could not be calibrated.
    """
    provenance = {
        "engine_version": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        with _frozen_garbage(), _stpipe_in_the_background(), progress_bar(len(numbers)) as advance:
            history = SkyHistory()
            for number in session.in_order_of_time(numbers):
                _calibrate_one(session, number, recipe, output, provenance, history)
                advance()
    finally:
        output.close()
    write_quality_table(output.path)
    product = CalibratedSession(output.path)
    n_failed = len(output.failures)
    if n_failed:
        message = f"{n_failed} of {len(numbers)} scans could not be calibrated; see {output.path / 'failures.json'}"
        raise RunFailedError(1 if n_failed == len(numbers) else 2, message, product)
    logger.info("%d scans calibrated: %s", len(numbers), output.path)
    return product


def _calibrate_one(
    session: Session,
    number: int,
    recipe: Recipe,
    output: OutputStore,
    provenance: dict[str, Any],
    history: SkyHistory,
) -> None:
    """Calibrate, write and publish a scan, or record why that is not possible."""
    step = "load"
    try:
        scan = session.open_scan(number)
        used = json_ready(recipe.prepare_for(scan))
        stages = recipe.stages()
        for step, stage in stages.items():
            with scan.clock(step):
                scan = stage(scan)
        step = "write"
        with scan.clock("write"), output.stage(f"scan_{number:06d}") as folder:
            tallies = write_scan(scan, folder, provenance | used)
            history.write(scan, folder)
        history.add(scan)
    except Exception as error:
        output.record_failure(number, step, error)
        logger.error("scan %d failed in step %s: %s: %s", number, step, type(error).__name__, error)
        logger.debug("scan %d", number, exc_info=True)
        return
    logger.info("%s", _summary(scan, tallies, list(stages)))


def _summary(scan: Scan, tallies: list[Tally], steps: list[str]) -> str:
    """The one line that is logged of a scan."""
    parts = [f"scan {scan.number} {scan.attributes.get('source') or ''}".strip()]
    for band, tally in zip(scan.bands, tallies, strict=True):
        if band.name:
            parts.append(band.name)
        if band.reference is not None:
            parts.append(band.reference.mode)
        if band.atmosphere is not None:
            fit = band.atmosphere.fit
            parts.append(f"PWV {_typical(fit.pwv):.5g} ± {_typical(fit.error):.2g} mm")
        if band.loads is not None:
            good = ~band.loads.solution.bad_channel
            parts.append(f"T_rec {_typical(band.loads.solution.t_rec_ssb[good]):.0f} K SSB")
        if band.calibration is not None:
            good_ons = ~band.calibration.bad_channel
            parts.append(f"T_sys {_typical(band.calibration.t_sys[good_ons]):.0f} K DSB")
            flagged = np.mean(tally.flagged.get("", 0)) / tally.n_samples
            parts.append(f"flagged {100 * flagged:.2f} %")
        if band.loads is not None and band.loads.reason != "own":
            parts.append(f"loads of scan {band.loads.scan_numbers[0]} ({band.loads.reason})")
    done = [step for step in steps if getattr(scan.meta.cal_step, step, "") == "COMPLETE"]
    times = " ".join(f"{s} {1e3 * scan.clock.seconds[s]:.0f}" for s in ("load", *done, "write"))
    return ", ".join(parts) + f"; ms: {times}"


def _typical(values: Any) -> float:
    """Median of the finite values; NaN without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else float("nan")


@contextmanager
def _frozen_garbage() -> Iterator[None]:
    """Keep what was there at the start out of the garbage collections that each step begins with."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _stpipe_in_the_background() -> Iterator[None]:
    """Silence stpipe's lines on each step of each scan, unless debugging was asked for."""
    framework = logging.getLogger("stpipe")
    before = framework.level
    if framework.getEffectiveLevel() > logging.DEBUG:
        framework.setLevel(logging.WARNING)
    try:
        yield
    finally:
        framework.setLevel(before)


def default_output(session: Session) -> Path:
    """Name of the L1 store where none is given."""
    return Path(f"{session.path.name.removesuffix('.zarr')}_l1.zarr")
