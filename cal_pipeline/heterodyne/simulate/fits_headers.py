"""Headers of simulated FITS files: numbers of L0 in the keywords and units of a telescope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.errors import SimulationError, require
from cal_pipeline.heterodyne.simulate.fits_cards import (
    CardValue,
    around,
    divide_exactly,
    divide_rounded,
    find_start,
    split_exactly,
)
from cal_pipeline.heterodyne.simulate.forward import FILL
from cal_pipeline.heterodyne.simulate.layout import MJD_EPOCH

CREATOR = "cal-simulate"
"""Value of the card CREATOR, by which files of the simulator are known."""

ARCSEC = 1.0 / 3600.0
MEGAHERTZ = 1e6
DEGREE = np.pi / 180.0
"""Factors from the units of the cards to those of L0: deg, Hz, rad."""

HECTOPASCAL = 100.0 * 760.0 / 101325.0
"""Torr in 1 hPa."""

SECONDS_A_DAY = 86400.0

STRAIGHT = 4.0
"""Largest deviation of a track from a straight line, in units of the last place of its largest offset."""

Card = tuple[str, CardValue, str]
"""Keyword, value and comment."""

Values = Mapping[str, NDArray[Any]]
"""Small arrays of a group by name."""


@dataclass(frozen=True)
class Dialect:
    """Keywords in which telescopes differ.

    Parameters
    ----------
    profile : str
        Name of the profile by which `calibrate ingest` reads the files.
    offsets : tuple of str
        Keywords of the offsets of the map in longitude and latitude.
    pixel : tuple of str
        Keywords of the offsets of the pixel.
    """

    profile: str
    offsets: tuple[str, str] = ("LAMDEL", "BETDEL")
    pixel: tuple[str, str] = ("RXDX", "RXDY")


GREAT = Dialect("great")
CHAI = Dialect("ccat", ("LAMOFF", "BETOFF"), ("PIXOFFX", "PIXOFFY"))
NANTEN2 = Dialect("nanten2")

DIALECTS = {"CCAT": CHAI, "FYST": CHAI, "SOFIA": GREAT, "NANTEN2": NANTEN2}
"""Dialects by the first letters of the telescope's name."""


def choose_dialect(telescope: str) -> Dialect:
    """Choose the keywords of a telescope.

    Parameters
    ----------
    telescope : str
        Its name.

    Returns
    -------
    Dialect

    Raises
    ------
    SimulationError
        If it has no FITS files of this kind.

    Examples
    --------
    >>> choose_dialect("CCAT").profile
    'ccat'
    """
    for name, dialect in DIALECTS.items():
        if telescope.upper().startswith(name):
            return dialect
    raise SimulationError(
        f"telescope {telescope!r} has no FITS files of one subscan and pixel each; telescopes whose names begin with "
        f"{', '.join(DIALECTS)} have"
    )


def image_cards(channels: int, dumps: int) -> list[Card]:
    """Return the mandatory cards of an image of 32-bit counts.

    Parameters
    ----------
    channels, dumps : int
        Lengths of the axes.

    Returns
    -------
    list of tuple

    Examples
    --------
    >>> image_cards(1024, 8)[3:5]
    [('NAXIS1', 1024, 'channels'), ('NAXIS2', 8, 'dumps')]
    """
    return [
        ("SIMPLE", True, "FITS 4.0"),
        ("BITPIX", 32, "counts of 32 bits"),
        ("NAXIS", 2, ""),
        ("NAXIS1", channels, "channels"),
        ("NAXIS2", dumps, "dumps"),
        ("BLANK", int(FILL), "a missing dump"),
        ("BUNIT", "count", ""),
        ("CREATOR", CREATOR, "simulated with a known sky"),
    ]


