"""Measure what faults do to the results and which checks notice.

``python tests/fault_table.py`` simulates each fault of `fault_list`, calibrates it and writes the table at the end of
``docs/faults.rst``.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from fault_list import FAULTS, STEPS, Fault
from helpers_accuracy import write_session
from numpy.typing import NDArray

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.heterodyne.simulate.truth import Truth

PAGE = Path(__file__).parent.parent / "docs" / "faults.rst"
MARK = ".. list-table::\n"
SEVERITIES = ("pass", "questionable", "fail")
NEIGHBOURS = 16
"""Channels over which spectra are averaged where they are compared outside the line."""


@dataclass(frozen=True)
class Effect:
    """Effect of a fault on a night.

    Parameters
    ----------
    line, line_worst : float
        Median and worst relative error of the line's strength, over pixels, ONs and scans.
    baseline : float
        Largest mean of 16 neighbouring channels that is not the line's [K].
    pwv : float
        Median relative error of PWV.
    verdict : str
        The worst of all scans, or ``refused``.
    checks : tuple of str
        Checks that some scan does not pass.
    refused : str
        Why scans were not calibrated.
    """

    line: float = np.nan
    line_worst: float = np.nan
    baseline: float = np.nan
    pwv: float = np.nan
    verdict: str = "refused"
    checks: tuple[str, ...] = ()
    refused: str = ""


def measure(fault: Fault, folder: Path) -> Effect:
    """Simulate a fault in an empty folder and calibrate it."""
    session = folder / "session.zarr"
    truths = write_session(fault.config, session)
    if fault.tamper is not None:
        fault.tamper(session)
    steps = {name: STEPS.get(name, {}) | dict(fault.steps.get(name, {})) for name in {*STEPS, *fault.steps}}
    refused = ""
    try:
        CalibrationPipeline.call(str(session), output_file=str(folder / "l1.zarr"), configure_log=False, steps=steps)
    except CalibrationError as error:
        refused = str(error)
    done = [truth for truth in truths if (folder / "l1.zarr" / f"scan_{truth.scan_number:06d}").is_dir()]
    if not done:
        return Effect(refused=refused)
    return _compare(zarr.open_group(folder / "l1.zarr", mode="r"), done, refused)


def _compare(product: zarr.Group, truths: list[Truth], refused: str) -> Effect:
    errors, baselines, water, severities, checks = [], [], [], [], set()
    for truth in truths:
        scan = product[f"scan_{truth.scan_number:06d}"]
        attributes: dict[str, Any] = dict(scan.attrs)
        error, baseline = line_error(scan["spectra"][...], truth, scan["mjd"][...])
        errors.append(error.ravel())
        baselines.append(baseline.ravel())
        water.append(np.ravel(scan["pwv"][...]) / truth.pwv_mm - 1.0)
        severities.append(SEVERITIES.index(attributes["qa"]["verdict"]))
        checks |= {verdict["name"] for verdict in attributes["qa"]["verdicts"]}
    line, baseline = (np.concatenate(values) for values in (errors, baselines))
    line = line[np.isfinite(line)]
    return Effect(
        line=float(np.median(line)),
        line_worst=float(line[np.argmax(np.abs(line))]),
        baseline=float(np.nanmax(baseline)),
        pwv=float(np.nanmedian(np.concatenate(water))),
        verdict=SEVERITIES[max(severities)],
        checks=tuple(sorted(checks)),
        refused=refused,
    )


def line_error(spectra: NDArray[Any], truth: Truth, mjd: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Compare the line of a scan with its truth.

    Parameters
    ----------
    spectra : ndarray, shape (C, D, R, A, S_on)
        T_A*, NaN where there are no data [K].
    truth : Truth
        Of the scan.
    mjd : ndarray, shape (S_on,)
        Times of the spectra.

    Returns
    -------
    error : ndarray, shape (R, A, S_on)
        Relative error of its strength: median over its channels, above the median outside it.
    baseline : ndarray, shape (R, A, S_on)
        Largest deviation of the mean of 16 channels from the scaled line [K].
    """
    position = np.abs(truth.mjd[truth.on][:, np.newaxis] - mjd).argmin(axis=0)
    line = truth.t_a_star(image=False)[..., position].mean(axis=1)
    mean = _mean(np.asarray(spectra, np.float64), axis=1)
    warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
    # Medians, so that a spur in the line does not pass for an error of the scale.
    peak = line.max(axis=0)
    level = np.nanmedian(np.where(line < 0.01 * peak, mean, np.nan), axis=0)
    ratio = np.divide(mean - level, line, out=np.full(mean.shape, np.nan), where=line > 0.5 * peak)
    left = mean - np.nanmedian(ratio, axis=0) * line
    baseline = np.abs(_mean(left.reshape(-1, NEIGHBOURS, *left.shape[1:]), axis=1))
    return np.nanmedian(ratio, axis=0) - 1.0, np.nanmax(baseline, axis=0)


