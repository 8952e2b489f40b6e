"""Quality figures of a calibrated band, by pixel, and the checks of them.

A figure is a function of the band and of the statistics of its samples, and an entry in
`QUALITY.figures`; its limits are in ``cfg/quality.toml``. It returns one value a pixel, (R, A), or
None if it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.files.selection import cfg_folder
from cal_pipeline.core.limits import Limits, LimitsTable
from cal_pipeline.core.quality import Check, Figure, Parts, QualityScheme
from cal_pipeline.heterodyne.lines import find_lines, read_lines
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, sum_of_valid
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY
from cal_pipeline.heterodyne.physics.mean_spectrum import MeanSpectrum, noise_of_mean, strongest_dip
from cal_pipeline.heterodyne.physics.quality import channel_stride, extrapolated_share, noise_ratio
from cal_pipeline.heterodyne.scan import Band
from cal_pipeline.heterodyne.stages import AtmosphereStage
from cal_pipeline.heterodyne.tally import Tally

Pixels = NDArray[Any]
Compute = Callable[[Band, Tally], Pixels | None]


def scan_quality(band: Band, tally: Tally) -> dict[str, Any]:
    """Compute the quality figures and verdicts of a band.

    Parameters
    ----------
    band : Band
        The band, with the results of the steps so far; figures of others are left out.
    tally : Tally
        Statistics of its samples.

    Returns
    -------
    dict
        Attribute ``qa`` of L1.

    Examples
    --------
    >>> from cal_pipeline.steps import LoadsStep
    >>> band = LoadsStep.call("session.zarr").bands[0]
    >>> quality = scan_quality(band, Tally())
    >>> f"{quality['t_rec_dsb_median_K']:.0f} K", quality["verdict"]  # the noise is not known yet
    ('96 K', 'questionable')
    """
    at = band.coordinates
    if tally.probe is not None and band.calibration is not None:
        tally.mean = mean_of_ons(band, tally.probe)
    measured = QUALITY.measure(band, tally, samples=math.prod(at.shape))
    return QUALITY.judge(measured, at.pixel, read_band_limits(band)) | {"lines_sha256": digest_lines(band)}


def read_band_limits(band: Band) -> Limits:
    """Read the limits for a band from ``cfg/quality.toml``.

    Parameters
    ----------
    band : Band
        The band, of whose telescope, frontend and frequency the limits are.

    Returns
    -------
    Limits

    Examples
    --------
    >>> from cal_pipeline.heterodyne.session import Session
    >>> limits = read_band_limits(Session("session.zarr").open_scan(1).bands[0])
    >>> limits.checks["t_rec_ssb_K"].questionable  # of CHAI at 460 GHz [K]
    400.0
    """
    return LIMITS.read(cfg_folder() / "quality.toml").for_data(band.attributes, band.signal_frequency)


def digest_lines(band: Band) -> str | None:
    """Return the SHA-256 digest of ``cfg/lines.toml``, which ``image_line`` depends on.

    Parameters
    ----------
    band : Band
        The band.

    Returns
    -------
    str or None
        None if no velocity of the source is known: no line is looked for then.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.session import Session
    >>> len(digest_lines(Session("session.zarr").open_scan(1).bands[0]))
    64
    """
    return None if _velocity(band) is None else read_lines().sha256


def _velocity(band: Band) -> float | None:
    """Return the velocity of the source [km/s]; None if it is unknown."""
    velocity = band.attributes.get("velocity_source_kms")
    return float(velocity) if isinstance(velocity, (int, float)) else None


def _t_rec_ssb(band: Band, tally: Tally) -> Pixels | None:
    if band.loads is None:
        return None
    return _pixel_median(band.loads.solution.t_rec_ssb, ~band.bad_channel)


def _t_rec_dsb(band: Band, tally: Tally, t_rec_ssb: Pixels) -> Pixels:
    return t_rec_ssb * band.require_loads().sidebands.weight_signal


def _t_sys(band: Band, tally: Tally) -> Pixels | None:
    if band.calibration is None or tally.probe is None or band.loads is None:
        return None
    good = ~band.bad_channel
    t_sys = (band.coupling or band.calibration).t_sys
    some = slice(None, None, channel_stride(len(good)))
    return _pixel_median(np.moveaxis(t_sys[some], -1, 0), good[some], axis=(0, 1))


def _bad_channels(band: Band, tally: Tally) -> Pixels | None:
    return None if band.loads is None else band.bad_channel.mean(axis=0)


def _load_instability(band: Band, tally: Tally) -> Pixels | None:
    return None if band.loads is None else band.loads.instability


def _load_spikes(band: Band, tally: Tally) -> Pixels | None:
    return None if band.loads is None else band.loads.load_spikes


def _off_spikes(band: Band, tally: Tally) -> Pixels | None:
    return None if band.pairing is None else band.pairing.off_spikes


def _dump_radiometer(band: Band, tally: Tally) -> Pixels | None:
    if band.pairing is None or band.pairing.dump_radiometer is None:
        return None
    return median_of_finite(band.pairing.dump_radiometer, axis=0)


def _gain_drift(band: Band, tally: Tally) -> Pixels | None:
    return None if band.loads is None else band.gain_drift


def _load_age(band: Band, tally: Tally) -> Pixels | None:
    if band.loads is None or band.pairing is None:
        return None
    means, pixels = band.loads.means, band.coordinates.pixel.shape
    measured = 0.5 * (means.hot_mjd + means.cold_mjd)
    return np.full(pixels, SECONDS_A_DAY * np.abs(band.coordinates.mjd[band.pairing.on] - measured).max())


def _gain_unknown(band: Band, tally: Tally, load_age: Pixels) -> Pixels | None:
    if not np.isfinite(load_age).all():
        return None
    return np.asarray((load_age > _OLD_LOADS) & (band.require_loads().following is None))


def _t_rec_jump(band: Band, tally: Tally) -> Pixels | None:
    return None if band.loads is None else band.loads.t_rec_jump


def _find_assumed(name: str) -> Compute:
    """Make the function of a figure that tells whether a quantity of the loads is assumed."""

    def compute(band: Band, tally: Tally) -> Pixels | None:
        return None if band.loads is None else np.full(band.coordinates.pixel.shape, name in band.loads.assumed)

    return compute


def _ref_extrapolated(band: Band, tally: Tally) -> Pixels | None:
    if band.pairing is None or band.pairing.per_dump:
        return None
    valid = band.pairing.off_dumps.max(axis=0) > 0
    return extrapolated_share(band.coordinates.mjd[band.pairing.on], band.coordinates.mjd[band.pairing.off], valid)


def _compute_from_fit(values: Callable[[AtmosphereStage], Any], reduce: Callable[..., Any] | None = None) -> Compute:
    """Make the function of a figure that follows from the fit of the sky."""

    def compute(band: Band, tally: Tally) -> Pixels | None:
        if band.atmosphere is None or band.loads is None:
            return None
        found = np.asarray(values(band.atmosphere))
        if found.dtype == np.bool_ and not band.atmosphere.knows_pwv:
            return None  # no fit neither ended at a bound nor came to rest
        return _expand_to_pixels(found, band.coordinates.pixel.shape, reduce)

    return compute


def _unconstrained(sky: AtmosphereStage) -> NDArray[np.bool_]:
    return ~np.isfinite(sky.fit.error) & (sky.strategy != "fixed")


def _scale_error(band: Band, tally: Tally) -> Pixels | None:
    if band.atmosphere is None or band.loads is None:
        return None
    return _pixel_median(band.atmosphere.scale_error.total, ~band.bad_channel)


def _sky_outliers(band: Band, tally: Tally) -> Pixels | None:
    if band.atmosphere is None or band.loads is None:
        return None
    if not band.atmosphere.knows_pwv or band.loads.means.sky_load is not None:
        return np.full(band.coordinates.pixel.shape, np.nan)
    good = ~band.bad_channel
    return _divide((band.atmosphere.outlier & good).sum(axis=0).astype(np.float64), good.sum(axis=0))


def _take_monitor(name: str) -> Compute:
    """Make the function of a figure that the step ``atmosphere`` computes."""

    def compute(band: Band, tally: Tally) -> Pixels | None:
        return None if band.atmosphere is None else getattr(band.atmosphere.monitors, name)

    return compute


def _sky_below_cold_load(band: Band, tally: Tally) -> Pixels | None:
    if band.atmosphere is None or band.loads is None:
        return None
    if band.loads.means.sky_load is not None:
        return np.full(band.coordinates.pixel.shape, np.nan)
    below = band.atmosphere.t_sky < band.loads.solution.t_cold_input
    return np.asarray(below.mean(axis=0))


def _dropped_subscans(band: Band, tally: Tally) -> Pixels | None:
    """Count the subscans of scan and loads that take no part, the same for all pixels."""
    if band.pairing is None or band.loads is None:
        return None
    left = band.coordinates.shape[4] - band.pairing.on.size - band.pairing.off.size + band.loads.dropped_subscans
    empty = np.count_nonzero(band.pairing.off_dumps.max(axis=(0, 1, 2)) == 0)
    return np.full(band.coordinates.pixel.shape, left + empty)


def _odd_times(band: Band, tally: Tally) -> Pixels | None:
    """Count what is odd about the times of scan and loads, the same for all pixels."""
    if band.pairing is None or band.loads is None:
        return None
    return np.full(band.coordinates.pixel.shape, band.pairing.odd_times + band.loads.odd_times)


def _loads_passed_over(band: Band, tally: Tally) -> Pixels | None:
    """Count the better candidates for the loads that could not be taken, the same for all pixels."""
    return None if band.loads is None else np.full(band.coordinates.pixel.shape, len(band.loads.passed_over))


def _noise_ratio(band: Band, tally: Tally) -> Pixels | None:
    if band.calibration is None or tally.probe is None:
        return None
    return noise_ratio(tally.probe, (band.coupling or band.calibration).sigma)


def _ripple(band: Band, tally: Tally) -> Pixels | None:
    return None if tally.mean is None else tally.mean.ripple.amplitude


def _ripple_sigma(band: Band, tally: Tally, amplitude: Pixels) -> Pixels | None:
    return None if tally.mean is None else _divide(amplitude, tally.mean.ripple.noise)


def _divide_by_t_sys(band: Band, tally: Tally, amplitude: Pixels, t_sys: Pixels) -> Pixels:
    return _divide(amplitude, t_sys)


def _negative_line(band: Band, tally: Tally) -> Pixels | None:
    return None if tally.mean is None else strongest_dip(tally.mean.spectrum, tally.mean.sigma)


def _image_line(band: Band, tally: Tally) -> Pixels | None:
    velocity = _velocity(band)
    if tally.mean is None or velocity is None:
        return None
    image = find_lines(read_lines().rest_freq_hz, band.require_loads().sidebands.image, velocity)
    has_data = np.isfinite(tally.mean.spectrum).any(axis=0)
    if not image.any() or not band.require_loads().sidebands.has_image:
        return np.where(has_data, 0.0, np.nan)
    return strongest_dip(-tally.mean.spectrum, tally.mean.sigma, image)


def _flagged(band: Band, tally: Tally) -> dict[str, Pixels] | None:
    """Compute the fraction of samples with each flag; the total is that of samples with any."""
    if band.calibration is None or tally.probe is None:
        return None
    return {flag: count / tally.n_samples for flag, count in tally.flagged.items()}


def _implausible(band: Band, tally: Tally) -> Pixels | None:
    return None if tally.n_implausible is None else tally.n_implausible / tally.n_samples


def _repeated(band: Band, tally: Tally) -> Pixels | None:
    return tally.n_repeated


def _dump_jump(band: Band, tally: Tally) -> Pixels | None:
    if tally.dump_jump is None:
        return None
    return np.maximum(tally.dump_jump - (_JUMP_OF_SOURCE if band.moves_in_ons else 0.0), 0.0)


def mean_of_ons(band: Band, probe: NDArray[np.float32]) -> MeanSpectrum:
    """Average one dump of each ON over the ONs, and work out the noise of that mean.

    Parameters
    ----------
    band : Band
        The band, calibrated.
    probe : ndarray of float32, shape (C, R, A, S_out)
        T_A* of one dump of each spectrum, NaN where it is missing [K].

    Returns
    -------
    MeanSpectrum

    Examples
    --------
    >>> from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep
    >>> scan = "session.zarr"
    >>> for step in (LoadsStep, PrepareStep, AtmosphereStep, CalibrateStep):
    ...     scan = step.call(scan)
    >>> band = scan.bands[0]
    >>> noise = mean_of_ons(band, np.zeros_like(band.calibration.sigma)).sigma  # four ONs share OFFs
    >>> f"{np.median(noise / band.calibration.sigma[..., 0]):.2f}"
    '0.53'
    """
    at, pairing = band.coordinates, band.require_pairing()
    shares = np.zeros(pairing.on.size)
    for output in range(probe.shape[3]):
        ons = band.ons_of(output)
        shares[ons] += 1.0 / (len(ons) * probe.shape[3])
    off_dumps = 1 if pairing.per_dump else pairing.off_dumps.max(axis=0)
    with np.errstate(divide="ignore"):
        off_variance = np.broadcast_to(1.0 / (off_dumps * at.exptime[pairing.off]), (*at.pixel.shape, pairing.off.size))
    dumps = band.require_calibration().sigma
    sigma = noise_of_mean(dumps, 1.0 / at.exptime[pairing.on], off_variance, pairing.weights, shares)
    total, number = sum_of_valid(probe, axis=-1)
    lacking = np.sqrt(probe.shape[3] / np.maximum(number, 1))
    return MeanSpectrum(mean_from_sum(total, number), sigma * lacking)


def _divide(values: Pixels, by: Pixels) -> Pixels:
    quotient = np.full(values.shape, np.nan)
    np.divide(values, by, out=quotient, where=by > 0.0)
    return quotient


def _pixel_median(values: NDArray[Any], good: NDArray[np.bool_], axis: int | tuple[int, ...] = 0) -> NDArray[Any]:
    """Compute the median of the good and finite values of each pixel; NaN without any."""
    return median_of_finite(np.where(good, values, np.nan), axis)


def _expand_to_pixels(values: Any, pixels: tuple[int, ...], reduce: Callable[..., Any] | None = None) -> NDArray[Any]:
    """Expand a fit result to one value per pixel.

    A single value is broadcast; values of ON-OFF pairs are reduced by `reduce`, the median by
    default.
    """
    array = np.asarray(values)
    if array.ndim < 3:
        return np.broadcast_to(array, pixels)
    return np.asarray(median_of_finite(array, -1) if reduce is None else reduce(array, axis=-1))


_OLD_LOADS = 300.0
"""Age of the loads above which the gain may have changed since, unless later loads tell [s]."""

_JUMP_OF_SOURCE = 0.35
"""Change of power from one dump to the next that a planet makes in a map with two dumps a beam."""

FLAGS = Parts(
    "flagged_fraction_by_flag",
    {
        "BAD_CHANNEL": "samples in bad channels",
        "FILL_VALUE": "samples that are missing",
        "SKY_OUTLIER": "samples in channels that the fit of the sky passed over",
        "NOISY": "samples in channels with more noise than the radiometer equation says",
    },
)

QUALITY = QualityScheme(
    elements="pixels",
    figures=(
        Figure(
            "t_rec_ssb_K",
            "median receiver temperature, SSB",
            _t_rec_ssb,
            "K",
            reduced="t_rec_ssb_median_K",
            checked=True,
        ),
        Figure(
            "t_rec_dsb_K",
            "median receiver temperature, DSB",
            _t_rec_dsb,
            "K",
            of=("t_rec_ssb_K",),
            reduced="t_rec_dsb_median_K",
            in_table=False,
        ),
        Figure("t_sys_K", "median system temperature, DSB", _t_sys, "K", reduced="t_sys_median_K"),
        Figure("pwv_mm", "water vapour", _compute_from_fit(lambda sky: sky.fit.pwv), "mm"),
        Figure("pwv_err_mm", "its statistical error", _compute_from_fit(lambda sky: sky.fit.error), "mm"),
        Figure("pwv_chi2", "reduced chi-squared of its fit", _compute_from_fit(lambda sky: sky.fit.chi2), checked=True),
        Figure(
            "pwv_at_bound",
            "any fit ended at a bound",
            _compute_from_fit(lambda sky: sky.fit.at_bound, np.any),
            reduce="any",
            checked=True,
            in_table=False,
        ),
        Figure(
            "pwv_unconstrained",
            "any fit was not constrained by the data",
            _compute_from_fit(_unconstrained, np.any),
            reduce="any",
            checked=True,
            in_table=False,
        ),
        Figure(
            "pwv_converged",
            "all fits converged",
            _compute_from_fit(lambda sky: sky.fit.converged, np.all),
            reduce="all",
            in_table=False,
        ),
        Figure("scale_error", "relative error of the scale of T_A*", _scale_error, checked=True, required=True),
        Figure(
            "off_scatter",
            "scatter of the water vapour from OFF to OFF, as opacity",
            _take_monitor("off_scatter"),
            checked=True,
        ),
        Figure(
            "pwv_pixel_spread",
            "difference of the water vapour from that of all pixels, as opacity",
            _take_monitor("pwv_pixel_spread"),
            checked=True,
        ),
        Figure("sky_misfit_sigma", "misfit of the fitted sky, over its noise", _take_monitor("misfit_sigma")),
        Figure(
            "sky_misfit_K",
            "misfit of the sky, root mean square of the means of blocks of channels",
            _take_monitor("misfit_kelvin"),
            "K",
        ),
        Figure(
            "sky_outlier_fraction",
            "good channels without weight in the fit of the sky",
            _sky_outliers,
            reduce="mean",
            checked=True,
        ),
        Figure(
            "off_minus_off",
            "reduced chi-squared of the difference of successive OFFs",
            _take_monitor("off_minus_off"),
            checked=True,
        ),
        Figure("noise_ratio", "measured over expected noise", _noise_ratio, checked=True, required=True),
        Figure("ripple_K", "amplitude of the strongest ripple of the mean spectrum", _ripple, "K"),
        Figure("ripple_sigma", "amplitude of the strongest ripple over that of noise", _ripple_sigma, of=("ripple_K",)),
        Figure(
            "ripple_over_t_sys",
            "amplitude of the strongest ripple over t_sys",
            _divide_by_t_sys,
            of=("ripple_K", "t_sys_K"),
        ),
        Figure("negative_line", "significance of the strongest negative line", _negative_line, checked=True),
        Figure("image_line", "significance of the strongest line of the image sideband", _image_line, checked=True),
        Figure("load_instability", "relative change on a load from dump to dump", _load_instability, checked=True),
        Figure("load_spikes", "samples of the loads left out as spikes", _load_spikes, reduce="mean"),
        Figure("off_spikes", "samples of the OFFs left out as spikes", _off_spikes, reduce="mean"),
        Figure(
            "dump_radiometer",
            "variance of the OFFs from dump to dump over that of the radiometer equation",
            _dump_radiometer,
            checked=True,
        ),
        Figure("gain_drift", "relative change of the gain between the loads before and after", _gain_drift),
        Figure(
            "gain_unknown",
            "no loads after the scan tell whether the gain changed, and those before it are old",
            _gain_unknown,
            reduce="any",
            of=("load_age_s",),
            checked=True,
            in_table=False,
        ),
        Figure("load_age_s", "longest time from the loads to an ON", _load_age, "s", checked=True, required=True),
        Figure(
            "t_rec_jump", "relative change of the receiver temperature since earlier loads", _t_rec_jump, checked=True
        ),
        Figure(
            "assumed_f_eff",
            "the forward efficiency is assumed",
            _find_assumed("forward_efficiency"),
            reduce="any",
            checked=True,
            in_table=False,
        ),
        Figure(
            "assumed_t_cold",
            "the temperature of the cold load is assumed",
            _find_assumed("t_cold"),
            reduce="any",
            checked=True,
            in_table=False,
        ),
        Figure(
            "ref_extrapolated",
            "share of the ONs without an OFF on one side",
            _ref_extrapolated,
            reduce="mean",
            checked=True,
        ),
        Figure("bad_channel_fraction", "channels that the loads cannot calibrate", _bad_channels, reduce="mean"),
        Figure(
            "sky_below_cold_load_fraction",
            "channels in which the sky is colder than the cold load",
            _sky_below_cold_load,
            reduce="mean",
        ),
        Figure(
            "dropped_subscans",
            "subscans that take no part: their phase is not one of the observing mode, or OFFs without a dump",
            _dropped_subscans,
            reduced="dropped_subscans",
            checked=True,
        ),
        Figure(
            "implausible_fraction",
            "samples with more than three times or less than half of the power of the reference",
            _implausible,
            reduce="mean",
            checked=True,
        ),
        Figure(
            "dump_jump",
            "largest change of power from a dump or an ON to those beside it, beyond that of a source in a map",
            _dump_jump,
            checked=True,
        ),
        Figure("repeated_dumps", "dumps with the counts of the dump before", _repeated, reduce="mean", checked=True),
        Figure(
            "odd_times",
            "number of things that are odd about the times of scan and loads",
            _odd_times,
            reduced="odd_times",
            checked=True,
        ),
        Figure(
            "loads_passed_over",
            "number of better candidates for the loads that could not be taken",
            _loads_passed_over,
            reduced="loads_passed_over",
            checked=True,
            in_table=False,
        ),
        Figure("flagged_fraction", "flagged samples", _flagged, reduce="mean", checked=True, parts=FLAGS),
    ),
    derived_checks=(
        Check("sky_misfit", ("sky_misfit_sigma", "sky_misfit_K"), required=True),
        Check("ripple", ("ripple_sigma", "ripple_over_t_sys")),
        Check("gain_drift", ("gain_drift",), np.abs),
        Check("pwv_not_converged", ("pwv_converged",), np.logical_not),
        Check("dead_pixel", ("bad_channel_fraction",), lambda fraction: fraction >= 1.0, excludes=True),
    ),
)
"""Figures of a band, and their checks."""

LIMITS = LimitsTable(QUALITY.checks, ("telescope", "frontend"), "frequency_range_hz", "Hz", QUALITY.several)
"""Keys of the file with the limits of the checks."""
