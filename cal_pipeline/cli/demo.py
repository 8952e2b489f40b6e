"""The command ``cal-demo``: simulate two telescopes, calibrate them, compare with the truth."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cal_pipeline.cli.commands import CommandParser, UsageError, run_command, show
from cal_pipeline.cli.demo_runs import run_program
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.simulate import Truth, preset, read_truth, simulate
from cal_pipeline.heterodyne.simulate.presets import Mode
from cal_pipeline.report.plots import mean_spectrum, plot_sky_fit, plot_spectrum


@dataclass(frozen=True)
class DemoSession:
    """A session of the demo.

    Parameters
    ----------
    name : str
        Name of its files.
    preset : str
        Configuration of the simulation.
    mode : str
        Observing mode.
    channels, scans : int
        Size.
    """

    name: str
    preset: str
    mode: Mode
    channels: int
    scans: int


OBSERVATIONS = (
    DemoSession("ccat_chai", "ccat_chai", "otf", 2048, 2),
    DemoSession("sofia_upgreat", "sofia_lfa", "total_power", 2048, 2),
)

PIPELINE = "cal_pipeline.CalibrationPipeline"

SMALLEST_DETECTOR = 96
"""Rows of the smallest detector that the demo of the imager simulates."""

LINE_WINDOW = (-45.0, 45.0)
"""Velocities that the pictures show [km/s]."""


@dataclass(frozen=True)
class Comparison:
    """Recovered against true values of a scan.

    Parameters
    ----------
    scan : int
        Scan number.
    pwv, pwv_err, pwv_err_model, pwv_true : float
        PWV, its statistical error and that from the opacity model [mm].
    line, line_err, line_err_scale, line_true : float
        Peak of the line in the pixel where it is brightest, mean over the scan, with the noise of this
        mean, that of the OFFs included, and the error of its scale [K].
    """

    scan: int
    pwv: float
    pwv_err: float
    pwv_err_model: float
    pwv_true: float
    line: float
    line_err: float
    line_err_scale: float
    line_true: float


def run_observation(observation: DemoSession, folder: Path) -> list[Comparison]:
    """Simulate and calibrate a session, and compare.

    Parameters
    ----------
    observation : DemoSession
        DemoSession to simulate.
    folder : Path
        Output folder.

    Returns
    -------
    list of Comparison
        One a scan.
    """
    session, product = folder / f"{observation.name}.zarr", folder / f"{observation.name}_l1.zarr"
    config = preset(
        observation.preset, channels=observation.channels, scans=observation.scans, mode=observation.mode, seed=1
    )
    simulate(config, session, overwrite=True)
    efficiency = config.receivers[0].forward_efficiency
    arguments = [
        PIPELINE,
        str(session),
        f"--output_file={product}",
        "--overwrite=true",
        f"--steps.loads.forward_efficiency={efficiency}",
        f"--log-file={folder / (observation.name + '.log')}",
    ]
    run_program("strun", arguments, r"scan \d+ ")
    calibrated = CalibratedSession(product)
    return [
        _compare(calibrated, read_truth(session, number), number, folder / observation.name)
        for number in calibrated.numbers
    ]


def _compare(product: CalibratedSession, truth: Truth, number: int, stem: Path) -> Comparison:
    """Compare a scan with its truth, and draw it."""
    scan = product.open_scan(number).load()
    true = truth.t_a_star()
    receiver, array = np.unravel_index(np.argmax(true.mean(axis=(1, 4)).max(axis=0)), true.shape[2:4])
    expected = true[:, :, receiver, array, :].mean(axis=(1, 2))
    spectrum, error = mean_spectrum(scan, int(receiver), int(array))
    good = np.isfinite(spectrum) & np.isfinite(error)
    weight = (expected[good] / error[good]) ** 2
    scale = (spectrum[good] * expected[good] / error[good] ** 2).sum() / weight.sum()
    picture = f"{stem}_scan{number}_spectrum.png"
    plot_spectrum(scan, int(receiver), int(array), picture, truth=expected, window=LINE_WINDOW, axis="radio")
    plot_sky_fit(scan, f"{stem}_scan{number}_sky.png")
    peak = float(expected.max())
    return Comparison(
        scan=number,
        pwv=float(scan.pwv),
        pwv_err=float(scan.pwv_err),
        pwv_err_model=float(scan.pwv_err_model),
        pwv_true=truth.pwv_mm,
        line=float(scale) * peak,
        line_err=float(peak / np.sqrt(weight.sum())),
        line_err_scale=float(scale) * peak * float(scan.attrs["scale_error"]),
        line_true=peak,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the demo.

    Parameters
    ----------
    argv : list of str, optional
        Arguments of the command line.

    Returns
    -------
    int
        Exit status: 0 if everything was recovered within its errors, else 1.
    """
    return run_command("cal-demo", _run, argv)


