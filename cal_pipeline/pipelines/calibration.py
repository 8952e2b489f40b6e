"""The calibration pipeline: its steps and their order."""

from __future__ import annotations

import gc
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stpipe import Pipeline

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import NoInputError
from cal_pipeline.core.observation import History, Written
from cal_pipeline.core.parameters.origins import load_parameters
from cal_pipeline.core.run.cluster import DaskCluster
from cal_pipeline.core.run.runner import calibrate_observations
from cal_pipeline.core.run.workers import Processes, ThisProcess, Workforce, refuse_in_worker
from cal_pipeline.core.step import CalibrationBase, CalibrationStep, ParameterError, refuse_other_format
from cal_pipeline.core.store.attributes import json_ready
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.output import make_output
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import count_of, ranges_of
from cal_pipeline.heterodyne.history import SkyHistory, sky_entries
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.sources import locate
from cal_pipeline.heterodyne.summary import format_timing, summarize_scan, worst_verdict
from cal_pipeline.report.quality_table import write_quality_table
from cal_pipeline.steps import (
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    GainStep,
    LoadsStep,
    PrepareStep,
    SkychopdiffStep,
    SkydiffStep,
)
from cal_pipeline.steps.heterodyne.writing import write_scan

logger = logging.getLogger(__name__)

_STORE_ADVICE = "the product is a Zarr store, a folder: name it as in l1.zarr"


