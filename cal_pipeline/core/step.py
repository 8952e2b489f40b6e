"""Base of all steps and pipelines: strict parameters, local reference files, status in the scan."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from os.path import abspath, dirname, splitext
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from stpipe import Step, config_parser, crds_client
from stpipe.step import get_disable_crds_steppars

from cal_pipeline.core.errors import CalibrationError, NoInputError, OutputExistsError
from cal_pipeline.core.logs import log_to_stderr
from cal_pipeline.core.parameters.checked import CheckedStep
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.origins import Parameters, load_parameters
from cal_pipeline.core.records import record_of_step
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.heterodyne.parameter_files import choose_parameters
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.sources import first_scan, open_scan

__all__ = [
    "CalibrationBase",
    "CalibrationStep",
    "ParameterError",
    "first_scan",
    "open_scan",
    "refuse_other_format",
]

logger = logging.getLogger(__name__)

_OF_ONE_RUN = frozenset({"save_results", "suffix", "output_file", "output_dir", "input_dir", "skip"})
"""Parameters that stpipe changes in a run.

A step that runs alone never takes them from a file chosen by the data.
"""

_OTHER_FORMAT = re.compile(
    r"(asdf|cfg|csv|dat|fits?|gz|h5|hdf5?|ini|json|log|nc|np[yz]|parquet|pdf|png|py|sdfits|tar|tgz|toml|txt|ya?ml|zip)"
)
"""Suffixes of file formats other than Zarr."""


class CalibrationBase(CheckedStep):
    """Base of the steps and of the pipeline.

    Parameters are checked wherever they are set: in a file, on the command line, as a keyword, as
    an attribute. Reference files come from a local registry; no server is ever asked.
    """

    spec = """
    output_ext       = string(default='.asdf')   # Suffix of the files that steps write
    output_file      = string(default=None)      # File to save output to
    output_use_model = boolean(default=True)     # Name the files of steps after the scan
    """

    prefetch_references = False

    _applicable = True

    @classmethod
    def call(cls, *args: Any, configure_log: bool = True, **parameters: Any) -> Any:
        """Make a step or pipeline and run it; see `stpipe.Step.call`.

        Parameters
        ----------
        *args
            Input of the step or pipeline.
        configure_log : bool
            Log to standard error, in the format of the commands, as long as this lasts. Nothing is
            added where the root logger already writes there.
        **parameters
            Parameters, and ``config_file``, a parameter file.
        """
        with log_to_stderr() if configure_log else nullcontext():
            return super().call(*args, configure_log=False, **parameters)

    def adopt_parameters(self, scan: Scan) -> dict[str, str]:
        """Set parameters that were not given, from the file in `cfg` for the data or by default.

        Parameters
        ----------
        scan : Scan
            The data.

        Returns
        -------
        dict
            Origin of each parameter that is not a default, by its name on the command line.
        """
        path = self._chosen_file(scan)
        config = self._section(load_parameters(path)) if path else {}
        return self._adopt(config, f"cfg/{path.name}" if path else "")

    def _chosen_file(self, scan: Scan) -> Path | None:
        """Return the parameter file that is meant for the data; None for none."""
        return self._file_for(scan.get_crds_parameters())

    def _file_for(self, described: Mapping[str, Any]) -> Path | None:
        """Return the parameter file for data of a telescope, frontend and mode; None for none."""
        if not self._uses_parameter_files or get_disable_crds_steppars():
            return None
        return choose_parameters(**{**described, **self._described_by_parameters()})

    def _described_by_parameters(self) -> dict[str, Any]:
        """Return what parameters say of the data, over what the data say of themselves."""
        mode = getattr(self, "mode", "auto") if "mode" in self._origins else "auto"
        return {} if mode == "auto" else {"mode": mode}

    def _adopt(self, config: Mapping[str, Any], file: str) -> dict[str, str]:
        kept = _OF_ONE_RUN if self.parent is None else _OF_ONE_RUN - {"skip"}
        origins = dict(self._origins)
        with self._set_by("file"):
            for name, default in self._default_parameters().items():
                if name not in self._origins and name not in kept:
                    value = config.get(name, default)
                    if name in config:
                        origins[name] = file
                    setattr(self, name, value)
        self._used_origins = origins
        return origins

    @classmethod
    def _section(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a parameter file of the pipeline says of this step."""
        found: Mapping[str, Any] = config.get("steps", {}).get(cls.class_alias, {})
        return found

    def get_pars(self, full_spec: bool = True) -> dict[str, Any]:
        """Return parameters and their values, those that override a reference file among them."""
        parameters: dict[str, Any] = super().get_pars(full_spec=full_spec)
        reference_types = type(self).reference_file_types
        for reference_type in reference_types if isinstance(reference_types, list) else []:
            name = crds_client.get_override_name(reference_type)
            override = getattr(self, name, None)
            parameters[name] = abspath(override) if isinstance(override, str) else override
        return parameters

    @classmethod
    def _get_crds_parameters(cls, dataset: Any) -> tuple[dict[str, Any], str]:
        """Return the keys for the choice of parameter and reference files, without any server."""
        try:
            scan = first_scan(dataset)
        except CalibrationError:
            # Opening the scan later reports the error.
            return {}, Scan.crds_observatory
        return scan.get_crds_parameters(), scan.crds_observatory

    @classmethod
    def get_config_from_reference(
        cls, dataset: Any, disable: bool | None = None, crds_observatory: str | None = None
    ) -> ConfigObj:
        """Return the parameters in `cfg` for data of a telescope, frontend and mode.

        Parameters
        ----------
        dataset : Scan, str, Path or dict
            The data, or what is known of them: ``telescope``, ``frontend`` and ``mode``. Of a
            session, its first scan.
        disable : bool, optional
            Whether to do without.
        crds_observatory : str, optional
            Not used.

        Returns
        -------
        ConfigObj
            Empty where no file is meant for such data. What a run takes from it is chosen again for
            each scan.
        """
        config = Parameters()
        if cls._step_classes():
            config["steps"] = {}
        if get_disable_crds_steppars(disable):
            config.may_choose = False
            return config
        described = dataset if isinstance(dataset, dict) else cls._get_crds_parameters(dataset)[0]
        path = choose_parameters(**described) if described else None
        if path is not None:
            config_parser.merge_config(config, cls._section(load_parameters(path)))
            for name in ("name", "class"):
                config.pop(name, None)
        return config

    def _precache_references(self, input_file: Any) -> None:
        """Fetch nothing: reference files are local."""

    @staticmethod
    def get_stpipe_loggers() -> tuple[str, ...]:
        """List the loggers that a run configures; the root logger is left alone."""
        return ("cal_pipeline", "stpipe")

    @classmethod
    def _datamodels_open(cls, init: Any, **_: Any) -> Scan:
        return open_scan(init)

    def input_folder(self) -> str:
        """Return the folder that the user named for inputs; empty for none."""
        return str(self.input_dir or "") if "input_dir" in self._origins else ""

    def default_suffix(self) -> str:
        """Return what the files of this step end in, whether it runs alone or in a pipeline."""
        return str(self.class_alias or self.name.lower())

    @staticmethod
    def _make_output_path(
        step: Step, basepath: str | None = None, ext: str | None = None, suffix: str | None = None, **_: Any
    ) -> str:
        """Return where a step writes.

        Alone under the name that was given; else named after the scan and the step, in
        ``output_dir`` or beside the product.
        """
        if step.parent is None and step.output_file:
            return str(Path(normalize_location(step.output_dir or "."), normalize_location(step.output_file)))
        stem = splitext(Path(basepath or step.default_output_file()).name)[0]
        tail = suffix or step.suffix or step.default_suffix()
        for known in getattr(step, "stage_names", ()):
            stem = stem.removesuffix(f"_{known}")
        product = step.search_attr("output_file")
        folder = step.search_attr("output_dir") or (dirname(product) if product else "")
        file = f"{stem}_{tail}.{(ext or step.output_ext).lstrip('.')}"
        return str(Path(normalize_location(folder)) / file)

    def finalize_result(self, result: Any, reference_files_used: list[tuple[str, str]]) -> None:
        """Record in the scan that the step has run, or that there was nothing for it to do."""
        self._references = list(reference_files_used)
        if isinstance(result, Scan) and self.class_alias and not self.skip:
            setattr(result.meta.cal_step, self.class_alias, "COMPLETE" if self._applicable else "SKIPPED")


