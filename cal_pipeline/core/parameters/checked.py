"""Steps with strict parameters, checked on every change, whose origins survive copy and pickle."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from configobj import ConfigObj
from configobj.validate import Validator
from stpipe import Step, _hooks, config_parser
from stpipe.config_parser import ValidationError
from stpipe.step import get_disable_crds_steppars

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.messages import OF_STPIPE, ParameterError, check_class, explained, refusal, suggest
from cal_pipeline.core.parameters.origins import (
    GIVEN,
    RECORDED,
    Parameters,
    complete_origins,
    gather,
    local_file,
    mark_origins,
    read_nested_files,
    settle,
)
from cal_pipeline.core.parameters.values import plain_value, refuse_infinite, show_value
from cal_pipeline.core.store.locations import is_url, normalize_location

_ABOUT_A_FILE = ("name", "class", "logcfg")
"""Entries of a parameter file about itself, not parameters."""

_HOOKS = ("pre_hooks", "post_hooks")


def _specification(cls: type[Step]) -> dict[str, Any]:
    """Return the parameters of a step or pipeline (with its steps) and their checks; cached."""
    # Options may come from a registry that has grown since.
    texts = [kind.spec for kind in (cls, *getattr(cls, "step_defs", {}).values())]
    known, parsed = vars(cls).get("_parsed_specification", (None, {}))
    if known != texts:
        parsed = dict(cls.load_spec_file())
        cls._parsed_specification = (texts, parsed)
    return dict(parsed)


@cache
def _single(name: str, check: str) -> ConfigObj:
    """Return the specification of one parameter; cached, since every run sets some hundred."""
    return ConfigObj({name: check}, list_values=False, interpolation=False)


@cache
def _takes_none(check: str) -> bool:
    """Tell whether a parameter accepts None: its default is None, or it has no default."""
    try:
        return Validator().get_default_value(check) is None
    except KeyError:
        return True


class _CheckWithPercent(str):
    """Specification of a parameter with ``%`` in its default, to escape for argparse's help."""

    __slots__ = ()

    def split(self, *arguments: Any, **keywords: Any) -> list[str]:
        """Split, with ``%`` escaped."""
        return [part.replace("%", "%%") for part in super().split(*arguments, **keywords)]