def _mean(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Mean of the finite values; NaN without any."""
    valid = np.isfinite(values)
    number = valid.sum(axis=axis)
    total = np.where(valid, values, 0.0).sum(axis=axis)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def row(fault: Fault, effect: Effect) -> list[str]:
    """Describe an effect in the cells of the table."""
    if effect.verdict == "refused":
        return [fault.name, "", "", "", "", "refused"]
    checks = ", ".join(f"``{name}``" for name in effect.checks) or "none"
    return [
        fault.name,
        f"{100 * effect.line:+.1f}",
        f"{100 * effect.line_worst:+.1f}",
        f"{effect.baseline:.2f}",
        f"{100 * effect.pwv:+.1f}",
        f"{effect.verdict}: {checks}" + ("; some scans refused" if effect.refused else ""),
    ]


HEAD = ["fault", "line [%]", "worst [%]", "baseline [K]", "PWV [%]", "verdict and checks"]
UNNOTICED = """
What nothing notices
--------------------

No check tells these nights from the one without a fault. A source in all OFFs looks like a fainter
one in the ONs; only an OFF elsewhere tells. The others change the line by less than
``scale_error``, 2.3 % here. With the error of the line, median and worst:

"""


def as_rst(rows: list[list[str]]) -> str:
    """Write rows as a list-table, and those that no check tells from the first as a list below it."""
    lines = [MARK + "   :header-rows: 1", "   :widths: 34 8 8 9 8 33", ""]
    for cells in [HEAD, *rows]:
        for position, cell in enumerate(cells):
            lines += _wrap(cell, f"   {'*' if position == 0 else ' '} -")
    lines.append(UNNOTICED.rstrip("\n") + "\n")
    for name, line, worst, *_, checks in rows[1:]:
        if checks == rows[0][-1]:
            lines += _wrap(f"{name}: {line} %, {worst} %", "*")
    return "\n".join(lines) + "\n"


def _wrap(text: str, bullet: str) -> list[str]:
    """Wrap an item of a list at 100 columns; no break in a word."""
    below = " " * (len(bullet) + 1)
    wrapped = textwrap.wrap(
        text, 100, initial_indent=f"{bullet} ", subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )
    return wrapped or [bullet]


def read_table() -> dict[str, tuple[str, set[str]]]:
    """Read the verdict and the checks of each fault from the page."""
    cells: list[str] = []
    for line in PAGE.read_text().partition(MARK)[2].partition(UNNOTICED)[0].splitlines():
        if line[5:6] == "-":
            cells.append(line[7:])
        elif cells and line:
            cells[-1] += " " + line.strip()
    rows = [cells[first : first + len(HEAD)] for first in range(len(HEAD), len(cells), len(HEAD))]
    return {row[0]: (re.split("[:;]", row[-1])[0], set(re.findall("``(.*?)``", row[-1]))) for row in rows}


def main() -> None:
    """Write the table."""
    rows = []
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            effect = measure(fault, Path(folder))
        rows.append(row(fault, effect))
        print(" | ".join(rows[-1]), effect.refused, flush=True)
    PAGE.write_text(PAGE.read_text().partition(MARK)[0] + as_rst(rows))


if __name__ == "__main__":
    main()
