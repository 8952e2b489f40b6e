"""Runs of ``strun`` and ``calibrate`` as a user would start them, for the demos."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cal_pipeline.cli.commands import show
from cal_pipeline.core.errors import CalibrationError


def run_program(program: str, arguments: list[str], shown: str) -> None:
    """Run a program that lies beside this Python, print the command and chosen lines of its log.

    Parameters
    ----------
    program : str
        ``"strun"`` or ``"calibrate"``.
    arguments : list of str
        Arguments.
    shown : str
        Regular expression of the messages that are printed.

    Raises
    ------
    CalibrationError
        If the program fails.
    """
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    show(" ".join(["$", program, *arguments]))
    outcome = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if outcome.returncode:
        raise CalibrationError(f"{program} ended with exit status {outcome.returncode}: {outcome.stderr.strip()}")
    for line in outcome.stderr.splitlines():
        message = re.search(rf" (?:INFO|WARNING) ({shown}.*)", line)
        if message:
            show(f"  {message[1]}")
