"""Operation of the step ``prepare``: finds the reference of each ON."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.stream import Operation
from cal_pipeline.heterodyne.physics.switching import weighted_sum
from cal_pipeline.heterodyne.scan import Band
from cal_pipeline.heterodyne.stages import PairingStage
from cal_pipeline.steps.heterodyne.block import SpectrumBlock


class FindReference(Operation[SpectrumBlock]):
    """Find the counts to subtract from each ON: those of an OFF dump by dump, or of mean OFFs."""

    def __init__(self, band: Band, pairing: PairingStage) -> None:
        self._band, self._pairing = band, pairing

    def indexes(self, output: int) -> Iterable[int]:
        """Return the OFFs that are subtracted dump by dump."""
        return [self._pairing.off_of(on) for on in self._band.ons_of(output)] if self._pairing.per_dump else ()

    def apply(self, block: SpectrumBlock) -> None:
        """Find the reference of each ON of a spectrum."""
        for on in self._band.ons_of(block.output):
            if self._pairing.per_dump:
                block.references.append(np.asarray(block.samples[self._pairing.off_of(on)], np.float64))
            else:
                block.references.append(self._interpolate(on, block.rows))

    def _interpolate(self, on: int, channels: slice) -> NDArray[np.float64]:
        """Interpolate the mean OFFs to an ON, shape (c, R, A)."""
        pairing = self._pairing
        weights = pairing.weights[:, :, on]
        used = np.flatnonzero(weights.any(axis=(0, 1)))
        if not used.size:
            return np.full(pairing.off_mean[channels].shape[:3], np.nan)
        means = [
            self._band.without_drift(pairing.off_mean[channels, ..., k], int(pairing.off[k]), channels) for k in used
        ]
        return weighted_sum(means, weights[..., used])
