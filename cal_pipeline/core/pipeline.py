"""Pipeline over the observations of an input: the life of a run, from checks to the finished product."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from stpipe import Pipeline

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import NoInputError
from cal_pipeline.core.inputs import locate_input, parse_ranges
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.observation import Dataset, History, Lacks, Observation, WrittenObservation
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.specification import find_defaults
from cal_pipeline.core.run.follow import SETTLING, Follower, find_absent_chunks
from cal_pipeline.core.run.garbage import short_collections
from cal_pipeline.core.run.job import Prepared
from cal_pipeline.core.run.resume import Resumption
from cal_pipeline.core.run.runner import calibrate_observations
from cal_pipeline.core.run.signals import interruptible, shielded
from cal_pipeline.core.run.this_process import ThisProcess
from cal_pipeline.core.run.workers import Processes, Workforce, refuse_in_worker
from cal_pipeline.core.step import BaseStep, ObservationStep, refuse_other_format
from cal_pipeline.core.store.compare import Comparison, compare_products
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.make_output import make_output
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import STORE_SUFFIX, Key, ProductKind
from cal_pipeline.core.store.records import ObservationRecord, flatten_parameters
from cal_pipeline.core.text import add_article, format_count, format_ranges

logger = logging.getLogger(__name__)

_STORE_ADVICE = "the product is a Zarr store, a folder: name it as in l1.zarr"


def specify_run(kind: ProductKind, follows: bool = False) -> str:
    """Write the specification of the parameters of every run.

    It belongs in the ``spec`` of each pipeline, below the pipeline's own parameters: stpipe lists
    those of a base class first.

    Parameters
    ----------
    kind : ProductKind
        Names of product and observations, for the help of the parameters.
    follows : bool
        Whether the pipeline can follow an input that is still being written: it processes each
        observation by itself, with what was observed before at most.
    """
    article = "an" if kind.noun[0] in "aeiou" else "a"
    of_stores = f"""
    resume    = boolean(default=False)       # Keep finished {kind.plural} that would come out alike, redo the rest
    verify    = boolean(default=False)       # Read each {kind.noun} back and compare before it is published
    report    = boolean(default=False)       # Write a report beside the product at the end, as one HTML file
    """
    growing = f"""
    follow    = boolean(default=False)       # Process each {kind.noun} of a growing input once it is complete
    follow_timeout = float(min=0, default=None) # End following so many seconds after the last new {kind.noun}
    follow_settling = float(min=0.1, default={SETTLING:g}) # Seconds without a change until one is complete
    """
    return f"""
    overwrite = boolean(default=False)       # Replace an existing {kind.name}
    {of_stores.strip() if kind.suffix == STORE_SUFFIX else ""}
    workers   = integer(min=1, default=1)    # Number of local processes
    threads   = integer(min=1, default=None) # Threads per process (default: cores / workers)
    scheduler = string(default=None)         # Address of a Dask scheduler, to run on its cluster
    {growing.strip() if follows else ""}
    timing    = boolean(default=False)       # Log the time that each stage of {article} {kind.noun} took
    allow_code = boolean(default=False)      # Let parameter files run code (hooks, classes); of no effect in a file
    """


@dataclass
class _Awaited:
    """Input that is followed, of which nothing may be there yet.

    Parameters
    ----------
    root : StorePath
        The store.
    path : str
        Name of the store.
    """

    root: StorePath
    path: str

    def describe(self, number: Key) -> None:
        """Return None: nothing is known."""

    def in_order_of_time(self, numbers: list[Key]) -> list[Key]:
        """Return the observations as they are."""
        return numbers


class ObservationPipeline(BaseStep, Pipeline):  # type: ignore[misc]
    """Base of the pipelines that process the observations of an input and write them as a product.

    A family of instruments derives its pipeline, with :func:`specify_run` in its ``spec``, and
    overrides :meth:`open_input`, :meth:`select`, :meth:`open_observation`,
    :meth:`write_observation` and :meth:`open_product`; the other hooks have defaults.
    """

    input_noun: ClassVar[str] = "input"
    """Word for an input in messages."""

    example_input: ClassVar[str] = "data.zarr"
    """Location of an input, as in messages."""

    expected_input: ClassVar[str] = "a path or URL"
    """Description of inputs that can be opened, for messages."""

    input_key: ClassVar[str] = "input"
    """Key of the input in the provenance of an observation."""

    not_replayed: ClassVar[tuple[str, ...]] = ()
    """Groups of a product that depend on other observations, which a replay leaves out."""

    inputs_chosen_by: ClassVar[str] = ""
    """Step after which the inputs of an observation are known, so that :meth:`find_changes` can tell whether to keep
    one of an earlier run; ``"load"``: as soon as it is opened; empty: none is kept."""

    follow: bool
    follow_timeout: float | None
    follow_settling: float

    _prepared: dict[Path | None, Prepared]
    """Steps for observations, by the parameter file that was chosen; of a run only."""

    _chosen: Collection[Path | None] = (None,)
    """Parameter files that are chosen by the data of a run; None: no file for some."""

    overwrite: bool
    resume: bool
    verify: bool
    report: bool
    workers: int
    threads: int | None
    scheduler: str | None
    timing: bool
    allow_code: bool
    output_file: str | None
    output_dir: str | None

    def open_input(self, location: str) -> Dataset:
        """Open the input."""
        raise TypeError(f"{type(self).__name__} does not say how its input is opened")

    def select(self, dataset: Any) -> list[Key]:
        """Select the observations to process, by the parameter named after them (:attr:`ProductKind.selection`).

        Parameters
        ----------
        dataset : Dataset
            The input.

        Returns
        -------
        list of int
            Their numbers.
        """
        raise TypeError(f"{type(self).__name__} does not say which {self.product_kind.noun}s it processes")

    def select_again(self, number: Key, attributes: Mapping[str, Any]) -> None:
        """Set the parameters so that one observation of a product is processed again.

        Parameters
        ----------
        number : int or str
            The observation.
        attributes : mapping
            Its attributes in the product.
        """
        setattr(self, self.product_kind.selection, [number])

    def check_growing(self, root: StorePath) -> None:
        """Refuse an input of another kind, which is still being written: nothing.

        Parameters
        ----------
        root : StorePath
            The input, whose root is there.
        """

    def open_growing(self, location: str, complete: Sequence[Key]) -> Dataset:
        """Open an input that is still being written.

        Parameters
        ----------
        location : str
            The input.
        complete : sequence of int
            Observations that are complete; others must not be looked at.
        """
        return self.open_input(location)

    def select_complete(self, dataset: Any, numbers: Sequence[Key]) -> list[Key]:
        """Select the observations to process among complete ones of an input that is still being written.

        Parameters
        ----------
        dataset : Dataset
            The input.
        numbers : sequence of int
            The complete observations.
        """
        return self.filter_asked(numbers)

    def filter_asked(self, numbers: Iterable[Key]) -> list[Key]:
        """Filter the observations that the parameter for selection asks for, whether or not others exist."""
        kind = self.product_kind
        wanted = getattr(self, kind.selection)
        if not wanted:
            return list(numbers)
        ranges = parse_ranges(wanted, kind.noun)
        return [n for n in numbers if isinstance(n, int) and any(first <= n <= last for first, last in ranges)]

    def find_lacks(self, root: StorePath, number: Key) -> Lacks:
        """Find what an observation of an input that is still being written lacks: arrays and chunks.

        Parameters
        ----------
        root : StorePath
            The input.
        number : int
            The observation.
        """
        return find_absent_chunks(root, self.product_kind.group_name(number))

    def open_observation(self, dataset: Any, number: Key) -> Any:
        """Open an observation of the input."""
        raise TypeError(f"{type(self).__name__} does not say how a {self.product_kind.noun} is opened")

    def write_observation(self, observation: Any, root: StorePath, provenance: dict[str, Any]) -> WrittenObservation:
        """Write an observation after all steps, unpublished.

        Parameters
        ----------
        observation : Observation
            The observation.
        root : StorePath
            Destination.
        provenance : dict
            Provenance, ready for JSON.
        """
        raise TypeError(f"{type(self).__name__} does not say how a {self.product_kind.noun} is written")

    def carry(self, observation: Any) -> Any:
        """Return what later observations are compared with, for the history of the run: nothing."""
        return None

    def carries(self) -> bool:
        """Tell whether observations are compared with earlier ones, by the parameters: no."""
        return False

    def may_carry(self) -> bool:
        """Tell whether any observation may be compared with earlier ones, with the file that its data choose."""
        return any(self.with_parameters(self.resolve_with(file)).carries() for file in self._chosen or (None,))

    def find_changes(self, observation: Any, records: Sequence[ObservationRecord]) -> list[str]:
        """Name what an observation depends on that is no longer as an earlier run recorded.

        Parameters
        ----------
        observation : Observation
            The observation, after the step :attr:`inputs_chosen_by`.
        records : sequence of ObservationRecord
            Records of its parts in a product; engine and parameters agree.

        Returns
        -------
        list of str
            Such as ``["L0 changed"]``: input and reference files; empty if nothing has changed.
        """
        return []

    def start_history(self) -> History:
        """Make the memory of a run, for observations that are completed in the order of time."""
        return History()

    def open_product(self, location: str) -> Any:
        """Open the product of a run."""
        raise TypeError(f"{type(self).__name__} does not say how its product is opened")

    def finish_product(self, product: Any) -> None:
        """Add to the product, at the end of a run, what describes it as a whole: nothing."""

    def check_output(self, root: StorePath) -> None:
        """Refuse, before anything is written, what is in the way of :meth:`finish_product`: nothing.

        Parameters
        ----------
        root : StorePath
            The product.
        """

    def refuse_report(self, root: StorePath) -> None:
        """Refuse, before anything is written, what is in the way of :meth:`write_report`.

        Parameters
        ----------
        root : StorePath
            The product.
        """
        raise ParameterError(f"report=True: no report is made of {add_article(self.product_kind.name)}; leave it out")

    def write_report(self, product: Any) -> None:
        """Write a report of the product beside it, at the end of a run with ``report=True``."""
        self.refuse_report(product.root)

    def parameters_sha256(self) -> str:
        """Return the SHA-256 digest of the parameters with an effect on results, those that data choose included."""
        resolved = (self.with_parameters(self.resolve_with(file)).get_pars() for file in self._chosen or (None,))
        texts = {json.dumps(dict(flatten_parameters(parameters)), sort_keys=True) for parameters in resolved}
        return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()

    def describe_timing(self, observation: Any) -> str:
        """Format a log line with the time spent in each stage of an observation."""
        times = " ".join(f"{stage}_ms={1e3 * time:.1f}" for stage, time in observation.clock.seconds.items())
        return f"timing of {self.product_kind.noun} {observation.number}: {times}"

    def compare(
        self, first: str | Path, second: str | Path, numbers: Sequence[Key], leave_out: Sequence[str]
    ) -> Comparison:
        """Compare observations of two products, whatever the origins of their parameters."""
        products = [self.open_product(str(store)) for store in (first, second)]
        return compare_products(products[0], products[1], numbers, leave_out, origins=False)

    def default_output(self, dataset: Any) -> str:
        """Return the name of a product whose name was not given."""
        return default_output(dataset.path)

    def run(self, *args: Any) -> Any:
        """Run the pipeline; see `stpipe.Step.run`."""
        with short_collections():
            return super().run(*args)

    def process(self, source: Any = None) -> Any:
        """Process the observations of an input.

        Parameters
        ----------
        source : str or Path
            The input.

        Returns
        -------
        object
            The product.

        Raises
        ------
        RunFailedError
            At the end, if an observation could not be processed; the others are written.
        RunRecordError
            At the end, if observations are written, but not what describes the run.
        RunInterruptedError
            After a KeyboardInterrupt; finished observations are kept.
        """
        if source is None or source == "":
            raise NoInputError(
                f"no {self.input_noun} given; name one, as in strun cal_pipeline.{type(self).__name__} "
                f"{self.example_input}"
            )
        refuse_in_worker()
        self.check_parameters()
        for step in self._steps().values():
            step.check_parameters()
            step.check_references()
        location = locate_input(source, self.input_folder(), self.expected_input)
        if self._follows():
            return self._follow(location)
        dataset = self.open_input(location)
        numbers = self.select(dataset)
        for step in self._steps().values():
            step.refuse_to_replace(numbers)
        workforce = self._workforce()
        workforce.check()
        beginning = self._describe_run(dataset, numbers)
        where = self._where_to(dataset)
        # What has begun is ended in order: only the loop over observations is interrupted.
        with (
            interruptible(),
            shielded(),
            make_output(where, self.overwrite, dataset.path, self.product_kind, self.resume) as output,
        ):
            self.check_output(output.root)
            if self.report:
                self.refuse_report(output.root)
            for line in beginning:
                logger.info("%s", line)
            resumption = self._resume(output, numbers)
            return calibrate_observations(dataset, numbers, self, output, workforce, self.timing, resumption)

    def _follow(self, location: str) -> Any:
        """Process the observations of an input that is still being written."""
        follower = Follower(location, self, self.follow_settling, self.follow_timeout)
        numbers = self.filter_asked(follower.list_present())
        for step in self._steps().values():
            step.refuse_to_replace(numbers)
        workforce = self._workforce()
        workforce.check()
        self._chosen = ()
        awaited = _Awaited(follower.root, follower.root.name)
        with (
            interruptible(),
            shielded(),
            make_output(
                self._where_to(awaited), self.overwrite, awaited.path, self.product_kind, self.resume
            ) as output,
        ):
            self.check_output(output.root)
            logger.info("cal_pipeline %s: follows %s", __version__, awaited.path)
            resumption = self._resume(output, numbers)
            return calibrate_observations(awaited, [], self, output, workforce, self.timing, resumption, follower)

    def note_chosen_files(self, dataset: Dataset, numbers: Sequence[Key]) -> None:
        """Note, and log, the parameter files that observations choose which no earlier ones have chosen."""
        for line in self._describe_files(dataset, numbers):
            logger.info("%s", line)

    def _resume(self, output: OutputStore, numbers: list[Key]) -> Resumption | None:
        """Find the results of earlier runs; None if all observations are to be processed."""
        return Resumption.begin(output, numbers, self.overwrite, self.open_product) if self.resume else None

    def check_parameters(self) -> None:
        """Refuse contradictory parameters of the run, and an output that is plainly no store."""
        if self.scheduler == "":
            raise ParameterError("scheduler is empty; expected the address of a Dask scheduler, as in tcp://head:8786")
        if self.scheduler:
            self.refuse_idle("workers", "scheduler", "the cluster has its own; leave one of them out")
        self._refuse_idle_timeout()
        if self.output_file:
            kind = self.product_kind
            advice = _STORE_ADVICE if kind.suffix == STORE_SUFFIX else f"{add_article(kind.name)} ends in {kind.suffix}"
            refuse_other_format(str(self.class_alias), self.output_file, kind.suffix, advice)
            if not self._writes_files() and (is_url(self.output_file) or Path(self.output_file).is_absolute()):
                self.refuse_idle("output_dir", "output_file", "leave it out, or name the store without its folder")

    def _follows(self) -> bool:
        """Tell whether the input is still being written; not every pipeline has the parameter."""
        return bool(getattr(self, "follow", False))

    def _refuse_idle_timeout(self) -> None:
        """Refuse a time limit of following in a run that does not follow."""
        timeout = getattr(self, "follow_timeout", None)
        if timeout is not None and not self._follows():
            raise ParameterError(
                f"follow_timeout = {timeout:g} has no effect without follow=True; give both, or neither"
            )

    def _describe_run(self, dataset: Dataset, numbers: list[Key]) -> list[str]:
        """Describe a run in lines: its observations, and parameters other than defaults by origin.

        Notes which parameter files the data choose.
        """
        first = f"cal_pipeline {__version__}: {format_count(len(numbers), self.product_kind.noun)} of {dataset.path}"
        self._chosen = ()
        lines = [first, *self._describe_files(dataset, numbers)]
        self._chosen = self._chosen or (None,)
        return lines

    def _describe_files(self, dataset: Dataset, numbers: Sequence[Key]) -> list[str]:
        """Describe the parameter files that observations choose, and note them; known ones are left out."""
        lines: list[str] = []
        numbers_of: dict[Path | None, list[int]] = defaultdict(list)
        for number, described in zip(numbers, dataset.root.each(dataset.describe, numbers), strict=True):
            if described is not None:
                numbers_of[self._file_for(described)].append(number)
        new = [file for file in numbers_of if file not in self._chosen]
        self._chosen = (*self._chosen, *new)
        for file in new:
            some = numbers_of[file]
            self.log_ignored(file)
            name = f"cfg/{file.name}" if file else "none is meant for such data"
            noun = self.product_kind.noun if len(some) == 1 else f"{self.product_kind.noun}s"
            lines.append(f"parameter file of {noun} {format_ranges(some)}: {name}")
            differing = self._differing_parameters(file)
            lines += [f"  {origin}: {', '.join(parameters)}" for origin, parameters in differing.items()]
        return lines

    def _differing_parameters(self, file: Path | None) -> dict[str, list[str]]:
        """List parameters that differ from their defaults as ``name=value``, by origin.

        Parameters
        ----------
        file : Path or None
            Parameter file that is chosen by the data.
        """
        resolved = self.resolve_with(file)
        values, usual = resolved.flat_values(), _defaults_of_pipeline(type(self))
        found: dict[str, list[str]] = defaultdict(list)
        for name, origin in resolved.flat_origins().items():
            value = values[name]
            # Files that all parameters were saved to hold an empty folder for none.
            if value != usual[name] and not (value == "" and usual[name] is None):
                found[origin].append(f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
        return found

    def _where_to(self, dataset: Dataset) -> str:
        """Return the location of the product to write."""
        name = normalize_location(self.output_file or self.default_output(dataset))
        folder = normalize_location(self.output_dir or ".")
        if is_url(name):
            return name
        return f"{folder}/{name}" if is_url(folder) else str(Path(folder) / name)

    def _workforce(self) -> Workforce:
        """Choose the workforce: a Dask cluster, worker processes or this process."""
        if self.scheduler:
            from cal_pipeline.core.run.cluster import DaskCluster

            return DaskCluster(self.scheduler, self.threads)
        return (
            Processes(self.workers, self.threads, lasting=self._follows())
            if self.workers > 1
            else ThisProcess(self.threads)
        )

    def prepare_for(self, observation: Observation) -> Prepared:
        """Resolve the parameters for an observation, and make steps with them.

        Consecutive observations with the same parameter file share their steps.
        """
        file = self._file_for(observation.get_crds_parameters())
        if self._resolved is None:
            # Outside of a run parameters may still change.
            return self._prepare(file)
        prepared: dict[Path | None, Prepared] = self.__dict__.setdefault("_prepared", {})
        if file not in prepared:
            prepared[file] = self._prepare(file)
        return prepared[file]

    def make_for(self, observation: Observation) -> Self:
        """Make a pipeline with fresh steps and the parameters for an observation, those chosen by the data too."""
        return self.with_parameters(self.resolve_with(self._file_for(observation.get_crds_parameters())))

    def _prepare(self, file: Path | None) -> Prepared:
        """Make steps with the parameters for a file that is chosen by the data, or none."""
        fresh = self.with_parameters(self.resolve_with(file))
        provenance = {"parameters": fresh.get_pars(), "parameter_origins": fresh.parameters.flat_origins()}
        return Prepared(make_json_ready(provenance), fresh.stages(), fresh.carries() or fresh._writes_files())

    def stages(self) -> dict[str, Callable[[Any], Any]]:
        """Return the functions that are applied to an observation, by name, in processing order: the steps."""
        return {name: step.run for name, step in self._steps().items()}

    def _writes_files(self) -> bool:
        """Tell whether a step writes files."""
        return any(step.save_results or step.output_file for step in self._steps().values())

    def _steps(self) -> dict[str, ObservationStep]:
        return {name: getattr(self, name) for name in self.step_defs}


def _defaults_of_pipeline(cls: type[ObservationPipeline]) -> dict[str, Any]:
    """Return the default parameters, by their names on the command line."""
    steps = {
        f"steps.{key}.{name}": value
        for key, step in cls.step_defs.items()
        for name, value in find_defaults(step).items()
    }
    return {**find_defaults(cls), **steps}


def default_output(path: str, level: str = "l1", input_level: str = "") -> str:
    """Return the default name of the product of an input.

    Parameters
    ----------
    path : str
        The input.
    level : str
        End of the name, after an underscore.
    input_level : str
        End of the names of inputs, after an underscore, which it replaces.

    Examples
    --------
    >>> default_output("/data/night.zarr.zip")
    'night_l1.zarr'
    >>> default_output("visit_rate.zarr", "cal", "rate"), default_output("rate.zarr", "cal", "rate")
    ('visit_cal.zarr', 'cal.zarr')
    """
    name = path.rsplit("/", 1)[-1] if is_url(path) else Path(path).name
    stem = re.sub(r"(\.zarr)?(\.zip)?$", "", name, flags=re.IGNORECASE)
    if input_level and stem == input_level:
        return f"{level}.zarr"
    return f"{stem.removesuffix(f'_{input_level}')}_{level}.zarr"
