"""Faults of the instrument: drifts and jumps, missing dumps, dead and noisy channels, spurs, spikes."""

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

    Examples
    --------
    Counts on a load after an hour, with a gain that rises by 2 %/h:

    >>> import zarr
    >>> from cal_pipeline.simulate import Drift, Scan, preset, simulate
    >>> scans = (Scan(), Scan(gap_s=3600.0))
    >>> drift = Drift(gain_per_hour=0.02)
    >>> written = simulate(preset("ccat_chai", channels=8, pixels=1, scans=scans, drift=drift), "drift.zarr")
    >>> counts = [zarr.open_array("drift.zarr", path=f"scan_00000{n}/calibration/data_5d")[...] for n in (1, 2)]
    >>> f"{counts[1][..., 0].mean() / counts[0][..., 0].mean() - 1.0:.2f}"
    '0.02'
    """

    gain_per_hour: float = 0.0
    offset_per_hour: float = 0.0
    per_dump: bool = False


@dataclass(frozen=True)
class GainJump:
    """A gain that changes from one subscan to the next; `None` means all.

    Parameters
    ----------
    change : float
        Relative change, to the end of the scan.
    subscan : int
        Zero-based position in the group of the first subscan that has it.
    group : {"source", "calibration"}
        Where it happens; one in the calibration group lasts through the source group.
    receiver, array, band : int or None
        Affected pixels.

    Examples
    --------
    After the loads the gain is 1 % higher, and so is all that is calibrated with them:

    >>> from cal_pipeline.simulate import Faults, GainJump, preset, simulate
    >>> faults = Faults(gain_jumps=(GainJump(change=0.01),))
    >>> simulate(preset("ccat_chai", channels=8, pixels=1, faults=faults), "jump.zarr").scans
    (1,)
    """

    change: float
    subscan: int = 0
    group: Literal["source", "calibration"] = "source"
    receiver: int | None = None
    array: int | None = None
    band: int | None = None

    def __post_init__(self) -> None:
        require(self.change > -1.0, f"change {self.change} of the gain must be above -1")


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

    Examples
    --------
    >>> from cal_pipeline.simulate import Faults, MissingDumps, preset, read_truth, simulate
    >>> faults = Faults(missing=(MissingDumps(subscan=1, dumps=(0, 3)),))
    >>> written = simulate(preset("ccat_chai", channels=8, pixels=1, faults=faults), "missing.zarr")
    >>> read_truth("missing.zarr", scan=1).missing[:, 0, 0, 1].tolist()
    [True, False, False, True]
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

    Examples
    --------
    >>> from cal_pipeline.simulate import DeadChannels, Faults, preset, read_truth, simulate
    >>> faults = Faults(dead=(DeadChannels(start=2, stop=4),))
    >>> written = simulate(preset("ccat_chai", channels=8, pixels=1, faults=faults), "dead.zarr")
    >>> read_truth("dead.zarr", scan=1).dead.ravel().nonzero()[0].tolist()
    [2, 3]
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
    Interference in the ONs alone, as strong as the system itself:

    >>> from cal_pipeline import CalibrationPipeline
    >>> from cal_pipeline.simulate import Faults, Spur, preset, simulate
    >>> faults = Faults(spurs=(Spur(channel=5, temperature=200.0, kinds=("on",)),))
    >>> written = simulate(preset("ccat_chai", channels=64, pixels=1, lines=(), faults=faults), "spur.zarr")
    >>> scan = CalibrationPipeline.call("spur.zarr", output_file="spur_l1.zarr").open_scan(1)
    >>> int(scan.spectra.mean(("dump", "receiver", "array", "subscan")).argmax("channel"))
    5

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

    Examples
    --------
    About one channel in ten, in every pixel others:

    >>> from cal_pipeline.simulate import Faults, RandomSpurs, preset, read_truth, simulate
    >>> faults = Faults(random_spurs=(RandomSpurs(fraction=0.1, temperature=50.0),))
    >>> written = simulate(preset("ccat_chai", channels=2000, pixels=1, faults=faults), "spurs.zarr")
    >>> f"{read_truth('spurs.zarr', scan=1).spurred.mean():.1f}"
    '0.1'
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

    Examples
    --------
    One sample in a thousand of loads and OFFs:

    >>> from cal_pipeline.simulate import Faults, Spikes, preset, read_truth, simulate
    >>> faults = Faults(spikes=(Spikes(fraction=1e-3, temperature=500.0),))
    >>> written = simulate(preset("ccat_chai", channels=64, pixels=1, faults=faults), "spikes.zarr")
    >>> read_truth("spikes.zarr", scan=1).parameters["faults"]["spikes"][0]["kinds"]
    ['hot', 'cold', 'off']
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

    Examples
    --------
    >>> from cal_pipeline.simulate import Faults, NoisyChannels, preset, read_truth, simulate
    >>> faults = Faults(noisy=(NoisyChannels(factor=3.0, start=10, stop=12),))
    >>> written = simulate(preset("ccat_chai", channels=16, pixels=1, faults=faults), "noisy.zarr")
    >>> read_truth("noisy.zarr", scan=1).noise_factor[8:14, 0, 0].tolist()
    [1.0, 1.0, 3.0, 3.0, 1.0, 1.0]
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
    gain_jumps : tuple of GainJump
        Gains that change.

    Examples
    --------
    >>> from cal_pipeline.simulate import Faults, preset, read_truth, simulate
    >>> config = preset("ccat_chai", channels=8, mode="otf", faults=Faults(missing_fraction=0.1))
    >>> written = simulate(config, "losses.zarr")
    >>> f"{read_truth('losses.zarr', scan=1).missing.mean():.1f}"
    '0.1'
    """

    missing: tuple[MissingDumps, ...] = ()
    missing_fraction: float = 0.0
    dead: tuple[DeadChannels, ...] = ()
    spurs: tuple[Spur, ...] = ()
    random_spurs: tuple[RandomSpurs, ...] = ()
    spikes: tuple[Spikes, ...] = ()
    noisy: tuple[NoisyChannels, ...] = ()
    saturation_counts: float | None = None
    gain_jumps: tuple[GainJump, ...] = ()

    def __post_init__(self) -> None:
        limit = self.saturation_counts
        require(limit is None or limit > 0.0, f"saturation_counts {limit} must be positive")
        require(0.0 <= self.missing_fraction < 1.0, f"missing_fraction {self.missing_fraction} must be in [0, 1)")


def _check_fraction(fraction: float, what: str) -> None:
    require(0.0 <= fraction <= 1.0, f"fraction {fraction} of {what} must be between 0 and 1")


def pick(index: int | None) -> slice:
    """Return the slice that selects one element of an axis, or all of it for None."""
    return slice(None) if index is None else slice(index, index + 1)
