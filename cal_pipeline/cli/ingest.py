"""Subcommand ``calibrate ingest``: an L0 session from a telescope's FITS files."""

from __future__ import annotations

import argparse
import logging

from cal_pipeline.cli.commands import DONE, CommandParser, show
from cal_pipeline.core.logs import log_to_stderr


def ingest_parser() -> argparse.ArgumentParser:
    """Make the parser of ``calibrate ingest``."""
    parser = CommandParser(
        prog="calibrate ingest",
        description="Write the scans of a telescope's FITS files to an L0 session, by a declared profile of the files. "
        "A session is added to; scans that are in it, made from the same files with the same profile, are kept. "
        "Status 0: all scans are in the session; 1: none; 2: some; 3: the scans are written, but not the record of "
        "their files.",
    )
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="+", help="files, or folders that are searched, all levels down")
    add("-o", "--output", metavar="L0", required=True, help="session to write, or to add to")
    add(
        "--profile",
        metavar="NAME|FILE",
        default="auto",
        help="shipped profile, or TOML file (default: auto, the shipped one that fits the first file)",
    )
    add("--scans", help="only these scans, as in 131,140:150")
    add("--overwrite", action="store_true", help="replace scans that are there and were made from other files")
    add("--dry-run", action="store_true", help="show what would become of each file and why; write nothing")
    add("--threads", type=int, metavar="N", help="threads that read and write (default: one per core)")
    add("-q", "--quiet", action="store_true", help="log warnings only")
    return parser


def ingest(arguments: list[str]) -> int:
    """Run ``calibrate ingest``.

    Parameters
    ----------
    arguments : list of str
        Arguments of the subcommand.

    Returns
    -------
    int
        0 where all scans are in the session; of a dry run also 1 and 2 where none, or some, would be.

    Raises
    ------
    RunFailedError
        If scans or files failed; with the exit status 1 or 2.
    """
    from cal_pipeline.heterodyne.ingest.run import ingest, preview_ingest

    given = ingest_parser().parse_args(arguments)
    request = {
        "profile": given.profile,
        "scans": given.scans,
        "overwrite": given.overwrite,
        "threads": given.threads,
    }
    with log_to_stderr(logging.WARNING if given.quiet else logging.INFO):
        if given.dry_run:
            overview = preview_ingest(given.paths, given.output, **request)
            show(overview.text)
            return overview.status
        ingest(given.paths, given.output, **request)
    return DONE
