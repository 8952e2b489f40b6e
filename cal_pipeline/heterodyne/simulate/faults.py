"""Faults of the instrument: drifts, missing dumps, dead channels, spurs."""

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
    """

    channel: int
    temperature: float
    width: int = 1
    kinds: tuple[Kind, ...] | None = None
    dumps: tuple[int, ...] | None = None
    receiver: int | None = None
    array: int | None = None
    band: int | None = None

    def __post_init__(self) -> None:
        require(self.channel >= 0 and self.width > 0, f"spur in channel {self.channel}, width {self.width}")


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
    """

    missing: tuple[MissingDumps, ...] = ()
    missing_fraction: float = 0.0
    dead: tuple[DeadChannels, ...] = ()
    spurs: tuple[Spur, ...] = ()

    def __post_init__(self) -> None:
        require(0.0 <= self.missing_fraction < 1.0, f"missing_fraction {self.missing_fraction} must be in [0, 1)")


def pick(index: int | None) -> slice:
    """Return the slice that selects one element of an axis, or all of it for None."""
    return slice(None) if index is None else slice(index, index + 1)
