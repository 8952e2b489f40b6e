"""Observing phases and the observing modes they make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.errors import NoReferenceError

Texts = NDArray[np.str_]
Mask = NDArray[np.bool_]

MODES = ("total_power", "otf", "otf_chopped")
"""Modes that are calibrated."""

BEAMS = ("SWA", "SWB", "OTFSWA", "OTFSWB")
ONS = tuple(f"{kind}ON" for kind in ("", "OTF-", *(f"{beam}-" for beam in BEAMS)))
OFFS = tuple(f"{kind}OFF" for kind in ("", "OTF-", *(f"{beam}-" for beam in BEAMS)))
"""Phases of the group ``source``; subscans of others do not take part."""

HOT = ("HOT",)
COLD = ("COLD", "COL")
ZERO = ("ZERO",)
"""Phases of the loads."""


def beams(phases: Texts) -> Texts:
    """Return the beam of each subscan: ``"A"`` for SWA, ``"B"`` for SWB phases, else ``""``."""
    upper = np.where(is_on(phases) | is_off(phases), np.char.upper(phases), "")
    return np.where(np.char.find(upper, "SWA") >= 0, "A", np.where(np.char.find(upper, "SWB") >= 0, "B", ""))


def is_on(phases: Texts) -> Mask:
    """Find the subscans on the source: ON, OTF-ON, and chopped ON phases."""
    return _among(phases, ONS)


def is_off(phases: Texts) -> Mask:
    """Find the subscans on blank sky: OFF, OTF-OFF, and chopped OFF phases."""
    return _among(phases, OFFS)


def _among(phases: Texts, names: tuple[str, ...]) -> Mask:
    """Find the subscans of named phases, in any case of letters."""
    # A scan has a few dozen subscans: np.isin, which sorts, takes ten times as long.
    upper = np.char.upper(phases)
    return np.array([phase in names for phase in upper.ravel().tolist()], np.bool_).reshape(upper.shape)


def is_observed(phases: Texts) -> Mask:
    """Find the subscans to calibrate: those with a beam in a chopped scan, else all."""
    chopped = beams(phases) != ""
    return np.asarray(chopped if chopped.any() else np.ones(chopped.shape, np.bool_))


def observing_mode(phases: Texts, instmode: str) -> str:
    """Determine the observing mode of a scan.

    Parameters
    ----------
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of its subscans.
    instmode : str
        Instrument mode, as recorded.

    Returns
    -------
    str
        ``otf_chopped`` with any SWA or SWB phase, ``otf`` with any OTF phase or instrument mode
        OTF, else ``total_power``.
    """
    if (beams(phases) != "").any():
        return "otf_chopped"
    if instmode.upper() == "OTF" or np.char.startswith(np.char.upper(phases), "OTF-").any():
        return "otf"
    return "total_power"


def first_on(phases: Texts, mjd: NDArray[np.float64]) -> int:
    """Zero-based subscan of the earliest ON.

    Raises
    ------
    NoReferenceError
        If there is none.
    """
    ons = np.flatnonzero(is_on(phases))
    if ons.size == 0:
        raise NoReferenceError(f"no ON among the phases {sorted(set(phases.tolist()))}")
    # Unknown times are NaN, which argmin would take for the earliest.
    return int(ons[np.argmin(np.where(np.isnan(mjd[ons]), np.inf, mjd[ons]))])
