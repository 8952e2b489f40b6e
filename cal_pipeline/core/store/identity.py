"""Identity of groups of an input, as provenance, and whether they are still what was recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cal_pipeline.core.store.digest import digest_keys
from cal_pipeline.core.store.fingerprint import compute_fingerprint, list_objects
from cal_pipeline.core.store.paths import Stamp, StorePath

Identity = dict[str, str | None]
"""Fingerprint and digest of an input, by their names in the provenance."""


def identify_groups(
    root: StorePath,
    groups: Collection[str],
    level: str,
    with_digest: bool = True,
    objects: Mapping[str, Stamp] | None = None,
) -> Identity:
    """Compute fingerprint and digest of groups of an input.

    Parameters
    ----------
    root : StorePath
        The input.
    groups : collection of str
        Groups that are used.
    level : str
        Beginning of the names, such as ``"l0"``.
    with_digest : bool
        Whether to read all objects for the digest.
    objects : mapping, optional
        Listing of the groups from before their bytes were read, by
        :func:`~cal_pipeline.core.store.fingerprint.list_objects`; made now if not given.

    Returns
    -------
    dict
        ``<level>_fingerprint`` and, if asked for, ``<level>_digest``.

    Raises
    ------
    DataReadError
        If an object cannot be listed or read.

    Examples
    --------
    >>> from cal_pipeline.core.store.opening import open_store
    >>> sorted(identify_groups(open_store("session.zarr"), ["scan_000001"], "l0"))
    ['l0_digest', 'l0_fingerprint']
    """
    objects = list_objects(root, groups) if objects is None else objects
    identity: Identity = {f"{level}_fingerprint": compute_fingerprint(objects)}
    return identity | ({f"{level}_digest": digest_keys(root, objects)} if with_digest else {})


def are_same_groups(root: StorePath, groups: Collection[str], level: str, recorded: Mapping[str, Any]) -> bool:
    """Tell whether groups of an input are what they were, by the cheapest proof that there is.

    Fingerprints are compared, and digests where fingerprints differ and a digest was recorded.

    Parameters
    ----------
    root : StorePath
        The input.
    groups : collection of str
        Groups that are used now.
    level : str
        Beginning of the names.
    recorded : mapping
        Provenance, as :func:`identify_groups` makes it.

    Raises
    ------
    DataReadError
        If an object cannot be listed or read.
    """
    fingerprint, digest = recorded.get(f"{level}_fingerprint"), recorded.get(f"{level}_digest")
    if fingerprint is not None and fingerprint in identify_groups(root, groups, level, with_digest=False).values():
        return True
    return digest is not None and identify_groups(root, groups, level)[f"{level}_digest"] == digest
