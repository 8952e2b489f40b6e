"""Attributes of an L1 scan: what was recorded, results, quality figures and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.heterodyne.figures import scan_quality
from cal_pipeline.heterodyne.modes import mode_named
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import SCAN_ATTRIBUTES
from cal_pipeline.heterodyne.tally import Tally


def band_attributes(band: Band, scan: Scan, tally: Tally, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Make the attributes of an L1 scan (or of one of its bands).

    Parameters
    ----------
    band, scan : Band, Scan
        The band, calibrated.
    tally : Tally
        Statistics of its samples.
    provenance : mapping
        Engine, parameters and time of the run, ready for JSON.

    Returns
    -------
    dict
        Ready for JSON; what is not finite is None.
    """
    loads, sky = band.loads, band.atmosphere
    site = loads.site if loads else None
    recorded = {name: band.attributes.get(name) for name in SCAN_ATTRIBUTES}
    attributes = {
        **{name: value for name, value in recorded.items() if value is not None},
        "scan_number": scan.number,
        "source": recorded["source"],
        "instmode": recorded["instmode"],
        "rest_freq_hz": recorded["rest_freq_hz"],
        "mode": band.pairing.mode if band.pairing else None,
        "site_lon_deg": site.longitude_deg if site else None,
        "site_lat_deg": site.latitude_deg if site else None,
        "site_alt_m": site.altitude_m if site else None,
        "pwv_mm": _median(sky.fit.pwv) if sky else None,
        "pwv_err_mm": _median(sky.fit.error) if sky else None,
        "scale_error": _median(sky.scale_error.total) if sky else None,
        "cal_strategy": sky.strategy if sky else None,
        "ref_strategy": mode_named(band.pairing.mode).reference_strategy if band.pairing else None,
        "cal_step": dict(vars(scan.meta.cal_step)),
        "qa": scan_quality(band, tally),
        "scan_metadata": {k: v for k, v in band.attributes.items() if k not in SCAN_ATTRIBUTES},
        "provenance": {
            "l0_group": band.group,
            "calibration_scans": list(loads.scan_numbers) if loads else None,
            "calibration_reason": loads.reason if loads else None,
            "calibration_passed_over": list(loads.passed_over) if loads else None,
            "loads_kind": loads.kind if loads else None,
            "calibration_odd_times": loads.odd_times if loads else None,
            "telescope_profile": loads.telescope if loads else None,
            "telescope_sha256": loads.telescope_sha256 if loads else None,
            "forward_efficiency": loads.forward_efficiency if loads else None,
            "assumed": list(loads.assumed) if loads else None,
            "gain_level": band.gain.level if band.gain else 0,
            "gain_reason": band.gain.reason if band.gain else None,
            "atm_file": sky.table if sky and sky.table else None,
            "atm_sha256": sky.table_sha256 if sky and sky.table else None,
            "atm_version": sky.table_version if sky and sky.table else None,
        },
    }
    if band.coupling is not None:
        attributes["dbs"] = _coupled(band)
    ready: dict[str, Any] = make_json_ready(attributes)
    ready["provenance"] = {**provenance, **ready["provenance"]}
    return ready


def _coupled(band: Band) -> dict[str, Any]:
    """List the merged pairs of ONs, and the unmatched ones, by subscan index in the scan."""
    on, (first, second) = band.require_pairing().on, band.outputs
    alone = second < 0
    return {
        "pairs": np.stack([on[first[~alone]], on[second[~alone]]], axis=-1),
        "unmatched": on[first[alone]],
    }


def _median(values: Any) -> float | None:
    """Compute the median of the finite values; None without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else None
