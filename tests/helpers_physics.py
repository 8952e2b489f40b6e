"""Counts of a receiver under a known sky, made by the simulator's forward model, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from helpers_atm import b_at, c_at

from cal_pipeline.heterodyne.physics.loads import LoadMeans, solve_loads
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.pwv import PwvSearch
from cal_pipeline.heterodyne.physics.sky import Air, Opacity, SkyDirection, Surroundings
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation, view_sky
from cal_pipeline.heterodyne.physics.strategies import STRATEGIES, FitSettings
from cal_pipeline.heterodyne.simulate.sky import SkyBand

PRESSURE = 55000.0


@dataclass
class Setup:
    """A receiver and its sky.

    Counts have shape (C, R, A); the gain is 1000 ct/K and the receiver temperature `t_rec` (DSB) everywhere.
    """

    n_channels: int = 128
    n_receivers: int = 1
    width: float = 1e6
    t_rec: float = 150.0
    t_hot: float = 293.0
    t_cold: float = 77.0
    t_ambient: float = 268.0
    efficiency: float = 0.95
    image_gain: float = 1.0
    load_time: float = 1.0
    off_time: float = 1.0
    band: float = 4e9

    def __post_init__(self) -> None:
        step = self.band / self.n_channels
        self.signal = 459e9 + step * np.arange(self.n_channels)
        self.image = 477e9 - step * np.arange(self.n_channels)
        bands = [self.signal] if self.image_gain == 0 else [self.signal, self.image]
        b, c = (np.stack([of(nu, PRESSURE) for nu in bands])[:, None] for of in (b_at, c_at))
        self.opacity = Opacity(b, c, np.zeros(1))
        self.sidebands = Sidebands(self.signal, self.image, self.image_gain)
        self.f_eff = np.array([self.efficiency])
        self.sky = SkyBand(
            self.signal,
            self.image,
            b[0, 0],
            c[0, 0],
            b[-1, 0],
            c[-1, 0],
            self.image_gain,
            self.f_eff,
            1.0,
            self.t_ambient,
            self.t_ambient,
        )

    def with_opacity_scaled(self, factor: float) -> Setup:
        """Build the receiver under a sky whose opacities are all `factor` times those that the fit assumes."""
        other, sky = replace(self), self.sky
        other.sky = replace(sky, b_s=factor * sky.b_s, c_s=factor * sky.c_s, b_i=factor * sky.b_i, c_i=factor * sky.c_i)
        return other

    def observe(self, input_temperature, time, rng=None):
        """Mean counts (C, R, A) on something of a given input temperature (C,), with noise if there is a `rng`."""
        system = self.t_rec + np.broadcast_to(input_temperature[:, None, None], (self.n_channels, self.n_receivers, 1))
        noise = 0.0 if rng is None else rng.normal(size=system.shape) / np.sqrt(self.width * time)
        return 1000.0 * system * (1.0 + noise)

    def loads(self, rng=None):
        """Means of the loads, and their solution."""
        times = np.full((self.n_channels, self.n_receivers, 1), self.load_time)
        hot, cold = (self.observe(self.sky.load(t)[:, 0], self.load_time, rng) for t in (self.t_hot, self.t_cold))
        means = LoadMeans(hot, cold, times, times, self.t_hot, self.t_cold)
        return means, solve_loads(means, self.sidebands, self.f_eff, 1.0, 0.01, 200.0)

    def views(self, pwv, airmasses, rng=None, model_error=0.03):
        """Build the input of the fit, for OFFs at some airmasses."""
        means, solution = self.loads(rng)
        off = [self.observe(self.sky.sky(pwv, x)[:, 0], self.off_time, rng) for x in airmasses]
        dumps = [np.ones(counts.shape, np.int32) for counts in off]
        around = Surroundings(self.t_ambient, self.t_ambient)
        air, hot = Air.around(self.sidebands, self.opacity, self.f_eff, around), solution.t_hot_input
        towards = [SkyDirection(air, x).against(hot) for x in airmasses]
        loads, sky = view_sky(off, dumps, [self.off_time] * len(off), towards, means, solution, self.width)
        return SkyObservation(loads, sky, model_error)


def fit_pwv(observations, bounds, grid_steps, per_pixel=False, robust=True):
    """Fit one PWV to all pixels and OFFs of the bands, or one to each pixel of the only band."""
    strategy = STRATEGIES["per_pixel" if per_pixel else "full"]
    return strategy(observations, [], FitSettings(PwvSearch(bounds, grid_steps, robust)))[0].fit
