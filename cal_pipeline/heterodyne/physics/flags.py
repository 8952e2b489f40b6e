"""Bits that say what is wrong with a sample; zero is good data."""

from enum import IntFlag


class Flag(IntFlag):
    """Flag bits of a spectral sample, stored as 16 unsigned bits; 2048 and above are reserved.

    Samples with BAD_CHANNEL or FILL_VALUE are NaN; those with other flags keep their values.

    Examples
    --------
    >>> bad_and_missing = Flag.BAD_CHANNEL | Flag.FILL_VALUE
    >>> int(bad_and_missing), Flag.SPIKE in bad_and_missing
    (3, False)
    """

    BAD_CHANNEL = 1
    FILL_VALUE = 2
    SPIKE = 4
    RFI = 8
    TSYS_OUTLIER = 16
    ELEVATION_LOW = 32
    ML_FLAGGED = 64
    MANUAL = 128
    SKY_OUTLIER = 256
    NOISY = 512
    BASELINE_BAD = 1024
