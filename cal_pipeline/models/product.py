"""What of a calibrated scan goes into L1: its small arrays and its attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.models.scan import Band, Scan
from cal_pipeline.models.schema import L1_ARRAYS, SCAN_ATTRIBUTES
from cal_pipeline.physics.flags import Flag

REFERENCE_STRATEGY = "linear interpolation in MJD between the OFFs before and after"


def small_arrays(band: Band) -> dict[str, NDArray[Any]]:
    """Every L1 array of a band but those that hold samples of the ONs.

    Parameters
    ----------
    band : Band
        A band; of a step that was skipped the arrays are absent.

    Returns
    -------
    dict
        Arrays by their L1 names.
    """
    arrays: dict[str, Any] = {"pixel": band.coordinates.pixel}
    if band.loads is not None:
        solution, sidebands = band.loads.solution, band.loads.sidebands
        arrays |= {"signal_freqs": sidebands.signal, "image_freqs": sidebands.image}
        arrays |= {name: getattr(solution, name) for name in ("t_rec_ssb", "gamma", "t_cal")}
    if band.reference is not None:
        arrays |= _pointing(band, band.reference.on, band.reference.mode)
    if band.atmosphere is not None:
        sky, fit = band.atmosphere, band.atmosphere.fit
        arrays |= {
            "pwv": fit.pwv,
            "pwv_err": fit.error,
            "pwv_err_model": fit.error_model,
            "pwv_chi2": fit.chi2,
        }
        arrays |= {name: getattr(sky, name) for name in ("tau_signal", "tau_image", "t_sky", "sky_residual")}
    if band.calibration is not None:
        arrays |= {"t_sys": band.calibration.t_sys, "sigma": band.calibration.sigma}
    with np.errstate(over="ignore"):
        return {name: _as_dtype(array, L1_ARRAYS[name].dtype) for name, array in arrays.items()}


def _as_dtype(array: Any, dtype: str) -> NDArray[Any]:
    values = np.asarray(array)
    return values if dtype == "str" else values.astype(dtype)


def _pointing(band: Band, on: NDArray[np.int64], mode: str) -> dict[str, Any]:
    """Times and directions of the ONs; of every dump in OTF scans."""
    at = band.coordinates
    arrays: dict[str, Any] = {"mjd": at.mjd[on], "elevation": at.elevation[on]}
    if mode == "otf":
        shape = (at.shape[1], on.size)
        unknown = np.full(shape, np.nan)
        arrays["otf_lon"] = unknown if at.otf_lon is None else at.otf_lon[:, on]
        arrays["otf_lat"] = unknown if at.otf_lat is None else at.otf_lat[:, on]
        arrays["otf_airmass"] = np.broadcast_to(1.0 / np.sin(at.elevation[on]), shape)
    return arrays


def band_attributes(
    band: Band, scan: Scan, flag_counts: Mapping[int, int], n_samples: int, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes of an L1 scan (or of one of its bands).

    Parameters
    ----------
    band, scan : Band, Scan
        What was calibrated.
    flag_counts : mapping of int to int
        Number of samples with each flag bit; 0 for any.
    n_samples : int
        Number of samples.
    provenance : mapping
        Engine, parameters and time of the run.

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
        "mode": band.reference.mode if band.reference else None,
        "pwv_mm": _median(sky.fit.pwv) if sky else None,
        "pwv_err_mm": _median(sky.fit.error) if sky else None,
        "cal_strategy": sky.strategy if sky else None,
        "ref_strategy": REFERENCE_STRATEGY if band.reference else None,
        "cal_step": dict(vars(scan.meta.cal_step)),
        "qa": _quality(band, flag_counts, n_samples),
        "scan_metadata": {k: v for k, v in band.attributes.items() if k not in SCAN_ATTRIBUTES},
        "provenance": {
            **provenance,
            "l0_store": band.store,
            "l0_group": band.group,
            "calibration_scans": list(loads.scan_numbers) if loads else None,
            "calibration_reason": loads.reason if loads else None,
            "atm_file": sky.table if sky else None,
            "atm_sha256": sky.table_sha256 if sky else None,
        },
    }
    return {str(key): json_ready(value) for key, value in attributes.items()}


def _quality(band: Band, flag_counts: Mapping[int, int], n_samples: int) -> dict[str, Any]:
    """Figures that tell whether to trust a band."""
    figures: dict[str, Any] = {}
    if band.loads is not None:
        solution = band.loads.solution
        figures["t_rec_ssb_median_K"] = _median(solution.t_rec_ssb, ~solution.bad_channel)
        figures["bad_channel_fraction"] = float(solution.bad_channel.mean())
    if band.atmosphere is not None:
        fit = band.atmosphere.fit
        figures |= {
            "pwv_at_bound": bool(np.any(fit.at_bound)),
            "pwv_unconstrained": bool(np.any(~np.isfinite(fit.error))) and band.atmosphere.strategy != "fixed",
            "pwv_converged": bool(np.all(fit.converged)),
            "pwv_chi2_median": _median(fit.chi2),
            "pwv_samples": int(np.sum(fit.n_samples)),
        }
    if band.loads is not None and band.atmosphere is not None:
        cold = band.loads.solution.t_cold_input
        below = band.atmosphere.t_sky < cold[:, None, None]
        figures["sky_below_cold_load_fraction"] = float(below.mean())
    if band.calibration is not None:
        figures["t_sys_median_K"] = _median(band.calibration.t_sys, ~band.calibration.bad_channel)
        figures["flagged_fraction"] = flag_counts.get(0, 0) / max(n_samples, 1)
        figures["flagged_fraction_by_flag"] = {
            str(flag.name): flag_counts[int(flag)] / max(n_samples, 1) for flag in Flag if flag_counts.get(int(flag))
        }
    return figures


def _median(values: Any, where: NDArray[np.bool_] | None = None) -> float | None:
    """Median of the finite values; None without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array) if where is None else np.isfinite(array) & where]
    return float(np.median(finite)) if finite.size else None


def json_ready(value: Any) -> Any:
    """A value as JSON can hold it: plain types, None for what is not finite."""
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
