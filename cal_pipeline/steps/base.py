"""What all steps and pipelines share: strict parameters, local reference files, status in the scan."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from os.path import abspath, dirname, splitext
from pathlib import Path
from typing import Any, ClassVar

from configobj import ConfigObj
from stpipe import Step, config_parser, crds_client
from stpipe.config_parser import ValidationError
from stpipe.step import get_disable_crds_steppars

from cal_pipeline.errors import CalibrationError, NoInputError
from cal_pipeline.logs import log_to_stderr
from cal_pipeline.models.locations import normalize_location
from cal_pipeline.models.scan import Band, Scan
from cal_pipeline.models.session import Session
from cal_pipeline.references.parameter_files import choose_parameters
from cal_pipeline.steps.origins import GIVEN, load_parameters, mark_disabled, merge_chosen, origins_of, remove_chosen

logger = logging.getLogger(__name__)


class ParameterError(CalibrationError, AttributeError, ValidationError):  # type: ignore[misc]
    """A parameter that does not exist, or a value that it does not take."""


_SET_BY_RUN = frozenset({"save_results", "suffix", "output_file", "output_dir", "input_dir"})
"""Parameters of one run, which no file that is chosen by the data sets, and which `run` changes itself."""

_SET_BY_STPIPE = frozenset({"name", "qualified_name", "parent", "config_file", "steps", "class", "logcfg"})


def _specification(cls: type[Step]) -> dict[str, Any]:
    """Parameters of a step or pipeline (with its steps) and what values they take; parsed once a class."""
    if "_parsed_specification" not in vars(cls):
        cls._parsed_specification = dict(cls.load_spec_file())
    return dict(cls._parsed_specification)


@cache
def _single(name: str, check: str) -> ConfigObj:
    """The specification of one parameter; parsed once, where each of a hundred is set in every run."""
    return ConfigObj({name: check}, list_values=False, interpolation=False)


class CalibrationBase(Step):  # type: ignore[misc]
    """Base of the steps and of the pipeline.

    Parameters are checked wherever they are set: in a file, on the command line, as a keyword, as an
    attribute. Reference files come from a local registry; no server is ever asked.
    """

    spec = """
    output_ext       = string(default='.asdf')   # Type of the files that steps write
    output_file      = string(default=None)      # File to save output to
    output_use_model = boolean(default=True)     # Name the files that steps write after the scan
    """

    prefetch_references = False

    _remembers_origins = True
    _uses_parameter_files = True
    _applicable = True

    coercions: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    """Further checks of parameters: functions that return the value to use or raise ValueError."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        self._origins: dict[str, str] = {}
        with _explained(type(self), parameters), self._silent_about_origins():
            super().__init__(*args, **parameters)
        if parameters.get("_validate_kwds", True):
            self._record_origins(origins_of(parameters))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a parameter after checking it; an unknown one is refused."""
        cls = type(self)
        spec = _specification(cls)
        if name in spec and not isinstance(spec[name], dict):
            value = self._checked(name, spec[name], value)
            if self._remembers_origins and name not in _SET_BY_RUN:
                self._origins[name] = GIVEN
        elif not (
            name.startswith("_")
            or name in _SET_BY_STPIPE
            or name in getattr(cls, "step_defs", {})
            or hasattr(cls, name)
        ):
            known = [*spec, *getattr(cls, "step_defs", {})]
            raise ParameterError(f"{cls.__name__} has no parameter {name!r}{_suggest(name, known)}")
        super().__setattr__(name, value)

    def _checked(self, name: str, check: str, value: Any) -> Any:
        """The value of a parameter in its own type."""
        try:
            checked = config_parser.config_from_dict({name: value}, _single(name, check))[name]
            if checked is not None and name in self.coercions:
                checked = self.coercions[name](checked)
        except (ValidationError, ValueError) as error:
            raise ParameterError(
                f"{type(self).__name__}: {name} = {value!r} is not accepted; expected {check}"
                + (f" ({error})" if isinstance(error, ValueError) else "")
            ) from error
        return checked

    @classmethod
    def call(cls, *args: Any, configure_log: bool = True, **parameters: Any) -> Any:
        """Make a step or pipeline and run it; see `stpipe.Step.call`.

        Parameters
        ----------
        *args
            What the step or pipeline is run on.
        configure_log : bool
            Log to standard error, in the format of the commands, as long as this lasts. Nothing is added where the
            root logger already writes there.
        **parameters
            Parameters, and ``config_file``, a parameter file.
        """
        with log_to_stderr() if configure_log else nullcontext():
            return super().call(*args, configure_log=False, **parameters)

    @classmethod
    def from_config_section(
        cls,
        config: Any,
        parent: Step | None = None,
        name: str | None = None,
        config_file: str | None = None,
    ) -> Step:
        """Make a step from parameters; see `stpipe.Step.from_config_section`.

        Raises
        ------
        ParameterError
            For a parameter that does not exist, with the nearest that does, and for a value that is not accepted,
            with those that are.
        """
        in_file = config_parser.load_config_file(str(config_file)) if config_file and parent is None else {}
        chosen = remove_chosen(config)
        origins = origins_of(config, in_file, f"file {config_file}")
        with _explained(cls, config):
            step: CalibrationBase = super().from_config_section(
                config, parent=parent, name=name, config_file=config_file
            )
        step._record_origins(origins)
        step._uses_parameter_files = chosen
        return step

    def _record_origins(self, origins: Mapping[str, Any]) -> None:
        """Remember which parameters were given, and how."""
        self._origins = {name: origin for name, origin in origins.items() if isinstance(origin, str)}
        for name in getattr(type(self), "step_defs", {}):
            getattr(self, name)._record_origins(origins.get("steps", {}).get(name, {}))

    @contextmanager
    def _silent_about_origins(self) -> Iterator[None]:
        """Parameters that are set within the block do not count as given."""
        before, self._remembers_origins = self._remembers_origins, False
        try:
            yield
        finally:
            self._remembers_origins = before

    def adopt_parameters(self, scan: Scan) -> dict[str, str]:
        """Take what was not given from the parameter file that `cfg` holds for the data, else the default.

        Parameters
        ----------
        scan : Scan
            The data.

        Returns
        -------
        dict
            Where each parameter that is not a default comes from, by its name as on the command line.
        """
        path = self._chosen_file(scan)
        config = self._section(load_parameters(path)) if path else {}
        return self._adopt(config, f"cfg/{path.name}" if path else "")

    def _chosen_file(self, scan: Scan) -> Path | None:
        """The parameter file that is meant for the data; None for none."""
        return self._file_for(scan.get_crds_parameters())

    def _file_for(self, described: Mapping[str, Any]) -> Path | None:
        """The parameter file for data of a telescope, frontend and mode; None for none."""
        if not self._uses_parameter_files or get_disable_crds_steppars():
            return None
        return choose_parameters(**{**described, **self._described_by_parameters()})

    def _described_by_parameters(self) -> dict[str, Any]:
        """What parameters say of the data, over what the data say of themselves."""
        mode = getattr(self, "mode", "auto") if "mode" in self._origins else "auto"
        return {} if mode == "auto" else {"mode": mode}

    def _adopt(self, config: Mapping[str, Any], file: str) -> dict[str, str]:
        origins = dict(self._origins)
        with self._silent_about_origins():
            for name, default in self._default_parameters().items():
                if name not in self._origins and name not in _SET_BY_RUN:
                    value = config.get(name, default)
                    if name in config:
                        origins[name] = file
                    setattr(self, name, value)
        return origins

    @classmethod
    def _default_parameters(cls) -> dict[str, Any]:
        """Parameters when nothing is given; of a pipeline without those of its steps. Made once a class."""
        if "_defaults" not in vars(cls):
            cls._defaults = {name: value for name, value in cls().get_pars().items() if name != "steps"}
        return dict(cls._defaults)

    @classmethod
    def _section(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a parameter file of the pipeline says of this step."""
        found: Mapping[str, Any] = config.get("steps", {}).get(cls.class_alias, {})
        return found

    def get_pars(self, full_spec: bool = True) -> dict[str, Any]:
        """Parameters and their values, those that override a reference file among them."""
        parameters: dict[str, Any] = super().get_pars(full_spec=full_spec)
        reference_types = type(self).reference_file_types
        for reference_type in reference_types if isinstance(reference_types, list) else []:
            name = crds_client.get_override_name(reference_type)
            override = getattr(self, name, None)
            parameters[name] = abspath(override) if isinstance(override, str) else override
        return parameters

    @classmethod
    def _get_crds_parameters(cls, dataset: Any) -> tuple[dict[str, Any], str]:
        """What parameters and reference files are chosen by; nothing is asked of a server."""
        try:
            scan = first_scan(dataset)
        except CalibrationError:
            # Whoever opens it next says what is wrong with it.
            return {}, Scan.crds_observatory
        return scan.get_crds_parameters(), scan.crds_observatory

    @classmethod
    def get_config_from_reference(
        cls, dataset: Any, disable: bool | None = None, crds_observatory: str | None = None
    ) -> ConfigObj:
        """Parameters that `cfg` holds for data of a telescope, frontend and mode.

        Parameters
        ----------
        dataset : Scan, str, Path or dict
            The data, or what is known of them: ``telescope``, ``frontend`` and ``mode``. Of a session, its first scan.
        disable : bool, optional
            Whether to do without.
        crds_observatory : str, optional
            Not used.

        Returns
        -------
        ConfigObj
            Empty where no file is meant for such data. What a run takes from it is chosen again for each scan.
        """
        config = cls._empty_config()
        if get_disable_crds_steppars(disable):
            mark_disabled(config)
            return config
        described = dataset if isinstance(dataset, dict) else cls._get_crds_parameters(dataset)[0]
        path = choose_parameters(**described) if described else None
        if path is not None:
            merge_chosen(config, cls._section(load_parameters(path)))
        return config

    def _precache_references(self, input_file: Any) -> None:
        """Nothing to fetch: reference files are local."""

    @staticmethod
    def get_stpipe_loggers() -> tuple[str, ...]:
        """Loggers that a run configures; the root logger is left alone."""
        return ("cal_pipeline", "stpipe")

    @classmethod
    def _datamodels_open(cls, init: Any, **_: Any) -> Scan:
        return open_scan(init)

    def default_suffix(self) -> str:
        """What the files of this step end in, whether it runs alone or in a pipeline."""
        return str(self.class_alias or self.name.lower())

    @staticmethod
    def _make_output_path(
        step: Step, basepath: str | None = None, ext: str | None = None, suffix: str | None = None, **_: Any
    ) -> str:
        """Where a step writes: named after the scan and the step, in ``output_dir`` or beside the product."""
        stem = splitext(Path(basepath or step.default_output_file()).name)[0]
        tail = suffix or step.search_attr("suffix") or step.name.lower()
        for known in getattr(step, "stage_names", ()):
            stem = stem.removesuffix(f"_{known}")
        product = step.search_attr("output_file")
        folder = step.search_attr("output_dir") or (dirname(product) if product else "")
        file = f"{stem}_{tail}.{(ext or step.output_ext).lstrip('.')}"
        return str(Path(normalize_location(folder)) / file)

    def finalize_result(self, result: Any, reference_files_used: list[tuple[str, str]]) -> None:
        """Record in the scan that the step has run, or that there was nothing for it to do."""
        if isinstance(result, Scan) and self.class_alias and not self.skip:
            setattr(result.meta.cal_step, self.class_alias, "COMPLETE" if self._applicable else "SKIPPED")


