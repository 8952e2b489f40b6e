"""Overview of an L0 session with the choices made for it, of an L1 store or a step's file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stpipe import config_parser

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.store.locations import normalize_location
from cal_pipeline.core.text import elide_middle, format_count, make_printable
from cal_pipeline.heterodyne.kinds import Kind, identify
from cal_pipeline.heterodyne.parameter_files import choose_parameter_file
from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.planck import channel_frequencies
from cal_pipeline.heterodyne.physics.quality import channel_stride
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.product_overview import format_product, product_overview
from cal_pipeline.heterodyne.references.shipped import find_atm_table
from cal_pipeline.heterodyne.references.telescope import find_profile
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.registry import list_steps


@dataclass(frozen=True)
class BandOverview:
    """Overview of a band of a scan, made without reading its counts.

    Parameters
    ----------
    scan : int
        Scan number.
    band : str
        Name of the band; empty for the only one.
    source, telescope, frontend, line : str
        Attributes of the scan.
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
        Loads that a calibration would use, and the reason.
    atm, profile, parameters : str
        Atmosphere table, telescope profile and parameter file that a calibration would choose.
    problem : str
        Reason why the band cannot be opened; then all else is unknown.
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


@dataclass(frozen=True)
class Description:
    """Description of a store or file.

    Parameters
    ----------
    kind : Kind
        Kind.
    text : str
        For people.
    data : list or dict
        Ready for JSON. Of an L0 session a list with an item for each band; else a dict with
        ``kind``.
    """

    kind: Kind
    text: str
    data: Any


def describe(path: str | Path, calibration_interval: float) -> Description:
    """Describe an L0 session, an L1 store, a file that a step wrote or a parameter file.

    Parameters
    ----------
    path : str or Path
        Folder, file or URL.
    calibration_interval : float
        Longest time between loads and scan of a session [s].

    Returns
    -------
    Description

    Raises
    ------
    StoreError
        If it is none of these; the message says what it is.

    Examples
    --------
    ::

        print(describe("l1.zarr", 3600.0).text)
    """
    found = identify(path)
    if found.kind is Kind.SESSION:
        rows = session_overview(path, calibration_interval)
        return Description(
            found.kind, format_overview(rows), make_json_ready([dataclasses.asdict(row) for row in rows])
        )
    if found.kind is Kind.PRODUCT:
        product = product_overview(CalibratedSession(path))
        return _described(found.kind, format_product(product), dataclasses.asdict(product))
    if found.kind is Kind.STEP_RESULT:
        return _describe_step_result(normalize_location(path))
    if found.kind is Kind.PARAMETERS:
        return _describe_parameters(normalize_location(path))
    raise StoreError(f"{found.name} is {found.description}; expected an L0 session or an L1 store")


def _described(kind: Kind, text: str, data: Mapping[str, Any]) -> Description:
    return Description(kind, text, make_json_ready({"kind": kind.value, **data}))


def _describe_step_result(path: str) -> Description:
    """Describe a scan written by a step: the steps it has passed, and their results."""
    scan = Scan.open(path)
    state = vars(scan.meta.cal_step)
    done = [step.class_alias for step in list_steps() if state.get(step.class_alias) == "COMPLETE"]
    source = str(scan.attributes.get("source") or "")
    bands = [{"band": band.name, "shape": band.coordinates.shape, **_results(band)} for band in scan.bands]
    lines = [
        f"scan {scan.number}: {make_printable(source)}, written by a step",
        f"    {'steps done':11}{', '.join(done) or 'none'}",
    ]
    for band, found in zip(scan.bands, bands, strict=True):
        lines += [f"    {make_printable(band.name)}"] if band.name else []
        lines.append(f"    {'counts':11}{_layout(band.coordinates.shape)}")
        lines += [
            f"    {title:11}{found[name]:.4g} {unit}" for name, (title, unit) in _RESULTS.items() if found.get(name)
        ]
    data = {"scan": scan.number, "source": source, "steps_done": done, "bands": bands}
    return _described(Kind.STEP_RESULT, "\n".join(lines), data)


_RESULTS = {
    "pwv_mm": ("PWV", "mm"),
    "pwv_err_total_mm": ("its error", "mm"),
    "t_rec_ssb_K": ("T_rec SSB", "K"),
    "t_sys_dsb_K": ("T_sys DSB", "K"),
}
"""Titles and units of results."""


