"""Work of a worker: one scan from L0 to an unpublished, complete L1 group."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError, InternalError
from cal_pipeline.core.quality import SEVERITIES
from cal_pipeline.core.run.stream import WrittenBand, write_scan
from cal_pipeline.core.store.output import finish
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import printable, with_error
from cal_pipeline.heterodyne.history import SkyEntries, sky_entries
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.session import Session

Stages = Mapping[str, Callable[[Scan], Scan]]
"""Functions applied to a scan, by step name, in processing order."""


@dataclass(frozen=True)
class Prepared:
    """Steps for an observation.

    Parameters
    ----------
    provenance : dict
        Provenance of their parameters, ready for JSON.
    stages : mapping
        Functions to apply to the observation, by step name, in processing order.
    """

    provenance: dict[str, Any]
    stages: Stages


class Recipe(Protocol):
    """Steps and parameters of a calibration."""

    def prepare_for(self, observation: Any) -> Prepared:
        """Resolve the parameters for an observation, and make steps with them."""


@dataclass
class JobResult:
    """JobResult of the calibration of a scan.

    Parameters
    ----------
    number : int
        Scan number.
    failed_in : str
        The step that failed; empty after success.
    error_class, message, traceback : str
        Class, message and traceback of the error.
    summary : str
        Log line of the scan.
    verdict : str
        Quality verdict.
    timing : str
        Log line with the time spent in each stage.
    skies : list of SkyEntries
        Blank-sky spectra for the comparison with other scans; empty without the step ``skydiff``.
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
class ProcessedScan:
    """A scan after all steps, or the outcome of the step that failed.

    Parameters
    ----------
    number : int
        Scan number.
    scan : Scan or None
        The scan.
    provenance : dict
        Provenance for the L1 attributes.
    failure : JobResult or None
        JobResult of a failed step; then there is no scan.
    store : str
        The L0 session.
    """

    number: int
    scan: Scan | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    failure: JobResult | None = None
    store: str = ""

    @property
    def n_samples(self) -> int:
        """Number of count samples in the scan; 0 after a failure."""
        return sum(math.prod(band.coordinates.shape) for band in self.scan.bands) if self.scan else 0


def pass_steps(session: Session, number: int, recipe: Recipe) -> ProcessedScan:
    """Open a scan and apply the steps to it, without computing its spectra.

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
        prepared = recipe.prepare_for(scan)
        for step, stage in prepared.stages.items():
            with scan.clock(step):
                scan = stage(scan)
    except Exception as error:
        return ProcessedScan(number, failure=_failure(number, step, error, session.path))
    made = {"engine_version": __version__, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    return ProcessedScan(number, scan, made | prepared.provenance, store=session.path)


def write(calibrated: ProcessedScan, root: StorePath) -> JobResult:
    """Compute the spectra of a scan and write them, unpublished; remove everything on failure.

    Parameters
    ----------
    calibrated : ProcessedScan
        A scan after all steps.
    root : StorePath
        Destination of the scan.
    """
    if calibrated.scan is None:
        assert calibrated.failure is not None
        return calibrated.failure
    scan = calibrated.scan
    try:
        root.remove()
        written = write_scan(scan, root, calibrated.provenance)
        with scan.clock("write"):
            finish(root)
        return JobResult(
            scan.number,
            summary=_summarize(scan, written),
            verdict=_verdict_of(written),
            timing=_format_timing(scan),
            skies=sky_entries(scan),
        )
    except Exception as error:
        root.remove()
        return _failure(scan.number, "write", error, calibrated.store)
    except BaseException:
        root.remove()
        raise


def _failure(number: int, step: str, error: Exception, store: str) -> JobResult:
    """Describe a failure to the user.

    An exception outside of the expected classes is reported as a fault of this package.
    """
    text = "".join(traceback.format_exception(error))
    if isinstance(error, (CalibrationError, OSError, MemoryError)):
        return JobResult(number, step, type(error).__name__, str(error) or repr(error), text)
    message = (
        f"scan {number} in {store}: step {step} ended in {type(error).__name__}: {str(error) or 'no message'}. "
        f"This is a fault of cal_pipeline {__version__}: please report it with this message, the traceback (in the log "
        "at level DEBUG) and, if you can, the L0 scan"
    )
    return JobResult(number, step, InternalError.__name__, message, text)


def _verdict_of(written: list[WrittenBand]) -> str:
    """Return the worst verdict of the bands of a scan."""
    return max((str(band.attributes["qa"]["verdict"]) for band in written), key=SEVERITIES.index)


def _summarize(scan: Scan, written: list[WrittenBand]) -> str:
    """Format the log line of a scan; its medians are those of ``qa`` in L1.

    Receiver and system temperature are both given for a double-sideband receiver.
    """
    parts = [f"scan {scan.number} {printable(scan.attributes.get('source') or '')}".strip()]
    bands = [_summarize_band(band, in_product) for band, in_product in zip(scan.bands, written, strict=True)]
    return ", ".join([*parts, "; ".join(bands)]) if len(bands) == 1 else "; ".join([*parts, *bands])


def _summarize_band(band: Band, written: WrittenBand) -> str:
    qa = written.attributes["qa"]
    parts = [band.name] if band.name else []
    if band.pairing is not None:
        parts.append(band.pairing.mode)
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
    """Format a verdict with the names of the failed checks."""
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
"""Clock stages that add up to each time of the timing line."""


def _format_timing(scan: Scan) -> str:
    """Format the timing line of a scan like older engines; times of concurrent threads add up."""
    seconds = scan.clock.seconds
    times = {name: sum(seconds.get(stage, 0.0) for stage in stages) for name, stages in _TIMES.items()}
    parts = [f"{name}_ms={1e3 * time:.1f}" for name, time in times.items()]
    return f"scan timing breakdown scan={scan.number} {' '.join(parts)}"


def _typical(values: Any) -> float:
    """Compute the median of the finite values; NaN without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else float("nan")
