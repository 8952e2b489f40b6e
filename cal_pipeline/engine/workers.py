"""Who calibrates the scans: this process, further processes of this machine, or a Dask cluster."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import multiprocessing.connection
import pickle
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from cal_pipeline.engine.scan_job import CalibratedScan, Outcome, Recipe, pass_steps, write
from cal_pipeline.engine.store import OutputStore, hidden_place
from cal_pipeline.errors import CalibrationError
from cal_pipeline.models.session import Session
from cal_pipeline.models.threads import FEW_SAMPLES, available_cores, no_other_threads, use_threads

logger = logging.getLogger(__name__)

_SCANS_A_COLLECTION = 100
"""Scans after which garbage that was kept out of collections is collected too."""

_AHEAD = 8
"""Scans for each worker that may be done before one that takes long."""

_WORKER = "cal_pipeline worker"
"""Name of the processes that calibrate scans."""

ATTEMPTS = 3
"""How often a scan is tried whose worker dies."""


class WorkerDiedError(CalibrationError):
    """The process that calibrated a scan ended, each time that it was tried."""


class Workforce(Protocol):
    """Calibrates scans, and writes each to where it can be published."""

    def calibrate(self, session: Session, numbers: list[int], recipe: Recipe, output: OutputStore) -> Iterator[Outcome]:
        """What becomes of each scan, as they are done."""


@dataclass(frozen=True)
class ThisProcess:
    """Calibrates one scan after the other; the next one passes the steps while the spectra of a large one are written.

    Parameters
    ----------
    threads : int or None
        Threads that read, calibrate and write blocks; as many as there are cores if not given. With 1, scans do not
        overlap either.
    """

    threads: int | None = None

    def calibrate(self, session: Session, numbers: list[int], recipe: Recipe, output: OutputStore) -> Iterator[Outcome]:
        """What becomes of each scan, in the order of `numbers`."""
        use_threads(self.threads)
        with no_other_threads(), ThreadPoolExecutor(1, thread_name_prefix="steps") as ahead:
            coming: Future[CalibratedScan] | None = None
            for position, number in enumerate(numbers):
                calibrated = coming.result() if coming else pass_steps(session, number, recipe)
                coming = None
                if position + 1 < len(numbers) and self.threads != 1 and calibrated.n_samples >= FEW_SAMPLES:
                    coming = ahead.submit(pass_steps, session, numbers[position + 1], recipe)
                yield write(calibrated, output.hidden(f"scan_{number:06d}"))
                _keep_collections_short(position)


def _keep_collections_short(scans_done: int) -> None:
    """Keep what there is out of the garbage collection that each step begins with; now and then let it be collected."""
    if scans_done % _SCANS_A_COLLECTION == _SCANS_A_COLLECTION - 1:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Job:
    """A scan for a worker.

    Parameters
    ----------
    session, output : str
        L0 and L1.
    number : int
        Scan number.
    recipe : bytes
        The recipe, pickled; the same bytes for all scans of a run.
    threads : int
        Threads that read, calibrate and write blocks.
    """

    session: str
    output: str
    number: int
    recipe: bytes
    threads: int


@dataclass
class Report:
    """What a worker tells of a job.

    Parameters
    ----------
    outcome : Outcome
        What became of the scan.
    records : list of tuple
        What was logged meanwhile: logger, level, message.
    """

    outcome: Outcome
    records: list[tuple[str, int, str]] = field(default_factory=list)

    def log_again(self) -> None:
        """Log here what was logged there."""
        for name, level, message in self.records:
            logging.getLogger(name).log(level, "%s", message)


_known = threading.local()
"""Session and recipe that a thread of a worker has opened."""


def calibrate_scan(job: Job) -> Report:
    """Calibrate a scan and write it to where it can be published; runs in a worker."""
    use_threads(job.threads)
    key = (job.session, job.recipe)
    if getattr(_known, "key", None) != key:
        _known.session, _known.recipe, _known.key = Session(job.session), pickle.loads(job.recipe), key
        _known.scans_done = 0
    _keep_collections_short(_known.scans_done)
    _known.scans_done += 1
    place = hidden_place(job.output, f"scan_{job.number:06d}")
    with no_other_threads(), _Recorded() as records:
        outcome = write(pass_steps(_known.session, job.number, _known.recipe), place)
    return Report(outcome, records)


class _Recorded(logging.Handler):
    """Notes what is logged by this package within the block."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.name, record.levelno, record.getMessage()))

    def __enter__(self) -> list[tuple[str, int, str]]:
        logging.getLogger("stpipe").setLevel(logging.WARNING)
        logging.getLogger("cal_pipeline").addHandler(self)
        return self.records

    def __exit__(self, *_: object) -> None:
        logging.getLogger("cal_pipeline").removeHandler(self)


def _jobs(session: Session, numbers: list[int], recipe: Recipe, output: OutputStore, threads: int) -> list[Job]:
    pickled = pickle.dumps(recipe)
    return [Job(session.path, output.place.name, number, pickled, threads) for number in numbers]


class JobQueue:
    """Jobs in the order of time; none is handed out that is far ahead of one that is not done.

    Skies of scans wait for those of all scans before; so they are bounded in number, however long one scan takes.

    Parameters
    ----------
    jobs : list of Job
        The jobs.
    ahead : int
        How many places ahead of the first that is not done.
    """

    def __init__(self, jobs: list[Job], ahead: int) -> None:
        self._ahead = ahead
        self._waiting = deque(jobs)
        self._position = {job.number: position for position, job in enumerate(jobs)}
        self._running: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._running)

    def next(self) -> Job | None:
        """A job to start now; None while there is none."""
        first = min((self._position[number] for number in self._running), default=None)
        if not self._waiting or (first is not None and self._position[self._waiting[0].number] > first + self._ahead):
            return None
        job = self._waiting.popleft()
        self._running.add(job.number)
        return job

    def done(self, number: int) -> None:
        """Take note that a job is done."""
        self._running.remove(number)

    def again(self, job: Job) -> None:
        """Take back a job that has to be started again, before all others."""
        self._running.remove(job.number)
        self._waiting.appendleft(job)


