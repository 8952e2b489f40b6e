"""The `cal-simulate imager` command."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from cal_pipeline.cli.commands import DONE, CommandParser, show
from cal_pipeline.imager.simulate import VisitConfig, VisitFiles, simulate_visit, standard_visit


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = CommandParser(
        prog="cal-simulate imager",
        description="Write a visit of an infrared imager: darks, flat fields, a dither pattern, blank skies. "
        "The truth goes to <name>.truth.zarr, the reference files of the detector to <name>.references/.",
    )
    command.add_argument("output", type=Path, help="store to write, e.g. visit.zarr")
    command.add_argument("--size", type=int, default=256, help="rows and columns of the detector (default %(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of all random numbers (default %(default)s)")
    command.add_argument("--dithers", type=int, default=5, help="science exposures (default %(default)s)")
    command.add_argument("--skies", type=int, default=3, help="exposures of blank sky (default %(default)s)")
    command.add_argument("--darks", type=int, default=5, help="exposures in the dark (default %(default)s)")
    command.add_argument("--flats", type=int, default=9, help="exposures of the lamp (default %(default)s)")
    command.add_argument("--groups", type=int, default=10, help="groups of a ramp (default %(default)s)")
    command.add_argument("--integrations", type=int, default=1, help="ramps of an exposure (default %(default)s)")
    command.add_argument("--nframes", type=int, default=1, help="reads averaged to a group (default %(default)s)")
    command.add_argument("--groupgap", type=int, default=0, help="reads skipped between groups (default %(default)s)")
    command.add_argument("--frame-time", type=float, default=5.0, help="time of a read [s] (default %(default)s)")
    command.add_argument("--threads", type=int, default=1, help="threads; the data are the same (default %(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace an existing simulated visit")
    return command


def configure(arguments: argparse.Namespace) -> VisitConfig:
    """Turn parsed arguments into a visit.

    Raises
    ------
    VisitError
        If one is out of range.
    """
    return standard_visit(
        size=arguments.size,
        seed=arguments.seed,
        dithers=arguments.dithers,
        skies=arguments.skies,
        darks=arguments.darks,
        flats=arguments.flats,
        n_groups=arguments.groups,
        n_integrations=arguments.integrations,
        nframes=arguments.nframes,
        groupgap=arguments.groupgap,
        frame_time=arguments.frame_time,
    )


def summary(config: VisitConfig, files: VisitFiles) -> str:
    """Return what was written, in a few lines."""
    (ny, nx), first = config.detector.shape, config.exposures[0]
    types = Counter(plan.exp_type for plan in config.exposures)
    samples = len(config.exposures) * first.n_integrations * first.n_groups * ny * nx
    total = f"{len(config.exposures)} exposure{'s' if len(config.exposures) > 1 else ''}"
    return "\n".join(
        [
            f"{files.visit}: {total} ({', '.join(f'{number} {name}' for name, number in types.items())}),"
            f" {samples * 2 / 1e6:.1f} MB of readings",
            f"  each: {first.n_integrations} x {first.n_groups} groups of {nx} x {ny} pixels,"
            f" read every {first.frame_time:g} s",
            f"  {len(config.stars)} stars, seed {config.seed}",
            f"truth: {files.truth}",
            f"references: {files.references}",
        ]
    )


def run(argv: list[str]) -> int:
    """Run `cal-simulate imager` with the arguments behind these words; return the exit status."""
    arguments = parser().parse_args(argv)
    config = configure(arguments)
    show(
        summary(
            config, simulate_visit(config, arguments.output, overwrite=arguments.overwrite, threads=arguments.threads)
        )
    )
    return DONE
