"""Chunks in which counts are written."""

from __future__ import annotations

Shape = tuple[int, int, int, int, int]

CHUNK_CHANNELS = 2048
CHUNK_SAMPLES = 1 << 24
"""Samples of the largest default chunk."""


def default_chunks(shape: Shape, most_samples: int = CHUNK_SAMPLES) -> Shape:
    """Return chunks of one subscan, of at most 2048 channels and a number of samples.

    Parameters
    ----------
    shape : tuple of int
        Lengths (C, D, R, A, S) of the counts.
    most_samples : int
        Largest number of samples of a chunk, unless one channel has more; 64 MB of integers by default.

    Examples
    --------
    >>> default_chunks((16384, 20, 7, 2, 30))
    (2048, 20, 7, 2, 1)
    >>> default_chunks((16384, 500, 64, 1, 30))
    (524, 500, 64, 1, 1)
    """
    channels, dumps, receivers, arrays, _ = shape
    fitting = max(1, most_samples // (dumps * receivers * arrays))
    return min(channels, CHUNK_CHANNELS, fitting), dumps, receivers, arrays, 1
