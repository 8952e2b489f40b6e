"""Subcommand ``calibrate export``: spectra of an L1 store in formats of other programs."""

from __future__ import annotations

import argparse
import logging

from cal_pipeline.cli.commands import DONE, CommandParser, UsageError, show
from cal_pipeline.cli.families import find_family
from cal_pipeline.core.logs import log_to_stderr
from cal_pipeline.core.text import format_count, format_ranges

INCOMPLETE = 2
"""Exit status where some scans could not be exported."""


def export_parser() -> argparse.ArgumentParser:
    """Make the parser of ``calibrate export``."""
    parser = CommandParser(
        prog="calibrate export",
        description="Write the spectra of an L1 store to one file that other programs read, one dump of one pixel a "
        "row: SDFITS (dysh, pyspeckit), FITS for CLASS, or CSV. Status 0: all is written; 2: some scans could not be "
        "exported, the others are.",
    )
    add = parser.add_argument
    add("store", metavar="L1", help="L1 store (folder, ZIP file or URL)")
    add("-o", "--output", metavar="FILE", required=True, help="file to write")
    add("--format", default="sdfits", metavar="{sdfits,class,csv}", help="format (default: sdfits)")
    add("--scans", help="only these scans, as in 25650,25660:25670")
    add("--pixels", nargs="+", metavar="NAME", help="only these pixels")
    add("--rest-frequency", type=float, metavar="HZ", help="rest frequency in place of the recorded one [Hz]")
    add(
        "--flags",
        metavar="{column,blank}",
        help="SDFITS: column FLAGS (default), or no value where flagged, as the other formats have it",
    )
    add("--overwrite", action="store_true", help="replace an existing file")
    add("-q", "--quiet", action="store_true", help="log warnings only")
    return parser


def export(arguments: list[str]) -> int:
    """Run ``calibrate export``.

    Parameters
    ----------
    arguments : list of str
        Arguments of the subcommand.

    Returns
    -------
    int
        0 for success, 2 where some scans could not be exported.

    Raises
    ------
    UsageError
        If the store is one of an imager.
    """
    from cal_pipeline.heterodyne.export import export_session

    given = export_parser().parse_args(arguments)
    if find_family(given.store).noun != "scan":
        raise UsageError(f"{given.store} is a store of an imager, and calibrate export is for spectra of receivers")
    with log_to_stderr(logging.WARNING if given.quiet else logging.INFO):
        done = export_session(
            given.store,
            given.output,
            format=given.format,
            scans=given.scans,
            pixels=given.pixels,
            rest_frequency=given.rest_frequency,
            flags=given.flags,
            overwrite=given.overwrite,
        )
    show(f"{done.path}: {format_count(done.n_spectra, 'spectrum', 'spectra')}")
    if done.failures:
        show(f"not exported: {format_count(len(done.failures), 'scan')} ({format_ranges(sorted(done.failures))})")
    return INCOMPLETE if done.failures else DONE
