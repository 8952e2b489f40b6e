"""Jobs of a run, and the order in which workers take them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from cal_pipeline.core.observation import Growth
from cal_pipeline.core.store.product import Key


@dataclass(frozen=True)
class Job:
    """An observation for a worker.

    Parameters
    ----------
    input, output : str
        Input and product.
    number : int
        Number of the observation.
    recipe : bytes
        The recipe, pickled; the same bytes for all jobs of a run.
    threads : int
        Threads that read, calibrate and write blocks.
    run : str
        Id of the run, part of the staging path; workers reuse opened objects within one run only.
    process : str
        Id of the process that started the run.
    earlier : tuple of str
        Products of earlier runs that hold the observation.
    growth : Growth or None
        State of an input that is still being written.
    """

    input: str
    output: str
    number: Key
    recipe: bytes
    threads: int
    run: str = ""
    process: str = ""
    earlier: tuple[str, ...] = ()
    growth: Growth | None = None


class JobQueue:
    """Queue of jobs in time order, with a limit on how far a job may overtake an unfinished one.

    Data to compare are kept until all earlier observations are done. The limit bounds their number
    even when one observation takes long.

    Parameters
    ----------
    jobs : list of Job
        The jobs.
    ahead : int
        Largest distance from the first unfinished job in the queue; may be changed during a run.
    together : int
        Number of consecutive jobs that one worker should take, since neighbours read the same loads.
    """

    def __init__(self, jobs: list[Job], ahead: int, together: int = 1) -> None:
        self.ahead, self._together = ahead, together
        self._waiting = deque(jobs)
        self._position = {job.number: position for position, job in enumerate(jobs)}
        self._running: set[Key] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._running)

    def next(self, last: Key | None = None) -> Job | None:
        """Take the next job to start; None if there is none at present.

        Parameters
        ----------
        last : int, optional
            The job that the same worker did last; those that belong together with it come first.
        """
        if not self._waiting:
            return None
        first = min(self._position[number] for number in (*self._running, self._waiting[0].number))
        near = [
            job for job in islice(self._waiting, self.ahead + 1) if self._position[job.number] <= first + self.ahead
        ]
        if not near:
            return None
        # Workers that last may come from another queue.
        own = self._group(last) if last in self._position else None
        others = {self._group(number) for number in self._running}
        job = min(near, key=lambda job: (self._group(job.number) != own, self._group(job.number) in others))
        self._waiting.remove(job)
        self._running.add(job.number)
        return job

    def _group(self, number: Key) -> int:
        return self._position[number] // self._together

    def done(self, number: Key) -> None:
        """Mark a job as done."""
        self._running.remove(number)

    def again(self, job: Job) -> None:
        """Requeue a job at the front."""
        self._running.remove(job.number)
        self._waiting.appendleft(job)

    def unfinished(self) -> list[Key]:
        """List the numbers of unfinished observations, in queue order."""
        left = self._running.union(job.number for job in self._waiting)
        return sorted(left, key=lambda number: self._position[number])
