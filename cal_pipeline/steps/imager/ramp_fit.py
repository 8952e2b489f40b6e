"""Step ``ramp_fit``."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from cal_pipeline.imager.figures import judge_rate
from cal_pipeline.imager.models import ImageModel, RampModel
from cal_pipeline.imager.physics.ramp_fit import RampFit, fit_ramps
from cal_pipeline.imager.ramp_source import RampBlock
from cal_pipeline.imager.schema import VARIANCES
from cal_pipeline.steps.imager.base import RampStep

logger = logging.getLogger(__name__)


class RampFitStep(RampStep):
    """Fit the rate of each pixel to its ramps, with the errors by photon and read noise.

    One rate is fitted to all integrations together. With several integrations the image has
    ``ints`` too, in which each is fitted alone.

    Examples
    --------
    >>> rate = RampFitStep.call("visit.zarr/exp_000001", references="visit.references")
    >>> rate.units, rate.meta.cal_step.ramp_fit
    ('electron / s', 'COMPLETE')
    """

    class_alias = "ramp_fit"
    reference_file_types = ["gain", "readnoise"]

    def process_observation(self, ramp: RampModel) -> ImageModel:
        """Fit the rates."""
        times, (gain, noise) = self.read_times(ramp), self.gain_and_noise(ramp)
        pixeldq = ramp.pixeldq

        def fit(block: RampBlock) -> RampFit:
            of_pixels = pixeldq[block.rows], gain[block.rows], noise[block.rows]
            return fit_ramps(block.data, block.groupdq, *of_pixels, times)

        fits = ramp.map_rows(fit)
        ints = None
        if ramp.shape[0] > 1:
            ints = ImageModel(**_join([fit.integrations for fit in fits], 1))
        image = ramp.hand_on(ImageModel(**_join(fits, 0), ints=ints))
        image.meta["exposure_time"] = ramp.shape[0] * float(times.last[-1])
        image.meta["qa"] = judge_rate(
            image, sum(float(fit.chi2.sum()) for fit in fits), sum(int(fit.n_free.sum()) for fit in fits)
        )
        if not np.isfinite(image.data).any():
            logger.warning("exposure %d: no pixel has a rate; look at the flags", image.number)
        return image

    def describe_observation(self, observation: ImageModel) -> str:
        """Describe the rates for the log."""
        used = np.isfinite(observation.data)
        median = float(np.median(observation.data[used])) if used.any() else np.nan
        return f"rates of {100 * used.mean():.1f} % of the pixels, median {median:.4g} {observation.units}"


def _join(fits: list[Any], axis: int) -> dict[str, Any]:
    """Join the fits of blocks of rows along their rows."""
    names = {"data": "rate", "err": "err", **{name: name for name in VARIANCES[:2]}, "dq": "dq"}
    return {name: np.concatenate([getattr(fit, own) for fit in fits], axis=axis) for name, own in names.items()}
