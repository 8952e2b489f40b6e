"""Fields of L0 that a profile gives values: their units and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "time", "text", "label"]


@dataclass(frozen=True)
class Field:
    """Field of L0.

    Parameters
    ----------
    name : str
        Its name.
    kind : {"number", "time", "text", "label"}
        Numbers, dates (or Modified Julian Dates), texts, or numbers or texts.
    unit : str
        Unit of numbers in L0, by its name in astropy.
    required : bool
        Whether each row must have it.
    meaning : str
        Meaning, for the documentation.
    whole : bool
        Whether a number must be whole.
    """

    name: str
    kind: Kind
    unit: str
    required: bool
    meaning: str
    whole: bool = False


def _by_name(*fields: Field) -> dict[str, Field]:
    return {field.name: field for field in fields}


SCAN_FIELDS = _by_name(
    Field("number", "number", "", True, "scan number"),
    Field("source", "text", "", False, "name of the source"),
    Field("instmode", "text", "", False, "observing mode, such as ``TP`` or ``OTF``"),
    Field("telescope", "text", "", False, "name of the telescope, by which its profile is found"),
    Field("frontend", "text", "", False, "name of the frontend"),
    Field("line", "text", "", False, "name of the line"),
    Field("rest_freq_hz", "number", "Hz", False, "rest frequency of the line"),
    Field("velocity_source_kms", "number", "km/s", False, "velocity of the source"),
    Field("date_obs", "text", "", False, "date of the observation"),
    Field("coord_frame", "text", "", False, "frame of the coordinates: ``icrs``, ``fk5``, ``galactic``"),
    Field("source_lon_deg", "number", "deg", False, "longitude of the position that offsets start from"),
    Field("source_lat_deg", "number", "deg", False, "latitude of the position that offsets start from"),
)
"""Attributes of a scan."""

MAP_FIELDS = _by_name(
    Field("mjd", "time", "d", True, "date, or Modified Julian Date; ``[time]`` says of which moment"),
    Field("exptime", "number", "s", True, "integration time of a dump"),
    Field("elevation", "number", "rad", True, "elevation"),
    Field("azimuth", "number", "rad", False, "azimuth"),
    Field("pamb", "number", "Torr", True, "ambient pressure"),
    Field("tamb", "number", "K", True, "ambient temperature"),
    Field("signal_freq", "number", "Hz", True, "frequency of the reference channel in the signal sideband"),
    Field("image_freq", "number", "Hz", False, "frequency of the reference channel in the image sideband"),
    Field("freq_res", "number", "Hz", True, "distance of two channels, signed"),
    Field("freq_off", "number", "Hz", False, "offset of the reference channel"),
    Field("ref_channel", "number", "", False, "reference channel, from 0"),
    Field("thot", "number", "K", False, "temperature of the hot load"),
    Field("tcold", "number", "K", False, "temperature of the cold load"),
    Field("lloadsn", "number", "", False, "number of the scan with the loads", whole=True),
    Field("otf_lon", "number", "deg", False, "longitude offset, as a true angle"),
    Field("otf_lat", "number", "deg", False, "latitude offset"),
    Field("pixel_offset_lon", "number", "deg", False, "longitude offset of the pixel, as a true angle"),
    Field("pixel_offset_lat", "number", "deg", False, "latitude offset of the pixel"),
    Field("lon", "number", "deg", False, "absolute longitude"),
    Field("lat", "number", "deg", False, "absolute latitude"),
)
"""Numbers of a row."""

PIXEL_FIELDS = _by_name(
    Field("receiver", "label", "", True, "pixel of an array"),
    Field("array", "label", "", True, "array: pixels that share a frequency axis"),
    Field("band", "label", "", True, "band: arrays that share a frequency axis"),
)
"""Place of a row among the pixels."""

DOPPLER = Field("doppler", "number", "", True, "v/c by which recorded frequencies are shifted to the telescope's")
"""Ratio, less 1, of topocentric to recorded frequencies."""

FREQUENCIES = ("signal_freq", "image_freq", "freq_res", "freq_off")
"""Fields that are shifted by the Doppler factor."""
