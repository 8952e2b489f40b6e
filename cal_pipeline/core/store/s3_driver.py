"""Settings of the driver of S3 that no option of it reaches."""

from __future__ import annotations

from functools import cache
from typing import Any


def set_up_s3(system: Any) -> None:
    """Let a file system of s3fs ask once for each object, and load the descriptions of the service once a process.

    Parameters
    ----------
    system : s3fs.S3FileSystem
        The file system, which has connected to nothing yet.
    """
    # It would ask for the size of each object first, to read large ones in parts.
    system.max_concurrency = 1
    if system.session is None:
        system.session = _with_shared_models(system.kwargs)


def _with_shared_models(settings: dict[str, Any]) -> Any:
    """Make what the driver would make itself, and read 0.2 s long for each store: descriptions of all services."""
    from aiobotocore.session import AioSession

    session = AioSession(**settings)
    session.register_component("data_loader", _shared_loader())
    return session


@cache
def _shared_loader() -> Any:
    from aiobotocore.session import AioSession

    return AioSession().get_component("data_loader")
