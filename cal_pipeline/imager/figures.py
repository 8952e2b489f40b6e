"""Quality figures of rate images; their limits are in ``cfg/imager_quality.toml``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.files.selection import cfg_folder
from cal_pipeline.core.limits import LimitsTable
from cal_pipeline.core.quality import Figure, QualityScheme
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.models import ImageModel

Floats = NDArray[np.float64]


class RateStatistics(NamedTuple):
    """Statistics of the ramps of an exposure.

    Parameters
    ----------
    dq : ndarray of uint32, shape (y, x)
        Flags of the pixels.
    chi2 : float
        Sum of chi² of the fits.
    n_free : int
        Sum of their degrees of freedom.
    """

    dq: NDArray[np.uint32]
    chi2: float
    n_free: int


def _fraction(flag: DQ) -> Any:
    """Make the function of a figure: fraction of the pixels with a flag, of those that see light."""

    def compute(statistics: RateStatistics) -> Floats | None:
        lit = (statistics.dq & np.uint32(DQ.REFERENCE_PIXEL)) == 0
        n_lit = int(lit.sum())
        flagged = int(((statistics.dq & np.uint32(flag)) != 0)[lit].sum())
        return np.array([flagged / n_lit]) if n_lit else None

    return compute


def _reduced_chi2(statistics: RateStatistics) -> Floats | None:
    return np.array([statistics.chi2 / statistics.n_free]) if statistics.n_free else None


RATE_QUALITY = QualityScheme(
    (
        Figure(
            "ramp_chi2",
            "chi² of the ramps over its degrees of freedom",
            _reduced_chi2,
            reduced="ramp_chi2",
            checked=True,
        ),
        Figure(
            "saturated_fraction",
            "fraction of the pixels with saturated groups",
            _fraction(DQ.SATURATED),
            reduced="saturated_fraction",
            checked=True,
        ),
        Figure(
            "jump_fraction",
            "fraction of the pixels with jumps",
            _fraction(DQ.JUMP_DET),
            reduced="jump_fraction",
            checked=True,
        ),
        Figure(
            "bad_fraction",
            "fraction of the pixels without a rate",
            _fraction(DQ.DO_NOT_USE),
            reduced="bad_fraction",
            checked=True,
        ),
    ),
    elements="detectors",
)
"""Quality figures of a rate image, and their checks."""

LIMITS = LimitsTable(RATE_QUALITY.checks, ("instrument", "detector", "exp_type", "filter"))
"""Keys of the file with the limits of the checks."""

LIMITS_FILE = "imager_quality.toml"


def judge_rate(image: ImageModel, chi2: float, n_free: int) -> dict[str, Any]:
    """Make the record of quality figures and verdicts of a rate image.

    Parameters
    ----------
    image : ImageModel
        The image.
    chi2 : float
        Sum of chi² over the pixels whose ramps neither jump nor saturate.
    n_free : int
        Sum of their degrees of freedom.

    Returns
    -------
    dict
        As :meth:`~cal_pipeline.core.quality.QualityScheme.judge` makes it; `ramp_chi2` is 1 where
        gain and read noise are true.
    """
    described = {name: image.meta.get(name) for name in ("instrument", "detector", "exp_type", "filter")}
    limits = LIMITS.read(cfg_folder() / LIMITS_FILE).for_data(described)
    measured = RATE_QUALITY.measure(RateStatistics(image.dq, chi2, n_free))
    return RATE_QUALITY.judge(measured, np.array([str(described["detector"] or "unknown")]), limits)
