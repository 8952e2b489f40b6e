"""Subcommand ``calibrate report``: one HTML file about a product, to open in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from cal_pipeline.cli.commands import DONE, CommandParser, UsageError, show
from cal_pipeline.cli.families import add_selection, find_family, read_selection
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.core.store.opening import open_store


def report_parser() -> CommandParser:
    """Make the parser of ``calibrate report``."""
    parser = CommandParser(
        prog="calibrate report",
        description="Write a report of a product as one HTML file: an overview of all scans and a page for each, with "
        "figures to zoom into. It opens in any current browser and needs no network.",
    )
    parser.add_argument(
        "store",
        nargs="+",
        help="product (folder, ZIP file or URL); of Cherenkov telescopes, folders of nights or files, several of which "
        "make one report",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write (default: STORE_report.html, beside the store)"
    )
    add_selection(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def report(arguments: list[str]) -> int:
    """Run ``calibrate report``.

    Parameters
    ----------
    arguments : list of str
        Arguments of the subcommand.

    Returns
    -------
    int
        0 once the file is written.
    """
    given = report_parser().parse_args(arguments)
    if all(map(_is_of_cherenkov, given.store)):
        output = _report_nights(given)
    elif len(given.store) > 1:
        raise UsageError(
            f"{len(given.store)} stores are given; the report is of one, or of nights of Cherenkov telescopes"
        )
    else:
        (store,) = given.store
        family = find_family(store)
        output = Path(given.output) if given.output else _locate(store)
        family.write_report(store, output, read_selection(given, family), given.overwrite)
    show(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return DONE


def _is_of_cherenkov(location: str) -> bool:
    """Tell whether a path is a folder or file with products of Cherenkov tools."""
    path = Path(location)
    # Stores are known by their metadata, without the libraries of the other family.
    if is_url(location) or path.suffix in (".zarr", ".zip", ".asdf") or (path / "zarr.json").exists():
        return False
    from cal_pipeline.report.cherenkov_files import is_of_cherenkov

    return is_of_cherenkov(location)


def _report_nights(given: argparse.Namespace) -> Path:
    """Write the report of nights; return its path.

    Raises
    ------
    UsageError
        If scans or exposures are selected, or several paths are given without an output.
    """
    from cal_pipeline.report.cherenkov_report import write_report

    for option in ("scans", "exposures"):
        if getattr(given, option) is not None:
            raise UsageError(f"--{option} selects from a store; a report of Cherenkov telescopes shows all products")
    if not given.output and len(given.store) > 1:
        raise UsageError("several paths are given; name the file to write, as in -o report.html")
    first = Path(given.store[0]).resolve()
    output = Path(given.output) if given.output else first.with_name(f"{first.name.partition('.')[0]}_report.html")
    write_report(given.store, output, given.overwrite)
    return output


def _locate(store: str) -> Path:
    """Return the default output.

    Raises
    ------
    UsageError
        If the store is remote, where no file can be opened in a browser.
    """
    from cal_pipeline.report.beside import locate_report

    found = None if is_url(store) else locate_report(open_store(store))
    if found is None:
        raise UsageError(f"{store} is no folder on this machine; name the file to write, as in -o report.html")
    return found
