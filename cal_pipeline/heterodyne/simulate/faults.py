"""Faults of the instrument: drifts, missing dumps, dead and noisy channels, spurs, spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cal_pipeline.heterodyne.simulate.errors import require
from cal_pipeline.heterodyne.simulate.sequence import Kind


@dataclass(frozen=True)
class Drift:
    """Linear instability of the receiver, counted from the session's start.

    Both are constant inside a subscan, with the value at its middle, unless `per_dump`.

    Parameters
    ----------
    gain_per_hour : float
        Relative change of the gain [1/h].
    offset_per_hour : float
        Change of an additive offset, in K at the gain of the start [K/h].
    per_dump : bool
        Let them run on inside a subscan, dump by dump.
    """

    gain_per_hour: float = 0.0
    offset_per_hour: float = 0.0
    per_dump: bool = False


@dataclass(frozen=True)
class MissingDumps:
    """Dumps that were lost; `None` means all.

    Parameters
    ----------
    subscan : int
        Zero-based position in the group.
    dumps : tuple of int or None
        Affected dumps.
    receiver, array, band : int or None
        Affected pixels.
    group : {"source", "calibration"}
        Where.
    """

    subscan: int
    dumps: tuple[int, ...] | None = None
    receiver: int | None = None
    array: int | None = None
    band: int | None = None
    group: Literal["source", "calibration"] = "source"


@dataclass(frozen=True)
class DeadChannels:
    """Channels that deliver zero counts throughout; `None` means all.

    Parameters
    ----------
    start, stop : int
        Half-open range of channels.
    receiver, array, band : int or None
        Affected pixels.
    """

    start: int
    stop: int
    receiver: int | None = None
    array: int | None = None
    band: int | None = None

    def __post_init__(self) -> None:
        require(0 <= self.start < self.stop, f"dead channels {self.start} to {self.stop}: an empty range")


@dataclass(frozen=True)
class Spur:
    """Interference in a few channels; `None` means all.

    Parameters
    ----------
    channel : int
        First channel.
    temperature : float
        Strength at the receiver's input [K].
    width : int
        Number of channels.
    kinds : tuple of str or None
        In which phases: on, off, hot, cold, sky.
    dumps : tuple of int or None
        In which dumps.
    receiver, array, band : int or None
        Affected pixels.
    subscan : int or None
        Zero-based position in its group of the one affected subscan.

    Examples
    --------
    A spike in all channels of the second dump of the first OFF:

    >>> spike = Spur(0, temperature=80.0, width=1024, kinds=("off",), dumps=(1,), subscan=0)
    """

    channel: int
    temperature: float
    width: int = 1
    kinds: tuple[Kind, ...] | None = None
    dumps: tuple[int, ...] | None = None
    receiver: int | None = None
    array: int | None = None
    band: int | None = None
    subscan: int | None = None

    def __post_init__(self) -> None:
        require(self.channel >= 0 and self.width > 0, f"spur in channel {self.channel}, width {self.width}")


@dataclass(frozen=True)
class RandomSpurs:
    """Interference in channels drawn at random, each pixel its own; `None` means all.

    A channel stays hit for the whole session. The strength is drawn anew for each subscan.

    Parameters
    ----------
    fraction : float
        Chance of each channel to be hit.
    temperature : float
        Mean of the exponentially distributed strength at the receiver's input [K].
    kinds : tuple of str or None
        In which phases: on, off, hot, cold, sky.
    receiver, array, band : int or None
        Affected pixels.
    """

    fraction: float
    temperature: float
    kinds: tuple[Kind, ...] | None = None
    receiver: int | None = None
    array: int | None = None
    band: int | None = None

    def __post_init__(self) -> None:
        _check_fraction(self.fraction, "random spurs")
        require(self.temperature > 0.0, f"temperature {self.temperature} K of random spurs must be positive")


@dataclass(frozen=True)
class Spikes:
    """Interference in single samples drawn at random; `None` means all.

    Parameters
    ----------
    fraction : float
        Chance of each sample (channel, dump, pixel) to be hit.
    temperature : float
        Mean of the exponentially distributed strength at the receiver's input [K].
    kinds : tuple of str or None
        In which phases: on, off, hot, cold, sky.
    receiver, array, band : int or None
        Affected pixels.
    """

    fraction: float
    temperature: float
    kinds: tuple[Kind, ...] | None = ("hot", "cold", "off")
    receiver: int | None = None
    array: int | None = None
    band: int | None = None

    def __post_init__(self) -> None:
        _check_fraction(self.fraction, "spikes")
        require(self.temperature > 0.0, f"temperature {self.temperature} K of spikes must be positive")


@dataclass(frozen=True)
class NoisyChannels:
    """Channels with more noise than the radiometer equation gives; `None` means all.

    Parameters
    ----------
    factor : float
        Noise relative to that of the radiometer equation.
    start, stop : int, int or None
        Half-open range of channels; `stop` None: the end of the band.
    fraction : float
        Chance of each channel of the range to be affected, drawn once per pixel and session.
    receiver, array, band : int or None
        Affected pixels.
    """

    factor: float
    start: int = 0
    stop: int | None = None
    fraction: float = 1.0
    receiver: int | None = None
    array: int | None = None
    band: int | None = None

    def __post_init__(self) -> None:
        require(self.factor > 0.0, f"factor {self.factor} of noisy channels must be positive")
        _check_fraction(self.fraction, "noisy channels")
        empty = self.start < 0 or (self.stop is not None and self.stop <= self.start)
        require(not empty, f"noisy channels {self.start} to {self.stop}: an empty range")


@dataclass(frozen=True)
class Faults:
    """All faults of a scan.

    Parameters
    ----------
    missing : tuple of MissingDumps
        Dumps that were lost.
    missing_fraction : float
        Chance of each further dump of each pixel of the source group to be lost.
    dead : tuple of DeadChannels
        Channels without signal.
    spurs : tuple of Spur
        Interference.
    random_spurs : tuple of RandomSpurs
        Interference in channels drawn at random.
    spikes : tuple of Spikes
        Interference in single samples drawn at random.
    noisy : tuple of NoisyChannels
        Channels with too much noise.
    saturation_counts : float or None
        Largest count that the spectrometer delivers; None: no limit.
    """

    missing: tuple[MissingDumps, ...] = ()
    missing_fraction: float = 0.0
    dead: tuple[DeadChannels, ...] = ()
    spurs: tuple[Spur, ...] = ()
    random_spurs: tuple[RandomSpurs, ...] = ()
    spikes: tuple[Spikes, ...] = ()
    noisy: tuple[NoisyChannels, ...] = ()
    saturation_counts: float | None = None

    def __post_init__(self) -> None:
        limit = self.saturation_counts
        require(limit is None or limit > 0.0, f"saturation_counts {limit} must be positive")
        require(0.0 <= self.missing_fraction < 1.0, f"missing_fraction {self.missing_fraction} must be in [0, 1)")


def _check_fraction(fraction: float, what: str) -> None:
    require(0.0 <= fraction <= 1.0, f"fraction {fraction} of {what} must be between 0 and 1")


def pick(index: int | None) -> slice:
    """Return the slice that selects one element of an axis, or all of it for None."""
    return slice(None) if index is None else slice(index, index + 1)
