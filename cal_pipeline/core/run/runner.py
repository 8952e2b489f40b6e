"""Calibrates the scans of a session; one that fails does not stop the rest."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stpipe.exceptions import StpipeExitException

from cal_pipeline.core.errors import CalibrationError, RunInterruptedError
from cal_pipeline.core.quality import FAIL, SEVERITIES
from cal_pipeline.core.run.job import JobResult, Recipe
from cal_pipeline.core.run.log_records import quiet_stpipe
from cal_pipeline.core.run.progress import progress_bar
from cal_pipeline.core.run.workers import Workforce
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.text import count_of
from cal_pipeline.heterodyne.history import SkyHistory
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.report.quality_table import write_quality_table

logger = logging.getLogger(__name__)


class RunFailedError(CalibrationError, StpipeExitException):  # type: ignore[misc]
    """Not all scans of a session could be calibrated.

    Attributes
    ----------
    product : CalibratedSession
        The L1 store.
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
    workforce: Workforce,
    show_timing: bool = False,
) -> CalibratedSession:
    """Calibrate scans of a session and write them.

    Parameters
    ----------
    session : Session
        L0.
    numbers : list of int
        Scans to calibrate.
    recipe : Recipe
        Steps and parameters.
    output : OutputStore
        L1.
    workforce : Workforce
        Workforce that calibrates the scans.
    show_timing : bool
        Whether to log the time spent in each stage of a scan.

    Returns
    -------
    CalibratedSession

    Raises
    ------
    RunFailedError
        At the end, if a scan could not be calibrated.
    RunInterruptedError
        After a KeyboardInterrupt; finished scans are kept.
    """
    began = time.monotonic()
    tally = RunTally(len(numbers))
    try:
        ordered = session.in_order_of_time(numbers)
        with quiet_stpipe, progress_bar(len(numbers)) as advance:
            publisher = _Publisher(output, ordered, tally, show_timing)
            # Closed before the output is: workers that are not done end, and write no more.
            with closing(workforce.calibrate(session, ordered, recipe, output)) as outcomes:
                for outcome in outcomes:
                    publisher.receive(outcome)
                    advance()
    except KeyboardInterrupt as interrupt:
        raise RunInterruptedError(_describe_kept(output, tally)) from interrupt
    finally:
        output.close()
        if not tally.verdicts and not output.failures:
            # An error before the first scan leaves no store that looks like the product of a run.
            output.discard()
        else:
            write_quality_table(CalibratedSession(output.root.name))
    product = CalibratedSession(output.root.name)
    n_failed = len(output.failures)
    failed = f", {n_failed} failed" if n_failed else ""
    logger.info("%s%s in %.0f s: %s", tally, failed, time.monotonic() - began, output.root)
    if n_failed:
        message = (
            f"{n_failed} of {count_of(len(numbers), 'scan')} could not be calibrated; see {output.root}/failures.json"
        )
        raise RunFailedError(1 if n_failed == len(numbers) else 2, message, product)
    return product


@dataclass
class RunTally:
    """Scans of a run by verdict.

    Parameters
    ----------
    n_asked : int
        Number of scans to calibrate.
    verdicts : Counter
        Number of scans in the product, by verdict.
    """

    n_asked: int
    verdicts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = [f"{self.verdicts[verdict]} {verdict}" for verdict in SEVERITIES if self.verdicts[verdict]]
        done = f"{count_of(self.verdicts.total(), 'scan')} calibrated"
        return f"{done} ({', '.join(counts)})" if counts else done


def _describe_kept(output: OutputStore, tally: RunTally) -> str:
    """Describe the scans kept by an interrupted run."""
    done, failed = tally.verdicts.total(), len(output.failures)
    if not done and not failed:
        return "interrupted before the first scan was finished; no store is left"
    others = f", {failed} failed" if failed else ""
    return f"interrupted; {done} of {count_of(tally.n_asked, 'scan')} finished and kept in {output.root}{others}"


class _Publisher:
    """Publisher of scans in order of completion, or in time order if their skies are compared."""

    def __init__(self, output: OutputStore, ordered: list[int], tally: RunTally, show_timing: bool) -> None:
        self._output, self._tally, self._show_timing = output, tally, show_timing
        self._waiting: dict[int, JobResult] = {}
        self._next = iter(ordered)
        self._turn = next(self._next, None)
        self._history = SkyHistory()

    def receive(self, outcome: JobResult) -> None:
        """Publish a scan; one with skies to compare waits for all earlier scans."""
        if not outcome.skies:
            self._publish(outcome)
            outcome = JobResult(outcome.number)
        self._waiting[outcome.number] = outcome
        while self._turn in self._waiting:
            turn = self._waiting.pop(self._turn)
            if turn.skies:
                self._publish(turn)
            self._turn = next(self._next, None)

    def _publish(self, outcome: JobResult) -> None:
        if not outcome.failed_in:
            self._try_to_publish(outcome)
        if outcome.failed_in:
            self._output.record_failure(outcome.number, outcome.failed_in, outcome.error_class, outcome.message)
            failure = (outcome.number, outcome.failed_in, outcome.error_class, outcome.message)
            logger.error("scan %d failed in step %s: %s: %s", *failure)
            logger.debug("%s", outcome.traceback)
        else:
            self._history.add(outcome.skies)
            self._tally.verdicts[outcome.verdict] += 1
            logger.log(logging.WARNING if outcome.verdict == FAIL else logging.INFO, "%s", outcome.summary)
            if self._show_timing:
                logger.info("%s", outcome.timing)

    def _try_to_publish(self, outcome: JobResult) -> None:
        """Let a scan be seen; note in `outcome` why that was not possible."""
        name = f"scan_{outcome.number:06d}"
        try:
            staging_of = self._output.staging_of(name)
            changed = bool(outcome.skies) and self._history.write(outcome.skies, staging_of)
            self._output.publish(name, changed)
        except Exception as error:
            self._output.staging_of(name).remove()
            outcome.failed_in, outcome.error_class, outcome.message = (
                "write",
                type(error).__name__,
                str(error) or repr(error),
            )
            logger.debug("scan %d", outcome.number, exc_info=True)


def default_output(session: Session) -> str:
    """Return the default name of the L1 store."""
    name = session.path.rsplit("/", 1)[-1] if is_url(session.path) else Path(session.path).name
    stem = re.sub(r"(\.zarr)?(\.zip)?$", "", name, flags=re.IGNORECASE)
    return f"{stem}_l1.zarr"
