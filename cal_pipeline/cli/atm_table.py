"""The ``atm-table`` command: build, import, describe and plot atmosphere tables."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cal_pipeline.cli.commands import DONE, CommandParser, UsageError, complain, run_command, show
from cal_pipeline.heterodyne.physics.opacity import transmission, zenith_opacity
from cal_pipeline.heterodyne.references.atm_recipe import RECIPES, Recipe
from cal_pipeline.heterodyne.references.atm_table import AtmRangeError, AtmTable
from cal_pipeline.heterodyne.references.atm_text import UNITS, table_from_text
from cal_pipeline.heterodyne.references.build_atm import build_table
from cal_pipeline.heterodyne.references.shipped import open_atm_table, shipped_atm_table

DEFAULT_PWV = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Columns of water vapour to show transmissions for [mm], apart from opaque ones."""


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 done, 1 failed (the message is on standard error).
    """
    return run_command("atm-table", _run, argv)


def _run(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="atm-table", description="Build, import, describe and plot atmosphere tables.")
    commands = parser.add_subparsers(title="commands", required=True)
    build = commands.add_parser("build", help="build a table with the ATM model (needs casatools)")
    build.add_argument("recipe", help="recipe (.toml), or the name of a shipped one, such as ccat")
    build.add_argument("-o", "--output", type=Path, help="file to write (default: the recipe's output)")
    build.add_argument("-j", "--jobs", type=int, default=1, help="number of processes (default: 1)")
    build.set_defaults(run=_build)
    info = commands.add_parser("info", help="describe a table")
    info.add_argument("table", help="table (.asdf), or the name of a shipped one, such as ccat")
    info.set_defaults(run=_info)
    plot = commands.add_parser("plot", help="plot transmission against frequency")
    plot.add_argument("table", help="table (.asdf), or the name of a shipped one, such as ccat")
    plot.add_argument("-o", "--output", type=Path, required=True, help="picture to write (.png, .pdf, .svg)")
    plot.add_argument("--pwv", type=float, nargs="+", help="precipitable water vapour, one or more values [mm]")
    plot.add_argument("--pressure", type=float, help="pressure [hPa] (default: the middle one of the table)")
    plot.set_defaults(run=_plot)
    text = commands.add_parser("import", help="make a table from text: columns of frequency, b [Np/mm] and c [Np]")
    text.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="one file per pressure with columns nu, b, c, or one with nu, b1, c1, b2, c2, ...; # begins a comment",
    )
    text.add_argument(
        "--pressure-hpa",
        metavar="P",
        type=float,
        nargs="+",
        required=True,
        help="pressures, ascending, in the order of the files or columns [hPa]",
    )
    text.add_argument("--unit", choices=UNITS, default="GHz", help="unit of the frequencies (default: GHz)")
    text.add_argument("-o", "--output", type=Path, required=True, help="table to write (.asdf)")
    text.set_defaults(run=_import)
    return parser


def _build(arguments: argparse.Namespace) -> None:
    shipped = RECIPES / f"{arguments.recipe}.toml"
    recipe = Recipe.read(shipped if shipped.is_file() else arguments.recipe)
    table = build_table(recipe, workers=arguments.jobs, report=complain)
    _write(table, arguments.output or Path(recipe.output))


def _import(arguments: argparse.Namespace) -> None:
    table = table_from_text(arguments.files, arguments.pressure_hpa, arguments.unit)
    _write(table, arguments.output)


def _write(table: AtmTable, output: Path) -> None:
    table.write(output)
    show(f"{output}: {table.describe_range()}, {output.stat().st_size / 1e6:.2f} MB")


def _open(name: str) -> tuple[Path, AtmTable]:
    """Open a table by its path, or by the name of a shipped one where no such file exists."""
    path = Path(name)
    if not path.is_file() and path.name == name and not path.suffix:
        path = shipped_atm_table(name)
    return path, open_atm_table(path)


def _info(arguments: argparse.Namespace) -> None:
    path, table = _open(arguments.table)
    show(f"{path} ({path.stat().st_size / 1e6:.2f} MB, sha256 {table.sha256})")
    for key, value in table.meta.items():
        show(f"  {key}: {value}")
    show(f"  pressures: {', '.join(f'{p / 100:g}' for p in table.pressure)} hPa")
    for line in describe_layers(table):
        show(line)
    pressure = float(table.pressure[len(table.pressure) // 2])
    show(f"windows, and zenith opacities at {pressure / 100:g} hPa in their middle:")
    show("      start       stop   step [MHz]   b [Np/mm]      c [Np]")
    for start, stop in table.windows:
        middle = 0.5 * (start + stop)
        b, c = table.coefficients(middle, pressure)
        show(
            f" {start / 1e9:10.4f} {stop / 1e9:10.4f}   {table.step_at(middle) / 1e6:10.4g}  "
            f"{float(b):10.4g}  {float(c):10.4g}"
        )


def describe_layers(table: AtmTable) -> list[str]:
    """Describe the version of a table's format, its layers and their temperatures in lines of text."""
    if table.layer_top_km is None or table.layer_offset is None:
        return [f"format version {table.version}: one layer at the temperature of the ground"]
    lines = [
        f"format version {table.version}; tops of the {len(table.layer_top_km)} layers above the telescope, and their "
        "temperatures minus that of the ground [K]:",
        "   top [km]" + "".join(f"{pressure / 100:7g} hPa" for pressure in table.pressure),
    ]
    for top, offsets in zip(table.layer_top_km, table.layer_offset.T, strict=True):
        lines.append(f" {top:10g}" + "".join(f"{offset:+11.2f}" for offset in offsets))
    return lines


