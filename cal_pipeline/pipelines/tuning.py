"""Tuning: scans calibrated with combinations of parameters, side by side, without writing spectra."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError, OutputExistsError
from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.logs import log_lines_once, log_to_stderr
from cal_pipeline.core.parameters.grid import VariedParameter, check_varied, list_combinations
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.resolved import GIVEN
from cal_pipeline.core.run.garbage import keep_collections_short, short_collections
from cal_pipeline.core.run.job import describe_failure
from cal_pipeline.core.run.log_records import quiet_stpipe
from cal_pipeline.core.run.progress import progress_bar
from cal_pipeline.core.run.threads import BlockThreads, limit_blas_threads
from cal_pipeline.core.store.records import RUN_ONLY
from cal_pipeline.heterodyne.counts import CountMemory
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.tuning import CALIBRATED, FAILED, FIGURES, BandResult, ScanResult, TuningRow
from cal_pipeline.pipelines.calibration import CalibrationPipeline
from cal_pipeline.pipelines.reuse import StepFailedError, StepReuse, list_effective
from cal_pipeline.pipelines.tuned_file import write_parameter_file
from cal_pipeline.steps.heterodyne.writing import assess_scan

if TYPE_CHECKING:
    from astropy.table import Table

MOST_COMBINATIONS = 200
"""Number of combinations up to which no limit need be given."""

COUNTS_BUDGET = 2**29
"""Decoded counts of a scan that stay in memory for further combinations [bytes]; the rest is read again."""

_OF_TUNING = frozenset({"threads", "input_dir"})
"""Parameters of the execution of a run that have an effect here too."""

_READS_OFFS = frozenset({"loads", "prepare"})
"""Steps whose parameters change what the OFFs are averaged with: these are then read more than once."""


@dataclass
class _Candidate:
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


@dataclass
class Tuning:
    """Results of combinations of parameters; it prints as a table.

    Attributes
    ----------
    session : str
        The session.
    varied : list of VariedParameter
        Parameters that were varied, with their values.
    rows : list of TuningRow
        The combinations, in the order of their numbers.
    current : TuningRow
        Results with the current parameters: one of `rows` where a combination equals them, else a row
        without a number.
    seconds : float
        Time of all combinations together [s].
    """

    session: str
    varied: list[VariedParameter]
    rows: list[TuningRow]
    current: TuningRow
    seconds: float = 0.0
    _pipelines: list[CalibrationPipeline] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        from cal_pipeline.report.tuning_table import format_tuning

        return format_tuning(self)

    @property
    def exit_status(self) -> int:
        """Exit status of the command: 0 if all scans of all rows are calibrated, 2 if some, 1 if none."""
        statuses = {row.status for row in self.rows}
        return 0 if statuses <= {CALIBRATED} else 1 if statuses == {FAILED} else 2

    @property
    def all_rows(self) -> list[TuningRow]:
        """Rows with the current parameters before them, unless these are one of the rows."""
        return self.rows if self.current.number is not None else [self.current, *self.rows]

    def table(self, by_scan: bool = False) -> Table:
        """Make a table of parameters and figures.

        Parameters
        ----------
        by_scan : bool
            Whether to list each band of each scan, instead of medians over them.

        Returns
        -------
        astropy.table.Table
            Columns ``row`` (-1: the current parameters, where no combination equals them), ``current``,
            the varied parameters by their names, the figures with units (NaN: not known), ``verdict``,
            ``checks``, ``failures``, ``seconds``.
        """
        from cal_pipeline.report.tuning_table import make_table

        return make_table(self, by_scan)

    def row(self, number: int) -> TuningRow:
        """Return a row by its number.

        Raises
        ------
        CalibrationError
            If there is none.
        """
        check_row(number, len(self.rows))
        return self.rows[number]

    def write(self, row: int, path: str | Path, overwrite: bool = False) -> Path:
        """Write the parameters of a row as a parameter file, for ``strun`` and ``calibrate --config``.

        It holds what was given (arguments, parameter file, values of the row): other parameters stay
        those that the data choose, and the defaults.

        Parameters
        ----------
        row : int
            Number of the row.
        path : str or Path
            The file; it ends in ``.asdf``.
        overwrite : bool
            Whether to replace an existing file.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        CalibrationError
            If there is no such row, none of its scans could be calibrated, or the file exists.
        """
        found = self.row(row)
        if found.status == FAILED:
            first = found.failures[0]
            raise CalibrationError(f"row {row} failed in step {first.failed_in} and is not written: {first.message}")
        file = check_output(path, overwrite, ".asdf")
        write_parameter_file(self._pipelines[row], file)
        return file

    def to_html(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the page: table and figures, in one file that needs no network.

        Parameters
        ----------
        path : str or Path
            The file.
        overwrite : bool
            Whether to replace an existing file.

        Returns
        -------
        Path
            The file.
        """
        from cal_pipeline.report.tuning_page import write_tuning_page

        file = check_output(path, overwrite)
        write_tuning_page(self, file)
        return file

    def describe(self) -> dict[str, Any]:
        """Describe all results by plain values, ready for JSON.

        Returns
        -------
        dict
            ``rows``, each with ``row``, ``parameters``, ``current``, ``status``, ``verdict``, ``checks``,
            the figures, their ``change`` against the current parameters, ``seconds`` and ``scans``;
            ``current``, the same for the current parameters; ``figures``, units and meanings.
        """
        names = {one.label: one.full_name for one in self.varied}
        described = {
            "cal_pipeline": __version__,
            "session": self.session,
            "varied": {one.full_name: list(one.values) for one in self.varied},
            "figures": {name: {"unit": figure.unit, "meaning": figure.meaning} for name, figure in FIGURES.items()},
            "seconds": self.seconds,
            "current": self.current.describe(full_names=names),
            "rows": [row.describe(self.current, names) for row in self.rows],
        }
        ready: dict[str, Any] = make_json_ready(described)
        return ready

    def to_json(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write :meth:`describe` as a JSON file.

        Parameters
        ----------
        path : str or Path
            The file.
        overwrite : bool
            Whether to replace an existing file.

        Returns
        -------
        Path
            The file.
        """
        file = check_output(path, overwrite)
        with replace_file(file) as unfinished:
            unfinished.write_text(json.dumps(self.describe(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return file


def check_row(number: int, n_rows: int) -> None:
    """Refuse the number of a row that does not exist.

    Raises
    ------
    CalibrationError
        If there is no such row.
    """
    if not 0 <= number < n_rows:
        raise CalibrationError(f"there is no row {number}; expected 0 to {n_rows - 1}")


def check_output(path: str | Path, overwrite: bool, suffix: str = "") -> Path:
    """Refuse a file that cannot be written: it exists, or has the suffix of another format.

    Parameters
    ----------
    path : str or Path
        The file.
    overwrite : bool
        Whether it may exist.
    suffix : str
        Suffix that it must have; any if empty.

    Raises
    ------
    CalibrationError
        If it has another suffix, or is a folder.
    OutputExistsError
        If it exists and may not be replaced.
    """
    file = Path(path)
    if suffix and file.suffix.lower() != suffix:
        raise CalibrationError(f"output {file} has the suffix {file.suffix!r}, expected {suffix!r}")
    if file.is_dir():
        raise CalibrationError(f"output {file} is a folder, expected a file")
    if file.exists() and not overwrite:
        raise OutputExistsError(f"output {file} exists; give overwrite=True to replace it")
    return file


def tune(
    session: str | Path,
    vary: Mapping[str, Any],
    scans: Any = None,
    *,
    limit: int = MOST_COMBINATIONS,
    configure_log: bool = True,
    **parameters: Any,
) -> Tuning:
    """Calibrate scans with all combinations of some parameters, and compare the results.

    Steps are repeated only where a combination changes them, or results that they depend on; counts
    are read and decoded once, as far as they fit in 512 MB. No spectra are written. Figures equal those
    of runs of :class:`~cal_pipeline.CalibrationPipeline` with the same parameters, bit for bit.

    Parameters
    ----------
    session : str or Path
        The L0 session.
    vary : mapping
        Values to try by parameter of a step, as in ``{"atmosphere.model_error": [0.01, 0.03]}``. A value
        that is a list is a list itself; a text is split at its commas as on the command line.
    scans : optional
        Scans, as in ``"25650,25660:25670"``, or numbers; all if not given.
    limit : int
        Largest accepted number of combinations.
    configure_log : bool
        Log warnings to standard error while this lasts.
    **parameters
        Other parameters as of ``CalibrationPipeline.call``: ``steps``, ``config_file``, ``threads``.

    Returns
    -------
    Tuning

    Raises
    ------
    ParameterError
        If a parameter does not exist or does not accept a value, before anything is read.
    StoreError
        If the session cannot be opened, or has no such scan.

    Examples
    --------
    >>> from cal_pipeline import tune
    >>> tuning = tune("session.zarr", vary={"atmosphere.model_error": [0.01, 0.1]})
    >>> [f"{row.figures['pwv_mm']:.2f} ± {row.figures['pwv_total_err_mm']:.2f} mm" for row in tuning.rows]
    ['0.50 ± 0.01 mm', '0.50 ± 0.05 mm']
    >>> tuning.write(1, "tuned.asdf").name
    'tuned.asdf'
    """
    with log_to_stderr(30) if configure_log else nullcontext(), log_lines_once():
        base = make_pipeline({**parameters, **({} if scans is None else {"scans": scans})})
        varied = check_varied(CalibrationPipeline, vary)
        combinations = list_combinations(varied, limit)
        return _run_combinations(session, base, varied, combinations)


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


def _run_combinations(
    session: str | Path,
    base: CalibrationPipeline,
    varied: list[VariedParameter],
    combinations: Sequence[Mapping[str, Any]],
) -> Tuning:
    """Run the current parameters and all combinations on the scans of a session."""
    began = time.perf_counter()
    dataset = base.open_input(locate_input(session, base.input_folder(), base.expected_input))
    numbers = base.select(dataset)
    current = _Candidate(TuningRow(None, _list_current(base, varied), True), _make_variant(base, varied, {}))
    candidates = [
        _Candidate(TuningRow(number, combination), _make_variant(base, varied, combination))
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
            results = threads.run(lambda tuner=scan_tuner: [_advanced(item, advance) for item in tuner.results()])
            for candidate, result in sorted(results, key=lambda item: everyone.index(item[0])):
                candidate.row.scans.append(result)
            equal = [all(pair) for pair in zip(equal, scan_tuner.equal_to_current(), strict=True)]
            keep_collections_short()
    return _conclude(dataset.path, varied, current, candidates, equal, time.perf_counter() - began)


def _advanced(item: Any, advance: Any) -> Any:
    """Return an item once the progress bar has advanced."""
    advance()
    return item


def _conclude(
    path: str,
    varied: list[VariedParameter],
    current: _Candidate,
    candidates: list[_Candidate],
    equal: list[bool],
    seconds: float,
) -> Tuning:
    """Mark the row that equals the current parameters, and collect the results."""
    rows = [candidate.row for candidate in candidates]
    base_row = current.row
    for row, is_current in zip(rows, equal, strict=True):
        if is_current:
            row.is_current, base_row = True, row
    return Tuning(path, varied, rows, base_row, seconds, [candidate.pipeline for candidate in candidates])


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

    def __init__(self, dataset: Session, number: int, candidates: Sequence[_Candidate], varied_steps: set[str]) -> None:
        self._dataset, self._number, self._candidates = dataset, number, candidates
        self._rereads_offs = bool(varied_steps & _READS_OFFS)
        self._memory = CountMemory(COUNTS_BUDGET)
        self._keys: dict[int, Any] = {}

    def results(self) -> Iterator[tuple[_Candidate, ScanResult]]:
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

    def _explain(self, candidate: _Candidate) -> ScanResult:
        """Return the objection against the parameters of a combination as the failure of the scan."""
        return ScanResult(self._number, failed_in=candidate.failed_in, message=candidate.objection)

    def _describe_failure(self, step: str, error: Exception) -> ScanResult:
        """Describe a failure as runs do."""
        kind = CalibrationPipeline.product_kind
        failure = describe_failure(kind, self._number, step, error, self._dataset.path)
        return ScanResult(self._number, failed_in=step, message=failure.message)
