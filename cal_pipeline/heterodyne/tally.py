"""Statistics of the samples of a band."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.mean_spectrum import MeanSpectrum


@dataclass
class Tally:
    """Statistics of a band, collected while its samples are streamed.

    Parameters
    ----------
    n_samples : int
        Number of samples of a pixel.
    flagged : dict
        Number of samples of each pixel, (R, A), with each flag by its name; ``""`` for any.
    n_blank : ndarray of int, shape (R, A), or None
        Number of samples of each pixel that are NaN.
    probe : ndarray of float32, shape (C, R, A, S_out), or None
        T_A* of the middle dump of each ON [K].
    n_implausible : ndarray of int, shape (R, A), or None
        Number of samples of each pixel whose power no sky makes.
    n_repeated : ndarray, shape (R, A), or None
        Number of dumps of each pixel that equal the dump before.
    dump_jump : ndarray, shape (R, A), or None
        Largest relative change of power from a dump or an ON to those beside it.
    mean : MeanSpectrum or None
        Mean of `probe` over the ONs, once the figures are computed.
    """

    n_samples: int = 0
    flagged: dict[str, Any] = field(default_factory=dict)
    n_blank: NDArray[np.int64] | None = None
    probe: NDArray[np.float32] | None = None
    n_implausible: NDArray[np.int64] | None = None
    n_repeated: NDArray[np.float64] | None = None
    dump_jump: NDArray[np.float64] | None = None
    mean: MeanSpectrum | None = None
