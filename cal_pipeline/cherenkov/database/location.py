"""Location of the database: its URL, with and without the password."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cal_pipeline.cherenkov.errors import ConfigurationError

DEFAULT_URL = "sqlite:///calibpipe.db"
"""URL of the database that is used if none is named: a file in the current folder."""

_DRIVER = "postgresql+psycopg"

_KEYS = ("url", "user", "password", "database", "host", "port", "autocommit")
"""Keys of the section; the last is one of the published package and has no effect: a tool is one transaction."""

_SECRET = re.compile(r"^(?P<start>(?:[^:/?#]+://|(?![^:/?#]+://))[^:/@]*:)(?P<password>.*)(?P<end>@[^@]*)$", re.DOTALL)
_QUERY_SECRET = re.compile(r"(?i)([?&]\w*pass\w*=)[^&]*")

HIDDEN = "***"
"""Text in place of a password."""


def read_database_configuration(section: Mapping[str, Any]) -> str:
    """Read the URL of the database from its section of a configuration.

    Parameters
    ----------
    section : mapping
        Either ``url``, or ``database`` with ``user``, ``password``, ``host`` and ``port`` of a PostgreSQL server;
        null stands for the server's default. A host that begins with ``/`` is the folder of a socket.

    Returns
    -------
    str
        URL for SQLAlchemy; :data:`DEFAULT_URL` if the section names none.

    Raises
    ------
    ConfigurationError
        If a key is unknown, the URL has company, or a value is of no use.

    Examples
    --------
    >>> read_database_configuration({"user": "me", "password": "p@ss", "database": "cta", "host": "db", "port": None})
    'postgresql+psycopg://me:p%40ss@db/cta'
    """
    for key in section:
        _refuse_unknown(str(key))
    given = {key: value for key, value in section.items() if value is not None and key != "autocommit"}
    url = given.pop("url", None)
    if url is None:
        return _compose_url(given) if given else DEFAULT_URL
    if given:
        raise ConfigurationError(f"database_configuration has url and {', '.join(given)}; expected one or the other")
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError(
            f"database_configuration: url {hide_password(str(url))!r} is none; expected one such as {DEFAULT_URL}"
        )
    return url


def _refuse_unknown(key: str) -> None:
    if key in _KEYS:
        return
    near = difflib.get_close_matches(key.lower(), _KEYS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(_KEYS)}"
    raise ConfigurationError(f"database_configuration: unknown key {key!r}; {hint}")


def _compose_url(given: Mapping[str, Any]) -> str:
    if "database" not in given:
        raise ConfigurationError(f"database_configuration has {', '.join(given)}; expected database too, or url")
    user, password, host, port = (str(given.get(key, "")) for key in ("user", "password", "host", "port"))
    if port and not port.isdecimal():
        raise ConfigurationError(f"database_configuration: port {port!r} is no number; expected one such as 5432")
    if password and not user:
        raise ConfigurationError("database_configuration has a password; expected user too")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + ("@" if user else "")
    # SQLAlchemy 2.0 does not decode this part; 2.1 does. Only what would end it is encoded.
    database = re.sub(r"[%?#]", lambda found: quote(found[0]), str(given["database"]))
    place = f":{port}" if port else ""
    if host.startswith("/"):
        # The folder of a socket cannot stand in the place of a host: its slashes would end it.
        query = f"?host={quote(host)}" + (f"&port={port}" if port else "")
        return f"{_DRIVER}://{login}/{database}{query}"
    return f"{_DRIVER}://{login}{host}{place}/{database}"


def hide_password(url: str) -> str:
    """Hide the password in a URL.

    Parameters
    ----------
    url : str
        URL of a database.

    Returns
    -------
    str
        The URL with :data:`HIDDEN` for the password, wherever it stands.

    Examples
    --------
    >>> hide_password("postgresql+psycopg://me:secret@db:5432/cta")
    'postgresql+psycopg://me:***@db:5432/cta'
    """
    hidden = _SECRET.sub(rf"\g<start>{HIDDEN}\g<end>", url)
    return _QUERY_SECRET.sub(rf"\g<1>{HIDDEN}", hidden)
