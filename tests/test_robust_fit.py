"""What the robust fit of the water makes of spurs, of lines that the table does not hold, and of clean data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers_physics import Setup, fit_pwv

from cal_pipeline.simulate import WarmLayer

PWV = 0.7
AIRMASSES = (1.1, 1.3)
BOUNDS = (0.001, 10.0)
SPUR = 50.0
"""Mean strength of a spur at the receiver's input [K]."""

LINES = WarmLayer(220.0, tuple((459.3e9 + 0.7e9 * n, 20e6, 0.3) for n in range(5)))


@dataclass
class Spurred(Setup):
    """A receiver with interference in a fraction of its channels, in loads and sky, of another strength each time."""

    fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hit = np.random.default_rng(self.seed).uniform(size=self.n_channels) < self.fraction

    def observe(self, input_temperature, time, rng=None):
        spurs = self.hit * SPUR * rng.exponential(size=self.n_channels)
        return super().observe(input_temperature + spurs, time, rng)


def pulls(setups, robust=True, model_error=0.0):
    """(PWV - truth)/error of one fit under each receiver."""
    found = []
    for number, setup in enumerate(setups):
        view = setup.views(PWV, AIRMASSES, np.random.default_rng([7, number]), model_error)
        fit = fit_pwv([view], BOUNDS, 12, robust=robust)
        found.append((float(fit.pwv) - PWV) / float(fit.error))
    return np.array(found)


def under_lines(n_channels):
    """A receiver under a sky with five lines that the fit knows nothing of."""
    setup = Setup(n_channels=n_channels)
    unknown = {f"unknown_{side}": LINES.opacity(nu) for side, nu in (("s", setup.signal), ("i", setup.image))}
    setup.sky = replace(setup.sky, t_unknown=LINES.temperature, **unknown)
    return setup


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.01, 0.1])
def test_spurs_leave_the_water_within_its_error(fraction):
    setups = [Spurred(n_channels=512, fraction=fraction, seed=seed) for seed in range(60)]
    pull = pulls(setups)
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.25)
    assert np.abs(pull).max() < 3.5
    assert np.sqrt((pulls(setups[:10], robust=False) ** 2).mean()) > 5.0


def test_unknown_lines_leave_the_water_within_its_error():
    view = under_lines(512).views(PWV, AIRMASSES, np.random.default_rng(3))
    robust, plain = (fit_pwv([view], BOUNDS, 12, robust=choice) for choice in (True, False))
    assert abs(float(robust.pwv) - PWV) < 0.3 * float(robust.error_model)
    assert abs(float(plain.pwv) - PWV) > float(plain.error_model)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "fits", "limit"), [(256, 200, 1.02), (4096, 100, 1.035)])
def test_clean_data_scatter_little_more_than_without_weights(channels, fits, limit):
    # What a robust estimate adds to the best one is independent of it (Gauss-Markov): the root of the sum of the
    # squares is far better known than the ratio of two scatters. docs/accuracy.rst derives 1.3 % and 2.2 %.
    setups = [Setup(n_channels=channels)] * fits
    plain, robust = (pulls(setups, robust=choice) for choice in (False, True))
    assert np.hypot(1.0, (robust - plain).std() / plain.std()) < limit
