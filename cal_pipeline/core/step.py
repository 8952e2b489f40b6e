"""Base of all steps and pipelines: strict parameters, local reference files, status in the observation."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from os.path import abspath, dirname, splitext
from pathlib import Path
from typing import Any, ClassVar

from configobj import ConfigObj
from stpipe import Step, config_parser, crds_client
from stpipe.step import get_disable_crds_steppars

from cal_pipeline.core.errors import CalibrationError, NoInputError, OutputExistsError
from cal_pipeline.core.logs import log_to_stderr
from cal_pipeline.core.parameters.checked import CheckedStep
from cal_pipeline.core.parameters.classes import is_own_class
from cal_pipeline.core.parameters.messages import ALLOW, TRUST_ADVICE, ParameterError
from cal_pipeline.core.parameters.origins import Parameters, load_parameters, plain_tree
from cal_pipeline.core.parameters.resolved import DEFAULT, ResolvedParameters
from cal_pipeline.core.parameters.specification import find_defaults
from cal_pipeline.core.parameters.trust import refuse_entry
from cal_pipeline.core.records import record_step
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.product import Key, ProductKind
from cal_pipeline.core.store.records import RUN_ONLY

logger = logging.getLogger(__name__)

_HOOKS = frozenset({"pre_hooks", "post_hooks"})

_NEVER_CHOSEN = RUN_ONLY | {"skip"}
"""Parameters that no file chosen by the data decides: those of one run.

