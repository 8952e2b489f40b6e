"""L1 content of a calibrated scan apart from its spectra: small arrays and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.figures import scan_quality
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import SCAN_ATTRIBUTES
from cal_pipeline.heterodyne.stages import AtmosphereStage

REFERENCE_STRATEGIES = {
    "total_power": "linear interpolation in MJD between the OFFs before and after",
    "otf": "linear interpolation in MJD between the OFFs before and after",
    "otf_chopped": "same dump of the OFF of the same beam nearest in MJD",
}
"""Construction of the reference of an ON, by observing mode."""


@dataclass
class Tally:
    """Statistics of a band, collected while its samples are streamed.

    Parameters
    ----------
    n_dumps : ndarray of int, shape (S_out,)
        Dumps with any valid sample, of both ONs where two are merged.
    n_samples : int
        Number of samples of a pixel.
    flagged : dict
        Number of samples of each pixel, (R, A), with each flag by its name; ``""`` for any.
    probe : ndarray of float32, shape (C, R, A, S_out), or None
        T_A* of the middle dump of each ON [K].
    """

    n_dumps: NDArray[np.int64]
    n_samples: int = 0
    flagged: dict[str, Any] = field(default_factory=dict)
    probe: NDArray[np.float32] | None = None


def small_arrays(band: Band) -> dict[str, NDArray[Any] | Callable[[], NDArray[Any]]]:
    """Make every L1 array of a band except those with samples of the ONs.

    Parameters
    ----------
    band : Band
        The band; arrays of a skipped step are absent.

    Returns
    -------
    dict
        Arrays by their L1 names, of a type that is yet to become that of L1, or what makes them
        when it is called.
    """
    arrays: dict[str, Any] = {"pixel": band.coordinates.pixel}
    if band.loads is not None:
        solution, sidebands = band.loads.solution, band.loads.sidebands
        arrays |= {"signal_freqs": sidebands.signal, "image_freqs": sidebands.image}
        arrays |= {name: getattr(solution, name) for name in ("t_rec_ssb", "gamma", "t_cal")}
    if band.pairing is not None:
        arrays |= _pointing(band, band.pairing.on[band.outputs[0]], band.pairing.mode)
    if band.atmosphere is not None:
        arrays |= _atmosphere(band, band.atmosphere)
    if band.calibration is not None:
        last = band.coupling or band.calibration
        arrays |= {"t_sys": last.t_sys, "sigma": last.sigma}
    return {name: array if callable(array) else np.asarray(array) for name, array in arrays.items()}


def _atmosphere(band: Band, sky: AtmosphereStage) -> dict[str, Any]:
    """Collect PWV and opacity; values per pair are taken at the ON of a spectrum's position."""
    fit = sky.fit
    arrays: dict[str, Any] = {
        "pwv": fit.pwv,
        "pwv_err": fit.error,
        "pwv_err_model": fit.error_model,
        "pwv_chi2": fit.chi2,
    }
    if fit.pwv.ndim == 3 and band.pairing is not None:
        arrays = {name: values[..., band.outputs[0]] for name, values in arrays.items()}
    pwv = arrays["pwv"]
    arrays |= {"tau_signal": partial(sky.opacity.signal, pwv), "tau_image": partial(sky.opacity.image, pwv)}
    return arrays | {"t_sky": sky.t_sky, "sky_residual": sky.sky_residual}


def _pointing(band: Band, on: NDArray[np.int64], mode: str) -> dict[str, Any]:
    """Collect times, directions and recorded positions of the ONs; per dump in OTF scans."""
    at = band.coordinates
    arrays: dict[str, Any] = {"mjd": at.mjd[on], "elevation": at.elevation[on]}
    shape = (at.shape[1], on.size)
    for name in ("otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat"):
        recorded = getattr(at, name)
        if recorded is not None:
            arrays[name] = recorded[..., on]
        elif mode != "total_power" and name.startswith("otf"):
            arrays[name] = np.full(shape, np.nan)
    if mode != "total_power":
        arrays["otf_airmass"] = np.broadcast_to(1.0 / np.sin(at.elevation[on]), shape)
    return arrays


def band_attributes(band: Band, scan: Scan, tally: Tally, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Make the attributes of an L1 scan (or of one of its bands).

    Parameters
    ----------
    band, scan : Band, Scan
        What was calibrated.
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
    recorded = {name: band.attributes.get(name) for name in SCAN_ATTRIBUTES}
    attributes = {
        **{name: value for name, value in recorded.items() if value is not None},
        "scan_number": scan.number,
        "source": recorded["source"],
        "instmode": recorded["instmode"],
        "rest_freq_hz": recorded["rest_freq_hz"],
        "mode": band.pairing.mode if band.pairing else None,
        "pwv_mm": _median(sky.fit.pwv) if sky else None,
        "pwv_err_mm": _median(sky.fit.error) if sky else None,
        "cal_strategy": sky.strategy if sky else None,
        "ref_strategy": REFERENCE_STRATEGIES[band.pairing.mode] if band.pairing else None,
        "cal_step": dict(vars(scan.meta.cal_step)),
        "qa": scan_quality(band, tally),
        "scan_metadata": {k: v for k, v in band.attributes.items() if k not in SCAN_ATTRIBUTES},
        "provenance": {
            "l0_store": band.store,
            "l0_group": band.group,
            "calibration_scans": list(loads.scan_numbers) if loads else None,
            "calibration_reason": loads.reason if loads else None,
            "telescope_profile": loads.telescope if loads else None,
            "telescope_sha256": loads.telescope_sha256 if loads else None,
            "forward_efficiency": loads.forward_efficiency if loads else None,
            "gain_level": band.gain.level if band.gain else 0,
            "gain_reason": band.gain.reason if band.gain else None,
            "atm_file": sky.table if sky else None,
            "atm_sha256": sky.table_sha256 if sky else None,
        },
    }
    if band.coupling is not None:
        attributes["dbs"] = _coupled(band)
    ready: dict[str, Any] = json_ready(attributes)
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


def _median(values: Any, where: NDArray[np.bool_] | None = None) -> float | None:
    """Compute the median of the finite values; None without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array) if where is None else np.isfinite(array) & where]
    return float(np.median(finite)) if finite.size else None


def json_ready(value: Any) -> Any:
    """Convert a value to plain JSON types; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [json_ready(item) for item in value]
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, np.generic):
        return json_ready(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
