"""Locations of stores and files as users give them, normalised in one place."""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from urllib.parse import unquote, urlsplit

from cal_pipeline.core.errors import StoreError

Location = str | os.PathLike[str]
"""Path or URL, as a string or as anything that :func:`os.fspath` takes."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def normalize_location(where: Location) -> str:
    """Turn a location that a user gave into a plain path or a URL.

    ``~`` and ``$VARIABLE`` are expanded, a ``file://`` URL becomes the path of the folder, and the
    scheme of any other URL is written in lower case. Relative paths stay relative.

    Parameters
    ----------
    where : str or path-like
        Path or URL.

    Returns
    -------
    str
        Path without ``~`` and variables, or URL without a slash at its end.

    Raises
    ------
    StoreError
        If a ``file://`` URL names another host, or a URL holds a password, which would be logged
        and recorded.
    TypeError
        If `where` is neither text nor path-like.

    Examples
    --------
    >>> normalize_location("S3://night/session.zarr/")
    's3://night/session.zarr'
    >>> normalize_location("file:///data/my%20session.zarr")
    '/data/my session.zarr'
    """
    text = os.fsdecode(where)
    if isinstance(where, PurePath):
        # A Path made of a URL has lost the second slash.
        text = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])", r"\1://", text)
    text = os.path.expandvars(text)
    url = _URL.fullmatch(text)
    if url is None:
        return os.path.expanduser(text)
    if url[1].lower() == "file":
        return _path_of_file_url(text)
    _refuse_password(url[1].lower(), url[2])
    return f"{url[1].lower()}://{url[2]}".rstrip("/")


def _refuse_password(scheme: str, rest: str) -> None:
    """Refuse ``user:password@host``."""
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    if at and ":" in user:
        name = scheme.upper()
        raise StoreError(
            f"{scheme}://{user.partition(':')[0]}:***@{host}{slash}{path} holds a password, which logs and products "
            f"would show; leave it out and give it to the driver, as in FSSPEC_{name}_USERNAME and "
            f"FSSPEC_{name}_PASSWORD, or in a file in ~/.config/fsspec"
        )


def _path_of_file_url(url: str) -> str:
    """Return the local path that a ``file://`` URL names."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"{url} names the host {parts.netloc!r}; a local file is file:///path")
    return unquote(parts.path)


def is_url(where: Location | None) -> bool:
    """Tell whether a location is a URL of a remote store; a ``file://`` URL is a local path."""
    return where is not None and _URL.fullmatch(normalize_location(where)) is not None