class CalibrationStep(CalibrationBase):
    """Base of the steps: takes a scan (or where one is stored) and returns it with a result added."""

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
            The same scan, with the result of this step.
        """
        if source is None:
            raise NoInputError(f"no scan given; name one, as in strun {self.class_alias} session.zarr/scan_025650")
        scan = open_scan(source)
        if self.parent is None:
            self.adopt_parameters(scan)
        self.check_parameters()
        self._applicable = True
        self.process_scan(scan)
        return scan

    def process_scan(self, scan: Scan) -> None:
        """Add the result of this step to the bands of a scan; one by one, unless a step needs them together."""
        for band in scan.bands:
            self.process_band(band, scan)

    def not_applicable(self, reason: str) -> None:
        """Say why there is nothing to do, and record the step as skipped."""
        logger.info("%s: skipped: %s", self.class_alias, reason)
        self._applicable = False

    def check_parameters(self) -> None:
        """Refuse parameters that do not go together; overridden where there are any."""

    def check_references(self) -> None:
        """Refuse an override of a reference file that cannot be opened, before any scan is read."""
        for reference_type in self.reference_file_types:
            override = self.get_ref_override(reference_type)
            if override:
                crds_client.check_reference_open(override)

    def process_band(self, band: Band, scan: Scan) -> None:
        """Add the result of this step to a band."""
        raise TypeError(f"{type(self).__name__} does not say what it does to a band")

    def reference_path(self, reference_type: str, choose: Callable[[], Path]) -> Path:
        """The reference file to use: the one given as ``override_<type>``, else what `choose` finds."""
        override = self.get_ref_override(reference_type)
        path = Path(override) if override else choose()
        crds_client.check_reference_open(str(path))
        self._reference_files_used.append((reference_type, str(path)))
        return path


def first_scan(source: Any) -> Scan:
    """The scan that tells what data there are: the only one, or the first of a session."""
    path = None if isinstance(source, Scan) else Path(source)
    if path is None or path.suffix == ".asdf" or re.fullmatch(r"scan_\d{6}", path.name):
        return open_scan(source)
    session = Session(path)
    return session.open_scan(session.select(None)[0])


def open_scan(source: Scan | str | Path) -> Scan:
    """Open a scan from wherever it is; see :meth:`CalibrationStep.process`."""
    if isinstance(source, Scan):
        return source
    path = Path(source)
    if path.suffix == ".asdf":
        return Scan.open(path)
    named = re.fullmatch(r"scan_(\d{6})", path.name)
    session = Session(path.parent if named else path)
    numbers = session.select([int(named[1])] if named else None)
    if len(numbers) != 1:
        raise CalibrationError(
            f"{path} holds {len(numbers)} scans and a step takes one; name it, as in {path}/scan_{numbers[0]:06d}"
        )
    return session.open_scan(numbers[0])


@contextmanager
def _explained(cls: type[Step], config: Mapping[str, Any]) -> Iterator[None]:
    """Refuse parameters that do not exist, and say of values that are refused within the block what is accepted."""
    unknown = _unknown_parameters(config, _specification(cls))
    if unknown:
        raise ParameterError(f"{cls.__name__}: " + "; ".join(unknown))
    try:
        yield
    except ParameterError:
        raise
    except ValidationError as error:
        raise ParameterError(f"{cls.__name__}: {_with_expectations(cls, str(error))}") from error


def _suggest(name: str, known: list[str]) -> str:
    """A hint at what was meant."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}"


def _unknown_parameters(config: Any, spec: dict[str, Any], where: str = "") -> list[str]:
    """Parameters in `config` that `spec` does not know, each with a hint."""
    problems = []
    for key, value in config.items():
        if key not in spec:
            if key not in _SET_BY_STPIPE and not key.startswith("_"):
                problems.append(f"no parameter {where + key!r}{_suggest(key, list(spec))}")
        elif isinstance(spec[key], dict) and isinstance(value, dict):
            problems += _unknown_parameters(value, dict(spec[key]), f"{where}{key}.")
    return problems


def _with_expectations(cls: type[Step], message: str) -> str:
    """The message of a failed validation, with what each parameter it names would take."""
    lines = []
    for line in message.splitlines():
        match = re.match(r"Config parameter '(.+?)'", line)
        check: Any = _specification(cls)
        for key in match[1].split("/") if match else []:
            check = check.get(key, {}) if isinstance(check, dict) else {}
        lines.append(f"{line} Expected {check}." if isinstance(check, str) else line)
    return "\n".join(lines)
