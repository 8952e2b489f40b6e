"""Calibrates the observations of an input; one that fails does not stop the rest."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from stpipe.exceptions import StpipeExitException

from cal_pipeline.core.errors import CalibrationError, RunInterruptedError, StoreLockedError
from cal_pipeline.core.observation import Dataset, Growth, History
from cal_pipeline.core.quality import FAIL, SEVERITIES
from cal_pipeline.core.run.follow import Follower
from cal_pipeline.core.run.job import JobResult, Recipe
from cal_pipeline.core.run.log_records import quiet_stpipe
from cal_pipeline.core.run.progress import RunProgress
from cal_pipeline.core.run.progress_bar import progress_bar
from cal_pipeline.core.run.resume import Resumption
from cal_pipeline.core.run.run_record import RunRecord, RunRecordError
from cal_pipeline.core.run.signals import exposed, shielded
from cal_pipeline.core.run.workers import NO_EARLIER, Earlier, Workforce
from cal_pipeline.core.store.output import OutputStore, discard_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key
from cal_pipeline.core.store.verify import WitnessedStorePath
from cal_pipeline.core.text import format_count, format_ranges

logger = logging.getLogger(__name__)


class RunFailedError(CalibrationError, StpipeExitException):  # type: ignore[misc]
    """Not all observations of an input could be calibrated.

    Attributes
    ----------
    product : Product or None
        The product; None where an older one was left in its place.
    failures : list of dict
        Observations that could not be calibrated: number, ``step``, ``error_class``, ``message``.
    exit_status : int
        1 if no observation could be calibrated, 2 if some could.
    """

    def __init__(self, exit_status: int, message: str, product: Any, failures: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(exit_status, message)
        self.exit_status = exit_status
        self.message = message
        self.product = product
        self.failures = list(failures)

    def __str__(self) -> str:
        return self.message


def calibrate_observations(
    dataset: Dataset,
    numbers: list[Key],
    recipe: Recipe,
    output: OutputStore,
    workforce: Workforce,
    show_timing: bool = False,
    resumption: Resumption | None = None,
    follower: Follower | None = None,
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
        The product, which the caller closes.
    workforce : Workforce
        Workforce that calibrates the observations.
    show_timing : bool
        Whether to log the time spent in each stage of an observation.
    resumption : Resumption, optional
        Results of earlier runs, of a run that resumes.
    follower : Follower, optional
        Watcher of an input that is still being written, which finds the observations to calibrate.

    Returns
    -------
    Product
        As `recipe` opens it; None if nothing came of an input that was followed.

    Raises
    ------
    RunFailedError
        At the end, if an observation could not be calibrated.
    RunRecordError
        At the end, if observations are done, but what describes the run could not be written.
    RunInterruptedError
        After a KeyboardInterrupt; finished observations are kept.
    StoreLockedError
        If another run has taken the product over.
    """
    began, noun, is_empty = time.monotonic(), output.kind.noun, False
    kept = resumption.kept if resumption else set()
    tally = RunTally(set(numbers) | kept, noun, done=set(kept), kept=set(kept), participle=output.kind.participle)
    record = RunRecord(output, tally.n_asked, recipe.parameters_sha256())
    try:
        record.begin()
        with quiet_stpipe, progress_bar(tally.n_asked, f"{noun}s") as progress, closing(workforce):
            publisher = _Publisher(output, tally, recipe, show_timing, resumption)
            run = _Run(recipe, output, workforce, tally, record, publisher, progress)
            if follower is None:
                run.process(dataset, numbers, resumption.earlier if resumption else NO_EARLIER)
            else:
                run.follow(follower, resumption.earlier if resumption else NO_EARLIER)
        # The record says "finished" once the product it is in is what the record says.
        _leave_what_belongs(output, tally, resumption)
        record.end(is_finished=output.product is output.root or not tally.unwritten)
        if follower is not None and not tally.asked and not output.published():
            output.discard()
            is_empty = True
        else:
            _refuse_to_swap(output, tally, record)
            output.finish([output.kind.group_name(number) for number in tally.done])
    except BaseException as error:
        _end_early(output, tally, record, recipe)
        if isinstance(error, KeyboardInterrupt):
            raise RunInterruptedError(_describe_kept(output, tally)) from error
        raise
    finally:
        if resumption is not None:
            logger.info("%s", resumption)
    if follower is not None and is_empty:
        return _end_without_any(output, follower)
    product = _open_finished(output, tally, recipe)
    n_failed = len(output.failures)
    failed = f", {n_failed} failed" if n_failed else ""
    logger.info("%s%s in %.0f s: %s", tally, failed, time.monotonic() - began, output.root)
    if follower is not None and tally.done:
        logger.info("a run with resume afterwards redoes the %ss that later ones change", noun)
    described = [_try_to(recipe.finish_product, product)]
    described += [_try_to(recipe.write_report, product)] if recipe.report else []
    unrecorded = [error for error in (record.unsaved, output.unsaved, *described) if error]
    others = resumption.numbers_to_leave(tally.done) if resumption else set()
    _judge(tally, output, product, unrecorded, others)
    return product


