"""Workforces that calibrate observations: what each of them does, and worker processes on this machine."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from types import FrameType, MappingProxyType
from typing import Any, Protocol

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.observation import Dataset, Growth
from cal_pipeline.core.run.garbage import few_collections, keep_collections_short
from cal_pipeline.core.run.job import (
    JobResult,
    ProcessedObservation,
    Recipe,
    apply_steps,
    keep_or_apply_steps,
    write_processed,
)
from cal_pipeline.core.run.job_queue import Job, JobQueue
from cal_pipeline.core.run.log_records import Records, log_again, quiet_stpipe, record_logs, this_process
from cal_pipeline.core.run.signals import check_interruption, keyboard_blocked, shielded
from cal_pipeline.core.run.threads import BlockThreads, available_cores, limit_blas_threads, short_turns
from cal_pipeline.core.store.make_output import staging_path
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.output import OutputStore, discard_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key, Product

logger = logging.getLogger(__name__)

AHEAD = 8
"""Number of observations per worker that may overtake a slow one, where they carry data to compare."""

TOGETHER = 32
"""Largest number of consecutive observations that a worker takes: each reads the loads of its neighbours as well."""

_WORKER = "cal_pipeline worker"
"""Name of worker processes."""

_GRACE = 5.0
"""Time for a worker to end after SIGTERM, before it is killed [s]."""

ATTEMPTS = 3
"""Maximum number of attempts for an observation whose worker dies."""


class WorkerDiedError(CalibrationError):
    """The process that calibrated an observation ended, each time that it was tried."""


Earlier = Mapping[Key, Sequence[Product]]
"""Products of earlier runs that hold an observation, by its number."""

NO_EARLIER: Earlier = MappingProxyType({})

JobResults = Generator[JobResult, None, None]
"""Results of observations in the order of completion; closing the generator ends the work."""


class Workforce(Protocol):
    """Calibrator of observations, which writes each to its staging path."""

    def check(self) -> None:
        """Check, as far as possible before anything is written, that this workforce can work.

        Raises
        ------
        CalibrationError
            If it cannot.
        """

    def calibrate(
        self,
        dataset: Dataset,
        numbers: list[Key],
        recipe: Recipe,
        output: OutputStore,
        earlier: Earlier = NO_EARLIER,
        growth: Growth | None = None,
    ) -> JobResults:
        """Calibrate observations and yield their results as they complete.

        `growth` is the state of an input that is still being written; None for one that is complete.
        """

    def close(self) -> None:
        """End processes that were kept for further calls."""


def begin_observation(
    dataset: Dataset, number: Key, recipe: Recipe, earlier: Sequence[Product]
) -> ProcessedObservation:
    """Apply the steps to an observation, unless one of an earlier run is kept."""
    if not earlier:
        return apply_steps(dataset, number, recipe)
    return keep_or_apply_steps(dataset, number, recipe, earlier)


@dataclass
class Report:
    """Report of a worker on a job.

    Parameters
    ----------
    result : JobResult
        Result of the observation.
    records : list of tuple
        Log records of the job: logger, level, message.
    """

    result: JobResult
    records: Records = field(default_factory=list)

    def log_again(self) -> None:
        """Repeat the log records of the worker in this process."""
        log_again(self.records)


class NoProcessesError(CalibrationError):
    """A process that may not start others is to start workers."""


class RecipeNotReadError(CalibrationError):
    """A worker cannot make the pipeline that it was sent."""


class RecipeNotSentError(CalibrationError):
    """The pipeline cannot be sent to workers."""


@dataclass
class _Opened:
    """Objects opened by a thread of a worker for a run.

    Parameters
    ----------
    key : tuple
        Cache key: the run, input, product, the recipe, the number of threads and the state of the input.
    dataset : Dataset
        The input.
    output : StorePath
        The product.
    recipe : Recipe
        Steps and parameters.
    threads : BlockThreads
        Threads for blocks.
    """

    key: tuple[Any, ...]
    dataset: Dataset
    output: StorePath
    recipe: Recipe
    threads: BlockThreads
    products: dict[str, Product] = field(default_factory=dict)
    """Products of earlier runs, by name."""

    def earlier(self, job: Job) -> list[Product]:
        """Open the products of earlier runs that hold an observation."""
        for name in job.earlier:
            if name not in self.products:
                self.products[name] = self.recipe.open_product(name)
        return [self.products[name] for name in job.earlier]


_known = threading.local()
"""Thread-local cache of the objects opened by a thread of a worker."""


def _opened(job: Job) -> _Opened:
    """Open what a job needs, once for all jobs of a run."""
    key = (job.run, job.input, job.output, job.recipe, job.threads, job.growth)
    known: _Opened | None = getattr(_known, "opened", None)
    if known is None or known.key != key or not job.run:
        _known.opened = None
        recipe = _read_recipe(job.recipe)
        output = open_store(job.output, write=True)
        dataset = _open_input(recipe, job)
        known = _known.opened = _Opened(key, dataset, output, recipe, BlockThreads(job.threads))
    return known


def _open_input(recipe: Recipe, job: Job) -> Dataset:
    if job.growth is None:
        return recipe.open_input(job.input)
    return recipe.open_growing(job.input, job.growth.complete)


def _read_recipe(pickled: bytes) -> Recipe:
    try:
        recipe: Recipe = pickle.loads(pickled)
    except Exception as error:
        raise RecipeNotReadError(
            f"a worker cannot make the pipeline that it was sent: {type(error).__name__}: {error}; "
            "classes and functions that it uses must be importable where the workers run"
        ) from error
    return recipe


def calibrate_observation(job: Job) -> Report:
    """Calibrate an observation and write it to its staging path; runs in a worker.

    Errors outside of the observation, in opening the input or unpickling the recipe, are reported
    as a failure of the observation too.
    """
    with quiet_stpipe, few_collections, short_turns, limit_blas_threads(), record_logs(job.process) as records:
        try:
            known = _opened(job)
            keep_collections_short()
            result = known.threads.run(_calibrate_opened, known, job)
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            result = JobResult(job.number, "load", type(error).__name__, str(error) or repr(error), text)
    return Report(result, records)


def _calibrate_opened(known: _Opened, job: Job) -> JobResult:
    processed = begin_observation(known.dataset, job.number, known.recipe, known.earlier(job))
    name = known.recipe.product_kind.group_name(job.number)
    return write_processed(processed, staging_path(known.output, job.run, name), known.recipe)


def make_jobs(
    dataset: Dataset,
    numbers: list[Key],
    recipe: Recipe,
    output: OutputStore,
    threads: int,
    earlier: Earlier = NO_EARLIER,
    growth: Growth | None = None,
) -> list[Job]:
    """Make the jobs of a run.

    Raises
    ------
    RecipeNotSentError
        If the recipe cannot be pickled.
    """
    try:
        pickled = pickle.dumps(recipe)
    except Exception as error:
        raise RecipeNotSentError(
            f"the pipeline cannot be sent to workers: {type(error).__name__}: {error}; functions and classes that "
            "it uses, such as hooks, must be defined at the top of a module, or calibrate with workers=1"
        ) from error
    names = {number: tuple(product.root.name for product in products) for number, products in earlier.items()}
    place, run = (dataset.path, output.root.name), (output.run, this_process())
    return [Job(*place, number, pickled, threads, *run, names.get(number, ()), growth) for number in numbers]


@dataclass(frozen=True)
class Processes:
    """Workforce of worker processes on this machine; an observation is retried if its worker dies.

    Parameters
    ----------
    number : int
        Number of processes.
    threads : int or None
        Threads per process; the cores are divided among the processes if not given.
    lasting : bool
        Whether processes are kept for further calls of :meth:`calibrate`, until :meth:`close`: they
        take longer to start than a small observation to calibrate.
    """

    number: int
    threads: int | None = None
    lasting: bool = False
    _idle: list[_Worker] = field(default_factory=list, compare=False, repr=False)

    def check(self) -> None:
        """Make sure that this process may start others.

        Raises
        ------
        NoProcessesError
            If it may not.
        """
        this = multiprocessing.current_process()
        if this.daemon:
            raise NoProcessesError(
                f"workers={self.number} cannot be started here: {this.name} is a daemon process (of a "
                "multiprocessing.Pool or a Dask worker), which may start no others; expected workers=1, or a process "
                "that may, as of concurrent.futures.ProcessPoolExecutor"
            )

    def calibrate(
        self,
        dataset: Dataset,
        numbers: list[Key],
        recipe: Recipe,
        output: OutputStore,
        earlier: Earlier = NO_EARLIER,
        growth: Growth | None = None,
    ) -> JobResults:
        """Calibrate observations in worker processes and yield their results as they complete."""
        threads = self.threads or max(available_cores() // self.number, 1)
        jobs = self._queue(make_jobs(dataset, numbers, recipe, output, threads, earlier, growth), recipe.may_carry())
        attempts: dict[Key, int] = {}
        kind = output.kind
        workers: list[_Worker] = []
        try:
            with shielded():
                n_needed = min(self.number, len(numbers))
                workers += [self._idle.pop() for _ in range(min(n_needed, len(self._idle)))]
                workers += [_Worker() for _ in range(n_needed - len(workers))]
            while jobs:
                check_interruption()
                for worker in workers:
                    worker.start_next(jobs)
                for worker in _ready(workers):
                    job = worker.job
                    report = worker.report()
                    if report is not None:
                        jobs.done(report.result.number)
                        # It works on while the result is published.
                        worker.start_next(jobs)
                        report.log_again()
                        yield report.result
                    elif job is not None:
                        attempts[job.number] = attempts.get(job.number, 0) + 1
                        if worker.never_began:
                            # Other workers would fail likewise, since all are started alike.
                            yield from _give_up(jobs, job, worker)
                            return
                        workers[workers.index(worker)] = _Worker()
                        if attempts[job.number] < ATTEMPTS:
                            logger.warning(f"{kind.noun} %s: its worker died; it is tried again", job.number)
                            jobs.again(job)
                        else:
                            jobs.done(job.number)
                            discard_group(output.staging_of(kind.group_name(job.number)))
                            yield JobResult(
                                job.number, "write", WorkerDiedError.__name__, _obituary(kind.noun, job, worker)
                            )
            if self.lasting:
                self._idle.extend(workers)
                workers = []
        finally:
            with shielded():
                for worker in workers:
                    worker.stop()

    def _queue(self, jobs: list[Job], carries: bool) -> JobQueue:
        """Queue jobs; in smaller groups where data to compare are kept until all earlier ones are done."""
        if carries:
            return JobQueue(jobs, AHEAD * self.number, AHEAD)
        together = min(TOGETHER, -(-len(jobs) // self.number))
        return JobQueue(jobs, together * (self.number + 1), together)

    def close(self) -> None:
        """End processes that were kept."""
        with shielded():
            while self._idle:
                self._idle.pop().stop()


def refuse_in_worker() -> None:
    """Refuse to start a run in a worker: the run would write to the store of its parent run.

    Raises
    ------
    RuntimeError
        In a worker, which gets here by importing the main script of the parent.
    """
    if multiprocessing.current_process().name == _WORKER:
        raise RuntimeError(
            "a worker imports the script it is started from, and this one begins a run when it is imported: "
            "put the call of the pipeline below 'if __name__ == \"__main__\":'"
        )


def _obituary(noun: str, job: Job, worker: _Worker) -> str:
    """Describe the death of a worker, as far as its exit status shows."""
    status = worker.process.exitcode or 0
    many = f"the process that calibrated {noun} {job.number} died {ATTEMPTS} times"
    if status == -signal.SIGKILL:
        return f"{many}, killed by SIGKILL; the system does so where memory is not enough"
    if status < 0:
        return f"{many}, killed by signal {-status} ({_signal_name(-status)}); its standard error may say more"
    return f"{many}, with exit status {status}; it said why on the standard error"


def _signal_name(number: Key) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _give_up(jobs: JobQueue, job: Job, worker: _Worker) -> Iterator[JobResult]:
    """Yield a failure for every unfinished observation, because workers cannot start."""
    message = (
        f"a worker process ended with exit status {worker.process.exitcode} before it began: it imports the script "
        "that the run was started from, which must succeed; it said why on the standard error"
    )
    for number in jobs.unfinished():
        yield JobResult(number, "load", WorkerDiedError.__name__, message)


class _Worker:
    """A process that calibrates observations, one at a time.

    The process is spawned, never forked: threads and codecs do not survive a fork.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other,), daemon=True, name=_WORKER)
        # It unblocks the keyboard when it starts, and the first process would start it.
        resource_tracker.ensure_running()
        with shielded(), keyboard_blocked():
            self.process.start()
        other.close()
        self.job: Job | None = None
        self.last: Key | None = None
        self._began = False

    @property
    def never_began(self) -> bool:
        """Tell whether the process failed during startup, neither by a job nor by a signal."""
        return not self._began and (self.process.exitcode or 0) > 0

    def start_next(self, jobs: JobQueue) -> None:
        """Send the next job to the worker if it has none, and if there is one at present."""
        job = jobs.next(self.last) if self.job is None else None
        if job is not None:
            self.start(job)

    def start(self, job: Job) -> None:
        """Send a job to the worker."""
        self.job, self.last = job, job.number
        try:
            self.connection.send(job)
        except OSError:
            logger.debug("a worker had ended before it got job %s", job.number)

    def report(self) -> Report | None:
        """Receive the report on the current job; None if the worker died."""
        self.job = None
        try:
            report: Report = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None
        return report

    def only_began(self) -> bool:
        """Consume the first message; True if the worker has sent nothing else yet."""
        if not self._began:
            try:
                self._began = self.connection.recv() == _BEGUN
            except (EOFError, OSError):
                return False
            return not self.connection.poll()
        return False

    def _has_told(self) -> bool:
        try:
            return self.connection.poll()
        except OSError:
            return False

    def stop(self) -> None:
        """End the worker."""
        # A worker that has not begun cannot answer SIGTERM; the closed connection ends the worker.
        if self.job is not None and (self._began or self._has_told()):
            self.process.terminate()
        self.connection.close()
        self.process.join(None if self.job is None else _GRACE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Wait for, and return, workers that have a message or have died."""
    busy = {worker.connection: worker for worker in workers if worker.job is not None}
    ready = [busy[connection] for connection in multiprocessing.connection.wait(list(busy))]  # type: ignore[index]
    return [worker for worker in ready if not worker.only_began()]


_BEGUN = "begun"
"""First message of a worker."""


def _die(number: Key, _frame: FrameType | None) -> None:
    """End this worker at once by a signal, after releasing its semaphores.

    Python would warn about leaked semaphores at the end of the run. An exception would not do: one
    raised in a finaliser is lost.
    """
    # One signal may come from the system to all processes of a run, and one from the run itself.
    signal.signal(number, signal.SIG_IGN)
    with suppress(Exception):
        multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _die_with_parent() -> None:
    """End this worker as soon as its parent is gone, so that no orphan writes to a store of a later run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    with suppress(Exception):
        multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    os._exit(1)


def _work(connection: Any) -> None:
    """Process jobs until the connection closes; main function of a worker process."""
    signal.signal(signal.SIGTERM, _die)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    try:
        connection.send(_BEGUN)
        while True:
            connection.send(calibrate_observation(connection.recv()))
    except (OSError, EOFError, KeyboardInterrupt):
        connection.close()
