"""Frame that all commands share: options, messages, exit statuses, output to any terminal."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from stpipe.exceptions import StpipeExitException

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError, OutputExistsError, RunInterruptedError, UsageError
from cal_pipeline.core.run.signals import Terminated, interruptible
from cal_pipeline.core.text import escape_lines

__all__ = [
    "DONE",
    "FAILED",
    "CommandParser",
    "UsageError",
    "complain",
    "describe_error",
    "explain_usage",
    "interrupt_status",
    "run_command",
    "show",
]

DONE, FAILED = 0, 1
"""Exit statuses of a command that did, or did not do, all that it was asked for."""

DEBUG_VARIABLE = "CAL_PIPELINE_DEBUG"
"""Environment variable that makes commands show the traceback of an error."""

_LINES = 5
"""Lines of a message that are shown; the rest is in the traceback."""


class CommandParser(argparse.ArgumentParser):
    """Parser that raises :class:`UsageError` with the nearest option instead of ending the process.

    argparse ends with status 2, which means here that some scans could not be calibrated.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.add_argument("--version", action="version", version=f"cal_pipeline {__version__}")
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )

    def error(self, message: str) -> NoReturn:
        """Raise the error.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(explain_usage(message, list(self._option_string_actions)) + f"; see {self.prog} --help")


def explain_usage(message: str, options: Sequence[str]) -> str:
    """Reword an error of argparse so that it names the nearest option.

    Parameters
    ----------
    message : str
        Message of argparse.
    options : sequence of str
        Options that exist, such as ``"--scans"``.

    Returns
    -------
    str

    Examples
    --------
    >>> explain_usage("unrecognized arguments: --scnas=1", ["--scans", "--workers"])
    'unrecognized option --scnas; did you mean --scans?'
    """
    unknown = re.fullmatch(r"unrecognized arguments: (.+)", message, re.DOTALL)
    if unknown is None:
        return message
    words = unknown[1].split()
    first = next((word for word in words if word.startswith("-")), None)
    if first is None:
        return f"unexpected argument {words[0]}"
    name = first.partition("=")[0]
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    return f"unrecognized option {name}" + (f"; did you mean {near[0]}?" if near else "")


def run_command(
    prog: str,
    function: Callable[[list[str]], int],
    argv: Sequence[str] | None = None,
    overwrite_flag: str = "--overwrite",
) -> int:
    """Run a command and turn whatever it raises into one message and an exit status.

    Parameters
    ----------
    prog : str
        Name of the command, which its messages begin with.
    function : callable
        Takes the arguments, returns the exit status.
    argv : sequence of str, optional
        Arguments; those of the process if not given. ``--debug`` is taken out and shows the
        traceback of an error, as the environment variable ``CAL_PIPELINE_DEBUG=1`` does.
    overwrite_flag : str
        Option of this command that replaces an existing output.

    Returns
    -------
    int
        The status of `function`; that of a :class:`stpipe.exceptions.StpipeExitException` or
        :class:`.CalibrationError`; 1 for any other error; 130 and 143 after SIGINT and SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")
    arguments = [item for item in arguments if item != "--debug"]
    try:
        with _usable_streams(), _escaped_warnings(), interruptible(at_once=True):
            return function(arguments)
    except KeyboardInterrupt as error:
        complain(f"{prog}: {error if isinstance(error, RunInterruptedError) else 'interrupted'}")
        return interrupt_status(error)
    except Exception as error:
        if debug:
            complain("".join(traceback.format_exception(error)).rstrip())
        complain(f"{prog}: {describe_error(error, overwrite_flag)}")
        return int(error.exit_status) if isinstance(error, (StpipeExitException, CalibrationError)) else FAILED


def describe_error(error: BaseException, overwrite_flag: str = "--overwrite") -> str:
    """Describe an error in at most five lines.

    Parameters
    ----------
    error : BaseException
        The error. One that the package does not raise on purpose keeps the name of its class, and
        the message says how to see the traceback.
    overwrite_flag : str
        Option that replaces an existing output.

    Returns
    -------
    str
    """
    text = _describe_os_error(error) if isinstance(error, OSError) else str(error).strip()
    if isinstance(error, OutputExistsError):
        text = text.replace("overwrite=True", overwrite_flag)
    elif not isinstance(error, (CalibrationError, StpipeExitException, OSError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        text += f" ({DEBUG_VARIABLE}=1 shows where)"
    lines = text.split("\n") if text else [type(error).__name__]
    return "\n".join(lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "…"])


def _describe_os_error(error: OSError) -> str:
    """Return the message of an error of the system, without its number."""
    if error.strerror is None:
        return str(error).strip()
    return ": ".join(str(part) for part in (error.filename, error.strerror, error.filename2) if part is not None)


def interrupt_status(error: BaseException) -> int:
    """Return the exit status of a process that a signal ended: 143 for SIGTERM, 130 for SIGINT."""
    causes = (error, error.__cause__, error.__context__)
    terminated = any(isinstance(cause, Terminated) for cause in causes)
    return 128 + int(signal.SIGTERM if terminated else signal.SIGINT)


@contextmanager
def _usable_streams() -> Iterator[None]:
    """Replace characters that standard output cannot encode, and occupy closed standard descriptors.

    A process started without descriptor 2 would get that number for the next file it opens. Errors
    printed by a library would then end up in that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = getattr(sys.stdout, "errors", None)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        if reconfigure is not None:
            with suppress(ValueError):
                reconfigure(errors=before)


@contextmanager
def _escaped_warnings() -> Iterator[None]:
    """Escape control characters in Python's own warnings, in which libraries name files and members."""
    before = warnings.formatwarning

    def escaped(*args: Any, **settings: Any) -> str:
        return escape_lines(before(*args, **settings))

    warnings.formatwarning = escaped
    try:
        yield
    finally:
        warnings.formatwarning = before


def show(text: str) -> None:
    """Print to standard output, control characters escaped.

    A reader that has stopped reading (``| head``) is no error.
    """
    if sys.stdout is None:
        return
    try:
        print(escape_lines(text), flush=True)
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Print to standard error, if there is one, control characters escaped."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(escape_lines(text), file=sys.stderr, flush=True)