def _end_without_any(output: OutputStore, follower: Follower) -> None:
    """End a run that followed an input in which nothing came.

    Raises
    ------
    RunFailedError
        If following ended by its timeout, not by the user.
    """
    if follower.has_timed_out:
        raise RunFailedError(1, f"no {output.kind.noun} came in {follower.root} before follow_timeout", None)


def _open_finished(output: OutputStore, tally: RunTally, recipe: Recipe) -> Any:
    """Open the product at the end of a run, for the comparison with what was asked for.

    Raises
    ------
    RunRecordError
        If it cannot be opened, as where the store is away by then, and an observation is done.
    """
    try:
        return recipe.open_product(output.root.name)
    except CalibrationError as error:
        if not tally.done:
            raise
        raise RunRecordError(f"{tally}, but what is in {output.root} cannot be judged: {error}", None) from error


def _refuse_to_swap(output: OutputStore, tally: RunTally, record: RunRecord) -> None:
    """Leave an older product in place if the new one lacks what a disk or server did not take.

    Raises
    ------
    RunFailedError
        If so. Staging keeps the finished observations for a run that resumes.
    """
    if output.product is output.root or not tally.done or not output.failures:
        return
    unsaved = output.unsaved or record.unsaved
    if tally.unwritten:
        cause = f"{tally.noun} {format_ranges(sorted(tally.unwritten))} could not be written"
    elif unsaved:
        failed = format_count(len(output.failures), tally.noun)
        cause = f"{failed} could not be {tally.participle} and the record of that not be written ({unsaved})"
    else:
        return
    raise RunFailedError(
        1,
        f"{cause}, so {output.root} is left as it was; {len(tally.done)} of {format_count(tally.n_asked, tally.noun)} "
        f"finished and kept in {output.product}; give resume=True to go on",
        None,
        output.failures,
    )


def _leave_what_belongs(output: OutputStore, tally: RunTally, resumption: Resumption | None) -> None:
    """Remove what does not belong in a product that is written in place."""
    numbers = tally.done if resumption is None else resumption.numbers_to_leave(tally.done)
    output.keep_only([output.kind.group_name(number) for number in numbers])
    if resumption is not None and tally.done:
        output.renew_root()


def _end_early(output: OutputStore, tally: RunTally, record: RunRecord, recipe: Recipe) -> None:
    """Record that a run has ended early; errors are logged, for none may hide the cause of the end."""
    try:
        output.lock.ensure_held(again=True)
        record.end(is_finished=False)
        if not tally.done and not output.failures:
            # An error before the first observation leaves no store that looks like the product of a run.
            output.discard()
        elif output.product is output.root:
            _try_to(recipe.finish_product, recipe.open_product(output.root.name))
    except Exception as error:
        logger.error("the end of the run could not be recorded in %s: %s", output.root, error)


def _try_to(complete: Callable[[Any], None], product: Any) -> Exception | None:
    """Complete the product or describe it; return the error if that fails, for the observations are done."""
    try:
        complete(product)
    except Exception as error:
        # The text of a fault in a library, such as a missing key, says nothing without its kind.
        is_told = isinstance(error, (CalibrationError, OSError))
        told = error if is_told else CalibrationError(f"{type(error).__name__}: {error}")
        logger.error("%s", told)
        logger.debug("%s", product, exc_info=True)
        return told
    return None


