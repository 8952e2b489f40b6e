"""Step ``skychopdiff``: compares the chop phases of the OFFs of a chopped scan."""

from __future__ import annotations

from cal_pipeline.core.text import count_of
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.stages import ChopStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep


class SkychopdiffStep(CalibrationStep):
    """Select the OFFs for the comparison of chop phases.

    Differences are computed from the counts while spectra are written.
    """

    class_alias = "skychopdiff"

    spec = """
    skip = boolean(default=True)   # Do not compare the chop phases on blank sky
    """

    def describe_result(self, band: Band) -> str:
        """Say how many OFFs are compared."""
        return f"chop phases of {count_of(band.chop.ons.size if band.chop else 0, 'OFF')} to compare"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Choose the OFFs of a band."""
        pairing = band.require_pairing()
        band.require_calibration()
        if not pairing.per_dump:
            self.not_applicable(f"{band} is of mode {pairing.mode}, it has no chop phases")
            return
        band.chop = ChopStage(*band.outputs)
