"""Step ``jump``."""

from __future__ import annotations

from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.imager.models import RampModel
from cal_pipeline.imager.physics.jump import flag_jumps
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.steps.imager.base import RampStep


class JumpStep(RampStep):
    """Flag groups after which a ramp has jumped, as cosmic rays make it.

    Examples
    --------
    >>> ramp = JumpStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> ramp.meta.cal_step.jump
    'COMPLETE'
    """

    class_alias = "jump"
    reference_file_types = ["gain", "readnoise"]

    spec = """
    threshold = float(default=4.0)   # Height of a jump over its error from which on it is one
    """

    threshold: float

    def check_parameters(self) -> None:
        """Refuse a threshold that is not positive."""
        if not self.threshold > 0:
            raise ParameterError(f"jump: threshold = {self.threshold:g}; expected a number above 0")

    def process_observation(self, ramp: RampModel) -> None:
        """Flag jumps."""
        times, (gain, noise) = self.read_times(ramp), self.gain_and_noise(ramp)
        pixeldq, threshold = ramp.pixeldq, self.threshold

        def flag(block: RampBlock) -> RampBlock:
            of_pixels = pixeldq[block.rows], gain[block.rows], noise[block.rows]
            return block._replace(groupdq=flag_jumps(block.data, block.groupdq, *of_pixels, times, threshold))

        ramp.add_operation(flag)
