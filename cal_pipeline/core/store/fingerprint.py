"""Fingerprint of what a store holds: tells from a listing whether an input may have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from cal_pipeline.core.errors import DataReadError
from cal_pipeline.core.store.paths import Stamp, StorePath


def list_objects(store: StorePath, groups: Iterable[str]) -> dict[str, Stamp]:
    """List all objects below some groups of a store, with their sizes and stamps.

    Parameters
    ----------
    store : StorePath
        The store.
    groups : iterable of str
        Paths of groups in it; an object below several is listed once.

    Returns
    -------
    dict
        Size and stamp by key from the root of the store.

    Raises
    ------
    DataReadError
        If a group cannot be listed.
    """
    found: dict[str, Stamp] = {}
    wanted = set(groups)
    for group in sorted(wanted):
        if any(group.startswith(f"{other}/") for other in wanted):
            continue
        try:
            found |= {f"{group}/{key}": stamp for key, stamp in store.child(group).walk_stamped()}
        except OSError as error:
            raise DataReadError(f"{store}/{group} cannot be listed: {type(error).__name__}: {error}") from error
    return found


def compute_fingerprint(objects: Mapping[str, Stamp]) -> str | None:
    """Compute the SHA-256 fingerprint of listed objects, whose bytes are not read.

    Parameters
    ----------
    objects : mapping
        Size and stamp by key, from :func:`list_objects`.

    Returns
    -------
    str or None
        Hexadecimal digest of the sorted lines ``key size stamp``, each with a line feed at its end,
        in UTF-8; None if the store gives no stamp for an object, as web servers do. The stamp of a
        file is its time of modification in nanoseconds, that of a remote object its ETag, or its
        time of modification where it has none.

    Examples
    --------
    >>> import os
    >>> from cal_pipeline.core.store.opening import open_store
    >>> session = open_store("session.zarr")
    >>> before = compute_fingerprint(list_objects(session, ["scan_000001"]))
    >>> os.utime("session.zarr/scan_000001/zarr.json")
    >>> before == compute_fingerprint(list_objects(session, ["scan_000001"]))
    False
    """
    if not all(stamp for _, stamp in objects.values()):
        return None
    return digest_listing(objects)


def digest_listing(objects: Mapping[str, Stamp]) -> str:
    """Compute the SHA-256 digest of a listing, whether or not its store gives stamps.

    Parameters
    ----------
    objects : mapping
        Size and stamp by key, from :func:`list_objects`.

    Examples
    --------
    >>> before, after = {"scan_000001/zarr.json": (512, "1")}, {"scan_000001/zarr.json": (512, "2")}
    >>> digest_listing(before) == digest_listing(after)
    False
    """
    lines = sorted(f"{key} {size} {stamp}\n" for key, (size, stamp) in objects.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
