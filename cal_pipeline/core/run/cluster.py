"""Calibration of observations on a Dask cluster, whose workers may come and go."""

from __future__ import annotations

import logging
import pkgutil
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.observation import Dataset, Growth
from cal_pipeline.core.run.job import JobResult, Recipe
from cal_pipeline.core.run.job_queue import Job, JobQueue
from cal_pipeline.core.run.signals import check_interruption
from cal_pipeline.core.run.workers import (
    AHEAD,
    ATTEMPTS,
    NO_EARLIER,
    Earlier,
    JobResults,
    calibrate_observation,
    make_jobs,
)
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.store.product import Key

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Interval of the message about missing workers, and timeout for an answer of the scheduler [s]."""

_POLLING = 0.25
"""Polling interval for the workers of a cluster [s]."""

_AT_ONCE = 10**6
"""Priority of the version query, above the jobs of any run."""


class ClusterError(CalibrationError):
    """A Dask cluster cannot be reached, or its workers cannot calibrate."""


@dataclass(frozen=True)
class DaskCluster:
    """Workforce on a running Dask cluster.

    Every worker is asked for its version of this package before it gets a job, including workers
    that join during the run. The thread count of the cluster is updated while jobs are running.

    Parameters
    ----------
    scheduler : str
        Its address, such as ``tcp://head:8786``.
    threads : int or None
        Threads that each job may use; 1 if not given, because workers of a
        cluster have threads of their own.
    """

    scheduler: str
    threads: int | None = None

    def check(self) -> None:
        """Reach the scheduler and ask the workers that are there for their versions.

        Raises
        ------
        ClusterError
            If the scheduler does not answer, or a worker lacks this package or has another version.
        """
        with self._connect() as client:
            workers = _Workers(client, self.scheduler, SimpleQueue())
            workers.refresh()
            workers.wait_for_answers()

    def calibrate(
        self,
        dataset: Dataset,
        numbers: list[Key],
        recipe: Recipe,
        output: OutputStore,
        earlier: Earlier = NO_EARLIER,
        growth: Growth | None = None,
    ) -> JobResults:
        """Calibrate observations on the cluster and yield their results as they complete."""
        jobs = JobQueue(make_jobs(dataset, numbers, recipe, output, self.threads or 1, earlier, growth), AHEAD)
        with self._connect() as client:
            events: SimpleQueue[Any] = SimpleQueue()
            noun = output.kind.noun
            workers = _Workers(client, self.scheduler, events, noun)
            workers.wait_for_first()
            yield from _Dispatch(client, workers, jobs, events, noun).results()

    def close(self) -> None:
        """Do nothing: the cluster is the user's."""

    def _connect(self) -> Any:
        """Connect to the scheduler, without becoming the default client of the program."""
        try:
            from distributed import Client
        except ImportError as error:
            raise CalibrationError(
                f"scheduler={self.scheduler} needs dask.distributed: pip install 'cal_pipeline[distributed]'"
            ) from error
        try:
            return Client(self.scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(
                f"no scheduler answers at {self.scheduler} ({' '.join(str(error).split())}); "
                "expected the address of a Dask scheduler that is running, as tcp://host:8786"
            ) from error


class _Workers:
    """Workers of a cluster and their fitness to calibrate.

    Parameters
    ----------
    client : distributed.Client
        Connection to the scheduler.
    scheduler : str
        Its address.
    events : SimpleQueue
        Queue that announces the answers of workers.
    noun : str
        Name of an observation.
    """

    def __init__(self, client: Any, scheduler: str, events: SimpleQueue[Any], noun: str = "observation") -> None:
        self._client, self._scheduler, self._events, self._noun = client, scheduler, events, noun
        self._asked: dict[str, Any] = {}
        self._found: dict[str, str] = {}
        self._last_warning = float("-inf")
        self._threads: dict[str, int] = {}
        self._dummy: Any = None
        self._refreshed = float("-inf")

    def refresh(self) -> None:
        """Update the workers and ask new ones for their version, at most four times a second."""
        if time.monotonic() - self._refreshed < _POLLING:
            return
        try:
            self._threads = dict(self._client.nthreads())
        except (OSError, CancelledError, TimeoutError) as error:
            raise ClusterError(f"the scheduler at {self._scheduler} is gone: {error}") from error
        self._refreshed = time.monotonic()
        for gone in self._asked.keys() - self._threads.keys():
            self._asked.pop(gone).cancel()
        for gone in self._found.keys() - self._threads.keys():
            del self._found[gone]
        for address in self._threads.keys() - self._asked.keys() - self._found.keys():
            self._asked[address] = self._query_version(address)
        self._request_worker()

    def _request_worker(self) -> None:
        """Submit a dummy task without workers, since an adaptive cluster starts none otherwise."""
        if self._threads:
            self._dummy = None
        elif self._dummy is None:
            self._dummy = self._client.submit(int, pure=False)

    def _query_version(self, address: str) -> Any:
        # A function of the standard library: one of this package would not arrive where that is absent.
        answer = self._client.submit(
            pkgutil.resolve_name,
            "cal_pipeline._version:__version__",
            workers=[address],
            allow_other_workers=False,
            pure=False,
            priority=_AT_ONCE,
            retries=0,
        )
        answer.add_done_callback(self._events.put)
        return answer

    def collect_answers(self) -> list[str]:
        """Take what workers have answered; addresses of those that cannot calibrate and are new."""
        unfit = []
        for address, future in list(self._asked.items()):
            if not future.done():
                continue
            del self._asked[address]
            try:
                found = str(future.result())
            except CancelledError:
                continue
            except Exception as error:
                found = f"cannot import cal_pipeline ({type(error).__name__}: {error})"
            self._found[address] = found
            if found != __version__:
                unfit.append(address)
        return unfit

    def wait_for_answers(self) -> None:
        """Wait until all workers have answered.

        Raises
        ------
        ClusterError
            If one of them lacks this package or has another version.
        """
        while self._asked:
            self._pause()
            self.refresh()
            unfit = self.collect_answers()
            if unfit:
                raise ClusterError(
                    f"workers at {self._scheduler} cannot calibrate: {self._describe(unfit)}; "
                    f"expected cal_pipeline {__version__}, as here, in the environment of every worker"
                )
            self.warn_if_waiting()

    def wait_for_first(self) -> None:
        """Wait for a first worker and for the answers of all present workers; log long waits."""
        self.refresh()
        self.wait_for_answers()
        while not self.fit():
            self.warn_if_waiting()
            self._pause()
            self.refresh()
            self.wait_for_answers()

    def _pause(self) -> None:
        try:
            self._events.get(timeout=_POLLING)
        except Empty:
            return

    def warn_if_waiting(self) -> None:
        """Warn now and then that no worker can take jobs."""
        if self.fit():
            self._last_warning = float("-inf")
        elif time.monotonic() - self._last_warning >= PATIENCE:
            self._last_warning = time.monotonic()
            if self._asked:
                logger.warning("%d workers at %s have not answered yet; waiting", len(self._asked), self._scheduler)
            elif self._found:
                reason = self._describe(list(self._found))
                logger.warning("no workers at %s that can calibrate (%s); waiting", self._scheduler, reason)
            else:
                logger.warning("no workers at %s yet; waiting for them, Ctrl-C ends it", self._scheduler)

    def _describe(self, addresses: list[str]) -> str:
        """Name workers and what they have; five at most."""
        some = [
            f"{address} {found if found.startswith('cannot') else f'has version {found}'}"
            for address, found in ((address, self._found[address]) for address in sorted(addresses)[:5])
        ]
        more = len(addresses) - len(some)
        return ", ".join(some) + (f" and {more} more" if more else "")

    def leave_out(self, unfit: list[str]) -> None:
        """Warn that workers which joined during the run get no jobs."""
        if unfit:
            logger.warning(
                f"workers that came get no {self._noun}s: %s; expected %s", self._describe(unfit), __version__
            )

    def fit(self) -> list[str]:
        """List the addresses of the workers that can calibrate."""
        return [address for address, found in self._found.items() if found == __version__]

    def n_threads(self) -> int:
        """Count the threads of the workers that can calibrate."""
        return sum(self._threads.get(address, 0) for address in self.fit())


@dataclass
class _Dispatch:
    """Jobs on their way through a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connection to the scheduler.
    workers : _Workers
        Workers of the cluster.
    jobs : JobQueue
        Jobs that are left.
    events : SimpleQueue
        Queue that announces finished futures.
    noun : str
        Name of an observation.
    """

    client: Any
    workers: _Workers
    jobs: JobQueue
    events: SimpleQueue[Any]
    noun: str
    running: dict[str, tuple[Any, Job, frozenset[str]]] = field(default_factory=dict)
    """Future, job and the workers that may do it, by key."""

    def results(self) -> Iterator[JobResult]:
        """Submit jobs as threads allow, and yield the result of each."""
        while self.jobs:
            check_interruption()
            self.workers.refresh()
            self.workers.leave_out(self.workers.collect_answers())
            self.workers.warn_if_waiting()
            self._requeue_orphans()
            self._submit()
            try:
                done = self.events.get(timeout=_POLLING)
            except Empty:
                continue
            if done.key in self.running:
                future, job, _ = self.running.pop(done.key)
                if future.cancelled():
                    raise ClusterError(f"the cluster has cancelled a {self.noun}; is its scheduler gone?")
                self.jobs.done(job.number)
                yield _result_of(future, job.number)
                future.release()

    def _submit(self) -> None:
        """Submit two jobs a thread, so that none waits for its next one."""
        fit = self.workers.fit()
        n_threads = self.workers.n_threads()
        self.jobs.ahead = AHEAD * max(n_threads, 1)
        while len(self.running) < 2 * n_threads and (job := self.jobs.next()) is not None:
            future = self.client.submit(
                calibrate_observation, job, workers=fit, allow_other_workers=False, pure=False, retries=ATTEMPTS - 1
            )
            self.running[future.key] = future, job, frozenset(fit)
            future.add_done_callback(self.events.put)

    def _requeue_orphans(self) -> None:
        """Requeue jobs without any worker left, since the scheduler would hold them forever."""
        fit = set(self.workers.fit())
        for key, (future, job, allowed) in reversed(list(self.running.items())):
            if not allowed & fit and not future.done():
                del self.running[key]
                future.cancel()
                self.jobs.again(job)


def _result_of(future: Any, number: Key) -> JobResult:
    """Return the result of a job on the cluster; dead workers count as a failure of the observation."""
    try:
        report = future.result()
    except Exception as error:
        return JobResult(number, "write", type(error).__name__, str(error) or repr(error))
    report.log_again()
    result: JobResult = report.result
    return result
