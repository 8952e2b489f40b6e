"""Front of stpipe's command ``strun`` for the classes of this package.

``strun`` belongs to stpipe. It answers a mistake of the user with a traceback and the help of every
option, and a mistyped option with status 2, which here means that some scans failed. It asks this
package for the list of its steps before it reads its options, and its parameter files are read
through ASDF, which asks for extensions. Either question is the occasion to take over: the command
line is run again from within, with the messages, statuses and log lines of our own commands.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

from configobj import ConfigObj
from stpipe import Step, _cmdline, _log

from cal_pipeline.cli.commands import DONE, UsageError, complain, explain_usage, run_command, show
from cal_pipeline.core.errors import CalibrationError, NoInputError
from cal_pipeline.core.logs import FRAMEWORK, framework_level, run_formatter

_EXAMPLE = "strun cal_pipeline.CalibrationPipeline session.zarr"

_LIST = re.compile(r"\s*(\w+_)?list\b")
"""Specifications of parameters that are lists."""

_active = False


def take_over(known_names: Sequence[str]) -> None:
    """Run the command line of this process with our messages, if ``strun`` runs one of our classes.

    Parameters
    ----------
    known_names : sequence of str
        Names of our classes, for a hint after a misspelt one.

    Raises
    ------
    SystemExit
        At the end of the run, with the status of the command.
    """
    global _active
    if _active or not _called_by_strun():
        return
    _active = True
    try:
        argv = sys.argv[1:]
        known, _ = _cmdline._build_parent_arg_parser().parse_known_args(argv)
        identifier = known.cfg_file_or_class[0]
        if _is_foreign(identifier):
            return
        status = run_command("strun", lambda _: _run(argv, identifier, known, known_names), argv, "--overwrite=true")
    finally:
        _active = False
    sys.exit(status)


def _called_by_strun() -> bool:
    """Tell whether ``strun`` is what called us."""
    main = getattr(sys.modules.get("stpipe._cli.strun"), "main", None)
    code = getattr(main, "__code__", None)
    frame = sys._getframe()
    while code is not None and frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _is_foreign(identifier: str) -> bool:
    """Tell whether a class or parameter file is there and belongs to another package."""
    try:
        cls = _cmdline._get_config_and_class(identifier)[0]
    except Exception:
        return False
    # A class derived from ours has imported this module.
    base = getattr(sys.modules.get("cal_pipeline.core.step"), "BaseStep", None)
    return cls is not Step and (base is None or not issubclass(cls, base))


def _run(argv: Sequence[str], identifier: str, known: argparse.Namespace, known_names: Sequence[str]) -> int:
    """Run the command line of stpipe; errors are raised."""
    try:
        cls = _cmdline._get_config_and_class(identifier)[0]
    except Exception as error:
        raise UsageError(_explain_identifier(identifier, error, known_names)) from error
    if cls is Step:
        raise UsageError(
            f"parameter file {identifier} does not say whose parameters it holds; "
            "add the line: class = cal_pipeline.CalibrationPipeline"
        )
    reports = _Reports(known)
    with (
        _replaced(_cmdline, argparse=SimpleNamespace(ArgumentParser=reports.make_parser)),
        _replaced(_cmdline, _print_important_message=reports.show_before_debugger),
        _replaced(_cmdline, _override_config_from_args=partial(_set_options, cls.load_spec_file())),
        _replaced(_cmdline, _build_step_from_args=partial(build_step, _cmdline._build_step_from_args)),
        _replaced(_cmdline, _determine_log_configuration=_explained(_cmdline._determine_log_configuration)),
        _replaced(_log, LogConfig=_RunLog),
    ):
        try:
            step = _cmdline.step_from_cmdline(list(argv))
        except Exception as error:
            # Parameters can be saved without any data.
            if isinstance(error, NoInputError) and known.save_parameters:
                show(f"parameters saved to {known.save_parameters}")
                return DONE
            # stpipe wraps the error of a parameter into one without its class.
            cause = error.__cause__ if isinstance(error, ValueError) else None
            own = cause if isinstance(cause, CalibrationError) else error
            graded = cls.grade_error(own)
            if graded is error:
                raise
            raise graded from (None if graded is own else own)
    return int(step.exit_status)


def build_step(build: Callable[..., tuple[Any, list[str]]], *args: Any) -> tuple[Any, list[str]]:
    """Build the step of a command line; what stpipe adds to it is no wish of the user.

    Parameters
    ----------
    build : callable
        stpipe's function, which lets the step save its results and notes the folder of the input.
    *args
        Arguments of the function.

    Returns
    -------
    step, arguments : Step, list of str
        The step, and the arguments to run it with.
    """
    step, arguments = build(*args)
    step.count_attributes_as_defaults()
    return step, arguments


def _set_options(spec: Mapping[str, Any], config: dict[str, Any], options: argparse.Namespace) -> None:
    """Set parameters that are given as options.

    stpipe reads each value like a line of a parameter file, where ``#`` begins a comment and a
    comma makes a list. Only lists are read this way here: a path may hold either.
    """
    for name, value in vars(options).items():
        if value is None:
            continue
        *path, parameter = name.split(".")
        check: Any = spec
        section = config
        for key in path:
            check, section = check[key], section.setdefault(key, {})
        check = check.get(parameter, "")
        section[parameter] = _list_of(name, value) if _LIST.match(check) else _cmdline.FromCommandLine(_unquoted(value))


def _list_of(name: str, value: str) -> Any:
    """Split the value of an option at its commas."""
    try:
        parsed, _ = ConfigObj()._handle_value(value)
    except SyntaxError:
        raise UsageError(f"--{name}={value}: expected values with single commas between them, as in 1,2") from None
    return _cmdline.FromCommandLine(parsed) if isinstance(parsed, str) else parsed


def _unquoted(value: str) -> str:
    """Remove the quotes around a value, as found in parameter files (a shell removes them)."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _explained(configure: Callable[..., Any]) -> Callable[..., Any]:
    """Let the configuration of the log say which options are wrong."""

    def configured(known: argparse.Namespace) -> Any:
        try:
            if known.log_file is not None:
                # The handler opens the file with the first line that is logged.
                Path(known.log_file).touch()
            return configure(known)
        except Exception as error:
            raise UsageError(
                f"--log-level, --log-stream, --log-file or --logcfg: {error.__cause__ or error}; "
                "expected a level such as DEBUG, one of stdout, stderr and null, and files that can be opened"
            ) from error

    return configured


