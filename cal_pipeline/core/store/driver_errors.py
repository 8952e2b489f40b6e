"""Errors of drivers, told in one line with the address, the key and the cause."""

from __future__ import annotations

import http
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cal_pipeline.core.errors import CalibrationError, StoreError

_DETAIL = 160
"""Characters of a driver's own words that a message repeats."""

_NO_CREDENTIALS = (
    "NoCredentials",
    "PartialCredentials",
    "CredentialRetrieval",
    "CredentialUnavailable",
    "DefaultCredentials",
    "ProfileNotFound",
    "TokenRetrieval",
    "ClientAuthentication",
)
_NO_CONNECTION = ("ConnectionError", "ConnectionClosed", "ConnectorError", "Disconnected", "ClientOSError")

_PASSING = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of a server that is busy or restarts."""

_ANONYMOUS = {"s3": "FSSPEC_S3_ANON=true", "s3a": "FSSPEC_S3_ANON=true", "gs": "FSSPEC_GS_TOKEN=anon"}
"""Environment variable by which a driver reads public data, by scheme."""


@contextmanager
def translate_driver_errors(where: str, operation: str) -> Iterator[None]:
    """Turn what a driver raises within the block into one line.

    Parameters
    ----------
    where : str
        URL or path that is accessed.
    operation : str
        Participle of the operation, as in "cannot be {operation}": ``read``, ``listed``,
        ``written``, ``opened``.

    Raises
    ------
    StoreError
        If the block raises anything but an error of this package.
    """
    try:
        yield
    except (CalibrationError, MemoryError):
        raise
    except Exception as error:
        raise StoreError(f"{where} cannot be {operation}: {_describe_cause(error, where, operation)}") from error


def _describe_cause(error: Exception, where: str, operation: str) -> str:
    """Say in one line why a driver failed, and what to do about it.

    Drivers are optional and many; their errors are recognised by class name and status, not
    imported.
    """
    chain = list(_causes(error))
    names = [type(item).__name__ for item in chain]
    detail = _short(error)

    def named(parts: Iterable[str]) -> bool:
        return any(part in name for name in names for part in parts)

    if named(_NO_CREDENTIALS):
        return f"no credentials ({detail}); {_credentials_help(where)}"
    if any(isinstance(item, ssl.SSLError) for item in chain) or named(["Certificate", "SSLError"]):
        return f"no secure connection ({detail})"
    if any(isinstance(item, socket.gaierror) for item in chain) or named(["DNSError"]):
        return f"its host is not known ({detail})"
    if any(isinstance(item, TimeoutError) for item in chain) or named(["Timeout"]):
        return f"no answer in time ({detail})"
    if any(isinstance(item, ConnectionError) for item in chain) or named(_NO_CONNECTION):
        return f"no connection ({detail})"
    status = next((found for item in chain if (found := _http_status(item)) is not None), None)
    if status in (401, 403) or isinstance(error, PermissionError):
        return f"access is forbidden ({detail}); {_rights_help(operation)}"
    if status == 404 or isinstance(error, FileNotFoundError):
        return f"not there ({detail})"
    if status is not None and status >= 400:
        return f"the server answers {status} {_phrase(status)} ({detail})"
    return f"{type(error).__name__}: {detail}"


def may_pass(error: Exception) -> bool:
    """Tell whether what a driver raises may be gone at the next attempt.

    Examples
    --------
    >>> may_pass(ConnectionResetError()), may_pass(PermissionError())
    (True, False)
    """
    chain = list(_causes(error))
    if any(isinstance(item, (ssl.SSLError, PermissionError, FileNotFoundError)) for item in chain):
        return False
    statuses = [status for item in chain if (status := _http_status(item)) is not None]
    if statuses:
        return statuses[0] in _PASSING
    names = [type(item).__name__ for item in chain]
    return any(isinstance(item, (ConnectionError, TimeoutError)) for item in chain) or any(
        part in name for name in names for part in (*_NO_CONNECTION, "Timeout")
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised for."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _short(error: BaseException) -> str:
    """Return what an error says in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _DETAIL else text[: _DETAIL - 1] + "…"


def _http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a driver carries, under one of the usual names."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}

    def candidates() -> Iterator[Any]:
        # One after the other: a driver may warn of the older of its names.
        yield metadata.get("HTTPStatusCode")
        yield getattr(response, "status_code", None)
        for name in ("status", "status_code", "code"):
            yield getattr(error, name, None)

    return next((int(item) for item in candidates() if isinstance(item, int) and 100 <= item < 600), None)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def _credentials_help(where: str) -> str:
    scheme = where.partition("://")[0]
    known = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if scheme in ("s3", "s3a") else "set those of the driver"
    if scheme in _ANONYMOUS:
        return f"{known}, or, to read public data without any, {_ANONYMOUS[scheme]}"
    return known


def _rights_help(operation: str) -> str:
    if operation == "listed":
        return "reading a store needs the right to list its folders"
    if operation in ("written", "removed"):
        return "writing a store needs the rights to list, write and delete"
    return "check the credentials and the rights to read"
