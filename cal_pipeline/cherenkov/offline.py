"""Times and coordinates without the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from astropy.utils import iers


@contextmanager
def without_network() -> Iterator[None]:
    """Let astropy use its bundled tables of leap seconds and of the Earth's rotation within the block.

    By default it would download newer ones, and warn of old ones, which suffice here: the Sun is needed to a second.

    Examples
    --------
    >>> from astropy.time import Time
    >>> with without_network():
    ...     print(Time("2023-07-10T00:00:00", scale="utc").tai.iso)
    2023-07-10 00:00:37.000
    """
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        yield