def _results(band: Band) -> dict[str, float | None]:
    """Results of the steps that a band has passed: medians over the pixels, as in ``qa``."""
    found: dict[str, float | None] = {}
    if band.atmosphere is not None:
        fit = band.atmosphere.fit
        found["pwv_mm"] = _median(fit.pwv)
        found["pwv_err_total_mm"] = _median(np.hypot(fit.error, fit.error_model))
    if band.loads is None:
        return found
    good = ~band.bad_channel
    found["t_rec_ssb_K"] = _median(median_of_finite(np.where(good, band.loads.solution.t_rec_ssb, np.nan), 0))
    last = band.coupling or band.calibration
    if last is not None:
        some = slice(None, None, channel_stride(len(good)))
        t_sys = np.moveaxis(last.t_sys[some], -1, 0)
        found["t_sys_dsb_K"] = _median(median_of_finite(np.where(good[some], t_sys, np.nan), (0, 1)))
    return found


def _describe_parameters(path: str) -> Description:
    """Describe a parameter file: the class it is for, and the values it sets."""
    try:
        config = config_parser.load_config_file(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise StoreError(f"{path} cannot be read as a parameter file: {type(error).__name__}: {error}") from error
    values = dict(_flat(config))
    of_class = values.pop("class", "")
    values = {name: value for name, value in values.items() if name.rpartition(".")[2] not in ("name", "class")}
    lines = [make_printable(path), f"parameter file of {make_printable(of_class or 'any step')}"]
    lines += [f"    {make_printable(name)} = {make_printable(value)}" for name, value in values.items()]
    lines = [elide_middle(line, 100) for line in lines]
    return _described(Kind.PARAMETERS, "\n".join(lines), {"class": of_class, "parameters": values})


def _flat(config: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value


def _median(values: Any) -> float | None:
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else None


def session_overview(path: str | Path, calibration_interval: float) -> list[BandOverview]:
    """List the bands of a session.

    Parameters
    ----------
    path : str or Path
        The L0 session.
    calibration_interval : float
        Longest time between loads and scan [s].

    Returns
    -------
    list of BandOverview
        Overview of each band of each scan, in the order of scan numbers.

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
    axis = at.frequency_axis(band.first_on)
    signal, image = channel_frequencies(at.shape[0], **axis)
    parameters = choose_parameter_file(**described)
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
        loads = session.find_loads(band, interval, single_load=True)
    except CalibrationError as error:
        return f"none: {error}"
    single = ", without COLD: needs single_load" if loads.group.has_sky_for_cold else ""
    return f"scan {loads.group.scan_number} ({loads.reason}{single})"


def _table(frequencies: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]], pressure: float) -> str:
    try:
        return find_atm_table(list(frequencies), pressure).name
    except ValueError as error:
        return f"none: {error}"


def format_overview(rows: Sequence[BandOverview]) -> str:
    """Format the overview of a session as a table."""
    blocks = []
    for row in rows:
        name = f"scan {row.scan}" + (f" {row.band}" if row.band else "")
        if row.problem:
            blocks.append(f"{name}: {make_printable(row.problem)}")
        elif not row.shape:
            blocks.append(f"{name}: {row.mode}")
        else:
            title = f"{name}: {row.source}, {row.mode}, {row.telescope} {row.frontend} {row.line}".rstrip()
            blocks.append(make_printable(title))
            blocks += [f"    {key:11}{make_printable(text)}" for key, text in _details(row).items()]
    return "\n".join(blocks)


def _layout(shape: tuple[int, ...]) -> str:
    """Write the shape (C, D, R, A, S) of counts in words."""
    nouns = ("channel", "dump", "receiver", "array", "subscan")
    return ", ".join(format_count(number, noun) for number, noun in zip(shape, nouns, strict=True))


def _details(row: BandOverview) -> dict[str, str]:
    def span(values: tuple[float, float]) -> str:
        return f"{values[0] / 1e9:.4f} to {values[1] / 1e9:.4f} GHz"

    return {
        "counts": f"{_layout(row.shape)}, {row.megabytes:.1f} MB",
        "pixels": f"{row.pixels[0]} to {row.pixels[-1]}" if len(row.pixels) > 4 else ", ".join(row.pixels),
        "signal": f"{span(row.signal_hz)}, {row.channel_width_hz / 1e3:.6g} kHz a channel",
        "image": span(row.image_hz),
        "loads": row.loads,
        "atmosphere": row.atm,
        "telescope": row.profile,
        "parameters": row.parameters or "defaults",
    }
