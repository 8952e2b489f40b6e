"""Faults of a night: what is wrong with the sky, the instrument, the file or the settings of the calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from helpers_l0 import write_array

from cal_pipeline.heterodyne.simulate.presets import CCAT_LAYERS
from cal_pipeline.simulate import (
    Atmosphere,
    Cloud,
    DeadChannels,
    Drift,
    Faults,
    GainJump,
    Line,
    Loads,
    MissingDumps,
    NoisyChannels,
    RandomSpurs,
    Scan,
    SessionConfig,
    SkyWave,
    Source,
    Spikes,
    Spur,
    StandingWave,
    TotalPower,
    WarmLayer,
    preset,
)

Tamper = Callable[[Path], None]

CHANNELS = 512
SCANS = 2
DUMPS = 4
LINE = Line(25.0, fwhm_hz=150e6)
SKY = Atmosphere(pwv_mm=0.5, layers=CCAT_LAYERS)

NIGHT = preset(
    "ccat_chai",
    channels=CHANNELS,
    pixels=4,
    scans=SCANS,
    atmosphere=SKY,
    lines=(LINE,),
    source=Source(elevation_deg=55.0),
    sequence=TotalPower(pattern=("OFF", "ON", "ON", "OFF"), cycles=2, dumps=DUMPS),
    loads=Loads(exptime=5.0),
    seed=14,
)
"""The night that the faults befall: two scans, each with its loads, of four pixels of CHAI at 461 GHz."""

STEPS: dict[str, dict[str, Any]] = {"loads": {"forward_efficiency": 0.95}}
"""Settings of the steps that suit the night."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Parameters
    ----------
    name : str
        What is wrong, as the table says it.
    changes : dict
        Fields of the session that differ from those of `NIGHT`.
    steps : dict
        Settings of the steps that differ from `STEPS`.
    tamper : callable, optional
        Changes the written session.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tamper: Tamper | None = None

    @property
    def config(self) -> SessionConfig:
        """The session."""
        return replace(NIGHT, **self.changes)


def _sky(**changes: Any) -> dict[str, Any]:
    return {"atmosphere": replace(SKY, **changes)}


def _layers(**changes: Any) -> dict[str, Any]:
    return _sky(layers=replace(CCAT_LAYERS, **changes))


def _faults(**what: Any) -> dict[str, Any]:
    return {"faults": Faults(**what)}


def _receiver(**changes: Any) -> dict[str, Any]:
    return {"receivers": (replace(NIGHT.receivers[0], **changes),)}


def _loads(**changes: Any) -> dict[str, Any]:
    return {"loads": replace(NIGHT.loads, **changes)}


def _pattern(*pattern: str) -> dict[str, Any]:
    return {"sequence": TotalPower(pattern=pattern, cycles=2, dumps=DUMPS)}


def _edit(name: str, change: Callable[[Any], Any], *groups: str) -> Tamper:
    """Change an array of both groups of all scans, or of those named."""

    def tamper(session: Path) -> None:
        for scan in sorted(session.glob("scan_*")):
            for group in groups or ("calibration", "source"):
                if (scan / group / name).is_dir():
                    opened = zarr.open_group(scan / group, mode="r")
                    write_array(opened, name, change(opened[name][...]))

    return tamper


def _rename(old: str, new: str, position: int | None = None) -> Callable[[Any], list[str]]:
    """Rename a phase: all of that name, or the one at a position."""

    def change(names: Any) -> list[str]:
        return [new if name == old and position in (None, i) else str(name) for i, name in enumerate(names)]

    return change


def _jump(**where: Any) -> dict[str, Any]:
    return _faults(gain_jumps=(GainJump(0.05, **where),))


NO_LOADS = Scan(loads=Loads(pattern=()))
PASSING = (Cloud(80.0, 60.0, opacity=0.1), Cloud(220.0, 60.0, opacity=0.1))
TELLURIC = WarmLayer(220.0, tuple((461.04e9 + offset, 40e6, 0.3) for offset in (-1.6e9, -0.9e9, -0.3e9, 0.6e9, 1.3e9)))
IMAGE_LINE = Line(25.0, freq_hz=461.0407682e9, fwhm_hz=150e6)
AT_473_GHZ = _receiver(signal_freq=473.0407682e9, image_freq=461.0407682e9)
"""The sidebands exchanged: CO(4-3) is in the image."""

