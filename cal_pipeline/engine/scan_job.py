"""One scan from L0 to where it can be published: what a worker does."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from cal_pipeline._version import __version__
from cal_pipeline.engine.history import SkyEntries, sky_entries
from cal_pipeline.engine.store import finish
from cal_pipeline.engine.stream import WrittenBand, write_scan
from cal_pipeline.errors import CalibrationError, InternalError
from cal_pipeline.models.quality import SEVERITIES
from cal_pipeline.models.scan import Band, Scan
from cal_pipeline.models.session import Session
from cal_pipeline.models.storage import Place
from cal_pipeline.report.text import printable, with_error

Stages = Mapping[str, Callable[[Scan], Scan]]
"""What is done to a scan, by the name of the step, in order."""


class Recipe(Protocol):
    """What is done to scans, and with which parameters."""

    def prepare_for(self, scan: Scan) -> dict[str, Any]:
        """Get ready for a scan; what the provenance says of its parameters, ready for JSON."""

    def stages(self) -> Stages:
        """What is done to it, by the name of the step, in order."""


@dataclass
class Outcome:
    """What became of a scan.

    Parameters
    ----------
    number : int
        Scan number.
    failed_in : str
        The step that failed; empty where all went well.
    error_class, message, traceback : str
        What went wrong.
    summary : str
        The line that is logged of it.
    verdict : str
        Verdict on its quality.
    timing : str
        The line on where its time went.
    skies : list of SkyEntries
        Its empty skies, where they are compared with those of other scans.
    """

    number: int
    failed_in: str = ""
    error_class: str = ""
    message: str = ""
    traceback: str = ""
    summary: str = ""
    verdict: str = ""
    timing: str = ""
    skies: list[SkyEntries] = field(default_factory=list)


@dataclass
class CalibratedScan:
    """A scan that has passed the steps, or the reason why not.

    Parameters
    ----------
    number : int
        Scan number.
    scan : Scan or None
        The scan.
    provenance : dict
        What L1 says of how it was made.
    failure : Outcome or None
        Why there is none.
    store : str
        The L0 session.
    """

    number: int
    scan: Scan | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    failure: Outcome | None = None
    store: str = ""

    @property
    def n_samples(self) -> int:
        """Number of its counts."""
        return sum(math.prod(band.coordinates.shape) for band in self.scan.bands) if self.scan else 0


def pass_steps(session: Session, number: int, recipe: Recipe) -> CalibratedScan:
    """Open a scan and let it pass the steps; its spectra are not made yet.

    Parameters
    ----------
    session : Session
        L0.
    number : int
        Scan number.
    recipe : Recipe
        The steps.
    """
    step = "load"
    try:
        scan = session.open_scan(number)
        used = recipe.prepare_for(scan)
        stages = recipe.stages()
        for step, stage in stages.items():
            with scan.clock(step):
                scan = stage(scan)
    except Exception as error:
        return CalibratedScan(number, failure=_failure(number, step, error, session.path))
    made = {"engine_version": __version__, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    return CalibratedScan(number, scan, made | used, store=session.path)


def write(calibrated: CalibratedScan, place: Place) -> Outcome:
    """Make the spectra of a scan and write it, ready to be published; nothing is left of one that fails.

    Parameters
    ----------
    calibrated : CalibratedScan
        A scan that has passed the steps.
    place : Place
        Where to write it.
    """
    if calibrated.scan is None:
        assert calibrated.failure is not None
        return calibrated.failure
    scan = calibrated.scan
    try:
        place.remove()
        written = write_scan(scan, place, calibrated.provenance)
        with scan.clock("write"):
            finish(place)
        return Outcome(
            scan.number,
            summary=_summarize(scan, written),
            verdict=_verdict_of(written),
            timing=_format_timing(scan),
            skies=sky_entries(scan),
        )
    except Exception as error:
        place.remove()
        return _failure(scan.number, "write", error, calibrated.store)
    except BaseException:
        place.remove()
        raise


def _failure(number: int, step: str, error: Exception, store: str) -> Outcome:
    """What failed, in words for the user; an error that nobody raised on purpose is a fault of this package."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, (CalibrationError, OSError, MemoryError)):
        return Outcome(number, step, type(error).__name__, str(error) or repr(error), text)
    message = (
        f"scan {number} in {store}: step {step} ended in {type(error).__name__}: {str(error) or 'no message'}. "
        f"This is a fault of cal_pipeline {__version__}: please report it with this message, the traceback (in the log "
        "at level DEBUG) and, if you can, the L0 scan"
    )
    return Outcome(number, step, InternalError.__name__, message, text)


