"""Subcommand ``calibrate report``: one HTML file about a product, to open in a browser."""

from __future__ import annotations

from pathlib import Path

from cal_pipeline.cli.commands import DONE, CommandParser, UsageError, show
from cal_pipeline.cli.families import add_selection, find_family, read_selection
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.core.store.paths import open_store


def report_parser() -> CommandParser:
    """Make the parser of ``calibrate report``."""
    parser = CommandParser(
        prog="calibrate report",
        description="Write a report of a product as one HTML file: an overview of all scans and a page for each, with "
        "figures to zoom into. It opens in any current browser and needs no network.",
    )
    parser.add_argument("store", help="product (folder, ZIP file or URL)")
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
    family = find_family(given.store)
    output = Path(given.output) if given.output else _locate(given.store)
    family.write_report(given.store, output, read_selection(given, family), given.overwrite)
    show(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return DONE


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
