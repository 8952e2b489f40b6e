"""Bits that say what is wrong with a sample; zero is good data."""

from enum import IntFlag


class Flag(IntFlag):
    """Flag bits of a spectral sample, stored as 16 unsigned bits; 256 and above are reserved."""

    BAD_CHANNEL = 1
    FILL_VALUE = 2
    SPIKE = 4
    RFI = 8
    TSYS_OUTLIER = 16
    ELEVATION_LOW = 32
    ML_FLAGGED = 64
    MANUAL = 128
