"""Step ``gain``: corrects counts for receiver drift between two measurements of the loads."""

from __future__ import annotations

import logging

from cal_pipeline.core.parameters.resolved import GIVEN
from cal_pipeline.core.run.stream import Operation
from cal_pipeline.heterodyne.physics.gain import GainDrift
from cal_pipeline.heterodyne.physics.quality import gain_change
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.stages import GainStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import SpectrumBlock
from cal_pipeline.steps.heterodyne.describe import median_of_pixels

logger = logging.getLogger(__name__)


_LEVELS = (0, 2, 3)


def _known_level(value: int) -> int:
    """Return a level of the correction."""
    if value not in _LEVELS:
        raise ValueError("0 for none, 2 for the ONs, or 3 for ONs and OFFs")
    return value


class GainStep(CalibrationStep):
    """Correct counts for the drift of gain and offset since the loads before the scan.

    Examples
    --------
    A gain that rises by 10 % an hour, as found by the loads before and after a scan:

    >>> from cal_pipeline.simulate import Drift, preset, simulate
    >>> from cal_pipeline.steps import GainStep, LoadsStep
    >>> night = preset("ccat_chai", channels=64, pixels=1, scans=2, drift=Drift(gain_per_hour=0.1))
    >>> written = simulate(night, "drifting_night.zarr")
    >>> scan = GainStep.call(LoadsStep.call("drifting_night.zarr/scan_000001"), level=3)
    >>> drift = scan.bands[0].gain.drift
    >>> hours = 24.0 * (drift.hot_mjd[1] - drift.hot_mjd[0])
    >>> f"{100.0 * ((drift.hot_after / drift.hot).mean() - 1.0) / hours:.0f} %/h"
    '10 %/h'
    """

    class_alias = "gain"
    depends_on = ("loads",)

    spec = """
    level = integer(default=0)         # Correct the ONs (2), ONs and OFFs (3), or nothing (0)
    skip  = boolean(default=None)      # Skip the step whatever the level; for older parameter files
    """

    coercions = {"level": _known_level}

    level: int
    skip: bool | None

    @property
    def level_to_apply(self) -> int:
        """Level of the correction; 3 for ``skip = False`` without a level, as in older files."""
        return self.level or (3 if self.skip is False else 0)

    def check_parameters(self) -> None:
        """Refuse a level that ``skip`` leaves without effect."""
        # Older files hold all defaults of their time, skip = True and level = 3.
        older = self.level == 3 and self.parameters.origin("level") != GIVEN
        if self.parent is not None and self.given_or_default("skip") and not older:
            self.refuse_idle("level", "skip", "leave skip out")

    def process_scan(self, scan: Scan) -> None:
        """Find out how the receiver drifted over a scan, unless the level is 0."""
        if self.level_to_apply:
            super().process_scan(scan)
        elif self.parent is None:
            self.not_applicable("level is 0; give level 3 to correct ONs and OFFs, or 2 for the ONs alone")
        else:
            self._applicable = False

    def describe_result(self, band: Band) -> str:
        """Describe the change of gain between the loads."""
        bad, gain = band.bad_channel, band.gain
        if gain is None or gain.drift is None:
            return f"counts left alone: {gain.reason if gain else 'no result'}"
        drift = gain.drift
        change = gain_change(drift.hot - drift.cold, drift.hot_after - drift.cold_after, bad)
        return (
            f"gain drift {100 * median_of_pixels(change):+.3g} % (median of pixels), level {gain.level}, {gain.reason}"
        )

    def process_band(self, band: Band, scan: Scan) -> None:
        """Find out how the receiver drifted over a band."""
        loads = band.require_loads()
        if self.level_to_apply == 2:
            self.warn_once(
                logger,
                "gain: level 2 sets right the ONs but not their reference: under a drift of the gain its error is "
                "larger than without; level 3 is exact",
            )
        if loads.following is None:
            reason = f"no loads after the scan; it is calibrated with those of scan {loads.scan_numbers[0]} alone"
            logger.warning("%s: %s", band, reason)
            band.gain = GainStage(0, None, reason)
            return
        drift = GainDrift.between(loads.means, loads.following, loads.sidebands)
        lost = drift.unknown_pixels
        if lost.any():
            pixels = band.coordinates.pixel[lost].tolist()
            logger.warning("%s: the loads after the scan say nothing about %s, left as they are", band, pixels)
        reason = f"loads of scans {loads.scan_numbers[0]} and {loads.following_scan}"
        # A channel that only the later loads cannot calibrate would stand out among corrected ones.
        band.gain = GainStage(self.level_to_apply, drift, reason, drift.unusable_channels)

    @staticmethod
    def operation(band: Band) -> RestoreCounts | None:
        """Return the work on samples; None without a drift."""
        return RestoreCounts(band) if band.gain is not None and band.gain.drift is not None else None


class RestoreCounts(Operation[SpectrumBlock]):
    """Restore counts to the state of the receiver at the loads before the scan."""

    def __init__(self, band: Band) -> None:
        self._band = band

    def apply(self, block: SpectrumBlock) -> None:
        """Restore the counts of all subscans."""
        for subscan, counts in block.samples.items():
            block.samples[subscan] = self._band.corrected(counts, subscan, block.rows)
