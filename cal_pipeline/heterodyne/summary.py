"""Log lines of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cal_pipeline.core.quality import SEVERITIES, name_verdict
from cal_pipeline.core.text import format_with_error, make_printable
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.stages import AtmosphereStage


def worst_verdict(written: Sequence[Mapping[str, Any]]) -> str:
    """Return the worst verdict of the bands of a scan, from their attributes in L1."""
    return max((str(attributes["qa"]["verdict"]) for attributes in written), key=SEVERITIES.index)


def summarize_scan(scan: Scan, written: Sequence[Mapping[str, Any]]) -> str:
    """Format the log line of a scan; its medians are those of ``qa`` in L1.

    Receiver and system temperature are both given for a double-sideband receiver.

    Parameters
    ----------
    scan : Scan
        The scan, after all steps.
    written : sequence of mapping
        Attributes of its bands in L1.
    """
    parts = [f"scan {scan.number} {make_printable(scan.attributes.get('source') or '')}".strip()]
    bands = [_summarize_band(band, in_product) for band, in_product in zip(scan.bands, written, strict=True)]
    return ", ".join([*parts, "; ".join(bands)]) if len(bands) == 1 else "; ".join([*parts, *bands])


def _summarize_band(band: Band, attributes: Mapping[str, Any]) -> str:
    qa = attributes["qa"]
    parts = [band.name] if band.name else []
    if band.pairing is not None:
        parts.append(band.pairing.mode)
    if band.atmosphere is not None:
        parts.append(_describe_opacity(band.atmosphere))
    # Without an image sideband both conventions are one.
    convention = "DSB" if band.loads is not None and band.loads.sidebands.has_image else "SSB"
    for name, key in (("T_rec", "t_rec_dsb_median_K"), ("T_sys", "t_sys_median_K")):
        if qa.get(key) is not None:
            parts.append(f"{name} {qa[key]:.0f} K {convention}")
    if qa.get("scale_error_median") is not None:
        parts.append(f"scale ± {100 * qa['scale_error_median']:.1f} %")
    if qa.get("flagged_fraction") is not None:
        parts.append(f"flagged {100 * qa['flagged_fraction']:.2f} %")
    parts.append(_format_verdict(qa))
    if band.loads is not None and band.loads.reason != "own":
        parts.append(f"loads of scan {band.loads.scan_numbers[0]} ({band.loads.reason})")
    return ", ".join(parts)


def _describe_opacity(sky: AtmosphereStage) -> str:
    """Describe the water vapour with its error, or the given opacity."""
    if not sky.knows_pwv:
        return f"opacity {_typical(sky.tau_signal):.4g} Np (given)"
    error = _typical(np.hypot(sky.fit.error, sky.fit.error_model))
    given = " (given)" if sky.strategy == "fixed" else ""
    return f"PWV {format_with_error(_typical(sky.fit.pwv), error)} mm{given}"


def _format_verdict(qa: dict[str, Any]) -> str:
    """Format a verdict with the names of the failed checks."""
    if not qa["checks"]:
        return "not judged"
    names = " ".join(map(name_verdict, qa["verdicts"]))
    return f"{qa['verdict']}: {names}" if names else str(qa["verdict"])


def name_values(scan: Scan, written: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Format PWV and system temperature of a scan for the live view of a run, by name; of bands with a slash.

    Parameters
    ----------
    scan : Scan
        The scan, after all steps.
    written : sequence of mapping
        Attributes of its bands in L1.

    Returns
    -------
    dict of str
        ``PWV`` and ``T_sys``, as far as they are known.
    """
    skies = [band.atmosphere for band in scan.bands if band.atmosphere is not None]
    fits = [sky.fit for sky in skies if sky.knows_pwv]
    pwv = dict.fromkeys(
        format_with_error(_typical(fit.pwv), _typical(np.hypot(fit.error, fit.error_model))) for fit in fits
    )
    t_sys = [attributes["qa"].get("t_sys_median_K") for attributes in written]
    values = {"PWV": f"{' / '.join(pwv)} mm"} if pwv else {}
    if any(value is not None for value in t_sys):
        values["T_sys"] = f"{' / '.join('not known' if value is None else f'{value:.0f}' for value in t_sys)} K"
    return values


_TIMES = ("load", "resolve", "atm", "prepare", "calibrate", "write")
"""Times of the timing line."""

_TIME_OF_STAGE = {"loads": "resolve", "gain": "resolve", "atmosphere": "atm"}
"""Time that a clock stage of another name belongs to; ``calibrate`` where none is given."""


def format_timing(scan: Scan) -> str:
    """Format the timing line of a scan like older engines; times of concurrent threads add up."""
    times = dict.fromkeys(_TIMES, 0.0)
    for stage, seconds in scan.clock.seconds.items():
        times[stage if stage in times else _TIME_OF_STAGE.get(stage, "calibrate")] += seconds
    parts = [f"{name}_ms={1e3 * time:.1f}" for name, time in times.items()]
    return f"scan timing breakdown scan={scan.number} {' '.join(parts)}"


def _typical(values: Any) -> float:
    """Compute the median of the finite values; NaN without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else float("nan")
