"""Observing sequences: the order of phases (ON, OFF, HOT ...) in a scan and where each one looks.

A sequence is any object with `instmode`, `dumps`, `per_dump_offsets` and `phases()`; a new
observing mode is a new class of that kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.errors import SimulationError, require
from cal_pipeline.heterodyne.simulate.pointing import raster_row

PerArray = float | tuple[float, ...]

Kind = Literal["on", "off", "hot", "cold", "sky", "zero"]

LOAD_KINDS: dict[str, Kind] = {"HOT": "hot", "COL": "cold", "COLD": "cold", "SKY": "sky", "ZERO": "zero"}
"""Input of the receiver for each `sobsmode` of a calibration group."""


@dataclass(frozen=True, eq=False)
class Phase:
    """One subscan before it has a time.

    Parameters
    ----------
    sobsmode : str
        Name of the phase in L0.
    kind : str
        Input of the receiver: on (sky with the source), off and sky (blank sky), hot, cold or zero.
    exptime : float
        Integration time of a dump [s].
    lon, lat : ndarray, shape (D,)
        Offsets from the source position [deg], longitude as a true angle.

    Examples
    --------
    >>> phase = OtfChopped(rows=1).phases()[0]
    >>> phase.sobsmode, phase.kind, phase.beam, phase.dumps
    ('OTFSWA-ON', 'on', 'A', 4)
    """

    sobsmode: str
    kind: Kind
    exptime: float
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]

    @property
    def dumps(self) -> int:
        """Samples in time (D)."""
        return int(self.lon.size)

    @property
    def beam(self) -> str:
        """Beam of the chopper, "A" or "B"; empty where there is none."""
        return {"SWA": "A", "SWB": "B"}.get(self.sobsmode.partition("-")[0][-3:], "")


class Sequence(Protocol):
    """Interface of an observing mode.

    Examples
    --------
    A mode of one's own is any class with these members:

    >>> class Stare:
    ...     instmode, dumps, per_dump_offsets = "STARE", 2, False
    ...
    ...     def phases(self):
    ...         return TotalPower(pattern=("ON", "OFF"), dumps=self.dumps).phases()
    >>> from cal_pipeline.simulate import preset, simulate
    >>> simulate(preset("ccat_chai", channels=8, pixels=1, sequence=Stare()), "stare.zarr").scans
    (1,)
    """

    @property
    def instmode(self) -> str:
        """Name of the observing mode in L0."""

    @property
    def dumps(self) -> int:
        """Dumps of every subscan (D)."""

    @property
    def per_dump_offsets(self) -> bool:
        """Tell whether L0's otf_lon and otf_lat are [D, S] (else [S])."""

    def phases(self) -> list[Phase]:
        """Return the phases in the order in which they are observed."""


def _fixed(sobsmode: str, kind: Kind, exptime: float, dumps: int, where: tuple[float, float] = (0.0, 0.0)) -> Phase:
    return Phase(sobsmode, kind, exptime, np.full(dumps, where[0]), np.full(dumps, where[1]))


@dataclass(frozen=True)
class TotalPower:
    """Position switching: single pointings ON and OFF.

    Parameters
    ----------
    pattern : tuple of str
        "ON" and "OFF" in the order in which they are observed.
    cycles : int
        Number of repeats of the pattern.
    dumps : int
        Dumps of each subscan (D).
    exptime, off_exptime : float
        Integration time of a dump of an ON and of an OFF [s]; `off_exptime` None: that of an ON.
    off_deg : tuple of float
        Longitude and latitude offset of the OFF position [deg].

    Examples
    --------
    >>> [phase.sobsmode for phase in TotalPower(cycles=2).phases()]
    ['OFF', 'ON', 'ON', 'OFF', 'OFF', 'ON', 'ON', 'OFF']
    """

    pattern: tuple[str, ...] = ("OFF", "ON", "ON", "OFF")
    cycles: int = 1
    dumps: int = 4
    exptime: float = 1.0
    off_exptime: float | None = None
    off_deg: tuple[float, float] = (0.5, 0.0)

    def __post_init__(self) -> None:
        wrong = [name for name in self.pattern if name not in ("ON", "OFF")]
        require(not wrong and bool(self.pattern), f'pattern {self.pattern}: only "ON" and "OFF" can be in it')
        require(self.cycles > 0 and self.dumps > 0, "cycles and dumps must be at least 1")
        _check_exptimes(self.exptime, self.off_exptime)

    @property
    def instmode(self) -> str:
        """Name of the observing mode in L0."""
        return "TP"

    @property
    def per_dump_offsets(self) -> bool:
        """False: otf_lon and otf_lat are [S] in L0, one pointing per subscan."""
        return False

    def phases(self) -> list[Phase]:
        """Return the phases in the order in which they are observed."""
        off_time = self.exptime if self.off_exptime is None else self.off_exptime
        on = _fixed("ON", "on", self.exptime, self.dumps)
        off = _fixed("OFF", "off", off_time, self.dumps, self.off_deg)
        return [on if name == "ON" else off for name in self.pattern * self.cycles]


