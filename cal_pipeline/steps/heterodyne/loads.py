"""Step ``loads``: gain and receiver temperature from the hot and the cold load."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError, ObservationError
from cal_pipeline.core.parameters.values import require_positive
from cal_pipeline.heterodyne.errors import BadChannelsError
from cal_pipeline.heterodyne.l0 import CalibrationGroup, LoadCounts
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.loads import solve_loads
from cal_pipeline.heterodyne.physics.planck import CONVENTIONS, Sidebands, channel_frequencies
from cal_pipeline.heterodyne.physics.quality import jump_against_median
from cal_pipeline.heterodyne.references.telescope import TelescopeProfile, find_profile, open_profile
from cal_pipeline.heterodyne.scan import Band, LoadSource, Scan
from cal_pipeline.heterodyne.schema import SOURCE_COORDINATES, L1Arrays
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.stages import LoadStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.describe import median_of_channels

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_EARLIER_LOADS = 10
"""Largest number of earlier loads that the receiver temperature is compared with."""

_DOPPLER_STEP = 1e8
"""Step [Hz] to which the frequencies are rounded for that, as the Doppler shift changes from scan to scan: what earlier
loads tell is then the same for many scans. It changes receiver temperatures by 1 mK, the same in all loads."""


def _efficiencies(value: list[Any]) -> list[float]:
    """Numbers above 0 and up to 1."""
    try:
        numbers = [float(item) for item in value]
    except ValueError:
        numbers = []
    if not numbers or not all(0.0 < number <= 1.0 for number in numbers):
        raise ValueError("a number above 0 and up to 1, or one per array")
    return numbers


def _without_doppler(sidebands: Sidebands) -> Sidebands:
    """Shift each sideband as a whole, so that its first channel is at a multiple of `_DOPPLER_STEP`."""
    step = _DOPPLER_STEP
    signal, image = (axis + (step * np.round(axis[0] / step) - axis[0]) for axis in (sidebands.signal, sidebands.image))
    return replace(sidebands, signal=signal, image=image)


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
    reference_file_types = ["telescope"]

    spec = """
    image_gain           = float(min=0.0, default=1.0)         # Ratio of image to signal gain: 1 DSB, 0 SSB
    forward_efficiency   = force_list(default=None)            # Forward efficiency, one or one per array
    eta_fss              = float(min=0.0, default=1.0)         # Forward scattering and spillover efficiency
    gain_el_correction   = float(min=0.0, default=1.0)         # Correction of the gain for elevation
    clip_counts          = float(min=0.0, default=0.01)        # Bad channel: HOT - COLD below this times the median
    clip_tsys            = float(min=0.0, default=200.0)       # Bad channel: t_rec_ssb above this times h nu/k
    calibration_interval = float(min=0.0, default=3600.0)      # Largest time between loads and scan [s]
    physics              = option('exact', 'kalibrate_compat', default='exact') # Physical constants and rounding
    """
    coercions = {
        "forward_efficiency": _efficiencies,
        "eta_fss": require_positive,
        "gain_el_correction": require_positive,
    }

    image_gain: float
    forward_efficiency: list[float] | None
    eta_fss: float
    gain_el_correction: float
    clip_counts: float
    clip_tsys: float
    calibration_interval: float
    physics: str

    def process_band(self, band: Band, scan: Scan) -> None:
        """Find the loads of a band and solve them."""
        session: LoadSource = scan.session or Session(band.store)
        profile = open_profile(self.reference_path("telescope", lambda: find_profile(band.attributes.get("telescope"))))
        sidebands = self._sidebands(band)
        efficiency = self._forward_efficiency(band, profile)
        coupling = self.eta_fss * self.gain_el_correction
        group, reason = session.find_loads(band, self.calibration_interval)
        counts = session.read_loads(group, band, scan.clock, profile.t_cold_default_K)
        means = counts.means
        solution = solve_loads(means, sidebands, efficiency, coupling, self.clip_counts, self.clip_tsys)
        if solution.bad_channel.all():
            raise BadChannelsError(
                f"{band}: all {solution.bad_channel.size} channels are bad on the loads of scan "
                f"{group.scan_number}: median HOT {np.nanmedian(means.hot):.6g}, COLD "
                f"{np.nanmedian(means.cold):.6g} counts at {means.t_hot:.1f} K and {means.t_cold:.1f} K; "
                f"expected HOT > COLD and 0 < t_rec_ssb <= {self.clip_tsys:g} h nu/k"
            )
        # Before the loads that follow are read, which the next scan finds in the small cache of loads.
        jump = self._t_rec_jump(band, session, group, sidebands, scan, profile)
        following, after = self._following(band, session, group, scan, profile)
        band.loads = LoadStage(
            sidebands=sidebands,
            means=means,
            solution=solution,
            zero=counts.zero,
            forward_efficiency=efficiency,
            coupling=coupling,
            scan_numbers=(group.scan_number,),
            reason=reason,
            instability=counts.instability,
            following=after.means if after else None,
            following_scan=following.scan_number if following else None,
            telescope=profile.name,
            telescope_sha256=profile.sha256,
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
        self,
        band: Band,
        session: LoadSource,
        group: CalibrationGroup,
        sidebands: Sidebands,
        scan: Scan,
        profile: TelescopeProfile,
    ) -> Floats:
        """Compare the receiver temperature with those on earlier loads, shape (R, A)."""
        rounded = _without_doppler(sidebands)
        no_loss = np.ones(band.coordinates.shape[3])

        def t_rec(loads: CalibrationGroup) -> Floats:
            means = session.read_loads(loads, band, scan.clock, profile.t_cold_default_K).means
            solution = solve_loads(means, rounded, no_loss, 1.0, self.clip_counts, self.clip_tsys)
            return median_of_finite(np.where(solution.bad_channel, np.nan, solution.t_rec_ssb), axis=0)

        settings = (self.image_gain, self.clip_counts, self.clip_tsys, self.physics, profile.t_cold_default_K)
        key = (float(rounded.signal[0]), float(np.nan_to_num(rounded.image[0])), *settings)
        now, *earlier = session.evaluate_loads(group, band, _EARLIER_LOADS, t_rec, key)
        return jump_against_median(now, earlier)

    def _following(
        self, band: Band, session: LoadSource, before: CalibrationGroup, scan: Scan, profile: TelescopeProfile
    ) -> tuple[CalibrationGroup | None, LoadCounts | None]:
        """Find the loads after a band that bracket it with the loads used.

        None if the loads used are not before the band, or no sound loads follow.
        """
        if not before.mjd <= band.coordinates.time_span[0]:
            return None, None
        group = session.find_following(band, self.calibration_interval)
        if group is None:
            return None, None
        try:
            return group, session.read_loads(group, band, scan.clock, profile.t_cold_default_K)
        except ObservationError as error:
            logger.warning("%s: the loads that follow it are passed over: %s", band, error)
            return None, None

    def _sidebands(self, band: Band) -> Sidebands:
        """Make the frequency axis of a band from its first ON."""
        at = band.coordinates
        axis = at.frequency_axis(band.first_on)
        signal, image = channel_frequencies(band.coordinates.shape[0], **axis)
        if self.image_gain > 0 and not axis["image_freq"] > 0:
            raise LayoutError(
                f"{band}: image_freq of the first ON is {axis['image_freq']:g} Hz, expected above 0 Hz: "
                f"{SOURCE_COORDINATES['image_freq'].expected}; give image_gain = 0 to the step loads if the receiver "
                "has no image sideband"
            )
        for name, frequencies in (("signal", signal), ("image", image)):
            if (name == "signal" or self.image_gain > 0) and not frequencies.min() > 0:
                raise LayoutError(
                    f"{band}: frequencies of the {name} sideband go from {frequencies.min():g} to "
                    f"{frequencies.max():g} Hz, expected all above 0 Hz: {axis}"
                )
        return Sidebands(signal, image, self.image_gain, CONVENTIONS[self.physics])

    def _forward_efficiency(
        self, band: Band, profile: TelescopeProfile
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the forward efficiency of each array, (A,), given or from the profile."""
        at = band.coordinates
        n_arrays = at.shape[3]
        values = self.forward_efficiency
        if values is None:
            frontend = profile.frontend(band.attributes.get("frontend"), band.signal_frequency)
            values = [1.0 if frontend is None else frontend.forward_efficiency]
            if frontend is None:
                self.warn_once(
                    logger,
                    "%s: forward_efficiency is not given and the profile %r knows no such frontend; 1 is assumed, and "
                    "what spills over is then taken for water vapour",
                    band,
                    profile.name,
                )
        if len(values) not in (1, n_arrays):
            raise LayoutError(
                f"{band}: forward_efficiency has {len(values)} values, expected 1 value or one per array ({n_arrays})"
            )
        return np.broadcast_to(np.array(values), (n_arrays,)).copy()
