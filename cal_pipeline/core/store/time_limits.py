"""Time limits of requests to remote stores, and how often a request is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cal_pipeline._version import __version__

CONNECT_LIMIT_S = 10.0
"""Time for a connection [s]."""

READ_LIMIT_S = 20.0
"""Time in which a server must send or take some bytes [s]."""

WRITE_LIMIT_S = 30.0
"""Time for writing a small object [s]: the drivers watch for silence only once all is sent."""

SLOWEST_WRITE = 1e5
"""Rate that a larger object must be written at [bytes/s]."""

REQUEST_LIMIT_S = 600.0
"""Time for a whole request with its repetitions [s]: for servers that trickle, and drivers without limits."""

CONNECTIONS = 64
"""Connections to an object store at a time; drivers keep 10, of which each waits for its request."""

PAUSES_S = (0.2, 1.0)
"""Pauses before a request is repeated after what may pass [s]; afterwards it fails."""


def limit_write(n_bytes: int) -> float:
    """Return the time for writing an object of a size [s].

    Examples
    --------
    >>> limit_write(2_000_000)
    50.0
    """
    return WRITE_LIMIT_S + n_bytes / SLOWEST_WRITE


def limit_driver(scheme: str) -> dict[str, Any]:
    """Return the options by which a driver keeps the time limits.

    What the user's configuration of fsspec says is kept. Other drivers than those of HTTP and S3
    have limits of their own.

    Parameters
    ----------
    scheme : str
        Scheme of the URL.

    Returns
    -------
    dict
        Options of the file system.

    Examples
    --------
    >>> limit_driver("memory")
    {}
    """
    from fsspec.config import conf

    if scheme in ("http", "https"):
        return {"client_kwargs": _limit_http(conf)}
    if scheme in ("s3", "s3a"):
        return {"config_kwargs": _limit_s3(conf)}
    return {}


def _limit_http(conf: Mapping[str, Any]) -> dict[str, Any]:
    import aiohttp

    settings = _configured(conf, ("http", "https"), "client_kwargs")
    # A configuration file holds a number, of which the client makes a limit for all of a file.
    read = settings.get("timeout", READ_LIMIT_S)
    if isinstance(read, (int, float)):
        settings["timeout"] = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S, sock_read=read)
    return settings


def _limit_s3(conf: Mapping[str, Any]) -> dict[str, Any]:
    limits = {"connect_timeout": CONNECT_LIMIT_S, "read_timeout": READ_LIMIT_S, "retries": {"total_max_attempts": 1}}
    # Without a name the driver describes this machine anew with each request, a sixth of the work on it.
    limits |= {"max_pool_connections": CONNECTIONS, "user_agent": f"cal_pipeline/{__version__}"}
    return limits | _configured(conf, ("s3", "s3a"), "config_kwargs")


def _configured(conf: Mapping[str, Any], schemes: tuple[str, ...], name: str) -> dict[str, Any]:
    """Return the settings of a name in the user's configuration of fsspec."""
    return {key: value for scheme in schemes for key, value in conf.get(scheme, {}).get(name, {}).items()}
