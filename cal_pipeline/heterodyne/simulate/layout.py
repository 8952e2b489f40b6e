"""The coordinates and attributes of L0 groups."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.config import Receiver, SessionConfig
from cal_pipeline.heterodyne.simulate.forward import stored_pressure
from cal_pipeline.heterodyne.simulate.plan import ScanPlan, Subscan

AXES = ("channel", "dump", "receiver", "array", "subscan")

Coordinate = tuple[tuple[str, ...], NDArray[Any]]

MJD_EPOCH = datetime(1858, 11, 17)
"""Day 0 of the modified Julian date."""


def iso_time(mjd: float) -> str:
    """Return a date as ISO 8601, to the second."""
    return (MJD_EPOCH + timedelta(days=mjd)).isoformat(timespec="seconds")


def coordinates(
    config: SessionConfig, plan: ScanPlan, receiver: Receiver, group: str, subscans: list[Subscan]
) -> dict[str, Coordinate]:
    """Return every small array of a group with its axes.

    Parameters
    ----------
    config : SessionConfig
        The session.
    plan : ScanPlan
        The scan.
    receiver : Receiver
        The band's receiver.
    group : {"source", "calibration"}
        L0 group.
    subscans : list of Subscan
        The group's subscans.
    """
    number = len(subscans)
    per_subscan = {
        "mjd": np.array([s.mjd for s in subscans]),
        "exptime": np.array([s.phase.exptime for s in subscans], dtype=np.float32),
        "elevation": np.array([s.elevation for s in subscans], dtype=np.float32),
        "azimuth": np.array([s.azimuth for s in subscans], dtype=np.float32),
        "pamb": np.full(number, stored_pressure(config.telescope.pressure_pa), dtype=np.float32),
        "tamb": np.full(number, config.telescope.t_ambient, dtype=np.float32),
        "signal_freq": np.full(number, receiver.signal_freq),
        "image_freq": np.full(number, receiver.image_freq),
        "freq_res": np.full(number, receiver.freq_res),
        "freq_off": np.full(number, receiver.freq_off),
        "ref_channel": np.full(number, receiver.ref_channel, dtype=np.float32),
        "lloadsn": np.full(number, plan.lloadsn, dtype=np.int32),
        "sobsmode": np.array([s.phase.sobsmode for s in subscans], dtype=object),
    }
    if group == "calibration":
        per_subscan["thot"] = np.full(number, plan.loads.t_hot, dtype=np.float32)
        per_subscan["tcold"] = np.full(number, plan.loads.t_cold, dtype=np.float32)
    if config.raw_headers:
        headers = [_raw_header(config, plan, receiver, s) for s in subscans]
        per_subscan["raw_fits_headers"] = np.array(headers, dtype=object)
    result: dict[str, Coordinate] = {name: (("subscan",), values) for name, values in per_subscan.items()}
    result["frontend_backends"] = (("pixel",), np.array(receiver.pixel_ids, dtype=object))
    if group == "source":
        result.update(_pointing(plan, receiver, subscans))
    return result


def _pointing(plan: ScanPlan, receiver: Receiver, subscans: list[Subscan]) -> dict[str, Coordinate]:
    result: dict[str, Coordinate] = {}
    offsets = np.array(receiver.pixel_offsets_deg)
    shape = (offsets.shape[0], len(receiver.arrays), len(subscans))
    for column, axis in enumerate(("lon", "lat")):
        track = np.stack([getattr(s.phase, axis) for s in subscans], axis=-1)
        if plan.sequence.per_dump_offsets:
            result[f"otf_{axis}"] = (("dump", "subscan"), track)
        else:
            result[f"otf_{axis}"] = (("subscan",), track.mean(axis=0))
        pixel = np.broadcast_to(offsets[:, column, np.newaxis, np.newaxis], shape)
        result[f"pixel_offset_{axis}"] = (("receiver", "array", "subscan"), np.ascontiguousarray(pixel))
    return result


def _raw_header(config: SessionConfig, plan: ScanPlan, receiver: Receiver, subscan: Subscan) -> str:
    cards = {
        "TELESCOP": config.telescope.name,
        "INSTRUME": receiver.name,
        "OBJECT": plan.source.name,
        "SCAN": plan.number,
        "OBSMODE": plan.sequence.instmode,
        "SOBSMODE": subscan.phase.sobsmode,
        "DATE-OBS": iso_time(subscan.mjd),
        "EXPTIME": subscan.phase.exptime,
        "RESTFREQ": receiver.signal_freq if receiver.rest_freq is None else receiver.rest_freq,
    }
    return json.dumps(cards)


def scan_attributes(config: SessionConfig, plan: ScanPlan) -> dict[str, Any]:
    """Return the attributes of a scan's group."""
    first = [*plan.calibration, *plan.observed][0]
    attributes: dict[str, Any] = {
        "scan_number": plan.number,
        "source": plan.source.name,
        "instmode": plan.sequence.instmode if plan.observed else "CAL",
        "telescope": config.telescope.name,
        "date_obs": iso_time(first.mjd),
        "velocity_source_kms": plan.source.velocity_kms,
        "coord_frame": "icrs",
        "source_lon_deg": plan.source.ra_deg,
        "source_lat_deg": plan.source.dec_deg,
        "simulated": True,
        **config.attributes,
    }
    return attributes | band_attributes(plan.receivers[0])


def band_attributes(receiver: Receiver) -> dict[str, Any]:
    """Return the attributes that differ between the bands of a scan."""
    return {
        "frontend": receiver.name,
        "line": receiver.line,
        "rest_freq_hz": receiver.signal_freq if receiver.rest_freq is None else receiver.rest_freq,
    }