def _judge(
    tally: RunTally,
    output: OutputStore,
    product: Any,
    unrecorded: list[Exception],
    others_allowed: set[Key],
) -> None:
    """Compare the observations in the store with those asked for; raise unless they are the same.

    Raises
    ------
    RunFailedError
        If they are not.
    RunRecordError
        If something that describes the run could not be written, and an observation is done.
    """
    noun, found = tally.noun, set(product.numbers)
    failed = {failure[output.kind.number_key] for failure in output.failures}
    asked = format_count(tally.n_asked, noun)
    problems = []
    if failed:
        where = f"see {output.root}/{output.kind.failures_file}"
        if not output.keeps_records:
            where = f"{output.failures[0]['message']}"
        elif found and not tally.done:
            first = output.failures[0]
            step = f" in step {first['step']}" if "step" in first else ""
            cause = f"{noun} {first[output.kind.number_key]}{step}: {first['message']}"
            where = f"{output.root} is left as it was; the first was {cause}"
        problems.append(f"{len(failed)} of {asked} could not be {tally.participle}; {where}")
    if lost := sorted(tally.done - found):
        problems.append(f"{noun} {format_ranges(lost)} was {tally.participle}, and is not in {output.root}")
    if tally.done and (others := sorted(found - tally.done - others_allowed)):
        foreign = f"{noun} {format_ranges(others)}, which this run did not {output.kind.verb}"
        problems.append(f"{output.root} also holds {foreign}")
    if unrecorded and tally.done:
        unwritten = "; ".join(str(error) for error in unrecorded)
        raise RunRecordError(
            "; ".join([f"{tally}, but what describes the run is not written: {unwritten}", *problems]), product
        )
    if problems:
        raise RunFailedError(2 if tally.done else 1, "; ".join(problems), product, output.failures)


@dataclass
class RunTally:
    """Observations of a run by verdict.

    Parameters
    ----------
    asked : set of int
        Observations to calibrate.
    noun : str
        Name of an observation.
    done : set of int
        Observations in the product.
    unwritten : set of int
        Observations that failed because the product could not be written.
    verdicts : dict
        Verdicts of the observations in the product, by number.
    kept : set of int
        Observations of `done` that an earlier run calibrated.
    participle : str
        Word for those in the product, such as ``"calibrated"``.
    """

    asked: set[Key]
    noun: str
    done: set[Key] = field(default_factory=set)
    unwritten: set[Key] = field(default_factory=set)
    verdicts: dict[Key, str] = field(default_factory=dict)
    kept: set[Key] = field(default_factory=set)
    participle: str = "calibrated"

    @property
    def n_asked(self) -> int:
        """Number of observations to calibrate."""
        return len(self.asked)

    def note_done(self, result: JobResult) -> None:
        """Count an observation that is in the product; one that is done again counts once."""
        self.done.add(result.number)
        self.unwritten.discard(result.number)
        self.verdicts[result.number] = result.verdict
        if result.kept_in:
            self.kept.add(result.number)
        else:
            self.kept.discard(result.number)

    def __str__(self) -> str:
        number_of = Counter(self.verdicts.values())
        counts = [f"{number_of[verdict]} {verdict}" for verdict in SEVERITIES if number_of[verdict]]
        done = f"{format_count(len(self.done) - len(self.kept), self.noun)} {self.participle}"
        done += f", {len(self.kept)} kept" if self.kept else ""
        return f"{done} ({', '.join(counts)})" if counts else done


def _describe_kept(output: OutputStore, tally: RunTally) -> str:
    """Describe the observations kept by an interrupted run."""
    n_failed, noun = len(output.failures), tally.noun
    replaces = output.product is not output.root
    if not tally.done and not n_failed:
        left = f"{output.root} is left as it was" if output.root.exists("zarr.json") else "no store is left"
        return f"interrupted before the first {noun} was finished; {left}"
    others = f", {n_failed} failed" if n_failed else ""
    kept = f"interrupted; {len(tally.done)} of {format_count(tally.n_asked, noun)} finished and kept in"
    return f"{kept} {output.product}{others}" + (f"; {output.root} is left as it was" if replaces else "")