def scan_cards(attributes: Mapping[str, Any]) -> list[Card]:
    """Return what a header tells of the scan and its source.

    Parameters
    ----------
    attributes : mapping
        Attributes of scan and band in L0. Empty texts have no card.

    Returns
    -------
    list of tuple

    Examples
    --------
    >>> from cal_pipeline.heterodyne.simulate.layout import band_attributes, scan_attributes
    >>> from cal_pipeline.heterodyne.simulate.plan import plan_session
    >>> from cal_pipeline.simulate import preset
    >>> config = preset("ccat_chai")
    >>> [card[1] for card in scan_cards(scan_attributes(config, plan_session(config)[0]))][:4]
    ['CCAT', 'CHAI_LFA', 'SIM-ORION', 'TP']
    """
    texts: list[Card] = [
        ("TELESCOP", attributes["telescope"], ""),
        ("INSTRUME", attributes["frontend"], "frontend"),
        ("OBJECT", attributes["source"], ""),
        ("OBSMODE", attributes["instmode"], "observing mode"),
        ("LINE", attributes["line"], ""),
        ("RADESYS", attributes["coord_frame"].upper(), "of LAM0 and BET0"),
    ]
    rest_freq = divide_exactly(attributes["rest_freq_hz"], MEGAHERTZ)
    numbers: list[Card] = [
        ("SCAN", attributes["scan_number"], ""),
        ("RESTFREQ", rest_freq, "[MHz] of the line"),
        ("VLSR", float(attributes["velocity_source_kms"]), "[km/s] of the source"),
        ("LAM0", float(attributes["source_lon_deg"]), "[deg] longitude of the source"),
        ("BET0", float(attributes["source_lat_deg"]), "[deg] latitude of the source"),
    ]
    return [card for card in texts if card[1] != ""] + numbers


def subscan_cards(values: Values, index: int, dumps: int) -> list[Card]:
    """Return what a header tells of the subscan: phase, time, surroundings, frequencies, loads.

    Parameters
    ----------
    values : mapping of str to ndarray
        Small arrays of the group.
    index : int
        Subscan in the group.
    dumps : int
        Dumps of the subscan.

    Returns
    -------
    list of tuple
    """
    exptime = divide_rounded(values["exptime"][index], 1.0)
    start = find_start(float(values["mjd"][index]), dumps * exptime / 2.0 / SECONDS_A_DAY)
    # Half a millisecond, because isoformat cuts digits off.
    date = (MJD_EPOCH + timedelta(days=start, microseconds=500)).isoformat(timespec="milliseconds")
    cards: list[Card] = [
        ("SOBSMODE", str(values["sobsmode"][index]), "phase"),
        ("TIMESYS", "UTC", ""),
        ("DATE-OBS", date, "start"),
        ("MJD-OBS", start, "[d] start"),
        ("EXPTIME", exptime, "[s] of one dump"),
        ("ELEVATIO", divide_rounded(values["elevation"][index], DEGREE), "[deg]"),
        ("AZIMUTH", divide_rounded(values["azimuth"][index], DEGREE), "[deg]"),
        ("PAMB", divide_rounded(values["pamb"][index], HECTOPASCAL), "[hPa] ambient pressure"),
        ("TAMB", divide_rounded(values["tamb"][index], 1.0), "[K] ambient temperature"),
        ("REFCHAN", float(values["ref_channel"][index]) + 1.0, "reference channel, from 1 on"),
        ("LLOADSN", int(values["lloadsn"][index]), "scan of the last loads"),
    ]
    frequencies = {
        "OBSFREQ": ("signal_freq", "of the reference channel, signal sideband"),
        "IMAGFREQ": ("image_freq", "of the reference channel, image sideband"),
        "FREQRES": ("freq_res", "distance of two channels"),
        "FREQOFFS": ("freq_off", "offset of the reference channel"),
    }
    for key, (name, comment) in frequencies.items():
        cards.append((key, divide_exactly(float(values[name][index]), MEGAHERTZ), f"[MHz] {comment}"))
    for key, name in (("THOT", "thot"), ("TCOLD", "tcold")):
        if name in values:
            # In L0 made of files they have 64 bits, so all digits of the 32 bits count.
            cards.append((key, float(values[name][index]), "[K] load"))
    return cards