class CalibrationPipeline(CalibrationBase, Pipeline):  # type: ignore[misc]
    """Calibrate the scans of an L0 session to antenna temperatures T_A* and write them as L1.

    Examples
    --------
    ``CalibrationPipeline.call("session.zarr", output_file="l1.zarr", steps={"loads": {"image_gain": 0.0}})``
    """

    class_alias = "calibration_pipeline"

    spec = """
    scans     = force_list(default=None)     # Scans to calibrate, as in 25650,25660:25670 (default: all)
    overwrite = boolean(default=False)       # Replace an existing L1 store
    workers   = integer(min=1, default=1)    # Number of local processes
    threads   = integer(min=1, default=None) # Threads per process (default: cores / workers)
    scheduler = string(default=None)         # Address of a Dask scheduler, to run on its cluster
    timing    = boolean(default=False)       # Log the time that each stage of a scan took
    """

    step_defs = {
        "loads": LoadsStep,
        "gain": GainStep,
        "prepare": PrepareStep,
        "atmosphere": AtmosphereStep,
        "calibrate": CalibrateStep,
        "dbs": DbsStep,
        "skychopdiff": SkychopdiffStep,
        "skydiff": SkydiffStep,
    }

    product_kind = CalibratedSession.kind

    coercions = {"scans": lambda value: [str(item) for item in value]}

    _adopted: tuple[Path | None, dict[str, Any]] | None = None
    """Last parameter file adopted in this run, and the provenance of the parameters."""

    scans: list[Any] | None
    overwrite: bool
    workers: int
    threads: int | None
    scheduler: str | None
    timing: bool
    output_file: str | None
    output_dir: str | None

    def run(self, *args: Any) -> Any:
        """Run the pipeline; see `stpipe.Step.run`."""
        # The run and each of its steps begin with a garbage collection; what the imports made need not be looked at
        # each time. The end of the run lets it be collected again.
        gc.freeze()
        try:
            return super().run(*args)
        finally:
            gc.unfreeze()

    def process(self, source: str | Path | None = None) -> CalibratedSession:
        """Calibrate a session.

        Parameters
        ----------
        source : str or Path
            The L0 session.

        Returns
        -------
        CalibratedSession

        Raises
        ------
        RunFailedError
            At the end, if a scan could not be calibrated; the others are written.
        RunInterruptedError
            After a KeyboardInterrupt; finished scans are kept.
        """
        if source is None or source == "":
            raise NoInputError("no session given; name one, as in strun cal_pipeline.CalibrationPipeline session.zarr")
        refuse_in_worker()
        self._adopted = None
        self.check_parameters()
        for step in self._steps().values():
            step.check_parameters()
            step.check_references()
        session = Session(locate(source, self.input_folder()))
        numbers = session.select(self.scans)
        for step in self._steps().values():
            step.refuse_to_replace(numbers)
        workforce = self._workforce()
        workforce.check()
        beginning = self._describe_run(session, numbers)
        output = make_output(self._where_to(session), self.overwrite, session.path, self.product_kind)
        for line in beginning:
            logger.info("%s", line)
        product: CalibratedSession = calibrate_observations(session, numbers, self, output, workforce, self.timing)
        return product

    def _describe_run(self, session: Session, numbers: list[int]) -> list[str]:
        """Describe a run in lines: its scans, and parameters other than defaults by origin."""
        lines = [f"cal_pipeline {__version__}: {count_of(len(numbers), 'scan')} of {session.path}"]
        scans_of: dict[Path | None, list[int]] = defaultdict(list)
        for number, described in zip(numbers, session.root.each(session.describe, numbers), strict=True):
            if described is not None:
                scans_of[self._file_for(described)].append(number)
        for file, scans in scans_of.items():
            name = f"cfg/{file.name}" if file else "none is meant for such data"
            lines.append(f"parameter file of {'scan' if len(scans) == 1 else 'scans'} {ranges_of(scans)}: {name}")
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
        config = self._section(load_parameters(file)) if file else {}
        found: dict[str, list[str]] = defaultdict(list)
        for name, origin in self._adopt(config, f"cfg/{file.name}" if file else "").items():
            step, _, parameter = name.removeprefix("steps.").rpartition(".")
            owner: CalibrationBase = getattr(self, step) if step else self
            value = getattr(owner, parameter)
            if value != owner._default_parameters().get(parameter):
                found[origin].append(f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
        return found

    def check_parameters(self) -> None:
        """Refuse contradictory parameters of the run, and an output that is plainly no store."""
        if self.scheduler == "":
            raise ParameterError("scheduler is empty; expected the address of a Dask scheduler, as in tcp://head:8786")
        if self.scheduler:
            self.refuse_idle("workers", "scheduler", "the cluster has its own; leave one of them out")
        if self.output_file:
            refuse_other_format("calibration_pipeline", self.output_file, ".zarr", _STORE_ADVICE)
            written = any(step.save_results or step.output_file for step in self._steps().values())
            if not written and (is_url(self.output_file) or Path(self.output_file).is_absolute()):
                self.refuse_idle("output_dir", "output_file", "leave it out, or name the store without its folder")

    def _where_to(self, session: Session) -> str:
        """Return the location of the L1 store to write."""
        name = normalize_location(self.output_file or default_output(session))
        folder = normalize_location(self.output_dir or ".")
        if is_url(name):
            return name
        return f"{folder}/{name}" if is_url(folder) else str(Path(folder) / name)

    def _workforce(self) -> Workforce:
        """Choose the workforce: a Dask cluster, worker processes or this process."""
        if self.scheduler:
            return DaskCluster(self.scheduler, self.threads)
        return Processes(self.workers, self.threads) if self.workers > 1 else ThisProcess(self.threads)

    def prepare_for(self, scan: Scan) -> dict[str, Any]:
        """Adopt the parameters for a scan; return their provenance."""
        file = self._chosen_file(scan)
        if self._adopted is None or self._adopted[0] != file:
            origins = self.adopt_parameters(scan)
            self._adopted = file, json_ready({"parameters": self.get_pars(), "parameter_origins": origins})
        return self._adopted[1]

    def stages(self) -> dict[str, Callable[[Scan], Scan]]:
        """Return the functions to apply to a scan, by step name, in processing order."""
        return {name: step.run for name, step in self._steps().items()}

    def open_input(self, location: str) -> Session:
        """Open an L0 session."""
        return Session(location)

    def open_observation(self, dataset: Session, number: int) -> Scan:
        """Open a scan of a session."""
        return dataset.open_scan(number)

    def write_observation(self, observation: Scan, root: StorePath, provenance: dict[str, Any]) -> Written:
        """Compute the spectra of a scan and write them."""
        written = write_scan(observation, root, provenance, tuple(self.step_defs.values()))
        attributes = [band.attributes for band in written]
        skies = sky_entries(observation) or None
        return Written(summarize_scan(observation, attributes), worst_verdict(attributes), skies)

    def describe_timing(self, observation: Scan) -> str:
        """Format the timing line of a scan."""
        return format_timing(observation)

    def start_history(self) -> History:
        """Make the memory of the blank skies of a run."""
        return SkyHistory()

    def open_product(self, location: str) -> CalibratedSession:
        """Open an L1 store."""
        return CalibratedSession(location)

    def finish_product(self, product: CalibratedSession) -> None:
        """Write the table of quality figures beside the product."""
        write_quality_table(product)

    def _steps(self) -> dict[str, CalibrationStep]:
        return {name: getattr(self, name) for name in self.step_defs}

    def _adopt(self, config: Mapping[str, Any], file: str) -> dict[str, str]:
        origins = super()._adopt(config, file)
        for name, step in self._steps().items():
            adopted = step._adopt(step._section(config), file)
            origins |= {f"steps.{name}.{parameter}": origin for parameter, origin in adopted.items()}
        return origins

    def _described_by_parameters(self) -> dict[str, Any]:
        return self._steps()["prepare"]._described_by_parameters()

    @classmethod
    def _section(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        return config


def default_output(session: Session) -> str:
    """Return the default name of the L1 store."""
    name = session.path.rsplit("/", 1)[-1] if is_url(session.path) else Path(session.path).name
    stem = re.sub(r"(\.zarr)?(\.zip)?$", "", name, flags=re.IGNORECASE)
    return f"{stem}_l1.zarr"
