"""Imperfections: standing waves, imbalance of the beams, offsets of chop phases, a warm layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.errors import require

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SkyWave:
    """A standing wave on the sky signal, in ONs and OFFs alike, with a phase linear in time.

    Parameters
    ----------
    period_hz : float
        c/(2·distance) [Hz].
    amplitude : float
        At the receiver's input [K].
    phase_rad, phase_per_hour : float
        Phase at the reference frequency of the signal sideband at the session's start [rad] and its
        change [rad/h].

    Examples
    --------
    >>> wave = SkyWave(period_hz=100e6, amplitude=0.5)
    >>> wave.temperature(np.array([0.0, 50e6, 100e6]), hours=0.0).round(6).tolist()
    [0.5, -0.5, 0.5]
    """

    period_hz: float
    amplitude: float
    phase_rad: float = 0.0
    phase_per_hour: float = 0.0

    def __post_init__(self) -> None:
        require(self.period_hz > 0.0, f"period_hz {self.period_hz} must be positive")

    def temperature(self, offset_hz: Array, hours: float) -> Array:
        """Return the added temperature [K], shape (C,).

        `offset_hz` is relative to the reference frequency, `hours` to the session's start.
        """
        phase = 2.0 * np.pi * offset_hz / self.period_hz + self.phase_rad + self.phase_per_hour * hours
        return np.asarray(self.amplitude * np.cos(phase))


@dataclass(frozen=True)
class Imbalance:
    """A difference between the beams of a chopper, added to ONs of beam A, subtracted from B.

    Parameters
    ----------
    temperature : float
        At the receiver's input [K].
    period_hz : float or None
        Period of a cosine in frequency; None: the same at all frequencies.
    phase_rad : float
        Its phase at the reference frequency of the signal sideband.

    Examples
    --------
    >>> Imbalance(2.0).profile(np.array([0.0, 1e9])).tolist()  # in beam A, and -2 K in beam B
    [2.0, 2.0]
    """

    temperature: float
    period_hz: float | None = None
    phase_rad: float = 0.0

    def __post_init__(self) -> None:
        require(self.period_hz is None or self.period_hz > 0.0, f"period_hz {self.period_hz} must be positive")

    def profile(self, offset_hz: Array) -> Array:
        """Return the temperature added to ONs of beam A [K], shape (C,).

        `offset_hz` is relative to the reference frequency.
        """
        return np.asarray(self.temperature * _ripple(offset_hz, self.period_hz, self.phase_rad))


@dataclass(frozen=True)
class ChopPhaseOffset:
    """Offsets between the phases of a chop, in ONs and OFFs alike.

    Parameters
    ----------
    temperatures : tuple of float
        Offset of each dump at the receiver's input [K].
    period_hz : float or None
        Period of a cosine in frequency; None: the same at all frequencies.
    phase_rad : float
        Its phase at the reference frequency of the signal sideband.

    Examples
    --------
    >>> ChopPhaseOffset((0.0, 1.0, 0.0, -1.0)).profile(np.array([0.0, 1e9])).tolist()
    [[0.0, 1.0, 0.0, -1.0], [0.0, 1.0, 0.0, -1.0]]
    """

    temperatures: tuple[float, ...]
    period_hz: float | None = None
    phase_rad: float = 0.0

    def __post_init__(self) -> None:
        require(self.period_hz is None or self.period_hz > 0.0, f"period_hz {self.period_hz} must be positive")

    def profile(self, offset_hz: Array) -> Array:
        """Return the temperature added to each dump [K], shape (C, D).

        `offset_hz` is relative to the reference frequency.
        """
        ripple = _ripple(offset_hz, self.period_hz, self.phase_rad)
        return np.asarray(np.multiply.outer(ripple, np.array(self.temperatures)))


@dataclass(frozen=True)
class WarmLayer:
    """A layer of narrow lines above the rest of the atmosphere, at a temperature of its own.

    The lines are part of the opacity of the table, at most its dry part; the transmission of both
    layers together is that of the table.

    Parameters
    ----------
    temperature : float
        [K].
    lines : tuple of (float, float, float)
        Sky frequency [Hz], full width at half maximum [Hz] and zenith opacity at the centre [Np] of
        each.

    Examples
    --------
    A line of ozone, half as opaque at half its width from the centre, and never more than dry air is:

    >>> layer = WarmLayer(250.0, lines=((461e9, 10e6, 0.5),))
    >>> layer.opacity(np.array([461e9, 461.005e9]), dry=np.array([0.25, 0.5])).round(6).tolist()
    [0.25, 0.25]
    """

    temperature: float
    lines: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        require(self.temperature > 0.0, f"temperature {self.temperature} K of the layer must be positive")
        require(
            all(width > 0.0 and depth >= 0.0 for _, width, depth in self.lines),
            f"lines {self.lines} of the layer: widths must be positive, opacities not negative",
        )

    def opacity(self, nu: Array, dry: Array) -> Array:
        """Return the zenith opacity of the layer [Np], (C,), at `nu` [Hz], at most `dry` [Np]."""
        total = np.zeros(nu.shape)
        for centre, width, depth in self.lines:
            total += depth / (1.0 + (2.0 * (nu - centre) / width) ** 2)
        return np.minimum(total, dry)


def _ripple(offset_hz: Array, period_hz: float | None, phase_rad: float) -> Array:
    if period_hz is None:
        return np.ones(offset_hz.shape)
    return np.asarray(np.cos(2.0 * np.pi * offset_hz / period_hz + phase_rad))
