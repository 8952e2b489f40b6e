"""L1 content of a calibrated scan apart from its spectra: pointing, quality figures and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.json_values import json_ready
from cal_pipeline.core.quality import Figures, quality, read_limits
from cal_pipeline.core.run.threads import in_threads
from cal_pipeline.heterodyne.modes import mode_named
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, sum_of_valid
from cal_pipeline.heterodyne.physics.loads import gain_of_loads
from cal_pipeline.heterodyne.physics.opacity import airmass
from cal_pipeline.heterodyne.physics.quality import channel_stride, gain_change, noise_ratio, ripple
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import SCAN_ATTRIBUTES
from cal_pipeline.heterodyne.stages import PairingStage

L1Arrays = dict[str, NDArray[Any] | Callable[[], NDArray[Any]]]
"""Arrays by their L1 names, of a type that is yet to become that of L1, or functions that make them."""


@dataclass
class Tally:
    """Statistics of a band, collected while its samples are streamed.

    Parameters
    ----------
    n_samples : int
        Number of samples of a pixel.
    flagged : dict
        Number of samples of each pixel, (R, A), with each flag by its name; ``""`` for any.
    probe : ndarray of float32, shape (C, R, A, S_out), or None
        T_A* of the middle dump of each ON [K].
    """

    n_samples: int = 0
    flagged: dict[str, Any] = field(default_factory=dict)
    probe: NDArray[np.float32] | None = None


def pointing_arrays(band: Band, pairing: PairingStage) -> L1Arrays:
    """Collect times, directions and recorded positions of the spectra; per dump in OTF scans."""
    at, on, mode = band.coordinates, pairing.on[band.outputs[0]], mode_named(pairing.mode)
    arrays: L1Arrays = {"mjd": at.mjd[on], "elevation": at.elevation[on]}
    shape = (at.shape[1], on.size)
    for name in ("otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat"):
        recorded = getattr(at, name)
        if recorded is not None:
            arrays[name] = recorded[..., on]
        elif mode.has_dump_positions and name in ("otf_lon", "otf_lat"):
            arrays[name] = np.full(shape, np.nan)
    if mode.has_dump_positions:
        arrays["otf_airmass"] = np.broadcast_to(airmass(at.elevation[on]), shape)
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
        "ref_strategy": mode_named(band.pairing.mode).reference_strategy if band.pairing else None,
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


def scan_quality(band: Band, tally: Tally) -> dict[str, Any]:
    """Compute the quality figures and verdicts of a band."""
    at = band.coordinates
    limits = read_limits().for_data(
        band.attributes.get("telescope"), band.attributes.get("frontend"), band.signal_frequency
    )
    return quality(_figures(band, tally), at.pixel, limits)


def _figures(band: Band, tally: Tally) -> Figures:
    """Compute the quality figures of each pixel of a band, shape (R, A)."""
    kinds = (_receiver, _sky, _spectra, _baseline)
    found = in_threads(lambda kind: kind(band, tally), kinds, math.prod(band.coordinates.shape))
    return Figures(**{name: values for figures in found for name, values in figures.items()})


def _receiver(band: Band, tally: Tally) -> dict[str, Any]:
    """Compute the figures that follow from the loads."""
    if band.loads is None:
        return {}
    solution, sidebands, after, bad = band.loads.solution, band.loads.sidebands, band.loads.following, band.bad_channel
    t_rec_ssb = _pixel_median(solution.t_rec_ssb, ~bad)
    figures = {
        "t_rec_ssb_K": t_rec_ssb,
        "t_rec_dsb_K": t_rec_ssb * sidebands.weight_signal,
        "bad_channel_fraction": bad.mean(axis=0),
        "load_instability": band.loads.instability,
    }
    if after is not None:
        gamma = gain_of_loads(after, sidebands.input_difference(after.t_hot, after.t_cold))
        figures["gain_drift"] = gain_change(solution.gamma, gamma, bad)
    return figures


def _sky(band: Band, tally: Tally) -> dict[str, Any]:
    """Compute the figures that follow from the OFFs."""
    if band.atmosphere is None or band.loads is None:
        return {}
    pixels, fit = band.coordinates.pixel.shape, band.atmosphere.fit
    unconstrained = ~np.isfinite(fit.error) & (band.atmosphere.strategy != "fixed")
    below = band.atmosphere.t_sky < band.loads.solution.t_cold_input[:, None, None]
    return {
        "pwv_mm": _of_pixels(fit.pwv, pixels),
        "pwv_err_mm": _of_pixels(fit.error, pixels),
        "pwv_chi2": _of_pixels(fit.chi2, pixels),
        "pwv_at_bound": _of_pixels(fit.at_bound, pixels, np.any),
        "pwv_unconstrained": _of_pixels(unconstrained, pixels, np.any),
        "pwv_converged": _of_pixels(fit.converged, pixels, np.all),
        "sky_below_cold_load_fraction": below.mean(axis=0),
    }


def _spectra(band: Band, tally: Tally) -> dict[str, Any]:
    """Compute the figures that follow from the spectra."""
    if band.calibration is None or tally.probe is None or band.loads is None:
        return {}
    good = ~band.bad_channel
    last = band.coupling or band.calibration
    some = slice(None, None, channel_stride(len(good)))
    return {
        "t_sys_K": _pixel_median(np.moveaxis(last.t_sys[some], -1, 0), good[some], axis=(0, 1)),
        "noise_ratio": noise_ratio(tally.probe, last.sigma),
        "flagged_fraction": {name: count / tally.n_samples for name, count in tally.flagged.items()},
    }


def _baseline(band: Band, tally: Tally) -> dict[str, Any]:
    """Compute the figures that follow from the baselines of the spectra."""
    if tally.probe is None or band.loads is None:
        return {}
    return {"ripple_K": ripple(_mean_of_ons(tally.probe), band.channel_width)[0]}


def _mean_of_ons(probe: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average one dump of each ON over the ONs, ignoring NaN; shape (C, R, A)."""
    return mean_from_sum(*sum_of_valid(probe, axis=-1))


def _pixel_median(values: NDArray[Any], good: NDArray[np.bool_], axis: int | tuple[int, ...] = 0) -> NDArray[Any]:
    """Compute the median of the good and finite values of each pixel; NaN without any."""
    return median_of_finite(np.where(good, values, np.nan), axis)


def _of_pixels(values: Any, pixels: tuple[int, ...], reduce: Callable[..., Any] | None = None) -> NDArray[Any]:
    """Expand a fit result to one value per pixel.

    A single value is broadcast; values of ON-OFF pairs are reduced by `reduce`, the median by
    default.
    """
    array = np.asarray(values)
    if array.ndim < 3:
        return np.broadcast_to(array, pixels)
    return np.asarray(median_of_finite(array, -1) if reduce is None else reduce(array, axis=-1))


def _median(values: Any, where: NDArray[np.bool_] | None = None) -> float | None:
    """Compute the median of the finite values; None without any."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array) if where is None else np.isfinite(array) & where]
    return float(np.median(finite)) if finite.size else None