@dataclass(frozen=True)
class Otf:
    """On-the-fly raster map: one ON subscan per row, an OFF before every few rows and at the end.

    Parameters
    ----------
    rows, dumps : int
        Rows of the map, samples along a row (D).
    step_deg, row_step_deg : float
        Distance of neighbouring samples in a row and of neighbouring rows [deg].
    rows_per_off : int
        Rows between two OFFs.
    exptime, off_exptime : float
        Integration time of a dump of an ON and of an OFF [s]; `off_exptime` None: that of an ON.
    direction : {"lon", "lat"}
        Along which coordinate the rows run.
    zigzag : bool
        Odd rows run backwards.
    off_deg : tuple of float
        Longitude and latitude offset of the OFF position [deg].

    Examples
    --------
    >>> rows = Otf(rows=2, dumps=4, step_deg=0.002).phases()
    >>> [phase.sobsmode for phase in rows]
    ['OTF-OFF', 'OTF-ON', 'OTF-ON', 'OTF-OFF']
    >>> rows[1].lon.round(6).tolist(), rows[2].lon.round(6).tolist()  # there and back [deg]
    ([-0.003, -0.001, 0.001, 0.003], [0.003, 0.001, -0.001, -0.003])
    """

    rows: int = 4
    dumps: int = 8
    step_deg: float = 0.002
    row_step_deg: float = 0.004
    rows_per_off: int = 2
    exptime: float = 0.5
    off_exptime: float | None = None
    direction: Literal["lon", "lat"] = "lon"
    zigzag: bool = True
    off_deg: tuple[float, float] = (0.5, 0.0)

    def __post_init__(self) -> None:
        require(
            min(self.rows, self.dumps, self.rows_per_off) > 0,
            "rows, dumps and rows_per_off must be at least 1",
        )
        require(self.direction in ("lon", "lat"), f'direction {self.direction!r}: choose "lon" or "lat"')
        _check_exptimes(self.exptime, self.off_exptime)

    @property
    def instmode(self) -> str:
        """Name of the observing mode in L0."""
        return "OTF"

    @property
    def per_dump_offsets(self) -> bool:
        """True: otf_lon and otf_lat are [D, S] in L0, one pointing per dump."""
        return True

    def phases(self) -> list[Phase]:
        """Return the phases in the order in which they are observed."""
        off_time = self.exptime if self.off_exptime is None else self.off_exptime
        off = _fixed("OTF-OFF", "off", off_time, self.dumps, self.off_deg)
        phases: list[Phase] = []
        for row in range(self.rows):
            if row % self.rows_per_off == 0:
                phases.append(off)
            along, across = raster_row(row, self.rows, self.dumps, self.step_deg, self.row_step_deg, zigzag=self.zigzag)
            lon, lat = (along, across) if self.direction == "lon" else (across, along)
            phases.append(Phase("OTF-ON", "on", self.exptime, lon, lat))
        return [*phases, off]


CHOPPED_PATTERN = ("OTFSWA-ON", "OTFSWA-OFF", "OTFSWB-ON", "OTFSWB-OFF")
"""Phases of a row of a chopped map."""


@dataclass(frozen=True)
class OtfChopped:
    """Chopped on-the-fly map: each row in beam A, then in beam B, each with its own OFF.

    Parameters
    ----------
    rows, dumps : int
        Rows of the map; chop phases, which are samples along a row (D).
    step_deg, row_step_deg : float
        Distance of neighbouring samples in a row and of neighbouring rows [deg].
    pattern : tuple of str
        Phases of a row in the order in which they are observed.
    exptime, off_exptime : float
        Integration time of a dump of an ON and of an OFF [s]; `off_exptime` None: that of an ON.
    off_deg : tuple of float
        Longitude and latitude offset of the OFF position [deg].

    Examples
    --------
    >>> [phase.sobsmode for phase in OtfChopped(rows=1).phases()]
    ['OTFSWA-ON', 'OTFSWA-OFF', 'OTFSWB-ON', 'OTFSWB-OFF']
    """

    rows: int = 3
    dumps: int = 4
    step_deg: float = 0.002
    row_step_deg: float = 0.004
    pattern: tuple[str, ...] = CHOPPED_PATTERN
    exptime: float = 0.5
    off_exptime: float | None = None
    off_deg: tuple[float, float] = (0.5, 0.0)

    def __post_init__(self) -> None:
        require(min(self.rows, self.dumps) > 0, "rows and dumps must be at least 1")
        wrong = [name for name in self.pattern if name not in CHOPPED_PATTERN]
        require(
            not wrong and bool(self.pattern), f"pattern {self.pattern}: only {', '.join(CHOPPED_PATTERN)} can be in it"
        )
        _check_exptimes(self.exptime, self.off_exptime)

    @property
    def instmode(self) -> str:
        """Name of the observing mode in L0."""
        return "OTF_CHOPPED"

    @property
    def per_dump_offsets(self) -> bool:
        """True: otf_lon and otf_lat are [D, S] in L0, one pointing per dump."""
        return True

    def phases(self) -> list[Phase]:
        """Return the phases in the order in which they are observed."""
        off_time = self.exptime if self.off_exptime is None else self.off_exptime
        phases: list[Phase] = []
        for row in range(self.rows):
            lon, lat = raster_row(row, self.rows, self.dumps, self.step_deg, self.row_step_deg, zigzag=True)
            for name in self.pattern:
                if name.endswith("ON"):
                    phases.append(Phase(name, "on", self.exptime, lon, lat))
                else:
                    phases.append(_fixed(name, "off", off_time, self.dumps, self.off_deg))
        return phases


