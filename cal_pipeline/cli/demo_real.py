"""The demo on real counts of the Green Bank Telescope, beside the figures of an independent package."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cal_pipeline.cli.commands import show
from cal_pipeline.cli.demo_argus import SCAN as ARGUS_SCAN
from cal_pipeline.cli.demo_argus import ZENITH_OPACITY, BeamFigures, compare_beams
from cal_pipeline.cli.demo_runs import run_program
from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.text import format_count, list_few, make_printable
from cal_pipeline.heterodyne.averages import average_scan
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.physics.loads import receiver_temperature
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.stages import LoadStage
from cal_pipeline.report.plots import plot_sky_fit, plot_spectrum
from cal_pipeline.steps import LoadsStep

Floats = NDArray[np.float64]

SESSION = "gbt_wband_m82.zarr"
"""Name of the session with the real counts."""

SCAN = 131
"""Its scan."""

WBAND, ARGUS = "gbt_wband", "gbt_argus"
"""Profiles of the FITS files."""

PACKAGE = "dysh 1.1.0"
"""Independent package that evaluated the same counts."""

_SKY = 2
"""Subscan of the calibration group on blank sky."""

_SMOOTH, _SMOOTH_ARGUS = 64, 8
"""Channels averaged in the pictures."""


class PublishedFigures(NamedTuple):
    """Result of the independent package for a beam, over the inner 80 % of the channels.

    Parameters
    ----------
    kelvin_per_count : float
        (T_hot - T_cold)/(HOT - COLD) [K/ct].
    t_rec : float
        Receiver temperature, median, with physical for brightness temperatures of the loads [K].
    t_sys : float
        Mean counts on the sky times that gain [K].
    """

    kelvin_per_count: float
    t_rec: float
    t_sys: float


PUBLISHED = (
    PublishedFigures(8.811870868732733e-07, 83.0006, 106.97707617),
    PublishedFigures(1.176978535348191e-06, 124.4705, 141.99053848),
)
"""Those of both beams."""


class ComparedFigure(NamedTuple):
    """Figure of a beam, ours beside the one it should have.

    Parameters
    ----------
    name : str
        Name with its unit.
    expected : float or None
        Value of the independent package, or by theory; None without one.
    found : float
        Value of this package.
    tolerance : float
        Relative difference that is allowed.
    format : str
        Format of both.
    """

    name: str
    expected: float | None
    found: float
    tolerance: float
    format: str

    @property
    def agrees(self) -> bool:
        """Tell whether both agree; true without a value to compare with."""
        return self.expected is None or abs(self.found / self.expected - 1.0) <= self.tolerance

    @property
    def cells(self) -> tuple[str, str, str]:
        """Expected and found value, and their relative difference, as text."""
        found = format(self.found, self.format)
        if self.expected is None:
            return "", found, ""
        return format(self.expected, self.format), found, f"{100.0 * (self.found / self.expected - 1.0):+.2f} %"


def find_session(folder: Path) -> Path:
    """Find the session with the real counts in a folder, or the folder itself if it is that session.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    Path

    Raises
    ------
    StoreError
        If the counts are not there; the message says what is.

    Examples
    --------
    >>> find_session(Path("nowhere"))
    Traceback (most recent call last):
    ...
    cal_pipeline.core.errors.StoreError: there is no folder nowhere; expected the one that holds gbt_wband_m82.zarr
    """
    if not folder.is_dir():
        raise StoreError(f"there is no folder {make_printable(folder)}; expected the one that holds {SESSION}")
    for session in _places(folder):
        return session
    inside = sorted(path.name for path in folder.iterdir())
    found = f"it holds {list_few(inside)}" if inside else "it is empty"
    raise StoreError(
        f"{make_printable(folder)} lacks the real counts: {found}; expected {SESSION} with scan {SCAN}, or FITS files "
        "of the W-band receiver or of Argus on the Green Bank Telescope, which are not part of the package"
    )


def _places(folder: Path) -> list[Path]:
    """List where the session with the real counts lies in a folder."""
    places = (folder, folder / SESSION)
    return [place for place in places if (place / f"scan_{SCAN:06d}" / "source" / "data_5d").is_dir()]


def find_receivers(folder: Path) -> set[str]:
    """Find the receivers whose FITS files lie in a folder, all levels down.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    set of str
        Names of their profiles, of those that the demo knows.
    """
    from cal_pipeline.heterodyne.ingest.find_files import choose_profile

    found = set()
    for path in sorted(folder.rglob("*.fits")):
        with contextlib.suppress(CalibrationError):  # files of other telescopes, and damaged ones
            found.add(choose_profile([path]).name)
    return found & {WBAND, ARGUS}


def compare_figures(session: Path, product: CalibratedSession) -> list[list[ComparedFigure]]:
    """Compare the results on the real counts with those of the independent package.

    Parameters
    ----------
    session : Path
        The counts.
    product : CalibratedSession
        The calibrated session.

    Returns
    -------
    list of list of ComparedFigure
        One list a beam.
    """
    scan = product.open_scan(SCAN).load()
    loads = LoadsStep(image_gain=0.0).run(f"{session}/scan_{SCAN:06d}").bands[0].require_loads()
    group = f"scan_{loads.scan_numbers[0]:06d}/calibration/data_5d"
    counts = Counts(open_store(session), group, StageClock())
    sky = counts.read(slice(0, counts.shape[0]), [_SKY])[..., 0].mean(axis=1, dtype=np.float64)
    return [_compare_beam(beam, scan, loads, sky[:, beam, 0]) for beam in range(len(PUBLISHED))]


def _compare_beam(beam: int, scan: xarray.Dataset, loads: LoadStage, sky: Floats) -> list[ComparedFigure]:
    """Compare the figures of a beam, over the inner 80 % of the channels."""
    n_channels = scan.sizes["channel"]
    inner = slice(n_channels // 10, n_channels - n_channels // 10)
    part, published = scan.isel(receiver=beam, array=0, channel=inner), PUBLISHED[beam]
    gain = 1.0 / float(part.gamma.mean())
    hot, cold = (values[inner, beam : beam + 1] for values in (loads.means.hot, loads.means.cold))
    temperatures = (loads.means.hot_input.temperature, loads.means.cold_input.temperature)
    t_rec = receiver_temperature(hot, cold, *(t.reshape(1, 1, 1) for t in temperatures))
    quoted, independent = measure_noise_ratios(part)
    t_sys = gain * float(sky[inner].mean())
    return [
        ComparedFigure("gain [1e-7 K/ct]", 1e7 * published.kelvin_per_count, 1e7 * gain, 1e-3, ".5f"),
        ComparedFigure("T_rec, physical load temperatures [K]", published.t_rec, float(np.median(t_rec)), 1e-3, ".2f"),
        ComparedFigure("T_rec, brightness temperatures [K]", None, float(part.t_rec_ssb.median()), 0.0, ".2f"),
        ComparedFigure("T_sys, counts on the sky times gain [K]", published.t_sys, t_sys, 2e-3, ".2f"),
        ComparedFigure("T_sys, fitted sky at the ON [K]", None, float(part.t_sys[..., 0].median()), 0.0, ".2f"),
        ComparedFigure("noise of the mean over sigma", 1.0, quoted, 0.05, ".3f"),
        ComparedFigure("the same, if the noise were independent", None, independent, 0.0, ".3f"),
    ]


def measure_noise_ratios(pixel: xarray.Dataset) -> tuple[float, float]:
    """Compare the noise of the mean spectrum of a pixel with its error.

    Parameters
    ----------
    pixel : xarray.Dataset
        Part of an L1 scan, of one pixel.

    Returns
    -------
    quoted : float
        Noise from channel to channel over the error of the average: 1 if that is right.
    independent : float
        Noise over the error 1/sqrt(Σ 1/sigma²) that independent noise of all samples would leave.

    Notes
    -----
    The noise is 1.4826 times the median of the absolute differences of neighbouring channels over √2,
    which neither lines nor standing waves change.
    """
    mean = average_scan(pixel)
    weight = np.sqrt(mean.weight.values)
    difference = np.abs(np.diff(mean.spectrum.values)) / np.sqrt(2.0)
    quoted, independent = difference / mean.sigma.values[1:], difference * weight[1:]
    return 1.4826 * float(np.nanmedian(quoted)), 1.4826 * float(np.nanmedian(independent))


def run_real_demo(data: Path, folder: Path) -> int:
    """Calibrate the real counts, and print the figures beside those of the independent package.

    Parameters
    ----------
    data : Path
        Folder that holds the counts: the session, or the FITS files of one receiver or of both.
    folder : Path
        Output folder.

    Returns
    -------
    int
        Exit status: 0 if the figures agree, else 1.

    Raises
    ------
    StoreError
        If the counts are not there.
    CalibrationError
        If ``calibrate ingest`` or ``strun`` fails.
    """
    start = time.perf_counter()
    receivers = find_receivers(data) if data.is_dir() and not _places(data) else set()
    agree = True
    if WBAND in receivers or not receivers:
        session = _ingest(data, folder / SESSION, WBAND) if receivers else find_session(data)
        agree &= _show_wband(session, folder)
    if ARGUS in receivers:
        agree &= _show_argus(_ingest(data, folder / "gbt_argus_ngc5908.zarr", ARGUS), folder)
    pictures = sorted(path.name for path in folder.glob("gbt_*.png"))
    show(f"{format_count(len(pictures), 'picture')} in {folder}: {', '.join(pictures)}")
    show(f"{'all agree' if agree else 'NOT all agree'} in {time.perf_counter() - start:.0f} s")
    return 0 if agree else 1


def _ingest(data: Path, session: Path, profile: str) -> Path:
    """Make a session of the FITS files of a receiver."""
    run_program(
        "calibrate", ["ingest", str(data), "-o", str(session), "--profile", profile, "--overwrite"], r"scan \d+ "
    )
    return session


def _calibrate(session: Path, folder: Path, *parameters: str) -> CalibratedSession:
    """Calibrate a session with the parameter file for its data."""
    output = folder / f"{session.stem}_l1.zarr"
    arguments = ["cal_pipeline.CalibrationPipeline", str(session), f"--output_file={output}", "--overwrite=true"]
    run_program("strun", [*arguments, *parameters, f"--log-file={folder / (session.stem + '.log')}"], r"scan \d+ ")
    return CalibratedSession(output)


def _show_wband(session: Path, folder: Path) -> bool:
    """Calibrate the counts of the W-band receiver, draw them, and tell whether the figures agree."""
    product = _calibrate(session, folder)
    beams = compare_figures(session, product)
    _print_table(beams)
    draw_real_scan(product, folder)
    return all(figure.agrees for figures in beams for figure in figures)


def _show_argus(session: Path, folder: Path) -> bool:
    """Calibrate the counts of Argus, draw them, and tell whether the figures agree."""
    product = _calibrate(session, folder, f"--steps.atmosphere.zenith_opacity={ZENITH_OPACITY}")
    beams = compare_beams(session, product)
    _print_beams(beams)
    plot_spectrum(product.open_scan(ARGUS_SCAN).load(), 0, 0, folder / "gbt_argus_beam0.png", smooth=_SMOOTH_ARGUS)
    return all(beam.agrees for beam in beams)


def draw_real_scan(product: CalibratedSession, folder: Path) -> list[Path]:
    """Draw the mean spectra of both beams, and the fit of the sky.

    Parameters
    ----------
    product : CalibratedSession
        The calibrated session.
    folder : Path
        Folder for the pictures.

    Returns
    -------
    list of Path
        The pictures.
    """
    scan = product.open_scan(SCAN).load()
    pictures = [folder / f"gbt_spectrum_beam{beam}.png" for beam in range(len(PUBLISHED))]
    for beam, picture in enumerate(pictures):
        plot_spectrum(scan, beam, 0, picture, smooth=_SMOOTH)
    plot_sky_fit(scan, folder / "gbt_sky.png")
    return [*pictures, folder / "gbt_sky.png"]


def _print_table(beams: list[list[ComparedFigure]]) -> None:
    """Print the figures of the beams."""
    table = Table(title=f"scan {SCAN}, M82: {PACKAGE} (or theory) and cal_pipeline on the same counts")
    table.add_column("beam")
    table.add_column("inner 80 % of the channels", no_wrap=True)
    for column in (PACKAGE, "cal_pipeline", "difference"):
        table.add_column(column, justify="right", no_wrap=True)
    for beam, figures in enumerate(beams):
        for figure in figures:
            table.add_row(str(beam), escape(figure.name), *figure.cells)
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)


def _print_beams(beams: list[BeamFigures]) -> None:
    """Print the system temperatures of all beams of Argus."""
    table = Table(title=f"scan {ARGUS_SCAN}, NGC 5908: T_sys [K] on the scale of T_A*, {PACKAGE} and cal_pipeline")
    for column in ("beam", *(f"mode {mode} {who}" for mode in range(3) for who in ("", "ours")), "t_sys in L1"):
        table.add_column(column.strip(), justify="right", no_wrap=True)
    for beam, figures in enumerate(beams):
        pairs = zip(figures.published, figures.found, strict=True)
        values = [*(value for pair in pairs for value in pair), figures.t_sys]
        table.add_row(str(beam), *(f"{value:.2f}" for value in values))
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)
    show(f"largest difference {max(beam.difference for beam in beams):.0e}")
