"""Work of a worker: one observation from the input to an unpublished, complete group of the product."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError, IncompleteWriteError, InternalError, ReadBackError, StoreError
from cal_pipeline.core.observation import Dataset, History, Lacks, Observation, WrittenObservation
from cal_pipeline.core.run.resume import KEEPS_NONE, NOT_JUDGED, Verdict, judge_earlier
from cal_pipeline.core.store.output import discard_group, finish_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key, Product, ProductKind
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.core.store.verify import WitnessedStorePath

Stages = Mapping[str, Callable[[Any], Any]]
"""Functions applied to an observation, by step name, in processing order."""


_OF_THE_PRODUCT = (OSError, StoreError, IncompleteWriteError, ReadBackError)
"""Errors of writing; those of reading the input are other ones."""


@dataclass(frozen=True)
class Prepared:
    """Steps for an observation.

    Parameters
    ----------
    provenance : dict
        Provenance of their parameters, ready for JSON.
    stages : mapping
        Functions to apply to the observation, by step name, in processing order.
    repeats : bool
        Whether they are applied to observations as well that are kept of an earlier run: others are
        compared with them, or steps write files.
    """

    provenance: dict[str, Any]
    stages: Stages
    repeats: bool = False


class Recipe(Protocol):
    """Steps and parameters of a calibration, and what its family does with its data."""

    product_kind: ProductKind
    input_key: str
    verify: bool
    report: bool
    inputs_chosen_by: str

    def open_input(self, location: str) -> Dataset:
        """Open the input."""

    def check_growing(self, root: StorePath) -> None:
        """Refuse an input of another kind, which is still being written."""

    def open_growing(self, location: str, complete: Sequence[Key]) -> Dataset:
        """Open an input that is still being written, with the observations that are complete."""

    def select_complete(self, dataset: Any, numbers: Sequence[Key]) -> list[Key]:
        """Select those observations among complete ones that are to be processed."""

    def note_chosen_files(self, dataset: Any, numbers: Sequence[Key]) -> None:
        """Note, and log, the parameter files that observations choose which no earlier ones have chosen."""

    def find_lacks(self, root: StorePath, number: Key) -> Lacks:
        """Find what an observation of an input that is still being written lacks."""

    def open_observation(self, dataset: Any, number: Key) -> Any:
        """Open an observation of the input."""

    def prepare_for(self, observation: Any) -> Prepared:
        """Resolve the parameters for an observation, and make steps with them."""

    def write_observation(self, observation: Any, root: StorePath, provenance: dict[str, Any]) -> WrittenObservation:
        """Write an observation after all steps, unpublished."""

    def may_carry(self) -> bool:
        """Tell whether any observation may be compared with earlier ones."""

    def carry(self, observation: Any) -> Any:
        """Return what later observations are compared with; None for nothing."""

    def find_changes(self, observation: Any, records: Sequence[ObservationRecord]) -> list[str]:
        """Name what an observation depends on besides parameters that is no longer as recorded."""

    def describe_timing(self, observation: Any) -> str:
        """Format a log line with the time spent in each stage."""

    def start_history(self) -> History:
        """Make the memory of a run over its observations."""

    def open_product(self, location: str) -> Product:
        """Open the product."""

    def finish_product(self, product: Any) -> None:
        """Complete the product at the end of a run."""

    def write_report(self, product: Any) -> None:
        """Write a report of the product."""

    def parameters_sha256(self) -> str:
        """Return the SHA-256 digest of the parameters with an effect on results."""


@dataclass
class JobResult:
    """Result of the calibration of an observation.

    Parameters
    ----------
    number : int
        Number of the observation.
    failed_in : str
        The step that failed; empty after success.
    error_class, message, traceback : str
        Class, message and traceback of the error.
    summary : str
        Log line of the observation.
    verdict : str
        Quality verdict.
    timing : str
        Log line with the time spent in each stage.
    carried : object
        Data for the history of the run; None for none.
    kept_in : str
        Name of the product whose observation is kept; empty if it was processed.
    reasons : tuple of str
        Reasons why that of an earlier run is not kept.
    unwritten : bool
        Whether it failed because the product could not be written, whatever the data.
    values : mapping
        Values for the live view of the run, by name.
    n_bytes : int
        Size of its samples in the input, decoded [B]; 0 if they were not read.
    file : str
        Input file that it failed for; empty if unknown, or for several.
    entry : mapping
        Entry of the ledger of the product; empty without any.
    """

    number: Key
    failed_in: str = ""
    error_class: str = ""
    message: str = ""
    traceback: str = ""
    summary: str = ""
    verdict: str = ""
    timing: str = ""
    carried: Any = None
    kept_in: str = ""
    reasons: tuple[str, ...] = ()
    unwritten: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    n_bytes: int = 0
    file: str = ""
    entry: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class ProcessedObservation:
    """An observation after all steps, or the result of the step that failed.

    Parameters
    ----------
    number : int
        Number of the observation.
    observation : Observation or None
        The observation.
    provenance : dict
        Provenance for the attributes of the product.
    failure : JobResult or None
        Result of a failed step; then there is no observation.
    store : str
        The input.
    verdict : Verdict
        Decision on the results of earlier runs.
    """

    number: Key
    observation: Observation | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    failure: JobResult | None = None
    store: str = ""
    verdict: Verdict = NOT_JUDGED

    @property
    def n_samples(self) -> int:
        """Number of samples to process; 0 after a failure, and for an observation that is kept."""
        return self.observation.n_samples if self.observation is not None and not self.verdict.kept_in else 0


def apply_steps(dataset: Dataset, number: Key, recipe: Recipe) -> ProcessedObservation:
    """Open an observation and apply the steps to it, without processing its samples.

    Parameters
    ----------
    dataset : Dataset
        The input.
    number : int
        Number of the observation.
    recipe : Recipe
        The steps.
    """
    return keep_or_apply_steps(dataset, number, recipe, ())


def keep_or_apply_steps(
    dataset: Dataset, number: Key, recipe: Recipe, earlier: Sequence[Product]
) -> ProcessedObservation:
    """Apply the steps to an observation like :func:`apply_steps`, unless one of an earlier run is kept.

    Parameters
    ----------
    dataset : Dataset
        The input.
    number : int
        Number of the observation.
    recipe : Recipe
        The steps.
    earlier : sequence of Product
        Products of earlier runs that hold the observation. If one of them is kept, the steps end as
        soon as that is known, unless they are to be repeated.
    """
    with dataset.root.at_hand(recipe.product_kind.group_name(number)):
        return _keep_or_apply_steps(dataset, number, recipe, earlier)


def _keep_or_apply_steps(
    dataset: Dataset, number: Key, recipe: Recipe, earlier: Sequence[Product]
) -> ProcessedObservation:
    step, verdict = "load", KEEPS_NONE if earlier else NOT_JUDGED
    try:
        observation = recipe.open_observation(dataset, number)
        prepared = recipe.prepare_for(observation)
        stages = {"load": _unchanged, **prepared.stages}
        for step, stage in stages.items():
            with observation.clock(step):
                observation = stage(observation)
            if earlier and step == recipe.inputs_chosen_by:
                verdict = judge_earlier(earlier, number, observation, prepared.provenance["parameters"], recipe)
                if verdict.kept_in and not prepared.repeats:
                    break
    except Exception as error:
        failure = describe_failure(recipe.product_kind, number, step, error, dataset.path)
        return ProcessedObservation(number, failure=failure)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = {"engine_version": __version__, "time": now, recipe.input_key: dataset.path}
    provenance = made | prepared.provenance
    return ProcessedObservation(number, observation, provenance, store=dataset.path, verdict=verdict)


def _unchanged(observation: Observation) -> Observation:
    """Return an observation as it was opened."""
    return observation


def write_processed(processed: ProcessedObservation, root: StorePath, recipe: Recipe) -> JobResult:
    """Process the samples of an observation and write it, unpublished; remove everything on failure.

    Parameters
    ----------
    processed : ProcessedObservation
        An observation after all steps.
    root : StorePath
        Staging path of the observation.
    recipe : Recipe
        The steps.
    """
    observation, number = processed.observation, processed.number
    if observation is None:
        assert processed.failure is not None
        return processed.failure
    verdict = processed.verdict
    if verdict.kept_in:
        return JobResult(number, verdict=verdict.quality, carried=recipe.carry(observation), kept_in=verdict.kept_in)
    try:
        root.remove()
        place = WitnessedStorePath(root) if recipe.verify else root
        written = recipe.write_observation(observation, place, processed.provenance)
        with observation.clock("write"):
            finish_group(root)
        if isinstance(place, WitnessedStorePath):
            with observation.clock("write"):
                place.verify()
        timing = recipe.describe_timing(observation)
        return JobResult(
            number,
            summary=written.summary,
            verdict=written.verdict,
            timing=timing,
            carried=recipe.carry(observation),
            reasons=verdict.reasons,
            values=written.values,
            n_bytes=written.n_bytes,
            entry=written.entry,
        )
    except Exception as error:
        discard_group(root)
        failure = describe_failure(recipe.product_kind, number, "write", error, processed.store)
        failure.unwritten = isinstance(error, _OF_THE_PRODUCT)
        return failure
    except BaseException:
        discard_group(root)
        raise


def describe_failure(kind: ProductKind, number: Key, step: str, error: Exception, store: str) -> JobResult:
    """Describe a failure to the user.

    An exception outside of the expected classes is reported as a fault of this package.

    Parameters
    ----------
    kind : ProductKind
        Names of observations.
    number : int
        The observation that failed.
    step : str
        The step that it failed in.
    error : Exception
        The error.
    store : str
        The input; empty for one of many files, which messages name.
    """
    text = "".join(traceback.format_exception(error))
    if isinstance(error, (CalibrationError, OSError, MemoryError)):
        message = _name_store(str(error) or repr(error), f"{kind.noun} {number}", store)
        file = error.file if isinstance(error, CalibrationError) else ""
        return JobResult(number, step, type(error).__name__, message, text, file=file)
    place = f"{kind.noun} {number} in {store}" if store else f"{kind.noun} {number}"
    message = (
        f"{place}: step {step} ended in {type(error).__name__}: {str(error) or 'no message'}. "
        f"This is a fault of cal_pipeline {__version__}: please report it with this message, the traceback (in the log "
        f"at level DEBUG) and, if you can, the {kind.input_noun}"
    )
    return JobResult(number, step, InternalError.__name__, message, text)


def _name_store(message: str, observation: str, store: str) -> str:
    """Add the observation and its store to a message that does not name the store.

    Examples
    --------
    >>> _name_store("scan 2: tamb is 0 K", "scan 2", "l0.zarr")
    'scan 2 of l0.zarr: tamb is 0 K'
    >>> _name_store("l0.zarr/scan_000002 is empty", "scan 2", "l0.zarr")
    'l0.zarr/scan_000002 is empty'
    """
    if store in message:
        return message
    rest = message.removeprefix(observation)
    named = f"{observation} of {store}"
    return f"{named}{rest}" if rest != message and not rest[:1].isdigit() else f"{named}: {message}"