def _verdict_of(written: list[WrittenBand]) -> str:
    """Return the worst verdict of the bands of a scan."""
    return max((str(band.attributes["qa"]["verdict"]) for band in written), key=SEVERITIES.index)


def _summarize(scan: Scan, written: list[WrittenBand]) -> str:
    """Make the one line that is logged of a scan; its medians are those of ``qa`` in L1.

    Receiver and system temperature are both those of a double-sideband receiver.
    """
    parts = [f"scan {scan.number} {printable(scan.attributes.get('source') or '')}".strip()]
    bands = [_summarize_band(band, in_product) for band, in_product in zip(scan.bands, written, strict=True)]
    return ", ".join([*parts, "; ".join(bands)]) if len(bands) == 1 else "; ".join([*parts, *bands])


def _summarize_band(band: Band, written: WrittenBand) -> str:
    qa = written.attributes["qa"]
    parts = [band.name] if band.name else []
    if band.reference is not None:
        parts.append(band.reference.mode)
    if band.atmosphere is not None:
        fit = band.atmosphere.fit
        error = _typical(np.hypot(fit.error, fit.error_model))
        given = " (given)" if band.atmosphere.strategy == "fixed" else ""
        parts.append(f"PWV {with_error(_typical(fit.pwv), error)} mm{given}")
    # Without an image sideband both conventions are one.
    convention = "DSB" if band.loads is not None and band.loads.sidebands.has_image else "SSB"
    for name, key in (("T_rec", "t_rec_dsb_median_K"), ("T_sys", "t_sys_median_K")):
        if qa.get(key) is not None:
            parts.append(f"{name} {qa[key]:.0f} K {convention}")
    if qa.get("flagged_fraction") is not None:
        parts.append(f"flagged {100 * qa['flagged_fraction']:.2f} %")
    parts.append(_format_verdict(qa))
    if band.loads is not None and band.loads.reason != "own":
        parts.append(f"loads of scan {band.loads.scan_numbers[0]} ({band.loads.reason})")
    return ", ".join(parts)


def _format_verdict(qa: dict[str, Any]) -> str:
    """Write a verdict with the checks that are not passed."""
    if not qa["checks"]:
        return "not judged"
    names = " ".join(verdict["name"] for verdict in qa["verdicts"])
    return f"{qa['verdict']}: {names}" if names else str(qa["verdict"])


_TIMES = {
    "load": ("load",),
    "resolve": ("loads", "gain"),
    "atm": ("atmosphere",),
    "prepare": ("prepare",),
    "calibrate": ("calibrate", "dbs", "skychopdiff", "skydiff"),
    "write": ("write",),
}
"""Stages of our clock in each time of the timing line of older engines."""


def _format_timing(scan: Scan) -> str:
    """Make the timing line of a scan in the form of older engines; times of threads add up."""
    seconds = scan.clock.seconds
    times = {name: sum(seconds.get(stage, 0.0) for stage in stages) for name, stages in _TIMES.items()}
    parts = [f"{name}_ms={1e3 * time:.1f}" for name, time in times.items()]
    return f"scan timing breakdown scan={scan.number} {' '.join(parts)}"


def _typical(values: Any) -> float:
    """Median of the finite values; NaN without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else float("nan")
