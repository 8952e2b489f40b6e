"""Data quality of pixels and groups: the bits of the arrays ``dq``, ``pixeldq`` and ``groupdq``."""

from __future__ import annotations

from enum import IntFlag

import numpy as np


class DQ(IntFlag):
    """Data quality of a pixel; bits and names are those of JWST.

    A group of reads has the lowest eight bits only, as ``uint8``.

    Examples
    --------
    >>> DQ.HOT | DQ.DO_NOT_USE
    <DQ.DO_NOT_USE|HOT: 2049>
    >>> [flag.name for flag in DQ(2049)]
    ['DO_NOT_USE', 'HOT']
    """

    DO_NOT_USE = 1 << 0
    SATURATED = 1 << 1
    JUMP_DET = 1 << 2
    DROPOUT = 1 << 3
    OUTLIER = 1 << 4
    PERSISTENCE = 1 << 5
    AD_FLOOR = 1 << 6
    CHARGELOSS = 1 << 7
    RESERVED = 1 << 8
    NON_SCIENCE = 1 << 9
    DEAD = 1 << 10
    HOT = 1 << 11
    WARM = 1 << 12
    LOW_QE = 1 << 13
    RC = 1 << 14
    TELEGRAPH = 1 << 15
    NONLINEAR = 1 << 16
    BAD_REF_PIXEL = 1 << 17
    NO_FLAT_FIELD = 1 << 18
    NO_GAIN_VALUE = 1 << 19
    NO_LIN_CORR = 1 << 20
    NO_SAT_CHECK = 1 << 21
    UNRELIABLE_BIAS = 1 << 22
    UNRELIABLE_DARK = 1 << 23
    UNRELIABLE_SLOPE = 1 << 24
    UNRELIABLE_FLAT = 1 << 25
    OPEN = 1 << 26
    ADJ_OPEN = 1 << 27
    FLUX_ESTIMATED = 1 << 28
    MSA_FAILED_OPEN = 1 << 29
    OTHER_BAD_PIXEL = 1 << 30
    REFERENCE_PIXEL = 1 << 31


EVENTS = np.uint32(0xFE)
"""Bits 1 to 7: events of one exposure, which never pass to another."""

LASTING = np.uint32(0xFFFFFF01)
"""All bits but events."""
