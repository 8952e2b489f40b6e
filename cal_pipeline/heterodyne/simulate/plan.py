"""The timeline of a session: every subscan with its time, elevation, azimuth and water vapour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from cal_pipeline.heterodyne.simulate.conditions import Atmosphere
from cal_pipeline.heterodyne.simulate.config import Line, Receiver, Scan, SessionConfig, Source
from cal_pipeline.heterodyne.simulate.errors import require
from cal_pipeline.heterodyne.simulate.faults import Faults
from cal_pipeline.heterodyne.simulate.pointing import SIDEREAL_RATE, horizontal
from cal_pipeline.heterodyne.simulate.sequence import Loads, Phase, Sequence


@dataclass(frozen=True, eq=False)
class Subscan:
    """A phase with its time and sky.

    Parameters
    ----------
    phase : Phase
        What is observed.
    mjd : float
        Its middle (MJD, UTC).
    hours : float
        Hours from the session's start to `mjd`.
    elevation, azimuth : float
        [rad], as L0 holds them: rounded to 32 bits.
    pwv : float
        True water vapour [mm].
    grey : float
        Zenith opacity of clouds [Np].
    """

    phase: Phase
    mjd: float
    hours: float
    elevation: float
    azimuth: float
    pwv: float
    grey: float = 0.0

    @property
    def airmass(self) -> float:
        """Plane-parallel airmass."""
        return 1.0 / math.sin(self.elevation)


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """A scan with everything resolved: own settings over those of the session.

    Parameters
    ----------
    number, lloadsn : int
        Scan number, and that of the last load.
    receivers, source, lines, faults, sequence, loads, atmosphere : object
        Its settings.
    calibration, observed : list of Subscan
        The subscans of the two groups; empty: the group does not exist.
    """

    number: int
    lloadsn: int
    receivers: tuple[Receiver, ...]
    source: Source
    lines: tuple[Line, ...]
    faults: Faults
    sequence: Sequence
    loads: Loads
    atmosphere: Atmosphere
    calibration: list[Subscan] = field(default_factory=list)
    observed: list[Subscan] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the scan's group."""
        return f"scan_{self.number:06d}"

    def groups(self) -> dict[str, list[Subscan]]:
        """Return the subscans of the groups that exist, by group name."""
        both = {"calibration": self.calibration, "source": self.observed}
        return {name: subscans for name, subscans in both.items() if subscans}


def plan_session(config: SessionConfig) -> list[ScanPlan]:
    """Lay out all scans of a session in time.

    Raises
    ------
    SimulationError
        If scan numbers repeat, a scan holds nothing, or the source is not above the horizon.
    """
    plans: list[ScanPlan] = []
    clock, number, last_load = 0.0, 0, -1
    for scan in config.scans:
        number = number + 1 if scan.number is None else scan.number
        loads = config.loads if scan.loads is None else scan.loads
        last_load = number if loads.pattern else last_load
        plan, clock = _plan_scan(config, scan, number, last_load, clock + scan.gap_s)
        plans.append(plan)
    numbers = [plan.number for plan in plans]
    require(len(set(numbers)) == len(numbers), f"scan numbers repeat: {numbers}")
    require(min(numbers) >= 0 and max(numbers) <= 999999, f"scan numbers {numbers} must have up to six digits")
    return plans


def _plan_scan(config: SessionConfig, scan: Scan, number: int, last_load: int, clock: float) -> tuple[ScanPlan, float]:
    plan = ScanPlan(
        number=number,
        lloadsn=last_load if scan.lloadsn is None else scan.lloadsn,
        receivers=config.receivers if scan.receivers is None else scan.receivers,
        source=config.source if scan.source is None else scan.source,
        lines=config.lines if scan.lines is None else scan.lines,
        faults=config.faults if scan.faults is None else scan.faults,
        sequence=config.sequence if scan.sequence is None else scan.sequence,
        loads=config.loads if scan.loads is None else scan.loads,
        atmosphere=config.atmosphere if scan.atmosphere is None else scan.atmosphere,
    )
    pwv = plan.atmosphere.pwv_mm if scan.pwv_mm is None else scan.pwv_mm
    phases = [(plan.calibration, phase) for phase in plan.loads.phases()]
    if not scan.calibration_only:
        phases += [(plan.observed, phase) for phase in plan.sequence.phases()]
    require(bool(phases), f"scan {number} has neither loads nor a source")
    for group, phase in phases:
        length = float(np.float32(phase.exptime)) * phase.dumps
        group.append(_subscan(config, plan, phase, clock + length / 2.0, pwv))
        clock += length + config.overhead_s
    return plan, clock


def _subscan(config: SessionConfig, plan: ScanPlan, phase: Phase, middle_s: float, pwv: float) -> Subscan:
    source, atmosphere = plan.source, plan.atmosphere
    hours = middle_s / 3600.0
    hour_angle = math.radians(15.0 * (source.hour_angle_h + SIDEREAL_RATE * hours))
    declination, latitude = math.radians(source.dec_deg), math.radians(config.telescope.latitude_deg)
    elevation, azimuth = horizontal(hour_angle, declination, latitude)
    if source.elevation_deg is not None:
        elevation = math.radians(source.elevation_deg)
    require(
        elevation > 0.0,
        f"source {source.name} stands at elevation {math.degrees(elevation):.1f} deg"
        f" {hours:.2f} h after the start; change hour_angle_h or dec_deg, or give elevation_deg",
    )
    now = pwv + atmosphere.pwv_change(hours)
    cause = "pwv_per_hour or a cloud" if atmosphere.clouds else "pwv_per_hour"
    require(now >= 0.0, f"{cause} makes the PWV negative ({now:.3g} mm) {hours:.2f} h after the start")
    stored_el, stored_az = float(np.float32(elevation)), float(np.float32(azimuth))
    grey = atmosphere.grey_opacity(hours)
    return Subscan(phase, config.mjd_start + hours / 24.0, hours, stored_el, stored_az, now, grey)
