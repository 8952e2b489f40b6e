"""Workforce of this process: observations one after the other, large ones overlapping."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from cal_pipeline.core.observation import Dataset, Growth
from cal_pipeline.core.run.garbage import few_collections, keep_collections_short
from cal_pipeline.core.run.heap import share_heap
from cal_pipeline.core.run.job import JobResult, ProcessedObservation, Recipe, write_processed
from cal_pipeline.core.run.signals import check_interruption
from cal_pipeline.core.run.threads import FEW_SAMPLES, BlockThreads, limit_blas_threads, short_turns
from cal_pipeline.core.run.workers import AHEAD, NO_EARLIER, Earlier, JobResults, begin_observation
from cal_pipeline.core.store.output import OutputStore, discard_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key

IN_WORK = 2
"""Large observations that are in work at a time: two keep the cores busy, and take the memory of two."""


@dataclass(frozen=True)
class ThisProcess:
    """Workforce of this process alone.

    Small observations are processed one after the other. Of large ones, two are in work at a time:
    while one is opened, fitted, judged or fsynced, the threads work on the samples of the other.
    Results come as they complete.

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
        """Calibrate observations and yield their results as they complete.

        Up to eight may overtake a slow large one; small ones alone keep the order of `numbers`.
        """
        with (
            few_collections,
            short_turns,
            limit_blas_threads(),
            BlockThreads(self.threads) as threads,
            _Line(dataset, recipe, output, earlier, threads) as line,
        ):
            if threads.number > 1:
                share_heap()
            for result in line.process(numbers):
                yield result
                keep_collections_short()


@dataclass
class _Line:
    """Observations on their way from the input to the product.

    Use it as a context manager: at its end nothing is in work any more.

    Parameters
    ----------
    dataset, recipe, output, earlier : object
        As in :meth:`ThisProcess.calibrate`.
    threads : BlockThreads
        Threads for the samples of all observations.
    """

    dataset: Dataset
    recipe: Recipe
    output: OutputStore
    earlier: Earlier
    threads: BlockThreads
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(IN_WORK, thread_name_prefix="observation")
    )
    _in_work: dict[Future[tuple[JobResult, bool]], int] = field(default_factory=dict)
    """Large observations whose results were not handed over, and their positions, in this order."""
    _steps: threading.Lock = field(default_factory=threading.Lock)
    """Held while steps are applied: two observations share them."""

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what is in work, and discard what was finished meanwhile: nobody would publish it."""
        self.threads.stop()
        self._pool.shutdown(cancel_futures=True)
        for future in self._in_work:
            if future.cancelled() or future.exception() is not None:
                continue
            result = future.result()[0]
            # In an object store the place of an observation that is kept is the one that it has in the product.
            if not result.kept_in and not result.failed_in:
                discard_group(self._place_of(result.number))

    def process(self, numbers: Sequence[Key]) -> Iterator[JobResult]:
        """Process observations and yield their results as they complete."""
        in_work, next_one, is_large = self._in_work, 0, False
        while next_one < len(numbers) or in_work:
            check_interruption()
            if not in_work:
                processed = self._begin(numbers[next_one])
                is_large = self._is_large(processed)
                if not is_large:
                    next_one += 1
                    yield self._end(processed)
                    continue
                in_work[self._pool.submit(self._finish, processed)] = next_one
                next_one += 1
                # Else it would stay in memory as long as the others are processed.
                del processed
            while is_large and len(in_work) < IN_WORK and next_one < min(len(numbers), self._first + AHEAD + 1):
                in_work[self._pool.submit(self._work_on, numbers[next_one])] = next_one
                next_one += 1
            done = self._wait_for_one()
            # Taken out once it is there: until then an interruption leaves it to be discarded.
            result, is_large_itself = done.result()
            # One that is overtaken may be a large one still.
            is_large = is_large_itself or in_work[done] > self._first
            del in_work[done]
            yield result

    @property
    def _first(self) -> int:
        """Position of the first observation in work."""
        return next(iter(self._in_work.values()))

    def _wait_for_one(self) -> Future[tuple[JobResult, bool]]:
        """Wait until an observation in work is done; of several the first one."""
        done = wait(self._in_work, return_when=FIRST_COMPLETED).done
        return next(future for future in self._in_work if future in done)

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
        return self.threads.run(write_processed, processed, self._place_of(processed.number), self.recipe)

    def _place_of(self, number: Key) -> StorePath:
        return self.output.staging_of(self.output.kind.group_name(number))

    def _is_large(self, processed: ProcessedObservation) -> bool:
        return self.threads.number > 1 and processed.n_samples >= FEW_SAMPLES
