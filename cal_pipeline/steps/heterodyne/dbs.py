"""Step ``dbs``: merges the two beams of a dual beam switch."""

from __future__ import annotations

from cal_pipeline.core.run.stream import Operation
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.physics.calibration import couple_beams, either_missing
from cal_pipeline.heterodyne.physics.noise import couple_noise
from cal_pipeline.heterodyne.physics.switching import merge_order
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import L1Arrays
from cal_pipeline.heterodyne.stages import CouplingStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import Dumps, SpectrumBlock
from cal_pipeline.steps.heterodyne.noise_shares import origin_of_noise


class DbsStep(CalibrationStep):
    """Average each reduction group of beam A with the one of beam B nearest in time.

    Differences between the beams with opposite sign in the two chop directions cancel.

    Examples
    --------
    Beams that are 5 K too high and too low at the receiver's input leave no baseline in the three
    spectra of six ONs:

    >>> from cal_pipeline import CalibrationPipeline
    >>> from cal_pipeline.simulate import Imbalance, preset, simulate
    >>> night = preset("sofia_lfa", channels=64, pixels=1, mode="otf_chopped", lines=(), imbalance=Imbalance(5.0))
    >>> written = simulate(night, "beams.zarr")
    >>> product = CalibrationPipeline.call("beams.zarr", output_file="merged.zarr", steps={"dbs": {"skip": False}})
    >>> baseline = product.open_scan(1).spectra.mean(("channel", "dump", "receiver", "array"))
    >>> baseline.size, round(float(abs(baseline).max()))
    (3, 0)
    """

    class_alias = "dbs"
    depends_on = ("pairing", "calibration")

    spec = """
    skip = boolean(default=True)   # Do not combine the beams of chopped scans
    """

    def describe_result(self, band: Band) -> str:
        """Describe the number of merged reduction groups."""
        coupling = band.coupling
        if coupling is None:
            return "no beams to merge"
        merged = int((coupling.second >= 0).sum())
        alone = coupling.second.size - merged
        return f"{format_count(merged, 'pair')} of beams merged, {format_count(alone, 'ON')} without a partner"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Pair the reduction groups of a band."""
        pairing, calibration = band.require_pairing(), band.require_calibration()
        if not pairing.has_beams:
            self.not_applicable(f"{band} is of mode {pairing.mode}, there are no beams to merge")
            return
        first, second = merge_order(band.coordinates.mjd[pairing.on], pairing.beam)
        t_sys, sigma = couple_noise(calibration.t_sys, calibration.sigma, first, second)
        band.coupling = CouplingStage(first, second, t_sys, sigma)

    @staticmethod
    def operation(band: Band) -> MergeBeams | None:
        """Return the work on samples; None without beams to merge."""
        return MergeBeams() if band.coupling is not None else None

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return system temperature and noise of the merged spectra, and the origin of that noise."""
        if band.coupling is None:
            return {}
        return origin_of_noise(band) | {"t_sys": band.coupling.t_sys, "sigma": band.coupling.sigma}


class MergeBeams(Operation[SpectrumBlock]):
    """Average the dumps of two beams."""

    def apply(self, block: SpectrumBlock) -> None:
        """Merge the beams of a spectrum, unless it has no partner."""
        if len(block.dumps) == 2:
            one, two = block.dumps
            block.dumps = [Dumps(*couple_beams(one[:2], two[:2]), either_missing(one.missing, two.missing))]