@dataclass
class _Run:
    """A run in progress.

    Parameters
    ----------
    recipe, output, workforce, tally, record : object
        Its parts, as in :func:`calibrate_observations`.
    publisher : _Publisher
        Publisher of the results.
    progress : RunProgress
        Progress that is shown.
    """

    recipe: Recipe
    output: OutputStore
    workforce: Workforce
    tally: RunTally
    record: RunRecord
    publisher: _Publisher
    progress: RunProgress
    follower: Follower | None = None

    def process(
        self, dataset: Dataset, numbers: list[Key], earlier: Earlier = NO_EARLIER, growth: Growth | None = None
    ) -> None:
        """Calibrate observations and publish them."""
        ordered = dataset.in_order_of_time(numbers)
        self.publisher.expect(ordered)
        self._work(dataset, ordered, earlier, growth)
        if self.publisher.outdated:
            self._work(dataset, list(self.publisher.outdated), NO_EARLIER, growth)
            self.publisher.outdated.clear()

    def _work(self, dataset: Dataset, numbers: list[Key], earlier: Earlier, growth: Growth | None) -> None:
        more = {} if growth is None else {"growth": growth}
        jobs = self.workforce.calibrate(dataset, numbers, self.recipe, self.output, earlier, **more)
        # Closed before the output is: workers that are not done end, and write no more.
        with closing(jobs) as results, exposed():
            for result in results:
                with shielded():
                    self.publisher.receive(result)
                    if self.follower is not None:
                        self.follower.note(result.number, result.failed_in)
                    self.record.update(len(self.tally.done), len(self.output.failures))
                self.progress(result, self._counts())

    def _counts(self) -> tuple[int, int]:
        return len(self.tally.done), len(self.output.failures)

    def follow(self, follower: Follower, earlier: Earlier) -> None:
        """Calibrate the observations of an input that is still being written, as they get complete."""
        self.follower = follower
        for batch in follower.batches(self.progress.wait):
            self.recipe.note_chosen_files(batch.dataset, batch.numbers)
            self.tally.asked.update(batch.numbers)
            self.record.ask(self.tally.n_asked, self.recipe.parameters_sha256())
            self.progress.expect(self.tally.n_asked)
            # Taken up once: one that has changed since is processed again.
            known = {number: earlier[number] for number in batch.numbers if number in earlier}
            earlier = {number: products for number, products in earlier.items() if number not in known}
            self.process(batch.dataset, batch.numbers, known, batch.growth)
            self._replace_early()

    def _replace_early(self) -> None:
        """Put a product that replaces another in its place once it holds something, for readers meanwhile."""
        output, tally = self.output, self.tally
        if output.product is not output.root and tally.done and not tally.unwritten and not output.leftovers:
            output.finish([output.kind.group_name(number) for number in tally.done])