class CheckedStep(Step):  # type: ignore[misc]
    """A step that checks its parameters, set in a file, as an option, keyword or attribute."""

    _setter = "user"
    """Present source of attribute changes.

    One of ``user``, stpipe's ``run``, or ``file`` for parameters adopted for the data.
    """

    _uses_parameter_files = True
    _named_by_front = False

    coercions: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    """Further checks of parameters: functions that return the value to use or raise ValueError."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        cls = type(self)
        self._origins: dict[str, str] = {}
        self._used_origins: dict[str, str] = {}
        self._before_run: dict[str, Any] = {}
        self._references: list[tuple[str, str]] = []
        origins: dict[str, Any] = {}
        if parameters.get("_validate_kwds", True):
            step_settings = {
                name: parameters.pop(name) for name in ("name", "parent", "config_file") if name in parameters
            }
            named = step_settings.get("config_file")
            file = step_settings["config_file"] = local_file("config_file", named) if named else None
            # A step of a pipeline gets what the file says from that.
            own = step_settings.get("parent") is None
            given = gather(cls._plain(parameters), file, cls._step_classes(), read=own)
            check_class(given, cls, f"parameter file {file}")
            origins = given.origins or {}
            in_file = {name: value for name, value in given.dict().items() if name not in _ABOUT_A_FILE}
            parameters = in_file | step_settings
        with explained(cls.__name__, _specification(cls), parameters), self._set_by("file"):
            super().__init__(*args, **parameters)
        self._record_origins(origins)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a parameter after checking it; an unknown one is refused."""
        cls = type(self)
        spec = _specification(cls)
        if name in spec and not isinstance(spec[name], dict):
            value = self._checked(name, spec[name], value)
            if name in _HOOKS and f"_{name}" in vars(self) and value != getattr(self, name):
                # stpipe makes what it calls of hooks when a step is made only.
                super().__setattr__(f"_{name}", _hooks.get_hook_objects(self, name.removesuffix("_hooks"), value))
            self._note_setter(name)
            super().__setattr__(name, value)
            return
        if not (
            name.startswith("_") or name in OF_STPIPE or name in getattr(cls, "step_defs", {}) or hasattr(cls, name)
        ):
            known = [*spec, *getattr(cls, "step_defs", {})]
            raise ParameterError(f"{cls.__name__} has no parameter {name!r}{suggest(name, known)}")
        self._refuse_section(name, value)
        super().__setattr__(name, value)

    def _refuse_section(self, name: str, value: Any) -> None:
        """Refuse what would replace the steps of a pipeline, or do nothing, as an attribute."""
        steps = self._step_classes()
        if name == "steps" and steps and self._setter == "user":
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

    def _note_setter(self, name: str) -> None:
        """Record the source of a parameter, to tell values of the user from those set by a run."""
        if self._setter == "user" and not (name == "save_results" and self._named_by_front):
            self._origins[name] = GIVEN
            self._before_run.pop(name, None)
        elif self._setter != "file":
            self._before_run.setdefault(name, None if name == "input_dir" else getattr(self, name, None))
        if name == "save_results":
            self._named_by_front = False

    def _checked(self, name: str, check: str, value: Any) -> Any:
        """Return the value of a parameter in its own type."""
        owner = type(self).__name__
        try:
            checked = config_parser.config_from_dict({name: plain_value(name, check, value)}, _single(name, check))[
                name
            ]
            refuse_infinite(checked)
            if checked is not None and name in self.coercions:
                checked = self.coercions[name](checked)
        except ValidationError as error:
            raise refusal(owner, name, value, check) from error
        except ValueError as error:
            raise refusal(owner, name, value, check, str(error)) from error
        except CalibrationError as error:
            raise ParameterError(f"{owner}: {name}: {error}") from error
        if checked is None and not _takes_none(check):
            raise refusal(owner, name, value, check)
        return checked

    @classmethod
    def _plain(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Convert parameters, including those of steps, to plain values; refuse unknown ones."""
        with explained(cls.__name__, _specification(cls), parameters):
            return _plain_section(cls.__name__, parameters, _specification(cls))

    @classmethod
    def _step_classes(cls) -> dict[str, type]:
        return dict(getattr(cls, "step_defs", {}))

    @classmethod
    def load_spec_file(cls, *args: Any, **keywords: Any) -> ConfigObj:
        """Load the specification; see `stpipe.Step.load_spec_file`.

        Comments become argparse's help, which it formats with ``%``: the sign is escaped here,
        whatever a step writes. Steps of a pipeline have escaped their own.
        """
        spec = super().load_spec_file(*args, **keywords)
        for name in spec.scalars:
            spec.inline_comments[name] = (spec.inline_comments.get(name) or "").replace("%", "%%")
            if "%" in spec[name]:
                spec[name] = _CheckWithPercent(spec[name])
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
        """Note where parameters come from, and take in the files that steps of a pipeline name.

        Called by stpipe once a file and the command line are read, and again when the step is made.
        """
        if not isinstance(config.main, Parameters):
            mark_origins(config, config_file)
            read_nested_files(config, config_file, cls._step_classes())
        return config

    @classmethod
    def build_config(cls, input: Any, **kwargs: Any) -> tuple[Parameters, str | None]:  # noqa: A002
        """Gather the parameters of `call`; see `stpipe.Step.build_config`.

        Files that are chosen by the data are not among them; each scan has its own.
        """
        config_file = kwargs.pop("config_file", None)
        config_file = local_file("config_file", config_file) if config_file else None
        config = gather(cls._plain(kwargs), config_file, cls._step_classes())
        config.may_choose = not get_disable_crds_steppars()
        return config, config_file

    @classmethod
    def from_config_file(cls, config_file: Any, parent: Step | None = None, name: str | None = None) -> Step:
        """Make a step from a parameter file; see `stpipe.Step.from_config_file`."""
        if not hasattr(config_file, "read"):
            config_file = local_file("config_file", config_file)
        return super().from_config_file(config_file, parent=parent, name=name)

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
            For a parameter that does not exist, with the nearest that does, and for a value that is
            not accepted, with those that are.
        """
        config_file = str(config_file) if config_file else None
        origins: dict[str, Any] = {}
        if parent is not None:
            # The pipeline knows where the parameters come from.
            section, config = config, Parameters()
            config_parser.merge_config(config, section)
        else:
            if not isinstance(config, Parameters) or config.origins is None:
                config = settle(cls.merge_config(config, config_file))
            origins = complete_origins(config, config.origins or {})
        with explained(cls.__name__, _specification(cls), config):
            _make_plain(cls.__name__, config, _specification(cls))
            step: CheckedStep = super().from_config_section(config, parent=parent, name=name, config_file=config_file)
        step._record_origins(origins)
        step._uses_parameter_files = config.may_choose
        return step

    def _record_origins(self, origins: Mapping[str, Any]) -> None:
        """Remember which parameters were given, and how."""
        spec = _specification(type(self))
        self._origins = {name: origin for name, origin in origins.items() if isinstance(origin, str) and name in spec}
        for name in self._step_classes():
            getattr(self, name)._record_origins(origins.get("steps", {}).get(name, {}))

    @contextmanager
    def _set_by(self, setter: str) -> Iterator[None]:
        """Attribute parameters set within the block to `setter`, not to the user."""
        before, self._setter = self._setter, setter
        try:
            yield
        finally:
            self._setter = before

    def run(self, *args: Any) -> Any:
        """Run the step; see `stpipe.Step.run`. What it sets itself does not count as given.

        Raises
        ------
        ParameterError
            If ``output_dir`` is a file.
        """
        folder = self.output_dir
        if folder and not is_url(folder) and Path(normalize_location(folder)).is_file():
            owner = self.class_alias or type(self).__name__
            raise ParameterError(f"{owner}: output_dir = {folder!r} is a file; expected a folder")
        with self._set_by("run"):
            return super().run(*args)

    def set_primary_input(self, obj: Any, exclusive: bool = True) -> None:
        """Take the name of the input; see `stpipe.Step.set_primary_input`.

        Only stpipe's command line does so before a run, and then sets ``save_results`` as well.
        """
        self._named_by_front = self._setter == "user"
        with self._set_by("run"):
            super().set_primary_input(obj, exclusive)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, pickles and workers, without the leftovers of a run."""
        before = {("_input_dir" if name == "input_dir" else name): value for name, value in self._before_run.items()}
        left: dict[str, Any] = {"_log_records": [], "_reference_files_used": [], "_references": [], "_before_run": {}}
        state = vars(self) | before | left | {"_input_filename": None}
        for name in ("_setter", "_named_by_front", "_adopted"):
            state.pop(name, None)
        return state

    def __copy__(self) -> CheckedStep:
        """Copy the step: a pipeline with its steps, a step of a pipeline without the pipeline."""
        return copy.deepcopy(self, {id(self.parent): self.parent})

    @classmethod
    def _default_parameters(cls) -> dict[str, Any]:
        """Return the default parameters, those of steps left out; cached per class."""
        if "_defaults" not in vars(cls):
            cls._defaults = {name: value for name, value in cls().get_pars().items() if name != "steps"}
        return dict(cls._defaults)

    def given(self, name: str) -> bool:
        """Tell whether the user set a parameter to another value than its default."""
        origin = self._origins.get(name, RECORDED)
        return not origin.startswith(RECORDED) and getattr(self, name) != self._default_parameters().get(name)

    def given_or_default(self, name: str) -> Any:
        """Return the value of a parameter without regard to files that are chosen by the data."""
        return getattr(self, name) if name in self._origins else self._default_parameters().get(name)

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
        if not self.given(name) or (self._origins[name] != GIVEN and self._origins.get(cause) == GIVEN):
            return
        origin = self._origins[name]
        raise ParameterError(
            f"{self.class_alias}: {name} = {_shown(getattr(self, name))} ({origin}) has no effect with "
            f"{cause} = {_shown(self.given_or_default(cause))} ({self._origins.get(cause, 'default')}); {advice}"
        )


def _shown(value: Any) -> str:
    """Show a value of a parameter without its type."""
    return show_value(value).rpartition(" (")[0]


def _plain_section(
    owner: str, parameters: Mapping[str, Any], spec: Mapping[str, Any], where: str = ""
) -> dict[str, Any]:
    """Return parameters with plain values, section by section."""
    plain = dict(parameters)
    for name, value in parameters.items():
        check = "string(default=None)" if name == "config_file" else spec.get(name)
        if isinstance(check, Mapping):
            plain[name] = _plain_section(owner, value, check, f"{where}{name}.") if isinstance(value, Mapping) else {}
        elif isinstance(check, str):
            try:
                plain[name] = plain_value(name, check, value)
            except ValueError as error:
                raise refusal(owner, where + name, value, check, str(error)) from error
            except CalibrationError as error:
                raise ParameterError(f"{owner}: {where}{name}: {error}") from error
    return plain


def _make_plain(owner: str, config: Any, spec: Mapping[str, Any]) -> None:
    """Give a configuration plain values, in place."""

    def update(section: Any, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(section[name], dict):
                update(section[name], value)
            elif value is not section[name]:
                section.__setitem__(name, value, unrepr=True)

    update(config, _plain_section(owner, config, spec))
