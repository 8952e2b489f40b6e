"""Combinations of parameters on the scans of a session, with the results of steps used again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.parameters.grid import VariedParameter
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.resolved import GIVEN
from cal_pipeline.core.run.garbage import keep_collections_short, short_collections
from cal_pipeline.core.run.job import describe_failure
from cal_pipeline.core.run.log_records import quiet_stpipe
from cal_pipeline.core.run.progress_bar import progress_bar
from cal_pipeline.core.run.threads import BlockThreads, limit_blas_threads
from cal_pipeline.core.store.records import RUN_ONLY
from cal_pipeline.heterodyne.counts import CountMemory
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.tuning import BandResult, ScanResult, TuningRow
from cal_pipeline.pipelines.calibration import CalibrationPipeline
from cal_pipeline.pipelines.reuse import StepFailedError, StepReuse, list_effective
from cal_pipeline.steps.heterodyne.writing import assess_scan

COUNTS_BUDGET = 2**29
"""Decoded counts of a scan that stay in memory for further combinations [bytes]; the rest is read again."""

_OF_TUNING = frozenset({"threads", "input_dir"})
"""Parameters of the execution of a run that have an effect here too."""

_READS_OFFS = frozenset({"loads", "prepare"})
"""Steps whose parameters change what the OFFs are averaged with: these are then read more than once."""


@dataclass
class Candidate:
    """A combination to run: its row, its pipeline, and the objection against it."""

    row: TuningRow
    pipeline: CalibrationPipeline
    failed_in: str = ""
    objection: str = ""

    def check(self) -> None:
        """Note the contradiction of its parameters, or the reference file that cannot be opened."""
        for name, step in self.pipeline._steps().items():
            try:
                step.check_parameters()
                step.check_references()
            except (CalibrationError, OSError) as error:
                self.failed_in, self.objection = name, " ".join(str(error).split("\n"))
                return


class Combinations(NamedTuple):
    """Combinations after they ran.

    Parameters
    ----------
    path : str
        The session.
    base : Candidate
        The current parameters.
    candidates : list of Candidate
        The combinations.
    current : TuningRow
        Row of the current parameters: of a combination that equals them, else of `base`.
    """

    path: str
    base: Candidate
    candidates: list[Candidate]
    current: TuningRow


def make_pipeline(parameters: Mapping[str, Any]) -> CalibrationPipeline:
    """Make the pipeline with the current parameters, those without any variation.

    Raises
    ------
    ParameterError
        For a parameter that does not exist, does not accept its value, or has no effect on a tuning.
    """
    config, config_file = CalibrationPipeline.build_config(None, **parameters)
    config.pop("class", None)
    name = config.get("name") or CalibrationPipeline.__name__
    base: CalibrationPipeline = CalibrationPipeline.from_config_section(config, name=name, config_file=config_file)
    for step in (base, *base._steps().values()):
        for parameter in sorted(RUN_ONLY - _OF_TUNING):
            if parameter in step.parameters.values and step.parameters.origin(parameter) == GIVEN:
                raise ParameterError(
                    f"{step.class_alias}: {parameter} has no effect on a tuning, which writes no product; leave it out"
                )
    return base


def run_combinations(
    session: str | Path,
    base: CalibrationPipeline,
    varied: list[VariedParameter],
    combinations: Sequence[Mapping[str, Any]],
) -> Combinations:
    """Run the current parameters and all combinations on the scans of a session.

    Parameters
    ----------
    session : str or Path
        The L0 session.
    base : CalibrationPipeline
        The pipeline with the current parameters.
    varied : list of VariedParameter
        Parameters that differ.
    combinations : sequence of mapping
        Their values by label.

    Raises
    ------
    StoreError
        If the session cannot be opened, or has no such scan.
    """
    dataset = base.open_input(locate_input(session, base.input_folder(), base.expected_input))
    numbers = base.select(dataset)
    current = Candidate(TuningRow(None, _list_current(base, varied), True), _make_variant(base, varied, {}))
    candidates = [
        Candidate(TuningRow(number, combination), _make_variant(base, varied, combination))
        for number, combination in enumerate(combinations)
    ]
    everyone = [current, *candidates]
    for candidate in everyone:
        candidate.check()
    equal = [True] * len(candidates)
    with (
        short_collections(),
        quiet_stpipe,
        limit_blas_threads(),
        BlockThreads(base.threads) as threads,
        progress_bar(len(numbers) * len(everyone), "combinations") as advance,
    ):
        for number in numbers:
            scan_tuner = _ScanTuner(dataset, number, everyone, {one.step for one in varied})
            for candidate, result in threads.run(scan_tuner.run, advance):
                candidate.row.scans.append(result)
            equal = [all(pair) for pair in zip(equal, scan_tuner.equal_to_current(), strict=True)]
            keep_collections_short()
    return Combinations(dataset.path, current, candidates, _find_current(current, candidates, equal))


def _find_current(current: Candidate, candidates: Sequence[Candidate], equal: Sequence[bool]) -> TuningRow:
    """Mark the row that equals the current parameters, and return it; that of the current ones without any."""
    for candidate, is_current in zip(candidates, equal, strict=True):
        if is_current:
            candidate.row.is_current = True
            return candidate.row
    return current.row


def _list_current(base: CalibrationPipeline, varied: Sequence[VariedParameter]) -> dict[str, Any]:
    """List the current values of the varied parameters, without regard to files that the data choose."""
    return {one.label: base.parameters.steps[one.step].values[one.name] for one in varied}


def _make_variant(
    base: CalibrationPipeline, varied: Sequence[VariedParameter], values: Mapping[str, Any]
) -> CalibrationPipeline:
    """Make a pipeline with other values of the varied parameters, whose steps write no files."""
    resolved = base.parameters
    steps = {
        name: replace(step, values={**step.values, "save_results": False, "output_file": None})
        for name, step in resolved.steps.items()
    }
    for one in varied:
        if one.label in values:
            steps[one.step] = steps[one.step].override({one.name: values[one.label]}, GIVEN)
    return base.with_parameters(replace(resolved, steps=steps))


class _ScanTuner:
    """Combinations on one scan, in the order in which most results can be used again."""

    def __init__(self, dataset: Session, number: int, candidates: Sequence[Candidate], varied_steps: set[str]) -> None:
        self._dataset, self._number, self._candidates = dataset, number, candidates
        self._rereads_offs = bool(varied_steps & _READS_OFFS)
        self._memory = CountMemory(COUNTS_BUDGET)
        self._keys: dict[int, Any] = {}

    def run(self, advance: Callable[[], None]) -> list[tuple[Candidate, ScanResult]]:
        """Run all combinations.

        Parameters
        ----------
        advance : callable
            Called after each combination.

        Returns
        -------
        list of tuple
            Combinations and their results.
        """
        found = []
        for item in self._each():
            found.append(item)
            advance()
        return found

    def _each(self) -> Iterator[tuple[Candidate, ScanResult]]:
        """Yield each combination with its result."""
        try:
            scan = self._candidates[0].pipeline.open_observation(self._dataset, self._number)
        except Exception as error:
            failure = self._describe_failure("load", error)
            yield from ((candidate, failure) for candidate in self._candidates)
            return
        for band in scan.bands if self._rereads_offs else ():
            band.remember_counts(self._memory)
        pipelines = dict(self._resolve(scan))
        reuse, known = StepReuse(scan), dict[Any, ScanResult]()
        for position, candidate in enumerate(self._candidates):
            if position not in pipelines:
                yield candidate, self._explain(candidate)
        for position in sorted(pipelines, key=lambda position: self._keys[position]):
            key = self._keys[position]
            if key not in known:
                known[key] = self._calibrate(reuse, pipelines[position])
            yield self._candidates[position], known[key]

    def equal_to_current(self) -> list[bool]:
        """Tell of each combination whether its parameters for the scan are the current ones."""
        current = self._keys.get(0)
        return [self._keys.get(position) == current for position in range(1, len(self._candidates))]

    def _resolve(self, scan: Scan) -> Iterator[tuple[int, CalibrationPipeline]]:
        """Yield pipelines with all parameters for the scan, and note what tells them apart."""
        for position, candidate in enumerate(self._candidates):
            try:
                pipeline = candidate.pipeline.make_for(scan)
            except CalibrationError as error:
                candidate.failed_in, candidate.objection = "load", str(error)
                continue
            self._keys[position] = tuple(list_effective(step) for step in pipeline._steps().values())
            if not candidate.objection:
                yield position, pipeline

    def _calibrate(self, reuse: StepReuse, pipeline: CalibrationPipeline) -> ScanResult:
        """Apply the steps that are to be repeated, and compute the figures."""
        try:
            scan, seconds = reuse.apply(pipeline._steps())
        except StepFailedError as error:
            return ScanResult(self._number, failed_in=error.step, message=error.message)
        for band in scan.bands:
            band.remember_counts(self._memory)
        began = time.perf_counter()
        try:
            attributes = assess_scan(scan, tuple(pipeline.step_defs.values()))
            bands = tuple(map(BandResult.collect, scan.bands, attributes))
        except Exception as error:
            return self._describe_failure("write", error)
        return ScanResult(self._number, bands, seconds + time.perf_counter() - began)

    def _explain(self, candidate: Candidate) -> ScanResult:
        """Return the objection against the parameters of a combination as the failure of the scan."""
        return ScanResult(self._number, failed_in=candidate.failed_in, message=candidate.objection)

    def _describe_failure(self, step: str, error: Exception) -> ScanResult:
        """Describe a failure as runs do."""
        kind = CalibrationPipeline.product_kind
        failure = describe_failure(kind, self._number, step, error, self._dataset.path)
        return ScanResult(self._number, failed_in=step, message=failure.message)