For the steps of a pipeline it may hold ``skip``, and hooks if the user allows code: these begin
after the choice.
"""

_CHOSEN_IN_PIPELINE = _HOOKS | {"skip"}

_OTHER_FORMAT = re.compile(
    r"(asdf|cfg|csv|dat|fits?|gz|h5|hdf5?|ini|json|log|nc|np[yz]|parquet|pdf|png|py|sdfits|tar|tgz|toml|txt|ya?ml|zip)"
)
"""Suffixes of file formats other than Zarr."""


class BaseStep(CheckedStep):
    """Base of steps and pipelines.

    Parameters are checked wherever they are set: in a file, on the command line, as a keyword, as
    an attribute. Reference files come from a local registry; no server is ever asked.

    A family of instruments overrides :meth:`open_source`, :meth:`first_observation`,
    :meth:`choose_parameter_file` and the names below.
    """

    spec = """
    output_ext       = string(default='.asdf')   # Suffix of the files that steps write
    output_file      = string(default=None)      # File to save output to
    output_use_model = boolean(default=True)     # Name the files of steps after the observation
    """

    prefetch_references = False

    product_kind: ClassVar[ProductKind] = ProductKind("observation", "product", "", "observation")
    """Names of observations and of the product that they are processed to."""

    observation_type: ClassVar[type[Any]] = object
    """Class of the observations."""

    stage_names: ClassVar[tuple[str, ...]] = ()
    """Aliases of the steps of the family, which end the names of the files that they write."""

    _applicable = True

    _exit_status = 0

    @property
    def exit_status(self) -> int:
        """Exit status of a command after the most recent run; 0 if it did all that it was asked for."""
        return int(self._exit_status if self._last is None else getattr(self._last, "_exit_status", 0))

    @classmethod
    def grade_error(cls, error: Exception) -> Exception:
        """Give an error the exit status that the commands of the family promise; by default it has its own."""
        return error

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> Any:
        """Open an observation.

        Parameters
        ----------
        source : object
            An observation, or the location of one.
        input_dir : str
            Folder of an input that is given without one.

        Raises
        ------
        CalibrationError
            If there is no observation, or more than one.
        """
        raise TypeError(f"{cls.__name__} does not say how its data are opened")

    @classmethod
    def first_observation(cls, source: Any) -> Any:
        """Open the observation that represents an input: the only one, or the first of many."""
        return cls.open_source(source)

    @classmethod
    def choose_parameter_file(cls, described: Mapping[str, Any]) -> Path | None:
        """Choose the parameter file for data; None for none.

        Parameters
        ----------
        described : mapping
            Keys of the data, as of :meth:`Observation.get_crds_parameters`.
        """
        return None

    def describe_by_parameters(self) -> dict[str, Any]:
        """Return keys for the choice of the parameter file that given parameters override."""
        return {}

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

    def resolve_with(self, file: Path | None) -> ResolvedParameters:
        """Resolve the parameters with a file that is chosen by the data, or none.

        Raises
        ------
        ParameterError
            If the file would run code, and the user did not give ``allow_code``.
        """
        if file is None:
            return self.parameters
        config = load_parameters(file)
        if not self.given(ALLOW):
            self._refuse_code_in(config, f"cfg/{file.name}")
        return self._adopt(self.parameters, self._section(config), file)

    @classmethod
    def _refuse_code_in(cls, config: Mapping[str, Any], origin: str, where: str = "") -> None:
        """Refuse hooks and foreign classes in a file that was chosen by the data."""
        given = str(config.get("class") or "")
        if not is_own_class(given, cls):
            raise ParameterError(f"{origin}: {where}class = {given!r} is not of this package; {TRUST_ADVICE}")
        for name, value in config.items():
            if isinstance(value, Mapping):
                cls._refuse_code_in(value, origin, f"{where}{name}.")
            elif name in _HOOKS:
                refuse_entry(name, value, origin, where)

    def log_ignored(self, file: Path | None) -> None:
        """Log the parameters of a file chosen by the data that it does not decide."""
        if file is None:
            return
        config = self._section(load_parameters(file))
        names = self._ignored_in(config, _NEVER_CHOSEN - {"skip"} | {self.product_kind.selection})
        for key, step in self._step_classes().items():
            ignored = step._ignored_in(step._section(config), _NEVER_CHOSEN - _CHOSEN_IN_PIPELINE)
            names += [f"steps.{key}.{name}" for name in ignored]
        if names:
            logger.warning("cfg/%s: %s ignored; the data do not decide how a run goes", file.name, ", ".join(names))

    def _file_for(self, described: Mapping[str, Any]) -> Path | None:
        """Return the parameter file for described data; None for none."""
        if not self._uses_parameter_files or get_disable_crds_steppars():
            return None
        return self.choose_parameter_file({**described, **self.describe_by_parameters()})

    @classmethod
    def _ignored_in(cls, config: Mapping[str, Any], kept: frozenset[str]) -> list[str]:
        """List the parameters among `kept` for which a file has another value than the default."""
        usual = find_defaults(cls)
        return [
            name
            for name in sorted(kept & set(config))
            if str(config[name]) not in ("", "None", "[]", str(usual.get(name)))
        ]

    @classmethod
    def _adopt(
        cls,
        parameters: ResolvedParameters,
        config: Mapping[str, Any],
        file: Path,
        kept: frozenset[str] = _NEVER_CHOSEN,
    ) -> ResolvedParameters:
        """Take values from a file where the user gave none."""
        kept |= {cls.product_kind.selection}
        free = [name for name in parameters.values if name not in parameters.origins and name not in kept]
        steps = {
            name: step._adopt(parameters.steps[name], step._section(config), file, _NEVER_CHOSEN - _CHOSEN_IN_PIPELINE)
            for name, step in cls._step_classes().items()
        }
        values = {name: cls._checked(name, config[name]) for name in free if name in config}
        return replace(parameters.adopt(values, file), steps=steps)

    @classmethod
    def _section(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the section of a pipeline's parameter file for this step, or all of it for a pipeline."""
        if cls._step_classes():
            return config
        found: Mapping[str, Any] = config.get("steps", {}).get(cls.class_alias, {})
        return found

    def get_pars(self, full_spec: bool = True) -> dict[str, Any]:
        """Return parameters and their values, those that override a reference file among them."""
        parameters: dict[str, Any] = super().get_pars(full_spec=full_spec)
        # stpipe returns them as they are before the coercions.
        parameters |= {name: getattr(self, name) for name in self.coercions if name in parameters}
        reference_types = type(self).reference_file_types
        for reference_type in reference_types if isinstance(reference_types, list) else []:
            name = crds_client.get_override_name(reference_type)
            override = getattr(self, name, None)
            parameters[name] = abspath(override) if isinstance(override, str) else override
        return parameters

    @classmethod
    def _get_crds_parameters(cls, dataset: Any) -> tuple[dict[str, Any], str]:
        """Return the keys for the choice of parameter and reference files, without any server."""
        observatory = str(getattr(cls.observation_type, "crds_observatory", ""))
        try:
            observation = cls.first_observation(dataset)
        except CalibrationError:
            # Opening the observation later reports the error.
            return {}, observatory
        return dict(observation.get_crds_parameters()), observatory

    @classmethod
    def get_config_from_reference(
        cls, dataset: Any, disable: bool | None = None, crds_observatory: str | None = None
    ) -> ConfigObj:
        """Return the parameters in `cfg` for data.

        Parameters
        ----------
        dataset : Observation, str, Path or dict
            The data, or their keys. Of an input with many observations, the first one.
        disable : bool, optional
            Whether to do without.
        crds_observatory : str, optional
            Not used.

        Returns
        -------
        ConfigObj
            Empty where no file is meant for such data. A run chooses again for each observation.
        """
        config = Parameters()
        if cls._step_classes():
            config["steps"] = {}
        if get_disable_crds_steppars(disable):
            config.may_choose = False
            return config
        described = dataset if isinstance(dataset, dict) else cls._get_crds_parameters(dataset)[0]
        path = cls.choose_parameter_file(described) if described else None
        if path is not None:
            config_parser.merge_config(config, cls._section(load_parameters(path)))
            for name in ("name", "class"):
                config.pop(name, None)
            config.chosen = plain_tree(config)
        return config

    def _precache_references(self, input_file: Any) -> None:
        """Fetch nothing: reference files are local."""

    @staticmethod
    def get_stpipe_loggers() -> tuple[str, ...]:
        """List the loggers that a run configures; the root logger is left alone."""
        return ("cal_pipeline", "stpipe")

    @classmethod
    def _datamodels_open(cls, init: Any, **_: Any) -> Any:
        return cls.open_source(init)

    def input_folder(self) -> str:
        """Return the folder that the user named for inputs; empty for none."""
        return "" if self.parameters.origin("input_dir") == DEFAULT else str(self.input_dir or "")

    def default_suffix(self) -> str:
        """Return the suffix of the files of this step, alone and in a pipeline."""
        return str(self.class_alias or self.name.lower())

    @staticmethod
    def _make_output_path(
        step: Step, basepath: str | None = None, ext: str | None = None, suffix: str | None = None, **_: Any
    ) -> str:
        """Return the path that a step writes to.

        Alone under the name that was given; else named after the observation and the step, in
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
        """Record in the observation that the step has run, or that there was nothing to do."""
        self._references = list(reference_files_used)
        if isinstance(result, self.observation_type) and self.class_alias and not self.skip:
            setattr(result.meta.cal_step, self.class_alias, "COMPLETE" if self._applicable else "SKIPPED")


class ObservationStep(BaseStep):
    """Base of the steps, which take an observation (or its location) and add a result to it."""

    spec = """
    overwrite  = boolean(default=False)  # Replace an existing file
    allow_code = boolean(default=False)  # Let parameter files run code (hooks, classes); of no effect in a file
    """

    overwrite: bool
    allow_code: bool

    example_source: ClassVar[str] = "data.zarr"
    """Location of an observation, as in messages."""

    example_output: ClassVar[str] = "result.asdf"
    """Name of a file that a step writes, as in messages."""

    def process(self, source: Any = None) -> Any:
        """Run the step on an observation.

        Parameters
        ----------
        source : Observation, str or Path
            An observation, or the location of one.

        Returns
        -------
        Observation
            The input with the result of this step, or what the step makes of it.
        """
        if source is None:
            noun = self.product_kind.noun
            raise NoInputError(f"no {noun} given; name one, as in strun {self.class_alias} {self.example_source}")
        alone = self.parent is None
        observation = self.open_source(source, self.input_folder() if alone else "")
        if alone:
            file = self._file_for(observation.get_crds_parameters())
            self.log_ignored(file)
            self._adopt_resolved(self.resolve_with(file))
        self.check_parameters()
        if alone:
            self.check_references()
            self.refuse_to_replace([observation.number])
        self._applicable = True
        result = self.process_observation(observation)
        if result is None:
            result = observation
        if alone and self._applicable:
            logger.info("%s: %s", self.class_alias, self.describe_observation(result))
        return result

    def process_observation(self, observation: Any) -> Any:
        """Add the result of this step to an observation, and return None; or return another with the result."""
        raise TypeError(f"{type(self).__name__} does not say what it does to {self.product_kind.noun}s")

    def describe_observation(self, observation: Any) -> str:
        """Describe the result of the step in a few words, for the log."""
        return "done"

    def not_applicable(self, reason: str) -> None:
        """Log the reason for having nothing to do, and record the step as skipped."""
        logger.info("%s: skipped: %s", self.class_alias, reason)
        self._applicable = False

    def check_parameters(self) -> None:
        """Refuse contradictory parameters; overridden by steps that can have some."""

    def check_references(self) -> None:
        """Refuse an override of a reference file that cannot be opened, before any data are read."""
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

    def refuse_to_replace(self, numbers: list[Key]) -> None:
        """Refuse to run if a file that the step is to write exists and may not be replaced.

        Parameters
        ----------
        numbers : list of int
            Numbers of the observations.

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
        if self.overwrite or (self.parent is not None and (self.parent.overwrite or self.parent.resume)):
            return
        for number in numbers:
            path = self.make_output_path(basepath=f"{self.product_kind.group_name(number)}.asdf")
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
            advice = f"a step writes an ASDF file, name it as in {self.example_output}"
            refuse_other_format(str(self.class_alias), self.output_file, ".asdf", advice)
            self.refuse_idle("suffix", "output_file", "leave one of them out")

    def save_model(self, model: Any, *args: Any, **keywords: Any) -> Any:
        """Write an observation, with the parameters that made it; see `stpipe.Step.save_model`."""
        if isinstance(model, self.observation_type):
            done = vars(model.meta.cal_step)
            for step in self._steps_so_far():
                if step is self or done.get(step.class_alias) == "COMPLETE":
                    model.meta.made_by[step.class_alias] = record_step(step, step._references)
        return super().save_model(model, *args, **keywords)

    def _steps_so_far(self) -> list[ObservationStep]:
        """Return the steps as they ran last, this one among them."""
        if self.parent is None:
            return [self]
        steps = [getattr(self.parent, name) for name in self.parent.step_defs]
        return [self if step.class_alias == self.class_alias else step._last for step in steps if step._last]

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
