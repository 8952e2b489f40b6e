"""Workforce of this process: observations one after the other, large ones overlapping."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from cal_pipeline.core.observation import Dataset, Growth
from cal_pipeline.core.run.garbage import few_collections, keep_collections_short
from cal_pipeline.core.run.job import JobResult, ProcessedObservation, Recipe, write_processed
from cal_pipeline.core.run.signals import check_interruption
from cal_pipeline.core.run.threads import FEW_SAMPLES, BlockThreads, limit_blas_threads, short_turns
from cal_pipeline.core.run.workers import NO_EARLIER, Earlier, JobResults, begin_observation
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.store.product import Key

IN_WORK = 2
"""Large observations that are in work at a time: two keep the cores busy, and take the memory of two."""


@dataclass(frozen=True)
class ThisProcess:
    """Workforce of this process alone.

    Small observations are processed one after the other. Of large ones, two are in work at a time:
    while one is opened, fitted, judged or fsynced, the threads work on the samples of the other.

    Parameters
    ----------
    threads : int or None
        Threads that read, calibrate and write blocks; one per core if not given. With 1,
        observations do not overlap either.
    """

    threads: int | None = None

    def check(self) -> None:
        """Do nothing: this process can always calibrate."""

    def close(self) -> None:
        """Do nothing: no process was started."""

    def calibrate(
        self,
        dataset: Dataset,
        numbers: list[Key],
        recipe: Recipe,
        output: OutputStore,
        earlier: Earlier = NO_EARLIER,
        growth: Growth | None = None,
    ) -> JobResults:
        """Calibrate observations and yield their results in the order of `numbers`."""
        with (
            few_collections,
            short_turns,
            limit_blas_threads(),
            BlockThreads(self.threads) as threads,
            _ending(threads) as pool,
        ):
            line = _Line(dataset, recipe, output, earlier, threads, pool)
            for result in line.process(numbers):
                yield result
                keep_collections_short()


@contextmanager
def _ending(threads: BlockThreads) -> Iterator[ThreadPoolExecutor]:
    """Make threads for observations, which end at once when the block is left: what they had in work is discarded."""
    with ThreadPoolExecutor(IN_WORK, thread_name_prefix="observation") as pool:
        try:
            yield pool
        finally:
            threads.stop()
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass
class _Line:
    """Observations on their way from the input to the product.

    Parameters
    ----------
    dataset, recipe, output, earlier : object
        As in :meth:`ThisProcess.calibrate`.
    threads : BlockThreads
        Threads for the samples of all observations.
    pool : Executor
        Threads for large observations.
    """

    dataset: Dataset
    recipe: Recipe
    output: OutputStore
    earlier: Earlier
    threads: BlockThreads
    pool: ThreadPoolExecutor
    _steps: threading.Lock = field(default_factory=threading.Lock)
    """Held while steps are applied: two observations share them."""

    def process(self, numbers: Sequence[Key]) -> Iterator[JobResult]:
        """Process observations and yield their results in this order."""
        rest, in_work, is_large = deque(numbers), deque[Future[tuple[JobResult, bool]]](), False
        while rest or in_work:
            check_interruption()
            if not in_work:
                processed = self._begin(rest.popleft())
                is_large = self._is_large(processed)
                if not is_large:
                    yield self._end(processed)
                    continue
                in_work.append(self.pool.submit(self._finish, processed))
                # Else it would stay in memory as long as the others are processed.
                del processed
            while rest and is_large and len(in_work) < IN_WORK:
                in_work.append(self.pool.submit(self._work_on, rest.popleft()))
            result, is_large = in_work.popleft().result()
            yield result

    def _work_on(self, number: Key) -> tuple[JobResult, bool]:
        """Process one observation; also return whether it is a large one."""
        with self._steps:
            processed = self._begin(number)
        return self._finish(processed)

    def _finish(self, processed: ProcessedObservation) -> tuple[JobResult, bool]:
        return self._end(processed), self._is_large(processed)

    def _begin(self, number: Key) -> ProcessedObservation:
        return self.threads.run(begin_observation, self.dataset, number, self.recipe, self.earlier.get(number, ()))

    def _end(self, processed: ProcessedObservation) -> JobResult:
        place = self.output.staging_of(self.output.kind.group_name(processed.number))
        return self.threads.run(write_processed, processed, place, self.recipe)

    def _is_large(self, processed: ProcessedObservation) -> bool:
        return self.threads.number > 1 and processed.n_samples >= FEW_SAMPLES
