"""Observing phases that L0 knows: names of subscans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[np.str_]
Mask = NDArray[np.bool_]

_BEAMS = ("SWA", "SWB", "OTFSWA", "OTFSWB")
CHOPPED_ONS = tuple(f"{beam}-ON" for beam in _BEAMS)
CHOPPED_OFFS = tuple(f"{beam}-OFF" for beam in _BEAMS)
"""Phases of the group ``source`` of chopped scans, each in a beam."""

ONS = ("ON", "OTF-ON", *CHOPPED_ONS)
OFFS = ("OFF", "OTF-OFF", *CHOPPED_OFFS)
"""Phases of the group ``source``, on the source and on blank sky."""

HOT = ("HOT",)
COLD = ("COLD", "COL")
ZERO = ("ZERO",)
"""Phases of the loads."""

CALIBRATION = (*HOT, *COLD, *ZERO, "SKY")
"""Phases of the group ``calibration``; its SKY is not used."""


def find_phases(phases: Texts, names: tuple[str, ...]) -> Mask:
    """Find the subscans of named phases, in any case of letters.

    Parameters
    ----------
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of the subscans.
    names : tuple of str
        Phases to find, in capitals.

    Returns
    -------
    ndarray of bool, shape (S,)
        True for a subscan of one of these phases.
    """
    # A scan has a few dozen subscans: np.isin, which sorts, takes ten times as long.
    upper = np.char.upper(phases)
    return np.array([phase in names for phase in upper.ravel().tolist()], np.bool_).reshape(upper.shape)
