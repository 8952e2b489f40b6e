"""The `cal-simulate cherenkov` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from cal_pipeline.cherenkov.simulate.night import NightFiles, simulate_night
from cal_pipeline.cli.commands import DONE, CommandParser, show


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = CommandParser(
        prog="cal-simulate cherenkov",
        description="Write a made-up night of a Cherenkov observatory: meteorological tables, a record of carbon "
        "dioxide, reference models, photometry of stars, returns of a LIDAR, and configuration files to run the tools "
        "of the atmosphere in order.",
    )
    command.add_argument("folder", type=Path, help="folder to write, e.g. night")
    command.add_argument("--seed", type=int, default=1, help="seed of all random numbers (default %(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return command


def summary(files: NightFiles) -> str:
    """Return the commands to run, and where the truth lies."""
    return "\n".join(
        [
            f"{files.folder}: a made-up night; run in this order:",
            *(f"  {command} -c {configuration}" for command, configuration in files.commands),
            f"truth: {files.truth}",
        ]
    )


def run(argv: list[str]) -> int:
    """Run `cal-simulate cherenkov` with the arguments behind these words; return the exit status."""
    arguments = parser().parse_args(argv)
    show(summary(simulate_night(arguments.folder, arguments.seed, arguments.overwrite)))
    return DONE
