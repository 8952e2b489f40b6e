"""Step ``gain``: takes the drift of the receiver between two measurements of the loads out of the counts."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from cal_pipeline.models.scan import Band, GainStage, Scan
from cal_pipeline.physics.gain import GainDrift
from cal_pipeline.steps.base import CalibrationStep

logger = logging.getLogger(__name__)


class GainStep(CalibrationStep):
    """Bring counts to the gain and offset that the receiver had on the loads before the scan."""

    class_alias = "gain"

    spec = """
    skip  = boolean(default=True)              # Leave the counts alone
    level = integer(min=2, max=3, default=3)   # Set right the counts of the ONs (2) or of ONs and OFFs (3)
    """

    level: int

    _level_2_told = False

    def process_band(self, band: Band, scan: Scan) -> None:
        """Find out how the receiver drifted over a band."""
        loads = band.require_loads()
        if self.level == 2 and not self._level_2_told:
            self._level_2_told = True
            logger.warning(
                "gain: level 2 sets right the ONs but not their reference: under a drift of the gain its error is "
                "larger than without; level 3 is exact"
            )
        if loads.following is None:
            reason = f"no loads after the scan; it is calibrated with those of scan {loads.scan_numbers[0]} alone"
            logger.warning("%s: %s", band, reason)
            band.gain = GainStage(0, None, reason)
            return
        drift = GainDrift.between(loads.means, loads.following, loads.sidebands)
        lost = ~drift.usable.any(axis=0)
        if lost.any():
            pixels = band.coordinates.pixel[lost].tolist()
            logger.warning("%s: the loads after the scan say nothing about %s, left as they are", band, pixels)
        # A channel that only the later loads cannot calibrate would stand out among corrected ones.
        bad = loads.solution.bad_channel | (~drift.usable & ~lost)
        band.loads = replace(loads, solution=replace(loads.solution, bad_channel=np.asarray(bad)))
        band.gain = GainStage(self.level, drift, f"loads of scans {loads.scan_numbers[0]} and {loads.following_scan}")
