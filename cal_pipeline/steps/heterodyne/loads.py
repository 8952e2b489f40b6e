"""Step ``loads``: gain and receiver temperature from the hot and the cold load."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.values import require_positive
from cal_pipeline.core.step import ObservationStep
from cal_pipeline.heterodyne.coordinates import find_observed
from cal_pipeline.heterodyne.errors import BadChannelsError
from cal_pipeline.heterodyne.l0 import CalibrationGroup, LoadCounts, LoadRules
from cal_pipeline.heterodyne.phases import COLD, HOT
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.loads import LoadInput, LoadMeans, LoadSolution, SkyLoad, solve_loads
from cal_pipeline.heterodyne.physics.planck import CONVENTIONS, Sidebands, channel_frequencies
from cal_pipeline.heterodyne.physics.quality import jump_against_median
from cal_pipeline.heterodyne.references.telescope import TelescopeProfile, find_profile, open_profile
from cal_pipeline.heterodyne.scan import Band, LoadSource, Scan
from cal_pipeline.heterodyne.schema import SOURCE_COORDINATES, L1Arrays
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.sky_record import SkyRecord
from cal_pipeline.heterodyne.stages import LoadStage
from cal_pipeline.heterodyne.times import find_odd_loads
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.describe import median_of_channels

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


def _numbers(value: list[Any], expected: str, accepts: Callable[[float], bool]) -> list[float]:
    """Convert the values of a parameter to numbers, all of which it accepts; text may hold several."""
    try:
        # An option of `calibrate` and a keyword are text as given; `strun` splits its own.
        items = (part for item in value for part in (item.split(",") if isinstance(item, str) else [item]))
        numbers = [float(item) for item in items]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or not all(math.isfinite(number) and accepts(number) for number in numbers):
        raise ValueError(f"{expected}, or one per array")
    return numbers


_EARLIER_LOADS = 10
"""Largest number of earlier loads that the receiver temperature is compared with."""

_DOPPLER_STEP = 1e8
"""Step [Hz] to which the frequencies are rounded for that, as the Doppler shift changes from scan to scan: what earlier
loads tell is then the same for many scans. It changes receiver temperatures by 1 mK, the same in all loads."""


def _efficiencies(value: list[Any]) -> list[float]:
    """Numbers above 0 and up to 1."""
    return _numbers(value, "a number above 0 and up to 1", lambda number: 0.0 < number <= 1.0)


def _one_or_per_array(expected: str, accepts: Callable[[float], bool]) -> Callable[[list[Any]], float | list[float]]:
    """Make the coercion of a parameter that is a number for all arrays, or a list of one for each."""

    def coerce(value: list[Any]) -> float | list[float]:
        numbers = _numbers(value, expected, accepts)
        return numbers[0] if len(numbers) == 1 else numbers

    return coerce


_gains = _one_or_per_array("a number of at least 0", lambda number: number >= 0.0)
_offsets = _one_or_per_array("a number", lambda number: True)
_couplings = _one_or_per_array("a number above 0 and up to 1", lambda number: 0.0 < number <= 1.0)

_ERRORS = {"forward_efficiency": (0.02, 0.05), "t_cold": (2.0, 5.0)}
"""Errors of what is known and of what is assumed, where the parameter of the error is not given."""


def _without_doppler(sidebands: Sidebands) -> Sidebands:
    """Shift each sideband as a whole, so that its first channel is at a multiple of `_DOPPLER_STEP`."""
    step = _DOPPLER_STEP
    signal, image = (axis + (step * np.round(axis[0] / step) - axis[0]) for axis in (sidebands.signal, sidebands.image))
    return replace(sidebands, signal=signal, image=image)


@dataclass(frozen=True)
class _View:
    """A band to calibrate, its sidebands, and the forward efficiency of each array, (A,)."""

    band: Band
    sidebands: Sidebands
    forward_efficiency: Floats


class SkyModel(Protocol):
    """Step that models the sky which stands for the cold load."""

    def model_sky(self, band: Band, sidebands: Sidebands, forward_efficiency: Floats, record: SkyRecord) -> SkyLoad:
        """Model the sky at the SKYs of a group."""


class LoadsStep(CalibrationStep):
    """Derive gain, receiver and calibration temperature, and bad channels from the loads.

    Examples
    --------
    Receiver temperatures of the session in the example of
    :class:`~cal_pipeline.CalibrationPipeline` agree with the simulated ones to 1 %:

    >>> from cal_pipeline.simulate import read_truth
    >>> from cal_pipeline.steps import LoadsStep
    >>> solution = LoadsStep.call("session.zarr").bands[0].loads.solution
    >>> f"{abs(solution.t_rec_ssb / read_truth('session.zarr', 1).t_rec_ssb - 1.0).max():.2f}"
    '0.00'
    """

    class_alias = "loads"
    depends_on = ()
    reference_file_types = ["telescope"]

    spec = """
    single_load            = boolean(default=False)       # Let SKY stand for COLD in loads that have no COLD
    image_gain             = force_list(default=1.0)      # Image/signal gain: 1 DSB, 0 SSB; one or one per array
    image_gain_err         = float(min=0.0, default=0.05) # 1-sigma error of the logarithm of image_gain
    forward_efficiency     = force_list(default=None)     # Forward efficiency, one or one per array
    forward_efficiency_err = float(min=0.0, default=None) # Its 1-sigma error; None: 0.02, assumed 0.05
    hot_offset             = force_list(default=0.0)      # True minus recorded T of hot load [K], one or one per array
    cold_offset            = force_list(default=0.0)      # True minus recorded T of cold load [K], one or one per array
    hot_coupling           = force_list(default=1.0)      # Share of the beam on the hot load, one or one per array
    cold_coupling          = force_list(default=1.0)      # Share of the beam on the cold load, one or one per array
    t_hot_err              = float(min=0.0, default=1.0)  # 1-sigma error of the hot load's temperature [K]
    t_cold_err             = float(min=0.0, default=None) # That of the cold load's [K]; None: 2, assumed 5, SKY 0
    eta_fss                = float(min=0.0, default=1.0)  # Forward scattering and spillover efficiency
    gain_el_correction     = float(min=0.0, default=1.0)  # Correction of the gain for elevation
    clip_counts            = float(min=0.0, default=0.01) # Bad channel: HOT - COLD below this times the median
    clip_tsys              = float(min=0.0, default=200.0) # Bad channel: t_rec_ssb above this times h nu/k
    clip_sigma             = float(min=0.0, default=10.0) # Spike of a load or OFF: sigma from the median; 0: none
    calibration_interval   = float(min=0.0, default=3600.0) # Largest time between loads and scan [s]
    on_broken_loads        = option('fail', 'neighbour', default='fail') # Own loads that cannot be read
    physics                = option('exact', 'kalibrate_compat', default='exact') # Physical constants and rounding
    """
    coercions = {
        "image_gain": _gains,
        "forward_efficiency": _efficiencies,
        **dict.fromkeys(("hot_offset", "cold_offset"), _offsets),
        **dict.fromkeys(("hot_coupling", "cold_coupling"), _couplings),
        "eta_fss": require_positive,
        "gain_el_correction": require_positive,
    }

    single_load: bool
    image_gain: float | list[float]
    image_gain_err: float
    forward_efficiency: list[float] | None
    forward_efficiency_err: float | None
    hot_offset: float | list[float]
    cold_offset: float | list[float]
    hot_coupling: float | list[float]
    cold_coupling: float | list[float]
    t_hot_err: float
    t_cold_err: float | None
    eta_fss: float
    gain_el_correction: float
    clip_counts: float
    clip_tsys: float
    clip_sigma: float
    calibration_interval: float
    on_broken_loads: str
    physics: str

    def list_asked_steps(self) -> tuple[ObservationStep, ...]:
        """Return the step ``atmosphere``, whose parameters a single load depends on."""
        step = None if self.parent is None else getattr(self.parent, "atmosphere", None)
        return (step,) if self.single_load and step is not None else ()

    def process_band(self, band: Band, scan: Scan) -> None:
        """Find the loads of a band and solve them."""
        session: LoadSource = scan.session or Session(band.store)
        profile = open_profile(self.reference_path("telescope", lambda: find_profile(band.attributes.get("telescope"))))
        sidebands = self._sidebands(band)
        efficiency, efficiency_assumed = self._forward_efficiency(band, profile)
        coupling = self.eta_fss * self.gain_el_correction
        rules = LoadRules(band.channel_width, self.clip_sigma, profile.t_cold_default_K, profile.saturation_counts)

        def read(group: CalibrationGroup) -> LoadCounts:
            return session.read_loads(group, band, scan.clock, rules)

        group, reason, passed_over = session.find_loads(
            band, self.calibration_interval, self.on_broken_loads, read, self.single_load
        )
        counts = read(group)  # from the cache of the session
        view = _View(band, sidebands, efficiency)
        means = self._seen_by_receiver(counts.means, group, view)
        solution = solve_loads(means, sidebands, efficiency, coupling, self.clip_counts, self.clip_tsys)
        if solution.bad_channel.all():
            raise BadChannelsError(_explain_bad_channels(band, group, means, solution, self.clip_tsys))
        # Before the loads that follow are read, which the next scan finds in the small cache of loads.
        jump = self._t_rec_jump(view, session, group, scan, rules)
        following, after = self._following(view, session, group, scan, rules)
        band.loads = LoadStage(
            sidebands=sidebands,
            means=means,
            solution=solution,
            zero=counts.zero,
            forward_efficiency=efficiency,
            coupling=coupling,
            scan_numbers=(group.scan_number,),
            reason=reason,
            passed_over=passed_over,
            odd_times=_warn_of_odd_times(band, session, group, counts),
            instability=counts.instability,
            following=after,
            following_scan=following.scan_number if following else None,
            telescope=profile.name,
            telescope_sha256=profile.sha256,
            forward_efficiency_err=self._error("forward_efficiency", efficiency_assumed),
            t_hot_err=self.t_hot_err,
            t_cold_err=self._error("t_cold", counts.t_cold_assumed)
            if means.sky_load is None
            else self.t_cold_err or 0.0,
            image_gain_err=self.image_gain_err if sidebands.has_image else 0.0,
            assumed=_names_of(
                forward_efficiency=efficiency_assumed,
                t_cold=counts.t_cold_assumed,
                image_gain=self.parameters.is_default("image_gain"),
            ),
            site=profile.site,
            clip_sigma=self.clip_sigma,
            load_spikes=counts.spikes,
            saturation_counts=profile.saturation_counts,
            dropped_subscans=counts.dropped,
            t_rec_jump=jump,
        )
        logger.debug("%s: loads of scan %d (%s)", band, group.scan_number, reason)

    def open_reference(self, path: Path) -> object:
        """Open a telescope profile."""
        return open_profile(path)

    def describe_result(self, band: Band) -> str:
        """Describe receiver temperature, bad channels and loads."""
        loads = band.require_loads()
        solution = loads.solution
        t_rec = median_of_channels(solution.t_rec_ssb, solution.bad_channel)
        bad = 100 * float(solution.bad_channel.mean())
        scans = ", ".join(map(str, loads.scan_numbers))
        return f"T_rec {t_rec:.4g} K SSB (median), bad channels {bad:.2f} %, loads of scan {scans} ({loads.reason})"

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return the frequencies and the properties of the receiver."""
        if band.loads is None:
            return {}
        sidebands, solution = band.loads.sidebands, band.loads.solution
        return {
            "signal_freqs": sidebands.signal,
            "image_freqs": sidebands.image,
            "t_rec_ssb": solution.t_rec_ssb,
            "gamma": solution.gamma,
            "t_cal": solution.t_cal,
        }

    def _t_rec_jump(
        self, view: _View, session: LoadSource, group: CalibrationGroup, scan: Scan, rules: LoadRules
    ) -> Floats:
        """Compare the receiver temperature with those on earlier loads, shape (R, A)."""
        band, rounded = view.band, _without_doppler(view.sidebands)
        no_loss = np.ones(band.coordinates.shape[3])

        def t_rec(loads: CalibrationGroup) -> Floats:
            read = session.read_loads(loads, band, scan.clock, rules).means
            means = self._seen_by_receiver(read, loads, replace(view, sidebands=rounded))
            solution = solve_loads(means, rounded, no_loss, 1.0, self.clip_counts, self.clip_tsys)
            return median_of_finite(np.where(solution.bad_channel, np.nan, solution.t_rec_ssb), axis=0)

        inputs = (self.image_gain, self.hot_offset, self.cold_offset, self.hot_coupling, self.cold_coupling)
        asked = [repr(step.get_pars()) for step in self.list_asked_steps()]
        sky = (*asked, repr(view.forward_efficiency.tolist())) if asked else ()
        settings = (repr(inputs), self.clip_counts, self.clip_tsys, self.physics, rules, *sky)
        key = (float(rounded.signal[0]), float(np.nan_to_num(rounded.image[0])), *settings)
        now, *earlier = session.evaluate_loads(group, band, _EARLIER_LOADS, t_rec, key, self.single_load)
        return jump_against_median(now, earlier)

    def _following(
        self, view: _View, session: LoadSource, before: CalibrationGroup, scan: Scan, rules: LoadRules
    ) -> tuple[CalibrationGroup | None, LoadMeans | None]:
        """Find the loads after a band that bracket it with the loads used.

        None if the loads used are not before the band, or no sound loads follow.
        """
        band = view.band
        if not before.mjd <= band.coordinates.time_span[0]:
            return None, None

        def read(group: CalibrationGroup) -> LoadMeans:
            return self._seen_by_receiver(session.read_loads(group, band, scan.clock, rules).means, group, view)

        group = session.find_following(band, self.calibration_interval, read, self.single_load)
        return group, None if group is None else read(group)

    def _seen_by_receiver(self, means: LoadMeans, group: CalibrationGroup, view: _View) -> LoadMeans:
        """Add offsets of temperature and couplings to loads as they were recorded; model the sky in place of COLD."""
        band = view.band

        def load(name: str, recorded: LoadInput, phases: tuple[str, ...]) -> LoadInput:
            offset, coupling = (self._per_array(band, f"{name}_{what}") for what in ("offset", "coupling"))
            misses = bool((coupling < 1.0).any())
            ambient = group.read_ambient(phases, band.coordinates.tamb) if misses else None
            found = replace(recorded, offset=offset, coupling=coupling, ambient=ambient)
            if not found.temperature.min() > 0.0:
                raise LayoutError(
                    f"{band}: {name}_offset = {offset.tolist()} K makes the {name} load of scan {group.scan_number}, "
                    f"recorded at {recorded.physical:g} K, {found.temperature.tolist()} K, expected above 0 K"
                )
            return found

        hot, recorded = load("hot", means.hot_input, HOT), means.cold_input
        if group.has_sky_for_cold or not isinstance(recorded, LoadInput):
            return replace(means, hot_input=hot, cold_input=self._model_sky(group, view, means.cold_dumps))
        return replace(means, hot_input=hot, cold_input=load("cold", recorded, COLD))

    def _model_sky(self, group: CalibrationGroup, view: _View, dumps: Floats | None) -> SkyLoad:
        """Model the sky that stands for the cold load, by the parameters of the step ``atmosphere``."""
        if not self.list_asked_steps():
            raise ParameterError(
                f"{view.band}: {group.name} has no COLD, and the step loads alone has no opacity for the sky that "
                "stands for it, which is that of the step atmosphere; run CalibrationPipeline, which has both"
            )
        for name, usual in (("cold_offset", 0.0), ("cold_coupling", 1.0)):
            if (self._per_array(view.band, name) != usual).any():
                self.warn_once(logger, "%s: %s has no effect where SKY stands for COLD", view.band, name)
        (atmosphere,) = self.list_asked_steps()
        model: SkyModel = cast(SkyModel, atmosphere)
        return model.model_sky(view.band, view.sidebands, view.forward_efficiency, group.read_sky(dumps))

    def _error(self, name: str, assumed: bool) -> float:
        """Return the given error of a quantity, or that of a known or an assumed one."""
        given: float | None = getattr(self, f"{name}_err")
        return _ERRORS[name][assumed] if given is None else given

    def _per_array(self, band: Band, name: str) -> Floats:
        """Return a parameter as an array, (1,) or (A,)."""
        n_arrays, values = band.coordinates.shape[3], np.atleast_1d(np.array(getattr(self, name), np.float64))
        if values.size not in (1, n_arrays):
            raise LayoutError(
                f"{band}: {name} has {values.size} values, expected 1 value or one per array ({n_arrays})"
            )
        return values

    def _sidebands(self, band: Band) -> Sidebands:
        """Make the frequency axis of a band from its first ON."""
        at = band.coordinates
        axis = at.frequency_axis(band.first_on)
        signal, image = channel_frequencies(band.coordinates.shape[0], **axis)
        sidebands = Sidebands(signal, image, self._per_array(band, "image_gain"), CONVENTIONS[self.physics])
        if sidebands.has_image and not axis["image_freq"] > 0:
            raise LayoutError(
                f"{band}: image_freq of the first ON is {axis['image_freq']:g} Hz, expected above 0 Hz: "
                f"{SOURCE_COORDINATES['image_freq'].expected}; give image_gain = 0 to the step loads if the receiver "
                "has no image sideband"
            )
        for name, frequencies in (("signal", signal), ("image", image)):
            if (name == "signal" or sidebands.has_image) and not frequencies.min() > 0:
                raise LayoutError(
                    f"{band}: frequencies of the {name} sideband go from {frequencies.min():g} to "
                    f"{frequencies.max():g} Hz, expected all above 0 Hz: {axis}"
                )
        return sidebands

    def _forward_efficiency(self, band: Band, profile: TelescopeProfile) -> tuple[Floats, bool]:
        """Return the forward efficiency of each array, (A,), given or from the profile, and whether 1 is assumed."""
        arrays = (band.coordinates.shape[3],)
        if self.forward_efficiency is not None:
            return np.broadcast_to(self._per_array(band, "forward_efficiency"), arrays).copy(), False
        frontend = profile.frontend(band.attributes.get("frontend"), band.signal_frequency)
        if frontend is not None:
            return np.full(arrays, frontend.forward_efficiency), False
        self.warn_once(
            logger,
            "%s: forward_efficiency is not given and the profile %r knows no such frontend; 1 is assumed, and "
            "what spills over is then taken for water vapour",
            band,
            profile.name,
        )
        return np.ones(arrays), True


