"""Telescopes and receivers to start from. The figures are typical, not those of an actual night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from cal_pipeline.heterodyne.simulate.conditions import Atmosphere
from cal_pipeline.heterodyne.simulate.config import (
    GaussianSource,
    Line,
    Receiver,
    Scan,
    SessionConfig,
    Source,
    StandingWave,
    Telescope,
)
from cal_pipeline.heterodyne.simulate.errors import SimulationError, require
from cal_pipeline.heterodyne.simulate.layers import Layers
from cal_pipeline.heterodyne.simulate.pointing import hexagon, square_grid
from cal_pipeline.heterodyne.simulate.sequence import Loads, Otf, OtfChopped, Sequence, TotalPower

CCAT = Telescope("CCAT", "ccat", latitude_deg=-22.985917, pressure_pa=51500.0, t_ambient=268.0)
SOFIA = Telescope("SOFIA", "sofia", latitude_deg=38.0, pressure_pa=17900.0, t_ambient=217.0)
GBT = Telescope("GBT", "gbt", latitude_deg=38.433, pressure_pa=93220.0, t_ambient=261.0)

CCAT_LAYERS = Layers(lapse_rate=5.6, wet_scale_km=1.4, ozone_fraction=0.25)
SOFIA_LAYERS = Layers(lapse_rate=-0.27, tropopause_km=30.0, wet_scale_km=3.5, dry_scale_km=3.9)
GBT_LAYERS = Layers(lapse_rate=5.6, wet_scale_km=1.75)
"""Skies finer than the shipped tables, with the mean temperatures that these have for wet and dry opacity."""

CHAI_460 = Receiver(
    name="CHAI_LFA",
    arrays=("CHAI",),
    pixel_offsets_deg=square_grid(8, 0.0075),
    signal_freq=461.0407682e9,
    image_freq=473.0407682e9,
    bandwidth=4.0e9,
    channels=8192,
    line="CO4-3",
    forward_efficiency=0.95,
    t_rec_dsb=90.0,
    standing_waves=(StandingWave(period_hz=120e6, gain_amplitude=0.01),),
)
"""CHAI's 64 pixels at CO(4-3)."""

CHAI_810 = replace(
    CHAI_460,
    name="CHAI_HFA",
    pixel_offsets_deg=square_grid(8, 0.0043),
    signal_freq=809.341970e9,
    image_freq=797.341970e9,
    line="CI2-1",
    t_rec_dsb=220.0,
)
"""CHAI's 64 pixels at [CI] 2-1."""

UPGREAT_LFA = Receiver(
    name="LFA",
    arrays=("LFAH", "LFAV"),
    pixel_offsets_deg=hexagon(0.0088),
    signal_freq=1900.5369e9,
    image_freq=1903.9369e9,
    bandwidth=2.5e9,
    channels=8192,
    line="CII",
    forward_efficiency=0.97,
    t_rec_dsb=650.0,
    standing_waves=(StandingWave(period_hz=90e6, gain_amplitude=0.01),),
)
"""upGREAT's two polarisations of seven pixels at [CII]."""

UPGREAT_HFA = replace(
    UPGREAT_LFA,
    name="HFA",
    arrays=("HFAV",),
    pixel_offsets_deg=hexagon(0.0038),
    signal_freq=4744.77749e9,
    image_freq=4747.17749e9,
    bandwidth=2.0e9,
    line="OI",
    t_rec_dsb=1100.0,
)
"""upGREAT's seven pixels at [OI]."""

GBT_WBAND = Receiver(
    name="Rcvr68_92",
    arrays=("WB",),
    pixel_offsets_deg=((-0.0397, 0.0), (0.0397, 0.0)),
    signal_freq=87.2285e9,
    image_freq=87.2285e9,
    bandwidth=1.5e9,
    channels=16384,
    line="HNC1-0",
    image_gain=0.0,
    forward_efficiency=0.98,
    t_rec_dsb=90.0,
    counts_per_kelvin=1.0e6,
)
"""The two single-sideband beams of the GBT's W-band receiver."""

_SOFIA_LOADS = Loads(t_hot=295.0, t_cold=90.0)
_SOFIA_SOURCE = Source(name="SIM-S106", ra_deg=306.9, dec_deg=37.4, hour_angle_h=-3.0)


def _line(receiver: Receiver, t_peak: float, fwhm_kms: float, fwhm_deg: float) -> Line:
    return Line(t_peak, fwhm_hz=receiver.signal_freq * fwhm_kms / 299792.458, source=GaussianSource(fwhm_deg=fwhm_deg))


def _ccat_chai() -> SessionConfig:
    return SessionConfig(
        telescope=CCAT,
        receivers=(CHAI_460,),
        source=Source(name="SIM-ORION", ra_deg=83.82, dec_deg=-5.39, hour_angle_h=-1.5),
        loads=Loads(t_hot=293.0, t_cold=77.0),
        atmosphere=Atmosphere(pwv_mm=0.5, layers=CCAT_LAYERS),
        lines=(_line(CHAI_460, 25.0, 6.0, 0.03),),
    )