def offset_cards(values: Values, index: int, dialect: Dialect) -> list[Card]:
    """Return where on the map the subscan is; a group of loads tells nothing.

    Parameters
    ----------
    values : mapping of str to ndarray
        Small arrays of the group; `otf_lon`, `otf_lat` of shape (S,) or (D, S) [deg].
    index : int
        Subscan in the group.
    dialect : Dialect
        Keywords.

    Returns
    -------
    list of tuple
        One position, or the start of a track and its step from dump to dump.

    Raises
    ------
    SimulationError
        If a track is no straight line in even steps.
    """
    cards: list[Card] = []
    for axis, key, sky in zip(("lon", "lat"), dialect.offsets, ("LAM", "BET"), strict=True):
        track = values.get(f"otf_{axis}")
        if track is None:
            return []
        first, rest = split_exactly(float(np.ravel(track[..., index])[0]), ARCSEC)
        step = find_step(track[:, index]) if track.ndim == 2 else None
        if step is None and rest == 0.0:
            cards.append((key, first, "[arcsec]"))
            continue
        # Two numbers give start positions that one cannot: see `split_exactly`.
        cards += [(key, rest, "[arcsec]"), (f"OTFS{sky}", first, "[arcsec] start of the track")]
        cards += [] if step is None else [(f"OTFV{sky}", step, "[arcsec] from dump to dump")]
    return cards


def find_step(track: NDArray[np.float64]) -> float:
    """Find the step of a track in arcsec.

    Parameters
    ----------
    track : ndarray, shape (D,)
        Offsets of the dumps [deg].

    Returns
    -------
    float
        Step [arcsec] that gives the track best from its first offset on: exactly if such a number
        exists, else to a few units in the last place of the largest offset.

    Raises
    ------
    SimulationError
        If the track is no straight line in even steps.

    Examples
    --------
    >>> find_step(np.array([-0.003, -0.001, 0.001, 0.003]))
    7.2
    >>> find_step(np.array([0.0, 1.0, 3.0]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cal_pipeline.heterodyne.simulate.errors.SimulationError: a track is no straight line in even steps: dump 1 ...
    """
    if len(track) == 1:
        return 0.0
    dumps = np.arange(len(track))

    def deviation(step: float) -> float:
        return float(np.max(np.abs(track[0] + dumps * (step * ARCSEC) - track)))

    mean = float((track[-1] - track[0]) / (len(track) - 1))
    best = min({divide_exactly(float(guess), ARCSEC) for guess in around(mean, 4)}, key=deviation)
    off = np.abs(track[0] + dumps * mean - track)
    largest = int(np.argmax(off))
    require(
        deviation(best) <= STRAIGHT * float(np.spacing(np.max(np.abs(track)))),
        f"a track is no straight line in even steps: dump {largest} is at {track[largest]:.6g} deg, "
        f"{off[largest]:.2g} deg off the line; such a map has no FITS files",
    )
    return best


def pixel_cards(values: Values, r: int, a: int, index: int, dialect: Dialect) -> list[Card]:
    """Return where the pixel looks relative to the telescope; a group of loads tells nothing.

    Parameters
    ----------
    values : mapping of str to ndarray
        Small arrays of the group; `pixel_offset_lon`, `pixel_offset_lat` of shape (R, A, S) [deg].
    r, a, index : int
        Receiver, array and subscan.
    dialect : Dialect
        Keywords.

    Returns
    -------
    list of tuple
        Offsets; a further card has the rest where no number of arcsec gives the offset exactly.
    """
    cards: list[Card] = []
    for axis, key in zip(("lon", "lat"), dialect.pixel, strict=True):
        offsets = values.get(f"pixel_offset_{axis}")
        if offsets is None:
            return []
        number, rest = split_exactly(float(offsets[r, a, index]), ARCSEC)
        cards.append((key, number, "[arcsec] pixel relative to the array"))
        if rest != 0.0:
            cards.append((f"{key}L", rest, f"[arcsec] to be added to {key}"))
    return cards
