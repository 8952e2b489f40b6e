"""Observations and the inputs that hold them, as the framework sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key


class Observation(Protocol):
    """Unit of work: what passes through the steps and is written as a whole, such as a scan.

    Attributes
    ----------
    number : int
        Number, unique within the input.
    meta : object
        File name (``filename``) and status of the steps (``cal_step``), for stpipe.
    clock : StageClock
        Time per stage.
    n_samples : int
        Number of samples to process.
    """

    number: Key
    meta: Any
    clock: StageClock

    @property
    def n_samples(self) -> int:
        """Number of samples to process."""

    def get_crds_parameters(self) -> dict[str, Any]:
        """Return the keys for the choice of parameter and reference files."""


class Dataset(Protocol):
    """Input with numbered observations.

    Attributes
    ----------
    root : StorePath
        The store.
    path : str
        Name of the store.
    """

    root: StorePath
    path: str

    def describe(self, number: Key) -> Mapping[str, Any] | None:
        """Return the keys for the choice of parameter files; None if unreadable."""

    def in_order_of_time(self, numbers: list[Key]) -> list[Key]:
        """Sort observations by time; unreadable ones are last."""


@dataclass(frozen=True)
class WrittenObservation:
    """Observation that was written, but is not published yet.

    Parameters
    ----------
    summary : str
        Log line.
    verdict : str
        Quality verdict.
    values : mapping
        Values by name for the live view of a run, with their units, such as ``{"PWV": "0.52 mm"}``.
    n_bytes : int
        Size of its samples in the input, decoded [B].
    entry : mapping
        Entry of the ledger, ready for JSON, for a kind of product that has one.
    """

    summary: str
    verdict: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    n_bytes: int = 0
    entry: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Growth:
    """State of an input that is still being written.

    Parameters
    ----------
    complete : tuple of int
        Numbers of the observations that are complete, ascending; others are not looked at.
    batch : int
        Number of the batch of observations that is processed. The input is opened anew for each.
    """

    complete: tuple[Key, ...]
    batch: int


@dataclass(frozen=True)
class Lacks:
    """Parts that an observation of an input lacks, which may still be written.

    Parameters
    ----------
    fault : str
        Reason why it cannot be processed as it is; empty without any.
    doubt : str
        Parts that may be absent for good, such as chunks of missing samples; empty without any.
    """

    fault: str = ""
    doubt: str = ""


class History:
    """Memory of a run over its observations, which are completed in the order of time.

    This one remembers nothing; a family that compares observations with earlier ones has its own.
    """

    def complete(self, carried: Any, root: StorePath, /) -> bool:
        """Complete an observation before it is published; return whether anything was written."""
        return False

    def is_current(self, carried: Any, root: StorePath, /) -> bool:
        """Tell whether an observation of an earlier run would be completed now as it was then."""
        return True

    def add(self, carried: Any, /) -> None:
        """Remember an observation that was published."""

    def copy(self) -> History:
        """Return the memory as it is now, which later observations do not change."""
        return self
