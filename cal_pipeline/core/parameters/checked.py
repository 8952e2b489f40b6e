"""Steps with strict parameters, checked on every change, which run on a copy of themselves."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

from configobj import ConfigObj
from stpipe import Step, _hooks
from stpipe._cmdline import FromCommandLine
from stpipe.config_parser import ValidationError
from stpipe.step import get_disable_crds_steppars

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.classes import check_class, find_class
from cal_pipeline.core.parameters.messages import (
    ALLOW,
    STPIPE_ENTRIES,
    TRUST_ADVICE,
    ParameterError,
    explain_failures,
    refusal,
    suggest,
)
from cal_pipeline.core.parameters.origins import (
    ABOUT_A_FILE,
    Collected,
    Parameters,
    collect_parameters,
    gather_parameters,
    local_file,
    read_file,
)
from cal_pipeline.core.parameters.resolved import DEFAULT, GIVEN, RECORDED, ResolvedParameters
from cal_pipeline.core.parameters.specification import (
    accepts_none,
    find_defaults,
    parse_specification,
    validate,
    validate_all,
)
from cal_pipeline.core.parameters.trust import allows_code, refuse_code
from cal_pipeline.core.parameters.values import plain_value, refuse_infinite, show_value
from cal_pipeline.core.store.locations import is_url, normalize_location

_HOOKS = ("pre_hooks", "post_hooks")


class CheckedStep(Step):  # type: ignore[misc]
    """Step with checked parameters, set in a file, as an option, keyword or attribute.

    The object of the user holds the given parameters: those of files and keywords (``_given``), and
    attributes. A run resolves them and works on a copy: values set by stpipe during the run are not
    mistaken for given parameters.
    """

    conversions: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """Conversions of given parameters before they are validated, instead of the usual one."""

    coercions: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """Further checks of parameters: functions that return the value to use or raise ValueError."""

    _given: ResolvedParameters
    """Parameters from files and keywords, above the defaults."""

    _resolved: ResolvedParameters | None = None
    """Parameters of a run; None outside of one."""

    _last: CheckedStep | None = None
    """Copy that ran last, with its log records and reference files."""

    _uses_parameter_files = True

    def __init__(
        self,
        name: str | None = None,
        parent: Step | None = None,
        config_file: Any = None,
        _validate_kwds: bool = True,
        **parameters: Any,
    ) -> None:
        cls = type(self)
        self.__dict__["_given"] = _defaults_of(cls)
        if cls._step_classes():
            # stpipe makes steps with defaults then; they get their parameters below.
            self.__dict__["steps"] = {}
        if _validate_kwds:
            config_file = local_file("config_file", config_file) if config_file else None
        collected = Collected()
        # A step of a pipeline gets what the file says from that.
        read = parent is None and _validate_kwds and config_file
        if parameters or read:
            collected = gather_parameters(cls._plain(parameters), config_file, cls._step_classes(), read=bool(read))
            check_class(collected.values, cls, f"parameter file {config_file}")
        resolved = cls._resolve_given(collected)
        super().__init__(name=name, parent=parent, config_file=config_file, _validate_kwds=False)
        del self._input_dir
        self._install(resolved)

    def __getattr__(self, name: str) -> Any:
        """Return a parameter that is not set as an attribute."""
        parameters = self.__dict__.get("_resolved") or self.__dict__.get("_given")
        parameter = "input_dir" if name == "_input_dir" else name
        if parameters is not None and parameter in parameters.values:
            return parameters.values[parameter]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        """List the parameters too that are not set as attributes."""
        return sorted({*super().__dir__(), *self._given.values})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a parameter after checking it; an unknown one is refused."""
        if name.startswith("_"):
            # No parameter: stpipe sets several in each run of a step.
            super().__setattr__(name, value)
            return
        cls = type(self)
        spec = parse_specification(cls)
        if isinstance(spec.get(name), str):
            super().__setattr__(name, cls._checked(name, value))
            if name in _HOOKS:
                self._make_hooks()
            return
        if not (name in STPIPE_ENTRIES or name in cls._step_classes() or hasattr(cls, name)):
            known = [*spec, *cls._step_classes()]
            raise ParameterError(f"{cls.__name__} has no parameter {name!r}{suggest(name, known)}")
        self._refuse_section(name, value)
        super().__setattr__(name, value)

    def _refuse_section(self, name: str, value: Any) -> None:
        """Refuse what would replace the steps of a pipeline, or do nothing, as an attribute."""
        steps = self._step_classes()
        if name == "steps" and steps:
            step = next(iter(steps))
            raise ParameterError(
                f"{type(self).__name__}: steps are no attribute to set; set parameters of one step, as in "
                f"pipeline.{step}.skip = True, or give steps={{...}} when the pipeline is made"
            )
        if name in steps and not isinstance(value, steps[name]):
            raise ParameterError(
                f"{type(self).__name__}: {name} = {show_value(value)} is no {steps[name].__name__}; "
                f"set its parameters, as in pipeline.{name}.skip = True"
            )

    def _make_hooks(self) -> None:
        """Make what stpipe calls before and after the step."""
        for kind in ("pre", "post"):
            with explain_failures(type(self).__name__, {}, {}):
                hooks = _hooks.get_hook_objects(self, kind, getattr(self, f"{kind}_hooks"))
            super().__setattr__(f"_{kind}_hooks", hooks)

    @classmethod
    def _checked(cls, name: str, value: Any) -> Any:
        """Return the value of a parameter in its own type."""
        owner, check = cls.__name__, parse_specification(cls)[name]
        try:
            checked = validate(name, check, cls._plain_value(name, check, value))
            refuse_infinite(checked)
            if checked is not None and name in cls.coercions:
                checked = cls.coercions[name](checked)
        except ValidationError as error:
            raise refusal(owner, name, value, check) from error
        except ValueError as error:
            raise refusal(owner, name, value, check, str(error)) from error
        except CalibrationError as error:
            raise ParameterError(f"{owner}: {name}: {error}") from error
        if checked is None and not accepts_none(check):
            raise refusal(owner, name, value, check)
        return checked

    @classmethod
    def _plain_value(cls, name: str, check: str, value: Any) -> Any:
        if value is not None and name in cls.conversions:
            return cls.conversions[name](value)
        return plain_value(name, check, value)

    @classmethod
    def _plain(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Convert parameters, including those of steps, to plain values; refuse unknown ones."""
        with explain_failures(cls.__name__, parse_specification(cls), parameters):
            return cls._plain_section(cls.__name__, parameters)

    @classmethod
    def _plain_section(cls, owner: str, parameters: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        plain = dict(parameters)
        for name, value in parameters.items():
            check = "string(default=None)" if name == "config_file" else parse_specification(cls).get(name)
            if isinstance(check, dict):
                plain[name] = {
                    key: cls._step_classes()[key]._plain_section(owner, section, f"{where}{name}.{key}.")
                    for key, section in (value or {}).items()
                }
            elif isinstance(check, str):
                try:
                    plain[name] = cls._plain_value(name, check, value)
                except ValueError as error:
                    raise refusal(owner, where + name, value, check, str(error)) from error
                except CalibrationError as error:
                    raise ParameterError(f"{owner}: {where}{name}: {error}") from error
        return plain

    @classmethod
    def _step_classes(cls) -> Mapping[str, type[CheckedStep]]:
        return getattr(cls, "step_defs", {})

    @classmethod
    def _resolve_given(cls, collected: Collected) -> ResolvedParameters:
        """Check parameters that were given, and lay them over the defaults."""
        refuse_code(collected)
        given = {name: value for name, value in collected.values.items() if name not in ABOUT_A_FILE}
        if not given:
            return cls._resolve_section({}, {})
        with explain_failures(cls.__name__, parse_specification(cls), given, collected.origins):
            plain = cls._plain_section(cls.__name__, given)
            # Reports all wrong values at once, and those that are missing.
            checked = validate_all(cls, plain)
            return cls._resolve_section(checked, collected.origins)

    @classmethod
    def _resolve_section(cls, checked: Mapping[str, Any], origins: Mapping[str, Any]) -> ResolvedParameters:
        base = _defaults_of(cls)
        given = {name: origin for name, origin in origins.items() if name in base.values}
        values = {name: cls._checked(name, checked[name]) for name in given}
        steps = {
            name: step._resolve_section(checked.get("steps", {}).get(name, {}), origins.get("steps", {}).get(name, {}))
            for name, step in cls._step_classes().items()
        }
        return ResolvedParameters({**base.values, **values}, given, steps=steps)

    def _install(self, resolved: ResolvedParameters) -> None:
        """Take parameters as those that were given in files and keywords."""
        self._given = replace(resolved, steps={})
        if any(resolved.values[name] for name in _HOOKS):
            self._make_hooks()
        for name, parameters in resolved.steps.items():
            getattr(self, name)._install(parameters)

    @property
    def parameters(self) -> ResolvedParameters:
        """Parameters with their origins: those of the run or, outside of one, as given so far."""
        if self._resolved is not None:
            return self._resolved
        own = self._given.override(self._attributes(), GIVEN)
        return replace(own, steps={name: getattr(self, name).parameters for name in self._step_classes()})

    def _attributes(self) -> dict[str, Any]:
        """Return the parameters that are set as attributes."""
        attributes = {("input_dir" if name == "_input_dir" else name): value for name, value in self.__dict__.items()}
        return {name: value for name, value in attributes.items() if name in self._given.values}

    def count_attributes_as_defaults(self) -> None:
        """Let the parameters that are set as attributes no longer count as given."""
        attributes = self._attributes()
        self._given = replace(self._given, values={**self._given.values, **attributes})
        for name in attributes:
            self.__dict__.pop("_input_dir" if name == "input_dir" else name)

    def with_parameters(self, resolved: ResolvedParameters, parent: Step | None = None) -> Self:
        """Make a fresh step (or pipeline with its steps) with resolved parameters, for a run.

        Parameters
        ----------
        resolved : ResolvedParameters
            The parameters.
        parent : Step, optional
            Pipeline that the fresh step belongs to.
        """
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        fresh.__dict__.update(_leftovers(), _last=None, parent=parent)
        fresh._adopt_resolved(resolved)
        for name in self._step_classes():
            fresh.__dict__[name] = getattr(self, name).with_parameters(resolved.steps[name], fresh)
        return fresh

    def _adopt_resolved(self, resolved: ResolvedParameters) -> None:
        """Use resolved parameters in this run."""
        before = [getattr(self, name) for name in _HOOKS]
        self._resolved = resolved
        if before != [getattr(self, name) for name in _HOOKS]:
            self._make_hooks()

    def run(self, *args: Any) -> Any:
        """Run a copy of the step; see `stpipe.Step.run`. The step itself does not change.

        Raises
        ------
        ParameterError
            If ``output_dir`` is a file.
        """
        for source in args:
            if isinstance(source, (str, PathLike)):
                # What cannot be named is refused before stpipe logs it.
                normalize_location(source)
        folder = self.output_dir
        if folder and not is_url(folder) and Path(normalize_location(folder)).is_file():
            owner = self.class_alias or type(self).__name__
            raise ParameterError(f"{owner}: output_dir = {folder!r} is a file; expected a folder")
        fresh = self._last = self.with_parameters(self.parameters, self.parent)
        if self.parent is None:
            fresh.__dict__["_warned"] = set()
        return super(CheckedStep, fresh).run(*args)

    @property
    def log_records(self) -> Any:
        """Log records of the most recent run."""
        return self._log_records if self._last is None else self._last.log_records

    def warn_once(self, logger: logging.Logger, message: str, *args: Any) -> None:
        """Log a warning once in a run, whatever the number of observations.

        Parameters
        ----------
        logger : Logger
            Logger of the caller.
        message : str
            The warning, with ``%`` fields.
        *args
            Values for the fields.
        """
        run = self if self.parent is None else self.parent
        warned: set[str] = run.__dict__.setdefault("_warned", set())
        if message not in warned:
            warned.add(message)
            logger.warning(message, *args)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, pickles and workers, without the leftovers of a run."""
        left = set() if self._resolved is None else {"_input_dir", *self._resolved.values}
        state = {name: value for name, value in self.__dict__.items() if name not in left}
        # Workers write files like this process does, with the input of the run.
        state |= _leftovers() | ({} if self._resolved is not None else {"_input_filename": None})
        for name in ("_last", "_prepared"):
            state.pop(name, None)
        return state

    def __copy__(self) -> CheckedStep:
        """Copy the step: a pipeline with its steps, a step of a pipeline without the pipeline."""
        return copy.deepcopy(self, {id(self.parent): self.parent})

    @classmethod
    def load_spec_file(cls, *args: Any, **keywords: Any) -> ConfigObj:
        """Load the specification; see `stpipe.Step.load_spec_file`.

        Comments become argparse's help, which it formats with ``%``: the sign is escaped here.
        Steps of a pipeline have escaped their own.
        """
        spec = super().load_spec_file(*args, **keywords)
        for name in spec.scalars:
            spec.inline_comments[name] = (spec.inline_comments.get(name) or "").replace("%", "%%")
        return spec

    @classmethod
    def print_configspec(cls) -> None:
        """Print the specification, comments as they were written."""
        spec = cls.load_spec_file()
        sections = [spec, *spec.get("steps", {}).values()]
        for section in sections:
            for name, comment in section.inline_comments.items():
                section.inline_comments[name] = (comment or "").replace("%%", "%")
        spec.write(sys.stdout.buffer)

    @classmethod
    def merge_config(cls, config: Any, config_file: str | None) -> Any:
        """Return a configuration as it is: files that it names are read when the step is made."""
        return config

    @classmethod
    def build_config(cls, input: Any, **kwargs: Any) -> tuple[Parameters, str | None]:  # noqa: A002
        """Gather the parameters of `call`; see `stpipe.Step.build_config`.

        Files that are chosen by the data are not among them; each observation has its own.
        """
        config_file = kwargs.pop("config_file", None)
        config_file = local_file("config_file", config_file) if config_file else None
        collected = gather_parameters(cls._plain(kwargs), config_file, cls._step_classes())
        if config_file and not allows_code(kwargs.get(ALLOW)):
            check_class(collected.values, cls, f"parameter file {config_file}", advice=f"; {TRUST_ADVICE}")
        refuse_code(collected)
        collected.may_choose = not get_disable_crds_steppars()
        return Parameters.of(collected), config_file

    @classmethod
    def from_config_file(
        cls, config_file: Any, parent: Step | None = None, name: str | None = None, allow_code: bool = False
    ) -> Step:
        """Make a step from a parameter file; see `stpipe.Step.from_config_file`.

        Parameters
        ----------
        config_file : path
            The file.
        parent : Step, optional
            Pipeline of the step.
        name : str, optional
            Name of the step.
        allow_code : bool
            Whether the file may name hooks, and a class that is imported for it.

        Raises
        ------
        ParameterError
            If it does so without being allowed to.
        """
        path = local_file("config_file", config_file)
        config = read_file(path)
        found = cls._class_in(config, path, allow_code)
        if allow_code:
            config[ALLOW] = FromCommandLine("true")
        name = name or config.pop("name", None) or Path(path).stem
        return found.from_config_section(config, parent=parent, name=name, config_file=path)

    @classmethod
    def _class_in(cls, config: Mapping[str, Any], path: str, allowed: bool) -> type[Self]:
        """Return the class that a parameter file names: this one, or one derived from it."""
        given = config.get("class")
        return find_class(str(given), cls, path, allowed) if given else cls

    @classmethod
    def call(cls, *args: Any, **parameters: Any) -> Any:
        """Run the step with parameters; see `stpipe.Step.call`.

        With ``allow_code=True`` a class derived from this one that the parameter file names runs.
        """
        file = parameters.get("config_file")
        if file and allows_code(parameters.get(ALLOW)):
            path = local_file("config_file", file)
            found = cls._class_in(read_file(path), path, True)
            if found is not cls:
                return found.call(*args, **parameters)
        return super().call(*args, **parameters)

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
            For an unknown parameter, with the nearest known one, and for a refused value, with the
            accepted ones.
        """
        config_file = str(config_file) if config_file else None
        collected = collect_parameters(config, config_file, cls._step_classes())
        resolved = cls._resolve_given(collected)
        name = name or collected.values.get("name") or cls.__name__
        step = cls(name, parent=parent, config_file=config_file, _validate_kwds=False)
        step._install(resolved)
        step._uses_parameter_files = collected.may_choose
        return step

    def given(self, name: str) -> bool:
        """Tell whether the user set a parameter to another value than its default."""
        origin = self.parameters.origin(name)
        return not origin.startswith((DEFAULT, RECORDED)) and getattr(self, name) != find_defaults(type(self))[name]

    def given_or_default(self, name: str) -> Any:
        """Return the value of a parameter without regard to files that are chosen by the data."""
        return find_defaults(type(self))[name] if self.parameters.origin(name) == DEFAULT else getattr(self, name)

    def refuse_idle(self, name: str, cause: str, advice: str) -> None:
        """Refuse a parameter that the user gave and that has no effect with the value of another.

        A value that is the default, as files hold that all parameters were saved to, is never
        refused; nor is one in a file that an argument makes idle.

        Parameters
        ----------
        name : str
            The parameter.
        cause : str
            The other one.
        advice : str
            Advice for the message.
        """
        origin, origin_of_cause = self.parameters.origin(name), self.parameters.origin(cause)
        if not self.given(name) or (origin != GIVEN and origin_of_cause == GIVEN):
            return
        raise ParameterError(
            f"{self.class_alias}: {name} = {_shown(getattr(self, name))} ({origin}) has no effect with "
            f"{cause} = {_shown(self.given_or_default(cause))} ({origin_of_cause}); {advice}"
        )


def _defaults_of(cls: type[Step]) -> ResolvedParameters:
    """Return the default parameters of a step; lists are its own."""
    return ResolvedParameters(
        {name: list(value) if isinstance(value, list) else value for name, value in find_defaults(cls).items()}
    )


def _leftovers() -> dict[str, Any]:
    """Return what a run leaves in a step, as it is before the run."""
    return {"_log_records": [], "_reference_files_used": [], "_references": []}


def _shown(value: Any) -> str:
    """Show a value of a parameter without its type."""
    return show_value(value).rpartition(" (")[0]
