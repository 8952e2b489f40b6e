"""Runs without steps: observations of which a plan tells beforehand how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cal_pipeline.core.observation import Dataset, History, Lacks, WrittenObservation
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.run.job import Prepared
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key, Product, ProductKind
from cal_pipeline.core.store.records import ObservationRecord


@dataclass
class PlannedObservation:
    """Observation with its plan; it passes through no steps.

    Parameters
    ----------
    number : int
        Number of the observation.
    plan : object
        Its plan.
    n_samples : int
        Number of its samples.
    """

    number: Key
    plan: Any
    n_samples: int
    meta: Any = None
    clock: StageClock = field(default_factory=StageClock)

    def get_crds_parameters(self) -> dict[str, Any]:
        """Return no keys: no parameter file is chosen."""
        return {}


@dataclass
class PlannedDataset:
    """Input of which all observations were planned.

    Parameters
    ----------
    root : StorePath
        The product, as the input is no store.
    path : str
        Name of the input, which is added to messages that lack it; empty for files that they name.
    times : mapping
        Time of each observation, by number.
    """

    root: StorePath
    path: str
    times: Mapping[Key, float]

    def describe(self, number: Key) -> None:
        """Return None: no parameter file is chosen."""

    def in_order_of_time(self, numbers: list[Key]) -> list[Key]:
        """Sort observations by time; those of unknown time are last."""
        return sorted(numbers, key=lambda number: (self.times.get(number, float("inf")), number))


class PlannedRecipe:
    """Recipe of observations that are written as planned, without steps, parameters, history or report.

    A family derives its own, which opens, writes and reads observations. Such a run has one process
    and an input that is complete.

    Parameters
    ----------
    kind : ProductKind
        Kind of the product.
    sha256 : str
        Digest of the rules that the plans were made with.
    """

    input_key = "input"
    verify = False
    report = False
    inputs_chosen_by = ""

    def __init__(self, kind: ProductKind, sha256: str) -> None:
        self.product_kind = kind
        self._sha256 = sha256

    def open_input(self, location: str) -> Dataset:
        """Refuse: the input is planned before the run, in its process.

        Raises
        ------
        TypeError
            Always.
        """
        self._refuse("opens no input")

    def check_growing(self, root: StorePath) -> None:
        """Refuse an input that is still being written."""
        self._refuse("follows no input")

    def open_growing(self, location: str, complete: Sequence[Key]) -> Dataset:
        """Refuse an input that is still being written."""
        self._refuse("follows no input")

    def select_complete(self, dataset: Any, numbers: Sequence[Key]) -> list[Key]:
        """Return all observations: those that are planned are complete."""
        return list(numbers)

    def note_chosen_files(self, dataset: Any, numbers: Sequence[Key]) -> None:
        """Do nothing: no parameter files are chosen."""

    def find_lacks(self, root: StorePath, number: Key) -> Lacks:
        """Return nothing: what is planned is complete."""
        return Lacks()

    def open_observation(self, dataset: Any, number: Key) -> Any:
        """Return an observation with its plan, or raise the reason why there is none."""
        self._refuse(f"does not say how a {self.product_kind.noun} is opened")

    def prepare_for(self, observation: Any) -> Prepared:
        """Return no steps."""
        return Prepared({}, {})

    def write_observation(self, observation: Any, root: StorePath, provenance: dict[str, Any]) -> WrittenObservation:
        """Write an observation as planned, unpublished."""
        self._refuse(f"does not say how a {self.product_kind.noun} is written")

    def may_carry(self) -> bool:
        """Return False: nothing is compared with earlier observations."""
        return False

    def carry(self, observation: Any) -> None:
        """Return None: nothing is compared with earlier observations."""

    def find_changes(self, observation: Any, records: Sequence[ObservationRecord]) -> list[str]:
        """Return nothing: which observations are kept is decided before the run."""
        return []

    def describe_timing(self, observation: Any) -> str:
        """Format a log line with the time spent in each stage."""
        times = " ".join(f"{stage}_ms={1e3 * time:.1f}" for stage, time in observation.clock.seconds.items())
        return f"timing of {self.product_kind.noun} {observation.number}: {times}"

    def start_history(self) -> History:
        """Make a memory that keeps nothing."""
        return History()

    def open_product(self, location: str) -> Product:
        """Open the product."""
        self._refuse("does not say how its product is opened")

    def finish_product(self, product: Any) -> None:
        """Do nothing: the product is complete."""

    def write_report(self, product: Any) -> None:
        """Do nothing: no report is made."""

    def parameters_sha256(self) -> str:
        """Return the digest of the rules that the plans were made with."""
        return self._sha256

    def _refuse(self, reason: str) -> NoReturn:
        raise TypeError(f"{type(self).__name__} {reason}")
