"""Tuning: scans calibrated with combinations of parameters, side by side, without writing spectra."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError, OutputExistsError
from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.logs import log_lines_once, log_to_stderr
from cal_pipeline.core.parameters.grid import VariedParameter, check_varied, list_combinations
from cal_pipeline.heterodyne.tuning import CALIBRATED, FAILED, FIGURES, TuningRow
from cal_pipeline.pipelines.calibration import CalibrationPipeline
from cal_pipeline.pipelines.combinations import make_pipeline, run_combinations
from cal_pipeline.pipelines.tuned_file import write_parameter_file

if TYPE_CHECKING:
    from astropy.table import Table

MOST_COMBINATIONS = 200
"""Number of combinations up to which no limit need be given."""


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
        began = time.perf_counter()
        ran = run_combinations(session, base, varied, combinations)
    rows, pipelines = zip(*((one.row, one.pipeline) for one in ran.candidates), strict=True)
    return Tuning(ran.path, varied, list(rows), ran.current, time.perf_counter() - began, list(pipelines))
