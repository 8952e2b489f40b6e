"""Step ``dbs``: merges the two beams of a dual beam switch."""

from __future__ import annotations

import numpy as np

from cal_pipeline.core.step import CalibrationStep
from cal_pipeline.core.text import count_of
from cal_pipeline.heterodyne.physics.switching import pair_beams
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.stages import CouplingStage


class DbsStep(CalibrationStep):
    """Average each reduction group of beam A with the one of beam B nearest in time.

    Differences between the beams with opposite sign in the two chop directions cancel.
    """

    class_alias = "dbs"

    spec = """
    skip = boolean(default=True)   # Do not combine the beams of chopped scans
    """

    def describe_result(self, band: Band) -> str:
        """Say how many reduction groups were merged."""
        coupling = band.coupling
        if coupling is None:
            return "no beams to merge"
        merged = int((coupling.second >= 0).sum())
        alone = coupling.second.size - merged
        return f"{count_of(merged, 'pair')} of beams merged, {count_of(alone, 'ON')} without a partner"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Pair the reduction groups of a band."""
        pairing, calibration = band.require_pairing(), band.require_calibration()
        if not pairing.has_beams:
            self.not_applicable(f"{band} is of mode {pairing.mode}, there are no beams to merge")
            return
        partner = dict(pair_beams(band.coordinates.mjd[pairing.on], pairing.beam))
        merged = set(partner.values())
        first = np.array([on for on in range(pairing.on.size) if on not in merged])
        second = np.array([partner.get(int(on), -1) for on in first])
        t_sys, sigma = calibration.t_sys[..., first], calibration.sigma[..., first]
        for out in np.flatnonzero(second >= 0):
            other = second[out]
            t_sys[..., out] = 0.5 * (t_sys[..., out] + calibration.t_sys[..., other])
            sigma[..., out] = 0.5 * np.hypot(
                sigma[..., out].astype(np.float64), calibration.sigma[..., other].astype(np.float64)
            )
        band.coupling = CouplingStage(first, second, t_sys, sigma)
