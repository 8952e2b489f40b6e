"""Calibrates the scans of a session; one that fails does not stop the rest."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from stpipe.exceptions import StpipeExitException

from cal_pipeline.engine.history import SkyHistory
from cal_pipeline.engine.progress import progress_bar
from cal_pipeline.engine.records import quiet_stpipe
from cal_pipeline.engine.scan_job import Outcome, Recipe
from cal_pipeline.engine.store import OutputStore
from cal_pipeline.engine.workers import Workforce
from cal_pipeline.models.l1 import CalibratedSession
from cal_pipeline.models.locations import is_url
from cal_pipeline.models.session import Session
from cal_pipeline.report.quality_table import write_quality_table

logger = logging.getLogger(__name__)


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
    session: Session, numbers: list[int], recipe: Recipe, output: OutputStore, workforce: Workforce
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
    workforce : Workforce
        Who does it.

    Returns
    -------
    CalibratedSession

    Raises
    ------
    RunFailedError
        At the end, if a scan could not be calibrated.
    """
    ordered = session.in_order_of_time(numbers)
    try:
        with quiet_stpipe, progress_bar(len(numbers)) as advance:
            publisher = _Publisher(output, ordered)
            for outcome in workforce.calibrate(session, ordered, recipe, output):
                publisher.take(outcome)
                advance()
    finally:
        output.close()
    product = CalibratedSession(output.place.name)
    write_quality_table(product)
    n_failed = len(output.failures)
    if n_failed:
        message = f"{n_failed} of {len(numbers)} scans could not be calibrated; see {output.place}/failures.json"
        raise RunFailedError(1 if n_failed == len(numbers) else 2, message, product)
    logger.info("%d scans calibrated: %s", len(numbers), output.place)
    return product


class _Publisher:
    """Publishes scans as they come in; those whose skies are compared in the order of time, whoever calibrated them."""

    def __init__(self, output: OutputStore, ordered: list[int]) -> None:
        self._output = output
        self._waiting: dict[int, Outcome] = {}
        self._next = iter(ordered)
        self._turn = next(self._next, None)
        self._history = SkyHistory()

    def take(self, outcome: Outcome) -> None:
        """Publish a scan, once all before it have come in if its skies are to be compared with theirs."""
        if not outcome.skies:
            self._publish(outcome)
            outcome = Outcome(outcome.number)
        self._waiting[outcome.number] = outcome
        while self._turn in self._waiting:
            turn = self._waiting.pop(self._turn)
            if turn.skies:
                self._publish(turn)
            self._turn = next(self._next, None)

    def _publish(self, outcome: Outcome) -> None:
        if not outcome.failed_in:
            self._try_to_publish(outcome)
        if outcome.failed_in:
            self._output.record_failure(outcome.number, outcome.failed_in, outcome.error_class, outcome.message)
            failure = (outcome.number, outcome.failed_in, outcome.error_class, outcome.message)
            logger.error("scan %d failed in step %s: %s: %s", *failure)
            logger.debug("%s", outcome.traceback)
        else:
            self._history.add(outcome.skies)
            logger.info("%s", outcome.summary)

    def _try_to_publish(self, outcome: Outcome) -> None:
        """Let a scan be seen; note in `outcome` why that was not possible."""
        name = f"scan_{outcome.number:06d}"
        try:
            hidden = self._output.hidden(name)
            changed = bool(outcome.skies) and self._history.write(outcome.skies, hidden)
            self._output.publish(name, changed)
        except Exception as error:
            self._output.hidden(name).remove()
            outcome.failed_in, outcome.error_class, outcome.message = (
                "write",
                type(error).__name__,
                str(error) or repr(error),
            )
            logger.debug("scan %d", outcome.number, exc_info=True)


def default_output(session: Session) -> str:
    """Name of the L1 store where none is given."""
    name = session.path.rsplit("/", 1)[-1] if is_url(session.path) else Path(session.path).name
    stem = re.sub(r"(\.zarr)?(\.zip)?$", "", name, flags=re.IGNORECASE)
    return f"{stem}_l1.zarr"