@dataclass(frozen=True)
class Loads:
    """The phases of a calibration group.

    Parameters
    ----------
    pattern : tuple of str
        HOT, COL (or COLD), SKY and ZERO in the order in which they are observed; empty: no
        calibration group.
    dumps : int
        Dumps of each subscan (D).
    exptime : float
        Integration time of a dump [s].
    t_hot, t_cold : float
        Temperature of the loads as L0 records it [K].
    hot_offset, cold_offset : float or tuple of float
        True temperature minus the recorded one [K], one for all arrays or one each.
    hot_coupling, cold_coupling : float or tuple of float
        Share of the beam on the load, one for all arrays or one each; the rest is at ambient
        temperature.

    Examples
    --------
    >>> [(phase.sobsmode, phase.kind) for phase in Loads(pattern=("ZERO", "HOT", "COL")).phases()]
    [('ZERO', 'zero'), ('HOT', 'hot'), ('COL', 'cold')]

    A hot load 2 K warmer than its sensor says, which fills 98 % of the beam:

    >>> Loads(t_hot=293.0, hot_offset=2.0, hot_coupling=0.98).true_load("hot")
    (array([295.]), array([0.98]))
    """

    pattern: tuple[str, ...] = ("HOT", "COL")
    dumps: int = 4
    exptime: float = 2.0
    t_hot: float = 293.0
    t_cold: float = 77.0
    hot_offset: PerArray = 0.0
    cold_offset: PerArray = 0.0
    hot_coupling: PerArray = 1.0
    cold_coupling: PerArray = 1.0

    def __post_init__(self) -> None:
        wrong = [name for name in self.pattern if name not in LOAD_KINDS]
        require(not wrong, f"unknown load {wrong}: choose from {', '.join(LOAD_KINDS)}")
        require(self.dumps > 0, "dumps must be at least 1")
        require(0.0 < self.t_cold < self.t_hot, f"t_cold {self.t_cold} K must be below t_hot {self.t_hot} K")
        (hot, hot_coupling), (cold, cold_coupling) = self.true_load("hot"), self.true_load("cold")
        sizes = {values.size for values in (hot, cold, hot_coupling, cold_coupling)} - {1}
        require(len(sizes) <= 1, f"the loads are given for {sizes} arrays; give one number for all, or one for each")
        ordered = bool(np.all((cold > 0.0) & (cold < hot)))
        require(ordered, f"the true cold load, {cold} K, must be below the true hot load, {hot} K")
        for name, coupling in (("hot_coupling", hot_coupling), ("cold_coupling", cold_coupling)):
            require(bool(np.all((coupling > 0.0) & (coupling <= 1.0))), f"{name} {coupling} must be in (0, 1]")
        _check_exptimes(self.exptime, None)

    def true_load(self, kind: Literal["hot", "cold"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the true temperature [K] of a load and its share of the beam, each (1,) or (A,)."""
        stored = self.stored_t_hot if kind == "hot" else self.stored_t_cold
        offset, coupling = getattr(self, f"{kind}_offset"), getattr(self, f"{kind}_coupling")
        return stored + np.atleast_1d(np.asarray(offset, np.float64)), np.atleast_1d(np.asarray(coupling, np.float64))

    @property
    def stored_t_hot(self) -> float:
        """Temperature of the hot load [K] as L0 holds it, rounded to 32 bits."""
        return float(np.float32(self.t_hot))

    @property
    def stored_t_cold(self) -> float:
        """Temperature of the cold load [K] as L0 holds it, rounded to 32 bits."""
        return float(np.float32(self.t_cold))

    def phases(self) -> list[Phase]:
        """Return the phases in the order in which they are observed."""
        return [_fixed(name, LOAD_KINDS[name], self.exptime, self.dumps) for name in self.pattern]


def _check_exptimes(exptime: float, off_exptime: float | None) -> None:
    for seconds in (exptime, off_exptime):
        if seconds is not None and not 0.0 < seconds < math.inf:
            raise SimulationError(f"integration times must be positive and finite, not {seconds} s")