FAULTS = (
    Fault("none"),
    # Gain and receiver
    Fault("gain drifts by 5 % in a scan, loads after it", {"drift": Drift(gain_per_hour=1.8)}),
    Fault("gain drifts by 5 % in a scan, no loads after it", {"drift": Drift(gain_per_hour=1.8), "scans": (Scan(),)}),
    Fault("gain jumps by 5 % in mid-scan", _jump(subscan=4)),
    Fault("gain jumps by 5 % between loads and sky", _jump()),
    Fault("gain of one pixel jumps by 5 % in mid-scan", _jump(subscan=4, receiver=2)),
    Fault(
        "loads 50 minutes old, gain drifts by 3 % an hour",
        {"drift": Drift(gain_per_hour=0.03), "scans": (Scan(), replace(NO_LOADS, gap_s=3000.0))},
    ),
    Fault(
        "receiver temperature 30 % higher in the fourth scan",
        {"scans": (Scan(), Scan(), Scan(), Scan(**_receiver(t_rec_dsb=1.3 * NIGHT.receivers[0].t_rec_dsb)))},
    ),
    Fault("receiver 5 K noisier after the loads", _faults(spurs=(Spur(0, 5.0, CHANNELS, ("on", "off")),))),
    Fault("noise of all channels twice that of the radiometer equation", _faults(noisy=(NoisyChannels(2.0),))),
    # Efficiencies and temperatures
    Fault("forward efficiency 0.90, taken as 0.95", _receiver(forward_efficiency=0.90)),
    Fault("forward efficiency 0.95, given as 1", steps={"loads": {"forward_efficiency": 1.0}}),
    Fault(
        "forward efficiency 0.95, not given, frontend unknown",
        _receiver(name="TEST"),
        steps={"loads": {"forward_efficiency": None}},
    ),
    Fault("spillover 20 K colder than the air", _sky(t_spill=248.0)),
    Fault("air 5 K colder than tamb", _layers(t_ground=263.0)),
    Fault("air 5 K warmer than tamb", _layers(t_ground=273.0)),
    Fault("lapse rate of 7.5 K/km", _layers(lapse_rate=7.5)),
    Fault("inversion: 10 K warmer 1 km above the telescope", _layers(lapse_rate=-10.0, tropopause_km=1.0)),
    Fault("hot load 5 K warmer than recorded", _loads(hot_offset=5.0)),
    Fault("cold load 5 K warmer than recorded", _loads(cold_offset=5.0)),
    Fault("hot load fills 95 % of the beam", _loads(hot_coupling=0.95)),
    Fault("cold load fills 95 % of the beam", _loads(cold_coupling=0.95)),
    Fault("tamb 5 K too high", tamper=_edit("tamb", lambda t: t + np.float32(5.0))),
    Fault("tamb in °C", tamper=_edit("tamb", lambda t: t - np.float32(273.15))),
    # Sidebands
    Fault("image gain 0.8, taken as 1", _receiver(image_gain=0.8)),
    Fault(
        "tuned to 473 GHz, CO(4-3) in the image sideband",
        AT_473_GHZ | {"lines": (replace(LINE, freq_hz=472.0407682e9), IMAGE_LINE)},
    ),
    Fault("frequency axis off by 100 MHz", tamper=_edit("freq_off", lambda f: f + 100e6)),
    Fault("frequency axis reversed", tamper=_edit("freq_res", lambda f: -f)),
    # Source and sky
    Fault("source in the OFF, a tenth as bright", {"lines": (replace(LINE, off_amplitude=0.1),)}),
    Fault("dry opacity 20 % higher", _sky(dry_factor=1.2)),
    Fault("five lines that the table does not hold", _sky(unknown=TELLURIC)),
    Fault("water drifts by 0.1 mm in a scan", _sky(pwv_per_hour=3.6)),
    Fault("water jumps by 0.1 mm in mid-scan", _sky(clouds=(Cloud(70.0, pwv_mm=0.1), Cloud(190.0, pwv_mm=-0.1)))),
    Fault("water rises by 0.1 mm over the pixels", _sky(pwv_per_deg=0.1 / 0.0225)),
    Fault("clouds of 0.1 Np pass", _sky(clouds=PASSING)),
    Fault("cloud of 0.1 Np all night", _sky(clouds=(Cloud(-1.0, opacity=0.1),))),
    Fault("elevation 5° too high", tamper=_edit("elevation", lambda e: e + np.float32(np.radians(5.0)))),
    Fault("pamb 5 % too low", tamper=_edit("pamb", lambda p: np.float32(0.95) * p)),
    Fault("pamb in hPa", tamper=_edit("pamb", lambda p: np.float32(1.33322) * p)),
    # Standing waves
    Fault(
        "standing wave on the gain, 3 %, stable",
        _receiver(standing_waves=(StandingWave(period_hz=200e6, gain_amplitude=0.03),)),
    ),
    Fault("standing wave on the sky, 1 K, stable", {"sky_waves": (SkyWave(200e6, 1.0),)}),
    Fault("standing wave on the sky, 1 K, moves", {"sky_waves": (SkyWave(200e6, 1.0, phase_per_hour=200.0),)}),
    # Channels and samples
    Fault("5 % of the channels five times as noisy", _faults(noisy=(NoisyChannels(5.0, fraction=0.05),))),
    Fault("10 % of the channels dead", _faults(dead=(DeadChannels(80, 131),))),
    Fault("one pixel dead", _faults(dead=(DeadChannels(0, CHANNELS, receiver=1),))),
    Fault("spurs of 50 K in 1 % of the channels", _faults(random_spurs=(RandomSpurs(0.01, 50.0),))),
    Fault("spurs of 50 K in 10 % of the channels", _faults(random_spurs=(RandomSpurs(0.1, 50.0),))),
    Fault("spikes of 500 K in 0.3 % of the samples of OFFs", _faults(spikes=(Spikes(0.003, 500.0, ("off",)),))),
    Fault("spikes of 500 K in 0.3 % of the samples of loads", _faults(spikes=(Spikes(0.003, 500.0, ("hot", "cold")),))),
    Fault("one dump of the hot load 60 K too low", _faults(spurs=(Spur(0, -60.0, CHANNELS, ("hot",), (1,)),))),
    Fault("spectrometer saturates on the hot load", _faults(saturation_counts=6.5e6)),
    Fault(
        "hot load at the largest 32-bit count in some pixels",
        _receiver(counts_per_kelvin=5.5e6) | _faults(saturation_counts=2.0**31 - 1.0),
    ),
    Fault("10 % of the dumps missing", _faults(missing_fraction=0.1)),
    Fault("one OFF missing", _faults(missing=(MissingDumps(3),))),
    # Sequence and file
    Fault("no OFF after the ONs", _pattern("OFF", "ON", "ON")),
    Fault("one OFF of a scan, before the ONs", {"sequence": TotalPower(("OFF", "ON", "ON"), dumps=DUMPS)}),
    Fault("an OFF misspelt", tamper=_edit("sobsmode", _rename("OFF", "OF", 3), "source")),
    Fault("an ON called OFF", tamper=_edit("sobsmode", _rename("ON", "OFF", 1), "source")),
    Fault("cold load misspelt", tamper=_edit("sobsmode", _rename("COL", "CLOD"), "calibration")),
    Fault("hot and cold load exchanged", tamper=_edit("sobsmode", lambda n: list(n[::-1]), "calibration")),
    Fault("freq_res twice too large", tamper=_edit("freq_res", lambda f: 2.0 * f)),
    Fault("exptime twice too large", tamper=_edit("exptime", lambda t: np.float32(2.0) * t)),
)
"""Faults, each with the name under which the table lists it."""
