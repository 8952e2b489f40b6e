"""The true atmosphere of a simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cal_pipeline.heterodyne.simulate.errors import require
from cal_pipeline.heterodyne.simulate.imperfections import Cloud, WarmLayer
from cal_pipeline.heterodyne.simulate.layers import AirColumn, Layers


@dataclass(frozen=True)
class Atmosphere:
    """The true atmosphere.

    Parameters
    ----------
    pwv_mm : float
        Precipitable water vapour at the session's start [mm].
    pwv_per_hour : float
        Its linear drift [mm/h].
    t_atm, t_spill : float or None
        Temperature of the atmosphere and of the spill-over [K]; None: ambient.
    table : str or None
        Path of an atmosphere table; None: the telescope's shipped one.
    layer : WarmLayer or None
        A layer with a temperature of its own.
    unknown : WarmLayer or None
        Lines that the table does not hold, above all the rest; they add to its opacity.
    layers : Layers, AirColumn or None
        Vertical structure of the rest; an `AirColumn` brings its own opacities, in place of the
        table's. None: one layer at `t_atm`.
    clouds : tuple of Cloud
        Water and grey opacity that come and go.
    dry_factor : float
        True dry opacity, relative to that of the table.
    pwv_per_deg : float
        Change of the PWV over the field of view, with the longitude offset of a pixel [mm/deg]. The
        truth is that of the direction of the source.

    Examples
    --------
    It becomes wetter by 0.5 mm in an hour:

    >>> from cal_pipeline.simulate import Scan, preset, read_truth, simulate
    >>> worse = Atmosphere(pwv_mm=0.5, pwv_per_hour=0.5)
    >>> night = preset("ccat_chai", channels=8, pixels=1, atmosphere=worse, scans=(Scan(), Scan(gap_s=3600.0)))
    >>> written = simulate(night, "worse.zarr")
    >>> [round(read_truth("worse.zarr", scan).pwv_mm, 1) for scan in written.scans]
    [0.5, 1.0]

    A layered sky over ground 3 K colder than the recorded ambient temperature, while a cloud
    passes:

    >>> sky = Atmosphere(pwv_mm=0.5, layers=Layers(t_ground=265.0), clouds=(Cloud(60.0, 30.0, pwv_mm=0.1),))
    """

    pwv_mm: float = 0.5
    pwv_per_hour: float = 0.0
    t_atm: float | None = None
    t_spill: float | None = None
    table: str | None = None
    layer: WarmLayer | None = None
    unknown: WarmLayer | None = None
    layers: Layers | AirColumn | None = None
    clouds: tuple[Cloud, ...] = ()
    dry_factor: float = 1.0
    pwv_per_deg: float = 0.0

    def __post_init__(self) -> None:
        require(0.0 <= self.pwv_mm < math.inf, f"pwv_mm {self.pwv_mm} must not be negative, and be finite")
        both = self.layers is not None and self.t_atm is not None
        require(not both, f"t_atm {self.t_atm} K is the temperature of a sky without layers; give layers or t_atm")
        both = isinstance(self.layers, AirColumn) and self.table is not None
        require(not both, f"the layers bring their own opacities; give them or the table {self.table}")
        require(0.0 <= self.dry_factor < math.inf, f"dry_factor {self.dry_factor} must not be negative, and be finite")

    def pwv_change(self, hours: float) -> float:
        """Return the PWV [mm] above that of the session's start, `hours` later."""
        return self.pwv_per_hour * hours + sum(cloud.pwv_mm * cloud.amplitude(hours) for cloud in self.clouds)

    def grey_opacity(self, hours: float) -> float:
        """Return the zenith opacity of clouds [Np], `hours` after the session's start."""
        return sum(cloud.opacity * cloud.amplitude(hours) for cloud in self.clouds)
