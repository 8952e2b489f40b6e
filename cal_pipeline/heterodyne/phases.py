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

SKY = ("SKY",)
"""Blank sky among the loads, which can stand for the cold one."""

CALIBRATION = (*HOT, *COLD, *ZERO, *SKY)
"""Phases of the group ``calibration``."""


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
    return np.array([phase.upper() in names for phase in phases.ravel().tolist()], np.bool_).reshape(phases.shape)


def cold_phases(phases: Texts) -> tuple[str, ...]:
    """Return the phases of the cold input among loads: COLD, or SKY where a HOT has no COLD beside it.

    Parameters
    ----------
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of the group ``calibration``.

    Returns
    -------
    tuple of str
        In capitals.

    Examples
    --------
    >>> cold_phases(np.array(["HOT", "SKY"])), cold_phases(np.array(["HOT", "COL", "SKY"]))
    (('SKY',), ('COLD', 'COL'))
    """
    has_hot, has_cold, has_sky = (find_phases(phases, names).any() for names in (HOT, COLD, SKY))
    return SKY if has_hot and has_sky and not has_cold else COLD


def find_loads(phases: Texts) -> Mask:
    """Find the subscans that calibrate, hot and cold.

    Parameters
    ----------
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of the group ``calibration``.

    Returns
    -------
    ndarray of bool, shape (S,)

    Examples
    --------
    >>> find_loads(np.array(["HOT", "SKY", "ZERO"])).tolist(), find_loads(np.array(["HOT", "COLD", "SKY"])).tolist()
    ([True, True, False], [True, True, False])
    """
    return find_phases(phases, (*HOT, *cold_phases(phases)))