class CalibrationStep(CalibrationBase):
    """Base of the steps, which take a scan (or its location) and return it with a result added."""

    spec = """
    overwrite = boolean(default=False)   # Replace an existing file
    """

    overwrite: bool

    stage_names = ("loads", "gain", "prepare", "atmosphere", "calibrate", "dbs", "skychopdiff", "skydiff")

    def process(self, source: Scan | str | Path | None = None) -> Scan:
        """Run the step on every band of a scan.

        Parameters
        ----------
        source : Scan, str or Path
            A scan, a file that a step wrote, or a session with one scan to calibrate
            (``session.zarr/scan_025650`` for one of many).

        Returns
        -------
        Scan
            The input scan, with the result of this step.
        """
        if source is None:
            raise NoInputError(f"no scan given; name one, as in strun {self.class_alias} session.zarr/scan_025650")
        alone = self.parent is None
        scan = open_scan(source, self.input_folder() if alone else "")
        if alone:
            self.adopt_parameters(scan)
        self.check_parameters()
        if alone:
            self.check_references()
            self.refuse_to_replace([scan.number])
        self._applicable = True
        self.process_scan(scan)
        if alone and self._applicable:
            described = (f"{band}: {self.describe_result(band)}" for band in scan.bands)
            logger.info("%s: %s", self.class_alias, "; ".join(described))
        return scan

    def process_scan(self, scan: Scan) -> None:
        """Add the result of this step to the bands of a scan, one by one unless overridden."""
        for band in scan.bands:
            self.process_band(band, scan)

    def not_applicable(self, reason: str) -> None:
        """Log the reason for having nothing to do, and record the step as skipped."""
        logger.info("%s: skipped: %s", self.class_alias, reason)
        self._applicable = False

    def check_parameters(self) -> None:
        """Refuse contradictory parameters; overridden by steps that can have some."""

    def check_references(self) -> None:
        """Refuse an override of a reference file that cannot be opened, before any scan is read."""
        for reference_type in self.reference_file_types:
            override = getattr(self, crds_client.get_override_name(reference_type), None)
            if override:
                self._check_override(reference_type, override)

    def _check_override(self, reference_type: str, override: Any) -> None:
        parameter = f"{self.class_alias}: {crds_client.get_override_name(reference_type)}"
        if isinstance(override, str) and is_url(override):
            raise ParameterError(f"{parameter} = {override!r} is remote; expected a local file, copy it first")
        try:
            crds_client.check_reference_open(self.get_ref_override(reference_type))
        except OSError as error:
            raise type(error)(
                error.errno,
                f"{parameter} cannot be opened ({error.strerror}); expected a file of type {reference_type!r}",
                error.filename,
            ) from error
        if isinstance(override, str) and override != "N/A":
            self.open_reference(Path(self.get_ref_override(reference_type)))

    def open_reference(self, path: Path) -> object:
        """Open a reference file or raise an error; overridden by steps with reference files."""

    def refuse_to_replace(self, numbers: list[int]) -> None:
        """Refuse to run if a file that the step is to write exists and may not be replaced.

        Parameters
        ----------
        numbers : list of int
            Numbers of the scans.

        Raises
        ------
        OutputExistsError
            If there is such a file.
        ParameterError
            If the name of the file is that of another format.
        """
        if self.skip or not (self.save_results or self.output_file):
            return
        if self.parent is None:
            self._check_output_name()
        if self.overwrite or (self.parent is not None and self.parent.overwrite):
            return
        for number in numbers:
            path = self.make_output_path(basepath=f"scan_{number:06d}.asdf")
            if os.path.exists(path):
                raise OutputExistsError(f"{self.class_alias}: output {path} exists; give overwrite=True to replace it")

    def _check_output_name(self) -> None:
        """Refuse the name of a file that cannot be an ASDF file in a local folder."""
        for name, location in (("output_file", self.output_file), ("output_dir", self.output_dir)):
            if location and is_url(location):
                raise ParameterError(
                    f"{self.class_alias}: {name} = {location!r} is remote; steps write to local folders only"
                )
        if self.output_file:
            advice = "a step writes an ASDF file, name it as in loads.asdf"
            refuse_other_format(str(self.class_alias), self.output_file, ".asdf", advice)
            self.refuse_idle("suffix", "output_file", "leave one of them out")

    def save_model(self, model: Any, *args: Any, **keywords: Any) -> Any:
        """Write a scan, with the parameters that made it; see `stpipe.Step.save_model`."""
        if isinstance(model, Scan):
            steps = [self] if self.parent is None else [getattr(self.parent, name) for name in self.parent.step_defs]
            done = vars(model.meta.cal_step)
            for step in steps:
                if step is self or done.get(step.class_alias) == "COMPLETE":
                    model.meta.made_by[step.class_alias] = record_of_step(step, step._used_origins, step._references)
        return super().save_model(model, *args, **keywords)

    def describe_result(self, band: Band) -> str:
        """Describe the result of the step for a band in a few words, for the log."""
        return "done"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Add the result of this step to a band."""
        raise TypeError(f"{type(self).__name__} does not say what it does to a band")

    def reference_path(self, reference_type: str, choose: Callable[[], Path]) -> Path:
        """Return the reference file to use: ``override_<type>`` if given, else that of `choose`."""
        override = self.get_ref_override(reference_type)
        path = Path(override) if override else choose()
        crds_client.check_reference_open(str(path))
        self._reference_files_used.append((reference_type, str(path)))
        return path


def refuse_other_format(owner: str, output: str, own: str, advice: str) -> None:
    """Refuse an output whose name implies another format.

    Parameters
    ----------
    owner : str
        Step or pipeline, for the message.
    output : str
        Name of the output.
    own : str
        Suffix of its format, with the dot.
    advice : str
        Advice on the name, for the message.

    Raises
    ------
    ParameterError
        If the name ends in another well-known suffix.
    """
    suffix = splitext(output.rstrip("/\\"))[1].lower()
    if suffix != own and (suffix == ".zarr" or _OTHER_FORMAT.fullmatch(suffix[1:])):
        raise ParameterError(f"{owner}: output_file = {output!r} ends in {suffix!r}; {advice}")
