"""Block of a spectrum on its way from counts to antenna temperature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.stream import Block

Floats = NDArray[np.float64]


class Dumps(NamedTuple):
    """Calibrated dumps, with what is wrong with them.

    Parameters
    ----------
    kelvin : ndarray, shape (c, D, R, A)
        T_A* [K], NaN where flagged; 32-bit floats where it is rounded to its noise already.
    flags : ndarray of uint16, shape (c, D, R, A)
        BAD_CHANNEL and FILL_VALUE; not to be written to. Flags of whole channels are added when
        they are written.
    missing : ndarray of bool, shape (c, D, R, A), or None
        True for missing samples; None if there are none.
    """

    kelvin: NDArray[np.floating[Any]]
    flags: NDArray[np.uint16]
    missing: NDArray[np.bool_] | None


@dataclass
class SpectrumBlock(Block):
    """Block of one spectrum; its samples are the counts (c, D, R, A) of subscans.

    Parameters
    ----------
    references : list of ndarray, shape (c, R, A) or (c, D, R, A)
        Counts to subtract from each ON of the spectrum, from the step ``prepare`` [ct].
    dumps : list of Dumps
        Calibrated dumps of each ON, from the step ``calibrate``; one item once beams are merged.
    chop_differences : ndarray, shape (c, D - 1, R, A), or None
        Differences of chop phases, from the step ``skychopdiff`` [K].
    """

    references: list[Floats] = field(default_factory=list)
    dumps: list[Dumps] = field(default_factory=list)
    chop_differences: Floats | None = None