def _warn_of_odd_times(band: Band, session: LoadSource, group: CalibrationGroup, counts: LoadCounts) -> int:
    """Warn of times of a band that are odd against those of loads, and return the number of warnings."""
    at, own = band.coordinates, group.scan_number == band.scan_number
    taken = find_observed(at.sobsmode, str(band.attributes.get("instmode", "")))
    where = f"{band.store}/{band.group}/source"
    odd = find_odd_loads(where, counts.mjd, own, at.mjd[taken], at.exptime[taken], session.times_around(band))
    for words in odd:
        logger.warning("%s: %s", band, words)
    return len(odd)


def _names_of(**assumed: bool) -> tuple[str, ...]:
    """Return the names of what was assumed."""
    return tuple(name for name, is_assumed in assumed.items() if is_assumed)


def _explain_bad_channels(
    band: Band, group: CalibrationGroup, means: LoadMeans, solution: LoadSolution, clip_tsys: float
) -> str:
    """Explain why the loads cannot calibrate any channel."""
    pair = (("HOT", means.hot), (means.cold_name, means.cold))
    lacking = [name for name, counts in pair if not np.isfinite(counts).any()]
    if lacking:
        return (
            f"{band}: no dump of {' and '.join(lacking)} on the loads of scan {group.scan_number} is valid in any "
            f"pixel, expected at least one in {group.name}/data_5d; missing are also counts at the maximum of their "
            "integer type, and from saturation_counts of the telescope's profile on"
        )
    return (
        f"{band}: all {solution.bad_channel.size} channels are bad on the loads of scan "
        f"{group.scan_number}: median HOT {np.nanmedian(means.hot):.6g}, {means.cold_name} "
        f"{np.nanmedian(means.cold):.6g} counts at {_kelvin(means.hot_input)} and {_kelvin(means.cold_input)}; "
        f"expected HOT > {means.cold_name} and 0 < t_rec_ssb <= {clip_tsys:g} h nu/k, see {group.name}/data_5d"
    )


def _kelvin(load: LoadInput | SkyLoad) -> str:
    """Return the true temperature of a load for a message, of each array where they differ."""
    return ", ".join(f"{temperature:.1f}" for temperature in load.temperature) + " K"
