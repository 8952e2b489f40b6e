"""Streams of random numbers, each known by its key alone."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """First part of the key of a stream: what its numbers are for."""

    GAIN = 0
    READ_NOISE = 1
    BIAS = 2
    LINEARITY = 3
    WELL = 4
    DARK = 5
    BAD_PIXELS = 6
    FLAT = 7
    FLAT_STRUCTURE = 8
    STARS = 9
    ZERO_LEVELS = 10
    RAMPS = 11


def make_generator(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """Make the generator of a stream.

    Streams are independent of each other and of the order in which they are used, so blocks may be
    simulated by any number of threads.

    Parameters
    ----------
    seed : int
        Seed of the visit.
    stream : Stream
        Purpose.
    *key : int
        Further parts of the key, such as the numbers of exposure, integration and block.

    Examples
    --------
    >>> one, again = (make_generator(1, Stream.RAMPS, 1, 0) for _ in range(2))
    >>> one.random() == again.random()
    True
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(int(stream), *key))
    # Named, since the generator behind `default_rng` may change between releases of NumPy.
    return np.random.Generator(np.random.PCG64(sequence))
