"""Digest of what a store holds: one number that tells whether any byte of the input changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from cal_pipeline.core.errors import DataReadError
from cal_pipeline.core.store.paths import StorePath


def digest_objects(store: StorePath, groups: Iterable[str]) -> str:
    """Compute the SHA-256 digest of all objects below some groups of a store.

    Parameters
    ----------
    store : StorePath
        The store.
    groups : iterable of str
        Paths of groups in it; an object below several counts once.

    Returns
    -------
    str
        Hexadecimal digest of the sorted lines ``key sha256``, each with a line feed at its end, in
        UTF-8: path of an object from the root of the store, and digest of its bytes as stored.

    Raises
    ------
    DataReadError
        If an object cannot be read.

    Notes
    -----
    Each object is read as a whole. Hashing leaves the interpreter to other threads.

    Examples
    --------
    >>> import shutil
    >>> from cal_pipeline.core.store.opening import open_store
    >>> copy = shutil.copytree("session.zarr", "copied.zarr")
    >>> digest = digest_objects(open_store("session.zarr"), ["scan_000001"])
    >>> len(digest), digest == digest_objects(open_store("copied.zarr"), ["scan_000001"])
    (64, True)
    """
    return digest_keys(store, {f"{group}/{key}" for group in groups for key in store.child(group).walk()})


def digest_keys(store: StorePath, keys: Iterable[str]) -> str:
    """Compute the SHA-256 digest of listed objects; see :func:`digest_objects`."""

    def describe(key: str) -> str:
        try:
            digest = store.sha256(key)
        except OSError as error:
            raise DataReadError(f"{store}/{key} cannot be read: {type(error).__name__}: {error}") from error
        if digest is None:
            raise DataReadError(f"{store}/{key} was listed and is gone, expected an object; the input changed")
        return f"{key} {digest}\n"

    lines = sorted(store.each(describe, keys))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