@dataclass(frozen=True)
class Processes:
    """Calibrates scans in processes of this machine; one that dies costs a retry of its scan.

    Parameters
    ----------
    number : int
        How many.
    threads : int or None
        Threads of each; the cores are shared out if not given.
    """

    number: int
    threads: int | None = None

    def calibrate(self, session: Session, numbers: list[int], recipe: Recipe, output: OutputStore) -> Iterator[Outcome]:
        """What becomes of each scan, as they are done."""
        threads = self.threads or max(available_cores() // self.number, 1)
        jobs = JobQueue(_jobs(session, numbers, recipe, output, threads), _AHEAD * self.number)
        attempts: dict[int, int] = {}
        workers = [_Worker() for _ in range(min(self.number, len(numbers)))]
        try:
            while jobs:
                for worker in workers:
                    job = jobs.next() if worker.job is None else None
                    if job is not None:
                        worker.start(job)
                for worker in _ready(workers):
                    job = worker.job
                    report = worker.report()
                    if report is not None:
                        jobs.done(report.outcome.number)
                        report.log_again()
                        yield report.outcome
                    elif job is not None:
                        attempts[job.number] = attempts.get(job.number, 0) + 1
                        workers[workers.index(worker)] = _Worker()
                        if attempts[job.number] < ATTEMPTS:
                            logger.warning("scan %d: its worker died; it is tried again", job.number)
                            jobs.again(job)
                        else:
                            jobs.done(job.number)
                            hidden_place(job.output, f"scan_{job.number:06d}").remove()
                            yield _died(job.number)
        finally:
            for worker in workers:
                worker.stop()


def refuse_in_worker() -> None:
    """Refuse to begin a run in a worker: it would write to the store that the worker is to add to.

    Raises
    ------
    RuntimeError
        In a worker, which gets here by importing the script that it was started from.
    """
    if multiprocessing.current_process().name == _WORKER:
        raise RuntimeError(
            "a worker imports the script it is started from, and this one begins a run when it is imported: "
            "put the call of the pipeline below 'if __name__ == \"__main__\":'"
        )


def _died(number: int) -> Outcome:
    message = (
        f"the process that calibrated scan {number} died {ATTEMPTS} times; its memory may not have been enough, "
        "or it said why on the standard error"
    )
    return Outcome(number, "write", WorkerDiedError.__name__, message)


class _Worker:
    """A process that calibrates scans, one at a time. It is never forked: threads and codecs do not survive that."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other,), daemon=True, name=_WORKER)
        self.process.start()
        other.close()
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Give it a job."""
        self.job = job
        try:
            self.connection.send(job)
        except OSError:
            logger.debug("a worker had ended before it got scan %d", job.number)

    def report(self) -> Report | None:
        """What it tells of its job; None if it died."""
        self.job = None
        try:
            report: Report = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None
        return report

    def stop(self) -> None:
        """End it."""
        if self.job is not None:
            self.process.terminate()
        self.connection.close()
        self.process.join()


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Workers that have something to tell, or that died; waits for the first."""
    busy = {worker.connection: worker for worker in workers if worker.job is not None}
    return [busy[connection] for connection in multiprocessing.connection.wait(list(busy))]  # type: ignore[index]


def _work(connection: Any) -> None:
    """Do jobs until there are no more; runs in a process of its own."""
    try:
        while True:
            connection.send(calibrate_scan(connection.recv()))
    except (EOFError, KeyboardInterrupt):
        connection.close()


@dataclass(frozen=True)
class DaskCluster:
    """Calibrates scans on a Dask cluster that is running.

    Parameters
    ----------
    scheduler : str
        Its address, such as ``tcp://head:8786``.
    threads : int or None
        Threads that each scan may use; 1 if not given, as the workers of a cluster have threads of their own.
    """

    scheduler: str
    threads: int | None = None

    def calibrate(self, session: Session, numbers: list[int], recipe: Recipe, output: OutputStore) -> Iterator[Outcome]:
        """What becomes of each scan, as they are done."""
        try:
            from distributed import Client, as_completed
        except ImportError as error:
            raise CalibrationError(
                f"scheduler={self.scheduler} needs dask.distributed: pip install 'cal_pipeline[distributed]'"
            ) from error
        with Client(self.scheduler, timeout="30s") as client:
            n_threads = max(sum(client.nthreads().values()), 1)
            jobs = JobQueue(_jobs(session, numbers, recipe, output, self.threads or 1), _AHEAD * n_threads)
            numbers_of: dict[str, int] = {}
            running = as_completed()

            def submit() -> None:
                while len(numbers_of) < 2 * n_threads and (job := jobs.next()) is not None:
                    future = client.submit(calibrate_scan, job, pure=False, retries=ATTEMPTS - 1)
                    numbers_of[future.key] = job.number
                    running.add(future)

            submit()
            for future in running:
                number = numbers_of.pop(future.key)
                jobs.done(number)
                yield _outcome_of(future, number)
                future.release()
                submit()


def _outcome_of(future: Future[Report], number: int) -> Outcome:
    """What became of a scan on a cluster, also where its workers died."""
    try:
        report = future.result()
    except Exception as error:
        return Outcome(number, "write", type(error).__name__, str(error) or repr(error))
    report.log_again()
    return report.outcome
