"""Calibrates the observations of an input; one that fails does not stop the rest."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from stpipe.exceptions import StpipeExitException

from cal_pipeline.core.errors import CalibrationError, RunInterruptedError
from cal_pipeline.core.observation import Dataset, History
from cal_pipeline.core.quality import FAIL, SEVERITIES
from cal_pipeline.core.run.job import JobResult, Recipe
from cal_pipeline.core.run.log_records import quiet_stpipe
from cal_pipeline.core.run.progress import progress_bar
from cal_pipeline.core.run.signals import exposed, shielded
from cal_pipeline.core.run.workers import Workforce
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.text import format_count

logger = logging.getLogger(__name__)


class RunFailedError(CalibrationError, StpipeExitException):  # type: ignore[misc]
    """Not all observations of an input could be calibrated.

    Attributes
    ----------
    product : Product
        The product.
    exit_status : int
        1 if no observation could be calibrated, 2 if some could.
    """

    def __init__(self, exit_status: int, message: str, product: Any) -> None:
        super().__init__(exit_status, message)
        self.message = message
        self.product = product

    def __str__(self) -> str:
        return self.message


def calibrate_observations(
    dataset: Dataset,
    numbers: list[int],
    recipe: Recipe,
    output: OutputStore,
    workforce: Workforce,
    show_timing: bool = False,
) -> Any:
    """Calibrate observations of an input and write them.

    Parameters
    ----------
    dataset : Dataset
        The input.
    numbers : list of int
        Observations to calibrate.
    recipe : Recipe
        Steps and parameters, and what the family does with its data.
    output : OutputStore
        The product.
    workforce : Workforce
        Workforce that calibrates the observations.
    show_timing : bool
        Whether to log the time spent in each stage of an observation.

    Returns
    -------
    Product
        As `recipe` opens it.

    Raises
    ------
    RunFailedError
        At the end, if an observation could not be calibrated.
    RunInterruptedError
        After a KeyboardInterrupt; finished observations are kept.
    """
    began, noun = time.monotonic(), output.kind.noun
    tally = RunTally(len(numbers), noun)
    try:
        ordered = dataset.in_order_of_time(numbers)
        with quiet_stpipe, progress_bar(len(numbers), f"{noun}s") as advance:
            publisher = _Publisher(output, ordered, tally, recipe.start_history(), show_timing)
            # Closed before the output is: workers that are not done end, and write no more.
            with closing(workforce.calibrate(dataset, ordered, recipe, output)) as results, exposed():
                for result in results:
                    with shielded():
                        publisher.receive(result)
                    advance()
    except KeyboardInterrupt as interrupt:
        raise RunInterruptedError(_describe_kept(output, tally)) from interrupt
    finally:
        output.close()
        if not tally.verdicts and not output.failures:
            # An error before the first observation leaves no store that looks like the product of a run.
            output.discard()
        else:
            recipe.finish_product(recipe.open_product(output.root.name))
    product = recipe.open_product(output.root.name)
    n_failed = len(output.failures)
    failed = f", {n_failed} failed" if n_failed else ""
    logger.info("%s%s in %.0f s: %s", tally, failed, time.monotonic() - began, output.root)
    if n_failed:
        asked = format_count(len(numbers), noun)
        message = f"{n_failed} of {asked} could not be calibrated; see {output.root}/failures.json"
        raise RunFailedError(1 if n_failed == len(numbers) else 2, message, product)
    return product


@dataclass
class RunTally:
    """Observations of a run by verdict.

    Parameters
    ----------
    n_asked : int
        Number of observations to calibrate.
    noun : str
        Name of an observation.
    verdicts : Counter
        Number of observations in the product, by verdict.
    """

    n_asked: int
    noun: str
    verdicts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = [f"{self.verdicts[verdict]} {verdict}" for verdict in SEVERITIES if self.verdicts[verdict]]
        done = f"{format_count(self.verdicts.total(), self.noun)} calibrated"
        return f"{done} ({', '.join(counts)})" if counts else done


def _describe_kept(output: OutputStore, tally: RunTally) -> str:
    """Describe the observations kept by an interrupted run."""
    done, failed = tally.verdicts.total(), len(output.failures)
    if not done and not failed:
        return f"interrupted before the first {tally.noun} was finished; no store is left"
    others = f", {failed} failed" if failed else ""
    return (
        f"interrupted; {done} of {format_count(tally.n_asked, tally.noun)} finished and kept in {output.root}{others}"
    )


class _Publisher:
    """Publisher of observations in order of completion, or in time order if they carry data to compare."""

    def __init__(
        self, output: OutputStore, ordered: list[int], tally: RunTally, history: History, show_timing: bool
    ) -> None:
        self._output, self._tally, self._history, self._show_timing = output, tally, history, show_timing
        self._waiting: dict[int, JobResult] = {}
        self._next = iter(ordered)
        self._turn = next(self._next, None)

    def receive(self, result: JobResult) -> None:
        """Publish an observation; one that carries data to compare waits for all earlier ones."""
        if result.carried is None:
            self._publish(result)
            result = JobResult(result.number)
        self._waiting[result.number] = result
        while self._turn in self._waiting:
            turn = self._waiting.pop(self._turn)
            if turn.carried is not None:
                self._publish(turn)
            self._turn = next(self._next, None)

    def _publish(self, result: JobResult) -> None:
        if not result.failed_in:
            self._try_to_publish(result)
        if result.failed_in:
            self._output.record_failure(result.number, result.failed_in, result.error_class, result.message)
            failure = (result.number, result.failed_in, result.error_class, result.message)
            logger.error(f"{self._output.kind.noun} %d failed in step %s: %s: %s", *failure)
            logger.debug("%s", result.traceback)
        else:
            if result.carried is not None:
                self._history.add(result.carried)
            self._tally.verdicts[result.verdict] += 1
            logger.log(logging.WARNING if result.verdict == FAIL else logging.INFO, "%s", result.summary)
            if self._show_timing:
                logger.info("%s", result.timing)

    def _try_to_publish(self, result: JobResult) -> None:
        """Publish an observation; note in `result` why that was not possible."""
        name = self._output.kind.group_name(result.number)
        try:
            staged = self._output.staging_of(name)
            changed = result.carried is not None and self._history.complete(result.carried, staged)
            self._output.publish(name, changed)
        except Exception as error:
            self._output.staging_of(name).remove()
            result.failed_in, result.error_class, result.message = (
                "write",
                type(error).__name__,
                str(error) or repr(error),
            )
            logger.debug("%s", name, exc_info=True)
