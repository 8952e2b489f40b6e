"""Imperfections: standing waves, imbalance of beams, offsets of chop phases, warm layers, clouds."""

from __future__ import annotations

import math
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

    As `Atmosphere.layer`, the lines are part of the opacity of the table, at most its dry part; the
    transmission of both layers together is that of the table. As `Atmosphere.unknown`, they add to
    it.

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

    def opacity(self, nu: Array, dry: float | Array = math.inf) -> Array:
        """Return the zenith opacity of the layer [Np], (C,), at `nu` [Hz], at most `dry` [Np]."""
        total = np.zeros(nu.shape)
        for centre, width, depth in self.lines:
            total += depth / (1.0 + (2.0 * (nu - centre) / width) ** 2)
        return np.asarray(np.minimum(total, dry))


@dataclass(frozen=True)
class Cloud:
    """Water that comes within a scan: a Gaussian passage or a jump.

    The values are those at the middle of a subscan.

    Parameters
    ----------
    time_s : float
        Middle of the passage, or time of the jump, after the session's start [s].
    fwhm_s : float or None
        Full width at half maximum of the passage [s]; None: a jump that lasts to the end.
    pwv_mm : float
        Water vapour that it adds [mm]; negative: a dry patch.
    opacity : float
        Zenith opacity of liquid water or ice that it adds, the same at all frequencies [Np].

    Examples
    --------
    >>> cloud = Cloud(time_s=36.0, fwhm_s=36.0, opacity=0.1)
    >>> [round(cloud.amplitude(hours), 3) for hours in (0.0, 0.005, 0.01)]
    [0.062, 0.5, 1.0]
    """

    time_s: float
    fwhm_s: float | None = None
    pwv_mm: float = 0.0
    opacity: float = 0.0

    def __post_init__(self) -> None:
        require(self.fwhm_s is None or self.fwhm_s > 0.0, f"fwhm_s {self.fwhm_s} of a cloud must be positive")
        require(self.opacity >= 0.0, f"opacity {self.opacity} of a cloud must not be negative")

    def amplitude(self, hours: float) -> float:
        """Return the share of the cloud that is there, `hours` after the session's start."""
        seconds = 3600.0 * hours - self.time_s
        if self.fwhm_s is None:
            return 1.0 if seconds >= 0.0 else 0.0
        return math.exp(-4.0 * math.log(2.0) * (seconds / self.fwhm_s) ** 2)


def _ripple(offset_hz: Array, period_hz: float | None, phase_rad: float) -> Array:
    if period_hz is None:
        return np.ones(offset_hz.shape)
    return np.asarray(np.cos(2.0 * np.pi * offset_hz / period_hz + phase_rad))