class _Publisher:
    """Publisher of observations in order of completion, or in time order if they carry data to compare."""

    def __init__(
        self,
        output: OutputStore,
        tally: RunTally,
        recipe: Recipe,
        show_timing: bool,
        resumption: Resumption | None,
    ) -> None:
        self._output, self._tally, self._show_timing, self._verify = output, tally, show_timing, recipe.verify
        self._history, self._resumption = recipe.start_history(), resumption
        self._waiting: dict[Key, JobResult] = {}
        self._order: deque[Key] = deque()
        self.outdated: dict[Key, History] = {}
        """Memory to process observations with that would have been kept, were they compared with the same others."""

    def expect(self, ordered: list[Key]) -> None:
        """Expect further observations, in this order."""
        self._order.extend(ordered)

    def receive(self, result: JobResult) -> None:
        """Publish an observation; one that carries data to compare waits for all earlier ones."""
        if result.carried is None or result.number in self.outdated:
            self._publish(result)
            result = JobResult(result.number)
        self._waiting[result.number] = result
        while self._order and self._order[0] in self._waiting:
            turn = self._waiting.pop(self._order.popleft())
            if turn.carried is not None and not (turn.kept_in and self._is_outdated(turn)):
                self._publish(turn)

    def _is_outdated(self, result: JobResult) -> bool:
        """Tell whether an observation of an earlier run was compared with others than now; it is then redone."""
        product = self._find_leftover(result.kept_in) or self._output.product
        group = product.child(self._output.kind.group_name(result.number))
        try:
            if self._history.is_current(result.carried, group):
                return False
        except Exception:  # what cannot be compared is made anew
            logger.debug("%s", group, exc_info=True)
        self.outdated[result.number] = self._history.copy()
        self._remember(result)
        return True

    def _publish(self, result: JobResult) -> None:
        if not result.failed_in:
            self._try_to_publish(result)
        if result.failed_in:
            if result.unwritten:
                self._tally.unwritten.add(result.number)
            self._tell_of_failure(result)
        else:
            self._output.forget_failure(result.number)
            if result.entry:
                self._output.entries[result.number] = result.entry
            is_again = result.number in self._tally.done
            self._tally.note_done(result)
            if result.number not in self.outdated and not is_again:
                self._remember(result)
            self._tell(result)

    def _tell_of_failure(self, result: JobResult) -> None:
        """Record a failure, and log it; one that is as it was at an earlier attempt only for debugging."""
        kind, before = self._output.kind, self._output.forget_failure(result.number)
        where = result.file if kind.ledger else result.failed_in
        self._output.record_failure(result.number, where, result.error_class, result.message)
        is_known = before is not None and before["message"] == result.message
        failure = (result.number, "" if kind.ledger else f" in step {result.failed_in}", result.error_class)
        level = logging.DEBUG if is_known else logging.ERROR
        logger.log(level, f"{kind.noun} %s failed%s: %s: %s", *failure, result.message)
        logger.debug("%s", result.traceback)

    def _tell(self, result: JobResult) -> None:
        """Log what was done, and count it among what was taken up."""
        if self._resumption is not None:
            reasons = ("other references",) if result.number in self.outdated else result.reasons
            self._resumption.note(result.number, reasons, bool(result.kept_in))
        if not result.kept_in:
            logger.log(logging.WARNING if result.verdict == FAIL else logging.INFO, "%s", result.summary)
            if self._show_timing:
                logger.info("%s", result.timing)

    def _remember(self, result: JobResult) -> None:
        """Keep what later observations are compared with; an error of that is no reason to end the run."""
        if result.carried is None:
            return
        try:
            self._history.add(result.carried)
        except Exception as error:
            noun = self._output.kind.noun
            logger.warning(f"later {noun}s are not compared with {noun} %s: %r", result.number, error)

    def _try_to_publish(self, result: JobResult) -> None:
        """Publish an observation; note in `result` why that was not possible."""
        name = self._output.kind.group_name(result.number)
        try:
            if result.kept_in:
                self._keep(result.kept_in, name)
            else:
                changed = self._complete(result, self._output.staging_of(name))
                self._output.publish(name, changed)
        except StoreLockedError:
            raise
        except Exception as error:
            discard_group(self._output.staging_of(name))
            result.failed_in, result.error_class, result.message = (
                "write",
                type(error).__name__,
                str(error) or repr(error),
            )
            result.unwritten = True
            logger.debug("%s", name, exc_info=True)

    def _keep(self, product: str, name: str) -> None:
        """Take up an observation of an earlier run, if it is not in its place."""
        leftover = self._find_leftover(product)
        if leftover is not None:
            self._output.adopt(leftover, name)

    def _find_leftover(self, name: str) -> StorePath | None:
        return next((left for left in self._output.leftovers if left.name == name), None)

    def _complete(self, result: JobResult, staged: StorePath) -> bool:
        """Write what follows from other observations; return whether there is any."""
        if result.carried is None:
            return False
        history = self.outdated.get(result.number, self._history)
        if not self._verify:
            return history.complete(result.carried, staged)
        place = WitnessedStorePath(staged)
        changed = history.complete(result.carried, place)
        if changed:
            staged.make_durable()
            place.verify()
        return changed