class _Reports:
    """Replacements for what stpipe prints when something is wrong.

    Parameters
    ----------
    known : argparse.Namespace
        Options of ``strun`` itself.
    """

    def __init__(self, known: argparse.Namespace) -> None:
        self._known = known

    def make_parser(self, *args: Any, **settings: Any) -> argparse.ArgumentParser:
        """Make a parser of the options of ``strun``."""
        return _Parser(*args, **settings)

    def show_before_debugger(self, header: str, message: str, no_wrap: Any = None) -> None:
        """Print an error before ``--debug`` starts the debugger; else leave that to the caller."""
        if self._known.debug:
            complain(f"strun: {message}")


class _PlainHelp(argparse.HelpFormatter):
    """Format of the help that takes a ``%`` as it is; specifications have some in comments and defaults."""

    def _expand_help(self, action: argparse.Action) -> str:
        return (action.help or "").replace("%%", "%")


class _Parser(argparse.ArgumentParser):
    """Parser of stpipe's options that raises errors, and prints its help only when asked to."""

    _asked_for_help = False

    def __init__(self, *args: Any, **settings: Any) -> None:
        # Some hundred options make a usage of two screens, and the rest of the docstring is meant for Python.
        settings["usage"] = "strun [options] CLASS_OR_PARAMETER_FILE [SESSION]"
        settings["description"] = (settings.get("description") or "").strip().partition("\n\n")[0]
        super().__init__(*args, **settings | {"formatter_class": _PlainHelp})

    def error(self, message: str) -> NoReturn:
        """Raise the error with the nearest option."""
        text = explain_usage(message, list(self._option_string_actions))
        raise UsageError(f"{text}; --help lists all options")

    def print_help(self, file: Any = None) -> None:
        """Postpone the help until :meth:`exit`, called for ``--help`` only.

        stpipe would print the help after an error as well.
        """
        self._asked_for_help = True

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Print the help and end the process."""
        if self._asked_for_help:
            show(self.format_help().rstrip())
        super().exit(status, message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse options, and refuse a second session."""
        parsed = super().parse_args(args, namespace)
        if len(parsed.args) > 1:
            raise UsageError(f"one session at a time; found {' '.join(parsed.args)}")
        return parsed


class _RunLog(_log.LogConfig):  # type: ignore[misc]
    """Log configuration of stpipe in the format of our own commands, without its internals."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for handler in self.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setFormatter(run_formatter())

    def apply(self, log_names: Sequence[str]) -> None:
        """Add the handlers to loggers."""
        super().apply(log_names)
        if FRAMEWORK in log_names:
            logger = logging.getLogger(FRAMEWORK)
            logger.setLevel(framework_level(logger.level))


@contextmanager
def _replaced(module: ModuleType, **attributes: Any) -> Iterator[None]:
    """Replace attributes of a module within the block."""
    before = {name: getattr(module, name) for name in attributes}
    for name, value in attributes.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _explain_identifier(identifier: str, error: BaseException, known_names: Sequence[str]) -> str:
    """Say why something is neither one of our classes nor a parameter file."""
    path = Path(identifier)
    if path.is_dir():
        return f"{identifier} is a folder; the class or the parameter file comes first, as in {_EXAMPLE}"
    if path.exists():
        return f"parameter file {identifier} cannot be read: {_first_line(error.__cause__ or error)}"
    if path.suffix in (".asdf", ".cfg") or os.sep in identifier:
        near = difflib.get_close_matches(path.name, _names_in(path.parent), n=1)
        return f"there is no parameter file {identifier}" + (
            f"; did you mean {path.with_name(near[0])}?" if near else ""
        )
    by_last = {name.rpartition(".")[2]: name for name in known_names}
    near = [by_last[name] for name in difflib.get_close_matches(identifier.rpartition(".")[2], by_last, n=1)]
    reason = f" ({_first_line(error.__cause__)})" if error.__cause__ and not near else ""
    hint = f"did you mean {near[0]}?" if near else f"as in {_EXAMPLE}"
    return f"{identifier!r} is neither a class nor a parameter file{reason}; {hint}"


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