def _plot(arguments: argparse.Namespace) -> None:
    path, table = _open(arguments.table)
    pressure = float(table.pressure[len(table.pressure) // 2])
    if arguments.pressure is not None:
        pressure = 100.0 * arguments.pressure
    figure = plot_transmission(table, pressure, arguments.pwv)
    formats = sorted(figure.canvas.get_supported_filetypes())
    if Path(arguments.output).suffix.lstrip(".").lower() not in formats:
        raise UsageError(f"-o {arguments.output}: expected a name that ends in one of .{', .'.join(formats)}")
    figure.savefig(arguments.output, dpi=110)
    show(f"{arguments.output}: {path.name} at {pressure / 100:g} hPa")


def plot_transmission(table: AtmTable, pressure: float, pwv: Sequence[float] | None = None) -> Figure:
    """Plot the zenith transmission in each window of a table.

    Parameters
    ----------
    table : AtmTable
        Table.
    pressure : float
        Pressure at the telescope [Pa].
    pwv : sequence of float, optional
        Columns of water vapour [mm]; by default those of 0.01 to 10 mm that leave something to be
        seen.

    Returns
    -------
    Figure

    Raises
    ------
    AtmRangeError
        If the table does not hold the pressure, or a column is negative.
    """
    for column in pwv or ():
        if not 0.0 <= column < math.inf:
            raise AtmRangeError(f"a column of {column:g} mm of water vapour: expected 0 or more, in mm (--pwv)")
    spectra = []
    for start, stop in table.windows:
        inside = (table.frequency >= start) & (table.frequency <= stop)
        nu = table.frequency[inside]
        spectra.append((nu, *table.coefficients(nu, pressure)))
    if pwv is None:
        typical = float(np.median(np.concatenate([b for _, b, _ in spectra])))
        pwv = [column for column in DEFAULT_PWV if typical * column < 4.0][-4:]
    figure = Figure(figsize=(9.0, 1.2 + 2.1 * len(spectra)), layout="constrained")
    panels = figure.subplots(len(spectra), 1, squeeze=False)[:, 0]
    for panel, (nu, b, c) in zip(panels, spectra, strict=True):
        panel.plot(nu / 1e9, transmission(c, 1.0), color="0.6", linewidth=0.7, label="dry")
        for column in pwv:
            panel.plot(
                nu / 1e9,
                transmission(zenith_opacity(b, c, column), 1.0),
                linewidth=0.7,
                label=f"{column:g} mm",
            )
        panel.set(xlim=(nu[0] / 1e9, nu[-1] / 1e9), ylim=(0.0, 1.0), ylabel="transmission")
    panels[0].set_title(f"{table.meta.get('site', table.name)}, {pressure / 100:g} hPa, zenith")
    panels[0].legend(loc="lower right", fontsize="small", ncols=len(pwv) + 1)
    panels[-1].set_xlabel("frequency [GHz]")
    return figure


if __name__ == "__main__":
    sys.exit(main())