def _ccat_chai_810() -> SessionConfig:
    return replace(_ccat_chai(), receivers=(CHAI_810,), lines=(_line(CHAI_810, 12.0, 5.0, 0.02),))


def _ccat_chai_dual() -> SessionConfig:
    lines = (
        _line(CHAI_460, 25.0, 6.0, 0.03),
        replace(_line(CHAI_810, 12.0, 5.0, 0.02), freq_hz=CHAI_810.signal_freq),
    )
    return replace(_ccat_chai(), receivers=(CHAI_460, CHAI_810), lines=lines)


def _sofia_lfa() -> SessionConfig:
    return SessionConfig(
        telescope=SOFIA,
        receivers=(UPGREAT_LFA,),
        source=_SOFIA_SOURCE,
        loads=_SOFIA_LOADS,
        atmosphere=Atmosphere(pwv_mm=0.008, layers=SOFIA_LAYERS),
        lines=(_line(UPGREAT_LFA, 30.0, 5.0, 0.02),),
    )


def _sofia_hfa() -> SessionConfig:
    return replace(_sofia_lfa(), receivers=(UPGREAT_HFA,), lines=(_line(UPGREAT_HFA, 25.0, 5.0, 0.01),))


def _gbt_wband() -> SessionConfig:
    return SessionConfig(
        telescope=GBT,
        receivers=(GBT_WBAND,),
        source=Source(name="SIM-M82", ra_deg=148.97, dec_deg=69.68, hour_angle_h=-3.0),
        loads=Loads(pattern=("HOT", "COLD", "SKY"), t_hot=262.0, t_cold=48.0),
        atmosphere=Atmosphere(pwv_mm=8.0, layers=GBT_LAYERS),
        lines=(_line(GBT_WBAND, 0.3, 150.0, 0.01),),
    )


PRESETS: dict[str, Callable[[], SessionConfig]] = {
    "ccat_chai": _ccat_chai,
    "ccat_chai_810": _ccat_chai_810,
    "ccat_chai_dual": _ccat_chai_dual,
    "sofia_lfa": _sofia_lfa,
    "sofia_hfa": _sofia_hfa,
    "gbt_wband": _gbt_wband,
}
"""The presets by name."""

Mode = Literal["total_power", "otf", "otf_chopped"]

SEQUENCES: dict[str, Callable[[], Sequence]] = {
    "total_power": TotalPower,
    "otf": Otf,
    "otf_chopped": OtfChopped,
}
"""The observing modes by name."""


def preset(
    name: str,
    *,
    channels: int | None = None,
    pixels: int | None = None,
    scans: int | tuple[Scan, ...] | None = None,
    mode: Mode | None = None,
    pwv: float | None = None,
    table: str | None = None,
    **changes: Any,
) -> SessionConfig:
    """Return a telescope's session, changed as asked.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    channels : int, optional
        Channels over the same bandwidth.
    pixels : int, optional
        Number of pixels to keep of each array, from the first.
    scans : int or tuple of Scan, optional
        How many scans alike, or the scans themselves.
    mode : {"total_power", "otf", "otf_chopped"}, optional
        Its sequence with default settings.
    pwv : float, optional
        PWV [mm].
    table : str, optional
        Path of an atmosphere table instead of the shipped one.
    **changes
        Any other field of `SessionConfig`.

    Returns
    -------
    SessionConfig

    Raises
    ------
    SimulationError
        For an unknown name, mode or field; the message lists the known ones.

    Examples
    --------
    >>> from cal_pipeline.simulate import preset
    >>> config = preset("sofia_lfa", channels=256, mode="otf_chopped", pwv=0.01)
    >>> config.receivers[0].freq_res / 1e6, config.sequence.instmode  # 2.5 GHz in 256 channels
    (9.765625, 'OTF_CHOPPED')
    """
    require(name in PRESETS, f"unknown preset {name!r}: choose from {', '.join(PRESETS)}")
    config = PRESETS[name]()
    if channels is not None or pixels is not None:
        config = replace(config, receivers=tuple(_smaller(r, channels, pixels) for r in config.receivers))
    if scans is not None:
        config = replace(config, scans=(Scan(),) * scans if isinstance(scans, int) else scans)
    if mode is not None:
        require(mode in SEQUENCES, f"unknown mode {mode!r}: choose from {', '.join(SEQUENCES)}")
        config = replace(config, sequence=SEQUENCES[mode]())
    atmosphere = config.atmosphere
    if pwv is not None:
        atmosphere = replace(atmosphere, pwv_mm=pwv)
    if table is not None:
        atmosphere = replace(atmosphere, table=table)
    known = SessionConfig.__dataclass_fields__
    unknown = [key for key in changes if key not in known]
    if unknown:
        raise SimulationError(f"a session has no {', '.join(unknown)}; it has {', '.join(known)}")
    return replace(config, **{"atmosphere": atmosphere, **changes})


def _smaller(receiver: Receiver, channels: int | None, pixels: int | None) -> Receiver:
    return replace(
        receiver,
        channels=receiver.channels if channels is None else channels,
        pixel_offsets_deg=receiver.pixel_offsets_deg[:pixels],
    )
