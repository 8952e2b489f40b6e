"""Simulated exposures through detector1, and how far their rates are from the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline import Detector1Pipeline
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import ImageModel, RampModel
from cal_pipeline.imager.product import RateProduct
from cal_pipeline.imager.simulate import (
    Detector,
    ExposurePlan,
    ExposureTruth,
    VisitConfig,
    VisitFiles,
    read_truth,
    simulate_visit,
)
from cal_pipeline.steps.imager import DqInitStep, JumpStep, LinearityStep, RefpixStep, SaturationStep, SuperbiasStep

UNEVEN = ((1,), (2,), (3, 4), (6, 7, 8), (10, 11, 12, 13), (16, 17, 18, 19), (22, 23, 24, 25), (29, 30))
"""Reads of groups that differ in length and distance."""

PATTERNS: dict[str, dict[str, Any]] = {"even": {}, "uneven": {"read_pattern": UNEVEN, "frame_time": 2.0}}
"""Read patterns of ramps of 50 and 60 s."""

NOT_SENSITIVE = DQ.REFERENCE_PIXEL | DQ.DEAD


class Closed(NamedTuple):
    """An exposure after detector1, with its truth.

    Parameters
    ----------
    image : ImageModel
        Fitted rates.
    truth : ExposureTruth
        The truth.
    detector : Detector
        The detector that was simulated.
    """

    image: ImageModel
    truth: ExposureTruth
    detector: Detector

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Pixels that see light and have a rate, (y, x)."""
        return np.isfinite(self.image.data) & ((self.image.dq & NOT_SENSITIVE) == 0)

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Pixels with a hit in any integration, (y, x)."""
        hit = np.zeros(self.truth.rate.shape, bool)
        hit[self.truth.hits.y, self.truth.hits.x] = True
        return hit

    def pulls(self, image: ImageModel | None = None) -> NDArray[np.float64]:
        """Deviations over errors of all pixels without hits, in one line."""
        found = self.image if image is None else image
        pulls = ((found.data.astype(np.float64) - self.truth.rate) / found.err)[..., self.usable & ~self.hit]
        return pulls[np.isfinite(pulls)]

    def deviation(self) -> float:
        """Deviation of the mean rate of pixels without hits over its standard error.

        The zero level that the reference pixels of an amplifier give is common to its pixels.
        """
        chosen = self.usable & ~self.hit
        off = (self.image.data - self.truth.rate).astype(np.float64)
        nx = chosen.shape[1]
        stripe = np.arange(nx) * self.detector.amplifiers // nx
        variance = off[chosen].var() / chosen.sum()
        for amplifier in range(self.detector.amplifiers):
            share = chosen[:, stripe == amplifier].sum() / chosen.sum()
            n_reference = 2 * self.detector.border * (stripe == amplifier).sum()
            variance += share**2 * self.image.var_rnoise[chosen].mean() / n_reference if n_reference else 0.0
        return float(off[chosen].mean() / np.sqrt(variance))


def simulate(folder: Path, plans: list[ExposurePlan], detector: Detector, **visit: Any) -> VisitFiles:
    """Simulate a visit into a folder."""
    path = folder / "visit.zarr"
    return simulate_visit(VisitConfig(plans, detector, **visit), path, overwrite=path.exists())


def run_detector1(files: VisitFiles, name: str = "rate.zarr", **parameters: Any) -> RateProduct:
    """Run detector1 on a visit; the product lies beside it."""
    output = str(files.visit.with_name(name))
    given = {"overwrite": True, "references": str(files.references)} | parameters
    return Detector1Pipeline.call(str(files.visit), output_file=output, configure_log=False, **given)


def close_all(
    folder: Path, plans: list[ExposurePlan], detector: Detector, skip: str = "", **visit: Any
) -> list[Closed]:
    """Simulate a visit and calibrate its exposures, without the step `skip`."""
    files = simulate(folder, plans, detector, **visit)
    product = run_detector1(files, steps={skip: {"skip": True}} if skip else {})
    return [Closed(product.open_image(n), read_truth(files.visit, n), detector) for n in product.numbers]


def close(folder: Path, plan: ExposurePlan, detector: Detector, skip: str = "", **visit: Any) -> Closed:
    """Simulate an exposure and calibrate it, without the step `skip`."""
    return close_all(folder, [plan], detector, skip, **visit)[0]


def find_groupdq(files: VisitFiles, number: int = 1) -> NDArray[np.uint8]:
    """Flags of the groups of an exposure after the step jump."""
    ramp = RampModel.open(files.visit / f"exp_{number:06d}")
    for step in (DqInitStep, SaturationStep, SuperbiasStep, RefpixStep, LinearityStep, JumpStep):
        ramp = step.call(ramp, references=str(files.references))
    return ramp.groupdq