def demo_parser() -> argparse.ArgumentParser:
    """Make the parser of ``cal-demo``."""
    parser = CommandParser(
        prog="cal-demo",
        description="Simulate sessions of two telescopes, calibrate them, and compare the result with the truth.",
    )
    parser.add_argument("folder", nargs="?", default="demo", type=Path, help="where to write (default: demo)")
    family = parser.add_mutually_exclusive_group()
    family.add_argument("--imager", action="store_true", help="show the infrared imager instead: a visit to a mosaic")
    family.add_argument(
        "--cherenkov", action="store_true", help="show Cherenkov telescopes instead: the air of a night"
    )
    family.add_argument(
        "--real",
        type=Path,
        metavar="FOLDER",
        help="calibrate public counts of the Green Bank Telescope in this folder instead, a session or FITS files, "
        "beside figures of another package",
    )
    parser.add_argument("--size", type=int, help="rows and columns of the imager's detector (default: 256)")
    parser.add_argument("--seed", type=int, help="seed of the simulation of imager or night (default: 1)")
    return parser


def _run(argv: list[str]) -> int:
    given = demo_parser().parse_args(argv)
    _check_options(given)
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    seed = 1 if given.seed is None else given.seed
    if given.cherenkov:
        from cal_pipeline.cli.demo_cherenkov import run_cherenkov_demo

        return run_cherenkov_demo(folder, seed)
    if shutil.which("strun", path=str(Path(sys.executable).parent)) is None:
        raise CalibrationError("strun is not beside this Python; install cal_pipeline with pip")
    if given.real is not None:
        from cal_pipeline.cli.demo_real import run_real_demo

        return run_real_demo(given.real, folder)
    if given.imager:
        from cal_pipeline.cli.demo_imager import run_imager_demo

        return run_imager_demo(folder, given.size or 256, seed)
    return _run_receivers(folder)


def _run_receivers(folder: Path) -> int:
    """Simulate and calibrate the sessions of receivers, and show recovered against true."""
    table = Table(title="recovered against true")
    for column in ("session", "scan", "PWV [mm]", "stat.", "model", "true", "line [K]", "noise", "scale", "true"):
        table.add_column(column, justify="right", no_wrap=True)
    recovered = True
    start = time.perf_counter()
    for observation in OBSERVATIONS:
        for row in run_observation(observation, folder):
            table.add_row(
                observation.name,
                str(row.scan),
                f"{row.pwv:.6f}",
                f"{row.pwv_err:.1g}",
                f"{row.pwv_err_model:.1g}",
                f"{row.pwv_true:g}",
                f"{row.line:.3f}",
                f"{row.line_err:.3f}",
                f"{row.line_err_scale:.2f}",
                f"{row.line_true:.3f}",
            )
            recovered &= abs(row.pwv - row.pwv_true) <= 2.0 * np.hypot(row.pwv_err, row.pwv_err_model)
            recovered &= abs(row.line - row.line_true) <= 2.0 * np.hypot(row.line_err, row.line_err_scale)
    console = Console()
    (console if console.is_terminal else Console(width=100)).print(table)
    pictures = sorted(path.name for path in folder.glob("*.png"))
    show(f"{format_count(len(pictures), 'picture')} in {folder}: {', '.join(pictures)}")
    show(f"{'all recovered' if recovered else 'NOT all recovered'} in {time.perf_counter() - start:.0f} s")
    return 0 if recovered else 1


def _check_options(given: argparse.Namespace) -> None:
    """Refuse options of a family that is not shown."""
    if given.size is not None and not given.imager:
        raise UsageError("--size is for the imager; give --imager as well")
    if given.seed is not None and not (given.imager or given.cherenkov):
        raise UsageError("--seed is for the imager and for Cherenkov telescopes; give --imager or --cherenkov as well")
    if given.size is not None and given.size < SMALLEST_DETECTOR:
        raise UsageError(f"--size {given.size} must be at least {SMALLEST_DETECTOR}: smaller images hold no whole star")


if __name__ == "__main__":
    sys.exit(main())
