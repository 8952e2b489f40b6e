"""Runs of ``strun`` and ``calibrate`` as a user would start them, for the demos."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cal_pipeline.cli.commands import show
from cal_pipeline.core.errors import CalibrationError


def run_strun(arguments: list[str], shown: str) -> None:
    """Run ``strun``, print the command and chosen lines of its log.

    Parameters
    ----------
    arguments : list of str
        Arguments.
    shown : str
        Regular expression of the messages that are printed.

    Raises
    ------
    CalibrationError
        If ``strun`` fails.
    """
    _run_beside("strun", arguments, shown)


def run_calibrate(arguments: list[str], shown: str) -> None:
    """Run ``calibrate``, print the command and chosen lines of its log.

    Parameters
    ----------
    arguments : list of str
        Arguments.
    shown : str
        Regular expression of the messages that are printed.

    Raises
    ------
    CalibrationError
        If ``calibrate`` fails.
    """
    _run_beside("calibrate", arguments, shown)


def _run_beside(program: str, arguments: list[str], shown: str) -> None:
    """Run a program that lies beside this Python."""
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    show(" ".join(["$", program, *arguments]))
    outcome = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if outcome.returncode:
        raise CalibrationError(f"{program} ended with exit status {outcome.returncode}: {outcome.stderr.strip()}")
    for line in outcome.stderr.splitlines():
        message = re.search(rf" (?:INFO|WARNING) ({shown}.*)", line)
        if message:
            show(f"  {message[1]}")
