"""Columns of the exported tables: name, type, unit, meaning and source of each, once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cal_pipeline.heterodyne.export.header import ICRS, Header
from cal_pipeline.heterodyne.export.rows import Rows, find_frame_velocity
from cal_pipeline.heterodyne.physics.velocity import C_KMS

Value = Callable[[Header, Rows], Any]

TEXT, INTEGER, FLOAT, DOUBLE = "A", "J", "E", "D"
"""Types of columns, by their letters in FITS."""

STOKES_I = 1.0

_C_MS = 1e3 * C_KMS


@dataclass(frozen=True)
class Column:
    """A column with one value a spectrum.

    Parameters
    ----------
    name : str
        Its name.
    kind : str
        Type: text, integer, or float of 32 or 64 bits.
    unit : str
        Unit as FITS writes it.
    meaning : str
        Meaning, for headers and documentation.
    value : callable
        Makes the values from header and rows: one for each row, or one for all.
    width : int or str
        Length of texts; a key of the texts of a header, or ``"pixel"``, for that of the names in the data.
    """

    name: str
    kind: str
    unit: str
    meaning: str
    value: Value
    width: int | str = 16


def _fact(key: str) -> Value:
    return lambda header, rows: rows.facts[key]


def _text(key: str) -> Value:
    return lambda header, rows: header.text[key]


def _constant(value: Any) -> Value:
    return lambda header, rows: value


def _system(header: Header) -> tuple[str, float]:
    return ("", math.nan) if header.sky is None else header.sky.system


def _frame_velocity(header: Header, rows: Rows) -> Any:
    # Without a local standard of rest VELDEF names the telescope, which does not move in its own frame.
    return find_frame_velocity(rows.facts["ratio"]) if header.has_frame else 0.0


def _source_velocity(header: Header) -> float:
    return 0.0 if math.isnan(header.source_velocity) else header.source_velocity


SDFITS = (
    Column("OBJECT", TEXT, "", "source", _text("object"), "object"),
    Column("SCAN", INTEGER, "", "scan number", lambda header, rows: header.scan),
    Column("SUBSCAN", INTEGER, "", "ON subscan, counted from 0", _fact("subscan")),
    Column("DUMP", INTEGER, "", "dump or chop phase in it, from 0", _fact("dump")),
    Column("IFNUM", INTEGER, "", "band, counted from 0", lambda header, rows: header.band),
    Column("PLNUM", INTEGER, "", "array, counted from 0", _fact("array")),
    Column("FDNUM", INTEGER, "", "receiver (pixel) of it, from 0", _fact("receiver")),
    Column("SAMPLER", TEXT, "", "name of the pixel", _fact("pixel"), "pixel"),
    Column("TELESCOP", TEXT, "", "telescope", _text("telescope"), "telescope"),
    Column("FRONTEND", TEXT, "", "frontend", _text("frontend"), "frontend"),
    Column("OBSMODE", TEXT, "", "observing mode", lambda header, rows: f"{header.text['mode']}:NONE:NONE", 32),
    Column("LINE", TEXT, "", "line", _text("line"), "line"),
    Column("DATE-OBS", TEXT, "", "middle of the dump, UTC", _fact("date"), 23),
    Column("EXPOSURE", DOUBLE, "s", "integration time on source", _fact("exposure")),
    Column("DURATION", DOUBLE, "s", "the same", _fact("exposure")),
    Column("TSYS", DOUBLE, "K", "T_sys (DSB), median of good channels", _fact("t_sys")),
    Column("SIGMA", DOUBLE, "K", "expected noise, median likewise", _fact("sigma")),
    Column("CTYPE1", TEXT, "", "topocentric frequency", _constant("FREQ-OBS")),
    Column("CUNIT1", TEXT, "", "its unit", _constant("Hz")),
    Column("CRVAL1", DOUBLE, "Hz", "frequency at channel CRPIX1", lambda header, rows: header.axis.frequency),
    Column("CRPIX1", DOUBLE, "", "reference channel, from 1", lambda header, rows: header.axis.channel),
    Column("CDELT1", DOUBLE, "Hz", "step of the channels", lambda header, rows: header.axis.step),
    Column("CTYPE2", TEXT, "", "first coordinate", _constant("RA")),
    Column("CRVAL2", DOUBLE, "deg", "right ascension of the dump", _fact("lon")),
    Column("CTYPE3", TEXT, "", "second coordinate", _constant("DEC")),
    Column("CRVAL3", DOUBLE, "deg", "declination of the dump", _fact("lat")),
    Column("CTYPE4", TEXT, "", "polarisation", _constant("STOKES")),
    Column("CRVAL4", DOUBLE, "", "1: unpolarised", _constant(STOKES_I)),
    Column("TRGTLONG", DOUBLE, "deg", "right ascension of the source", _fact("centre_lon")),
    Column("TRGTLAT", DOUBLE, "deg", "declination of the source", _fact("centre_lat")),
    Column("RADESYS", TEXT, "", "frame of the position", lambda header, rows: _system(header)[0]),
    Column("EQUINOX", DOUBLE, "yr", "its equinox", lambda header, rows: _system(header)[1]),
    Column("RESTFREQ", DOUBLE, "Hz", "rest frequency", lambda header, rows: header.rest_frequency),
    Column("OBSFREQ", DOUBLE, "Hz", "frequency at channel CRPIX1", lambda header, rows: header.axis.frequency),
    Column("IMAGFREQ", DOUBLE, "Hz", "image frequency there", lambda header, rows: header.image_frequency),
    Column("FREQRES", DOUBLE, "Hz", "width of a channel", lambda header, rows: abs(header.axis.step)),
    Column(
        "BANDWID", DOUBLE, "Hz", "all channels", lambda header, rows: abs(header.axis.step) * header.axis.n_channels
    ),
    Column(
        "VELDEF",
        TEXT,
        "",
        "velocities: radio, LSRK or topocentric",
        lambda header, rows: "RADI-LSR" if header.has_frame else "RADI-OBS",
    ),
    Column("VELOCITY", DOUBLE, "m/s", "of the source, 0 if unknown", lambda header, rows: _source_velocity(header)),
    Column("VFRAME", DOUBLE, "m/s", "of the LSRK from the telescope", _frame_velocity),
    Column("AZIMUTH", DOUBLE, "deg", "blank: not in L1", _constant(math.nan)),
    Column("ELEVATIO", DOUBLE, "deg", "elevation", _fact("elevation")),
    Column("TAU-ATM", DOUBLE, "", "zenith opacity, median of channels", _fact("tau")),
    Column("MH2O", DOUBLE, "mm", "precipitable water vapour", _fact("pwv")),
    Column("FORWEFF", DOUBLE, "", "forward efficiency", _fact("forward_efficiency")),
    Column("SITELONG", DOUBLE, "deg", "east longitude of the telescope", lambda header, rows: header.site[0]),
    Column("SITELAT", DOUBLE, "deg", "its latitude", lambda header, rows: header.site[1]),
    Column("SITEELEV", DOUBLE, "m", "its altitude", lambda header, rows: header.site[2]),
    Column("PROJID", TEXT, "", "project", _text("project"), "project"),
    Column("SIG", TEXT, "", "T: a signal, no reference", _constant("T")),
    Column("CAL", TEXT, "", "F: no noise diode", _constant("F")),
    Column("PROCSEQN", INTEGER, "", "1 (one scan a procedure)", _constant(1)),
    Column("PROCSIZE", INTEGER, "", "1", _constant(1)),
)
"""Columns of SDFITS, besides DATA and FLAGS."""


def _shift(header: Header, rows: Rows) -> Any:
    """Frequencies in the frame of the source over those at the telescope; at the telescope if no other is known."""
    ratio = rows.facts["ratio"] if header.has_frame else np.ones(len(rows))
    return ratio / (1.0 - _reference_velocity(header) / _C_MS)


def _reference_velocity(header: Header) -> float:
    return _source_velocity(header) if header.has_frame and not math.isnan(header.rest_frequency) else 0.0


def _class_rest(header: Header, rows: Rows) -> Any:
    """Rest frequency; that of the reference channel where there is no line."""
    if math.isnan(header.rest_frequency):
        return header.axis.frequency * _shift(header, rows)
    return np.full(len(rows), header.rest_frequency)


def _class_channel(header: Header, rows: Rows) -> Any:
    """Channel with the rest frequency, from 1: offsets of frequency and velocity are zero there."""
    axis, shift = header.axis, _shift(header, rows)
    if axis.n_channels == 1:
        return np.full(len(rows), axis.channel)
    return axis.channel + (_class_rest(header, rows) / shift - axis.frequency) / axis.step


def _class_image(header: Header, rows: Rows) -> Any:
    # The image sideband runs backwards.
    away = _class_channel(header, rows) - header.axis.channel
    return (header.image_frequency - away * header.axis.step) * _shift(header, rows)


def _class_offset(header: Header, rows: Rows) -> Any:
    """Offset of the reference channel from the rest frequency; of a single channel all there is."""
    if header.axis.n_channels > 1:
        return 0.0
    return header.axis.frequency * _shift(header, rows) - _class_rest(header, rows)


def _class_spacing(header: Header, rows: Rows) -> Any:
    ratio = rows.facts["ratio"] if header.has_frame else 1.0
    return -_C_MS * header.axis.step * ratio / _class_rest(header, rows)


def _class_velocity(header: Header, rows: Rows) -> float:
    return _reference_velocity(header) if header.has_frame else math.nan


def _sky(header: Header) -> Any:
    return ICRS if header.sky is None else header.sky


CLASS = (
    Column("MAXIS1", INTEGER, "", "number of channels", lambda header, rows: header.axis.n_channels),
    Column("SCAN", INTEGER, "", "scan number", lambda header, rows: header.scan),
    Column("SUBSCAN", INTEGER, "", "ON subscan, counted from 1", lambda header, rows: rows.facts["subscan"] + 1),
    Column("DUMP", INTEGER, "", "dump or chop phase, from 0", _fact("dump")),
    Column("OBJECT", TEXT, "", "source", _text("object"), "object"),
    Column("LINE", TEXT, "", "line", _text("line"), "line"),
    Column("TELESCOP", TEXT, "", "name of the pixel", _fact("pixel"), "pixel"),
    Column("INSTRUME", TEXT, "", "telescope", _text("telescope"), "telescope"),
    Column("DATE-OBS", TEXT, "", "middle of the dump, UTC", _fact("date"), 23),
    Column("UT", DOUBLE, "s", "time of that day", _fact("seconds")),
    Column("OBSTIME", DOUBLE, "s", "integration time on source", _fact("exposure")),
    Column("EXPOSURE", DOUBLE, "s", "integration time on source", _fact("exposure")),
    Column("TSYS", DOUBLE, "K", "T_sys (DSB), median of good channels", _fact("t_sys")),
    Column("RESTFREQ", DOUBLE, "Hz", "rest frequency, of channel CRPIX1", _class_rest),
    Column("IMAGFREQ", DOUBLE, "Hz", "image frequency there, of the source", _class_image),
    Column("CRVAL1", DOUBLE, "Hz", "offset from RESTFREQ at CRPIX1", _class_offset),
    Column("CRPIX1", DOUBLE, "", "reference channel, from 1", _class_channel),
    Column("CDELT1", DOUBLE, "Hz", "step, of the source", lambda header, rows: header.axis.step * _shift(header, rows)),
    Column("VELO-LSR", DOUBLE, "m/s", "LSRK velocity of channel CRPIX1", _class_velocity),
    Column("DELTAV", DOUBLE, "m/s", "step in velocity", _class_spacing),
    Column("VELDEF", TEXT, "", "frame", lambda header, rows: "RADI-LSR" if header.has_frame else "RADI-OBS"),
    Column("OBSFREQ", DOUBLE, "Hz", "topocentric, of channel OBSPIX", lambda header, rows: header.axis.frequency),
    Column("OBSPIX", DOUBLE, "", "its channel, from 1", lambda header, rows: header.axis.channel),
    Column("FREQRES", DOUBLE, "Hz", "topocentric step", lambda header, rows: header.axis.step),
    Column(
        "CTYPE2", TEXT, "", "longitude", lambda header, rows: "GLON-TAN" if _sky(header).is_galactic else "RA---TAN"
    ),
    Column("CRVAL2", DOUBLE, "deg", "of the centre of the map", lambda header, rows: _sky(header).longitude),
    Column("CDELT2", DOUBLE, "deg", "offset of the dump, true angle", _fact("offset_lon")),
    Column("CTYPE3", TEXT, "", "latitude", lambda header, rows: "GLAT-TAN" if _sky(header).is_galactic else "DEC--TAN"),
    Column("CRVAL3", DOUBLE, "deg", "of the centre of the map", lambda header, rows: _sky(header).latitude),
    Column("CDELT3", DOUBLE, "deg", "offset of the dump", _fact("offset_lat")),
    Column("EQUINOX", DOUBLE, "yr", "equinox", lambda header, rows: _system(header)[1]),
    Column("ELEVATIO", DOUBLE, "deg", "elevation", _fact("elevation")),
    Column("TAU-ATM", DOUBLE, "", "zenith opacity, median of channels", _fact("tau")),
    Column("MH2O", DOUBLE, "mm", "precipitable water vapour", _fact("pwv")),
    Column("FORWEFF", DOUBLE, "", "forward efficiency", _fact("forward_efficiency")),
)
"""Columns of CLASS's FITS, besides SPECTRUM."""


