"""Identity of what an exposure is made from, and whether it is still what a product recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cal_pipeline.core.store.digest import digest_keys
from cal_pipeline.core.store.fingerprint import compute_fingerprint, list_objects
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.records import as_mapping


def identify_groups(root: StorePath, groups: Sequence[str], with_digest: bool = True) -> dict[str, str | None]:
    """Compute fingerprint and digest of groups of an input, as provenance.

    Parameters
    ----------
    root : StorePath
        The input.
    groups : sequence of str
        Groups of the exposures that are used.
    with_digest : bool
        Whether to read all objects for the digest.

    Returns
    -------
    dict
        ``input_fingerprint`` and, if asked for, ``input_digest``.

    Raises
    ------
    DataReadError
        If an object cannot be listed or read.

    Examples
    --------
    >>> from cal_pipeline.core.store.paths import open_store
    >>> sorted(identify_groups(open_store("visit.zarr"), ["exp_000001"]))
    ['input_digest', 'input_fingerprint']
    """
    objects = list_objects(root, groups)
    identity: dict[str, str | None] = {"input_fingerprint": compute_fingerprint(objects)}
    return identity | ({"input_digest": digest_keys(root, objects)} if with_digest else {})


def is_same_input(root: StorePath, groups: Sequence[str], recorded: Mapping[str, Any]) -> bool:
    """Tell whether groups of an input are what they were, by the cheapest proof that there is.

    Parameters
    ----------
    root : StorePath
        The input.
    groups : sequence of str
        Groups of the exposures that are used now.
    recorded : mapping
        Provenance with ``input_fingerprint`` and ``input_digest``.
    """
    fingerprint, digest = recorded.get("input_fingerprint"), recorded.get("input_digest")
    if fingerprint is not None and identify_groups(root, groups, with_digest=False)["input_fingerprint"] == fingerprint:
        return True
    return digest is not None and identify_groups(root, groups)["input_digest"] == digest


def recorded_references(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the digests of the reference files that were recorded, by type."""
    files = provenance.get("reference_files")
    entries = [as_mapping(entry) for entry in files] if isinstance(files, list) else []
    return {str(entry.get("type")): entry.get("sha256") for entry in entries}
