"""What an L0 session holds, and what would be chosen to calibrate it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cal_pipeline.errors import CalibrationError
from cal_pipeline.models.phases import first_on
from cal_pipeline.models.scan import Band
from cal_pipeline.models.session import Session
from cal_pipeline.physics.planck import channel_frequencies
from cal_pipeline.references.parameter_files import choose_parameters
from cal_pipeline.references.registry import find_atm_table
from cal_pipeline.references.telescope import find_profile


@dataclass(frozen=True)
class BandOverview:
    """What is known of a band of a scan without reading its counts.

    Parameters
    ----------
    scan : int
        Scan number.
    band : str
        Name of the band; empty for the only one.
    source, telescope, frontend, line : str
        As recorded.
    mode : str
        Observing mode.
    shape : tuple of int
        (C, D, R, A, S).
    pixels : tuple of str
        Pixel ids.
    signal_hz, image_hz : tuple of float
        Lowest and highest sky frequency of the sidebands [Hz].
    channel_width_hz : float
        Width of a channel [Hz].
    megabytes : float
        Size of the counts in memory [MB].
    loads : str
        The loads that would be used, and why.
    atm, profile, parameters : str
        The atmosphere table, telescope profile and parameter file that would be chosen.
    problem : str
        Why it cannot be opened; then nothing else is known.
    """

    scan: int
    band: str = ""
    source: str = ""
    telescope: str = ""
    frontend: str = ""
    line: str = ""
    mode: str = ""
    shape: tuple[int, ...] = ()
    pixels: tuple[str, ...] = ()
    signal_hz: tuple[float, float] = (0.0, 0.0)
    image_hz: tuple[float, float] = (0.0, 0.0)
    channel_width_hz: float = 0.0
    megabytes: float = 0.0
    loads: str = ""
    atm: str = ""
    profile: str = ""
    parameters: str = ""
    problem: str = ""


def session_overview(path: str | Path, calibration_interval: float) -> list[BandOverview]:
    """What a session holds.

    Parameters
    ----------
    path : str or Path
        The L0 session.
    calibration_interval : float
        Longest time between loads and scan [s].

    Returns
    -------
    list of BandOverview
        One for each band of each scan, in the order of scan numbers.

    Raises
    ------
    StoreError
        If there is no such session.
    """
    session = Session(path)
    rows: list[BandOverview] = []
    for number in session.numbers:
        if not session.has_source(number):
            rows.append(BandOverview(number, mode="calibration only"))
            continue
        try:
            scan = session.open_scan(number)
            rows += [_overview(session, band, calibration_interval, scan.get_crds_parameters()) for band in scan.bands]
        except CalibrationError as error:
            rows.append(BandOverview(number, problem=f"{type(error).__name__}: {error}"))
    return rows


def _overview(session: Session, band: Band, interval: float, described: dict[str, str | None]) -> BandOverview:
    at, attributes = band.coordinates, band.attributes
    axis = at.frequency_axis(first_on(at.sobsmode, at.mjd))
    signal, image = channel_frequencies(at.shape[0], **axis)
    parameters = choose_parameters(**described)
    return BandOverview(
        scan=band.scan_number,
        band=band.name,
        source=str(attributes.get("source") or ""),
        telescope=str(attributes.get("telescope") or ""),
        frontend=str(attributes.get("frontend") or ""),
        line=str(attributes.get("line") or ""),
        mode=str(described["mode"]),
        shape=at.shape,
        pixels=tuple(at.pixel.ravel().tolist()),
        signal_hz=(float(signal.min()), float(signal.max())),
        image_hz=(float(image.min()), float(image.max())),
        channel_width_hz=abs(axis["freq_res"]),
        megabytes=float(np.prod(at.shape)) * 4e-6,
        loads=_loads(session, band, interval),
        atm=_table([signal, image] if image.min() > 0 else [signal], float(np.nanmean(at.pamb))),
        profile=find_profile(attributes.get("telescope")).stem,
        parameters=parameters.name if parameters else "",
    )


def _loads(session: Session, band: Band, interval: float) -> str:
    try:
        group, reason = session.find_loads(band, interval)
    except CalibrationError as error:
        return f"none: {error}"
    return f"scan {group.scan_number} ({reason})"


def _table(frequencies: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]], pressure: float) -> str:
    try:
        return find_atm_table(list(frequencies), pressure).name
    except ValueError as error:
        return f"none: {error}"


def format_overview(rows: Sequence[BandOverview]) -> str:
    """A table of a session, as text."""
    blocks = []
    for row in rows:
        name = f"scan {row.scan}" + (f" {row.band}" if row.band else "")
        if row.problem:
            blocks.append(f"{name}: {row.problem}")
        elif not row.shape:
            blocks.append(f"{name}: {row.mode}")
        else:
            blocks.append(f"{name}: {row.source}, {row.mode}, {row.telescope} {row.frontend} {row.line}".rstrip())
            blocks += [f"    {key:11}{text}" for key, text in _details(row).items()]
    return "\n".join(blocks)


def _details(row: BandOverview) -> dict[str, str]:
    n_channels, n_dumps, n_receivers, n_arrays, n_subscans = row.shape

    def span(values: tuple[float, float]) -> str:
        return f"{values[0] / 1e9:.4f} to {values[1] / 1e9:.4f} GHz"

    return {
        "counts": f"{n_channels} channels, {n_dumps} dumps, {n_receivers} receivers, {n_arrays} arrays, "
        f"{n_subscans} subscans, {row.megabytes:.1f} MB",
        "pixels": f"{row.pixels[0]} to {row.pixels[-1]}" if len(row.pixels) > 4 else ", ".join(row.pixels),
        "signal": f"{span(row.signal_hz)}, {row.channel_width_hz / 1e3:.6g} kHz a channel",
        "image": span(row.image_hz),
        "loads": row.loads,
        "atmosphere": row.atm,
        "telescope": row.profile,
        "parameters": row.parameters or "defaults",
    }