def _frame(header: Header, rows: Rows) -> str:
    return "LSRK" if header.has_frame else ""


CSV = (
    Column("scan", INTEGER, "", "scan number", lambda header, rows: header.scan),
    Column("band", INTEGER, "", "band, counted from 0", lambda header, rows: header.band),
    Column("subscan", INTEGER, "", "ON subscan, counted from 0", _fact("subscan")),
    Column("dump", INTEGER, "", "dump or chop phase of it, counted from 0", _fact("dump")),
    Column("pixel", TEXT, "", "name of the pixel", _fact("pixel"), "pixel"),
    Column("source", TEXT, "", "source", _text("object"), "object"),
    Column("line", TEXT, "", "line", _text("line"), "line"),
    Column("telescope", TEXT, "", "telescope", _text("telescope"), "telescope"),
    Column("mode", TEXT, "", "observing mode", _text("mode"), "mode"),
    Column("date_obs", TEXT, "", "middle of the dump, UTC", _fact("date"), 23),
    Column("exposure", DOUBLE, "s", "integration time on source", _fact("exposure")),
    Column("t_sys", DOUBLE, "K", "T_sys (DSB), median of good channels", _fact("t_sys")),
    Column("sigma", DOUBLE, "K", "expected noise of a channel, median likewise", _fact("sigma")),
    Column("elevation", DOUBLE, "deg", "elevation", _fact("elevation")),
    Column("lon", DOUBLE, "deg", "right ascension of the dump", _fact("lon")),
    Column("lat", DOUBLE, "deg", "declination of the dump", _fact("lat")),
    Column("radesys", TEXT, "", "frame of the position", lambda header, rows: _system(header)[0]),
    Column("offset_lon", DOUBLE, "deg", "offset from the centre of the map, true angle", _fact("offset_lon")),
    Column("offset_lat", DOUBLE, "deg", "offset in latitude", _fact("offset_lat")),
    Column("rest_frequency", DOUBLE, "Hz", "rest frequency of the line", lambda header, rows: header.rest_frequency),
    Column("source_velocity", DOUBLE, "m/s", "velocity of the source", lambda header, rows: header.source_velocity),
    Column("frame", TEXT, "", "standard of rest of frame_velocity", _frame),
    Column(
        "frame_velocity",
        DOUBLE,
        "m/s",
        "velocity of that standard of rest from the telescope",
        lambda header, rows: find_frame_velocity(rows.facts["ratio"]),
    ),
    Column("channels", INTEGER, "", "number of channels", lambda header, rows: header.axis.n_channels),
    Column("frequency", DOUBLE, "Hz", "topocentric, of ref_channel", lambda header, rows: header.axis.frequency),
    Column("ref_channel", INTEGER, "", "its channel, counted from 1", lambda header, rows: int(header.axis.channel)),
    Column("step", DOUBLE, "Hz", "frequency from channel to channel", lambda header, rows: header.axis.step),
)
"""Columns of CSV before those of the channels."""
